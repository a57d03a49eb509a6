/* adapters.c - adapter sets by what is in them; see adapters.h. */
#include "infer/adapters.h"

#include <string.h>

#include "base/mem.h"

enum { MOST_IDLE = 16 }; /* sets that nobody uses, remembered for their keys */

struct adapter_sets {
    const pgr_model *m;
    forward_state *forward;
    adapter_set **list; /* (n) oldest first */
    size_t n, cap;
    adapter_set *in_use; /* whose table the forward pass has; NULL: none */
    uint64_t last_key;
};

pgr_status adapters_create(const pgr_model *m, forward_state *f, adapter_sets **out, pgr_error *err) {
    adapter_sets *s = mem_zero(1, sizeof *s);
    if (!s) return fail_mem(err);
    s->m = m;
    s->forward = f;
    *out = s;
    return PGR_OK;
}

static void set_free(adapter_set *set) {
    if (!set) return;
    lora_set_free(&set->loras);
    mem_free(set->versions);
    mem_free(set->scales);
    mem_free(set);
}

/* The forward pass gives the table back that it has. */
static void unuse(adapter_sets *s) {
    if (s->in_use) forward_swap_loras(s->forward, &s->in_use->loras);
    s->in_use = NULL;
}

void adapters_free(adapter_sets *s) {
    if (!s) return;
    unuse(s);
    for (size_t i = 0; i < s->n; i++) set_free(s->list[i]);
    mem_free(s->list);
    mem_free(s);
}

static bool same(const adapter_set *set, const infer_adapters *w) {
    if (set->n != w->n) return false;
    for (size_t i = 0; i < w->n; i++)
        if (set->versions[i] != w->loras[i]->version || memcmp(&set->scales[i], &w->scales[i], sizeof(float)) != 0)
            return false;
    return true;
}

static adapter_set *find(const adapter_sets *s, const infer_adapters *w) {
    for (size_t i = 0; i < s->n; i++)
        if (same(s->list[i], w)) return s->list[i];
    return NULL;
}

/* Room for one more; the oldest sets that nobody uses make way when there are many. */
static pgr_status make_room(adapter_sets *s, pgr_error *err) {
    size_t idle = 0;
    for (size_t i = 0; i < s->n; i++) idle += s->list[i]->refs == 0;
    for (size_t i = 0; i < s->n && idle > MOST_IDLE;) {
        if (s->list[i]->refs > 0) {
            i++;
            continue;
        }
        set_free(s->list[i]);
        memmove(&s->list[i], &s->list[i + 1], (--s->n - i) * sizeof *s->list);
        idle--;
    }
    if (s->n < s->cap) return PGR_OK;
    size_t cap = s->cap ? 2 * s->cap : 4;
    adapter_set **list = mem_resize(s->list, cap * sizeof *list);
    if (!list) return fail_mem(err);
    s->list = list;
    s->cap = cap;
    return PGR_OK;
}

static pgr_status add(adapter_sets *s, const infer_adapters *w, adapter_set **out, pgr_error *err) {
    PGR_TRY(make_room(s, err));
    adapter_set *set = mem_zero(1, sizeof *set);
    if (!set) return fail_mem(err);
    set->n = w->n;
    set->versions = mem_array(w->n + 1, sizeof *set->versions);
    set->scales = mem_array(w->n + 1, sizeof *set->scales);
    if (!set->versions || !set->scales) {
        set_free(set);
        return fail_mem(err);
    }
    for (size_t i = 0; i < w->n; i++) {
        set->versions[i] = w->loras[i]->version;
        set->scales[i] = w->scales[i];
    }
    set->key = ++s->last_key;
    s->list[s->n++] = set;
    *out = set;
    return PGR_OK;
}

/* A set in use has its table; another one's is made of the adapters that are given now. */
pgr_status adapters_take(adapter_sets *s, const infer_adapters *wanted, adapter_set **out, pgr_error *err) {
    adapter_set *set = find(s, wanted);
    if (set && set->refs > 0) {
        set->refs++;
        *out = set;
        return PGR_OK;
    }
    lora_set table;
    PGR_TRY(lora_set_create(s->m, wanted->loras, wanted->scales, wanted->n, &table, err));
    if (!set) {
        pgr_status status = add(s, wanted, &set, err);
        if (status != PGR_OK) {
            lora_set_free(&table);
            return status;
        }
    }
    set->loras = table;
    set->refs = 1;
    *out = set;
    return PGR_OK;
}

void adapters_ref(adapter_set *set) {
    set->refs++;
}

void adapters_drop(adapter_sets *s, adapter_set *set) {
    if (!set || --set->refs > 0) return;
    if (s->in_use == set) unuse(s);
    lora_set_free(&set->loras);
    set->loras = (lora_set){0};
}

void adapters_use(adapter_sets *s, adapter_set *set) {
    if (s->in_use == set) return;
    unuse(s);
    forward_swap_loras(s->forward, &set->loras);
    s->in_use = set;
}
