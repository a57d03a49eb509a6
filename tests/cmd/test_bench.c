/* test_bench.c - `pgenrm bench` as a program: what it prints, what it refuses,
 * and that kill -9 at any moment loses no verdict. */
#include "../base/faults.h"
#include "run_program.h"

static ran run(int status, const char *command) {
    ran r = run_program(command);
    if (r.status != status) fail_msg("%s: status %d, expected %d\n%s", command, r.status, status, r.err);
    return r;
}

#define TRY "PGENRM_EMBEDDER=/nonexistent pgenrm bench -q --frame tests/golden/mini.frame examples/choices.jsonl "

static void prints_rows(void **state) {
    (void)state;
    ran r = run(0, TRY "--ind 2 --pro 0,2 --strangers 2 --runs 2 --json --out $SCRATCH/a");
    assert_int_equal(count_lines(r.out), 5); /* longest; p-genrm with and without similar users, and their controls */
    assert_non_null(
        strstr(r.out, "{\"data\":\"choices\",\"split\":\"test\",\"method\":\"longest\",\"ind\":0,\"pro\":0,"));
    assert_non_null(
        strstr(r.out, "\"method\":\"p-genrm\",\"ind\":2,\"pro\":2,\"history\":null,\"stranger\":true,\"plain\":false,"
                      "\"strangers\":2,\"runs\":2,\"pairs\":8,\"users\":4,\"questions\":"));
    run_free(&r);
    r = run(0, TRY "--ind 2 --calibration-out $SCRATCH/c.json && pgenrm score -q --json --ind 1 --calibration "
                   "$SCRATCH/c.json examples/request.json");
    assert_non_null(strstr(r.out, "\"confidence_raw\""));
    assert_non_null(strstr(r.out, "\"calibrated\":true"));
    run_free(&r);
    r = run(0, TRY "--split train --ind 4 --json --calibration-out $SCRATCH/t.json && cat $SCRATCH/t.json");
    assert_non_null(strstr(r.out, "\"pairs\":16,"));                      /* four train rows of each of four users */
    assert_null(strstr(r.out, "\"ece_shrunk\":null,\"over_longest\":-")); /* p-genrm's is there */
    assert_non_null(
        strstr(r.out, "{\"answers\":{\"method\":\"temperature\",\"input\":\"shrunk\",\"n\":16,\"between\":"));
    run_free(&r);
    /* With the calibration the verdicts have probabilities; another one is another run; without one there are none. */
    r = run(0, TRY "--ind 4 --methods p-genrm --json --calibration $SCRATCH/t.json --out $SCRATCH/cal");
    assert_non_null(strstr(r.out, "\"calibrated\":true,\"ece\":0"));
    assert_non_null(strstr(r.out, "\"method\":\"longest\""));
    assert_non_null(strstr(r.out, "\"calibrated\":false")); /* longest asks nobody */
    run_free(&r);
    r = run(1, TRY "--ind 4 --methods p-genrm --calibration $SCRATCH/c.json --out $SCRATCH/cal --resume");
    assert_non_null(strstr(r.err, "calibration is "));
    run_free(&r);
    r = run(0, TRY "--ind 4 --methods p-genrm");
    const char *line = strstr(r.out, "p-genrm");
    assert_true(line && strcspn(line, "(") > strcspn(line, "\n")); /* no ECE (floor) in the row */
    run_free(&r);
    r = run(2, TRY "--ind 2 --calibration-out $SCRATCH/t.json --calibration-kind words");
    assert_non_null(strstr(r.err, "--calibration-kind: found \"words\", expected answers or views"));
    run_free(&r);
    r = run(2, TRY "--ind 2 --calibration-kind views");
    assert_non_null(strstr(r.err, "expected calibration_out"));
    run_free(&r);
    r = run(1, "echo '{\"a\":1}' > $SCRATCH/x.json && " TRY "--ind 2 --calibration-out $SCRATCH/x.json");
    assert_non_null(strstr(r.err, "x.json")); /* what is there is no calibration: it stays */
    run_free(&r);
    r = run(1, TRY "--ind 2 --calibration /nonexistent");
    assert_non_null(strstr(r.err, "/nonexistent"));
    run_free(&r);
    r = run(2, TRY "--split train --ind 0");
    assert_non_null(strstr(r.err, "learns from train rows"));
    run_free(&r);
    r = run(2, TRY "--ind 0 --calibration-out $SCRATCH/c.json");
    assert_non_null(strstr(r.err, "no verdict of p-genrm"));
    run_free(&r);
    r = run(0, TRY "--methods scalar --scalar tests/golden/hf-tiny-scalar-llama --json");
    assert_non_null(strstr(r.out, "\"method\":\"scalar\",\"ind\":0,"));
    assert_non_null(strstr(r.out, "\"model\":\"hf-tiny-scalar-llama\""));
    run_free(&r);
    r = run(1, TRY "-m tests/golden/hf-tiny-scalar-llama --ind 1");
    assert_non_null(strstr(r.err, "open it with --scalar"));
    run_free(&r);
    r = run(0, TRY "--ind 0 --baselines");
    assert_non_null(strstr(r.out, "attributes-personal"));
    assert_non_null(strstr(r.out, "embedding is left out, it needs an embedder"));
    run_free(&r);
}

static void refuses(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"pgenrm bench", "no data given"},
        {TRY "--resume", "--resume goes with --out"},
        {TRY "--ind x", "--ind"},
        {TRY "--prototypes x", "--prototypes goes with --store"},
        {TRY "--ind 0 --cold-start --folds 3", "--folds does not go with --cold-start"},
        {TRY "--methods ,", "--methods ','"},
        {TRY "--scalar :2", "--scalar: found \":2\", expected MODEL[:WEIGHT]"},
        {TRY "--scalar x:y", "--scalar: found \"y\", expected a number"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ran r = run(2, wrong[i][0]);
        assert_non_null(strstr(r.err, wrong[i][1]));
        run_free(&r);
    }
    ran r = run(1, "pgenrm bench -q --ind 0 /nonexistent.jsonl");
    assert_non_null(strstr(r.err, "/nonexistent.jsonl"));
    run_free(&r);
    write_text("bad.jsonl", "{\"user_id\": \"u\"}\n");
    r = run(1, "pgenrm bench -q --ind 0 $SCRATCH/bad.jsonl");
    assert_non_null(strstr(r.err, "bad.jsonl:1"));
    run_free(&r);
}

/* Rows that give nobody a history measure no personal judge: told, with what is missing. */
static void says_when_nobody_has_a_history(void **state) {
    (void)state;
#define ROW(user, n) "{" user "\"prompt\":\"q" n "\",\"chosen\":\"a" n "\",\"rejected\":\"bb" n "\""
    static const struct {
        const char *rows, *says; /* NULL: nothing is said */
    } sets[] = {
        {ROW("", "1") "}\n" ROW("", "2") "}\n", "none of 2 users has a history: rows that are history have \"split\": "
                                                "\"train\", or are in a file of --history-from; no two rows are of one "
                                                "user: `user_id` names him, or the column of --user-key"},
        {ROW("\"user\":\"u\",", "1") "}\n" ROW("\"user\":\"u\",", "2") "}\n", "none of 1 users has a history: rows"},
        {ROW("\"user\":\"u\",", "1") ",\"split\":\"train\"}\n" ROW("\"user\":\"v\",", "2") "}\n",
         "none of 1 users who is asked has a row of split \"train\""},
        {ROW("\"user\":\"u\",", "1") ",\"split\":\"train\"}\n" ROW("\"user\":\"u\",", "2") "}\n", NULL},
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        write_text("rows.jsonl", sets[i].rows);
        ran r = run(0, "pgenrm bench -q --ind 0 --methods longest $SCRATCH/rows.jsonl");
        const char *said = strstr(r.out, "none of ");
        if (!said != !sets[i].says) fail_msg("%s\n%s", sets[i].rows, r.out);
        run_free(&r);
        r = run(0, "pgenrm bench --ind 0 --methods longest --json $SCRATCH/rows.jsonl");
        if (sets[i].says && !strstr(r.err, sets[i].says)) fail_msg("%s\nwanted: %s", r.err, sets[i].says);
        run_free(&r);
    }
}

/* The numbers without times and what was cached. */
#define NUMBERS "sed 's/\"cached_tokens\":[0-9]*,\"seconds\":[^,]*,\"seconds_per_pair\":[^,]*,//' "

static void killed_runs_go_on(void **state) {
    (void)state;
    ran whole = run(0, TRY "--ind 2 --pro 2 --runs 2 --json --out $SCRATCH/whole | " NUMBERS);
    for (int i = 0; i < 5; i++) {
        char command[2400];
        snprintf(command, sizeof command,
                 "go() { r=; test -e $SCRATCH/k%d/plan.json && r=--resume; " TRY
                 "--ind 2 --pro 2 --runs 2 --json --out $SCRATCH/k%d $r & p=$!; }; "
                 "for s in 0.0%d 0.2%d; do go >/dev/null 2>&1; sleep $s; kill -9 $p; wait $p; done 2>/dev/null; "
                 "go >$SCRATCH/last; wait $p || exit 1; " NUMBERS "$SCRATCH/last",
                 i, i, i * 2 + 1, i * 2);
        ran r = run(0, command);
        assert_string_equal(r.out, whole.out);
        run_free(&r);
    }
    run_free(&whole);
}

#define LAMPQA     "pgenrm bench -q --lampqa --frame tests/golden/mini.frame --ind 2 examples/lampqa/questions.jsonl "
#define GENERATORS "examples/lampqa/brief.json examples/lampqa/lists.json examples/lampqa/warm.json "

static void ranks_generators(void **state) {
    (void)state;
    ran r = run(0, LAMPQA GENERATORS "--json --truth examples/lampqa/truth.json");
    assert_int_equal(count_lines(r.out), 2);
    assert_non_null(
        strstr(r.out, "{\"category\":\"Society & Culture\",\"questions\":2,\"failures\":0,\"generators\":[{\"name\":"));
    run_free(&r);
    r = run(0, LAMPQA GENERATORS "--limit 1");
    assert_non_null(strstr(r.out, "Arts & Entertainment: 1 question, 0 failed, Ind-2, 3 texts"));
    run_free(&r);
    r = run(3, LAMPQA GENERATORS "--max-tokens 2");
    assert_non_null(strstr(r.out, "2 questions, 2 failed"));
    run_free(&r);
    static const char *const wrong[][2] = {
        {LAMPQA GENERATORS "--baselines", "--baselines does not go with --lampqa"},
        {LAMPQA GENERATORS "--pro 2", "--pro does not go with --lampqa"},
        {LAMPQA GENERATORS "--ind 0", "one number above 0"},
        {LAMPQA "examples/lampqa/brief.json", "found 1 of responses"},
        {TRY "--truth x", "--truth goes with --lampqa"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        r = run(2, wrong[i][0]);
        assert_non_null(strstr(r.err, wrong[i][1]));
        run_free(&r);
    }
}

/* Names of files are bytes: what is no UTF-8 is written as U+FFFD, and a run goes on under the same name. */
static void names_in_latin_1(void **state) {
    (void)state;
    static const char format[] =
        "L=$SCRATCH/$(printf 'caf\\351'); mkdir -p \"$L\" && cp examples/choices.jsonl \"$L.jsonl\" && "
        "cp -r tests/golden/hf-tiny-chains \"$L.m\"; PGENRM_EMBEDDER=/nonexistent pgenrm bench "
        "-q --json \"$L.jsonl\" -m \"$L.m\" --frame tests/golden/mini.frame --ind 2 --out "
        "\"$L/out\" %s && cat \"$L/out/plan.json\"";
    char command[600];
    for (int resume = 0; resume < 2; resume++) {
        snprintf(command, sizeof command, format, resume ? "--resume" : "");
        ran r = run(0, command);
        assert_non_null(strstr(r.out, "{\"data\":\"caf\xEF\xBF\xBD\","));
        assert_non_null(strstr(r.out, "\"name\": \"caf\xEF\xBF\xBD\""));
        run_free(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_rows),       cmocka_unit_test(says_when_nobody_has_a_history),
        cmocka_unit_test(refuses),           cmocka_unit_test(ranks_generators),
        cmocka_unit_test(killed_runs_go_on), cmocka_unit_test(names_in_latin_1)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
