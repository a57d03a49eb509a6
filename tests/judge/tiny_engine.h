/* tiny_engine.h - for tests: an engine on the golden tiny model, whose texts are nonsense, and requests to ask it. The
 * setup of a group of tests is tiny_begin, its teardown tiny_end. */
#ifndef PGR_TESTS_TINY_ENGINE_H
#define PGR_TESTS_TINY_ENGINE_H

#include "../base/faults.h"

#include "infer/engine.h"

#define TINY PGR_SOURCE_DIR "/tests/golden/tiny-llama.gguf"
#define MINI PGR_SOURCE_DIR "/tests/golden/mini.frame"
#define MANY PGR_SOURCE_DIR "/tests/golden/many.frame"

static pgr_model *MODEL;
static pgr_engine *ENGINE;

static inline int tiny_begin(void **state) {
    (void)state;
    pgr_error err = {0};
    if (pgr_model_open(TINY, &(pgr_model_options){.dtype = PGR_DTYPE_EXACT}, &MODEL, &err) != PGR_OK)
        fail_msg("%s", err.message);
    if (pgr_engine_create(MODEL, NULL, &ENGINE, &err) != PGR_OK) fail_msg("%s", err.message);
    return 0;
}

static inline int tiny_end(void **state) {
    (void)state;
    pgr_engine_free(ENGINE);
    pgr_model_close(MODEL);
    return 0;
}

static inline pgr_request *parse_as(const char *text, const char *origin) {
    pgr_request *r = NULL;
    pgr_error err = {0};
    if (pgr_request_parse(text, strlen(text), origin, &r, &err) != PGR_OK) fail_msg("%s", err.message);
    return r;
}

static inline pgr_request *parse(const char *text) {
    return parse_as(text, "test");
}

#endif
