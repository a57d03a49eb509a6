/* fuzz_request.c - any bytes as a request: an error or a request whose parts all hold, never a crash or a leak. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "user/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_turns(const turn *turns, size_t n) {
    PGR_ASSERT(n > 0);
    for (size_t i = 0; i < n; i++) PGR_ASSERT(turns[i].role && turns[i].text);
    PGR_ASSERT(strcmp(turns[n - 1].role, "user") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pgr_request *r = NULL;
    pgr_error err = {0};
    if (pgr_request_parse((const char *)data, size, "fuzz:3", &r, &err) != PGR_OK) {
        PGR_ASSERT(!r && err.status < 0 && err.message[0]);
        return 0;
    }
    check_turns(r->messages, r->n_message);
    PGR_ASSERT(r->n_response >= 2);
    for (size_t i = 0; i < r->n_response; i++) PGR_ASSERT(r->responses[i][0]);
    for (size_t i = 0; i < r->n_criteria; i++) PGR_ASSERT(r->criteria[i]);
    for (size_t i = 0; i < r->n_history; i++) {
        check_turns(r->history[i].context, r->history[i].n_context);
        PGR_ASSERT(r->history[i].chosen && r->history[i].rejected);
    }
    PGR_ASSERT(r->id && r->user_id && r->demographics && r->ind >= -1 && r->seed >= -1);
    pgr_request_free(r);
    return 0;
}
