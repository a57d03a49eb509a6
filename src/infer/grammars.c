/* grammars.c - compiled grammars by their texts; see grammars.h. */
#include "infer/grammars.h"

#include <string.h>

#include "base/mem.h"

static void drop(kept_grammar *k) {
    grammar_unref(k->g);
    mem_free(k->text);
    *k = (kept_grammar){0};
}

/* Entry i becomes the newest. */
static grammar *renew(grammar_cache *c, size_t i) {
    kept_grammar found = c->list[i];
    memmove(c->list + 1, c->list, i * sizeof *c->list);
    c->list[0] = found;
    return grammar_ref(found.g);
}

pgr_status grammars_take(grammar_cache *c, const char *text, size_t n, const char *origin, grammar **out,
                         pgr_error *err) {
    for (size_t i = 0; i < GRAMMARS_KEPT; i++)
        if (c->list[i].g && c->list[i].n == n && memcmp(c->list[i].text, text, n) == 0) {
            *out = renew(c, i);
            return PGR_OK;
        }

    kept_grammar made = {.n = n};
    PGR_TRY(grammar_compile(text, n, origin, &made.g, err));
    made.text = mem_alloc(n);
    if (!made.text) {
        drop(&made);
        return fail_mem(err);
    }
    memcpy(made.text, text, n);
    drop(&c->list[GRAMMARS_KEPT - 1]);
    c->list[GRAMMARS_KEPT - 1] = made;
    *out = renew(c, GRAMMARS_KEPT - 1);
    return PGR_OK;
}

void grammars_clear(grammar_cache *c) {
    for (size_t i = 0; i < GRAMMARS_KEPT; i++) drop(&c->list[i]);
}
