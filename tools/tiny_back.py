#!/usr/bin/env python3
"""Writes tests/golden/back/: for tiny models an adapter of random values on every matrix, a batch of two sequences with
a cross-entropy over some of their rows, and the loss and every gradient that PyTorch computes for it in fp64.

    tools/tiny_back.py           needs numpy, peft, safetensors, torch, transformers; run after tools/tiny_families.py

    NAME/         the adapter, as PEFT saves it
    NAME-grads/   the same, with gradients in place of values
    NAME.json     seqs: tokens; rows: [sequence, position]; targets: token of each row; loss: mean over the rows
"""
import json
import os
import shutil

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "golden")
OUT = os.path.join(GOLDEN, "back")
MODELS = {"llama": ("hf-tiny-llama/f32", 1), "qwen2": ("hf-tiny-qwen2", 2), "qwen3": ("hf-tiny-qwen3", 3)}
LENGTHS, ROWS = (70, 37), ((3, 40, 68, 69), (0, 20, 35))


def save(model, folder, base, tensors=None):
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    readme = os.path.join(folder, "README.md")
    if os.path.exists(readme):
        os.remove(readme)
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as f:
        saved = json.load(f)
    saved["base_model_name_or_path"] = base
    saved["target_modules"].sort()
    with open(path, "w") as f:
        json.dump(saved, f, indent=1, sort_keys=True)
        f.write("\n")
    path = os.path.join(folder, "adapter_model.safetensors")
    values = tensors or load_file(path)
    save_file({k: v.to(torch.float32).contiguous() for k, v in values.items()}, path, metadata={"format": "pt"})
    os.chmod(path, 0o644)


def write(name, folder, seed):
    base = AutoModelForCausalLM.from_pretrained(os.path.join(GOLDEN, folder), dtype=torch.float32,
                                                attn_implementation="eager")
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=3, lora_alpha=4.5, target_modules=targets))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for key, p in sorted(model.named_parameters()):
            if p.requires_grad:
                p.copy_(torch.from_numpy((0.2 * rng.standard_normal(p.shape)).astype(np.float32)))
    out = os.path.join(OUT, name)
    save(model, out, os.path.basename(folder.split("/")[0]))
    model = model.double().eval()

    n_vocab = model.config.vocab_size
    seqs = [rng.integers(3, n_vocab - 12, n).tolist() for n in LENGTHS]
    rows = [[s, pos] for s in range(len(seqs)) for pos in ROWS[s]]
    wanted = rng.integers(3, n_vocab - 12, len(rows)).tolist()
    logits = [model(torch.tensor([s])).logits[0] for s in seqs]
    picked = torch.stack([logits[s][pos] for s, pos in rows])
    loss = torch.nn.functional.cross_entropy(picked, torch.tensor(wanted))
    loss.backward()
    grads = {k.replace(".default", ""): p.grad for k, p in model.named_parameters() if p.requires_grad}
    save(model, out + "-grads", os.path.basename(folder.split("/")[0]), grads)
    with open(out + ".json", "w") as f:
        json.dump({"seqs": seqs, "rows": rows, "targets": wanted, "loss": loss.item()}, f)
        f.write("\n")
    print(f"{name}: loss {loss.item():.6f}, {sum(g.numel() for g in grads.values())} gradients, "
          f"largest {max(g.abs().max().item() for g in grads.values()):.3g}")


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    for name, (folder, seed) in MODELS.items():
        write(name, folder, seed)


if __name__ == "__main__":
    main()
