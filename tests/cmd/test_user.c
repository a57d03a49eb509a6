/* test_user.c - `pgenrm user` as a person meets it, over a file and over PostgreSQL; what is left of an import that is
 * killed, and of two at the same time. */
#include <signal.h>
#include <stdbool.h>

#include "json_out.h"
#include "pgenrm.h"

#include "../base/stores.h"

/* Commands take the store of this name from here on, and $OTHER is another one's. */
static void use_store(const char *name, const char *other) {
    setenv("PGENRM_STORE", store_at(name), 1);
    if (other) setenv("OTHER", store_at(other), 1);
}

static int begin_group(void **state, int (*begin)(void **)) {
    if (begin(state)) return -1;
    setenv("PGENRM_HOME", scratch, 1); /* prototypes of a database lie there */
    use_store("users.db", NULL);
    return 0;
}

static int begin_over_files(void **state) {
    return begin_group(state, begin_files);
}

static int begin_over_postgres(void **state) {
    return begin_group(state, begin_postgres);
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
#ifdef PGR_POSTGRES
    assert_ends("pgenrm user list --store postgres://me:pw@host:x/db", 2,
                "postgres://...: found an address that cannot");
    assert_ends("PGENRM_STORE=postgres://me:pw@host:x/db pgenrm user list", 2,
                "postgres://...: found an address that cannot");
    assert_ends("pgenrm user list --store postgres://me:pw@127.0.0.1:1/db", 1,
                "pgenrm: postgres://me@127.0.0.1:1/db: ");
#else
    assert_ends("pgenrm user list --store postgres://me:pw@host/db", 1,
                "postgres://...: stores in PostgreSQL are not built in");
#endif
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
    use_store("work.db", "copy.db");
    assert_prints("pgenrm user import --json examples/users.jsonl",
                  "\"users\":3,\"pairs\":9,\"known\":0,\"skipped\":0,\"left_out\":{}}");
    assert_prints("pgenrm user import examples/users.jsonl", "0 new users, 0 new pairs, 9 pairs already there (");
    assert_prints("pgenrm user add --json - < examples/user.json", "\"users\":1,\"pairs\":1,");
    assert_prints("pgenrm user list", "\nann       4     1         1  yes                 0         0\n");
    assert_prints("pgenrm user list --limit 1", "... and 3 more (--limit 0 shows all)\n\n4 users, 10 pairs (");
    assert_prints("pgenrm user list --json",
                  "{\"user_id\":\"chi\",\"pairs\":2,\"test_pairs\":0,\"criteria\":0,\"demographics\":true,");
    assert_prints("pgenrm user show ann", "\nCriteria\n  Short answers that I can act on.\n");
    json_t *user = json_from(run_to("pgenrm user show --json dee", 0, ""));
    assert_string_equal(json_string_value(json_object_get(user, "id")), "dee");
    assert_int_equal(json_array_size(json_object_get(user, "history")), 1);
    json_decref(user);
    /* what is exported makes the same store again */
    assert_prints("pgenrm user export > $SCRATCH/a && pgenrm user import --store $OTHER $SCRATCH/a && "
                  "pgenrm user export --store $OTHER | cmp - $SCRATCH/a && echo same",
                  "\nsame\n");
    char *protos = NULL, line[400];
    assert_int_equal(pgr_store_protos(getenv("PGENRM_STORE"), &protos, NULL), PGR_OK);
    snprintf(line, sizeof line, "touch '%s' && pgenrm user forget ann dee", protos);
    assert_ends(line, 0, ".protos still holds names and vectors");
    pgr_free(protos);
    assert_prints("pgenrm user list", "2 users, 5 pairs");
    assert_ends("pgenrm user forget ben nobody", 1, "there is no user \"nobody\"");
    assert_prints("pgenrm user list", "2 users, 5 pairs");
    assert_int_equal(count_in(store_at("work.db"), "pairs", "context LIKE '%descale a kettle%'"), 0);
    if (!on_postgres) assert_prints("grep -c -a -e 'descale a kettle' -e dee $PGENRM_STORE || true", "0\n");
}

/* Another form's rows: whose they are, and what is left out. */
static void test_other_forms(void **state) {
    (void)state;
    use_store("forms.db", NULL);
    assert_prints("pgenrm user import tests/golden/datasets/chatbot_arena.jsonl",
                  ")\n  1 left out: both responses are the same text\n  2 left out: a tie, or equal scores\n");
    assert_prints("pgenrm user import --json tests/golden/datasets/chatbot_arena.jsonl",
                  "\"users\":0,\"pairs\":0,\"known\":3,\"skipped\":0,\"left_out\":{\"alike\":1,\"tie\":2}}");
    assert_ends("pgenrm user import tests/golden/datasets/shp.jsonl", 1, "or one for all such rows (--user)");
    assert_prints("pgenrm user import --user me tests/golden/datasets/shp.jsonl", "1 new user, 2 new pairs (");
    assert_prints("pgenrm user import --user-key domain tests/golden/datasets/shp.jsonl", "1 new user, 2 new pairs (");
    assert_prints("pgenrm user import --weights gemma_2b=1 --user me tests/golden/datasets/personalllm.jsonl",
                  "0 new users, 6 new pairs (");
    assert_ends("pgenrm user import --weights gemma_2b --user me tests/golden/datasets/personalllm.jsonl", 2,
                "weights: found \"gemma_2b\", expected REWARDMODEL=NUMBER,...");
    assert_ends("pgenrm user import --form csv x", 2, "found the form \"csv\", expected one of prb, user, prism");
    assert_prints("pgenrm bench --ind 0 --baselines -q tests/golden/datasets/chatbot_arena.jsonl",
                  "chatbot_arena: 2 left out: a tie, or equal scores");
}

static void test_bad_records(void **state) {
    (void)state;
    use_store("bad.db", NULL);
    write_text("bad.jsonl", "{\"user_id\":\"u\",\"demographics\":\"d\"}\n{\"user_id\":\"u\",\"chosen\":1}\n{}\n"
                            "{\"user_id\":\"v\",\"demographics\":\"d\"}\n");
    ran r = run_to("cd $SCRATCH && pgenrm user import bad.jsonl", 1,
                   "pgenrm: bad.jsonl:2: found an object with the keys \"user_id\", \"chosen\", expected");
    assert_non_null(strstr(r.out, "1 new user, 0 new pairs (")); /* what came before stays */
    run_free(&r);
    assert_prints("pgenrm user list", "1 user, 0 pairs");
    r = run_to("cd $SCRATCH && pgenrm user import --skip-bad bad.jsonl", 3,
               "pgenrm: skipped bad.jsonl:2: found an object with the keys ");
    assert_non_null(strstr(r.out, "1 new user, 0 new pairs, 2 bad records skipped ("));
    run_free(&r);
}

/* ---- kills ------------------------------------------------------------------------------------------------------- */

/* Enough that an import takes some batches, which a server takes longer over. */
static int n_pairs(void) {
    return on_postgres ? 4500 : 30000;
}

/* A data set of 300 users whose rows are mixed. */
static void write_pairs(void) {
    FILE *f = fopen(path_of("pairs.jsonl"), "wb");
    if (!f) abort();
    for (int i = 0; i < n_pairs(); i++)
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

/* The store is whole: by SQLite's own check, and the pairs that are there are the data's first ones. */
static void assert_whole(void) {
    const char *at = getenv("PGENRM_STORE");
    if (!on_postgres)
        assert_int_equal(ask_sql(at, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
    char sql[200];
    snprintf(sql, sizeof sql, "SELECT coalesce(max(CAST(substr(conversation, 2) AS INTEGER)) + 1, 0) FROM %spairs",
             on_postgres ? "pgenrm." : "");
    assert_int_equal(count_in(at, "pairs", "true"), ask_sql(at, sql));
}

/* Killed again and again, each time a little later: never damaged, and at the end what an import in peace makes. 5
 * kills here; bench/kill.py does 50. */
static void test_kills(void **state) {
    (void)state;
    write_pairs();
    use_store("killed.db", "peace.db");
    assert_ends("pgenrm user import -q examples/users.jsonl && pgenrm user forget -q ann ben chi", 0,
                "");                                         /* the tables are there */
    static const int SERVER_MS[5] = {40, 90, 250, 500, 900}; /* the first batch ends somewhere there */
    int killed = 0;
    for (int i = 0; i < 5; i++) {
        killed += kill_import(on_postgres ? SERVER_MS[i] : 20 + 25 * i);
        assert_whole();
    }
    assert_true(killed >= 2);
    assert_ends("pgenrm user import -q $SCRATCH/pairs.jsonl", 0, "");
    assert_prints("pgenrm user import -q --store $OTHER $SCRATCH/pairs.jsonl", "300 new users, ");
    assert_prints("pgenrm user export --store $OTHER > $SCRATCH/peace && pgenrm user export | cmp - $SCRATCH/peace && "
                  "echo same",
                  "same\n");
}

/* Two programs import the same file at the same time, beginning with an empty store: both end well, each pair is new to
 * one of them and known to the other, and the store is what one alone makes. Needs test_kills' file, of which it takes
 * two batches: over PostgreSQL all of it, whose import in peace stands already. */
static void test_two_imports(void **state) {
    (void)state;
    use_store("two.db", "one.db");
    enum { TWO = 4500 };
    assert_prints("head -n 4500 $SCRATCH/pairs.jsonl > $SCRATCH/two.jsonl && wc -l < $SCRATCH/two.jsonl", "4500\n");
    if (n_pairs() > TWO)
        assert_prints("pgenrm user import -q --store $OTHER $SCRATCH/two.jsonl && "
                      "pgenrm user export --store $OTHER > $SCRATCH/peace",
                      "300 new users, 4500 new pairs (");
    ran r = run_to(
        "for i in 1 2; do pgenrm user import -q --json $SCRATCH/two.jsonl > $SCRATCH/two.$i & eval p$i=$!; done; "
        "wait $p1 && wait $p2 && cat $SCRATCH/two.1 $SCRATCH/two.2",
        0, "");
    json_int_t users = 0, pairs = 0, known = 0;
    const char *text = r.out;
    for (int i = 0; i < 2; i++) {
        json_error_t e;
        json_t *j = json_loads(text, JSON_DISABLE_EOF_CHECK, &e);
        assert_non_null(j);
        users += json_integer_value(json_object_get(j, "users"));
        pairs += json_integer_value(json_object_get(j, "pairs"));
        known += json_integer_value(json_object_get(j, "known"));
        text += e.position;
        json_decref(j);
    }
    run_free(&r);
    assert_int_equal(users, 300);
    assert_int_equal(pairs, TWO);
    assert_int_equal(known, TWO);
    assert_prints("pgenrm user export | cmp - $SCRATCH/peace && echo same", "same\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usage),       cmocka_unit_test(test_examples),    cmocka_unit_test(test_work),
        cmocka_unit_test(test_other_forms), cmocka_unit_test(test_bad_records), cmocka_unit_test(test_kills),
        cmocka_unit_test(test_two_imports),
    };
    int failed = cmocka_run_group_tests_name("files", tests, begin_over_files, end_files);
    if (postgres_start()) failed += cmocka_run_group_tests_name("PostgreSQL", tests, begin_over_postgres, end_postgres);
    return failed;
}
