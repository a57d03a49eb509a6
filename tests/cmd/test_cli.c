/* test_cli.c - the program as a user meets it: usage, exit statuses, one line per mistake, JSON keys, repeatable
 * output. */
#include <math.h>
#include <stdbool.h>

#include <jansson.h>

#include "run_program.h"

static size_t count_lines(const char *s) {
    size_t n = 0;
    for (; *s; s++) n += *s == '\n';
    return n;
}

/* Exit status, an empty standard output, and one line on standard error that says `says`. */
static void assert_refused(const char *command, int status, const char *says) {
    ran r = run_program(command);
    if (r.status != status || !strstr(r.err, says) || count_lines(r.err) != 1 || strncmp(r.err, "pgenrm: ", 8) != 0
        || r.out[0])
        fail_msg("%s\nstatus %d, wanted %d; wanted one line with: %s\nstderr: %sstdout: %.200s", command, r.status,
                 status, says, r.err, r.out);
    run_free(&r);
}

/* The output of a command that works. */
static ran run_well(const char *command) {
    ran r = run_program(command);
    if (r.status != 0) fail_msg("%s\nstatus %d\n%s", command, r.status, r.err);
    return r;
}

static json_t *parse(const char *text) {
    json_error_t e;
    json_t *v = json_loads(text, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!v) fail_msg("%s in: %.300s", e.text, text);
    return v;
}

/* The value at a path of keys, "chains.ind.requested". */
static const json_t *at(const json_t *v, const char *path) {
    char key[64];
    for (const char *p = path; *p; p += *p == '.') {
        size_t n = strcspn(p, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, p);
        v = json_object_get(v, key);
        if (!v) fail_msg("no %s in %s", key, path);
        p += n;
    }
    return v;
}

/* ---- usage ---- */

static void test_nobody(void **state) {
    (void)state;
    static const char says[] = "Who is asking\n  Nobody whose choices are known: this is what the judge finds good for "
                               "anybody.\n";
    ran r = run_program("pgenrm score -q --ind 1 --frame compact examples/new_user.json");
    if (!strstr(r.out, says)) fail_msg("%s%s", r.out, r.err);
    run_free(&r);
    r = run_program("pgenrm score -q --ind 1 --frame compact examples/request.json");
    if (strstr(r.out, "Nobody whose")) fail_msg("%s%s", r.out, r.err);
    run_free(&r);
}

static void test_wrong_usage(void **state) {
    (void)state;
    assert_refused("pgenrm scor", 2, "perhaps score");
    assert_refused("pgenrm --verison", 2, "unknown option --verison");
    assert_refused("pgenrm score", 2, "no request given");
    assert_refused("pgenrm score --temprature 1 x", 2, "perhaps --temperature");
    assert_refused("pgenrm serve --port 1", 2, "unknown option --port, perhaps --listen");
    assert_refused("pgenrm score -m Org/Model-1B examples/request.json", 1, "no such model, neither as a path nor in");
    assert_refused("pgenrm score -m Org/Model-1B examples/request.json", 1, "`pgenrm pull Org/Model-1B` fetches it");
    assert_refused("pgenrm score --frame ful examples/request.json", 1, "; perhaps full");
    assert_refused("pgenrm score -x y", 2, "unknown option -x");
    assert_refused("pgenrm score --ind", 2, "--ind needs a value");
    assert_refused("pgenrm score --quiet=yes x", 2, "--quiet takes no value");
    assert_refused("pgenrm score --ind 8x x", 2, "found \"8x\", expected a whole number from 0 to 1024");
    assert_refused("pgenrm score --ind ' 8' x", 2, "expected a whole number");
    assert_refused("pgenrm score --ind 99999999999999999999 x", 2, "expected a whole number");
    assert_refused("pgenrm score --temperature inf x", 2, "expected a number from 0 to 10");
    assert_refused("pgenrm score --temperature 0x1 x", 2, "expected a number");
    assert_refused("pgenrm score --score best x", 2, "expected auto, declared, recomputed or expected");
    assert_refused("pgenrm score --pro -2 x", 2, "--pro");
    assert_refused("pgenrm score --adaptive 0.3 x", 2, "--adaptive");
    assert_refused("pgenrm score --history-by taste x", 2, "--history-by");
    assert_refused("pgenrm score --w-pro -1 x", 2, "--w-pro");
    assert_refused("pgenrm score --scalar :1 x", 2, "--scalar: found \":1\", expected MODEL[:WEIGHT]");
    assert_refused("pgenrm score --scalar m:-1 x", 2, "found \"-1\", expected a number from 0 to 1e+06");
    assert_refused("pgenrm score --seed -1 x", 2, "--seed");
    assert_refused("pgenrm generate", 2, "PROMPT");
    assert_refused("pgenrm generate a b", 2, "PROMPT");
    assert_refused("pgenrm generate --grammar-from x y", 2, "--grammar");
    assert_refused("pgenrm generate --stop '' y", 2, "--stop");
    assert_refused("pgenrm generate --grammar LICENSE --grammar-from '' y", 2, "--grammar-from: found an empty text");
    assert_refused("pgenrm generate --dtype f64 y", 2, "auto, exact, f32, bf16 or int8");
    assert_refused("pgenrm generate --lora a:b y", 2, "--lora: found \"b\", expected a number");
    assert_refused("pgenrm generate --lora a: y", 2, "--lora: found \"\", expected a number");
    assert_refused("pgenrm generate --lora :2 y", 2, "--lora: found \":2\", expected PATH[:SCALE]");
    assert_refused("pgenrm tokenize a b", 2, "TEXT");
    assert_refused("pgenrm perplexity", 2, "FILE");
    assert_refused("pgenrm inspect a b", 2, "MODEL");
}

static void test_work_that_cannot_be_done(void **state) {
    (void)state;
    const char *bad = write_text("bad.json", "{\"query\": \"q\",\n\"responses\": [\"a\"]}");
    char command[400];
    assert_refused("pgenrm score /nonexistent.json", 1, "/nonexistent.json");
    snprintf(command, sizeof command, "pgenrm score %s", bad);
    assert_refused(command, 1, "bad.json: responses: found 1, expected 2 to 26");
    assert_refused("printf '{\"query\"' | pgenrm score -", 1, "standard input:1");
    assert_refused("pgenrm score -m /nonexistent.gguf examples/request.json", 1, "/nonexistent.gguf");
    assert_refused("pgenrm score -m examples/request.json examples/request.json", 1, "examples/request.json");
    assert_refused("pgenrm score -m http://localhost:1/v1 examples/request.json", 1,
                   "http://localhost:1/v1/models: Couldn't connect");
    assert_refused("pgenrm score --lora /nonexistent:0.5 examples/request.json", 1, "/nonexistent: ");
    assert_refused("pgenrm score --frame /nonexistent examples/request.json", 1, "/nonexistent");
    assert_refused("pgenrm generate --prompt-file /nonexistent", 1, "/nonexistent");
    assert_refused("pgenrm generate --grammar /nonexistent x", 1, "/nonexistent");
    assert_refused("pgenrm generate --chat-template /nonexistent x", 1, "/nonexistent");
    assert_refused("pgenrm generate --chat-template '{% include 1 %}' x", 1,
                   "{% include %} (line 1), which is not supported");
    assert_refused("pgenrm generate --grammar LICENSE x", 1, "LICENSE:");
    assert_refused("pgenrm perplexity tests", 1, "tests: ");
    assert_refused("pgenrm tokenize --decode 1 two", 1, "\"two\"");
    assert_refused("pgenrm tokenize --decode 999999999", 1, "999999999");
    assert_refused("pgenrm inspect examples/request.json", 1, "examples/request.json");
    assert_refused("pgenrm tokenize hello > /dev/full", 1, "standard output");
    assert_refused("pgenrm score -q --json --ind 1 examples/new_user.json > /dev/full", 1, "standard output");
}

static void test_help(void **state) {
    (void)state;
    static const char *const names[] = {"score",    "user",       "generate", "pull",    "inspect", "embed",
                                        "tokenize", "perplexity", "merge",    "convert", "doctor"};
    enum { N = sizeof names / sizeof *names };
    assert_int_equal(setenv("PGENRM_EMBEDDER", PGR_SOURCE_DIR "/tests/golden/hf-tiny-bert", 1), 0);
    assert_int_equal(setenv("PGENRM_STORE", path_of("users.db"), 1), 0);
    ran all = run_well("pgenrm --help");
    const char *last = all.out;
    for (size_t i = 0; i < N; i++) { /* in the order in which a newcomer needs them */
        char entry[32], command[64];
        snprintf(entry, sizeof entry, "\n  %s ", names[i]);
        const char *found = strstr(last, entry);
        assert_non_null(found);
        last = found;
        snprintf(command, sizeof command, "pgenrm %s --help", names[i]);
        ran help = run_well(command);
        char *example = example_of(names[i]);
        int fetches = strcmp(names[i], "pull") == 0; /* needs a network: test_pull.c has a server */
        int no_model = fetches || strcmp(names[i], "user") == 0;
        assert_int_equal(strstr(help.out, "--model") == NULL, no_model);
        if (fetches
            || i >= 8) { /* what merge and convert write would lie in the source folder: test_merge.c, test_convert.c */
            run_free(&help);
            free(example);
            continue;
        }
        ran done = run_program(example); /* every example runs as it stands */
        if (done.status != 0 && done.status != 3) fail_msg("%s: status %d\n%s", example, done.status, done.err);
        assert_true(done.out[0] != '\0');
        run_free(&done);
        run_free(&help);
        free(example);
    }
    run_free(&all);
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

/* ---- tokens ---- */

static void test_tokenize(void **state) {
    (void)state;
    ran lines = run_well("printf 'a b\\n\\nlast <|im_end|>' | pgenrm tokenize --json --file -");
    assert_int_equal(count_lines(lines.out), 3);
    assert_non_null(strstr(lines.out, "\n[]\n"));
    run_free(&lines);
    ran there = run_well(
        "printf 'Grüße,  \\t🙂 <|im_end|> 1234' > /tmp/pgenrm-text.$$; pgenrm tokenize --json - < "
        "/tmp/pgenrm-text.$$ "
        "> /tmp/pgenrm-ids.$$; pgenrm tokenize --decode --file /tmp/pgenrm-ids.$$ > /tmp/pgenrm-back.$$; "
        "echo >> /tmp/pgenrm-text.$$; cmp /tmp/pgenrm-text.$$ /tmp/pgenrm-back.$$; s=$?; rm /tmp/pgenrm-*.$$; exit $s");
    run_free(&there);
    ran special = run_well("pgenrm tokenize --json --parse-special '<|im_end|>'"),
        plain = run_well("pgenrm tokenize --json '<|im_end|>'");
    json_t *one = parse(special.out), *many = parse(plain.out);
    assert_int_equal(json_array_size(one), 1);
    assert_true(json_array_size(many) > 1);
    json_decref(one);
    json_decref(many);
    run_free(&special);
    run_free(&plain);
    ran people = run_well("pgenrm tokenize 'ö'");
    assert_non_null(strstr(people.out, "\\xC3"));
    run_free(&people);
}

/* The text's perplexity under the tiny model with these options. */
static double perplexity_with(const char *loras) {
    char command[400];
    snprintf(command, sizeof command,
             "pgenrm perplexity --json --context 32 -m tests/golden/tiny-llama.gguf %s LICENSE", loras);
    ran r = run_well(command);
    json_t *v = parse(r.out);
    double p = json_real_value(at(v, "perplexity"));
    json_decref(v);
    run_free(&r);
    return p;
}

static void test_loras(void **state) {
    (void)state;
    double bare = perplexity_with(""), qv = perplexity_with("--lora tests/golden/lora/llama-qv");
    double both = perplexity_with("--lora tests/golden/lora/llama-qv.gguf --lora tests/golden/lora/llama-more:0.5");
    assert_true(bare > 1 && qv > 1 && both > 1 && qv != bare && both != qv);
    assert_true(perplexity_with("--lora tests/golden/lora/llama-qv:0") == bare);
    assert_true(perplexity_with("--lora tests/golden/lora/llama-qv:1e0") == qv);
    assert_refused("pgenrm perplexity --lora tests/golden/lora/qwen3-all -m tests/golden/tiny-llama.gguf LICENSE", 1,
                   "tests/golden/lora/qwen3-all: tensor ");
}

static void test_perplexity(void **state) {
    (void)state;
    ran r = run_well("printf 'one two three four' | pgenrm perplexity --json --per-token -");
    json_t *v = parse(r.out);
    assert_true(json_array_size(at(v, "tokens")) > 2);
    assert_int_equal(json_array_size(at(v, "tokens")), json_array_size(at(v, "logprobs")));
    assert_true(json_is_null(json_array_get(at(v, "logprobs"), 0)));
    assert_true(json_real_value(json_array_get(at(v, "logprobs"), 1)) < 0);
    assert_true(json_real_value(at(v, "perplexity")) > 1);
    json_decref(v);
    run_free(&r);
    r = run_well("pgenrm perplexity --json --context 32 examples/new_user.json");
    v = parse(r.out);
    assert_int_equal(json_object_size(v), 2);
    json_decref(v);
    run_free(&r);
}

/* What a grammar forces is text like any other: a stop text in it ends the chain,
 * and a named token may end the turn. */
static void stop_texts_hold_in_forced_text(void **state) {
    (void)state;
    static const struct {
        const char *grammar, *stop, *text;
    } cases[] = {
        {"root ::= \"one two\" [a-z ]{5} \" three four\"", "two", "one "},
        {"root ::= \"one two\"", "two", "one "},
        {"root ::= \"one two three\" [a-z]", "o t", "one tw"},
        {"root ::= \"one \" <|im_end|>", "two", "one "},
        {"root ::= \"a\" <|im_start|> \"b\" <|im_start|> \"cd\"", "two", "abcd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char command[512], want[64];
        const char *grammar = write_text("stop.gbnf", cases[i].grammar);
        snprintf(command, sizeof command, "pgenrm generate --json --raw --temperature 0 --grammar %s --stop '%s' x",
                 grammar, cases[i].stop);
        snprintf(want, sizeof want, "\"text\":\"%s\"", cases[i].text);
        ran r = run_program(command);
        assert_int_equal(r.status, 0);
        if (!strstr(r.out, want) || !strstr(r.out, "\"finish_reason\":\"stop\""))
            fail_msg("%s with stop %s gives %s", cases[i].grammar, cases[i].stop, r.out);
        run_free(&r);
    }
    assert_refused("printf 'root ::= <|nobody|>' > /tmp/pgenrm-nobody.gbnf; pgenrm generate --raw --grammar "
                   "/tmp/pgenrm-nobody.gbnf x; s=$?; rm /tmp/pgenrm-nobody.gbnf; exit $s",
                   1, "token <|nobody|>");
}

static void test_generate(void **state) {
    (void)state;
    ran r = run_well("pgenrm generate --json -n 3 --max-tokens 6 --ignore-eos 'Say something'");
    json_t *v = parse(r.out);
    assert_true(json_array_size(at(v, "prompt_tokens")) > 0);
    assert_int_equal(json_array_size(at(v, "samples")), 3);
    const json_t *s = json_array_get(at(v, "samples"), 2);
    assert_true(json_is_string(at(s, "text")));
    assert_int_equal(json_array_size(at(s, "tokens")), 6);
    assert_int_equal(json_array_size(at(s, "logprobs")), 6);
    assert_string_equal(json_string_value(at(s, "finish_reason")), "length");
    assert_true(json_is_number(at(v, "timing.load_s")) && json_is_number(at(v, "timing.prefill_s")));
    assert_true(json_is_number(at(v, "timing.decode_s")) && json_is_number(at(v, "timing.total_s")));
    json_decref(v);
    run_free(&r);

    const char *grammar = write_text("yes.gbnf", "root ::= \"yes\" | \"no\"\n");
    char command[300];
    snprintf(command, sizeof command, "pgenrm generate --json --raw --grammar %s 'Is it?'", grammar);
    r = run_well(command);
    v = parse(r.out);
    const char *text = json_string_value(at(json_array_get(at(v, "samples"), 0), "text"));
    assert_true(strcmp(text, "yes") == 0 || strcmp(text, "no") == 0);
    json_decref(v);
    run_free(&r);
}

/* The same seed gives the same samples with one thread and with two; another seed others. */
static void test_seed(void **state) {
    (void)state;
    char command[200];
    ran runs[3];
    const int threads[] = {1, 2, 2}, seeds[] = {5, 5, 6};
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "pgenrm generate -n 2 --max-tokens 20 -t %d --seed %d 'Tell me more'",
                 threads[i], seeds[i]);
        runs[i] = run_well(command);
    }
    assert_string_equal(runs[0].out, runs[1].out);
    assert_string_not_equal(runs[0].out, runs[2].out);
    for (size_t i = 0; i < 3; i++) run_free(&runs[i]);
}

static void test_inspect_parts(void **state) {
    (void)state;
    ran r = run_well("pgenrm inspect tests/golden/lora/llama-qv.gguf");
    assert_non_null(strstr(r.out, "attn_q: 2 matrices, rank 4, scale 2\n"));
    run_free(&r);
    r = run_well("pgenrm inspect --json tests/golden/hf-tiny-bert");
    json_t *v = parse(r.out);
    assert_string_equal(json_string_value(at(v, "kind")), "encoder");
    json_decref(v);
    run_free(&r);
}

/* A common option that would change nothing where one may expect it to is wrong usage. */
static void test_refused_common(void **state) {
    (void)state;
    assert_refused("pgenrm inspect --lora x", 2, "--lora is not for inspect");
    assert_refused("pgenrm tokenize --lora x y", 2, "--lora is not for tokenize");
    assert_refused("pgenrm embed --chat-template chatml LICENSE", 2, "--chat-template is not for embed");
    assert_refused("pgenrm convert --dtype bf16 --out x.gguf", 2, "--type is about what is written");
    assert_refused("pgenrm convert --chat-template chatml --out x.gguf", 2, "--chat-template is not for convert");
    assert_refused("pgenrm merge --dtype bf16 --lora x --out x.gguf", 2, "--dtype is not for merge");
    assert_refused("pgenrm pull -m x A/B", 2, "--model is not for pull");
}

static void test_inspect(void **state) {
    (void)state;
    ran r = run_well("pgenrm inspect --json " TINY);
    json_t *v = parse(r.out);
    assert_true(json_is_string(at(v, "architecture")));
    assert_true(json_array_size(at(v, "tensors")) > 0);
    json_decref(v);
    run_free(&r);
    r = run_well("pgenrm inspect -m " TINY);
    assert_true(count_lines(r.out) > 5);
    run_free(&r);
    r = run_well("pgenrm inspect --chat-template tests/golden/chat/inst.jinja -m " TINY);
    assert_non_null(strstr(r.out, "interpreted (tests/golden/chat/inst.jinja)"));
    run_free(&r);
    r = run_well(
        "pgenrm generate --json --max-tokens 1 --chat-template '<|im_start|>{{ messages[0].content }}' x -m " TINY);
    v = parse(r.out);
    assert_int_equal(json_array_size(at(v, "prompt_tokens")), 2);
    json_decref(v);
    run_free(&r);
}

/* ---- score ---- */

/* The result without what a clock decides. */
static json_t *timeless(const char *text) {
    json_t *v = parse(text);
    json_object_del(v, "seconds");
    json_object_del(v, "first_token_s");
    return v;
}

/* 0, or 3: the tiny model's chains are random and may fail. */
static ran run_score(const char *command) {
    ran r = run_program(command);
    if (r.status != 0 && r.status != 3) fail_msg("%s\nstatus %d\n%s", command, r.status, r.err);
    return r;
}

/* Rounds, draws and the choice of pairs through the program. */
static void test_score_scaling(void **state) {
    (void)state;
    ran r = run_score("pgenrm score --json --ind 16 --adaptive 0.6 --draws 2 --history 1 --history-by recent --frame "
                      "tests/golden/mini.frame"
                      " examples/request.json");
    json_t *v = parse(r.out);
    assert_int_equal(json_integer_value(at(v, "adaptive.used")) + json_integer_value(at(v, "adaptive.saved")), 16);
    assert_int_equal(json_integer_value(at(v, "draws")), 2);
    assert_int_equal(json_integer_value(at(v, "history_used")), 2);
    assert_string_equal(json_string_value(at(v, "history_by")), "recent");
    json_decref(v);
    run_free(&r);

    r = run_score("pgenrm score --json --ind 2 --history 1 --history-by relevant --embedder tests/golden/hf-tiny-bert "
                  "--frame tests/golden/mini.frame"
                  " examples/request.json");
    v = parse(r.out);
    assert_string_equal(json_string_value(at(v, "history_by")), "relevant");
    assert_true(json_is_null(at(v, "adaptive")) && json_is_false(at(v, "calibrated")));
    json_decref(v);
    run_free(&r);

    char path[] = "/tmp/pgenrm-calibration-XXXXXX";
    int fd = mkstemp(path);
    static const char map[] = "{\"method\":\"temperature\",\"input\":\"probability\",\"n\":100,\"temperature\":1000}";
    assert_true(fd >= 0 && write(fd, map, sizeof map - 1) == (ssize_t)(sizeof map - 1));
    close(fd);
    char command[300];
    snprintf(command, sizeof command,
             "pgenrm score --json --ind 4 --calibration %s --frame tests/golden/mini.frame examples/request.json",
             path);
    r = run_score(command);
    v = parse(r.out);
    assert_true(json_is_true(at(v, "calibrated")));
    assert_true(json_number_value(at(v, "confidence")) < 0.51);
    assert_true(json_number_value(at(v, "confidence")) < json_number_value(at(v, "confidence_raw")));
    json_decref(v);
    run_free(&r);
    unlink(path);
    assert_refused("pgenrm score --calibration /nonexistent examples/request.json", 1, "/nonexistent");
}

/* Statements beside one of the same question that the user chose: a map that was fitted on answers says nothing of the
 * verdict, and the report names what is missing. */
static void test_score_views(void **state) {
    (void)state;
#define VIEWS                                                                                                          \
    "echo '{\"user\":{\"history\":[{\"query\":\"Parks?\",\"chosen\":\"Ban dogs from parks.\",\"rejected\":\"Free "     \
    "dogs!"                                                                                                            \
    "\"}]},\"query\":\"Parks?\",\"responses\":[\"Dogs foul parks.\",\"Dogs need parks.\"]}' > $SCRATCH/views.json && "
#define MAP   "{\"method\":\"temperature\",\"input\":\"probability\",\"n\":100,\"temperature\":1000}"
#define SCORE " && pgenrm score --frame compact --calibration $SCRATCH/map.json $SCRATCH/views.json"
    ran r = run_score(VIEWS "echo '{\"answers\":" MAP "}' > $SCRATCH/map.json" SCORE " --json");
    json_t *v = parse(r.out);
    assert_string_equal(json_string_value(at(v, "kind")), "views");
    assert_true(json_is_false(at(v, "calibrated")) && json_is_null(at(v, "confidence")));
    assert_true(json_is_null(at(json_array_get(at(v, "responses"), 0), "win")));
    json_decref(v);
    run_free(&r);
    r = run_score(VIEWS "echo '" MAP "' > $SCRATCH/map.json" SCORE); /* of answers, too */
    assert_non_null(strstr(r.out, "verdicts on views."));
    assert_null(strstr(r.out, "(calibrated)"));
    run_free(&r);
    r = run_score(VIEWS "echo '{\"views\":" MAP "}' > $SCRATCH/map.json" SCORE " --json");
    v = parse(r.out);
    assert_true(json_is_true(at(v, "calibrated")) && json_number_value(at(v, "confidence")) < 0.51);
    json_decref(v);
    run_free(&r);
#undef VIEWS
#undef MAP
#undef SCORE
}

/* Prompts alone: texts and parts for people, one object with --json, the same request judged nothing. */
static void test_score_prompt(void **state) {
    (void)state;
    static const char command[] = "pgenrm score --prompt -q -m tests/golden/tiny-llama.gguf --frame "
                                  "tests/golden/mini.frame --ind 3 examples/request.json";
    ran r = run_well(command);
    static const char *const words[] = {
        "prompt 1 of 2: 2 chains", "prompt 2 of 2: 1 chain,", "responses[0]", "user.history",
        "is shortened: ",          "--- system ---\nJudge.",  "order B A"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strstr(r.out, words[i])) fail_msg("no \"%s\" in %s", words[i], r.out);
    run_free(&r);
    char as_json[400];
    snprintf(as_json, sizeof as_json, "%s --json", command);
    r = run_well(as_json);
    assert_int_equal(count_lines(r.out), 1);
    json_t *v = parse(r.out);
    const json_t *prompts = at(v, "prompts"), *parts = at(json_array_get(prompts, 0), "parts");
    json_int_t sum = 0;
    for (size_t i = 0; i < json_array_size(parts); i++)
        sum += json_integer_value(at(json_array_get(parts, i), "tokens"));
    assert_int_equal(sum, json_integer_value(at(json_array_get(prompts, 0), "tokens")));
    assert_int_equal(json_array_size(prompts), 2);
    json_decref(v);
    run_free(&r);
}

/* A reward model beside the verdict: shown, and with a weight in the totals. */
static void test_score_scalar(void **state) {
    (void)state;
#define SCALAR                                                                                                         \
    "pgenrm score -q --ind 2 -m tests/golden/tiny-llama.gguf --frame tests/golden/mini.frame examples/request.json "   \
    "--scalar tests/golden/hf-tiny-scalar-qwen2"
    ran r = run_score(SCALAR ":0.5 --json");
    json_t *v = parse(r.out);
    assert_string_equal(json_string_value(at(v, "scalar.model")), "hf-tiny-scalar-qwen2");
    assert_true(json_number_value(at(v, "scalar.weight")) == 0.5);
    const json_t *first = json_array_get(at(v, "responses"), 0), *second = json_array_get(at(v, "responses"), 1);
    double gap = json_number_value(at(first, "scalar")) - json_number_value(at(second, "scalar"));
    /* two responses: each is half of the difference from the mean; JSON has six digits */
    assert_true(gap != 0 && fabs(json_number_value(at(first, "prior")) - 0.25 * gap) < 1e-5);
    json_decref(v);
    run_free(&r);
    r = run_score(SCALAR);
    assert_non_null(strstr(r.out, "Reward model"));
    assert_non_null(strstr(r.out, "beside the verdict: it is not in the scores"));
    run_free(&r);
    assert_refused("pgenrm score --scalar tests/golden/tiny-llama.gguf examples/request.json", 1,
                   "is a language model, expected a score head");
    assert_refused("pgenrm score -m tests/golden/hf-tiny-scalar-qwen2 examples/request.json", 1,
                   "open it with --scalar");
}

/* The same bytes are the same answer: equal scores and a tie, among two and among more. */
static void test_score_same_text(void **state) {
    (void)state;
    static const struct {
        const char *name, *responses;
        int tie;
    } CASES[] = {{"two.json", "[\"Tea is milder.\", \"Tea is milder.\"]", 1},
                 {"three.json", "[\"Tea.\", \"Coffee wakes you up at once.\", \"Tea.\"]", 0}};
    for (size_t i = 0; i < 2; i++) {
        char text[200], command[1200];
        snprintf(text, sizeof text, "{\"query\": \"Tea or coffee?\", \"responses\": %s, \"ind\": 4}",
                 CASES[i].responses);
        snprintf(command, sizeof command, "pgenrm score --json --frame compact %s", write_text(CASES[i].name, text));
        ran r = run_score(command);
        json_t *v = parse(r.out);
        const json_t *list = at(v, "responses"), *last = json_array_get(list, json_array_size(list) - 1);
        assert_true(json_equal(at(json_array_get(list, 0), "score"), at(last, "score")));
        assert_true(json_equal(at(json_array_get(list, 0), "se"), at(last, "se")));
        if (CASES[i].tie) assert_true(json_is_true(at(v, "tie")) && json_integer_value(at(v, "best")) == 0);
        json_decref(v);
        run_free(&r);
    }
}

static void test_score_keys(void **state) {
    (void)state;
    static const char *const keys[] = {"id",
                                       "model",
                                       "frame",
                                       "best",
                                       "tie",
                                       "kind",
                                       "confidence",
                                       "calibrated",
                                       "agree",
                                       "lead",
                                       "lead_se",
                                       "open",
                                       "responses",
                                       "chains.ind.requested",
                                       "chains.ind.parsed",
                                       "chains.ind.cut",
                                       "chains.ind.failed",
                                       "chains.pro.requested",
                                       "chains.flip_rate",
                                       "chains.arithmetic_wrong",
                                       "chains.contradictory",
                                       "persona",
                                       "criteria",
                                       "rubric_chains",
                                       "neighbours",
                                       "history_shown",
                                       "clipped",
                                       "usage.prompt_tokens",
                                       "usage.cached_tokens",
                                       "usage.completion_tokens",
                                       "seconds",
                                       "samples"};
    ran r = run_score("pgenrm score --json --chains --score recomputed --ind 4 --history 2 examples/multi_turn.json");
    json_t *v = parse(r.out);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) assert_non_null(at(v, keys[i]));
    assert_string_equal(json_string_value(at(v, "id")), "multi-turn");
    assert_true(json_is_null(at(v, "confidence")) && json_is_null(at(v, "confidence_raw"))); /* no calibration */
    assert_true(json_is_null(at(json_array_get(at(v, "responses"), 0), "win")));
    assert_non_null(at(json_array_get(at(v, "responses"), 0), "prefer"));
    assert_int_equal(json_array_size(at(v, "responses")), 3);
    assert_int_equal(json_integer_value(at(v, "chains.ind.requested")), 4);
    assert_int_equal(json_integer_value(at(v, "history_shown")), 2);
    assert_int_equal(json_array_size(at(v, "samples")), 4);
    const json_t *odd = json_array_get(at(v, "samples"), 1);
    assert_int_equal(json_integer_value(json_array_get(at(odd, "order"), 0)),
                     2); /* odd chains see the reversed order */
    json_decref(v);
    run_free(&r);
}

static void test_score_repeats(void **state) {
    (void)state;
    ran one = run_score("pgenrm score --json --chains --ind 6 -t 1 examples/request.json");
    ran two = run_score("pgenrm score --json --chains --ind 6 -t 2 examples/request.json");
    ran other = run_score("pgenrm score --json --chains --ind 6 -t 2 --seed 99 examples/request.json");
    json_t *a = timeless(one.out), *b = timeless(two.out), *c = timeless(other.out);
    assert_true(json_equal(a, b));
    assert_false(json_equal(a, c));
    json_decref(a);
    json_decref(b);
    json_decref(c);
    run_free(&one);
    run_free(&two);
    run_free(&other);
}

static const char GOOD[] = "{\"id\":\"%s\",\"query\":\"Tea?\",\"responses\":[\"Green tea.\",\"No, thanks.\"]}\n";

static void test_score_jsonl(void **state) {
    (void)state;
    char text[600];
    int n = snprintf(text, sizeof text, GOOD, "first");
    n += snprintf(text + n, sizeof text - (size_t)n, "\n{\"query\":\"Tea?\",\"respones\":[]}\n");
    n += snprintf(text + n, sizeof text - (size_t)n, GOOD, "fourth");
    snprintf(text + n, sizeof text - (size_t)n,
             "{\"user_id\":\"u\",\"context\":[{\"role\":\"user\",\"content\":\"x\"}],\"chosen\":{\"content\":\"a\"},"
             "\"rejected\":{\"content\":\"b\"},\"conversation_id\":\"fifth\",\"split\":\"test\"}");
    char command[300];
    snprintf(command, sizeof command, "pgenrm score --json -q --ind 1 %s", write_text("many.jsonl", text));
    ran r = run_program(command);
    assert_int_equal(r.status, 3);
    assert_int_equal(count_lines(r.out), 3);
    assert_int_equal(count_lines(r.err), 1);
    assert_non_null(strstr(r.err, "many.jsonl:3: unknown key \"respones\", expected perhaps \"responses\""));
    assert_int_equal(strncmp(r.out, "{\"id\":\"first\"", 13), 0);
    assert_non_null(strstr(r.out, "\n{\"id\":\"fourth\""));
    assert_non_null(strstr(r.out, "\n{\"id\":\"fifth\""));
    run_free(&r);

    snprintf(command, sizeof command, "pgenrm score %s", write_text("none.jsonl", "\n \n"));
    assert_refused(command, 1, "none.jsonl: found no request");
    assert_refused("pgenrm score /nonexistent.jsonl", 1, "/nonexistent.jsonl: No such file");
    ran both = run_program("pgenrm score --json --ind 1 /nonexistent.json - < examples/new_user.json");
    assert_int_equal(both.status, 3);
    assert_non_null(strstr(both.out, "{\"id\":\"new-user\""));
    run_free(&both);
}

/* Requests that are judged together give what each gives alone, in the requests' order, though the last are the first
 * to be done; one that cannot be judged takes no other along. */
static void test_score_together(void **state) {
    (void)state;
    static const char MANY[] =
        "{\"id\":\"many\",\"query\":\"Tea?\",\"responses\":[\"Green tea.\",\"No.\"],\"ind\":70}\n";
    static const char PRO[] = "{\"id\":\"p\",\"query\":\"Tea?\",\"responses\":[\"Yes.\",\"No.\"],\"pro\":1}\n";
    static const char FEW[] = "{\"id\":\"few\",\"query\":\"Milk?\",\"responses\":[\"Yes.\",\"No.\"],\"ind\":1}\n";
    char text[600], commands[3][500];
    snprintf(text, sizeof text, "%s%s%s", MANY, PRO, FEW);
    const char *how = "pgenrm score --json -q --frame tests/golden/mini.frame";
    snprintf(commands[0], sizeof commands[0], "%s %s", how, write_text("together.jsonl", text));
    snprintf(commands[1], sizeof commands[1], "%s --deadline 100 %s", how, write_text("many.json", MANY)); /* alone */
    snprintf(commands[2], sizeof commands[2], "%s %s", how, write_text("few.json", FEW));
    ran together = run_program(commands[0]), alone[2] = {run_score(commands[1]), run_score(commands[2])};
    assert_int_equal(together.status, 3);
    assert_int_equal(count_lines(together.out), 2);
    assert_int_equal(count_lines(together.err), 1);
    assert_non_null(strstr(together.err, "together.jsonl:2: pro is 1"));
    const char *line = together.out;
    for (size_t i = 0; i < 2; i++) {
        size_t n = strcspn(line, "\n");
        char *copy = strndup(line, n);
        json_t *a = timeless(copy), *b = timeless(alone[i].out);
        json_object_del(json_object_get(a, "usage"), "cached_tokens");
        json_object_del(json_object_get(b, "usage"), "cached_tokens");
        assert_true(json_equal(a, b));
        json_decref(a);
        json_decref(b);
        free(copy);
        line += n + 1;
        run_free(&alone[i]);
    }
    run_free(&together);
}

/* A frame with slots has no more chains than can differ: what was asked for beyond is said, and nothing is called what
 * a chain states that was not written. */
static void test_score_alike(void **state) {
    (void)state;
    ran r = run_well("pgenrm score -q --ind 8 --frame compact examples/request.json");
    assert_non_null(strstr(r.out, "2 of 2 read; 6 more would be copies of these"));
    assert_null(strstr(r.out, "as the chains state it"));
    run_free(&r);
    r = run_well("pgenrm score -q --json --ind 8 --frame compact examples/request.json");
    json_t *v = parse(r.out);
    assert_int_equal(json_integer_value(at(v, "chains.alike")), 6);
    json_decref(v);
    run_free(&r);
}

/* No time: every chain fails, no score is made up, the report says so. */
/* Chains that are read but lack the kind of score that was asked for are not in the mean. */
static void test_score_kind_missing(void **state) {
    (void)state;
    ran r = run_program("pgenrm score --ind 2 --frame full --score recomputed --max-tokens 400 examples/new_user.json");
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.out, "2 of 2 read"));
    assert_non_null(strstr(r.out, "mean of 0 chains"));
    assert_non_null(strstr(r.out, "no chain has the scores that count"));
    run_free(&r);
}

static void test_score_deadline(void **state) {
    (void)state;
    ran r = run_program("pgenrm score --json --ind 2 --deadline 0.001 examples/request.json");
    assert_int_equal(r.status, 3);
    json_t *v = parse(r.out);
    assert_int_equal(json_integer_value(at(v, "chains.ind.failed")), 2);
    assert_true(json_is_null(at(v, "best")));
    const json_t *first = json_array_get(at(v, "responses"), 0);
    assert_true(json_is_null(at(first, "score")));
    assert_true(json_is_string(at(first, "reason")));
    json_decref(v);
    run_free(&r);
    r = run_program("pgenrm score --ind 2 --deadline 0.001 examples/request.json");
    assert_int_equal(r.status, 3);
    assert_non_null(strstr(r.out, "no chain could be read"));
    assert_non_null(strstr(r.out, "2 of 2: "));
    run_free(&r);
}

/* Characters of the longest line. */
static size_t longest_line(const char *s) {
    size_t longest = 0, n = 0;
    for (; *s; s++) {
        n = *s == '\n' ? 0 : n + ((*s & 0xC0) != 0x80);
        if (n > longest) longest = n;
    }
    return longest;
}

static void test_report(void **state) {
    (void)state;
    ran r = run_score("COLUMNS=60 pgenrm score --ind 2 --frame compact examples/multi_turn.json");
    static const char *const parts[] = {
        "multi-turn", "Rubric",  "Criterion", "Weight", "Score, mean of",        "Scores",
        "Verdict",    "Details", "Tokens",    "Time",   "The judge is untrained"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(r.out, parts[i])) fail_msg("no %s in:\n%s", parts[i], r.out);
    assert_null(strchr(r.out, '\033')); /* no colours into a file */
    assert_true(longest_line(r.out) <= 60);
    run_free(&r);
}

/* ---- the rubric's arithmetic, by hand ---- */

/* From the JSON: six digits of every number are written. */
static void test_rubric_json(void **state) {
    (void)state;
    ran r = run_score("pgenrm score --json --ind 8 --frame compact examples/multi_turn.json");
    json_t *v = parse(r.out);
    const json_t *criteria = at(v, "criteria"), *responses = at(v, "responses");
    double weights = 0, totals[3] = {0};
    for (size_t k = 0; k < json_array_size(criteria); k++) {
        const json_t *c = json_array_get(criteria, k);
        weights += json_number_value(at(c, "weight"));
        assert_non_null(at(c, "share"));
        assert_non_null(at(c, "contested"));
        for (size_t i = 0; i < 3; i++)
            totals[i] +=
                json_number_value(at(c, "weight")) / 100 * json_number_value(json_array_get(at(c, "scores"), i));
    }
    assert_true(fabs(weights - 100) < 1e-3);
    for (size_t i = 0; i < 3; i++)
        assert_true(fabs(totals[i] - json_number_value(at(json_array_get(responses, i), "score"))) < 2e-4);
    json_decref(v);
    run_free(&r);
}

/* The two numbers that end a line. */
static int last_two(const char *line, double out[2]) {
    const char *end = line + strcspn(line, "\n"), *p = end;
    for (int k = 2; k > 0; k--) {
        while (p > line && p[-1] == ' ') p--;
        while (p > line && p[-1] != ' ') p--;
        char *after = NULL;
        out[k - 1] = strtod(p, &after);
        if (after == p) return 0;
    }
    return 1;
}

/* From the report: weights with one decimal, scores with two. What rounding can do is the bound. */
static void test_rubric_report(void **state) {
    (void)state;
    static const char *const files[] = {"--ind 8 examples/request.json", "--ind 8 examples/new_user.json",
                                        "--ind 48 examples/request.json"}; /* more criteria than are shown one by one */
    for (size_t f = 0; f < 3; f++) {
        char command[200];
        snprintf(command, sizeof command, "COLUMNS=100 pgenrm score --frame compact %s", files[f]);
        ran r = run_score(command);
        double totals[2] = {0}, slack = 0.005, weights = 0, values[2];
        size_t rows = 0;
        const char *line = strstr(r.out, "Criterion");
        assert_non_null(line);
        assert_null(strstr(r.out, "confidence"));
        assert_non_null(strstr(r.out, "prefer"));
        for (line = strchr(line, '\n') + 1;
             !strstr(line, "Score, mean") || strstr(line, "Score, mean") > strchr(line, '\n');
             line = strchr(line, '\n') + 1) {
            const char *sign = strstr(line, " %");
            if (!sign || sign > strchr(line, '\n')) continue; /* a reason, a rule */
            const char *number = sign;
            while (number[-1] != ' ') number--;
            double w = strtod(number, NULL);
            assert_true(last_two(line, values));
            weights += w;
            rows++;
            for (size_t i = 0; i < 2; i++) totals[i] += w / 100 * values[i];
            slack += 0.05 / 100 * 10 + w / 100 * 0.005;
        }
        if (f == 2) assert_non_null(strstr(r.out, " more together"));
        assert_true(rows >= 2);
        assert_true(fabs(weights - 100) <= 0.05 * (double)rows + 1e-9);
        assert_true(last_two(line, values));
        for (size_t i = 0; i < 2; i++)
            if (!(fabs(totals[i] - values[i]) <= slack))
                fail_msg("by hand %.3f, printed %.2f\n%s", totals[i], values[i], r.out);
        run_free(&r);
    }
}

/* SIGINT ends a long run with 130, promptly; what was done before stands on standard output. */
static void test_interrupt(void **state) {
    (void)state;
    char text[600];
    int n =
        snprintf(text, sizeof text, "{\"id\":\"quick\",\"query\":\"Tea?\",\"responses\":[\"a\",\"b\"],\"ind\":1}\n");
    n += snprintf(text + n, sizeof text - (size_t)n,
                  "{\"id\":\"slow\",\"query\":\"Tea?\",\"ind\":1024,\"responses\":[\"a\"");
    for (int i = 1; i < 26; i++) n += snprintf(text + n, sizeof text - (size_t)n, ",\"b\""); /* half a minute */
    snprintf(text + n, sizeof text - (size_t)n, "]}\n");
    write_text("slow.jsonl", text);
    ran r = run_interrupted("pgenrm score --json --frame compact-lines $SCRATCH/slow.jsonl",
                            "$SCRATCH/printed"); /* the quick one's line is there */
    assert_int_equal(count_lines(r.out), 1);
    assert_int_equal(strncmp(r.out, "{\"id\":\"quick\"", 13), 0);
    run_free(&r);
    assert_interrupted_loading("tests/golden/hf-tiny-qwen3", "pgenrm score -m $SCRATCH/slow examples/request.json");
    assert_interrupted_loading("tests/golden/hf-tiny-qwen3", "pgenrm tokenize -m $SCRATCH/slow text");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stop_texts_hold_in_forced_text),
        cmocka_unit_test(test_nobody),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_work_that_cannot_be_done),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_every_help),
        cmocka_unit_test(test_tokenize),
        cmocka_unit_test(test_loras),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_inspect),
        cmocka_unit_test(test_inspect_parts),
        cmocka_unit_test(test_refused_common),
        cmocka_unit_test(test_score_prompt),
        cmocka_unit_test(test_score_alike),
        cmocka_unit_test(test_score_scalar),
        cmocka_unit_test(test_score_same_text),
        cmocka_unit_test(test_score_keys),
        cmocka_unit_test(test_score_scaling),
        cmocka_unit_test(test_score_views),
        cmocka_unit_test(test_score_repeats),
        cmocka_unit_test(test_score_jsonl),
        cmocka_unit_test(test_score_together),
        cmocka_unit_test(test_score_deadline),
        cmocka_unit_test(test_score_kind_missing),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_rubric_json),
        cmocka_unit_test(test_rubric_report),
        cmocka_unit_test(test_interrupt),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
