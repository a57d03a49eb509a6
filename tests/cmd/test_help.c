/* test_help.c - the commands that --help lists: each has a help without a flaw, whose example runs as it stands. */
#include <stdbool.h>

#include "run_program.h"

/* The example of a command's help works as it stands. */
static void assert_example_works(const char *name) {
    char *example = example_of(name);
    ran done = run_score(example);
    assert_true(done.out[0] != '\0');
    run_free(&done);
    free(example);
}

/* The commands stand in the order in which a newcomer needs them. */
static void test_help(void **state) {
    (void)state;
    /* what pull fetches, merge and convert write: test_pull.c, test_merge.c, test_convert.c */
    static const struct {
        const char *name;
        bool model, example;
    } COMMANDS[] = {{"score", 1, 1},   {"user", 0, 1},    {"generate", 1, 1}, {"pull", 0, 0},
                    {"inspect", 1, 1}, {"embed", 1, 1},   {"tokenize", 1, 1}, {"perplexity", 1, 1},
                    {"merge", 1, 0},   {"convert", 1, 0}, {"doctor", 1, 0}};
    setenv("PGENRM_EMBEDDER", PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert", 1);
    setenv("PGENRM_STORE", path_of("users.db"), 1);
    ran all = run_well("pgenrm --help");
    const char *last = all.out;
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        char entry[32], command[64];
        snprintf(entry, sizeof entry, "\n  %s ", COMMANDS[i].name);
        last = strstr(last, entry);
        if (!last) fail_msg("no %s, or not in its place, in:\n%s", COMMANDS[i].name, all.out);
        snprintf(command, sizeof command, "pgenrm %s --help", COMMANDS[i].name);
        ran help = run_well(command);
        assert_int_equal(strstr(help.out, "--model") != NULL, COMMANDS[i].model);
        run_free(&help);
        if (COMMANDS[i].example) assert_example_works(COMMANDS[i].name);
    }
    run_free(&all);
}

static void test_version_and_nothing(void **state) {
    (void)state;
    ran version = run_well("pgenrm --version");
    assert_int_equal(strncmp(version.out, "pgenrm ", 7), 0);
    run_free(&version);
    ran none = run_program("pgenrm");
    assert_int_equal(none.status, 2);
    assert_string_equal(none.out, "");
    run_free(&none);
}

/* A file that the example reads is there. A word may be KIND=FILE; what lies in /tmp is written by an example. */
static void check_example_files(const char *name, char *example) {
    const char *before = "";
    for (char *word = strtok(example, " \n"); word; before = word, word = strtok(NULL, " \n")) {
        const char *path = strchr(word, '=') ? strchr(word, '=') + 1 : word;
        bool file = strchr(path, '/') || strstr(path, ".json"), written = strcmp(before, "--out") == 0;
        if (!file || written || strncmp(path, "/tmp/", 5) == 0) continue;
        if (access(path, R_OK) != 0) fail_msg("pgenrm %s --help: its example reads %s, which is not there", name, path);
    }
}

static void check_help(const char *name) {
    char command[100], usage[100];
    snprintf(command, sizeof command, "pgenrm %s --help", name);
    snprintf(usage, sizeof usage, "\nUsage: pgenrm %s ", name);
    ran help = run_well(command);
    if (strstr(help.out, "(null)") || strstr(help.out, " \n") || !strstr(help.out, usage))
        fail_msg("%s: found (null), a blank at the end of a line, or no usage in:\n%s", command, help.out);
    /* Who reads weights is not told of addresses; an embedder has no --remote-... */
    if (strcmp(name, "embed") != 0 && (strstr(help.out, "http://HOST/v1 of") && !strstr(help.out, "--remote-model")))
        fail_msg("%s: --model takes an address there and --remote-model is missing, in:\n%s", command, help.out);
    const char *end = strstr(help.out, "\nExample:\n"); /* examples are to be copied: as long as they are */
    for (const char *line = help.out; end && line < end; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 120)
            fail_msg("%s: found a line of %zu bytes, expected 120 at most: %s", command, strcspn(line, "\n"), line);
    char *example = example_of(name);
    if (strcmp(name, "pull") != 0) check_example_files(name, example); /* ORG/NAME is no file */
    free(example);
    const char *part = strstr(help.out, "\nCommands:\n");
    for (part = part ? part + strlen("\nCommands:\n") : ""; *part == ' '; part = strchr(part, '\n') + 1) {
        char whole[64];
        part += strspn(part, " ");
        snprintf(whole, sizeof whole, "%s %.*s", name, (int)strcspn(part, " "), part);
        check_help(whole);
    }
    run_free(&help);
}

/* All commands that --help lists, and those that they are made of. */
static void test_every_help(void **state) {
    (void)state;
    size_t n = 0;
    ran all = run_well("pgenrm --help");
    const char *line = strstr(all.out, "\nCommands:\n") + strlen("\nCommands:\n");
    for (; *line == ' '; line = strchr(line, '\n') + 1, n++) {
        char name[32];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 2, " "), line + 2);
        check_help(name);
    }
    assert_true(n >= 18);
    run_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_version_and_nothing),
        cmocka_unit_test(test_every_help),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
