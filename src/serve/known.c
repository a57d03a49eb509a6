/* known.c - see known.h. */
#include "serve/known.h"

#include <string.h>

#include "base/mem.h"

static pgr_status read_user(known *k, store *s, const char *id, pgr_error *err) {
    k->id = arena_strdup(&k->arena, id);
    if (!k->id) return fail_mem(err);
    PGR_TRY(store_has_user(s, id, &k->there, err));
    return k->there ? store_load_user(s, id, NULL, &k->arena, &k->user, err) : PGR_OK;
}

pgr_status known_find(known **list, store *s, const char *id, known **out, bool *read, pgr_error *err) {
    known *k = *list;
    while (k && strcmp(k->id, id) != 0) k = k->next;
    *read = !k;
    if (!k) {
        k = mem_zero(1, sizeof *k);
        if (!k) return fail_mem(err);
        k->keepers = 1; /* the list */
        pgr_status status = read_user(k, s, id, err);
        if (status != PGR_OK) {
            known_drop(k);
            return status;
        }
        k->next = *list;
        *list = k;
    }
    k->keepers++;
    *out = k;
    return PGR_OK;
}

void known_drop(known *k) {
    if (!k || --k->keepers > 0) return;
    arena_free(&k->arena);
    mem_free(k);
}

void known_drop_all(known *list) {
    for (known *k = list, *next; k; k = next) {
        next = k->next;
        known_drop(k);
    }
}
