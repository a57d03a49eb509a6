/* forms_prism.c - PRISM as it was published (docs/formats.md, "PRISM"). A conversation gives a pair for every response
 * of a turn beside the chosen one, its context the dialogue so far; the survey gives what a user says of himself.
 * utterances.jsonl, which holds the same responses one by one, is utterances.c's. */
#include <math.h>
#include <string.h>

#include "user/prism.h"

static const char *const CONVERSATION_KEYS[] = {"conversation_id",
                                                "user_id",
                                                "conversation_type",
                                                "opening_prompt",
                                                "conversation_turns",
                                                "conversation_history",
                                                "performance_attributes",
                                                "choice_attributes",
                                                "open_feedback",
                                                "generated_datetime",
                                                "included_in_balanced_subset",
                                                NULL};
static const char *const CONVERSATION_PREFIXES[] = {"timing_", NULL};
static const char *const ENTRY_KEYS[] = {"turn",  "role",      "content",        "model_name", "model_provider",
                                         "score", "if_chosen", "within_turn_id", NULL};
static const char *const SURVEY_KEYS[] = {"user_id",
                                          "survey_only",
                                          "num_completed_conversations",
                                          "self_description",
                                          "system_string",
                                          "age",
                                          "gender",
                                          "employment_status",
                                          "education",
                                          "marital_status",
                                          "english_proficiency",
                                          "religion",
                                          "ethnicity",
                                          "location",
                                          "stated_prefs",
                                          "generated_datetime",
                                          NULL};
static const char *const SURVEY_PREFIXES[] = {"consent", "lm_", "study_", "order_", "timing_", "included_in_", NULL};

pgr_status prism_text(const field_reader *in, const json_t *object, const char *key, const field_path *parent,
                      const char **out) {
    *out = "";
    PGR_TRY(field_optional_string(in, object, key, parent, out));
    if (field_is_blank(*out) || strcmp(*out, "EMPTY STRING") == 0) *out = "";
    return PGR_OK;
}

pgr_status prism_user(const field_reader *in, const json_t *v, const char **id) {
    field_path p = field_key(&FIELD_TOP, "user_id");
    *id = "";
    PGR_TRY(field_optional_id(in, v, "user_id", id));
    return (*id)[0] ? PGR_OK : field_fail(in, &p, "nothing", "the user's name");
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* A pair of the turn's chosen response and another one. */
static pgr_status add_pair(const field_reader *in, const prism_dialogue *d, const prism_response *chosen,
                           const prism_response *other, record_list *out) {
    pair_record p = d->about;
    record *added = NULL;
    p.pair = (preference_pair){.context = d->turns, .n_context = d->n, .chosen = chosen->text, .rejected = other->text};
    p.chosen_score = chosen->score;
    p.rejected_score = other->score;
    PGR_TRY(rules_pair(in, out, &p, &added));
    if (added) added->line = other->line;
    return PGR_OK;
}

pgr_status prism_turn(const field_reader *in, prism_dialogue *d, const char *asked, const prism_response *responses,
                      size_t n, record_list *out) {
    const prism_response *chosen = NULL;
    for (size_t i = 0; i < n; i++)
        if (responses[i].chosen) chosen = &responses[i];
    d->turns[d->n++] = (turn){.role = "user", .text = asked};
    if (!chosen && n) rules_leave(out, PGR_LEFT_UNCHOSEN);
    for (size_t i = 0; chosen && i < n; i++)
        if (&responses[i] != chosen) PGR_TRY(add_pair(in, d, chosen, &responses[i], out));
    if (chosen) d->turns[d->n++] = (turn){.role = "assistant", .text = chosen->text};
    return PGR_OK;
}

/* ---- conversations ----------------------------------------------------------------------------------------------- */

typedef struct entry { /* of conversation_history; a prompt is a response that is nobody's */
    int64_t turn;
    bool user;
} entry;

typedef struct conversation {
    entry *entries;           /* (n) */
    prism_response *contents; /* (n) of the entries */
    size_t n;
    prism_dialogue dialogue;
} conversation;

static pgr_status read_entry(const field_reader *in, const json_t *v, const field_path *p, entry *out,
                             prism_response *content) {
    PGR_TRY(field_keys(in, v, ENTRY_KEYS, p));
    field_path turn_path = field_key(p, "turn"), role_path = field_key(p, "role"), score_path = field_key(p, "score");
    const char *role = NULL;
    PGR_TRY(json_want_integer(json_object_get(v, "turn"), field_at(in, &turn_path), 0, 1 << 20, &out->turn, in->err));
    PGR_TRY(json_want_string(json_object_get(v, "role"), field_at(in, &role_path), &role, in->err));
    out->user = strcmp(role, "user") == 0;
    if (!out->user && strcmp(role, "model") != 0)
        return field_fail(in, &role_path, "another role", "\"user\" or \"model\"");
    PGR_TRY(prism_text(in, v, "content", p, &content->text));
    const json_t *score = field_given(v, "score");
    if (score && !json_is_number(score)) return field_fail(in, &score_path, json_kind(score), "a number");
    content->score = score ? json_number_value(score) : NAN;
    return field_flag(in, v, "if_chosen", p, &content->chosen);
}

static pgr_status read_entries(const field_reader *in, const json_t *v, conversation *c) {
    field_path p = field_key(&FIELD_TOP, "conversation_history");
    PGR_TRY(json_want_array(v, field_at(in, &p), in->err));
    c->n = json_array_size(v);
    c->entries = arena_array(in->a, c->n, sizeof *c->entries);
    c->contents = arena_array(in->a, c->n, sizeof *c->contents);
    c->dialogue.turns = arena_array(in->a, 2 * c->n, sizeof *c->dialogue.turns);
    if (!c->entries || !c->contents || !c->dialogue.turns) return fail_mem(in->err);
    for (size_t i = 0; i < c->n; i++) {
        field_path item = field_item(&p, i);
        PGR_TRY(read_entry(in, json_array_get(v, i), &item, &c->entries[i], &c->contents[i]));
    }
    return PGR_OK;
}

/* One turn: entries first (the user's) to end. */
static pgr_status read_turn(const field_reader *in, conversation *c, size_t first, size_t end, record_list *out) {
    field_path history = field_key(&FIELD_TOP, "conversation_history"), item = field_item(&history, first);
    bool chosen = false;
    if (!c->entries[first].user) return field_fail(in, &item, "a model's response", "the user's prompt first");
    for (size_t i = first + 1; i < end; i++) {
        field_path at = field_item(&history, i);
        if (c->entries[i].turn != c->entries[first].turn)
            return field_fail(in, &at, "a response of another turn", "those of one turn together");
        if (c->contents[i].chosen && chosen) return field_fail(in, &at, "a second chosen response", "one in a turn");
        chosen = chosen || c->contents[i].chosen;
    }
    if (!chosen && end < c->n) return field_fail(in, &item, "no chosen response", "one before the dialogue goes on");
    return prism_turn(in, &c->dialogue, c->contents[first].text, c->contents + first + 1, end - first - 1, out);
}

pgr_status form_conversation_read(const field_reader *in, json_t *v, record_list *out) {
    conversation c = {.dialogue.about = pair_record_none()};
    pair_record *about = &c.dialogue.about;
    PGR_TRY(field_columns(in, v, CONVERSATION_KEYS, CONVERSATION_PREFIXES));
    PGR_TRY(prism_user(in, v, &about->user_id));
    PGR_TRY(field_optional_id(in, v, "conversation_id", &about->conversation_id));
    PGR_TRY(field_optional_string(in, v, "conversation_type", &FIELD_TOP, &about->type));
    field_path attributes = field_key(&FIELD_TOP, "choice_attributes");
    json_t *weighed = field_given(v, "choice_attributes");
    if (weighed) PGR_TRY(field_lines(in, weighed, &attributes, &about->choice_attributes));
    PGR_TRY(read_entries(in, json_object_get(v, "conversation_history"), &c));
    for (size_t first = 0, end; first < c.n; first = end) {
        for (end = first + 1; end < c.n && !c.entries[end].user;) end++;
        PGR_TRY(read_turn(in, &c, first, end, out));
    }
    return PGR_OK;
}

/* ---- survey ------------------------------------------------------------------------------------------------------ */

static bool withheld(const char *text) {
    return !text[0] || strcmp(text, "Prefer not to say") == 0;
}

/* "label: text" on a line of its own, where there is something to say. */
static void put_line(buf *b, const char *label, const char *text) {
    if (!withheld(text)) buf_printf(b, "%s%s: %s", b->n ? "\n" : "", label, text);
}

/* One key of the survey, or of an object in it. */
static pgr_status put_answer(const field_reader *in, const json_t *v, const char *group, const char *key,
                             const char *label, buf *b) {
    field_path p = group ? field_key(&FIELD_TOP, group) : FIELD_TOP;
    const json_t *from = group ? field_given(v, group) : v;
    if (!from) return PGR_OK;
    PGR_TRY(json_want_object(from, field_at(in, &p), in->err));
    const char *text = "";
    PGR_TRY(prism_text(in, from, key, &p, &text));
    put_line(b, label, text);
    return PGR_OK;
}

static pgr_status put_demographics(const field_reader *in, const json_t *v, buf *b) {
    static const struct {
        const char *group, *key, *label;
    } answers[] = {
        {NULL, "age", "age"},
        {NULL, "gender", "gender"},
        {NULL, "employment_status", "employment"},
        {NULL, "education", "education"},
        {NULL, "marital_status", "marital status"},
        {NULL, "english_proficiency", "English"},
        {NULL, "study_locale", "locale"},
        {"religion", "simplified", "religion"},
        {"ethnicity", "simplified", "ethnicity"},
        {"location", "birth_country", "born in"},
        {"location", "reside_country", "lives in"},
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        PGR_TRY(put_answer(in, v, answers[i].group, answers[i].key, answers[i].label, b));
    return b->failed ? fail_mem(in->err) : PGR_OK;
}

/* "Wanted of a response (0 to 100): factuality 95, fluency 80", greatest first. */
static pgr_status put_stated(const field_reader *in, const json_t *v, buf *b) {
    static const char *const names[] = {"values",    "creativity", "fluency",         "factuality",
                                        "diversity", "safety",     "personalisation", "helpfulness"};
    enum { N = sizeof names / sizeof *names };
    field_path p = field_key(&FIELD_TOP, "stated_prefs");
    const json_t *prefs = field_given(v, "stated_prefs");
    if (!prefs) return PGR_OK;
    PGR_TRY(json_want_object(prefs, field_at(in, &p), in->err));
    bool said[N] = {false};
    for (size_t n = 0; n < N; n++) {
        size_t best = N;
        for (size_t i = 0; i < N; i++) {
            const json_t *w = json_object_get(prefs, names[i]);
            if (!said[i] && json_is_number(w) && !json_is_nan(w)
                && (best == N || json_number_value(w) > json_number_value(json_object_get(prefs, names[best]))))
                best = i;
        }
        if (best == N) break;
        said[best] = true;
        buf_printf(b, "%s %s ", b->n ? "," : "Wanted of a response (0 to 100):", names[best]);
        json_put_number(b, json_number_value(json_object_get(prefs, names[best])));
    }
    return b->failed ? fail_mem(in->err) : PGR_OK;
}

static pgr_status read_criteria(const field_reader *in, const json_t *v, user_record *out) {
    const char **criteria = arena_array(in->a, 3, sizeof *criteria);
    if (!criteria) return fail_mem(in->err);
    static const char *const keys[] = {"system_string", "self_description"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = "";
        PGR_TRY(prism_text(in, v, keys[i], &FIELD_TOP, &text));
        if (text[0]) criteria[out->n_criteria++] = text;
    }
    buf b = {0};
    pgr_status status = put_stated(in, v, &b);
    if (status == PGR_OK && b.n) status = field_copy(in, b.data, &criteria[out->n_criteria++]);
    buf_free(&b);
    out->criteria = criteria;
    return status;
}

pgr_status form_survey_read(const field_reader *in, json_t *v, record_list *out) {
    record *r = NULL;
    PGR_TRY(field_columns(in, v, SURVEY_KEYS, SURVEY_PREFIXES));
    PGR_TRY(record_add(in, out, RECORD_USER, &r));
    r->user = (user_record){.id = "", .demographics = ""};
    PGR_TRY(prism_user(in, v, &r->user.id));
    PGR_TRY(read_criteria(in, v, &r->user));
    buf b = {0};
    pgr_status status = put_demographics(in, v, &b);
    if (status == PGR_OK && b.n) status = field_copy(in, b.data, &r->user.demographics);
    buf_free(&b);
    return status;
}
