/* forms_own.c - PersonalRewardBench records (docs/formats.md; what `user export` writes), users as in a request, and
 * LaMP-QA's questions. */
#include <string.h>

#include "user/forms.h"

/* ---- PersonalRewardBench ----------------------------------------------------------------------------------------- */

/* The columns of PersonalRewardBench and of data sets written in its form. Those that say nothing about the pair are
 * read over; so are columns that begin with `prediction_` or `reasoning_`. */
static const char *const RECORD_KEYS[] = {"user_id",
                                          "conversation_id",
                                          "context",
                                          "chosen",
                                          "rejected",
                                          "split",
                                          "chosen_score",
                                          "rejected_score",
                                          "turns",
                                          "type",
                                          "flip",
                                          "dataset",
                                          "category",
                                          "subset",
                                          "chosen_model",
                                          "rejected_model",
                                          "choice_attributes",
                                          "weight",
                                          "group",
                                          "formatted_choice_attributes",
                                          "query_reasoning",
                                          "personalizable_query",
                                          "response_reasoning",
                                          "personalizable_responses",
                                          "agreement",
                                          "truth", /* ours, of synthetic users: pgr_synth */
                                          "prototype",
                                          NULL};

/* {"role": .., "content": "text"}, or the text alone. */
static pgr_status read_side(const field_reader *in, const json_t *top, const char *key, const char **out) {
    const json_t *v = json_object_get(top, key);
    field_path p = field_key(&FIELD_TOP, key);
    if (!json_is_object(v)) return form_response(in, top, &FIELD_TOP, key, out);
    return form_said(in, v, &p, out);
}

/* The first of the keys that is given, as text or lines. */
static pgr_status read_attributes(const field_reader *in, const json_t *top, const char **out) {
    static const char *const keys[] = {"choice_attributes", "formatted_choice_attributes"};
    for (size_t i = 0; i < 2; i++) {
        field_path p = field_key(&FIELD_TOP, keys[i]);
        if (field_given(top, keys[i])) return field_lines(in, field_given(top, keys[i]), &p, out);
    }
    return PGR_OK;
}

static pgr_status read_numbers(const field_reader *in, const json_t *top, pair_record *p) {
    PGR_TRY(field_optional_number(in, top, "chosen_score", &p->chosen_score));
    PGR_TRY(field_optional_number(in, top, "rejected_score", &p->rejected_score));
    PGR_TRY(field_optional_number(in, top, "weight", &p->weight));
    field_path weight = field_key(&FIELD_TOP, "weight");
    return p->weight > 0 ? PGR_OK : field_fail(in, &weight, "0 or less", "more than 0");
}

static pgr_status read_context(const field_reader *in, const json_t *top, preference_pair *out) {
    field_path p = field_key(&FIELD_TOP, "context");
    turn *turns = NULL;
    PGR_TRY(field_dialogue(in, json_object_get(top, "context"), &p, false, &turns, &out->n_context));
    out->context = turns;
    if (out->n_context == 0) return PGR_OK; /* nothing was asked: the rules leave it out */
    field_path last = field_item(&p, out->n_context - 1), role = field_key(&last, "role");
    const char *said = turns[out->n_context - 1].role;
    return strcmp(said, "user") == 0 ? PGR_OK : field_fail(in, &role, said, "the last turn to be the user's");
}

pgr_status form_prb_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const ids[] = {"conversation_id", NULL};
    pair_record p;
    field_path subset = field_key(&FIELD_TOP, "subset");
    const char *const read_over[] = {"prediction_", "reasoning_", out->with->user_key, NULL};
    PGR_TRY(field_columns(in, v, RECORD_KEYS, read_over));
    PGR_TRY(form_begin(in, v, ids, &p));
    PGR_TRY(rules_user(in, out, v, NULL, NULL, &p.user_id));
    PGR_TRY(read_context(in, v, &p.pair));
    PGR_TRY(read_side(in, v, "chosen", &p.pair.chosen));
    PGR_TRY(read_side(in, v, "rejected", &p.pair.rejected));
    PGR_TRY(read_numbers(in, v, &p));
    PGR_TRY(field_optional_string(in, v, "type", &FIELD_TOP, &p.type));
    PGR_TRY(field_optional_string(in, v, "group", &FIELD_TOP, &p.group));
    const json_t *subsets = field_given(v, "subset");
    if (subsets) PGR_TRY(field_strings(in, subsets, &subset, &p.subsets, &p.n_subset));
    PGR_TRY(read_attributes(in, v, &p.choice_attributes));
    return rules_pair(in, out, &p, NULL);
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

/* A pair of a user's history is a record without a conversation. */
static pgr_status add_history(const field_reader *in, const user_fields *u, record_list *out) {
    for (size_t i = 0; i < u->n_history; i++) {
        pair_record p = pair_record_none();
        p.user_id = u->user.id;
        p.pair = u->history[i];
        PGR_TRY(rules_pair(in, out, &p, NULL));
    }
    return PGR_OK;
}

/* {"user_id", "demographics", "criteria"}, or a request's "user" object (id, history, criteria, demographics). */
pgr_status form_user_read(const field_reader *in, json_t *v, record_list *out) {
    const char *id = "";
    json_t *name = json_object_get(v, "user_id");
    if (name) { /* the rest is as in a request */
        PGR_TRY(field_optional_id(in, v, "user_id", &id));
        json_incref(name);
        json_object_del(v, "user_id");
    }
    user_fields u;
    pgr_status status = field_user(in, v, &FIELD_TOP, &u);
    if (name) {
        json_decref(name);
        if (status == PGR_OK && u.user.id[0])
            status = field_fail(in, &FIELD_TOP, "both `id` and `user_id`", "one of them");
        u.user.id = id;
    }
    PGR_TRY(status);
    field_path p = field_key(&FIELD_TOP, "user_id");
    if (!u.user.id[0]) return field_fail(in, &p, "nothing", "the user's name");
    record *r = NULL;
    PGR_TRY(record_add(in, out, RECORD_USER, &r));
    r->user = u.user;
    return add_history(in, &u, out);
}

/* ---- LaMP-QA (docs/formats.md, "LaMP-QA") ------------------------------------------------------------------------ */

/* The texts under one key of the objects of a list. */
static pgr_status read_column(const field_reader *in, const json_t *v, const char *list, const char *key,
                              const char *const *known, const char *const **out, size_t *n) {
    field_path p = field_key(&FIELD_TOP, list);
    const json_t *items = field_given(v, list);
    if (!items) return PGR_OK;
    PGR_TRY(json_want_array(items, field_at(in, &p), in->err));
    size_t count = json_array_size(items);
    const char **texts = arena_array(in->a, count, sizeof *texts);
    if (!texts) return fail_mem(in->err);
    for (size_t i = 0; i < count; i++) {
        field_path item = field_item(&p, i), text = field_key(&item, key);
        PGR_TRY(field_keys(in, json_array_get(items, i), known, &item));
        PGR_TRY(field_text(in, json_object_get(json_array_get(items, i), key), &text, &texts[i]));
    }
    *out = texts;
    *n = count;
    return PGR_OK;
}

pgr_status form_lampqa_read(const field_reader *in, json_t *v, record_list *out) {
    static const char *const keys[] = {"id", "question", "profile", "narrative", "rubric_aspects", "category", NULL};
    static const char *const profile_keys[] = {"id", "text", NULL};
    static const char *const aspect_keys[] = {"aspect", "reason", "evidence", NULL};
    PGR_TRY(field_keys(in, v, keys, &FIELD_TOP));
    record *r = NULL;
    PGR_TRY(record_add(in, out, RECORD_QUESTION, &r));
    question_record *q = &r->question;
    *q = (question_record){.id = "", .narrative = "", .category = ""};
    field_path question = field_key(&FIELD_TOP, "question"), id = field_key(&FIELD_TOP, "id");
    PGR_TRY(field_optional_id(in, v, "id", &q->id));
    if (!q->id[0]) return field_fail(in, &id, "nothing", "the question's name");
    q->user_id = q->id; /* a question is its asker's only one */
    PGR_TRY(field_text(in, json_object_get(v, "question"), &question, &q->question));
    PGR_TRY(field_optional_string(in, v, "narrative", &FIELD_TOP, &q->narrative));
    PGR_TRY(field_optional_string(in, v, "category", &FIELD_TOP, &q->category));
    PGR_TRY(read_column(in, v, "profile", "text", profile_keys, &q->profile, &q->n_profile));
    return read_column(in, v, "rubric_aspects", "aspect", aspect_keys, &q->aspects, &q->n_aspect);
}
