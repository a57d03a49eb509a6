/* history.c - which pairs a method may know of a user: draws of his own, or a stranger's. */
#include "bench/history.h"

#include "base/mem.h"

void bench_shuffle(size_t *v, size_t n, rng *r) {
    for (size_t i = n; i > 1; i--) {
        size_t j = rng_below(r, i), t = v[i - 1];
        v[i - 1] = v[j];
        v[j] = t;
    }
}

size_t bench_draw(const bench_data *d, size_t user, size_t h, uint64_t seed, size_t *out) {
    const bench_user *u = &d->users[user];
    rng r = {.seed = seed, .stream = (uint32_t)user + 0x10000u};
    for (size_t i = 0; i < u->n_train; i++) out[i] = u->train[i];
    if (h == 0 || h >= u->n_train) return u->n_train; /* all of them, in the file's order */
    for (size_t i = 0; i < h; i++) {
        size_t j = i + rng_below(&r, u->n_train - i), t = out[i];
        out[i] = out[j];
        out[j] = t;
    }
    return h;
}

static size_t root_of(size_t *parent, size_t i) {
    while (parent[i] != i) i = parent[i] = parent[parent[i]];
    return i;
}

typedef struct company {   /* users 0 .. n_user - 1, questions behind them */
    size_t *parent, *size; /* (n_user + n_question) size: users below a root */
    size_t *group;         /* (n_user) ; n_user + n_question: the rest */
    size_t *order;         /* (n_user) */
} company;

static void find_groups(const bench_data *d, company *c) {
    size_t n = d->n_user + d->n_question;
    for (size_t i = 0; i < n; i++) c->parent[i] = i;
    for (size_t i = 0; i < d->n_row; i++) {
        size_t a = root_of(c->parent, d->rows[i].user), b = root_of(c->parent, d->n_user + d->rows[i].question);
        c->parent[a > b ? a : b] = a > b ? b : a;
    }
    for (size_t u = 0; u < d->n_user; u++) c->size[root_of(c->parent, u)] += d->users[u].n_train > 0;
    for (size_t u = 0; u < d->n_user; u++) {
        size_t root = root_of(c->parent, u);
        c->group[u] = c->size[root] > 1 ? root : n;
    }
}

/* The nth of those behind place i of the order, round it, who may be the stranger of the user there; n_user: there is
 * none. *n: how many there are. */
static size_t find_stranger(const bench_data *d, const company *c, size_t i, size_t nth, size_t *n) {
    size_t u = c->order[i], found = d->n_user;
    *n = 0;
    for (size_t k = 1; d->users[u].n_train && k < d->n_user; k++) {
        size_t v = c->order[(i + k) % d->n_user];
        if (c->group[v] != c->group[u] || d->users[v].n_train == 0) continue;
        if ((*n)++ == nth) return v;
        found = v;
    }
    return *n ? found : d->n_user;
}

static void give_strangers(const bench_data *d, uint64_t seed, size_t nth, const company *c, size_t *donor) {
    rng r = {.seed = seed, .stream = 2};
    for (size_t u = 0; u < d->n_user; u++) c->order[u] = donor[u] = u;
    bench_shuffle(c->order, d->n_user, &r);
    for (size_t i = 0; i < d->n_user; i++) {
        size_t n, v = find_stranger(d, c, i, nth, &n);
        if (v < d->n_user && n <= nth) v = find_stranger(d, c, i, nth % n, &n); /* fewer than that: round again */
        if (v < d->n_user) donor[c->order[i]] = v;
    }
}

pgr_status bench_strangers(const bench_data *d, uint64_t seed, size_t nth, size_t *donor, pgr_error *err) {
    size_t n = d->n_user + d->n_question + 1;
    company c = {mem_zero(n, sizeof *c.parent), mem_zero(n, sizeof *c.size), mem_zero(n, sizeof *c.group),
                 mem_zero(n, sizeof *c.order)};
    pgr_status status = c.parent && c.size && c.group && c.order ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) {
        find_groups(d, &c);
        give_strangers(d, seed, nth, &c, donor);
    }
    mem_free(c.parent);
    mem_free(c.size);
    mem_free(c.group);
    mem_free(c.order);
    return status;
}
