/* test_write.c - `train --write`: what clusters' trainers read, and tools/rewards.py on it: accepted chains are chains
 * to both parsers, the labelled response is the one that they prefer, and hncl's rows are in the curriculum's order. */
#include "run_program.h"

/* The form of the full frame in a prompt that a tokenizer of bytes has room for. */
static const char FRAME[] = "form: full\n"
                            "max_tokens: 1200\n"
                            "history: 3\n"
                            "lines: join\n"
                            "limit_query: 40\n"
                            "limit_response: 200\n"
                            "limit_history_query: 20\n"
                            "limit_history_response: 60\n"
                            "\n"
                            "[user]\n"
                            "{history}\n"
                            "{query}\n"
                            "{responses}\n"
                            "\n"
                            "[history]\n"
                            "User: {query}\n"
                            "Chosen: {chosen}\n"
                            "Rejected: {rejected}\n"
                            "\n"
                            "[no-history]\n"
                            "Nothing.\n"
                            "\n"
                            "[response]\n"
                            "Response {number}: {text}\n";

static const char CHECK[] =
    "import json, sys\n"
    "sys.path.insert(0, 'tools')\n"
    "import rewards\n"
    "def rows(name): return [json.loads(l) for l in open(sys.argv[1] + '/' + name)]\n"
    "labels = {json.dumps(r['prompt']): r['label'] for r in rows('cre/prompts.jsonl')}\n"
    "sft = rows('psi/sft.jsonl')\n"
    "assert len(sft) > 4, len(sft)\n"
    "for r in sft:\n"
    "    text, label = r['messages'][-1]['content'], labels[json.dumps(r['messages'][:-1])]\n"
    "    c, chosen = rewards.Chain(text, 2), json.loads(label)['chosen']\n"
    "    assert c.parsed, c.reason\n"
    "    assert len(c.criteria) >= 2 and all(k[3] for k in c.criteria), c.criteria\n"
    "    assert all(abs(a - b) < .051 for a, b in zip(c.totals, c.declared)), (c.totals, c.declared)\n"
    "    assert [float(text[a:b]) for a, b in c.spots] == c.declared\n"
    "    assert c.margin(chosen) > 0 > c.margin(1 - chosen)\n"
    "    whole = rewards.compute_score('pgenrm', text, label)\n"
    "    assert whole['parsed'] == 1 and whole['outcome'] > .5 and 0 <= whole['coverage'] <= 1\n"
    "    assert abs(whole['score'] - .5 * whole['coverage'] - whole['outcome']) < 1e-9\n"
    "    say = [[{'role': 'assistant', 'content': text}]]\n"
    "    assert rewards.outcome(completions=say, label=[label]) == [whole['outcome']]\n"
    "    assert rewards.coverage(completions=say, label=[label]) == [whole['coverage']]\n"
    "assert rewards.outcome_of(2, 'binary') == 1 and rewards.outcome_of(0, 'binary') == .5\n"
    "assert rewards.outcome_of(0) == .5 and rewards.outcome_of(0, 'brier') == .75\n"
    "assert rewards.outcome_of(1, tau=.5) == rewards.outcome_of(2)\n"
    "assert any(rewards.compute_score('', r['messages'][-1]['content'], "
    "labels[json.dumps(r['messages'][:-1])])['coverage']"
    " > 0 for r in sft)\n"
    "for bad in ('', 'x <JSON_START>{}<JSON_END>', text.replace('<JSON_END>', ''), text.replace('response_1', 'r'),"
    " text.replace('<JSON_START>', '<JSON_START>[')):\n"
    "    assert rewards.parse(completions=[bad], label=[label]) == [-.1], bad\n"
    "    assert rewards.reward_of(bad, label)['score'] == -.1\n"
    "pairs = {}\n"
    "for r in rows('cre/prompts.jsonl'):\n"
    "    label = json.loads(r['label'])\n"
    "    assert r['reward_model']['ground_truth'] == r['label'] and label['truth'], r\n"
    "    pairs.setdefault(r['extra_info']['pair'], []).append(label['chosen'])\n"
    "assert all(sorted(v) == [0, 1] for v in pairs.values())\n"
    "right = [r['right'] for r in rows('hncl/prompts.jsonl')]\n"
    "assert right == sorted(right, reverse=True) and all(0 <= v <= 1 for v in right) and len(right) == 2 * "
    "len(pairs)\n";

#define TRAIN(stage, more)                                                                                             \
    "pgenrm train " stage                                                                                              \
    " --frame $SCRATCH/short.frame examples/choices.jsonl -m tests/golden/hf-tiny-chains --dtype "                     \
    "f32 -q --held 0 --pass-tokens 4096 --out $SCRATCH/run_" stage " --write $SCRATCH/" stage " " more

static void test_write(void **state) {
    (void)state;
    write_bytes("short.frame", FRAME, sizeof FRAME - 1);
    write_bytes("check.py", CHECK, sizeof CHECK - 1);
    ran r = run_to(TRAIN("psi", ""), 0, "");
    assert_non_null(strstr(r.out, "/psi\n"));
    run_free(&r);
    r = run_to(TRAIN("cre", "--steps 1"), 0, "");
    run_free(&r);
    r = run_to(TRAIN("hncl", "--steps 1 --samples 2 --max-tokens 4"), 0, "");
    run_free(&r);
    r = run_to("python3 $SCRATCH/check.py $SCRATCH", 0, "");
    run_free(&r);
    assert_ends("touch $SCRATCH/file && " TRAIN("cre", "--steps 1 --resume --write $SCRATCH/file/x"), 1,
                "cannot be made");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_write)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
