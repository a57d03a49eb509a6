/* fuzz_frame.c - any bytes as a frame file. It is refused with the line, or it answers every question and gives a
 * grammar of bounded size for 2 and 3 responses. */
#include <stdint.h>
#include <string.h>

#include "judge/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    frame *f = NULL;
    pgr_error err = {0};
    if (frame_parse((const char *)data, size, "fuzz", &f, &err) != PGR_OK) {
        PGR_ASSERT(!f && err.status == PGR_E_FORMAT && strncmp(err.message, "fuzz:", 5) == 0);
        return 0;
    }
    PGR_ASSERT(frame_form(f) == CHAIN_FULL || frame_form(f) == CHAIN_COMPACT || frame_form(f) == CHAIN_SLOTS);
    PGR_ASSERT(frame_name(f) && (frame_max_tokens(f) > 0 || frame_form(f) == CHAIN_SLOTS));
    PGR_ASSERT(!frame_trigger(f) || frame_trigger(f)[0]);
    for (size_t n = 2; n <= 3; n++) {
        buf out = {0};
        bool has = false;
        PGR_ASSERT(frame_grammar(f, n, &out, &has, &err) == PGR_OK);
        PGR_ASSERT(has || out.n == 0);
        buf_free(&out);
    }
    frame_close(f);
    return 0;
}
