/* slot_plan.c - see slot_plan.h. */
#include "infer/slot_plan.h"

static pgr_status collect_ids(slot_plan *plan, const char *where, pgr_error *err) {
    const ids *all = &plan->t.choices;
    for (size_t i = 0; i < all->n; i++) {
        size_t k = 0;
        while (k < plan->n_id && plan->ids[k] != all->v[i]) k++;
        if (k < plan->n_id) continue;
        if (plan->n_id == PLAN_IDS)
            return fail(err, PGR_E_LIMIT, "%s: the choices of a prompt's slots have more than %d different tokens",
                        where, PLAN_IDS);
        plan->ids[plan->n_id++] = all->v[i];
    }
    return PGR_OK;
}

pgr_status slot_plan_make(slot_plan *plan, const char *where, arena *a, pgr_error *err) {
    const infer_slot_tokens *t = &plan->t;
    size_t n = t->n_slot;
    for (size_t k = 0; k < t->n_choice; k++) n += choice_count(t, k) - 1;
    if (n > PLAN_POINTS)
        return fail(err, PGR_E_LIMIT,
                    "%s: slots need %zu prompts, as their choices are of several tokens each; at "
                    "most %d are asked",
                    where, n, PLAN_POINTS);
    plan->points = arena_array(a, n + 1, sizeof *plan->points);
    if (!plan->points) return fail_mem(err);
    plan->n_point = plan->n_id = 0;
    for (size_t i = 0; i < t->n_slot; i++) {
        plan->points[plan->n_point++] = (plan_point){i, t->first[i], 0};
        for (size_t k = t->first[i]; k < t->first[i + 1]; k++)
            for (size_t d = 1; d < choice_count(t, k); d++) plan->points[plan->n_point++] = (plan_point){i, k, d};
    }
    return collect_ids(plan, where, err);
}

size_t slot_plan_tokens(const slot_plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->n_point; i++) n += plan->t.rows[plan->points[i].slot] + 1 + plan->points[i].depth;
    return n;
}

static void put_numbers(const int32_t *v, size_t n, bool more, buf *b) {
    for (size_t i = 0; i < n; i++) buf_printf(b, i || more ? ",%d" : "%d", (int)v[i]);
}

void slot_plan_put(const slot_plan *plan, buf *b) {
    const infer_slot_tokens *t = &plan->t;
    for (size_t i = 0; i < plan->n_point; i++) {
        const plan_point *p = &plan->points[i];
        buf_puts(b, i ? ",[" : "[[");
        put_numbers(t->tokens.v, t->rows[p->slot] + 1, false, b);
        put_numbers(t->choices.v + choice_begin(t, p->choice), p->depth, true, b);
        buf_putc(b, ']');
    }
    buf_putc(b, ']');
}

void slot_plan_put_ids(const slot_plan *plan, buf *b) {
    buf_putc(b, '[');
    put_numbers(plan->ids, plan->n_id, false, b);
    buf_putc(b, ']');
}
