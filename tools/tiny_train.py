#!/usr/bin/env python3
"""Writes what PyTorch makes of training tiny models, in fp64: tests/golden/back/NAME-whole/model.safetensors, every
gradient of all weights for the batch of tests/golden/back/NAME.json (its loss is in NAME-whole/loss.json), and
tests/golden/train/steps.json, loss and norm of the gradient in ten steps of SFT, Bradley-Terry, DPO and GRPO, of
adapters and (SFT, Bradley-Terry) of all weights.

    tools/tiny_train.py          needs numpy, safetensors, torch, transformers; run after tools/tiny_back.py

Data: examples/chats.jsonl and tests/golden/train/pairs.jsonl in the files' order; GRPO's samples are drawn here and are
in steps.json. The optimiser is AdamW, norms and biases do not decay; clipping and the schedule are transformers'.
"""
import json
import pathlib
import shutil

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden"
MODELS = {"llama": "hf-tiny-llama/f32", "qwen3": "hf-tiny-qwen3"}
SCALARS = {"llama": "hf-tiny-scalar-llama", "qwen3": "hf-tiny-scalar-qwen3"}
STEPS, BATCH, WARMUP, DECAY, CLIP, BETAS = 10, 3, 2, 0.1, 1.0, (0.9, 0.98)
LR = {"sft": 2e-3, "bt": 5e-4, "dpo": 5e-4, "grpo": 5e-4}
DPO_BETA, CLIP_LOW, CLIP_HIGH, KL = 0.1, 0.02, 0.03, 0.5  # so narrow that clipping acts
SMALL = 0.1  # of the adapter that policies begin with, beside the one of tests/golden/back


class LowRank(torch.nn.Module):
    """A linear layer with scale * b a on top, unless it is off."""

    off = False

    def __init__(self, base, a, b, scale):
        super().__init__()
        self.base, self.scale = base, scale
        self.a, self.b = torch.nn.Parameter(a), torch.nn.Parameter(b)

    def forward(self, x):
        y = self.base(x)
        return y if LowRank.off else y + self.scale * (x @ self.a.T @ self.b.T)


def add_adapter(model, folder):
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = load_file(folder / "adapter_model.safetensors")
    model.requires_grad_(False)
    for name in sorted(n for n in tensors if n.endswith("lora_A.weight")):
        path = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight").split(".")
        parent = model.get_submodule(".".join(path[:-1]))
        a, b = tensors[name].double(), tensors[name.replace("lora_A", "lora_B")].double()
        setattr(parent, path[-1], LowRank(getattr(parent, path[-1]), a, b, config["lora_alpha"] / a.shape[0]))


def write_small(name):
    """The adapter with a b of SMALL: a policy near its reference."""
    out = GOLDEN / "train" / name
    out.mkdir(exist_ok=True)
    shutil.copy(GOLDEN / "back" / name / "adapter_config.json", out)
    tensors = load_file(GOLDEN / "back" / name / "adapter_model.safetensors")
    save_file({k: t * SMALL if "lora_B" in k else t for k, t in tensors.items()}, out / "adapter_model.safetensors")
    return out


def open_model(folder, scalar=False):
    kind = transformers.AutoModelForSequenceClassification if scalar else transformers.AutoModelForCausalLM
    return kind.from_pretrained(GOLDEN / folder, dtype=torch.float32, attn_implementation="eager").double().eval()


def whole_gradients(name):
    model, batch = open_model(MODELS[name]), json.loads((GOLDEN / f"back/{name}.json").read_text())
    logits = [model(torch.tensor([s])).logits[0] for s in batch["seqs"]]
    picked = torch.stack([logits[s][pos] for s, pos in batch["rows"]])
    loss = torch.nn.functional.cross_entropy(picked, torch.tensor(batch["targets"]))
    loss.backward()
    out = GOLDEN / f"back/{name}-whole"
    out.mkdir(exist_ok=True)
    save_file({k: p.grad.float().contiguous() for k, p in model.named_parameters()}, out / "model.safetensors")
    (out / "loss.json").write_text(json.dumps({"loss": loss.item()}) + "\n")
    print(f"{name}: loss {loss.item():.6f}, {sum(p.numel() for p in model.parameters())} gradients")


# ---- the losses: functions of a model and a step's rows ----

def turns(tokenizer, messages, last_only):
    """Ids of a conversation, and which of them are the assistant's (its last turn's) with the end of the turn."""
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    asked = tokenizer.apply_chat_template(messages[:-1], tokenize=True, return_dict=False, add_generation_prompt=True)
    assert last_only or sum(m["role"] == "assistant" for m in messages) == 1
    end = max(i for i, t in enumerate(whole) if t == tokenizer.eos_token_id) + 1
    return whole, list(range(len(asked), end))


def token_logps(model, ids, at):
    logits = model(torch.tensor([ids])).logits[0]
    return torch.log_softmax(logits, -1)[torch.tensor(at) - 1, torch.tensor(ids)[at]]


def sft(model, rows):
    return -torch.cat([token_logps(model, ids, at) for ids, at in rows]).mean()


def score(model, ids):
    return model(torch.tensor([ids])).logits[0, 0]


def bt(model, rows):
    margins = torch.stack([score(model, a[0]) - score(model, b[0]) for a, b in rows])
    return -torch.nn.functional.logsigmoid(margins).mean()


def without(model, ids, at):
    LowRank.off = True
    with torch.no_grad():
        out = token_logps(model, ids, at)
    LowRank.off = False
    return out


def dpo(model, rows):
    losses = []
    for pair in rows:
        chosen, rejected = (token_logps(model, *side).sum() - without(model, *side).sum() for side in pair)
        losses.append(-torch.nn.functional.logsigmoid(DPO_BETA * (chosen - rejected)))
    return torch.stack(losses).mean()


def grpo(model, rows):
    losses = []
    for row in rows:
        logp, ref = token_logps(model, row["ids"], row["at"]), without(model, row["ids"], row["at"])
        ratio, a = torch.exp(logp - torch.tensor(row["old"], dtype=torch.float64)), row["advantage"]
        surrogate = torch.minimum(ratio * a, ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH) * a)
        d = ref - logp
        losses.append(-surrogate + KL * (torch.exp(d) - d - 1))
    return torch.cat(losses).mean()


# ---- ten steps ----

def train(model, rows, loss_of, rate):
    params = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    bare = [p for n, p in params if p.ndim == 1]
    groups = [{"params": [p for _, p in params if p.ndim > 1], "weight_decay": DECAY},
              {"params": bare, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, betas=BETAS, eps=1e-8)
    schedule = transformers.get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS)
    per_epoch, out = -(-len(rows) // BATCH), []
    for step in range(STEPS):
        optimiser.zero_grad()
        loss = loss_of(model, rows[step % per_epoch * BATCH:][:BATCH])
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in params], CLIP)
        optimiser.step()
        schedule.step()
        out.append([loss.item(), norm.item()])
    return out


def draw_samples(model, seed):
    """Prompts and completions of random tokens, with log-probabilities near the model's as the old ones."""
    rng, rows, vocabulary = np.random.default_rng(seed), [], model.config.vocab_size
    for i in range(BATCH):
        n, first = int(rng.integers(12, 30)), int(rng.integers(3, 9))
        ids, at = rng.integers(3, vocabulary - 12, n).tolist(), list(range(first, n))
        old = token_logps(model, ids, at).detach().numpy() + 0.02 * rng.standard_normal(len(at))
        rows.append({"ids": ids, "at": at, "old": old.tolist(), "advantage": [1.2, -0.7, 0.4][i]})
    return rows


def stages(name):
    tokenizer = transformers.AutoTokenizer.from_pretrained(GOLDEN / MODELS[name])
    chats = [json.loads(line)["messages"] for line in (ROOT / "examples/chats.jsonl").read_text().splitlines()]
    pairs = [json.loads(line) for line in (GOLDEN / "train/pairs.jsonl").read_text().splitlines()]
    chats = [turns(tokenizer, c, False) for c in chats]
    sides = lambda t: [[turns(t, p["prompt"] + p[k], True) for k in ("chosen", "rejected")] for p in pairs]
    adapter, small, out = GOLDEN / "back" / name, write_small(name), {}

    out["sft_full"] = train(open_model(MODELS[name]), chats, sft, LR["sft"])
    for stage, rows, loss in (("sft", chats, sft), ("dpo", sides(tokenizer), dpo), ("grpo", None, grpo)):
        model = open_model(MODELS[name])
        add_adapter(model, adapter if stage == "sft" else small)
        if stage == "grpo":
            rows = out["grpo_samples"] = draw_samples(model, len(name))
        out[stage] = train(model, rows, loss, LR[stage])

    scalar = transformers.AutoTokenizer.from_pretrained(GOLDEN / SCALARS[name])
    out["bt_full"] = train(open_model(SCALARS[name], True), sides(scalar), bt, LR["bt"])
    if name == "qwen3":  # the adapter of the other model fits no scalar llama
        model = open_model(SCALARS[name], True)
        add_adapter(model, adapter)
        model.score.requires_grad_(True)
        out["bt"] = train(model, sides(scalar), bt, LR["bt"])
    for stage, steps in out.items():
        if stage != "grpo_samples":
            print(f"{name} {stage}: loss {steps[0][0]:.6f} to {steps[-1][0]:.6f}")
    return out


def main():
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    for name in MODELS:
        whole_gradients(name)
    with open(GOLDEN / "train/steps.json", "w") as f:
        json.dump({name: stages(name) for name in MODELS}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
