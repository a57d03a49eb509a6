#!/usr/bin/env python3
"""Writes tests/golden/tiny-FAMILY.gguf, random models of the families below, and tests/golden/tiny-FAMILY.json, what
Hugging Face transformers computes with the same weights in fp32 (see tiny_model.py for the form of the JSON).

    tools/tiny_families.py [FAMILY ...]          needs gguf, numpy, tokenizers, torch, transformers

    qwen2     biases of q, k and v; a head of its own; more rows in the vocabulary than the tokenizer has ids, and those
              rows win often, so that choosing without a bound would show
    qwen3     norms of the heads of q and k; heads wider than width / heads; tied head
    llama31   the rope scaling of Llama 3.1, with every kind of wavelength: left, between, slowed; tied head
    yarn      qwen2 with the rope scaling of YaRN, with every kind of pair, and an attention factor of its own
    mistral   the llama architecture with heads narrower than width / heads, one KV head, and a head of its own

Beside them tests/golden/hf-tiny-FAMILY/, folders as transformers saves them, with what it computes after loading them
again in fp32 (logits.json): weights rounded to F16 or BF16, one file or shards. Loading again matters: a model that was
cast has a rounded table of rotations too.

Names of tensors are those of the gguf package; rope_freqs.weight and the order of rows of q and k are what llama.cpp's
converter writes.
"""
import json
import math
import os
import shutil
import sys

import gguf
import numpy as np
import torch
from tokenizers import decoders
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast,
                          Qwen2Config,
                          Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM)

import tiny_model
from tiny_model import CHAT_TEMPLATE, CONTROL, GOLDEN, interleave

N_LAYER, N_HEAD, N_FF, N_CTX, N_MERGE, N_PAD, EPS = 2, 4, 64, 2048, 61, 12, 1e-6
PLAIN = {"rope_type": "default", "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 128}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        "beta_fast": 8.0, "beta_slow": 1.0, "attention_factor": 1.3}

FAMILIES = {
    # name: (GGUF architecture, classes, width, KV heads, values per head, tied head, rope, seed, what else differs)
    "qwen2": ("qwen2", Qwen2Config, Qwen2ForCausalLM, 32, 2, 8, False, PLAIN, 1, {"use_sliding_window": False}),
    "qwen3": ("qwen3", Qwen3Config, Qwen3ForCausalLM, 32, 2, 16, True, PLAIN, 2,
              {"use_sliding_window": False, "attention_bias": False}),
    "llama31": ("llama", LlamaConfig, LlamaForCausalLM, 32, 2, 8, True, LLAMA3, 3, {}),
    "mistral": ("llama", MistralConfig, MistralForCausalLM, 48, 1, 8, False, PLAIN, 4, {"sliding_window": None}),
    "yarn": ("qwen2", Qwen2Config, Qwen2ForCausalLM, 32, 2, 8, False, YARN, 5, {"use_sliding_window": False}),
}

FOLDERS = {"qwen2": (torch.float16, "1GB"), "qwen3": (torch.bfloat16, "1GB"), "llama31": (torch.float16, "30KB"),
           "mistral": (torch.bfloat16, "70KB"), "yarn": (torch.bfloat16, "1GB")}


def build_model(family, n_token):
    """The family's model with random weights that are large enough for the logits to vary."""
    _, config_class, model_class, width, n_kv, head_dim, tied, rope, seed, other = FAMILIES[family]
    n_vocab = n_token + (N_PAD if family == "qwen2" else 0)
    config = config_class(vocab_size=n_vocab, hidden_size=width, intermediate_size=N_FF, num_hidden_layers=N_LAYER,
                          num_attention_heads=N_HEAD, num_key_value_heads=n_kv, head_dim=head_dim,
                          max_position_embeddings=N_CTX, rms_norm_eps=EPS, tie_word_embeddings=tied,
                          rope_parameters=dict(rope), bos_token_id=None, eos_token_id=2, attn_implementation="eager",
                          **other)
    model = model_class(config).to(torch.float32).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith(".bias"):
                w = 0.5 * rng.standard_normal(p.shape)
            elif p.ndim == 1:
                w = 1.0 + 0.3 * rng.standard_normal(p.shape)
            elif "embed_tokens" in name or "lm_head" in name:
                w = 0.5 * rng.standard_normal(p.shape)
                if "lm_head" in name:
                    w[n_token:] *= 2.0
            else:
                gain = 2.0 if "o_proj" in name or "down_proj" in name else 1.5
                w = gain / np.sqrt(p.shape[1]) * rng.standard_normal(p.shape)
            p.copy_(torch.from_numpy(w.astype(np.float32)))
    return model


def rope_divisors(head_dim, rope):
    """rope_freqs.weight: by what each frequency is divided"""
    out = []
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        original, low, high = (rope[k] for k in ("original_max_position_embeddings", "low_freq_factor",
                                                 "high_freq_factor"))
        if wave < original / high:
            out.append(1.0)
        elif wave > original / low:
            out.append(rope["factor"])
        else:
            smooth = (original / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    assert len(set(out)) >= 3
    return np.array(out, np.float32)


def write_gguf(path, family, model, tokens, merges):
    arch, _, _, width, n_kv, head_dim, tied, rope, _, _ = FAMILIES[family]
    w = gguf.GGUFWriter(path, arch)
    w.add_name(f"tiny {family} of random weights")
    w.add_block_count(N_LAYER)
    w.add_context_length(N_CTX)
    w.add_embedding_length(width)
    w.add_feed_forward_length(N_FF)
    w.add_head_count(N_HEAD)
    w.add_head_count_kv(n_kv)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(EPS)
    if head_dim != width // N_HEAD:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    if arch == "llama":
        w.add_rope_dimension_count(head_dim)
    if rope is YARN:
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_rope_scaling_attn_factors(rope["attention_factor"] / (1 + 0.1 * math.log(rope["factor"])))
        w.add_float32(f"{arch}.rope.scaling.yarn_beta_fast", rope["beta_fast"])
        w.add_float32(f"{arch}.rope.scaling.yarn_beta_slow", rope["beta_slow"])
    types = [gguf.TokenType.CONTROL if t in CONTROL else gguf.TokenType.NORMAL for t in tokens]
    tiny_model.write_tokenizer(w, tokens, types, merges, "smollm", CHAT_TEMPLATE, tokens.index("<|im_start|>"),
                               tokens.index("<|im_end|>"), False)
    if rope is LLAMA3:
        w.add_tensor("rope_freqs.weight", rope_divisors(head_dim, rope))
    names = gguf.get_tensor_name_map({"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2,
                                      "qwen3": gguf.MODEL_ARCH.QWEN3}[arch], N_LAYER)
    for name, v in model.state_dict().items():
        if name == "lm_head.weight" and tied:
            continue
        v = v.numpy()
        if arch == "llama" and "q_proj" in name:
            v = interleave(v, N_HEAD)
        if arch == "llama" and "k_proj" in name:
            v = interleave(v, n_kv)
        w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(v))
    tiny_model.finish(w)


def write_folder(folder, family, model, tokenizer, prompt, n_token):
    dtype, shard = FOLDERS[family]
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>",
                                   pad_token="<|endoftext|>", clean_up_tokenization_spaces=False)
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    loaded = FAMILIES[family][2].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    return write_golden(os.path.join(folder, "logits.json"), loaded, prompt, n_token)


def write_golden(path, model, prompt, n_token):
    out = tiny_model.golden(model, prompt, n_token)
    with open(path, "w") as f:
        json.dump(out, f)
        f.write("\n")
    return (f"logits {np.std(out['rows'][-1]['logits']):.2f} std, {len(set(out['greedy']))} different tokens among "
            f"{len(out['greedy'])}, gap {out['gap']:.4f}")


def main():
    torch.set_num_threads(1)
    tokenizer, tokens, merges = tiny_model.train_tokenizer(N_MERGE)
    prompt = tokenizer.encode("A reader asks 3 questions, and each answer is weighed: brevity 40, facts 35, tone 25. "
                              * 3).ids[:64]
    for family in sys.argv[1:] or FAMILIES:
        model = build_model(family, len(tokens))
        write_gguf(os.path.join(GOLDEN, f"tiny-{family}.gguf"), family, model, tokens, merges)
        print(f"{family}: " + write_golden(os.path.join(GOLDEN, f"tiny-{family}.json"), model, prompt, len(tokens)))
        print("    folder: " + write_folder(os.path.join(GOLDEN, f"hf-tiny-{family}"), family, model, tokenizer, prompt,
                                            len(tokens)))


if __name__ == "__main__":
    main()
