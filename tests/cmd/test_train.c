/* test_train.c - `pgenrm train` as a user meets it, and what a kill leaves. */
#include "base/json.h"
#include "run_program.h"

#define SFT "pgenrm train sft --data examples/chats.jsonl --batch 3 --lr 0.01 --dtype f32 "

static void test_sft(void **state) {
    (void)state;
    ran r = run_to(SFT "--out $SCRATCH/run --steps 3 --json", 0, "");
    const char *line = r.out;
    static const char *const keys[] = {"step", "loss", "grad_norm", "learning_rate", "num_tokens", "step_time"};
    for (int i = 1; i <= 3; i++) {
        size_t n = strcspn(line, "\n");
        json_t *v = NULL;
        assert_int_equal(json_parse(line, n, "line", 1, &v, NULL), PGR_OK);
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            assert_true(json_is_number(json_object_get(v, keys[k])));
        assert_int_equal(json_integer_value(json_object_get(v, "step")), i);
        json_decref(v);
        line += n + 1;
    }
    assert_string_equal(line, "");
    char *kept = slurp(path_of("run/metrics.jsonl"));
    assert_string_equal(kept, r.out);
    free(kept);
    run_free(&r);
    r = run_to("pgenrm generate --lora $SCRATCH/run/adapter --max-tokens 2 -q Hi", 0, "");
    run_free(&r);
}

/* What is not learnt from is said, also where something is left. */
static void test_left_out(void **state) {
    (void)state;
    ran r = run_to("pgenrm train sft -m tests/golden/hf-tiny-words --data examples/chats.jsonl --out $SCRATCH/short "
                   "--steps 1 --max-tokens 60 -q",
                   0, "2 of 8 conversations are longer than 60 tokens");
    run_free(&r);
}

static void test_psi(void **state) {
    (void)state;
    ran r = run_to(
        "pgenrm train psi taste=examples/choices.jsonl quality=examples/choices.jsonl -m "
        "tests/golden/hf-tiny-words --pairs-min 1 --held .3 --out $SCRATCH/psi --steps 4 --batch 2 --pass-tokens "
        "4096",
        0, "");
    assert_non_null(strstr(r.out, "step 4/4"));
    assert_non_null(strstr(r.out, "evaluation:"));
    run_free(&r);
    r = run_to(
        "for s in cre hncl; do pgenrm train $s taste=examples/choices.jsonl -m tests/golden/hf-tiny-words "
        "--pairs-min 1 --held .3 --init $SCRATCH/psi/adapter --out $SCRATCH/$s --steps 2 --pass-tokens 4096; done",
        0, "");
    assert_non_null(strstr(r.out, "rewards/coverage/mean"));
    assert_non_null(strstr(r.out, "hard_share"));
    run_free(&r);
    /* --data names files as operands do, one without a kind is of taste and of quality */
#define PSI_RUN                                                                                                        \
    "pgenrm train psi -m tests/golden/hf-tiny-words --pairs-min 1 --held .3 --epochs 1 --batch 2 --eval-limit 1 "      \
    "--pass-tokens 4096 "
    r = run_to(PSI_RUN "--data examples/choices.jsonl --out $SCRATCH/one && " PSI_RUN
                       "taste=examples/choices.jsonl quality=examples/choices.jsonl --out $SCRATCH/two && cmp "
                       "$SCRATCH/one/adapter/adapter_model.safetensors $SCRATCH/two/adapter/adapter_model.safetensors",
               0, "");
    assert_non_null(strstr(r.out, "step 6/6"));
    run_free(&r);
    r = run_to("cat $SCRATCH/psi/adapter/slots.json", 0, "");
    assert_non_null(strstr(r.out, "\"a\""));
    run_free(&r);
}

/* Options in a file are those of the command line, which counts more; what is wrong in it is told with its name. */
static void test_config(void **state) {
    (void)state;
    ran r =
        run_to("echo '{\"data\": \"examples/chats.jsonl\", \"batch\": 3, \"lr\": 0.01, \"lora_rank\": 4, \"steps\": 9, "
               "\"dtype\": \"f32\", \"resume\": false, \"init\": null, \"no_shuffle\": true}' >$SCRATCH/c.json && " SFT
               "--out $SCRATCH/plain --steps 1 --lora-rank 4 --no-shuffle -q && pgenrm train sft --steps 1 --config "
               "$SCRATCH/c.json --out $SCRATCH/told -q && cmp $SCRATCH/plain/adapter/adapter_model.safetensors "
               "$SCRATCH/told/adapter/adapter_model.safetensors",
               0, "");
    run_free(&r);
    static const struct {
        const char *text, *option;
        int status;
        const char *says;
    } bad[] = {
        {"{\"lrr\": 1}", "", 2, "/bad.json: unknown option --lrr, perhaps --lr"},
        {"{\"lr\": \"x\"}", "", 2, "/bad.json: --lr: found \"x\""},
        {"{\"lr\": 1}", "--steps x", 2, "pgenrm: --steps: found \"x\""},
        {"{\"lr\": {}}", "", 1, "/bad.json: lr: found an object, expected a number"},
        {"{\"lr\": [1]}", "", 1, "/bad.json: lr[0]: found an integer, expected a string"},
        {"[1]", "", 1, "/bad.json: options: found an array, expected an object"},
        {"{\"lr\": 1", "", 1, "/bad.json:2: "},
        {"{\"lr\": true, \"steps\": 2}", "", 2, "bad.json: --lr needs a value"}, /* and not the next option */
        {"{\"init\": true}", "--out $SCRATCH/other", 2, "bad.json: --init needs a value"},
        {"{}", "--config", 2, "--config needs a value"},
        {"{}", "--config x", 2, "--config: found a second one"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char command[300];
        snprintf(command, sizeof command,
                 "echo '%s' >$SCRATCH/bad.json; pgenrm train sft --config=$SCRATCH/bad.json %s", bad[i].text,
                 bad[i].option);
        assert_ends(command, bad[i].status, bad[i].says);
    }
    assert_ends("pgenrm train sft --config /nonexistent", 1, "/nonexistent");
}

/* From requests to labels, to a policy by DPO; from labels to a reward model that `score --scalar` opens; a policy that
 * the judge rewards. */
static void test_policies(void **state) {
    (void)state;
    ran r =
        run_to("export PGENRM_MODEL=tests/golden/hf-tiny-words; pgenrm label examples/choices.jsonl --frame compact "
               "--ind 2 --out $SCRATCH/pairs.jsonl -q && pgenrm train dpo --data $SCRATCH/pairs.jsonl --out "
               "$SCRATCH/dpo --steps 2 --batch 2 && pgenrm train bt --full --data $SCRATCH/pairs.jsonl --out "
               "$SCRATCH/bt --steps 2 --batch 2 && pgenrm train grpo --data examples/choices.jsonl --judge none "
               "--frame compact --samples 2 --max-new 4 --batch 2 --steps 2 --held .3 --eval-limit 2 --out "
               "$SCRATCH/grpo && pgenrm score --frame compact --ind 2 --scalar $SCRATCH/bt/model "
               "examples/request.json >$SCRATCH/scored && pgenrm generate --lora $SCRATCH/grpo/adapter "
               "--max-tokens 2 -q Hi",
               0, "");
    assert_non_null(strstr(r.out, "requests labelled"));
    assert_non_null(strstr(r.out, "rewards/margins"));
    assert_non_null(strstr(r.out, "bt/model"));
    assert_non_null(strstr(r.out, "frac_reward_zero_std"));
    assert_non_null(strstr(r.out, "eval/wins_by_rule"));
    assert_non_null(strstr(r.out, "grpo/adapter"));
    run_free(&r);
}

/* Chains of text: the same commands with --frame. */
static void test_text(void **state) {
    (void)state;
    ran r = run_to("pgenrm train psi --frame full --help", 0, "");
    assert_non_null(strstr(r.out, "--teacher WHO"));
    run_free(&r);
#define TEXT_RUN                                                                                                       \
    " --frame tests/golden/chains.frame examples/choices.jsonl -m tests/golden/hf-tiny-chains --max-tokens 64 "        \
    "--held .3 --eval-limit 1 --steps 2 --batch 2 --dtype f32 "
    r = run_to("pgenrm train psi" TEXT_RUN "--out $SCRATCH/text && cat $SCRATCH/text/chains.jsonl", 0, "");
    assert_non_null(strstr(r.out, "step 2/2"));
    assert_non_null(strstr(r.out, "chains/parsed"));
    assert_non_null(strstr(r.out, "\"accepted\":true"));
    run_free(&r);
    r = run_to("for s in cre hncl; do pgenrm train $s" TEXT_RUN
               "--samples 2 --init $SCRATCH/text/adapter --out $SCRATCH/text_$s; done",
               0, "");
    assert_non_null(strstr(r.out, "rewards/coverage/mean"));
    assert_non_null(strstr(r.out, "hard_share"));
    run_free(&r);
    /* Sampler and trainer have one arithmetic, in int8, too: the rounding of log p (tests/train/test_text.c) aside. */
    r = run_to("pgenrm train cre" TEXT_RUN "--dtype int8 --samples 4 --malformed -1 --init tests/golden/chains-adapter "
               "--out $SCRATCH/text_int8 && sed 's/^{/\\n/;s/.*logp_difference.max.:/gap /' "
               "$SCRATCH/text_int8/metrics.jsonl",
               0, "");
    size_t n = 0;
    for (const char *at = r.out; (at = strstr(at, "\ngap ")); at += 5, n++) assert_true(strtod(at + 5, NULL) < 8.4e-5);
    assert_int_equal(n, 2);
    run_free(&r);
    r = run_to("pgenrm train psi" TEXT_RUN "--held .0001 --steps 1 --out $SCRATCH/text_all", 0, "nothing is evaluated");
    run_free(&r);
    assert_ends("pgenrm train psi --frame tests/golden/none.frame x.jsonl --out $SCRATCH/none", 1, "none.frame");
    assert_ends("pgenrm train psi --frame full --out $SCRATCH/none", 2, "expected DATA");
}

/* Names of files are bytes: what is no UTF-8 is U+FFFD in the settings, which are the same when a run goes on. */
static void test_names_in_latin_1(void **state) {
    (void)state;
#define LATIN "L=$SCRATCH/$(printf 'caf\\351'); "
#define LATIN_SFT                                                                                                      \
    "pgenrm train sft -q -m \"$L.model\" --data \"$L.jsonl\" --out \"$L.run\" --trackio $SCRATCH/latin.db --steps "
    ran r = run_to(LATIN
                   "cp examples/chats.jsonl \"$L.jsonl\" && cp -r tests/golden/hf-tiny-words \"$L.model\" && " LATIN_SFT
                   "1 >/dev/null && " LATIN_SFT "2 --resume >/dev/null && cat \"$L.run/checkpoint-2/state.json\"",
                   0, "");
    assert_non_null(strstr(r.out, "/caf\xEF\xBF\xBD.jsonl\""));
    assert_non_null(strstr(r.out, "\"model\": \"caf\xEF\xBF\xBD.model\""));
    run_free(&r);
    r = run_to(LATIN "cp examples/choices.jsonl \"$L.rows\" && for s in 'dpo --data' 'bt --full --data' 'psi --users 1 "
                     "--pairs-min 1 --batch 1 --pass-tokens 4096'; do pgenrm train $s \"$L.rows\" -q -m \"$L.model\" "
                     "--steps 1 --out \"$L.${s%% *}\" >/dev/null || exit; done",
               0, "");
    run_free(&r);
}

/* A signal is answered after the step that is on; the same command goes on. */
static void test_interrupted(void **state) {
    (void)state;
    ran r = run_program(SFT "--out $SCRATCH/stopped --steps 100000 >$SCRATCH/printed & for i in $(seq 2400); do [ -s "
                            "$SCRATCH/printed ] && break; sleep 0.05; done; kill -TERM $!; wait $!; exit $?");
    assert_int_equal(r.status, 130);
    assert_non_null(strstr(r.err, "--resume goes on from there"));
    run_free(&r);
    r = run_to("N=$(basename $(ls -d $SCRATCH/stopped/checkpoint-*) | cut -d- -f2) && " SFT
               "--out $SCRATCH/stopped --resume --steps $((N + 1)) && test -d $SCRATCH/stopped/checkpoint-$((N + 1))",
               0, "");
    run_free(&r);
}

/* Arithmetic that nobody names is that of the level, and of a run that goes on what it was begun with. */
static void test_dtype(void **state) {
    (void)state;
#define WORDS_SFT "pgenrm train sft -m tests/golden/hf-tiny-words --data examples/chats.jsonl -q "
    ran r = run_to("PGENRM_CPU=avx2 " WORDS_SFT "--out $SCRATCH/dtype_f32 --steps 1 >/dev/null && " WORDS_SFT
                   "--out $SCRATCH/dtype_bf16 --steps 1 --dtype bf16 >/dev/null 2>&1 && PGENRM_CPU=avx2 " WORDS_SFT
                   "--out $SCRATCH/dtype_bf16 --steps 2 --resume >/dev/null 2>&1 && grep -h '\"dtype\"' "
                   "$SCRATCH/dtype_f32/checkpoint-1/state.json $SCRATCH/dtype_bf16/checkpoint-2/state.json",
                   0, "");
    const char *first = strstr(r.out, "\"f32\""), *second = strstr(r.out, "\"bf16\"");
    assert_true(first && second && first < second);
    run_free(&r);
    r = run_to(WORDS_SFT "--out $SCRATCH/dtype_bf16 --steps 3 --resume --dtype f32", 1, "the setting dtype \"bf16\"");
    run_free(&r);
    r = run_to(WORDS_SFT "--out $SCRATCH/dtype_two --steps 2 --dtype int8 >/dev/null && " WORDS_SFT
                         "--out $SCRATCH/dtype_int8 --steps 1 --dtype int8 >/dev/null && " WORDS_SFT
                         "--out $SCRATCH/dtype_int8 --steps 2 --resume >/dev/null && "
                         "cmp $SCRATCH/dtype_two/checkpoint-2/state.bin $SCRATCH/dtype_int8/checkpoint-2/state.bin && "
                         "grep -h '\"dtype\"' $SCRATCH/dtype_int8/checkpoint-2/state.json",
               0, "");
    assert_non_null(strstr(r.out, "\"int8\""));
    run_free(&r);
}

/* Killed again and again at moments of no choice, with a checkpoint after every step: what is left is always whole, and
 * the end is that of a run that nobody disturbed. */
static void test_killed(void **state) {
    (void)state;
    ran r = run_to(SFT "--out $SCRATCH/calm --steps 20 -q", 0, "");
    run_free(&r);
    r = run_to(
        "for wait in .05 .3 .11 .5 .23 .17 .4 .08 .35 .6; do " SFT
        "--out $SCRATCH/killed --steps 20 --save-minutes 0 --resume -q >/dev/null 2>&1 & sleep $wait; kill -9 $! "
        "2>/dev/null; wait $! 2>/dev/null; done; " SFT "--out $SCRATCH/killed --steps 20 --save-minutes 0 --resume -q "
        ">/dev/null && cmp $SCRATCH/calm/checkpoint-20/state.bin "
        "$SCRATCH/killed/checkpoint-20/state.bin && cmp $SCRATCH/calm/adapter/adapter_model.safetensors "
        "$SCRATCH/killed/adapter/adapter_model.safetensors && wc -l <$SCRATCH/killed/metrics.jsonl",
        0, "");
    assert_int_equal(atoi(r.out), 20);
    run_free(&r);
}

static void test_refusals(void **state) {
    (void)state;
    assert_ends("pgenrm train", 2, "no command given");
    assert_ends("pgenrm train sfi", 2, "perhaps sft");
    assert_ends("pgenrm train sft", 2, "expected --data ROWS.jsonl");
    assert_ends("pgenrm train sft --data x", 2, "expected --out DIR");
    assert_ends("pgenrm train sft --data /nonexistent --out $SCRATCH/none", 1, "/nonexistent");
    assert_ends("pgenrm train sft --data x --out y --betas 1,2", 2, "--betas");
    assert_ends("pgenrm train sft --data x --out y --schedule step", 2, "constant, linear or cosine");
    assert_ends(SFT "--full --out $SCRATCH/none", 1, "found a GGUF file");
    assert_ends("pgenrm train bt --data examples/choices.jsonl --out $SCRATCH/none", 1, "found a GGUF file");
    assert_ends("pgenrm train bt --out y", 2, "expected --data PAIRS.jsonl");
    assert_ends("pgenrm train dpo --data x", 2, "expected --out DIR");
    assert_ends("pgenrm train dpo --data /nonexistent --out $SCRATCH/none", 1, "/nonexistent");
    assert_ends("pgenrm train dpo --data x --out y --beta 0", 2, "--beta");
    assert_ends("pgenrm train grpo --data x --out y --samples 1", 2, "--samples");
    assert_ends("pgenrm train grpo --out y", 2, "expected --data USERS.jsonl");
    assert_ends("pgenrm label examples/choices.jsonl", 2, "expected --out FILE");
    assert_ends("pgenrm label --out x", 2, "expected one file of requests");
    assert_ends("pgenrm label x --out y --form csv", 2, "dpo or kto");
    assert_ends(SFT "--full --dtype int8 --out $SCRATCH/none", 2, "int8");
    assert_ends("pgenrm train cre taste=examples/choices.jsonl --out $SCRATCH/none", 2, "expected the adapter");
    assert_ends("pgenrm train psi --out y", 2, "expected DATA");
    assert_ends("pgenrm train psi tast=x.jsonl --out y", 2, "taste=FILE");
    assert_ends("pgenrm train psi taste=x.jsonl --out y --mix taste", 2, "--mix");
    assert_ends("pgenrm train psi taste=examples/choices.jsonl --out $SCRATCH/none", 1, "nothing to learn taste from");
    assert_ends("pgenrm train psi taste=examples/choices.jsonl --pairs-min 1 --out $SCRATCH/none", 1, "several tokens");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sft),    cmocka_unit_test(test_left_out),    cmocka_unit_test(test_psi),
        cmocka_unit_test(test_config), cmocka_unit_test(test_policies),    cmocka_unit_test(test_text),
        cmocka_unit_test(test_dtype),  cmocka_unit_test(test_interrupted), cmocka_unit_test(test_names_in_latin_1),
        cmocka_unit_test(test_killed), cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
