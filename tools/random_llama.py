#!/usr/bin/env python3
"""Writes a random checkpoint in the shape of Llama-3.1-8B-Instruct: 8.03 billion weights in BF16, 16.1 GB in four shards.

    tools/random_llama.py FOLDER [--layers 32] [--seed 1]          needs numpy

For measuring load, memory and speed at the size that users run; its text is noise. config.json is written as transformers 4.x wrote the
published one (rope_scaling, torch_dtype), tensors have the published names and order, weights are normal with deviation 0.02
(those that add to the residual stream 0.02 / sqrt(2 layers)). The tokenizer has 128,000 tokens from merges of random pairs and 256
control tokens. Delete the folder after use.
"""
import argparse
import json
import os
import random
import struct

import numpy as np

WIDTH, FF, HEADS, HEADS_KV, HEAD_DIM, N_VOCAB, N_BASE = 4096, 14336, 32, 8, 128, 128256, 128000
SHARD, CHUNK = 5_000_000_000, 1 << 24  # bytes of a shard, weights drawn at once
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CONTROL = {128000: "<|begin_of_text|>", 128001: "<|end_of_text|>", 128006: "<|start_header_id|>", 128007: "<|end_header_id|>",
           128008: "<|eom_id|>", 128009: "<|eot_id|>"}
TEMPLATE = ("{% for m in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' "
            "+ m['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}")


def tensors(n_layer):
    """(name, shape, deviation; None: ones) in the order of the published shards."""
    small = 0.02 / (2 * n_layer) ** 0.5
    yield "model.embed_tokens.weight", (N_VOCAB, WIDTH), 0.02
    for i in range(n_layer):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", (WIDTH,), None
        yield p + "mlp.down_proj.weight", (WIDTH, FF), small
        yield p + "mlp.gate_proj.weight", (FF, WIDTH), 0.02
        yield p + "mlp.up_proj.weight", (FF, WIDTH), 0.02
        yield p + "post_attention_layernorm.weight", (WIDTH,), None
        yield p + "self_attn.k_proj.weight", (HEADS_KV * HEAD_DIM, WIDTH), 0.02
        yield p + "self_attn.o_proj.weight", (WIDTH, HEADS * HEAD_DIM), small
        yield p + "self_attn.q_proj.weight", (HEADS * HEAD_DIM, WIDTH), 0.02
        yield p + "self_attn.v_proj.weight", (HEADS_KV * HEAD_DIM, WIDTH), 0.02
    yield "model.norm.weight", (WIDTH,), None
    yield "lm_head.weight", (N_VOCAB, WIDTH), 0.02


def shards(n_layer):
    """Lists of tensors, each as large as fits a shard."""
    lists, size = [[]], 0
    for t in tensors(n_layer):
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
        drawn = np.full(count, 0x3F80, np.uint16) if values is None else values[np.frombuffer(rng.bytes(2 * count), np.uint16)]
        f.write(drawn.tobytes())


def write_weights(folder, n_layer, seed):
    rng = np.random.default_rng(seed)
    table = np.sort(rng.standard_normal(1 << 16))
    lists, where, total = shards(n_layer), {}, 0
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


def write_config(folder, n_layer):
    write_json(folder, "config.json", {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": WIDTH, "initializer_range": 0.02,
        "intermediate_size": FF, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama",
        "num_attention_heads": HEADS, "num_hidden_layers": n_layer, "num_key_value_heads": HEADS_KV, "pretraining_tp": 1,
        "rms_norm_eps": 1e-05, "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "transformers_version": "4.42.3",
        "use_cache": True, "vocab_size": N_VOCAB})
    write_json(folder, "generation_config.json", {"bos_token_id": 128000, "do_sample": True, "eos_token_id": [128001, 128008, 128009],
                                                  "temperature": 0.6, "top_p": 0.9, "transformers_version": "4.42.3"})
    write_json(folder, "tokenizer_config.json", {"bos_token": CONTROL[128000], "eos_token": CONTROL[128009], "chat_template": TEMPLATE,
                                                 "clean_up_tokenization_spaces": True, "model_max_length": 131072})


def merged_tokens(alphabet, seed):
    """Letters first: tokens of up to 12 characters, each from two earlier ones of up to 6."""
    draw = random.Random(seed)
    letters = [c for c in alphabet if c.isascii() and c.isalpha()] + ["\u0120" + c for c in "abcdefghijklmnopqrstuvwxyz"]
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
    added = [{"id": i, "content": CONTROL.get(i, f"<|reserved_special_token_{i - N_BASE}|>"), "single_word": False, "lstrip": False,
              "rstrip": False, "normalized": False, "special": True} for i in range(N_BASE, N_VOCAB)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    begin = {"SpecialToken": {"id": CONTROL[128000], "type_id": 0}}
    write_json(folder, "tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}, byte_level]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [begin, {"Sequence": {"id": "A", "type_id": 0}}],
                           "pair": [begin, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {CONTROL[128000]: {"id": CONTROL[128000], "ids": [128000], "tokens": [CONTROL[128000]]}}},
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}})


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("folder")
    args.add_argument("--layers", type=int, default=32)
    args.add_argument("--seed", type=int, default=1)
    a = args.parse_args()
    os.makedirs(a.folder, exist_ok=True)
    write_config(a.folder, a.layers)
    write_tokenizer(a.folder, a.seed)
    write_weights(a.folder, a.layers, a.seed)


if __name__ == "__main__":
    main()
