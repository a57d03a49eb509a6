/* judge_news.c - what is told of an ask before its verdict: how much is asked, chains as they grow and end, slots as
 * they are read. */
#include <math.h>

#include "judge/judging.h"

static void tell(const judging *j, const desk_news *n) {
    if (j->news) j->news(j->news_ctx, n);
}

/* Whose history it is; NULL: the request's own. */
static const char *user_of(const judging *j, const voice *v) {
    return v && v->r != j->r ? v->r->user_id : NULL;
}

void tell_asked(const judging *j, size_t n) {
    tell(j, &(desk_news){.kind = DESK_ASKED, .n = n, .n_response = j->r->n_response});
}

static desk_news of_chain(const prompt *p, desk_news_kind kind, size_t chain) {
    const judging *j = p->judging;
    return (desk_news){.kind = kind,
                       .user = user_of(j, p->voice),
                       .number = p->chains[chain],
                       .order = j->order[p->order],
                       .n_response = j->r->n_response};
}

void tell_piece(const prompt *p, const infer_event *e) {
    desk_news n = of_chain(p, DESK_PIECE, p->n_written + e->sample);
    n.text = e->text;
    n.n_text = e->n_text;
    if (n.n_text > 0) tell(p->judging, &n);
}

/* The first kind that it has, in the order in which they are preferred; a kind that is asked for alone. */
static const double *scores_of(const judging *j, const chain *c) {
    static const pgr_score_kind best_first[] = {PGR_SCORE_EXPECTED, PGR_SCORE_RECOMPUTED, PGR_SCORE_DECLARED};
    if (!c->parsed) return NULL;
    if (j->o->score != PGR_SCORE_AUTO) return chain_scores(c, j->o->score);
    for (size_t k = 0; k < sizeof best_first / sizeof *best_first; k++) {
        const double *scores = chain_scores(c, best_first[k]);
        size_t n = 0;
        while (scores && n < j->r->n_response && !isnan(scores[n])) n++;
        if (scores && n == j->r->n_response) return scores;
    }
    return NULL;
}

void tell_chains(const prompt *p, size_t from) {
    for (size_t i = from; p->judging->news && i < p->n_written; i++) {
        const chain *c = &p->side->chains[p->chains[i]].parsed;
        desk_news n = of_chain(p, DESK_CHAIN, i);
        n.parsed = c->parsed;
        n.reason = c->reason;
        n.values = scores_of(p->judging, c);
        tell(p->judging, &n);
    }
}

void tell_reading(const slot_read *r) {
    const judging *j = r->judging;
    if (r->late) return;
    tell(j, &(desk_news){.kind = DESK_READING,
                         .user = user_of(j, r->voice),
                         .order = j->order[r->order],
                         .n_response = j->r->n_response,
                         .taste = r->taste,
                         .values = r->values});
}
