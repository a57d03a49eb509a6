/* fuzz_turns.c - any text with the marks of chat templates: turns by known roles with something in them, an answer that
 * is a part of the text. The part before the first NUL is a prompt, the rest a query that may begin with the end of
 * it. */
#include <string.h>

#include "base/text.h"
#include "serve/turns.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_turns(const char *text, size_t n) {
    static const char *const ROLES[] = {"system", "user", "assistant"};
    json_t *turns = json_array();
    const char *answer = NULL;
    size_t n_answer = 0;
    PGR_ASSERT(turns_read(text, n, turns, &answer, &n_answer, NULL) == PGR_OK);
    PGR_ASSERT(answer >= text && answer + n_answer <= text + n);
    for (size_t i = 0; i < json_array_size(turns); i++) {
        const json_t *turn = json_array_get(turns, i);
        const char *role = json_string_value(json_object_get(turn, "role"));
        bool known = false;
        for (size_t k = 0; k < 3; k++) known |= strcmp(role, ROLES[k]) == 0;
        PGR_ASSERT(known && json_string_length(json_object_get(turn, "content")) > 0);
    }
    json_decref(turns);
}

static void check_strip(const char *text, size_t n) {
    const char *once = text;
    size_t n_once = n;
    turns_strip(&once, &n_once);
    PGR_ASSERT(once >= text && once + n_once <= text + n);
    const char *twice = once;
    size_t n_twice = n_once;
    turns_strip(&twice, &n_twice);
    PGR_ASSERT(twice == once && n_twice == n_once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *nul = size ? memchr(text, '\0', size) : NULL;
    size_t n = nul ? (size_t)(nul - text) : size, behind = 0;
    if (!size || !utf8_valid(text, n)) return 0;
    json_setup();
    check_turns(text, n);
    check_strip(text, n);
    if (!nul) return 0;
    const char *query = nul + 1;
    size_t n_query = size - n - 1;
    PGR_ASSERT(turns_behind(text, n, query, n_query, &behind, NULL) == PGR_OK);
    PGR_ASSERT(behind <= n && behind <= n_query && memcmp(query, text + n - behind, behind) == 0);
    return 0;
}
