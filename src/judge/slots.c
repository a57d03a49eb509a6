/* slots.c - what frames with slots know of texts without a model: the words of tastes, levels of facts, the teacher of
 * a taste slot, what similar people chose, and which pairs of a history are shown. */
#include "judge/slots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/rng.h"

/* With the space before them one token each in the default model's tokenizer (tests/judge/test_slots.c). */
static const char *const WORDS[N_TASTE] = {
#define WORD(f, more, less) [2 * FACT_##f] = " " more, [2 * FACT_##f + 1] = " " less
    WORD(LENGTH, "long", "short"),        WORD(LISTS, "lists", "prose"),    WORD(HEADINGS, "headings", "plain"),
    WORD(QUESTIONS, "asking", "telling"), WORD(CAUTION, "careful", "sure"), WORD(PERSONAL, "personal", "neutral"),
    WORD(NUMBERS, "numbers", "words"),    WORD(WARMTH, "warm", "cool"),     WORD(CODE, "code", "text"),
    WORD(FORMAL, "formal", "casual"),     WORD(ECHO, "focused", "loose"),   WORD(EXAMPLES, "examples", "abstract"),
#undef WORD
};

const char *const *taste_choices(void) {
    return WORDS;
}

const char *taste_word(int word) {
    return WORDS[word] + 1;
}

void taste_turn(double p[N_TASTE]) {
    for (int f = 0; f < N_FACT; f++) {
        double more = p[2 * f];
        p[2 * f] = p[2 * f + 1];
        p[2 * f + 1] = more;
    }
}

bool slots_can_turn(const pgr_request *r, const slots_view *view) {
    return view->n_history > 0 && r->n_criteria == 0 && !r->demographics[0];
}

/* ---- levels ---- */

void slots_levels(const char *query, const char *a, const char *b, double out[N_FACT]) {
    facts mine, other;
    facts_measure(a, strlen(a), query, strlen(query), &mine);
    facts_measure(b, strlen(b), query, strlen(query), &other);
    for (int f = 0; f < N_FACT; f++) out[f] = facts_level(f, &mine, &other, 1);
}

static const char *question(const turn *turns, size_t n) {
    return n ? turns[n - 1].text : "";
}

void slots_pair_levels(const preference_pair *p, double out[N_FACT]) {
    slots_levels(question(p->context, p->n_context), p->chosen, p->rejected, out);
}

pgr_status slots_response_levels(const pgr_request *r, double *out, pgr_error *err) {
    size_t n = r->n_response;
    const char *query = question(r->messages, r->n_message);
    facts *all = mem_array(2 * n, sizeof *all), *others = all + n;
    if (!all) return fail_mem(err);
    for (size_t i = 0; i < n; i++)
        facts_measure(r->responses[i], strlen(r->responses[i]), query, strlen(query), &all[i]);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0, at = 0; k < n; k++)
            if (k != i) others[at++] = all[k];
        for (int f = 0; f < N_FACT; f++) out[i * N_FACT + (size_t)f] = facts_level(f, &all[i], others, n - 1);
    }
    mem_free(all);
    return PGR_OK;
}

void slots_target(const preference_pair *history, const size_t *pairs, size_t n, double out[N_TASTE]) {
    double sums[N_FACT] = {0}, levels[N_FACT], all = 0;
    for (size_t i = 0; i < n; i++) {
        slots_pair_levels(&history[pairs[i]], levels);
        for (int f = 0; f < N_FACT; f++) sums[f] += levels[f];
    }
    for (int f = 0; f < N_FACT; f++) all += fabs(sums[f]);
    for (int f = 0; f < N_FACT; f++) {
        out[2 * f] = all > 0 ? fmax(sums[f], 0) / all : 1.0 / N_TASTE;
        out[2 * f + 1] = all > 0 ? fmax(-sums[f], 0) / all : 1.0 / N_TASTE;
    }
}

static int bears_out(const preference_pair *history, const size_t *pairs, size_t n, const double *levels, size_t i) {
    const preference_pair *p = &history[pairs[i]];
    double margin = 0;
    for (size_t k = 0; k < n; k++) {
        const preference_pair *q = &history[pairs[k]];
        if (k == i || strcmp(question(p->context, p->n_context), question(q->context, q->n_context)) == 0) continue;
        for (int f = 0; f < N_FACT; f++) margin += levels[k * N_FACT + (size_t)f] * levels[i * N_FACT + (size_t)f];
    }
    return (margin > 0) - (margin < 0);
}

pgr_status slots_lead(const preference_pair *history, const size_t *pairs, size_t n, size_t *out, pgr_error *err) {
    double *levels = mem_array(n + 1, N_FACT * sizeof *levels);
    int lead = 0;
    if (!levels) return fail_mem(err);
    for (size_t i = 0; i < n; i++) slots_pair_levels(&history[pairs[i]], levels + i * N_FACT);
    for (size_t i = 0; i < n; i++) lead += bears_out(history, pairs, n, levels, i);
    mem_free(levels);
    *out = lead > 0 ? (size_t)lead : 0;
    return PGR_OK;
}

/* ---- what similar people chose ---- */

/* How one person stands to the text: he who chose and rejected it is counted by what he did more often. */
static int stance(const neighbour *who, uint64_t wanted) {
    int sum = 0;
    for (size_t i = 0; i < who->n_pair; i++)
        sum += (views_key(who->pairs[i].chosen) == wanted) - (views_key(who->pairs[i].rejected) == wanted);
    return sum;
}

void slots_count_people(const neighbour *list, size_t n, const char *text, people_view *out) {
    people_view counts = {0};
    double near[2] = {0, 0}; /* similarities of those who rejected, who chose */
    uint64_t wanted = views_key(text);
    for (size_t i = 0; i < n && wanted != VIEWS_NO_TEXT; i++) {
        int s = stance(&list[i], wanted);
        counts.chose += s > 0;
        counts.rejected += s < 0;
        if (s != 0) near[s > 0] += fmax(list[i].similarity, 0);
    }
    double known = (double)(counts.chose + counts.rejected);
    counts.share = (near[1] + ((double)counts.chose + 1) / (known + 2)) / (near[0] + near[1] + 1);
    *out = counts;
}

int slots_people_percent(const people_view *p) {
    return (int)floor(100 * p->share + 0.5);
}

/* ---- which pairs are shown ---- */

typedef struct drawn {
    size_t index, round; /* round: how many of its conversation came before it */
    uint64_t conversation;
    double order; /* random */
} drawn;

static int by_order(const void *a, const void *b) {
    const drawn *l = a, *r = b;
    if (l->order != r->order) return l->order < r->order ? -1 : 1;
    return (l->index > r->index) - (l->index < r->index);
}

static int by_round(const void *a, const void *b) {
    const drawn *l = a, *r = b;
    if (l->round != r->round) return l->round < r->round ? -1 : 1;
    return by_order(a, b);
}

static int by_conversation(const void *a, const void *b) {
    const drawn *l = a, *r = b;
    if (l->conversation != r->conversation) return l->conversation < r->conversation ? -1 : 1;
    return by_order(a, b);
}

static void number_rounds(drawn *list, size_t n) {
    qsort(list, n, sizeof *list, by_conversation);
    for (size_t i = 1; i < n; i++)
        list[i].round = list[i].conversation == list[i - 1].conversation ? list[i - 1].round + 1 : 0;
    qsort(list, n, sizeof *list, by_round);
}

pgr_status slots_rank(const preference_pair *history, size_t n, uint64_t seed, uint32_t stream, size_t *ranks,
                      pgr_error *err) {
    drawn *list = mem_zero(n + 1, sizeof *list);
    if (!list) return fail_mem(err);
    for (size_t i = 0; i < n; i++) {
        const char *first = history[i].n_context ? history[i].context[0].text : "";
        list[i] = (drawn){.index = i,
                          .conversation = hash_whole_text(HASH_BEGIN, first),
                          .order = rng_uniform(seed, stream, (uint32_t)i, 0)};
    }
    number_rounds(list, n);
    for (size_t i = 0; i < n; i++) ranks[i] = list[i].index;
    mem_free(list);
    return PGR_OK;
}

static int by_index(const void *a, const void *b) {
    size_t l = *(const size_t *)a, r = *(const size_t *)b;
    return (l > r) - (l < r);
}

pgr_status slots_draw(const preference_pair *history, size_t n_history, size_t want, uint64_t seed, uint32_t stream,
                      size_t *out, size_t *n_out, pgr_error *err) {
    PGR_TRY(slots_rank(history, n_history, seed, stream, out, err));
    *n_out = want < n_history ? want : n_history;
    qsort(out, *n_out, sizeof *out, by_index);
    return PGR_OK;
}
