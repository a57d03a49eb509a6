/* forms_ranked.c - rows of several responses with scores or ranks: UltraFeedback, PersonalLLM, Nectar. All pairs of
 * a row share a group. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "user/dialogue.h"
#include "user/forms.h"

typedef struct ranked {
    const char *text;
    double value; /* the greater the better; NaN: it has none */
    size_t place; /* in the row */
} ranked;

typedef struct ranking {
    dialogue asked;
    ranked v[FORM_RESPONSES_MAX]; /* (n) */
    size_t n;
    bool scored; /* the values are scores, which a pair keeps */
} ranking;

typedef enum ranking_pairs {
    PAIRS_ALL,  /* each better one against each worse one */
    PAIRS_BEST, /* the best against the others */
    PAIRS_NEXT, /* each against those of the next rank */
} ranking_pairs;

/* The best first; those without a value last; else the row's order. */
static int by_value(const void *x, const void *y) {
    const ranked *a = x, *b = y;
    if (isnan(a->value) != isnan(b->value)) return isnan(a->value) ? 1 : -1;
    if (!isnan(a->value) && a->value != b->value) return a->value > b->value ? -1 : 1;
    return a->place < b->place ? -1 : a->place > b->place;
}

static pgr_status add_pair(const field_reader *in, record_list *out, const ranking *r, size_t i, size_t k,
                           const pair_record *about) {
    turn turns[2] = {{.role = "assistant", .text = r->v[i].text}, {.role = "assistant", .text = r->v[k].text}};
    pair_record p = *about;
    if (r->scored) p.chosen_score = r->v[i].value;
    if (r->scored) p.rejected_score = r->v[k].value;
    if (isnan(r->v[i].value) || isnan(r->v[k].value))
        rules_leave(out, PGR_LEFT_UNCHOSEN);
    else if (r->v[i].value == r->v[k].value)
        rules_leave(out, PGR_LEFT_TIE);
    else
        return dialogue_pair(in, out, &r->asked, &(dialogue){turns, 1}, &(dialogue){turns + 1, 1}, &p);
    return PGR_OK;
}

/* Where the next rank begins. */
static size_t rank_end(const ranking *r, size_t i) {
    size_t end = i + 1;
    while (end < r->n && r->v[end].value == r->v[i].value) end++;
    return end;
}

static pgr_status add_pairs(const field_reader *in, record_list *out, ranking *r, ranking_pairs which, pair_record *p) {
    const char *texts[FORM_RESPONSES_MAX];
    for (size_t i = 0; i < r->n; i++) texts[i] = r->v[i].text;
    const turn *last = r->asked.n ? &r->asked.turns[r->asked.n - 1] : NULL;
    PGR_TRY(form_group(in, last ? last->text : "", texts, r->n, p));
    qsort(r->v, r->n, sizeof *r->v, by_value);
    for (size_t i = 0; i < r->n && (which != PAIRS_BEST || i == 0); i++) {
        size_t next = rank_end(r, i);
        size_t end = which == PAIRS_NEXT && next < r->n ? rank_end(r, next) : r->n;
        for (size_t k = i + 1; k < end; k++) PGR_TRY(add_pair(in, out, r, i, k, p));
    }
    return PGR_OK;
}

static pgr_status read_asked(const field_reader *in, const json_t *row, const char *key, ranking *r) {
    field_path p = field_key(&FIELD_TOP, key);
    return dialogue_read(in, json_object_get(row, key), &p, "user", &r->asked);
}

/* A score as a number, or written out. */
static pgr_status read_value(const field_reader *in, const json_t *object, const field_path *at, const char *key,
                             double *out) {
    const json_t *v = field_given(object, key);
    const char *text = json_string_value(v);
    char *end = NULL;
    *out = NAN;
    if (!v) return PGR_OK;
    if (json_is_number(v)) *out = json_number_value(v);
    if (text) *out = strtod(text, &end);
    if (text && strcmp(text, "N/A") == 0) return PGR_OK;
    bool read = json_is_number(v) || (text && end != text && !*end && isfinite(*out));
    field_path p = field_key(at, key);
    return read ? PGR_OK : field_fail(in, &p, json_kind(v), "a number");
}

/* The responses of a list of objects: text and value under these keys; low: the least value is the best. */
static pgr_status read_list(const field_reader *in, const json_t *row, const char *key, const char *text_key,
                            const char *value_key, bool low, ranking *r) {
    field_path p = field_key(&FIELD_TOP, key);
    const json_t *list = json_object_get(row, key);
    PGR_TRY(json_want_array(list, field_at(in, &p), in->err));
    size_t n = json_array_size(list);
    if (n > FORM_RESPONSES_MAX)
        return fail(in->err, PGR_E_LIMIT, "%s: %s: found %zu responses, expected at most %d", in->file, key, n,
                    FORM_RESPONSES_MAX);
    for (size_t i = 0; i < n; i++) {
        field_path item = field_item(&p, i);
        const json_t *v = json_array_get(list, i);
        ranked *to = &r->v[r->n++];
        to->place = i;
        PGR_TRY(json_want_object(v, field_at(in, &item), in->err));
        PGR_TRY(form_response(in, v, &item, text_key, &to->text));
        PGR_TRY(read_value(in, v, &item, value_key, &to->value));
        if (low) to->value = -to->value;
    }
    return PGR_OK;
}

/* ---- UltraFeedback, Nectar --------------------------------------------------------------------------------------- */

pgr_status form_ultrafeedback_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"id", "prompt_id", NULL};
    pair_record p;
    ranking r = {.scored = true};
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, NULL, &p.user_id));
    PGR_TRY(read_asked(in, v, "instruction", &r));
    PGR_TRY(read_list(in, v, "completions", "response", "overall_score", false, &r));
    return add_pairs(in, out, &r, PAIRS_ALL, &p);
}

pgr_status form_nectar_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"id", "prompt_id", NULL};
    pair_record p;
    ranking r = {0};
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, NULL, &p.user_id));
    PGR_TRY(read_asked(in, v, "prompt", &r));
    PGR_TRY(read_list(in, v, "answers", "answer", "rank", true, &r));
    return add_pairs(in, out, &r, PAIRS_NEXT, &p);
}

/* ---- PersonalLLM ------------------------------------------------------------------------------------------------- */

/* The reward model that a column `response_N_NAME` is a score of, N one of n responses; NULL: it is none. */
static const char *model_of(const char *key, size_t n, size_t *response) {
    static const char begin[] = "response_";
    if (!text_starts(key, begin)) return NULL;
    char *end = NULL;
    const char *digits = key + sizeof begin - 1;
    unsigned long k = digits[0] >= '1' && digits[0] <= '9' ? strtoul(digits, &end, 10) : 0;
    if (k == 0 || k > n || *end != '_' || !end[1] || strlen(end + 1) > 80) return NULL;
    *response = k;
    return end + 1;
}

/* Whether no response before this one has a number of the reward model: a model is asked once. */
static bool is_first(const json_t *row, const char *model, size_t response) {
    for (size_t i = 1; i < response; i++) {
        char key[120];
        snprintf(key, sizeof key, "response_%zu_%s", i, model);
        if (json_is_number(json_object_get(row, key))) return false;
    }
    return true;
}

/* response_1, response_2, ... */
static pgr_status read_numbered(const field_reader *in, const json_t *row, ranking *r) {
    for (size_t i = 1; i <= FORM_RESPONSES_MAX; i++) {
        char key[24];
        snprintf(key, sizeof key, "response_%zu", i);
        if (!json_object_get(row, key)) break;
        r->v[r->n] = (ranked){.value = NAN, .place = i};
        PGR_TRY(form_response(in, row, &FIELD_TOP, key, &r->v[r->n++].text));
    }
    return PGR_OK;
}

/* Adds weight times what the reward model says of each response, in the row's order. */
static pgr_status add_scores(const field_reader *in, const json_t *row, const char *model, size_t n_model,
                             double weight, ranking *r) {
    for (size_t i = 0; i < r->n; i++) {
        char key[120];
        double score;
        snprintf(key, sizeof key, "response_%zu_%.*s", i + 1, (int)n_model, model);
        PGR_TRY(read_value(in, row, &FIELD_TOP, key, &score));
        r->v[i].value += weight * score;
    }
    return PGR_OK;
}

static ranking without_scores(const ranking *row) {
    ranking r = *row;
    for (size_t i = 0; i < r.n; i++) r.v[i].value = 0;
    return r;
}

static pgr_status fail_weights(const field_reader *in, const char *at) {
    return fail(in->err, PGR_E_ARG,
                "weights: found \"%.60s\", expected REWARDMODEL=NUMBER,... as in \"gemma_2b=0.7,beaver_7b=0.3\"", at);
}

/* One user who weighs reward models: "a=0.7,b=0.3". */
static pgr_status add_weighted(const field_reader *in, const json_t *row, const ranking *all, pair_record *p,
                               record_list *out) {
    ranking r = without_scores(all);
    PGR_TRY(rules_user(in, out, row, NULL, NULL, &p->user_id));
    for (const char *at = out->with->weights; *at;) {
        size_t n = strcspn(at, "=,");
        char *end = NULL;
        double weight = at[n] == '=' ? strtod(at + n + 1, &end) : 0;
        if (n == 0 || n > 80 || !end || end == at + n + 1 || !isfinite(weight) || (*end && *end != ','))
            return fail_weights(in, at);
        PGR_TRY(add_scores(in, row, at, n, weight, &r));
        at = end + (*end == ',');
    }
    return add_pairs(in, out, &r, PAIRS_BEST, p);
}

pgr_status form_personalllm_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"prompt_id", "id", NULL};
    pair_record p;
    ranking all = {.scored = true};
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(read_asked(in, v, "prompt", &all));
    PGR_TRY(read_numbered(in, v, &all));
    if (out->with->weights) return add_weighted(in, v, &all, &p, out);
    for (void *it = json_object_iter(v); it; it = json_object_iter_next(v, it)) {
        size_t response;
        const char *model = model_of(json_object_iter_key(it), all.n, &response);
        if (!model || !json_is_number(json_object_iter_value(it)) || !is_first(v, model, response)) continue;
        ranking r = without_scores(&all);
        PGR_TRY(field_copy(in, model, &p.user_id));
        PGR_TRY(add_scores(in, v, model, strlen(model), 1, &r));
        PGR_TRY(add_pairs(in, out, &r, PAIRS_BEST, &p));
    }
    return PGR_OK;
}
