#!/usr/bin/env python3
"""Compares `pgenrm train sft` with PyTorch on tiny models: loss, norm of the gradient and learning rate of each step.

    python3 -m venv /tmp/hf && /tmp/hf/bin/pip install torch transformers safetensors jinja2
    /tmp/hf/bin/python tools/compare_train.py [--program build/pgenrm]

Both begin with the same adapter (tests/golden/back), take the conversations of examples/chats.jsonl in the file's order
and make ten steps of AdamW. PyTorch's side is transformers' model with the low-rank terms added by hand, its chat
template, its AdamW and clipping, in fp32. Ends with 1 if a bound fails."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden"
MODELS = {"llama": "hf-tiny-llama/f32", "qwen2": "hf-tiny-qwen2", "qwen3": "hf-tiny-qwen3"}
STEPS, BATCH, LR, WARMUP, DECAY, CLIP, BETAS = 10, 3, 2e-3, 2, 0.1, 1.0, (0.9, 0.98)
BOUND = 5e-5  # relative; fp32 sums in another order, and ten steps that repeat the difference (3e-6 was seen)


class LowRank(torch.nn.Module):
    """A linear layer with scale * b a on top."""

    def __init__(self, base, a, b, scale):
        super().__init__()
        self.base, self.scale = base, scale
        self.a, self.b = torch.nn.Parameter(a), torch.nn.Parameter(b)

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.a.T @ self.b.T)


def add_adapter(model, folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors, params = load_file(folder / "adapter_model.safetensors"), []
    model.requires_grad_(False)
    for name in sorted(n for n in tensors if n.endswith("lora_A.weight")):
        path = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight").split(".")
        parent = model.get_submodule(".".join(path[:-1]))
        a, b = tensors[name].float(), tensors[name.replace("lora_A", "lora_B")].float()
        low = LowRank(getattr(parent, path[-1]), a, b, config["lora_alpha"] / a.shape[0])
        setattr(parent, path[-1], low)
        params += [low.a, low.b]
    return params


def conversations(tokenizer):
    """Ids of each conversation, and which of them are the assistant's with the end of the turn."""
    for line in (ROOT / "examples/chats.jsonl").read_text().splitlines():
        messages = json.loads(line)["messages"]
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        asked = tokenizer.apply_chat_template(messages[:-1], tokenize=True, return_dict=False,
                                              add_generation_prompt=True)
        end = max(i for i, t in enumerate(whole) if t == tokenizer.eos_token_id) + 1
        yield whole, range(len(asked), end)


def peer_steps(name, folder):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    params = add_adapter(model, GOLDEN / "back" / name)
    optimiser = torch.optim.AdamW(params, lr=LR, betas=BETAS, eps=1e-8, weight_decay=DECAY)
    schedule = transformers.get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS)
    rows = list(conversations(tokenizer))
    per_epoch = -(-len(rows) // BATCH)
    for step in range(STEPS):
        batch = rows[step % per_epoch * BATCH:][:BATCH]
        total, loss = sum(len(turn) for _, turn in batch), 0.0
        for ids, turn in batch:
            logits = model(torch.tensor([ids])).logits[0]
            at = torch.tensor(list(turn))
            loss = loss + torch.nn.functional.cross_entropy(logits[at - 1], torch.tensor(ids)[at], reduction="sum")
        optimiser.zero_grad()
        loss = loss / total
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(params, CLIP)
        rate = schedule.get_last_lr()[0]
        optimiser.step()
        schedule.step()
        yield loss.item(), norm.item(), rate


def our_steps(program, name, folder):
    with tempfile.TemporaryDirectory() as out:
        settings = {"data": ROOT / "examples/chats.jsonl", "init": GOLDEN / "back" / name, "out": f"{out}/run",
                    "steps": STEPS, "batch": BATCH, "lr": LR, "schedule": "cosine", "warmup": WARMUP,
                    "weight-decay": DECAY, "clip": CLIP, "betas": ",".join(map(str, BETAS)), "dtype": "f32"}
        options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        run = subprocess.run([program, "train", "sft", "-m", folder, "--no-shuffle", "--json", *options], check=True,
                             capture_output=True, text=True)
    for line in run.stdout.splitlines():
        m = json.loads(line)
        yield m["loss"], m["grad_norm"], m["learning_rate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=ROOT / "build/pgenrm")
    program, worst = parser.parse_args().program, 0.0
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name, folder in MODELS.items():
        print(f"{name}\n  step      loss   PyTorch   grad_norm   PyTorch   learning rate")
        both = zip(our_steps(program, name, GOLDEN / folder), peer_steps(name, GOLDEN / folder), strict=True)
        for i, (ours, peer) in enumerate(both, 1):
            print(f"  {i:4d} {ours[0]:9.5f} {peer[0]:9.5f}   {ours[1]:9.5f} {peer[1]:9.5f}   {ours[2]:.6f}")
            worst = max(worst, *(abs(a - b) / max(abs(b), 1e-3) for a, b in zip(ours, peer)))
    print(f"largest relative difference {worst:.2e}, bound {BOUND:.0e}")
    return 0 if worst <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
