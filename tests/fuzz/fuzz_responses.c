/* fuzz_responses.c - any bytes as a line of responses for synthetic users: an error,
 * or prompts of two or more different responses. */
#include <string.h>

#include "bench/synth.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    synth_texts t = {0};
    pgr_error err = {0};
    for (size_t line = 1; line <= 2; line++) /* twice: a second line beside the first */
        if (synth_texts_add(&t, (const char *)data, size, "fuzz", line, 1000, &err) != PGR_OK) {
            PGR_ASSERT(err.status < 0 && err.message[0]);
            break;
        }
    for (size_t i = 0; i < t.n_prompt; i++) {
        const synth_prompt *p = &t.prompts[i];
        PGR_ASSERT(p->n >= 2 && p->first + p->n <= t.n_response && p->kind >= 0 && p->kind < SYNTH_KINDS);
        for (size_t k = 1; k < p->n; k++)
            PGR_ASSERT(strcmp(t.responses[p->first].text, t.responses[p->first + k].text) != 0);
    }
    synth_texts_free(&t);
    return 0;
}
