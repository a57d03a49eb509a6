/* forms.c - the table of forms, and our own two: PersonalRewardBench records and users. */
#include "user/forms.h"

#include <math.h>
#include <string.h>

/* Keys that tell: of the narrow forms first, since a pair's and a user's keys stand in others' records too. */
const form FORMS[] = {
    {"prism", "PRISM's conversations (conversation_history)", form_conversation_tells, form_conversation_read},
    {"prism", "PRISM's survey (stated_prefs)", form_survey_tells, form_survey_read},
    {"prism", "PRISM's utterances (utterance_id)", form_utterance_tells, NULL},
    {"lampqa", "LaMP-QA's questions (question, profile)", form_lampqa_tells, form_lampqa_read},
    {"prb", "a PersonalRewardBench record (user_id, context, chosen, rejected)", form_prb_tells, form_prb_read},
    {"user", "a user (user_id, demographics)", form_user_tells, form_user_read},
    {NULL, NULL, NULL, NULL},
};

pgr_status record_add(const field_reader *in, record_list *list, record_kind kind, record **out) {
    if (list->n == list->cap) {
        size_t cap = list->cap ? 2 * list->cap : 4;
        record *v = arena_array(in->a, cap, sizeof *v);
        if (!v) return fail_mem(in->err);
        if (list->n) memcpy(v, list->v, list->n * sizeof *v);
        list->v = v;
        list->cap = cap;
    }
    *out = &list->v[list->n++];
    (*out)->kind = kind;
    return PGR_OK;
}

/* The record's user must be told: nothing is kept of nobody. */
static pgr_status want_user_id(const field_reader *in, const char *id) {
    field_path p = field_key(&FIELD_TOP, "user_id");
    return id[0] ? PGR_OK : field_fail(in, &p, "nothing", "the user's name");
}

bool form_prb_tells(const json_t *v) {
    return json_object_get(v, "chosen") || json_object_get(v, "rejected") || json_object_get(v, "context");
}

pgr_status form_prb_read(const field_reader *in, json_t *v, record_list *out) {
    record *r = NULL;
    PGR_TRY(record_add(in, out, RECORD_PAIR, &r));
    PGR_TRY(field_pair_record(in, v, &r->pair));
    return want_user_id(in, r->pair.user_id);
}

bool form_user_tells(const json_t *v) {
    return json_object_get(v, "demographics") || json_object_get(v, "criteria") || json_object_get(v, "history");
}

/* A pair of a user's history is a record without a conversation. */
static pgr_status add_history(const field_reader *in, const user_fields *u, record_list *out) {
    for (size_t i = 0; i < u->n_history; i++) {
        record *r = NULL;
        PGR_TRY(record_add(in, out, RECORD_PAIR, &r));
        r->pair = (pair_record){.user_id = u->user.id,
                                .conversation_id = "",
                                .pair = u->history[i],
                                .split = "",
                                .type = "",
                                .choice_attributes = ""};
        r->pair.chosen_score = r->pair.rejected_score = NAN;
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
    PGR_TRY(want_user_id(in, u.user.id));
    record *r = NULL;
    PGR_TRY(record_add(in, out, RECORD_USER, &r));
    r->user = u.user;
    return add_history(in, &u, out);
}

/* ---- LaMP-QA (docs/formats.md, "LaMP-QA") ------------------------------------------------------------------------ */

bool form_lampqa_tells(const json_t *v) {
    return json_object_get(v, "question") && (json_object_get(v, "profile") || json_object_get(v, "rubric_aspects"));
}

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
