#!/usr/bin/env python3
"""Writes tests/golden/train/NAME-text.json: ten steps of AdamW on a tiny model with the adapter of
tests/golden/train/NAME, under the two losses of training on text chains, computed by PyTorch in fp64: cross-entropy of
chains plus Bradley-Terry through the expected numbers at their places; GRPO with clipped ratios, and k3 against the
model without the adapter.

    tools/golden_text_losses.py  needs numpy, peft, torch, transformers; run after tools/tiny_train.py
"""
import json
import os

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tiny_back import GOLDEN, MODELS

OUT = os.path.join(GOLDEN, "train")
STEPS, LR, CLIP = 10, 1e-3, 1.0
BT, TAU = 0.7, 1.3
LOW, HIGH, DUAL, KL = 0.2, 0.28, 3.0, 0.1
LENGTHS, FROM, PLACES = (60, 41, 52), (30, 20, 33), ((35, 44), (26,), (40, 41, 50))


def log_probs(model, seq, first):
    """log p of tokens first.. and the rows of logits that they come from"""
    logits = model(torch.tensor([seq])).logits[0, first - 1:-1]
    picked = torch.tensor(seq[first:])
    return torch.log_softmax(logits, -1).gather(1, picked[:, None])[:, 0], logits


def psi_loss(model, case):
    n_token = sum(len(s) - f for s, f in zip(case["seqs"], case["from"]))
    values = torch.arange(1, 11, dtype=torch.float64)
    loss = 0
    for i, seq in enumerate(case["seqs"]):
        log_p, logits = log_probs(model, seq, case["from"][i])
        rows = logits[[t - case["from"][i] for t in case["places"][i]]][:, case["allowed"]]
        margin = (torch.softmax(rows, -1) @ values * torch.tensor(case["weights"][i], dtype=torch.float64)).sum()
        loss = loss - log_p.sum() / n_token
        loss = loss - BT / len(case["seqs"]) * torch.nn.functional.logsigmoid(margin / TAU)
    return loss


def grpo_loss(model, case):
    n_token = sum(len(s) - f for s, f in zip(case["seqs"], case["from"]))
    loss = 0
    for i, seq in enumerate(case["seqs"]):
        with torch.no_grad(), model.disable_adapter():
            ref, _ = log_probs(model, seq, case["from"][i])
        log_p, _ = log_probs(model, seq, case["from"][i])
        old = torch.tensor(case["old"][i], dtype=torch.float64)
        a = case["advantages"][i]
        ratio = torch.exp(log_p - old)
        gain = torch.minimum(ratio * a, torch.clamp(ratio, 1 - LOW, 1 + HIGH) * a)
        if a < 0:
            gain = torch.maximum(gain, torch.full_like(gain, DUAL * a))
        k3 = torch.exp(ref - log_p) - (ref - log_p) - 1
        loss = loss + (KL * k3 - gain).sum() / n_token
    return loss


def open_model(name, folder):
    base = AutoModelForCausalLM.from_pretrained(os.path.join(GOLDEN, folder), dtype=torch.float32,
                                                attn_implementation="eager")
    return PeftModel.from_pretrained(base, os.path.join(OUT, name), is_trainable=True).double().eval()


def log_probs_at_first(name, folder, case):
    model = open_model(name, folder)
    with torch.no_grad():
        return [log_probs(model, s, f)[0].numpy() for s, f in zip(case["seqs"], case["from"])]


def train(name, folder, loss_of, case):
    model = open_model(name, folder)
    values = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(values, lr=LR, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses, norms = [], []
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(model, case)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(values, CLIP).item())
        optimiser.step()
        losses.append(loss.item())
    return losses, norms


def write(name, folder, seed):
    rng = np.random.default_rng(seed + 100)
    with open(os.path.join(GOLDEN, folder, "config.json")) as f:
        n_vocab = json.load(f)["vocab_size"]
    case = {"seqs": [rng.integers(3, n_vocab - 12, n).tolist() for n in LENGTHS], "from": FROM, "places": PLACES,
            "allowed": rng.choice(np.arange(3, n_vocab - 12), 10, replace=False).tolist(),
            "weights": [np.round(rng.normal(0, 0.5, len(p)), 3).tolist() for p in PLACES],
            "advantages": [1.2, -0.9, -1.5]}
    case["seqs"][1][:FROM[1]] = case["seqs"][0][:FROM[1]]  # chains on prompts that begin alike
    start = log_probs_at_first(name, folder, case)
    case["old"] = [np.round(s + rng.normal(0, 0.5, len(s)), 6).tolist() for s in start]
    case["psi"], case["psi_norms"] = train(name, folder, psi_loss, case)
    case["grpo"], case["grpo_norms"] = train(name, folder, grpo_loss, case)
    with open(os.path.join(OUT, name + "-text.json"), "w") as f:
        json.dump(case, f)
        f.write("\n")
    print(f"{name}: psi {case['psi'][0]:.6f} .. {case['psi'][-1]:.6f}, "
          f"grpo {case['grpo'][0]:.6f} .. {case['grpo'][-1]:.6f}")


def main():
    torch.set_num_threads(1)
    for name in ("llama", "qwen3"):
        write(name, *MODELS[name])


if __name__ == "__main__":
    main()
