/* forms_votes.c - two responses and a vote between them: Chatbot Arena, HelpSteer3's preferences, MultiPref, SHP. */
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "user/dialogue.h"
#include "user/forms.h"

typedef enum vote { VOTE_NONE, VOTE_TIE, VOTE_A, VOTE_B } vote;

/* The pair of two ways in which `asked` goes on, in the order of the vote. */
static pgr_status add_vote(const field_reader *in, record_list *out, const dialogue *asked, const dialogue *a,
                           const dialogue *b, vote v, pair_record *p) {
    if (v == VOTE_NONE || v == VOTE_TIE) {
        rules_leave(out, v == VOTE_TIE ? PGR_LEFT_TIE : PGR_LEFT_UNCHOSEN);
        return PGR_OK;
    }
    return dialogue_pair(in, out, asked, v == VOTE_A ? a : b, v == VOTE_A ? b : a, p);
}

static pgr_status read_dialogue(const field_reader *in, const json_t *row, const char *key, const char *role,
                                dialogue *out) {
    field_path p = field_key(&FIELD_TOP, key);
    return dialogue_read(in, json_object_get(row, key), &p, role, out);
}

/* A response as a dialogue of one turn. */
static pgr_status read_response(const field_reader *in, const json_t *row, const char *key, dialogue *out) {
    const char *text = NULL;
    PGR_TRY(form_response(in, row, &FIELD_TOP, key, &text));
    return dialogue_of_answer(in, text, out);
}

static pgr_status fail_value(const field_reader *in, const field_path *p, const char *text, const char *expected) {
    char found[60];
    snprintf(found, sizeof found, "\"%.*s\"", (int)utf8_clip(text, strlen(text), 40), text);
    return field_fail(in, p, found, expected);
}

/* ---- Chatbot Arena ----------------------------------------------------------------------------------------------- */

static pgr_status read_winner(const field_reader *in, const json_t *row, vote *out) {
    static const struct {
        const char *name;
        vote vote;
    } names[] = {{"model_a", VOTE_A},         {"model_b", VOTE_B},   {"tie", VOTE_TIE},
                 {"tie (bothbad)", VOTE_TIE}, {"bothbad", VOTE_TIE}, {"both_bad", VOTE_TIE}};
    const char *winner = NULL;
    field_path p = field_key(&FIELD_TOP, "winner");
    *out = VOTE_NONE;
    PGR_TRY(field_optional_string(in, row, "winner", &FIELD_TOP, &winner));
    if (!winner) return PGR_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(winner, names[i].name) == 0) {
            *out = names[i].vote;
            return PGR_OK;
        }
    return fail_value(in, &p, winner, "model_a, model_b, tie, tie (bothbad) or both_bad");
}

/* The dialogue up to the answer that was judged: `turn` counts the user's, from 1. */
static void cut_at_turn(const json_t *row, dialogue *d) {
    json_int_t last = json_integer_value(json_object_get(row, "turn")), seen = 0;
    for (size_t i = 0; i < d->n && last > 0; i++)
        if (strcmp(d->turns[i].role, "user") == 0 && ++seen > last) d->n = i;
}

pgr_status form_arena_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"question_id", "id", "conversation_id", NULL};
    pair_record p;
    dialogue a, b, none = {0};
    vote winner;
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, "judge", &p.user_id));
    PGR_TRY(read_winner(in, v, &winner));
    PGR_TRY(read_dialogue(in, v, "conversation_a", "assistant", &a));
    PGR_TRY(read_dialogue(in, v, "conversation_b", "assistant", &b));
    cut_at_turn(v, &a);
    cut_at_turn(v, &b);
    return add_vote(in, out, &none, &a, &b, winner, &p);
}

/* ---- HelpSteer3 -------------------------------------------------------------------------------------------------- */

/* -3: response 1 is much better, ... 3: response 2 is; the size is the weight. */
static pgr_status read_preference(const field_reader *in, const json_t *row, vote *out, double *weight) {
    double size = NAN;
    field_path p = field_key(&FIELD_TOP, "overall_preference");
    *out = VOTE_NONE;
    PGR_TRY(field_optional_number(in, row, "overall_preference", &size));
    if (isnan(size)) return PGR_OK;
    if (fabs(size) > 3) return field_fail(in, &p, "a number beyond them", "-3 to 3");
    *out = size == 0 ? VOTE_TIE : size < 0 ? VOTE_A : VOTE_B;
    if (size != 0) *weight = fabs(size);
    return PGR_OK;
}

pgr_status form_helpsteer_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"id", "conversation_id", NULL};
    pair_record p;
    dialogue asked, a, b;
    vote preferred;
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, "annotator", &p.user_id));
    PGR_TRY(read_preference(in, v, &preferred, &p.weight));
    PGR_TRY(read_dialogue(in, v, "context", "user", &asked));
    PGR_TRY(read_response(in, v, "response1", &a));
    PGR_TRY(read_response(in, v, "response2", &b));
    return add_vote(in, out, &asked, &a, &b, preferred, &p);
}

/* ---- MultiPref --------------------------------------------------------------------------------------------------- */

/* "A-is-clearly-better" weighs 2, "A-is-slightly-better" 1. */
static pgr_status read_overall(const field_reader *in, const json_t *annotation, const field_path *at, vote *out,
                               double *weight) {
    static const struct {
        const char *name;
        vote vote;
        double weight;
    } names[] = {{"A-is-clearly-better", VOTE_A, 2},
                 {"A-is-slightly-better", VOTE_A, 1},
                 {"Tie", VOTE_TIE, 1},
                 {"B-is-clearly-better", VOTE_B, 2},
                 {"B-is-slightly-better", VOTE_B, 1}};
    const char *said = NULL;
    field_path p = field_key(at, "overall_pref");
    *out = VOTE_NONE;
    PGR_TRY(field_optional_string(in, annotation, "overall_pref", at, &said));
    for (size_t i = 0; said && i < sizeof names / sizeof *names; i++)
        if (strcasecmp(said, names[i].name) == 0) {
            *out = names[i].vote;
            *weight = names[i].weight;
            return PGR_OK;
        }
    return said ? fail_value(in, &p, said, "A-is-clearly-better, A-is-slightly-better, Tie, or the same of B") : PGR_OK;
}

typedef struct compared { /* what the annotations of one row have in common */
    const json_t *row;
    dialogue asked, a, b;
    pair_record pair;
} compared;

static pgr_status read_annotation(const field_reader *in, const json_t *v, const field_path *at, const compared *c,
                                  record_list *out) {
    pair_record p = c->pair;
    vote preferred;
    PGR_TRY(json_want_object(v, field_at(in, at), in->err));
    PGR_TRY(rules_user(in, out, v, c->row, "evaluator", &p.user_id));
    PGR_TRY(read_overall(in, v, at, &preferred, &p.weight));
    return add_vote(in, out, &c->asked, &c->a, &c->b, preferred, &p);
}

pgr_status form_multipref_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"comparison_id", "prompt_id", NULL};
    static const char *const lists[] = {"annotations", "normal_worker_annotations", "expert_worker_annotations"};
    compared c = {.row = v};
    PGR_TRY(form_begin(in, v, ids, &c.pair));
    PGR_TRY(read_dialogue(in, v, "text", "user", &c.asked));
    PGR_TRY(read_response(in, v, "completion_a", &c.a));
    PGR_TRY(read_response(in, v, "completion_b", &c.b));
    for (size_t i = 0; i < 3; i++) {
        const json_t *list = field_given(v, lists[i]);
        field_path p = field_key(&FIELD_TOP, lists[i]);
        if (list) PGR_TRY(json_want_array(list, field_at(in, &p), in->err));
        for (size_t k = 0; k < json_array_size(list); k++) {
            field_path item = field_item(&p, k);
            PGR_TRY(read_annotation(in, json_array_get(list, k), &item, &c, out));
        }
    }
    return PGR_OK;
}

/* ---- SHP --------------------------------------------------------------------------------------------------------- */

static pgr_status read_label(const field_reader *in, const json_t *row, vote *out) {
    double label = NAN;
    field_path p = field_key(&FIELD_TOP, "labels");
    PGR_TRY(field_optional_number(in, row, "labels", &label));
    *out = isnan(label) ? VOTE_NONE : label == 1 ? VOTE_A : VOTE_B;
    return isnan(label) || label == 0 || label == 1 ? PGR_OK : field_fail(in, &p, "another number", "1 (A) or 0 (B)");
}

pgr_status form_shp_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"post_id", NULL};
    pair_record p;
    dialogue asked, a, b;
    vote label;
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, NULL, &p.user_id));
    PGR_TRY(read_label(in, v, &label));
    PGR_TRY(field_optional_number(in, v, label == VOTE_A ? "score_A" : "score_B", &p.chosen_score));
    PGR_TRY(field_optional_number(in, v, label == VOTE_A ? "score_B" : "score_A", &p.rejected_score));
    PGR_TRY(read_dialogue(in, v, "history", "user", &asked));
    PGR_TRY(read_response(in, v, "human_ref_A", &a));
    PGR_TRY(read_response(in, v, "human_ref_B", &b));
    return add_vote(in, out, &asked, &a, &b, label, &p);
}
