/* forms.c - the table of forms, how a record's form is told, and what is said where it is not. */
#include "user/forms.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* clang-format off */
const form FORMS[] = {
    {"prb", "own", "context chosen rejected",
     "a PersonalRewardBench record (user_id, context, chosen, rejected)", form_prb_read},
    {"user", "own", "user_id|id demographics|criteria|history !chosen !human_ref_A",
     "a user (user_id, demographics)", form_user_read},
    {"prism", "prism", "conversation_history", "PRISM's conversations (conversation_history)", form_conversation_read},
    {"prism", "prism", "stated_prefs|survey_only", "PRISM's survey (stated_prefs)", form_survey_read},
    {"prism", "prism", "utterance_id", "PRISM's utterances (utterance_id)", NULL},
    {"lampqa", "lampqa", "question profile|rubric_aspects", "LaMP-QA's questions (question, profile)",
     form_lampqa_read},
    {"trl", "trl", "prompt chosen rejected",
     "pairs as TRL takes them, UltraFeedback binarized or RewardBench (prompt, chosen, rejected)", form_chosen_read},
    {"hh", "trl", "chosen rejected !prompt !context !conversations !question !query !input !instruction",
     "dialogues or transcripts that part ways, as in HH-RLHF (chosen, rejected)", form_chosen_read},
    {"ultrafeedback", "ultrafeedback", "instruction completions", "UltraFeedback (instruction, completions)",
     form_ultrafeedback_read},
    {"arena", "arena", "conversation_a conversation_b winner",
     "Chatbot Arena (conversation_a, conversation_b, winner)", form_arena_read},
    {"helpsteer3", "helpsteer3", "context response1 response2 overall_preference",
     "HelpSteer3's preferences (context, response1, response2, overall_preference)", form_helpsteer_read},
    {"multipref", "multipref",
     "text completion_a completion_b annotations|normal_worker_annotations|expert_worker_annotations",
     "MultiPref (text, completion_a, completion_b, annotations)", form_multipref_read},
    {"personalllm", "personalllm", "prompt response_1 response_2 response_1_*",
     "PersonalLLM (prompt, response_1..., response_1_REWARDMODEL...)", form_personalllm_read},
    {"shp", "shp", "history human_ref_A human_ref_B labels", "SHP (history, human_ref_A, human_ref_B, labels)",
     form_shp_read},
    {"nectar", "nectar", "prompt answers", "Nectar (prompt, answers)", form_nectar_read},
    {NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

/* Other names of "trl": data sets of its form. */
static const char *const TRL_NAMES[] = {"ultrafeedback-binarized", "rewardbench", "rewardbench2", NULL};

const char *form_family(const char *name) {
    for (const form *f = FORMS; f->name; f++)
        if (strcmp(f->name, name) == 0) return strcmp(f->family, "own") == 0 ? f->name : f->family;
    for (size_t i = 0; TRL_NAMES[i]; i++)
        if (strcmp(TRL_NAMES[i], name) == 0) return "trl";
    return NULL;
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */

static bool has_key(const json_t *object, const char *key, size_t n) {
    bool prefix = n > 0 && key[n - 1] == '*';
    if (!prefix) return json_object_getn(object, key, n) != NULL;
    json_t *o = (json_t *)(uintptr_t)object; /* jansson's iterators want no const; nothing is written */
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it))
        if (strncmp(json_object_iter_key(it), key, n - 1) == 0) return true;
    return false;
}

/* "a|b": is one of them there? */
static bool has_one(const json_t *object, const char *word, size_t n) {
    for (const char *end = word + n; word < end;) {
        const char *bar = memchr(word, '|', (size_t)(end - word));
        size_t len = (size_t)((bar ? bar : end) - word);
        if (has_key(object, word, len)) return true;
        word += len + 1;
    }
    return false;
}

/* How many words hold, of how many that name a key which must be there; "!" words that do not hold make it 0. */
static size_t n_fit(const json_t *object, const char *words, size_t *n_word) {
    size_t fit = 0;
    bool refused = false;
    *n_word = 0;
    while (*words) {
        size_t n = strcspn(words, " ");
        bool not_there = *words == '!';
        if (not_there)
            refused = refused || has_one(object, words + 1, n - 1);
        else {
            fit += has_one(object, words, n);
            ++*n_word;
        }
        words += n + (words[n] == ' ');
    }
    return refused ? 0 : fit;
}

bool form_keys_fit(const json_t *object, const char *words) {
    size_t n_word, n = n_fit(object, words, &n_word);
    return n == n_word;
}

static bool in_family(const form *f, const char *family) {
    return !family || strcmp(family, f->family) == 0 || strcmp(family, f->name) == 0;
}

/* "a", "b" and 3 more */
static void list_keys(const json_t *object, char *out, size_t size) {
    enum { MOST = 6 };
    json_t *o = (json_t *)(uintptr_t)object;
    size_t n = json_object_size(o), i = 0, at = 0;
    for (void *it = json_object_iter(o); it && i < MOST; it = json_object_iter_next(o, it), i++) {
        const char *key = json_object_iter_key(it);
        at += (size_t)snprintf(out + at, size - at, "%s\"%.*s\"", i ? ", " : "", (int)utf8_clip(key, strlen(key), 24),
                               key);
    }
    if (n > MOST) snprintf(out + at, size - at, " and %zu more", n - MOST);
}

static pgr_status fail_none(const field_reader *in, const char *family, const json_t *object) {
    char found[240] = "an object without keys", keys[200], expected[300] = "";
    const char *unread = form_unread(object);
    if (unread && !family) return field_fail(in, &FIELD_TOP, unread, "a form of docs/users.md");
    if (json_object_size(object)) {
        list_keys(object, keys, sizeof keys);
        snprintf(found, sizeof found, "an object with the key%s %s", json_object_size(object) == 1 ? "" : "s", keys);
    }
    const form *near = NULL;
    double most = 0;
    for (const form *f = FORMS; f->name; f++) {
        size_t n_word, n = n_fit(object, f->keys, &n_word);
        double share = (double)n / (double)n_word;
        if (in_family(f, family) && share > most) most = share, near = f;
    }
    if (near && most >= 0.5) return field_fail(in, &FIELD_TOP, found, near->what);
    for (const form *f = FORMS; f->name; f++) {
        size_t at = strlen(expected);
        bool again = f > FORMS && strcmp(f->name, f[-1].name) == 0;
        if (!in_family(f, family)) continue;
        if (family)
            snprintf(expected + at, sizeof expected - at, "%s%s", at ? ", or " : "", f->what);
        else if (!again)
            snprintf(expected + at, sizeof expected - at, "%s%s", at ? ", " : "one of the forms ", f->name);
    }
    if (!family) snprintf(expected + strlen(expected), sizeof expected - strlen(expected), " (docs/users.md)");
    return field_fail(in, &FIELD_TOP, found, expected);
}

static pgr_status fail_two(const field_reader *in, const form *a, const form *b) {
    char found[300], expected[80];
    snprintf(found, sizeof found, "keys both of %s and of %s", a->what, b->what);
    snprintf(expected, sizeof expected, "those of one, or --form %s or --form %s", a->name, b->name);
    return field_fail(in, &FIELD_TOP, found, expected);
}

pgr_status form_find(const field_reader *in, const char *family, const json_t *object, const form **out) {
    *out = NULL;
    for (const form *f = FORMS; f->name; f++) {
        if (!in_family(f, family) || !form_keys_fit(object, f->keys)) continue;
        if (*out) return fail_two(in, *out, f);
        *out = f;
    }
    return *out ? PGR_OK : fail_none(in, family, object);
}

bool form_tells_any(const json_t *object) {
    for (const form *f = FORMS; f->name; f++) {
        bool pairs = f->read && f->read != form_user_read && f->read != form_survey_read && f->read != form_lampqa_read
                     && f->read != form_conversation_read;
        if (pairs && form_keys_fit(object, f->keys)) return true;
    }
    return false;
}

/* ---- what rows have in common ------------------------------------------------------------------------------------ */

pgr_status form_begin(const field_reader *in, const json_t *row, const char *const *ids, pair_record *out) {
    *out = pair_record_none();
    for (size_t i = 0; ids[i] && !out->conversation_id[0]; i++)
        PGR_TRY(field_optional_id(in, row, ids[i], &out->conversation_id));
    return rules_split(in, row, &out->split);
}

pgr_status form_group(const field_reader *in, const char *question, const char *const *responses, size_t n,
                      pair_record *p) {
    p->group = p->conversation_id;
    if (p->group[0]) return PGR_OK;
    struct sha256_ctx c;
    uint8_t digest[8];
    char name[17];
    sha256_init(&c);
    sha256_update(&c, strlen(question) + 1, (const uint8_t *)question);
    for (size_t i = 0; i < n; i++) sha256_update(&c, strlen(responses[i]) + 1, (const uint8_t *)responses[i]);
    sha256_digest(&c, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(name + 2 * i, 3, "%02x", digest[i]);
    return field_copy(in, name, &p->group);
}

pgr_status form_response(const field_reader *in, const json_t *row, const field_path *parent, const char *key,
                         const char **out) {
    field_path p = field_key(parent, key);
    return field_content(in, json_object_get(row, key), &p, out);
}

pgr_status form_said(const field_reader *in, const json_t *turn, const field_path *p, const char **out) {
    static const char *const keys[] = {"role", "content", NULL};
    PGR_TRY(field_keys(in, turn, keys, p));
    return form_response(in, turn, p, "content", out);
}
