/* scalar.c - a set's pairs through a score head; see scalar.h. */
#include "bench/scalar.h"

#include <math.h>

#include "base/mem.h"

static size_t count_turns(const bench_data *d, const size_t *rows, size_t n) {
    size_t turns = 0;
    for (size_t i = 0; i < n; i++) turns += d->rows[rows[i]].record.pair.n_context;
    return turns;
}

/* turns, inputs: room for those of all rows */
static void list_inputs(const bench_data *d, const size_t *rows, size_t n, pgr_message *turns,
                        pgr_scalar_input *inputs) {
    for (size_t i = 0; i < n; i++) {
        const preference_pair *p = &d->rows[rows[i]].record.pair;
        for (size_t k = 0; k < p->n_context; k++) turns[k] = (pgr_message){p->context[k].role, p->context[k].text};
        inputs[2 * i] = (pgr_scalar_input){turns, p->n_context, p->chosen};
        inputs[2 * i + 1] = (pgr_scalar_input){turns, p->n_context, p->rejected};
        turns += p->n_context;
    }
}

pgr_status scalar_rows(pgr_scalar *s, const bench_data *d, const size_t *rows, size_t n, const pgr_watch *watch,
                       scalar_pair *out, pgr_error *err) {
    arena a = {0};
    pgr_message *turns = arena_array(&a, count_turns(d, rows, n) + 1, sizeof *turns);
    pgr_scalar_input *inputs = arena_array(&a, 2 * n + 1, sizeof *inputs);
    float *scores = arena_array(&a, 2 * n + 1, sizeof *scores);
    size_t *tokens = arena_array(&a, 2 * n + 1, sizeof *tokens);
    pgr_status status = turns && inputs && scores && tokens ? PGR_OK : fail_mem(err);
    if (status == PGR_OK) {
        list_inputs(d, rows, n, turns, inputs);
        status = pgr_scalar_score(s, inputs, 2 * n, watch, scores, tokens, err);
    }
    for (size_t i = 0; status == PGR_OK && i < n; i++)
        out[i] = (scalar_pair){{scores[2 * i], scores[2 * i + 1]}, {tokens[2 * i], tokens[2 * i + 1]}};
    arena_free(&a);
    return status;
}

double scalar_gap(const scalar_pair *p) {
    double gap = (double)p->score[0] - (double)p->score[1];
    return isnan(gap) ? 0 : gap;
}

pgr_status bench_scalars(const bench_data *d, pgr_scalar *s, const pgr_watch *watch, float **gaps, pgr_error *err) {
    size_t *rows = mem_array(d->n_row + 1, sizeof *rows);
    scalar_pair *pairs = mem_array(d->n_row + 1, sizeof *pairs);
    float *v = mem_array(d->n_row + 1, sizeof *v);
    pgr_status status = rows && pairs && v ? PGR_OK : fail_mem(err);
    for (size_t i = 0; status == PGR_OK && i < d->n_row; i++) rows[i] = i;
    if (status == PGR_OK) status = scalar_rows(s, d, rows, d->n_row, watch, pairs, err);
    for (size_t i = 0; status == PGR_OK && i < d->n_row; i++) v[i] = (float)scalar_gap(&pairs[i]);
    mem_free(rows);
    mem_free(pairs);
    if (status == PGR_OK)
        *gaps = v;
    else
        mem_free(v);
    return status;
}
