/* slots_chain.c - see slots_chain.h. */
#include "judge/slots_chain.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "base/text.h"
#include "judge/aggregate.h"
#include "judge/chain_parts.h"

static const double MIDDLE = 5.5, PER_LEVEL = 1.5; /* of the scale 1..10; levels are -3..3 */
static const double PEOPLE = .75; /* of the weight of views: what similar people say; the rest is the model's reading */
static const double NOTHING_LEFT = 1e-9; /* of a distribution that is drawn from */
static const double NO_WEIGHT = 1e-12;   /* rounding of sums to 1 */
enum { QUOTED = 60 };                    /* bytes of a text that evidence quotes */

double slots_taste_share(const slots_weights *w) {
    return w->a / (w->a + PER_LEVEL * w->b);
}

/* ---- criteria ---- */

static chain_criterion criterion(const slots_case *c, arena *a, const char *name, double weight, const char *reason) {
    chain_criterion k = {.name = name, .weight = weight, .reason = reason};
    k.scores = arena_array(a, c->n_response, sizeof *k.scores);
    k.expected = k.scores; /* nothing of it was drawn */
    return k;
}

static const char *way_name(arena *a, int word) {
    return arena_printf(a, "%s %s", fact_word(word / 2), word % 2 ? "less" : "more");
}

static double clamp(double score) {
    return score < 1 ? 1 : score > 10 ? 10 : score;
}

/* Scores of a response whose fact is k levels above its rivals: 5.5 + 1.5 k where more of it is liked. */
static pgr_status taste_line(const slots_case *c, arena *a, int word, double weight, chain_criterion *out,
                             pgr_error *err) {
    *out = criterion(c, a, way_name(a, word), weight, c->evidence[word]);
    if (!out->name || !out->scores) return fail_mem(err);
    for (size_t p = 0; p < c->n_response; p++) {
        double level = c->levels[c->order[p] * N_FACT + (size_t)word / 2];
        out->scores[p] = clamp(MIDDLE + PER_LEVEL * (word % 2 ? -level : level));
    }
    return PGR_OK;
}

/* Digits around their mean over the responses. */
static pgr_status quality_line(const slots_case *c, arena *a, double weight, chain_criterion *out, pgr_error *err) {
    double mean = 0;
    *out = criterion(c, a, c->views ? "views" : "quality", weight, c->shares ? "" : c->people);
    if (!out->scores) return fail_mem(err);
    for (size_t p = 0; p < c->n_response; p++) mean += c->quality[p] / (double)c->n_response;
    for (size_t p = 0; p < c->n_response; p++) out->scores[p] = clamp(MIDDLE + c->quality[p] - mean);
    return PGR_OK;
}

/* Scores of a response that one like the user chooses with a probability of p: 5.5 + 1.5 logit(p). */
static pgr_status people_line(const slots_case *c, arena *a, double weight, chain_criterion *out, pgr_error *err) {
    *out = criterion(c, a, "similar people", weight, c->people);
    if (!out->scores) return fail_mem(err);
    for (size_t p = 0; p < c->n_response; p++)
        out->scores[p] = clamp(MIDDLE + PER_LEVEL * log(c->shares[p] / (1 - c->shares[p])));
    return PGR_OK;
}

/* What is no taste: the texts' quality, or of statements the views on them. list: room for two; *n grows */
static pgr_status text_lines(const slots_case *c, arena *a, chain_criterion *list, size_t *n, pgr_error *err) {
    double weight = 100 * (1 - slots_taste_share(c->weights)), people = c->shares ? PEOPLE * weight : 0;
    if (people > 0) PGR_TRY(people_line(c, a, people, &list[(*n)++], err));
    return weight > 0 ? quality_line(c, a, weight - people, &list[(*n)++], err) : PGR_OK;
}

/* ---- a draw ---- */

void slots_draw_weights(const double *p, size_t k, double *out) {
    double left = 1;
    for (size_t i = 0; i < k; i++) {
        out[i] = (left + (double)(k - 1 - i) * p[i]) / (double)k;
        left -= p[i];
    }
}

/* Two to four different words, each with its probability among those that are left; *n of them. */
static void draw_words(const slots_case *c, int words[SLOTS_MOST], double p[SLOTS_MOST], size_t *n) {
    bool taken[N_TASTE] = {false};
    double left = 1;
    double u = rng_uniform(c->seed, c->id, c->sample, 0);
    size_t want = SLOTS_LEAST + (size_t)(u * (SLOTS_MOST - SLOTS_LEAST + 1));
    for (*n = 0; *n < want && left > NOTHING_LEFT; ++*n) {
        double at = rng_uniform(c->seed, c->id, c->sample, 1 + (uint32_t)*n) * left, sum = 0;
        int word = -1;
        for (int w = 0; w < N_TASTE && sum <= at; w++) {
            if (taken[w] || !(c->taste[w] > 0)) continue;
            sum += c->taste[w];
            word = w;
        }
        if (word < 0) break;
        taken[word] = true;
        words[*n] = word;
        p[*n] = c->taste[word];
        left -= c->taste[word];
    }
}

static pgr_status draw_criteria(const slots_case *c, arena *a, chain *out, pgr_error *err) {
    int words[SLOTS_MOST];
    double p[SLOTS_MOST], weights[SLOTS_MOST], share = slots_taste_share(c->weights);
    const char *names[SLOTS_MOST];
    size_t n = 0;
    out->criteria = arena_array(a, SLOTS_MOST + 2, sizeof *out->criteria);
    if (!out->criteria) return fail_mem(err);
    if (share > 0) draw_words(c, words, p, &n);
    slots_draw_weights(p, n, weights);
    for (size_t i = 0; i < n; i++) {
        PGR_TRY(taste_line(c, a, words[i], 100 * share * weights[i], &out->criteria[i], err));
        names[i] = out->criteria[i].name;
    }
    out->n_criterion = n;
    PGR_TRY(text_lines(c, a, out->criteria, &out->n_criterion, err));
    return persona_sentence(names, n, a, &out->persona, err);
}

/* ---- the whole distribution ---- */

/* A line for each fact with what its word outweighs the other one by; what is left is undecided. */
static pgr_status whole_criteria(const slots_case *c, arena *a, chain *out, pgr_error *err) {
    double share = slots_taste_share(c->weights), decided = 0;
    chain_criterion *list = arena_array(a, N_FACT + 3, sizeof *list);
    size_t n = 0;
    if (!list) return fail_mem(err);
    for (int f = 0; share > 0 && f < N_FACT; f++) {
        double net = c->taste[2 * f] - c->taste[2 * f + 1];
        if (net == 0) continue;
        PGR_TRY(taste_line(c, a, 2 * f + (net < 0), 100 * share * fabs(net), &list[n++], err));
        decided += fabs(net);
    }
    if (share * (1 - decided) > NO_WEIGHT) {
        list[n] = criterion(c, a, RUBRIC_UNDECIDED, 100 * share * (1 - decided),
                            "what the taste gives to a word and its opposite alike");
        if (!list[n].scores) return fail_mem(err);
        for (size_t p = 0; p < c->n_response; p++) list[n].scores[p] = MIDDLE;
        n++;
    }
    PGR_TRY(text_lines(c, a, list, &n, err));
    out->whole = list;
    out->n_whole = n;
    for (size_t p = 0; p < c->n_response; p++) {
        out->expected[p] = 0;
        for (size_t k = 0; k < n; k++) out->expected[p] += list[k].weight / 100 * list[k].scores[p];
    }
    return PGR_OK;
}

/* ---- text ---- */

static char letter(size_t place) {
    return (char)('A' + place % 26);
}

static void put_scores(const double *scores, size_t n, buf *out) {
    for (size_t p = 0; p < n; p++) buf_printf(out, "%s%c %.1f", p ? ", " : "", letter(p), scores[p]);
}

static pgr_status write_text(const slots_case *c, const chain *k, arena *a, const char **out, pgr_error *err) {
    buf text = {0};
    if (*k->persona) buf_printf(&text, "Persona: %s\n", k->persona);
    for (size_t i = 0; i < k->n_criterion; i++) {
        const chain_criterion *line = &k->criteria[i];
        buf_printf(&text, "- %s | %.1f%% | ", line->name, line->weight);
        put_scores(line->scores, c->n_response, &text);
        if (*line->reason) buf_printf(&text, "\n    %s", line->reason);
        buf_puts(&text, "\n");
    }
    buf_puts(&text, "Total: ");
    put_scores(k->declared, c->n_response, &text);
    *out = text.failed ? NULL : arena_strndup(a, text.data, text.n);
    buf_free(&text);
    return *out ? PGR_OK : fail_mem(err);
}

pgr_status slots_chain(const slots_case *c, arena *a, chain *out, const char **text, pgr_error *err) {
    chain k = {.persona = "", .weight_sum = NAN, .parsed = true};
    k.declared = nan_array(a, c->n_response);
    k.recomputed = nan_array(a, c->n_response);
    k.expected = nan_array(a, c->n_response);
    if (!k.declared || !k.recomputed || !k.expected) return fail_mem(err);
    PGR_TRY(draw_criteria(c, a, &k, err));
    chain_weigh(&k, c->n_response);
    PGR_TRY(whole_criteria(c, a, &k, err));
    for (size_t p = 0; p < c->n_response; p++) k.declared[p] = floor(10 * k.recomputed[p] + 0.5 + 1e-9) / 10;
    PGR_TRY(write_text(c, &k, a, text, err));
    *out = k;
    return PGR_OK;
}

/* ---- evidence ---- */

/* The text's beginning on one line, without bars, which part the fields of a chain's lines. */
static char *quote(arena *a, const char *s) {
    size_t n = strlen(s), keep = n <= QUOTED ? n : utf8_complete(s, QUOTED);
    char *out = span_copy(a, (span){s, s + keep}, QUOTED);
    for (char *p = out; p && *p; p++)
        if (*p == '|') *p = '/';
    return out && keep < n ? arena_printf(a, "%s...", out) : out;
}

pgr_status slots_evidence(const preference_pair *history, const size_t *pairs, size_t n, arena *a,
                          const char *out[N_TASTE], pgr_error *err) {
    double most[N_TASTE] = {0}, levels[N_FACT];
    size_t from[N_TASTE] = {0};
    for (size_t i = 0; i < n; i++) {
        slots_pair_levels(&history[pairs[i]], levels);
        for (int w = 0; w < N_TASTE; w++) {
            double level = w % 2 ? -levels[w / 2] : levels[w / 2];
            if (level > 0 && level >= most[w]) most[w] = level, from[w] = pairs[i];
        }
    }
    for (int w = 0; w < N_TASTE; w++) {
        out[w] = "";
        if (!(most[w] > 0)) continue;
        const preference_pair *p = &history[from[w]];
        char *chosen = quote(a, p->chosen), *rejected = quote(a, p->rejected);
        if (!chosen || !rejected) return fail_mem(err);
        out[w] = arena_printf(a, "as in choice %zu: \"%s\" over \"%s\"", from[w] + 1, chosen, rejected);
        if (!out[w]) return fail_mem(err);
    }
    return PGR_OK;
}
