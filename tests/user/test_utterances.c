/* test_utterances.c - PRISM's utterances: the pairs of the conversations file out of single lines,
 * and lines out of place. */
#include <math.h>

#include "../base/faults.h"
#include "dataset_make.h"
#include "user/dataset.h"
#include "user/store.h"

/* A line: interaction, conversation, turn, prompt, response, score, chosen. */
#define LINE(i, c, turn, prompt, text, score, chosen)                                                                  \
    "{\"utterance_id\":\"ut1\",\"interaction_id\":\"" i "\",\"conversation_id\":\"" c "\",\"user_id\":\"u1\","         \
    "\"turn\":" turn ",\"within_turn_id\":0,\"conversation_type\":\"values guided\",\"user_prompt\":\"" prompt "\","   \
    "\"model_response\":\"" text "\",\"model_name\":\"m\",\"model_provider\":\"p\",\"score\":" score ","               \
    "\"if_chosen\":" chosen ",\"included_in_balanced_subset\":true}\n"
#define UTTERANCES                                                                                                     \
    LINE("i0", "c1", "0", "q1", "a", "10", "false")                                                                    \
    LINE("i0", "c1", "0", "q1", "b", "95", "true")                                                                     \
    LINE("i0", "c1", "0", "q1", "EMPTY STRING", "1", "false")                                                          \
    LINE("i0", "c1", "0", "q1", "d", "3", "false")                                                                     \
    LINE("i1", "c1", "1", "q2", "e", "50", "true")                                                                     \
    LINE("i1", "c1", "1", "q2", "f", "40", "false")                                                                    \
    LINE("i2", "c2", "0", "q3", "g", "7", "false")                                                                     \
    LINE("i2", "c2", "0", "q3", "h", "8", "false")                                                                     \
    LINE("i3", "c3", "0", "q3", "g", "7", "false")                                                                     \
    LINE("i3", "c3", "0", "q3", "h", "null", "true")

#define SAID(turn, role, text, score, chosen)                                                                          \
    "{\"turn\":" turn ",\"role\":\"" role "\",\"content\":\"" text "\",\"score\":" score ",\"if_chosen\":" chosen "}"
#define CONVERSATION(id, history)                                                                                      \
    "{\"conversation_id\":\"" id "\",\"user_id\":\"u1\",\"conversation_type\":\"values guided\","                      \
    "\"conversation_history\":[" history "],\"choice_attributes\":{\"values\":90}}\n"
#define CONVERSATIONS                                                                                                  \
    CONVERSATION(                                                                                                      \
        "c1",                                                                                                          \
        SAID("0", "user", "q1", "null", "null") "," SAID("0", "model", "a", "10", "false") "," SAID(                   \
            "0", "model", "b", "95",                                                                                   \
            "true") "," SAID("0", "model", "EMPTY STRING", "1",                                                        \
                             "false") "," SAID("0", "model", "d", "3",                                                 \
                                               "false") "," SAID("1", "user", "q2", "null",                            \
                                                                 "null") "," SAID("1", "model", "e", "50",             \
                                                                                  "true") "," SAID("1", "model", "f",  \
                                                                                                   "40", "false"))     \
    CONVERSATION("c3", SAID("0", "user", "q3", "null", "null") "," SAID("0", "model", "g", "7", "false") "," SAID(     \
                           "0", "model", "h", "null", "true"))

enum { PAIRS = 4 }; /* of either: a, d, f, g rejected */

typedef struct reading {
    record all[20];
    size_t n, skipped;
    pgr_status status;
    char message[sizeof((pgr_error *)0)
                     ->message]; /* of the error, or of the first line that was skipped; without the folder */
} reading;

static reading read_all(const char *text, bool skip_bad, arena *a) {
    reading r = {0};
    dataset *d = NULL;
    pgr_error err = {0};
    assert_int_equal(dataset_open(write_text("f", text), &(dataset_options){.skip_bad = skip_bad}, &d, &err), PGR_OK);
    for (bool more = true; more && r.status == PGR_OK; r.n += more && r.status == PGR_OK) {
        assert_true(r.n < 20);
        r.status = dataset_next(d, a, &r.all[r.n], &more, &err);
    }
    r.skipped = dataset_skipped(d);
    const char *said = r.status == PGR_OK ? dataset_first_bad(d) : err.message;
    snprintf(r.message, sizeof r.message, "%s", said[0] ? said + strlen(scratch) : "");
    dataset_close(d);
    return r;
}

static bool same_score(double a, double b) {
    return (isnan(a) && isnan(b)) || a == b;
}

static void assert_same_pair(const pair_record *a, const pair_record *b) {
    assert_string_equal(a->user_id, b->user_id);
    assert_string_equal(a->conversation_id, b->conversation_id);
    assert_string_equal(a->type, b->type);
    assert_string_equal(a->split, b->split);
    assert_string_equal(a->pair.chosen, b->pair.chosen);
    assert_string_equal(a->pair.rejected, b->pair.rejected);
    assert_true(same_score(a->chosen_score, b->chosen_score) && same_score(a->rejected_score, b->rejected_score));
    assert_int_equal(a->pair.n_context, b->pair.n_context);
    for (size_t i = 0; i < a->pair.n_context; i++) {
        assert_string_equal(a->pair.context[i].role, b->pair.context[i].role);
        assert_string_equal(a->pair.context[i].text, b->pair.context[i].text);
    }
}

static void test_same_pairs(void **state) {
    (void)state;
    arena a = {0};
    reading u = read_all(UTTERANCES, false, &a), c = read_all(CONVERSATIONS, false, &a);
    assert_int_equal(u.status, PGR_OK);
    assert_int_equal(c.status, PGR_OK);
    assert_int_equal(u.n, PAIRS);
    assert_int_equal(c.n, PAIRS);
    for (size_t i = 0; i < PAIRS; i++) assert_same_pair(&u.all[i].pair, &c.all[i].pair);
    static const size_t lines[PAIRS] = {1, 4, 6, 9}; /* each pair has its rejected response's line */
    for (size_t i = 0; i < PAIRS; i++) assert_int_equal(u.all[i].line, lines[i]);
    const pair_record *p = &u.all[2].pair;
    assert_int_equal(p->pair.n_context, 3);
    assert_string_equal(p->pair.context[1].text, "b");
    assert_string_equal(p->pair.rejected, "f");
    assert_true(p->chosen_score == 50 && p->rejected_score == 40);
    arena_free(&a);
}

static void assert_import(pgr_store *s, const char *path, size_t pairs, size_t known) {
    pgr_imported got = {0};
    pgr_error err = {0};
    if (pgr_user_import(s, path, NULL, &got, &err) != PGR_OK) fail_msg("%s", err.message);
    assert_int_equal(got.pairs, pairs);
    assert_int_equal(got.known, known);
}

/* Whichever file comes first, the other one has nothing new. */
static void test_one_store(void **state) {
    (void)state;
    const char *files[2] = {write_text("utterances.jsonl", UTTERANCES),
                            write_text("conversations.jsonl", CONVERSATIONS)};
    for (size_t first = 0; first < 2; first++) {
        pgr_store *s = NULL;
        pgr_error err = {0};
        if (pgr_store_open(path_of(first ? "c.db" : "u.db"), PGR_STORE_CREATE, &s, &err) != PGR_OK)
            fail_msg("%s", err.message);
        assert_import(s, files[first], PAIRS, 0);
        assert_import(s, files[!first], 0, PAIRS);
        pgr_store_close(s);
    }
}

static void test_mistakes(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } mistakes[] = {
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i0", "c1", "0", "q", "b", "1", "true"),
         "/f:2: if_chosen: found a second chosen response, expected one in an interaction"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i9", "c2", "1", "q", "b", "1", "true"),
         "/f:2: turn: found 1, expected 0, since the lines before have no turn of this conversation"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i2", "c1", "2", "q", "b", "1", "true"),
         "/f:2: turn: found 2, expected 1, the conversation's next turn"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i1", "c1", "0", "q", "b", "1", "true"),
         "/f:2: turn: found 0, expected 1, the conversation's next turn"},
        {LINE("i0", "c1", "0", "q", "a", "1", "false") LINE("i1", "c1", "1", "q", "b", "1", "true"),
         "/f:2: turn: found a later turn, expected one chosen response in the turn before, or no later turn"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i0", "c1", "1", "q", "b", "1", "false"),
         "/f:2: turn: found 1, expected 0 as in the interaction's first line"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i0", "c1", "0", "r", "b", "1", "false"),
         "/f:2: user_prompt: found another prompt, expected that of the interaction's first line"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") LINE("i0", "c2", "0", "q", "b", "1", "false"),
         "/f:2: conversation_id: found another conversation, expected that of the interaction's first line"},
        {LINE("i0", "c1", "0", "q", "a", "1", "true") "{\"utterance_id\":1,\"interaction_id\":\"i0\","
                                                      "\"conversation_id\":\"c1\",\"user_id\":2,\"turn\":0,"
                                                      "\"user_prompt\":\"q\"}",
         "/f:2: user_id: found another user, expected that of the conversation's first line"},
        {LINE("i0", "c1", "0", "q", "a", "1", "\"True\""), "/f:1: if_chosen: found a string, expected true or false"},
        {"{\"utterance_id\":1,\"user_id\":2,\"conversation_id\":3}",
         "/f:1: interaction_id: found nothing, expected the interaction's name"},
        {"{\"utterance_id\":1,\"user_id\":2}",
         "/f:1: conversation_id: found nothing, expected the conversation's name"},
        {"{\"utterance_id\":1}", "/f:1: user_id: found nothing, expected the user's name"},
        {"{\"utterance_id\":1,\"scor\":2}", "/f:1: unknown key \"scor\", expected perhaps \"score\""},
        {LINE("i0", "c1", "0", "q", "a", "\"1\"", "true"), "/f:1: score: found a string, expected a number"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        arena a = {0};
        reading r = read_all(mistakes[i].text, false, &a);
        assert_int_equal(r.status, PGR_E_FORMAT);
        assert_string_equal(r.message, mistakes[i].message);
        assert_int_equal(r.n, 0);
        arena_free(&a);
    }
}

static void test_skip_bad(void **state) {
    (void)state;
    arena a = {0};
    reading r =
        read_all(LINE("i0", "c1", "0", "q1", "a", "1", "true") LINE("i0", "c1", "0", "q1", "b", "1", "false")
                     LINE("i2", "c1", "2", "q3", "x", "1", "true") /* turn 1 is not there */
                 LINE("i2", "c1", "2", "q3", "y", "1", "false") "{\n" LINE("i3", "c2", "0", "q1", "a", "1", "true")
                     LINE("i3", "c2", "0", "q1", "b", "1", "true")
                         LINE("i3", "c2", "0", "q1", "c", "1", "false") /* two chosen: no pair of it */
                 LINE("i4", "c2", "1", "q2", "d", "1", "true")          /* nor a turn after it */
                 LINE("i5", "c3", "0", "q1", "a", "1", "true") LINE("i5", "c3", "0", "q1", "e", "1", "false"),
                 true, &a);
    assert_int_equal(r.status, PGR_OK);
    assert_int_equal(r.skipped, 5);
    assert_string_equal(r.message, "/f:3: turn: found 2, expected 1, the conversation's next turn");
    assert_int_equal(r.n, 2);
    assert_string_equal(r.all[0].pair.pair.rejected, "b");
    assert_string_equal(r.all[1].pair.pair.rejected, "e");
    assert_string_equal(r.all[1].pair.conversation_id, "c3");
    arena_free(&a);
}

/* More turns than the dialogue first has room for, then more responses than an interaction may have. */
static void test_bounds(void **state) {
    (void)state;
    buf b = {0};
    for (int i = 0; i < 12; i++)
        for (int j = 0; j < 1 + (i == 11); j++)
            buf_printf(&b, LINE("i%d", "c1", "%d", "q%d", "r%d.%d", "1", "%s"), i, i, i, i, j, j ? "false" : "true");
    arena a = {0};
    reading r = read_all(b.data, false, &a);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.all[0].pair.pair.n_context, 23);
    for (size_t i = 0; i < 23; i++) {
        char want[40];
        snprintf(want, sizeof want, i % 2 ? "r%zu.0" : "q%zu", i / 2);
        assert_string_equal(r.all[0].pair.pair.context[i].text, want);
    }
    buf_clear(&b);
    for (int i = 0; i < 65; i++) buf_puts(&b, LINE("i0", "c1", "0", "q", "a", "1", "false"));
    r = read_all(b.data, false, &a);
    assert_int_equal(r.status, PGR_E_LIMIT);
    assert_string_equal(r.message, "/f:65: found more than 64 responses in an interaction, expected at most 64");
    arena_free(&a);
    buf_free(&b);
}

static void test_out_of_memory(void **state) {
    (void)state;
    write_text("mem", UTTERANCES);
    assert_true(fail_each_allocation(read_mem) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_pairs), cmocka_unit_test(test_one_store), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_skip_bad),   cmocka_unit_test(test_bounds),    cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
