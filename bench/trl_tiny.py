"""trl_tiny.py WRITTEN OUT [MODEL [STAGE,...]]: what `pgenrm train ... --write` wrote, through TRL for real, on a tiny
random model.

    python3 -m venv /tmp/trl && /tmp/trl/bin/pip install torch trl peft
    for s in psi cre; do pgenrm train $s --frame FRAME examples/choices.jsonl -m tests/golden/hf-tiny-words \
        --dtype f32 --held 0 --pass-tokens 4096 --out /tmp/run_$s --write WRITTEN; done
    /tmp/trl/bin/python bench/trl_tiny.py WRITTEN OUT

FRAME is one of form full; that of tests/cmd/test_write.c has short prompts, which the tiny model reads in seconds.
Five steps of SFT on WRITTEN/sft.jsonl, of GRPO on WRITTEN/prompts.jsonl with tools/rewards.py, and of DPO on the pairs
of examples/choices.jsonl; each leaves a PEFT folder below OUT. A random model's chains do not parse, so that GRPO has
groups of one reward: to see rewards differ, GRPO runs a second time where the reward function is given the accepted
chains of sft.jsonl for half of the completions (`mixed`). Exit status 1 where a step's loss is not finite, where no
gradient arrived, where rewards do not differ, or where pgenrm does not read an adapter."""

import json
import math
import os
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tools"))

import rewards  # noqa: E402
import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from peft import LoraConfig  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer  # noqa: E402

WRITTEN, OUT = sys.argv[1], sys.argv[2]
MODEL = sys.argv[3] if len(sys.argv) > 3 else os.path.join(ROOT, "tests/golden/hf-tiny-words")
STAGES = sys.argv[4].split(",") if len(sys.argv) > 4 else ["sft", "grpo", "grpo-mixed", "dpo"]
PGENRM = os.environ.get("PGENRM", os.path.join(ROOT, "build/pgenrm"))
STEPS = 5
SHARED = dict(max_steps=STEPS, logging_steps=1, report_to=[], use_cpu=True, save_strategy="no", bf16=False, seed=0)


def rows(name, most):
    with open(os.path.join(WRITTEN, name)) as f:
        return [json.loads(line) for line, _ in zip(f, range(most))]


def model():
    torch.manual_seed(0)
    m = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    m.config.max_position_embeddings = 16384  # its tokenizer makes a token of nearly every byte
    return m


def lora():
    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")


def read_back(adapter):
    """What came out goes where a judge's adapter goes: on the base, and merged into it."""
    merged = adapter + ".gguf"
    for command in (["inspect", adapter], ["merge", "-m", MODEL, "--lora", adapter, "--out", merged, "--force"],
                    ["generate", "-m", MODEL, "--lora", adapter, "--max-tokens", "8", "--json", "Hi"],
                    ["generate", "-m", merged, "--max-tokens", "8", "--json", "Hi"]):
        r = subprocess.run([PGENRM] + command, capture_output=True, text=True)
        if r.returncode != 0:
            sys.exit("pgenrm %s: %s" % (" ".join(command), r.stderr))
        print("pgenrm", command[0], command[2] if command[1] == "-m" else "", r.stdout[:100].replace("\n", " "))


def finish(name, trainer):
    trainer.train()
    log = [x for x in trainer.state.log_history if "loss" in x]
    keys = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "mean_token_accuracy")
    for x in log:
        print(name, {k: round(float(x[k]), 5) for k in keys if k in x}, flush=True)
    trainer.save_model(os.path.join(OUT, name))
    read_back(os.path.join(OUT, name))
    if len(log) < STEPS or not all(math.isfinite(float(x["loss"])) for x in log):
        sys.exit("%s: %d steps with finite losses, expected %d" % (name, len(log), STEPS))
    return log


def check_expectation(tokenizer, row, prompts):
    """By the distribution at the totals, of a chain as a teacher wrote it: a number of its own, not what is written."""
    label = next(p["label"] for p in prompts if p["prompt"] == row["messages"][:-1])
    text = row["messages"][-1]["content"]
    by_model = rewards.Expectation(model(), tokenizer)
    prompt = tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True)
    totals = by_model.expected(prompt, text, rewards.Chain(text, 2))
    got = by_model([row["messages"][:-1]], [row["messages"][-1:]], [label])
    written = rewards.reward_of(text, label)
    print("expectation: totals %s, outcome %.5f; written: %.5f" % (totals, got[0], written["outcome"]))
    openrlhf = rewards.reward_func([prompt + text], [prompt], [label])
    if abs(float(openrlhf["rewards"][0]) - written["score"]) > 1e-6:
        sys.exit("reward_func: %s, expected %s" % (openrlhf, written))
    if totals is None or not all(1 < t < 9 for t in totals) or not 0 < got[0] < 1:
        sys.exit("expectation: totals %s, outcome %s" % (totals, got))


def run_sft(tokenizer, sft):
    split = [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in sft]
    args = SFTConfig(output_dir=os.path.join(OUT, "sft"), per_device_train_batch_size=2, max_length=16384,
                     learning_rate=1e-3, **SHARED)
    log = finish("sft", SFTTrainer(model(), args=args, train_dataset=Dataset.from_list(split),
                                   processing_class=tokenizer, peft_config=lora()))
    if not all(float(x["grad_norm"]) > 0 for x in log):
        sys.exit("sft: no gradient")


def run_grpo(tokenizer, prompts, name, functions, weights):
    args = GRPOConfig(output_dir=os.path.join(OUT, name), per_device_train_batch_size=4, num_generations=4,
                      max_completion_length=24, learning_rate=1e-3, beta=0.001, reward_weights=weights, **SHARED)
    return finish(name, GRPOTrainer(model(), reward_funcs=functions, args=args, processing_class=tokenizer,
                                    train_dataset=Dataset.from_list(prompts), peft_config=lora()))


def run_ours(tokenizer, prompts):
    log = run_grpo(tokenizer, prompts, "grpo", [rewards.parse, rewards.outcome, rewards.coverage], [1, 1, 0.5])
    if any(abs(float(x["reward"]) - rewards.MALFORMED) > 1e-6 for x in log):
        print("grpo: some chain of a random model parses")


def run_mixed(tokenizer, prompts, chains):
    seen = []

    def mixed(completions, label, **_):
        texts = [chains[i % len(chains)] if i % 2 else rewards.text_of(c) for i, c in enumerate(completions)]
        out = [rewards.reward_of(t, l)["score"] for t, l in zip(texts, label)]
        seen.extend(out)
        return out

    log = run_grpo(tokenizer, prompts, "grpo-mixed", [mixed], [1])
    print("grpo-mixed: rewards", sorted({round(x, 5) for x in seen}))
    if not any(float(x["grad_norm"]) > 0 for x in log) or len(set(seen)) < 2:
        sys.exit("grpo-mixed: rewards %s, expected several, and a gradient" % sorted(set(seen)))


def run_dpo(tokenizer):
    pairs = []
    with open(os.path.join(ROOT, "examples/choices.jsonl")) as f:
        for line in f:
            r = json.loads(line)
            if "chosen" in r:
                pairs.append({"prompt": r["context"], "chosen": [r["chosen"]], "rejected": [r["rejected"]]})
    args = DPOConfig(output_dir=os.path.join(OUT, "dpo"), per_device_train_batch_size=2, learning_rate=1e-3,
                     max_length=1024, **SHARED)
    finish("dpo", DPOTrainer(model(), args=args, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer,
                             peft_config=lora()))


def main():
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    sft, prompts = rows("sft.jsonl", 16), rows("prompts.jsonl", 16)
    check_expectation(tokenizer, sft[0], prompts)
    runs = {"sft": lambda: run_sft(tokenizer, sft),
            "grpo": lambda: run_ours(tokenizer, prompts),
            "grpo-mixed": lambda: run_mixed(tokenizer, prompts, [r["messages"][-1]["content"] for r in sft]),
            "dpo": lambda: run_dpo(tokenizer)}
    for name in STAGES:
        runs[name]()


main()
