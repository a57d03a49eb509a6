/* forms.c - the table of forms, and our own two: PersonalRewardBench records and users. */
#include "user/forms.h"

#include <math.h>
#include <string.h>

const form FORMS[] = {
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
