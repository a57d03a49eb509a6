/* test_usage.c - what the program refuses: wrong usage with 2, work that cannot be done with 1, one line each. */
#include "run_program.h"

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
    assert_refused("pgenrm generate -m '' y", 2, "--model: found an empty text, expected PATH|NAME");
    assert_refused("pgenrm score --slots '' x", 2, "--slots: found an empty text, expected FILE");
    assert_refused("pgenrm user import --store '' x", 2, "--store: found an empty text, expected FILE");
    assert_refused("pgenrm serve --token-file=", 2, "--token-file: found an empty text");
    assert_refused("pgenrm generate --dtype f64 y", 2, "auto, exact, f32, bf16 or int8");
    assert_refused("pgenrm generate --lora a:b y", 2, "--lora: found \"b\", expected a number");
    assert_refused("pgenrm generate --lora a: y", 2, "--lora: found \"\", expected a number");
    assert_refused("pgenrm generate --lora :2 y", 2, "--lora: found \":2\", expected PATH[:SCALE]");
    assert_refused("pgenrm tokenize a b", 2, "TEXT");
    assert_refused("pgenrm perplexity", 2, "FILE");
    assert_refused("pgenrm inspect a b", 2, "MODEL");
}

/* A value that is wrong whatever the files have is wrong usage; one that only they can be without is not. */
static void test_values_of_options(void **state) {
    (void)state;
    static const struct {
        const char *command;
        int status;
        const char *says;
    } rows[] = {
        {"bench --ind 0 --split tset examples/choices.jsonl", 2, "found \"tset\", expected train, validation"},
        {"bench --ind 0 --split dev examples/choices.jsonl", 1, "no row has the split \"dev\""},
        {"bench --ind 0 --methods longst examples/choices.jsonl", 2, "no method \"longst\", expected longest"},
        {"bench --ind 0 --methods scalar examples/choices.jsonl", 2, "method scalar needs a reward model"},
        {"bench --ind 0 --methods base-cot examples/choices.jsonl", 2, "base-cot"},
        {"bench --ind 0 --by taste examples/choices.jsonl", 2,
         "--by: found \"taste\", expected votes, choices or facts"},
        {"bench --ind 0 --calibration-kind x --calibration-out c examples/choices.jsonl", 2,
         "expected answers or views"},
        {"bench --ind 0 --calibration-kind views examples/choices.jsonl", 2, "no file for the calibration of views"},
        {"bench --ind 0 --calibration-out c examples/choices.jsonl", 2, "expected ind or pro above 0"},
        {"bench --ind 2,2 --methods longest examples/choices.jsonl", 2, "ind 2 is given twice"},
        {"bench --ind 0 --subset nope examples/choices.jsonl", 1, "the subset \"nope\""},
        {"bench --cold-start --cold-pairs 3,2 examples/choices.jsonl", 2,
         "found 2 behind 3, expected numbers that grow"},
        {"bench --cold-start --split train examples/choices.jsonl", 2, "expected another split than train"},
        {"bench --cold-start --attributes-out a examples/choices.jsonl", 2, "--attributes-out does not go with"},
        {"proto build --by vtes", 2, "--by: found \"vtes\", expected votes, choices, analysis or facts"},
        {"proto build --by votes --dims 200", 2, "--dims: found 200, expected a multiple of 128"},
        {"proto build --split tset", 2, "--split: found \"tset\", expected history, all, train, val or test"},
        {"user import --store $SCRATCH/u.db --form nope examples/choices.jsonl", 2,
         "found the form \"nope\", expected"},
        {"user import --store $SCRATCH/u.db /nonexistent.jsonl", 1, "/nonexistent.jsonl"},
        {"pull x", 2, "expected ORG/NAME"},
        {"serve --listen x", 2, "expected ADDRESS:PORT"},
        {"serve --listen 127.0.0.1:0 --embeddings http://h:x/v1", 2, "--embeddings: address of a server: found one"},
        {"serve --listen 127.0.0.1:0 --embedder http://", 2, "--embedder: address \"http:\": expected"},
        {"score -m http:// examples/request.json", 2, "--model: address \"http:\": expected http://HOST[:PORT]/v1"},
        {"score -m http:///v1 examples/request.json", 2, "--model: address of a server: found one that cannot be"},
        {"score -m http://:80/v1 examples/request.json", 2, "--model: address of a server"},
        {"score -m HTTP://h:0/v1 examples/request.json", 2, "a port is 1 to 65535"},
        {"score -m http://h:65536/v1 examples/request.json", 2, "a port is 1 to 65535"},
        {"score -m 'https://a b/v1' examples/request.json", 2, "--model: address \"https://a b/v1\": expected"},
        {"score -m http://a/v1,,http://b/v1 examples/request.json", 2, "--model: address \"\": expected"},
        {"score --embedder http://[::1/v1 examples/request.json", 2, "--embedder: address of a server"},
        {"score --scalar http://h/v1:2 examples/request.json", 2, "--scalar: found \"http://h/v1:2\", expected MODEL"},
        {"score --w-ind 0 --w-pro 0 examples/request.json", 2, "--w-ind and --w-pro are 0, expected one above it"},
        {"embed -m http:// LICENSE", 2, "--model: address \"http:\": expected"},
        {"bench --ind 0 --w-ind 0 --w-pro 0 examples/choices.jsonl", 2, "w_ind and w_pro are 0"},
        {"bench --ind 0 --embedder http:// examples/choices.jsonl", 2, "--embedder: address"},
        {"proto build --embedder http://h:1/v1,h:2/v1", 2, "--embedder: address \"h:2/v1\": expected"},
        {"inspect -m http://h/v1", 2, "http://h/v1: this needs a model's files"},
        {"synth --responses examples/responses.jsonl --users 4", 2,
         "prototypes is 8, expected 1 to the number of users, 4"},
        {"synth --responses /nonexistent --held-users 1", 2, "held-out users are 1, expected a share between 0 and 1"},
        {"synth --responses examples/responses.jsonl --train-pairs 100000", 1, "100000 train and 6 test pairs"},
        {"serve --listen 127.0.0.1:0 --token-file /nonexistent", 1, "/nonexistent"},
        {"embed --pool nope LICENSE", 2, "--pool"},
        {"convert x --type nope --out y", 2, "--type"},
        {"train sft --data x --out y --betas 1,2", 2, "--betas"},
        {"train psi x --out y --mix taste=x", 2, "--mix"},
        {"train psi x --out y --mix views=1", 2, "mix: all data have the share 0, expected one above it"},
        {"train psi x --out y --pairs-min 9 --pairs-max 3", 2, "pairs-max 3: expected at least pairs-min, 9"},
        {"train psi x --out y --steps 0 --epochs 0", 2, "steps and epochs are 0: expected one above 0"},
        {"train psi views=x --out y", 2, "views: found nobody to ask, expected --store"},
        {"train sft --data x --out y --full --dtype int8", 2, "--dtype int8: is for adapters"},
        {"train cre x --out y", 2, "init: found none, expected the adapter that is the reference"},
        {"train psi --frame full x --out y --max-tokens 512 --pass-tokens 512", 2,
         "pass-tokens 512: expected more than"},
        {"train psi --frame full x --out y --teacher server", 2, "server: found none, expected its address"},
        {"train psi --frame full x --out y --server h:80/v1", 2, "--server: address \"h:80/v1\": expected"},
        {"train cre --frame full x --out y --samples 3", 2, "samples 3: expected an even number"},
        {"train hncl --frame full x --out y --steps 0", 2, "steps 0: expected 1 or more"},
        {"train sft --data x --out y --max-tokens 600 --pass-tokens 512", 2, "max-tokens 600: expected at most"},
        {"train sft --data x --out y --full --init z", 2, "init z: all weights are trained from the model's own"},
        {"train bt --data x --out y --max-tokens 600 --pass-tokens 1024", 2, "max-tokens 600: expected at most half"},
        {"train dpo --data x --out y --steps 0 --epochs 0", 2, "steps and epochs are 0"},
        {"train grpo --data x --out y --steps 0", 2, "steps 0: expected 1 or more"},
        {"train psi x --out y", 1, "x: "},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char command[200];
        snprintf(command, sizeof command, "pgenrm %s", rows[i].command);
        assert_refused(command, rows[i].status, rows[i].says);
    }
}

/* A variable that stands for an option ends as the option does. */
static void test_values_of_variables(void **state) {
    (void)state;
    assert_refused("PGENRM_MODEL=http://:x pgenrm score examples/request.json", 2,
                   "$PGENRM_MODEL: address of a server:");
    assert_refused("PGENRM_MODEL=http:// pgenrm generate x", 2, "$PGENRM_MODEL: address \"http:\": expected");
    assert_refused("PGENRM_MODEL=http://h/v1 pgenrm inspect", 2, "$PGENRM_MODEL: http://h/v1: this needs a model's");
    assert_refused("PGENRM_MODEL=/nonexistent pgenrm inspect", 1, "/nonexistent: no such model");
    assert_refused("PGENRM_EMBEDDER=http://:x pgenrm embed LICENSE", 2, "$PGENRM_EMBEDDER: address of a server:");
    assert_refused("PGENRM_EMBEDDER=http://:x pgenrm bench --methods embedding examples/choices.jsonl", 2,
                   "$PGENRM_EMBEDDER: address of a server:");
    assert_refused(
        "pgenrm user import -q --store $SCRATCH/v.db examples/choices.jsonl >/dev/null && PGENRM_EMBEDDER=http://:x "
        "pgenrm score --store $SCRATCH/v.db --pro 2 examples/request.json",
        2, "$PGENRM_EMBEDDER: address of a server:");
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_refused_common),
        cmocka_unit_test(test_values_of_options),
        cmocka_unit_test(test_values_of_variables),
        cmocka_unit_test(test_work_that_cannot_be_done),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
