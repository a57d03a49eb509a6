/* test_ranks.c - one training run in several processes of mpirun: 2, 3 and 4 ranks end in the bits of one, adapters and
 * all weights, with prompts that share beginnings among them; a stage that cannot do that refuses; a rank that dies
 * ends the job and its checkpoint goes on with any number of ranks; a build without MPI says that it is one. Where
 * there is no mpirun, or the build has no MPI, what needs them is skipped. */
#include <stdbool.h>

#include "run_program.h"

#define QUIET "-t 1 -q "
#define SFT                                                                                                            \
    "pgenrm train sft --data examples/chats.jsonl --batch 5 --lr 0.01 --dtype f32 --pass-tokens 150 --max-tokens 150 "
#define PSI                                                                                                            \
    "pgenrm train psi taste=examples/choices.jsonl quality=examples/choices.jsonl -m tests/golden/hf-tiny-words "      \
    "--dtype f32 -t 1 -q --pairs-min 1 --held .3 --batch 2 --pass-tokens 1500 --steps 4 --eval-every 2 "
#define CRE                                                                                                            \
    "pgenrm train cre taste=examples/choices.jsonl -m tests/golden/hf-tiny-words --init $SCRATCH/psi1/adapter "        \
    "--dtype f32 -t 1 -q --pairs-min 1 --held .3 --pass-tokens 1500 --steps 2 --eval-every 2 "
#define FULL  SFT "-m tests/golden/hf-tiny-words --full "
#define PAIRS " --data tests/golden/train/pairs.jsonl --batch 5 --lr 0.01 --dtype f32 -t 1 -q --steps 3 "
#define BT    "pgenrm train bt -m tests/golden/hf-tiny-qwen3" PAIRS "--max-tokens 200 --pass-tokens 400 "
#define DPO   "pgenrm train dpo -m tests/golden/hf-tiny-qwen3" PAIRS "--max-tokens 200 --pass-tokens 400 "
/* more processes than cores, as root, without the network */
#define MPI(n) "mpirun --allow-run-as-root --oversubscribe --bind-to none --mca btl self,vader -np " n " "

static bool has_mpi(void) {
#ifdef PGR_MPI
    ran r = run_program("mpirun --version >/dev/null 2>&1");
    bool there = r.status == 0;
    run_free(&r);
    if (!there) print_message("skipped: no mpirun on this machine\n");
    return there;
#else
    print_message("skipped: built without MPI (-DPGR_MPI=ON)\n");
    return false;
#endif
}

static void done(const char *command) {
    ran r = run_program(command);
    if (r.status != 0) fail_msg("status %d: %s\n%s", r.status, command, r.err);
    run_free(&r);
}

/* Values, moments and every number of the metrics but times. */
#define SAME(a, b, step)                                                                                               \
    "cmp $SCRATCH/" a "/checkpoint-" step "/state.bin $SCRATCH/" b "/checkpoint-" step "/state.bin && for r in " a     \
    " " b "; do sed 's/\"step_time\":[^,]*,//' $SCRATCH/$r/metrics.jsonl >$SCRATCH/$r.m; "                             \
    "done && cmp $SCRATCH/" a ".m $SCRATCH/" b ".m"
#define SAME_RESULT(a, b, what) " && cmp $SCRATCH/" a "/" what " $SCRATCH/" b "/" what
#define ADAPTER                 "adapter/adapter_model.safetensors"
#define MODEL                   "model/model.safetensors"

static void test_sft(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    done(SFT QUIET "--steps 6 --out $SCRATCH/one");
    done(MPI("2") SFT QUIET "--steps 6 --out $SCRATCH/two");
    done(SAME("one", "two", "6") SAME_RESULT("one", "two", ADAPTER));
    done(MPI("4") SFT QUIET "--steps 6 --out $SCRATCH/four");
    done(SAME("one", "four", "6") SAME_RESULT("one", "four", ADAPTER));
}

static void test_psi(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    done(PSI "--out $SCRATCH/psi1");
    done(MPI("3") PSI "--out $SCRATCH/psi3");
    done(SAME("psi1", "psi3", "4") SAME_RESULT("psi1", "psi3", ADAPTER)
             SAME_RESULT("psi1", "psi3", "adapter/slots.json"));
    done(CRE "--out $SCRATCH/cre1");
    done(MPI("2") CRE "--out $SCRATCH/cre2");
    done(SAME("cre1", "cre2", "2") SAME_RESULT("cre1", "cre2", ADAPTER));
}

/* All weights: embedding, head, norms and biases among the gradients that are added. */
static void test_whole(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    done(FULL QUIET "--steps 3 --out $SCRATCH/whole1");
    done(MPI("2") FULL QUIET "--steps 3 --out $SCRATCH/whole2");
    done(SAME("whole1", "whole2", "3") SAME_RESULT("whole1", "whole2", MODEL));
    done(MPI("4") FULL QUIET "--steps 3 --out $SCRATCH/whole4");
    done(SAME("whole1", "whole4", "3") SAME_RESULT("whole1", "whole4", MODEL));
}

/* Pairs whose sides share the conversation; a score head's row; references that another rank computed. */
static void test_choices(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    done(BT "--out $SCRATCH/bt1");
    done(MPI("3") BT "--out $SCRATCH/bt3");
    done(SAME("bt1", "bt3", "3") SAME_RESULT("bt1", "bt3", MODEL));
    done(BT "--full --out $SCRATCH/full1");
    done(MPI("2") BT "--full --out $SCRATCH/full2");
    done(SAME("full1", "full2", "3") SAME_RESULT("full1", "full2", MODEL));
    done(DPO "--out $SCRATCH/dpo1");
    done(MPI("2") DPO "--out $SCRATCH/dpo2");
    done(SAME("dpo1", "dpo2", "3") SAME_RESULT("dpo1", "dpo2", ADAPTER));
}

/* What one rank of two cannot do, all tell, once. */
static void test_failure(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    ran r = run_program("touch $SCRATCH/file && " MPI("2") SFT QUIET "--steps 2 --out $SCRATCH/file/run");
    assert_int_not_equal(r.status, 0);
    const char *said = strstr(r.err, "rank 0 of 2: ");
    assert_non_null(said);
    assert_null(strstr(said + 1, "rank 0 of 2: "));
    run_free(&r);
    /* stages for one process */
    r = run_program(
        MPI("2") "pgenrm train grpo -m tests/golden/hf-tiny-words --data examples/choices.jsonl --judge none "
                 "--steps 1 --out $SCRATCH/none");
    assert_int_not_equal(r.status, 0);
    said = strstr(r.err, "train grpo: found 2 processes, expected one");
    assert_non_null(said);
    assert_null(strstr(said + 1, "train grpo: found"));
    run_free(&r);
    r = run_program(MPI("2") "pgenrm train psi --frame tests/golden/chains.frame examples/choices.jsonl -m "
                             "tests/golden/hf-tiny-chains --steps 1 --out $SCRATCH/none");
    assert_int_not_equal(r.status, 0);
    assert_non_null(strstr(r.err, "train psi on text chains: found 2 processes, expected one"));
    run_free(&r);
    /* ranks of one run with different settings */
    r = run_program("mpirun --allow-run-as-root --oversubscribe --mca btl self,vader -np 1 " SFT QUIET
                    "--steps 2 --out $SCRATCH/mixed : -np 1 " SFT QUIET "--steps 2 --seed 5 --out $SCRATCH/mixed");
    assert_int_not_equal(r.status, 0);
    if (!strstr(r.err, "rank 1 of 2: other settings than those of rank 0")) fail_msg("%s", r.err);
    run_free(&r);
}

/* kill -9 of one of three ranks: mpirun tells, nobody hangs, and the last checkpoint goes on with two ranks and with
 * one, to the same bits. */
static void test_dies(void **state) {
    (void)state;
    if (!has_mpi()) skip();
    ran r = run_program(MPI("3") SFT QUIET
                        "--save-minutes 0 --steps 100000 --out $SCRATCH/dies & for i in $(seq 2400); do ls -d "
                        "$SCRATCH/dies/checkpoint-*[0-9] >/dev/null 2>&1 && break; sleep 0.05; done; kill -9 "
                        "$(pgrep -P $! | tail -1); wait $!; exit $?");
    assert_int_not_equal(r.status, 0);
    assert_non_null(strstr(r.err, "signal 9"));
    run_free(&r);
    done("cp -r $SCRATCH/dies $SCRATCH/dies1");
    const char *steps = "N=$(($(ls -d $SCRATCH/dies/checkpoint-*[0-9] | sed 's/.*-//' | sort -n | tail -1) + 3)) && ";
    char command[1500];
    snprintf(command, sizeof command,
             "%s" MPI("2") SFT QUIET "--resume --steps $N --out $SCRATCH/dies && " SFT QUIET
                                     "--resume --steps $N --out $SCRATCH/dies1 && "
                                     "cmp $SCRATCH/dies/checkpoint-$N/state.bin $SCRATCH/dies1/checkpoint-$N/state.bin",
             steps);
    done(command);
}

/* Started by mpirun without MPI in the build: told, not trained several times into one folder. */
static void test_without(void **state) {
    (void)state;
#ifdef PGR_MPI
    print_message("skipped: built with MPI\n");
    skip();
#else
    ran r = run_program("OMPI_COMM_WORLD_SIZE=4 " SFT QUIET "--steps 1 --out $SCRATCH/none");
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.err, "one of 4 processes of mpirun, but this build has no MPI"));
    run_free(&r);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sft),     cmocka_unit_test(test_psi),
                                       cmocka_unit_test(test_whole),   cmocka_unit_test(test_choices),
                                       cmocka_unit_test(test_failure), cmocka_unit_test(test_dies),
                                       cmocka_unit_test(test_without)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
