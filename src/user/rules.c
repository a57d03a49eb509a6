/* rules.c - users, splits, and which pairs are left out: the same for every form of data set. */
#include "user/rules.h"

#include <string.h>
#include <strings.h>

#include "base/text.h"

/* ---- what is left out -------------------------------------------------------------------------------------------- */

const char *pgr_left_name(pgr_left why) {
    static const char *const names[PGR_LEFT_N] = {"empty", "alike", "tie", "unchosen", "unasked", "apart"};
    return (unsigned)why < PGR_LEFT_N ? names[why] : "unknown";
}

const char *pgr_left_text(pgr_left why) {
    static const char *const texts[PGR_LEFT_N] = {
        "a response is empty",
        "both responses are the same text",
        "a tie, or equal scores",
        "nothing was chosen",
        "no question",
        "the two dialogues ask different questions",
    };
    return (unsigned)why < PGR_LEFT_N ? texts[why] : "unknown";
}

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
    **out = (record){.kind = kind};
    return PGR_OK;
}

void rules_leave(record_list *list, pgr_left why) {
    list->left_out[why]++;
}

pgr_status rules_pair(const field_reader *in, record_list *list, const pair_record *p, record **added) {
    const preference_pair *pair = &p->pair;
    record *r = NULL;
    if (added) *added = NULL;
    if (pair->n_context == 0 || field_is_blank(pair->context[pair->n_context - 1].text))
        rules_leave(list, PGR_LEFT_UNASKED);
    else if (field_is_blank(pair->chosen) || field_is_blank(pair->rejected))
        rules_leave(list, PGR_LEFT_EMPTY);
    else if (strcmp(pair->chosen, pair->rejected) == 0 && !list->with->keep_alike)
        rules_leave(list, PGR_LEFT_ALIKE);
    else {
        PGR_TRY(record_add(in, list, RECORD_PAIR, &r));
        r->pair = *p;
        if (added) *added = r;
    }
    return PGR_OK;
}

/* ---- users ------------------------------------------------------------------------------------------------------- */

static pgr_status fail_user(const field_reader *in, const record_list *list, const char *own_key) {
    const char *key = list->with->user_key ? list->with->user_key : "user_id";
    field_path p = field_key(&FIELD_TOP, key);
    char expected[200];
    snprintf(expected, sizeof expected,
             "the user's name%s%s%s, or one for all such rows (--user), or another column (--user-key)",
             own_key ? " there or under `" : "", own_key ? own_key : "", own_key ? "`" : "");
    return field_fail(in, &p, "nothing", expected);
}

pgr_status rules_user(const field_reader *in, const record_list *list, const json_t *row, const json_t *row2,
                      const char *own_key, const char **out) {
    const dataset_options *with = list->with;
    const char *keys[] = {with->user_key ? with->user_key : "user_id", with->user_key ? NULL : own_key};
    *out = "";
    for (size_t i = 0; i < 2 && keys[i]; i++) {
        PGR_TRY(field_optional_id(in, row, keys[i], out));
        if (!(*out)[0] && row2) PGR_TRY(field_optional_id(in, row2, keys[i], out));
        if ((*out)[0]) return PGR_OK;
    }
    const json_t *plain = json_object_get(row, "user"); /* TRL's people and OpenAI's requests name it so */
    if (!with->user_key && json_is_string(plain)) PGR_TRY(field_optional_id(in, row, "user", out));
    if ((*out)[0]) return PGR_OK;
    if (with->user) return field_copy(in, with->user, out);
    if (with->unnamed == UNNAMED_ALONE) return field_copy(in, in->file, out);
    return with->unnamed == UNNAMED_NOBODY ? PGR_OK : fail_user(in, list, with->user_key ? NULL : own_key);
}

/* ---- splits ------------------------------------------------------------------------------------------------------ */

const char RULES_SPLITS[] = "train, validation (val, dev) or test";

const char *rules_split_name(const char *name) {
    static const char *const names[][2] = {{"", ""},       {"train", "train"}, {"validation", "val"},
                                           {"val", "val"}, {"dev", "val"},     {"test", "test"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i][0]) == 0) return names[i][1];
    return NULL;
}

pgr_status rules_split(const field_reader *in, const json_t *row, const char **out) {
    const char *name = "";
    PGR_TRY(field_optional_string(in, row, "split", &FIELD_TOP, &name));
    *out = rules_split_name(name);
    if (*out) return PGR_OK;
    field_path p = field_key(&FIELD_TOP, "split");
    char found[60];
    snprintf(found, sizeof found, "\"%.*s\"", (int)utf8_clip(name, strlen(name), 40), name);
    return field_fail(in, &p, found, RULES_SPLITS);
}

bool rules_is_history(const char *split) {
    return split[0] == '\0' || strcmp(split, "train") == 0;
}

bool rules_is_lesson(const pair_record *p) {
    if (!rules_is_history(p->split)) return false;
    for (size_t i = 0; i < p->n_subset; i++)
        if (strcmp(p->subsets[i], RULES_HISTORY) == 0) return false;
    return true;
}
