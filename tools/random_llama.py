#!/usr/bin/env python3
"""Writes a random checkpoint in the shape of a published one, in BF16: Llama-3.1-8B-Instruct (8.03 billion weights,
16.1 GB in four shards), Llama-3.2-1B (1.24 billion) or Qwen3-0.6B (0.6 billion).

    tools/random_llama.py FOLDER [--shape llama-3.1-8b] [--layers N] [--seed 1]          needs numpy

For measuring load, memory and speed at the size that users run; its text is noise. config.json is written as
transformers 4.x wrote the published ones (rope_scaling, torch_dtype), tensors have the published names and order,
weights are normal with deviation 0.02 (those that add to the residual stream 0.02 / sqrt(2 layers)). The tokenizer has
128,000 tokens from merges of random pairs and 256 control tokens whatever the shape; rows of the embedding beyond it
are padding. Delete the folder after use.
"""
import argparse
import json
import os
import random
import struct

import numpy as np

N_TOKEN, N_BASE = 128256, 128000  # of the tokenizer; of them from merges
SHAPES = {
    "llama-3.1-8b": dict(type="llama", layers=32, width=4096, ff=14336, heads=32, heads_kv=8, head_dim=128, rows=128256,
                         factor=8.0, tied=False),
    "llama-3.2-1b": dict(type="llama", layers=16, width=2048, ff=8192, heads=32, heads_kv=8, head_dim=64, rows=128256,
                         factor=32.0, tied=True),
    "qwen3-0.6b": dict(type="qwen3", layers=28, width=1024, ff=3072, heads=16, heads_kv=8, head_dim=128, rows=151936,
                       factor=None, tied=True),
}
SHARD, CHUNK = 5_000_000_000, 1 << 24  # bytes of a shard, weights drawn at once
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| "
           r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTROL = {128000: "<|begin_of_text|>", 128001: "<|end_of_text|>", 128006: "<|start_header_id|>",
           128007: "<|end_header_id|>",
           128008: "<|eom_id|>", 128009: "<|eot_id|>"}
TEMPLATE = ("{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}"
            "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
            "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
            "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")


def tensors(c):
    """(name, shape, deviation; None: ones) in the order of the published shards."""
    small = 0.02 / (2 * c["layers"]) ** 0.5
    width, ff, head_dim = c["width"], c["ff"], c["head_dim"]
    yield "model.embed_tokens.weight", (c["rows"], width), 0.02
    for i in range(c["layers"]):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (width,), None
        yield p + "mlp.down_proj.weight", (width, ff), small
        yield p + "mlp.gate_proj.weight", (ff, width), 0.02
        yield p + "mlp.up_proj.weight", (ff, width), 0.02
        yield p + "post_attention_layernorm.weight", (width,), None
        if c["type"] == "qwen3":
            yield p + "self_attn.k_norm.weight", (head_dim,), None
            yield p + "self_attn.q_norm.weight", (head_dim,), None
        yield p + "self_attn.k_proj.weight", (c["heads_kv"] * head_dim, width), 0.02
        yield p + "self_attn.o_proj.weight", (width, c["heads"] * head_dim), small
        yield p + "self_attn.q_proj.weight", (c["heads"] * head_dim, width), 0.02
        yield p + "self_attn.v_proj.weight", (c["heads_kv"] * head_dim, width), 0.02
    yield "model.norm.weight", (width,), None
    if not c["tied"]:
        yield "lm_head.weight", (c["rows"], width), 0.02


def shards(c):
    """Lists of tensors, each as large as fits a shard."""
    lists, size = [[]], 0
    for t in tensors(c):
        n = 2 * int(np.prod(t[1]))
        if lists[-1] and size + n > SHARD:
            lists.append([])
            size = 0
        lists[-1].append(t)
        size += n
    return lists


def bf16(x):
    """To the nearest, ties to even."""
    u = x.astype(np.float32).view(np.uint32)
    return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype(np.uint16)


def write_tensor(f, shape, deviation, table, rng):
    """Weights are drawn from 65,536 normal numbers: 16 random bits each."""
    n = int(np.prod(shape))
    values = None if deviation is None else bf16(table * deviation)
    for first in range(0, n, CHUNK):
        count = min(CHUNK, n - first)
        drawn = np.full(count, 0x3F80,
                        np.uint16) if values is None else values[np.frombuffer(rng.bytes(2 * count), np.uint16)]
        f.write(drawn.tobytes())


def write_weights(folder, c, seed):
    rng = np.random.default_rng(seed)
    table = np.sort(rng.standard_normal(1 << 16))
    lists, where, total = shards(c), {}, 0
    for i, members in enumerate(lists):
        name = f"model-{i + 1:05d}-of-{len(lists):05d}.safetensors"
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for tensor, shape, _ in members:
            size = 2 * int(np.prod(shape))
            header[tensor] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
            where[tensor] = name
            at += size
        total += at
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(os.path.join(folder, name), "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for _, shape, deviation in members:
                write_tensor(f, shape, deviation, table, rng)
        print(f"{name}: {len(members)} tensors, {at:,} bytes", flush=True)
    write_json(folder, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def write_config(folder, c):
    llama = c["type"] == "llama"
    scaling = {"factor": c["factor"], "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 8192, "rope_type": "llama3"}
    write_json(folder, "config.json", {
        "architectures": ["LlamaForCausalLM" if llama else "Qwen3ForCausalLM"], "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": c["head_dim"],
        "hidden_act": "silu",
        "hidden_size": c["width"], "initializer_range": 0.02, "intermediate_size": c["ff"],
        "max_position_embeddings": 131072 if llama else 40960, "model_type": c["type"],
        "num_attention_heads": c["heads"],
        "num_hidden_layers": c["layers"], "num_key_value_heads": c["heads_kv"], "rms_norm_eps": 1e-05 if llama
        else 1e-06,
        "rope_scaling": scaling if llama else None, "rope_theta": 500000.0 if llama else 1000000,
        "tie_word_embeddings": c["tied"],
        "torch_dtype": "bfloat16", "transformers_version": "4.42.3" if llama else "4.51.0", "use_cache": True,
        "vocab_size": c["rows"],
        **({"mlp_bias": False, "pretraining_tp": 1} if llama
           else {"sliding_window": None, "use_sliding_window": False, "max_window_layers": c["layers"]})})
    write_json(folder, "generation_config.json",
               {"bos_token_id": 128000, "do_sample": True, "eos_token_id": [128001, 128008, 128009],
                                                  "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.42.3"})
    write_json(folder, "tokenizer_config.json",
               {"bos_token": CONTROL[128000], "eos_token": CONTROL[128009], "chat_template": TEMPLATE,
                                                 "clean_up_tokenization_spaces": True, "model_max_length": 131072})


def merged_tokens(alphabet, seed):
    """Letters first: tokens of up to 12 characters, each from two earlier ones of up to 6."""
    draw = random.Random(seed)
    letters = [c for c in alphabet if c.isascii() and c.isalpha()] + ["\u0120" + c
                                                                      for c in "abcdefghijklmnopqrstuvwxyz"]
    tokens, merges = list(alphabet), []
    vocab = set(tokens)
    for c in letters:
        if len(c) == 2:
            tokens.append(c)
            merges.append([c[0], c[1]])
            vocab.add(c)
    pool = list(letters)
    while len(tokens) < N_BASE:
        left, right = draw.choice(pool), draw.choice(pool)
        word = left + right
        if right[0] == "\u0120" or word in vocab:
            continue
        vocab.add(word)
        tokens.append(word)
        merges.append([left, right])
        if len(word) <= 6:
            pool.append(word)
    return tokens, merges


def write_tokenizer(folder, seed):
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    alphabet = sorted([chr(b) for b in keep] + [chr(256 + i) for i in range(len(rest))])
    tokens, merges = merged_tokens(alphabet, seed)
    added = [{"id": i, "content": CONTROL.get(i, f"<|reserved_special_token_{i - N_BASE}|>"), "single_word": False,
              "lstrip": False,
              "rstrip": False, "normalized": False, "special": True} for i in range(N_BASE, N_TOKEN)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    begin = {"SpecialToken": {"id": CONTROL[128000], "type_id": 0}}
    write_json(folder, "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}},
                                    {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {CONTROL[128000]: {"id": CONTROL[128000], "ids": [128000],
                                                                "tokens": [CONTROL[128000]]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}})


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("folder")
    args.add_argument("--shape", choices=SHAPES, default="llama-3.1-8b")
    args.add_argument("--layers", type=int, help="default: the shape's")
    args.add_argument("--seed", type=int, default=1)
    a = args.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    shape = dict(SHAPES[a.shape], **({"layers": a.layers} if a.layers else {}))
    write_config(a.folder, shape)
    write_tokenizer(a.folder, a.seed)
    write_weights(a.folder, shape, a.seed)


if __name__ == "__main__":
    main()
