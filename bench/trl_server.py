#!/usr/bin/env python3
"""TRL's trainers with a pgenrm server as their reward, for real, on a tiny random model:

    python3 -m venv /tmp/trl && /tmp/trl/bin/pip install torch trl
    /tmp/trl/bin/python bench/trl_server.py [-- OPTIONS OF serve AND label]

Starts `pgenrm serve` with a store of the users of examples/choices.jsonl (the default model with its adapter, unless
the options name another), and then
- GRPOTrainer, 5 steps, 2 prompts by 4 completions each: the reward is clients/python's `Rewards(...).trl`, unmodified,
  with the data set's column `user`; the policy is a Llama of random weights that transformers makes here;
- `pgenrm label` over the same questions, and DPOTrainer, 5 steps, on the file as it was written.

Ends with 1 unless every step has a finite loss and some a gradient, the weights moved, every group was one request that
the server judged, every reward is a score from 1 to 10 and comes again to the last digit when the group is asked again.
Nothing is downloaded."""
import argparse
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request

os.environ.setdefault("HF_HUB_OFFLINE", "1")
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "clients" / "python" / "src"))

import torch  # noqa: E402
from datasets import Dataset  # noqa: E402
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM  # noqa: E402
from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer  # noqa: E402

from pgenrm_client import Client, Rewards  # noqa: E402
from serving import started  # noqa: E402

STEPS, PROMPTS, GROUP = 5, 2, 4
SHARED = dict(max_steps=STEPS, logging_steps=1, report_to=[], use_cpu=True, save_strategy="no", bf16=False, seed=0)


def rows():
    with open(ROOT / "examples" / "choices.jsonl", encoding="utf-8") as f:
        return [r for r in map(json.loads, f) if "chosen" in r]


def make_tokenizer():
    tokenizer = AutoTokenizer.from_pretrained(ROOT / "tests" / "golden" / "hf-tiny-words")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def make_policy(tokenizer, folder):
    """Read from a folder: DPOTrainer reads its reference from where the policy came from."""
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))
    model.save_pretrained(f"{folder}/policy")
    return LlamaForCausalLM.from_pretrained(f"{folder}/policy", dtype=torch.float32)


# ---- the server ----

def start(pgenrm, folder, options):
    """The process and its address, once it is ready."""
    return started([pgenrm, "serve", "--listen", "127.0.0.1:0", "--store", f"{folder}/users.db", "--deadline", "300",
                    *options])


def count(url, name):
    """The sum of a metric over its labels."""
    with urllib.request.urlopen(url + "/metrics") as f:
        lines = f.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if re.match(name + r"[ {]", line))


# ---- training ----

def finish(name, trainer):
    before = [p.detach().clone() for p in trainer.model.parameters()]
    trainer.train()
    log = [x for x in trainer.state.log_history if "loss" in x]
    keys = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std", "rewards/accuracies")
    for i, x in enumerate(log):
        print(f"{name} {i + 1}:", {k: round(float(x[k]), 5) for k in keys if x.get(k) is not None}, flush=True)
    moved = sum(not torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))
    if len(log) != STEPS or not all(math.isfinite(float(x["loss"])) for x in log):
        sys.exit(f"{name}: {len(log)} steps, expected {STEPS} with finite losses")
    if not moved or not any(float(x["grad_norm"]) > 0 for x in log):
        sys.exit(f"{name}: no gradient arrived")


def watched(reward, seen):
    """The client's function as it is; what it was asked and said is kept to be asked again."""
    def pgenrm(prompts, completions, **columns):
        out = reward(prompts=prompts, completions=completions, **columns)
        seen.append((prompts, completions, columns["user"], out))
        return out

    return pgenrm


def run_grpo(url, folder, ind):
    tokenizer, seen = make_tokenizer(), []
    reward = Rewards(Client(url, timeout=600), ind=ind, seed=1).trl
    questions = [{"prompt": r["context"], "user": r["user_id"]} for r in rows()]
    args = GRPOConfig(output_dir=f"{folder}/grpo", per_device_train_batch_size=PROMPTS * GROUP, num_generations=GROUP,
                      max_completion_length=24, learning_rate=1e-3, **SHARED)
    before = count(url, "pgenrm_requests_total")
    finish("grpo", GRPOTrainer(make_policy(tokenizer, folder), reward_funcs=[watched(reward, seen)], args=args,
                               processing_class=tokenizer, train_dataset=Dataset.from_list(questions)))
    asked = count(url, "pgenrm_requests_total") - before - 1  # this question itself
    rewards = [x for call in seen for x in call[3]]
    if len(rewards) != STEPS * PROMPTS * GROUP or not all(isinstance(x, float) and 1 <= x <= 10 for x in rewards):
        sys.exit(f"grpo: rewards {rewards}")
    if asked != STEPS * PROMPTS:
        sys.exit(f"grpo: the server was asked {asked:.0f} times, expected {STEPS * PROMPTS}: once a group")
    for prompts, completions, users, out in seen:
        if reward(prompts=prompts, completions=completions, user=users) != out:
            sys.exit("grpo: asked again, a group has other rewards")
    print(f"grpo: {len(rewards)} rewards of {asked:.0f} requests, from {min(rewards):.3f} to {max(rewards):.3f}, "
          "the same when asked again", flush=True)


def run_dpo(pgenrm, folder, ind, options):
    asked, out = f"{folder}/asked.jsonl", f"{folder}/pairs.jsonl"
    with open(asked, "w", encoding="utf-8") as f:
        for r in rows():
            f.write(json.dumps(r) + "\n")
    subprocess.run([pgenrm, "label", asked, "--out", out, "--ind", str(ind), "-q", *options], check=True)
    with open(out, encoding="utf-8") as f:
        pairs = [json.loads(line) for line in f]
    print(f"label: {len(pairs)} of {len(rows())} questions have a best and a worst response; the first:",
          json.dumps(pairs[0])[:300], flush=True)
    tokenizer = make_tokenizer()
    args = DPOConfig(output_dir=f"{folder}/dpo", per_device_train_batch_size=4, learning_rate=1e-3, max_length=512,
                     **SHARED)
    finish("dpo", DPOTrainer(make_policy(tokenizer, folder), args=args, processing_class=tokenizer,
                             train_dataset=Dataset.from_list(pairs)))


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    p.add_argument("--ind", type=int, default=4)
    p.add_argument("options", nargs="*", help="of serve and label, e.g. -m MODEL")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.pgenrm, "user", "import", "--store", f"{folder}/users.db",
                        str(ROOT / "examples" / "choices.jsonl")], check=True)
        server, url = start(args.pgenrm, folder, args.options)
        try:
            run_grpo(url, folder, args.ind)
        finally:
            server.send_signal(signal.SIGTERM)
            server.communicate()
        if server.wait() != 0:
            sys.exit(f"trl_server.py: the server ended with status {server.returncode}")
        run_dpo(args.pgenrm, folder, args.ind, args.options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
