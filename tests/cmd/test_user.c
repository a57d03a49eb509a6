/* test_user.c - `pgenrm user` as a person meets it, and what is left of an import that is killed. */
#include <signal.h>
#include <stdbool.h>

#include <jansson.h>
#include <sqlite3.h>

#include "run_program.h"

static int begin(void **state) {
    if (make_folder(state)) return -1;
    return setenv("PGENRM_STORE", path_of("users.db"), 1);
}

static void assert_prints(const char *command, const char *wanted) {
    ran r = run_to(command, 0, "");
    if (!strstr(r.out, wanted)) fail_msg("%s\nprinted: %s\nwanted: %s", command, r.out, wanted);
    run_free(&r);
}

static void test_usage(void **state) {
    (void)state;
    assert_ends("pgenrm user", 2, "no command given, see `pgenrm user --help`");
    assert_ends("pgenrm user impurt", 2, "unknown command user impurt, perhaps import");
    assert_ends("pgenrm user import", 2, "expected files to import");
    assert_ends("pgenrm user list x", 2, "expected no operands");
    assert_ends("pgenrm user show", 2, "expected one user's name");
    assert_ends("pgenrm user import --seed 1 x", 2, "--seed is not for user import: nothing in it is random");
    assert_ends("pgenrm user export --form csv", 2, "--form: found \"csv\", expected records or request");
    assert_ends("pgenrm user list", 1, "there is no store yet");
    assert_ends("pgenrm user list --store postgres://me:pw@host/db", 1,
                "postgres://host/db: stores in PostgreSQL are not built in");
    assert_ends("pgenrm user import /nonexistent", 1, "/nonexistent: cannot be read");
}

/* The examples of the help, one after the other. */
static void test_examples(void **state) {
    (void)state;
    static const char *const names[] = {"import", "add", "list", "show", "export", "forget"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char name[32];
        snprintf(name, sizeof name, "user %s", names[i]);
        char *example = example_of(name);
        ran done = run_to(example, 0, "");
        assert_true(done.out[0] != '\0');
        run_free(&done);
        free(example);
    }
}

static void test_work(void **state) {
    (void)state;
    setenv("PGENRM_STORE", path_of("work.db"), 1);
    assert_prints("pgenrm user import --json examples/users.jsonl",
                  "\"users\":3,\"pairs\":9,\"known\":0,\"skipped\":0,\"left_out\":{}}");
    assert_prints("pgenrm user import examples/users.jsonl", "0 new users, 0 new pairs, 9 pairs already there (");
    assert_prints("pgenrm user add --json - < examples/user.json", "\"users\":1,\"pairs\":1,");
    assert_prints("pgenrm user list", "\nann       4     1         1  yes                 0         0\n");
    assert_prints("pgenrm user list --limit 1", "... and 3 more (--limit 0 shows all)\n\n4 users, 10 pairs (");
    assert_prints("pgenrm user list --json",
                  "{\"user_id\":\"chi\",\"pairs\":2,\"test_pairs\":0,\"criteria\":0,\"demographics\":true,");
    assert_prints("pgenrm user show ann", "\nCriteria\n  Short answers that I can act on.\n");
    ran shown = run_to("pgenrm user show --json dee", 0, "");
    json_t *user = json_loads(shown.out, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(user, "id")), "dee");
    assert_int_equal(json_array_size(json_object_get(user, "history")), 1);
    json_decref(user);
    run_free(&shown);
    /* what is exported makes the same store again */
    assert_prints(
        "pgenrm user export > $PGENRM_STORE.a && pgenrm user import --store $PGENRM_STORE.2 $PGENRM_STORE.a && "
        "pgenrm user export --store $PGENRM_STORE.2 | cmp - $PGENRM_STORE.a && echo same",
        "\nsame\n");
    assert_ends("touch $PGENRM_STORE.protos && pgenrm user forget ann dee", 0, ".protos still holds names and vectors");
    assert_prints("pgenrm user list", "2 users, 5 pairs");
    assert_ends("pgenrm user forget ben nobody", 1, "there is no user \"nobody\"");
    assert_prints("pgenrm user list", "2 users, 5 pairs");
    assert_prints("grep -c -a -e 'descale a kettle' -e dee $PGENRM_STORE || true", "0\n");
}

/* Another form's rows: whose they are, and what is left out. */
static void test_other_forms(void **state) {
    (void)state;
    setenv("PGENRM_STORE", path_of("forms.db"), 1);
    assert_prints("pgenrm user import tests/golden/datasets/chatbot_arena.jsonl",
                  ")\n  1 left out: both responses are the same text\n  2 left out: a tie, or equal scores\n");
    assert_prints("pgenrm user import --json tests/golden/datasets/chatbot_arena.jsonl",
                  "\"users\":0,\"pairs\":0,\"known\":3,\"skipped\":0,\"left_out\":{\"alike\":1,\"tie\":2}}");
    assert_ends("pgenrm user import tests/golden/datasets/shp.jsonl", 1, "or one for all such rows (--user)");
    assert_prints("pgenrm user import --user me tests/golden/datasets/shp.jsonl", "1 new user, 2 new pairs (");
    assert_prints("pgenrm user import --user-key domain tests/golden/datasets/shp.jsonl", "1 new user, 2 new pairs (");
    assert_prints("pgenrm user import --weights gemma_2b=1 --user me tests/golden/datasets/personalllm.jsonl",
                  "0 new users, 6 new pairs (");
    assert_ends("pgenrm user import --weights gemma_2b --user me tests/golden/datasets/personalllm.jsonl", 1,
                "weights: found \"gemma_2b\", expected REWARDMODEL=NUMBER,...");
    assert_ends("pgenrm user import --form csv x", 1, "found the form \"csv\", expected one of prb, user, prism");
    assert_prints("pgenrm bench --ind 0 --baselines -q tests/golden/datasets/chatbot_arena.jsonl",
                  "chatbot_arena: 2 left out: a tie, or equal scores");
}

static void test_bad_records(void **state) {
    (void)state;
    setenv("PGENRM_STORE", path_of("bad.db"), 1);
    write_text("bad.jsonl", "{\"user_id\":\"u\",\"demographics\":\"d\"}\n{\"user_id\":\"u\",\"chosen\":1}\n{}\n"
                            "{\"user_id\":\"v\",\"demographics\":\"d\"}\n");
    ran r = run_to("cd $(dirname $PGENRM_STORE) && pgenrm user import bad.jsonl", 1,
                   "pgenrm: bad.jsonl:2: found an object with the keys \"user_id\", \"chosen\", expected");
    assert_non_null(strstr(r.out, "1 new user, 0 new pairs (")); /* what came before stays */
    run_free(&r);
    assert_prints("pgenrm user list", "1 user, 0 pairs");
    r = run_to("cd $(dirname $PGENRM_STORE) && pgenrm user import --skip-bad bad.jsonl", 3,
               "pgenrm: skipped bad.jsonl:2: found an object with the keys ");
    assert_non_null(strstr(r.out, "1 new user, 0 new pairs, 2 bad records skipped ("));
    run_free(&r);
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

enum { PAIRS = 30000 };

/* A data set of 300 users whose rows are mixed. */
static void write_pairs(void) {
    FILE *f = fopen(path_of("pairs.jsonl"), "wb");
    if (!f) abort();
    for (int i = 0; i < PAIRS; i++)
        fprintf(f,
                "{\"user_id\":\"user%d\",\"conversation_id\":\"c%d\",\"context\":[{\"role\":\"user\",\"content\":"
                "\"question "
                "%d\"}],\"chosen\":\"%0*d\",\"rejected\":\"no %d\",\"split\":\"train\"}\n",
                i * 7919 % 300, i, i, i * 31 % 400 + 1, i, i);
    if (fclose(f) != 0) abort();
}

/* Starts the import and kills it after so many milliseconds; true if it was still running then. */
static bool kill_import(int milliseconds) {
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stdout)) _exit(9);
        execl(PGR_BINARY_DIR "/pgenrm", "pgenrm", "user", "import", "-q", path_of("pairs.jsonl"), (char *)NULL);
        _exit(9);
    }
    usleep((useconds_t)milliseconds * 1000);
    kill(child, SIGKILL);
    int status = 0;
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return WIFSIGNALED(status);
}

/* The file is whole: by SQLite's own check, and the pairs that are there are the data's first ones. */
static void assert_whole(void) {
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(sqlite3_open_v2(getenv("PGENRM_STORE"), &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(q, 0), "ok");
    sqlite3_finalize(q);
    assert_int_equal(
        sqlite3_prepare_v2(db,
                           "SELECT count(*), coalesce(max(CAST(substr(conversation, 2) AS INTEGER)) + 1, 0) FROM pairs",
                           -1, &q, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(q, 0), sqlite3_column_int64(q, 1));
    sqlite3_finalize(q);
    sqlite3_close(db);
}

/* Killed again and again, each time a little later: never damaged, and at the end what an import in peace makes. 5
 * kills here; bench/kill.py does 50. */
static void test_kills(void **state) {
    (void)state;
    write_pairs();
    setenv("PGENRM_STORE", path_of("killed.db"), 1);
    assert_ends("pgenrm user import -q examples/users.jsonl && pgenrm user forget -q ann ben chi", 0,
                ""); /* the tables are there */
    int killed = 0;
    for (int i = 0; i < 5; i++) {
        killed += kill_import(20 + 25 * i);
        assert_whole();
    }
    assert_true(killed >= 2);
    assert_ends("pgenrm user import -q $(dirname $PGENRM_STORE)/pairs.jsonl", 0, "");
    assert_prints("d=$(dirname $PGENRM_STORE) && pgenrm user import -q --store $d/peace.db $d/pairs.jsonl",
                  "300 new users, 30000 new pairs (");
    assert_prints("d=$(dirname $PGENRM_STORE) && pgenrm user export --store $d/peace.db > $d/peace && pgenrm user "
                  "export | cmp - $d/peace && echo same",
                  "same\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_examples),    cmocka_unit_test(test_work),
        cmocka_unit_test(test_other_forms), cmocka_unit_test(test_bad_records), cmocka_unit_test(test_kills),
    };
    return cmocka_run_group_tests(tests, begin, remove_folder);
}
