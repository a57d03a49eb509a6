/* test_published.c - one small file in the published shape of each form (tools/made_datasets.py wrote them): how
 * many rows become pairs, what is left out and why, whose the pairs are, which way round they stand; and what is
 * said of forms that are not read. */
#include <math.h>

#include "../base/faults.h"
#include "dataset_make.h"
#include "user/dataset.h"
#include "user/record_json.h"

#define MADE PGR_SOURCE_DIR "/tests/golden/datasets/"

typedef struct reading {
    record v[100];
    size_t n, left_out[PGR_LEFT_N];
    arena a;
} reading;

static void read_file(const char *path, const dataset_options *o, reading *r) {
    dataset *d = NULL;
    pgr_error err = {0};
    *r = (reading){0};
    if (dataset_open(path, o, &d, &err) != PGR_OK) fail_msg("%s", err.message);
    for (bool more = true; more; r->n += more) {
        assert_true(r->n < 100);
        if (dataset_next(d, &r->a, &r->v[r->n], &more, &err) != PGR_OK) fail_msg("%s", err.message);
    }
    for (int i = 0; i < PGR_LEFT_N; i++) r->left_out[i] = dataset_left_out(d, (pgr_left)i);
    dataset_close(d);
}

static void read_made(const char *name, const dataset_options *o, reading *r) {
    char path[200];
    snprintf(path, sizeof path, MADE "%s", name);
    read_file(path, o, r);
}

static const dataset_options NOBODY = {.user = "nobody"};

/* Every file, told by its first record: pairs, and what is left out. */
static void test_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t pairs, left_out[PGR_LEFT_N]; /* empty, alike, tie, unchosen, unasked, apart */
    } want[] = {
        {"trl_explicit.jsonl", 6, {2, 1, 0, 0, 1, 0}},  {"trl_implicit.json", 2, {0, 0, 0, 0, 0, 1}},
        {"hh_rlhf.jsonl.gz", 3, {1, 1, 0, 0, 0, 0}},    {"ultrafeedback_binarized.jsonl", 2, {0, 0, 1, 0, 0, 0}},
        {"ultrafeedback.jsonl", 6, {0, 0, 1, 5, 0, 0}}, {"rewardbench.jsonl", 3, {0}},
        {"rewardbench2.jsonl", 7, {2, 0, 0, 0, 0, 0}},  {"chatbot_arena.jsonl", 3, {0, 1, 2, 0, 0, 0}},
        {"helpsteer3.jsonl", 2, {0, 0, 1, 1, 0, 0}},    {"multipref.jsonl", 4, {0, 0, 1, 1, 0, 0}},
        {"personalllm.jsonl", 12, {0, 0, 6, 0, 0, 0}},  {"shp.jsonl", 2, {0}},
        {"nectar.jsonl", 7, {0, 0, 1, 0, 0, 0}},        {"prb.jsonl", 3, {1, 1, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        reading r;
        read_made(want[i].name, &NOBODY, &r);
        if (r.n != want[i].pairs || memcmp(r.left_out, want[i].left_out, sizeof r.left_out) != 0)
            fail_msg("%s: %zu pairs; left out: %zu empty, %zu alike, %zu tie, %zu unchosen, %zu unasked, %zu apart",
                     want[i].name, r.n, r.left_out[0], r.left_out[1], r.left_out[2], r.left_out[3], r.left_out[4],
                     r.left_out[5]);
        arena_free(&r.a);
    }
}

/* "user conversation split | last turn of the context | chosen | rejected" */
static void assert_pair(const record *r, const char *want) {
    const pair_record *p = &r->pair;
    char got[600];
    assert_int_equal(r->kind, RECORD_PAIR);
    snprintf(got, sizeof got, "%s %s %s | %zu %s | %s | %s", p->user_id, p->conversation_id, p->split,
             p->pair.n_context, p->pair.context[p->pair.n_context - 1].text, p->pair.chosen, p->pair.rejected);
    assert_string_equal(got, want);
}

#define BASIL  "How should I store fresh basil?"
#define GOOD   "Stand the stems in a glass of water."
#define PLANT  "What is a good first houseplant?"
#define POTHOS "A pothos: it forgives almost everything."
#define ARE    "Plants are green."

/* One pair of each form, or several where they differ: context, and which way round. */
static void test_pairs(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t i;
        const char *want;
    } pairs[] = {
        {"trl_explicit.jsonl", 0, "u0  train | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"trl_explicit.jsonl", 1, "u1  val | 1 " PLANT " | " POTHOS " | " ARE},
        {"trl_explicit.jsonl", 2,
         "u0  test | 1 How long does rice keep? | Four days in the fridge. | Rice is a grain."},
        {"trl_explicit.jsonl", 4, "u0   | 1 Which knot holds a hammock? | A bowline at either end. | Knots vary."},
        {"trl_explicit.jsonl", 5,
         "u0   | 1 How do I clean a cast-iron pan? | Warm water, salt, and dry it at once. | Use a dishwasher."},
        {"trl_implicit.json", 0, "nobody   | 3 And dried? | In a dark jar. | Somewhere."},
        {"hh_rlhf.jsonl.gz", 0, "nobody   | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"hh_rlhf.jsonl.gz", 1, "nobody   | 3 And light? | Little. | Yes."},
        {"hh_rlhf.jsonl.gz", 2,
         "nobody   | 1 How long does rice keep? | Four days in the fridge.\n\nUser: Cooked?\n\nAssistant: Yes. | Rice "
         "is a "
         "grain.\n\nUser: Cooked?\n\nAssistant: Hm."},
        {"ultrafeedback_binarized.jsonl", 1, "nobody p1  | 1 " PLANT " | " POTHOS " | " ARE},
        {"ultrafeedback.jsonl", 0, "nobody   | 1 " BASIL " | " GOOD " | " GOOD " Mostly."},
        {"ultrafeedback.jsonl", 4, "nobody   | 1 " BASIL " | " GOOD " Mostly. | It depends."},
        {"rewardbench.jsonl", 1, "nobody 1  | 1 " PLANT " | " POTHOS " | " ARE},
        {"rewardbench2.jsonl", 2, "nobody r0  | 1 " BASIL " | " GOOD " | In a drawer."},
        {"rewardbench2.jsonl", 6, "nobody r1  | 1 " PLANT " | An aloe. | A tree."},
        {"chatbot_arena.jsonl", 0, "arena_user_1 q0  | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"chatbot_arena.jsonl", 1, "arena_user_2 q1  | 1 " PLANT " | " ARE " | " POTHOS},
        {"chatbot_arena.jsonl", 2,
         "arena_user_2 q4  | 1 Which knot holds a hammock? | A bowline at either end.\n\nUser: On a "
         "pole?\n\nAssistant: A "
         "clove hitch. | Knots vary.\n\nUser: On a pole?\n\nAssistant: Tape."},
        {"helpsteer3.jsonl", 0, "nobody   | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"helpsteer3.jsonl", 1, "nobody   | 1 " PLANT " | " ARE " | " POTHOS},
        {"multipref.jsonl", 0, "w1 c0  | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"multipref.jsonl", 1, "w2 c0  | 1 " BASIL " | Basil is a herb. | " GOOD},
        {"multipref.jsonl", 3, "w1 c1  | 1 " PLANT " | " ARE " | " POTHOS},
        {"personalllm.jsonl", 0, "gemma_2b 0  | 1 " BASIL " | Ask a neighbour. | It depends."},
        {"personalllm.jsonl", 3, "beaver_7b 0  | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"shp.jsonl", 0, "nobody t0  | 1 " BASIL " | " GOOD " | Basil is a herb."},
        {"shp.jsonl", 1, "nobody t1  | 1 " PLANT " | " ARE " | " POTHOS},
        {"nectar.jsonl", 0, "nobody   | 1 " BASIL " | " GOOD " | It depends."},
        {"nectar.jsonl", 2, "nobody   | 1 " BASIL " | Ask a neighbour. | Basil is a herb."},
        {"prb.jsonl", 1, "user1 c1 val | 1 " PLANT " | " POTHOS " | " ARE},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        reading r;
        read_made(pairs[i].name, &NOBODY, &r);
        assert_true(pairs[i].i < r.n);
        assert_pair(&r.v[pairs[i].i], pairs[i].want);
        arena_free(&r.a);
    }
}

/* Weights, scores, subsets, and the group that pairs of one row with several responses share. */
static void test_what_goes_with_a_pair(void **state) {
    (void)state;
    reading r;
    read_made("helpsteer3.jsonl", &NOBODY, &r);
    assert_true(r.v[0].pair.weight == 3 && r.v[1].pair.weight == 1);
    assert_string_equal(r.v[0].pair.group, "");
    arena_free(&r.a);
    read_made("multipref.jsonl", &NOBODY, &r);
    assert_true(r.v[0].pair.weight == 2 && r.v[1].pair.weight == 1);
    arena_free(&r.a);
    read_made("ultrafeedback_binarized.jsonl", &NOBODY, &r);
    assert_true(r.v[0].pair.chosen_score == 8.5 && r.v[0].pair.rejected_score == 4);
    arena_free(&r.a);
    read_made("shp.jsonl", &NOBODY, &r);
    assert_true(r.v[1].pair.chosen_score == 340 && r.v[1].pair.rejected_score == 12);
    arena_free(&r.a);
    read_made("rewardbench2.jsonl", &NOBODY, &r);
    assert_string_equal(r.v[0].pair.group, "r0");
    assert_string_equal(r.v[2].pair.group, "r0");
    assert_string_equal(r.v[3].pair.group, "r1");
    assert_int_equal(r.v[3].pair.n_subset, 1);
    assert_string_equal(r.v[3].pair.subsets[0], "Ties");
    arena_free(&r.a);
    read_made("ultrafeedback.jsonl", &NOBODY, &r);
    assert_int_equal(strlen(r.v[0].pair.group), 16);
    assert_string_equal(r.v[0].pair.group, r.v[4].pair.group);
    assert_string_not_equal(r.v[0].pair.group, r.v[5].pair.group);
    assert_true(r.v[0].pair.chosen_score == 8 && r.v[0].pair.rejected_score == 6);
    arena_free(&r.a);
    read_made("prb.jsonl", &NOBODY, &r);
    assert_true(r.v[0].pair.chosen_score == 90 && isnan(r.v[1].pair.chosen_score) && isnan(r.v[2].pair.chosen_score));
    arena_free(&r.a);
}

/* Who a row's user is: its own columns first, then the one for all; a row with none is refused, or one of its own,
 * as is asked. */
static void test_users(void **state) {
    (void)state;
    reading r;
    dataset *d = NULL;
    pgr_error err = {0};
    record rec;
    bool more;
    arena a = {0};
    const char *rows = "{\"who\":7,\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n"
                       "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"c\"}\n";
    const char *path = write_text("users.jsonl", rows);
    assert_int_equal(dataset_open(path, NULL, &d, &err), PGR_OK);
    assert_int_equal(dataset_next(d, &a, &rec, &more, &err), PGR_E_FORMAT);
    assert_string_equal(err.message + strlen(scratch),
                        "/users.jsonl:1: user_id: found nothing, expected the user's name, or one for all such rows "
                        "(--user), or another column (--user-key)");
    dataset_close(d);
    read_file(path, &(dataset_options){.user_key = "who", .user = "eva"}, &r);
    assert_string_equal(r.v[0].pair.user_id, "7");
    assert_string_equal(r.v[1].pair.user_id, "eva");
    arena_free(&r.a);
    read_file(path, &(dataset_options){.unnamed = UNNAMED_ALONE}, &r);
    assert_string_equal(r.v[1].pair.user_id + strlen(scratch), "/users.jsonl:2");
    arena_free(&r.a);
    read_made("chatbot_arena.jsonl", &(dataset_options){.user_key = "language"}, &r);
    assert_string_equal(r.v[0].pair.user_id, "English");
    arena_free(&r.a);
    read_made("personalllm.jsonl", &(dataset_options){.weights = "gemma_2b=0.25,beaver_7b=1", .user = "mix"}, &r);
    assert_int_equal(r.n, 6);
    assert_pair(&r.v[0], "mix 0  | 1 " BASIL " | " GOOD " | Basil is a herb.");
    assert_true(r.v[0].pair.chosen_score == 0.25 * 1.5 - 1);
    arena_free(&r.a);
    arena_free(&a);
}

/* The forms' names say what --form takes; what is not read is named with what to rename; two forms in one row are
 * both named. */
static void test_forms_not_read(void **state) {
    (void)state;
    static const struct {
        const char *row, *form, *message;
    } rows[] = {
        {"{\"question\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}", NULL,
         "found a question under another name with `chosen` and `rejected`; rename it to `prompt`, expected a form of "
         "docs/users.md"},
        {"{\"prompt\":\"q\",\"response_0\":\"a\",\"response_1\":\"b\",\"better_response_id\":0}", NULL,
         "found two responses and the number of the better one (better_response_id); rename that response to `chosen`, "
         "the "
         "other one to `rejected`, expected a form of docs/users.md"},
        {"{\"prompt\":\"q\",\"context\":[],\"chosen\":\"a\",\"rejected\":\"b\"}", NULL,
         "found keys both of a PersonalRewardBench record (user_id, context, chosen, rejected) and of pairs as TRL "
         "takes "
         "them, UltraFeedback binarized or RewardBench (prompt, chosen, rejected), expected those of one, or --form "
         "prb or "
         "--form trl"},
        {"{\"conversation_a\":[],\"conversation_b\":[],\"model_a\":\"m\"}", NULL,
         "found an object with the keys \"conversation_a\", \"conversation_b\", \"model_a\", expected Chatbot Arena "
         "(conversation_a, conversation_b, winner)"},
        {"{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}", "nectar",
         "found an object with the keys \"prompt\", \"chosen\", \"rejected\", expected Nectar (prompt, answers)"},
        {"{\"user_id\":\"u\",\"chosen\":\"a\",\"rejected\":\"b\"}", NULL,
         "prompt: found nothing, expected what was asked (or dialogues that tell it in `chosen` and `rejected`)"},
        {"{\"judge\":\"u\",\"winner\":\"left\",\"conversation_a\":[],\"conversation_b\":[]}", NULL,
         "winner: found \"left\", expected model_a, model_b, tie, tie (bothbad) or both_bad"},
        {"{\"user_id\":\"u\",\"context\":\"q\",\"response1\":\"a\",\"response2\":\"b\",\"overall_preference\":4}", NULL,
         "overall_preference: found a number beyond them, expected -3 to 3"},
        {"{\"text\":\"q\",\"completion_a\":\"a\",\"completion_b\":\"b\",\"annotations\":[{\"evaluator\":1,\"overall_"
         "pref\":\"A\"}]}",
         NULL,
         "annotations[0].overall_pref: found \"A\", expected A-is-clearly-better, A-is-slightly-better, Tie, or the "
         "same of "
         "B"},
        {"{\"user_id\":\"u\",\"history\":\"q\",\"human_ref_A\":\"a\",\"human_ref_B\":\"b\",\"labels\":2}", NULL,
         "labels: found another number, expected 1 (A) or 0 (B)"},
        {"{\"user_id\":\"u\",\"prompt\":\"q\",\"answers\":[{\"answer\":\"a\",\"rank\":\"first\"}]}", NULL,
         "answers[0].rank: found a string, expected a number"},
        {"{\"user_id\":\"u\",\"prompt\":\"q\",\"chosen\":[\"a\",3],\"rejected\":\"b\"}", NULL,
         "chosen[1]: found an integer, expected a string as in the beginning of the list"},
        {"{\"user_id\":\"u\",\"prompt\":\"q\",\"chosen\":{\"role\":\"assistant\",\"text\":\"a\"},\"rejected\":\"b\"}",
         NULL, "chosen: unknown key \"text\", expected one of: role, content"},
        {"{\"prompt\":\"q\",\"response_1\":\"a\",\"response_1_rm\":\"high\",\"response_2\":\"b\",\"response_2_rm\":0."
         "5}",
         "personalllm", "response_1_rm: found a string, expected a number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        dataset *d = NULL;
        pgr_error err = {0};
        record r;
        bool more;
        arena a = {0};
        dataset_options o = {.form = rows[i].form};
        assert_int_equal(dataset_open(write_text("f", rows[i].row), &o, &d, &err), PGR_OK);
        assert_int_equal(dataset_next(d, &a, &r, &more, &err), PGR_E_FORMAT);
        assert_string_equal(err.message + strlen(scratch) + strlen("/f:1: "), rows[i].message);
        dataset_close(d);
        arena_free(&a);
    }
}

/* A row may hold so many responses that their pairs would be millions: refused. */
static void test_many_responses(void **state) {
    (void)state;
    buf text = {0};
    buf_puts(&text, "{\"user_id\":\"u\",\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":[\"b\"");
    for (size_t i = 0; i < 64; i++) buf_printf(&text, ",\"%zu\"", i);
    buf_puts(&text, "]}");
    dataset *d = NULL;
    pgr_error err = {0};
    record r;
    bool more;
    arena a = {0};
    assert_int_equal(dataset_open(write_text("f", text.data), NULL, &d, &err), PGR_OK);
    assert_int_equal(dataset_next(d, &a, &r, &more, &err), PGR_E_LIMIT);
    assert_string_equal(err.message + strlen(scratch), "/f:1: rejected: found 65 responses, expected at most 64");
    dataset_close(d);
    arena_free(&a);
    buf_free(&text);
}

/* What a pair was read with goes through JSON and back. */
static void test_written_and_read(void **state) {
    (void)state;
    reading first, again;
    read_made("rewardbench2.jsonl", &NOBODY, &first);
    first.v[0].pair.weight = 2.5;
    buf lines = {0};
    for (size_t i = 0; i < first.n; i++) {
        json_put_pair_record(&lines, &first.v[i].pair);
        buf_putc(&lines, '\n');
    }
    buf_putc(&lines, '\0');
    read_file(write_text("written.jsonl", lines.data), NULL, &again);
    assert_int_equal(again.n, first.n);
    for (size_t i = 0; i < first.n; i++) {
        assert_string_equal(again.v[i].pair.group, first.v[i].pair.group);
        assert_string_equal(again.v[i].pair.subsets[0], first.v[i].pair.subsets[0]);
        assert_true(again.v[i].pair.weight == first.v[i].pair.weight);
    }
    buf_free(&lines);
    arena_free(&first.a);
    arena_free(&again.a);
}

static const char *faulty;

static bool read_once(void) {
    dataset *d = NULL;
    arena a = {0};
    record r;
    bool more = true, good = dataset_open(faulty, &NOBODY, &d, NULL) == PGR_OK;
    while (good && more) good = dataset_next(d, &a, &r, &more, NULL) == PGR_OK;
    dataset_close(d);
    arena_free(&a);
    return good;
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char *const files[] = {"trl_implicit.json",   "hh_rlhf.jsonl.gz", "rewardbench2.jsonl",
                                        "ultrafeedback.jsonl", "multipref.jsonl",  "chatbot_arena.jsonl",
                                        "personalllm.jsonl",   "nectar.jsonl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[200];
        snprintf(path, sizeof path, MADE "%s", files[i]);
        faulty = path;
        assert_true(fail_each_allocation(read_once) > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_what_goes_with_a_pair),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_forms_not_read),
        cmocka_unit_test(test_many_responses),
        cmocka_unit_test(test_written_and_read),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
