#!/usr/bin/env python3
"""Writes tests/golden/lora/: adapters as PEFT saves them, the same as GGUF files, and what PEFT and transformers
compute with them in fp32 (form of the JSON: tiny_model.py); and tests/fuzz/corpus/adapter/. Run after
tools/tiny_families.py and tools/tiny_hf.py.

    tools/tiny_lora.py           needs gguf, numpy, peft, safetensors, torch, transformers

    llama-qv     on hf-tiny-llama/f32 (tiny-llama.gguf): q and v, rank 4
    llama-more   on the same: k, o, down, the embedding and the head, rank 3, rslora
    llama-both   logits only: llama-qv at scale 0.5 and llama-more at scale 2, both active
    qwen3-all    on hf-tiny-qwen3: every matrix, patterns of ranks and alphas, rslora, norms and head in
                 modules_to_save; the base's head is tied to the embedding. No GGUF file: that has no patterns
"""
import json
import os
import shutil

import gguf
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.numpy import save
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

import tiny_model
from tiny_families import write_golden
from tiny_model import GOLDEN, interleave

OUT = os.path.join(GOLDEN, "lora")
LLAMA, QWEN3 = os.path.join(GOLDEN, "hf-tiny-llama", "f32"), os.path.join(GOLDEN, "hf-tiny-qwen3")
ADAPTERS = {
    # name: (base, seed, config)
    "llama-qv": (LLAMA, 1, dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"])),
    "llama-more": (LLAMA, 2, dict(r=3, lora_alpha=5, use_rslora=True,
                                  target_modules=["k_proj", "o_proj", "down_proj", "embed_tokens", "lm_head"])),
    "qwen3-all": (QWEN3, 3, dict(r=4, lora_alpha=6, use_rslora=True, target_modules="all-linear",
                                 rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.(up|down)_proj": 7},
                                 alpha_pattern={"self_attn.k_proj": 9, r"model\.layers\.0\.mlp\.gate_proj": 1.5},
                                 modules_to_save=["lm_head", "norm"])),
}


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def write_adapter(name):
    folder, seed, config = ADAPTERS[name]
    model = get_peft_model(load(folder), LoraConfig(task_type="CAUSAL_LM", **config))
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for key, p in sorted(model.named_parameters()):
            if not p.requires_grad:
                continue
            noise = torch.from_numpy(rng.standard_normal(p.shape).astype(np.float32))
            if "lora_" in key:
                p.copy_(0.3 * noise * (0.5 if "B" in key else 1.0))
            else:
                p.add_(0.1 * noise)
    out = os.path.join(OUT, name)
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out, save_embedding_layers=False)
    os.remove(os.path.join(out, "README.md"))
    with open(os.path.join(out, "adapter_config.json")) as f:
        saved = json.load(f)
    saved["base_model_name_or_path"] = os.path.basename(os.path.dirname(folder) if folder == LLAMA else folder)
    if isinstance(saved["target_modules"], list):
        saved["target_modules"].sort()
    os.chmod(os.path.join(out, "adapter_model.safetensors"), 0o644)
    with open(os.path.join(out, "adapter_config.json"), "w") as f:
        json.dump(saved, f, indent=1, sort_keys=True)
        f.write("\n")


def write_gguf(name, arch, n_layer, n_head, n_kv):
    """As llama.cpp's converter does: rows of q and k of B in the order of the GGUF model's."""
    _, _, config = ADAPTERS[name]
    names = gguf.get_tensor_name_map({"llama": gguf.MODEL_ARCH.LLAMA}[arch], n_layer)
    w = gguf.GGUFWriter(os.path.join(OUT, name + ".gguf"), arch)
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    w.add_string("general.base_model.0.name", "tiny llama of random weights")
    w.add_float32("adapter.lora.alpha", config["lora_alpha"] * (config["r"] ** 0.5 if config.get("use_rslora") else 1))
    for key, v in sorted(load_file(os.path.join(OUT, name, "adapter_model.safetensors")).items()):
        v = v.numpy()
        module, part = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".", 1)
        target = names.get_name(module + ".weight", try_suffixes=(".weight",))
        if part == "lora_embedding_A":
            v = v.T
        if part == "lora_B" and ("q_proj" in module or "k_proj" in module):
            v = interleave(v, n_head if "q_proj" in module else n_kv)
        w.add_tensor(target + (".lora_a" if part.endswith("A") else ".lora_b"), np.ascontiguousarray(v))
    tiny_model.finish(w)


def write_seeds():
    """Small files for tests/fuzz/corpus/adapter, in the form of tests/fuzz/fuzz_adapter.c."""
    corpus = os.path.join(os.path.dirname(GOLDEN), "fuzz", "corpus", "adapter")
    os.makedirs(corpus, exist_ok=True)
    rng = np.random.default_rng(9)
    noise = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    layer, config = "base_model.model.model.layers.0.", {"peft_type": "LORA", "r": 2, "lora_alpha": 4,
                                                         "rank_pattern": {"lm_head": 1},
                                                         "alpha_pattern": {".*_proj": 3}}
    tensors = {layer + "self_attn.q_proj.lora_A.weight": noise(2, 4),
               layer + "self_attn.q_proj.lora_B.weight": noise(8, 2),
               layer + "mlp.down_proj.lora_A.weight": noise(2, 3).astype(np.float16),
               layer + "mlp.down_proj.lora_B.weight": noise(4, 2),
               layer + "input_layernorm.weight": noise(4), "base_model.model.lm_head.lora_A.weight": noise(1, 4),
               "base_model.model.lm_head.lora_B.weight": noise(5, 1),
               "base_model.model.model.embed_tokens.lora_embedding_A": noise(2, 5),
               "base_model.model.model.embed_tokens.lora_embedding_B": noise(4, 2),
               "base_model.model.model.embed_tokens.weight": noise(5, 4)}
    text = json.dumps(config).encode()
    for name, kind in (("peft", 1), ("peft_interleaved", 5)):
        with open(os.path.join(corpus, name), "wb") as f:
            f.write(bytes([kind, len(text) & 255, len(text) >> 8]) + text + save(tensors))
    with open(os.path.join(corpus, "config"), "wb") as f:
        f.write(b"\3\0\0" + text)
    path = os.path.join(corpus, "gguf")
    w = gguf.GGUFWriter(path, "llama")
    w.add_type("adapter")
    w.add_string("adapter.type", "lora")
    w.add_float32("adapter.lora.alpha", 3)
    for name, K, N in (("blk.0.attn_k.weight", 4, 4), ("blk.0.ffn_up.weight", 4, 3), ("token_embd.weight", None, None)):
        w.add_tensor(name + ".lora_a", noise(2, K) if K else noise(5, 2))
        w.add_tensor(name + ".lora_b", noise(N, 2) if N else noise(4, 2))
    tiny_model.finish(w)
    with open(path, "rb") as f:
        data = f.read()
    with open(path, "wb") as f:
        f.write(b"\0" + data)


def prompt_of(golden):
    with open(os.path.join(GOLDEN, golden)) as f:
        return json.load(f)["prompt"]


def tokens_of(folder):
    with open(os.path.join(folder, "tokenizer.json")) as f:
        return len(json.load(f)["model"]["vocab"])


def report(name, model, folder, golden):
    print(f"{name}: " + write_golden(os.path.join(OUT, name + ".json"), model, prompt_of(golden), tokens_of(folder)))


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    for name, (folder, _, _) in ADAPTERS.items():
        write_adapter(name)
        model = PeftModel.from_pretrained(load(folder), os.path.join(OUT, name)).eval()
        report(name, model, folder, "tiny-llama.json" if folder == LLAMA else "hf-tiny-qwen3/logits.json")
    write_gguf("llama-qv", "llama", tiny_model.N_LAYER, tiny_model.N_HEAD, tiny_model.N_HEAD_KV)
    write_gguf("llama-more", "llama", tiny_model.N_LAYER, tiny_model.N_HEAD, tiny_model.N_HEAD_KV)

    write_seeds()

    both = PeftModel.from_pretrained(load(LLAMA), os.path.join(OUT, "llama-qv"), adapter_name="qv")
    both.load_adapter(os.path.join(OUT, "llama-more"), adapter_name="more")
    both.base_model.set_adapter(["qv", "more"])
    for module in both.modules():
        if isinstance(module, LoraLayer):
            for adapter, scale in (("qv", 0.5), ("more", 2.0)):
                if adapter in module.scaling:
                    module.set_scale(adapter, scale)
    report("llama-both", both.eval(), LLAMA, "tiny-llama.json")


if __name__ == "__main__":
    main()
