#!/usr/bin/env python3
"""Writes tests/golden/hf-tiny-words/: a random Llama of 30,000 values whose tokenizer knows bytes, the tokens of ChatML
and the words of the compact frame's taste slot, one token each (src/judge/slots.c). What training is tested on.

    tools/tiny_words.py          needs numpy
"""
import json
import pathlib
import struct

import numpy

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/hf-tiny-words"
WORDS = ("long short lists prose headings plain asking telling careful sure personal neutral numbers words warm cool "
         "code text formal casual focused loose examples abstract").split()
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
        "'\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
N_EMBD, N_FF, N_LAYER, N_HEAD = 32, 64, 2, 4


def byte_letters():
    """GPT-2's letters for the 256 bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, spare = {b: chr(b) for b in shown}, 256
    for b in range(256):
        if b not in letters:
            letters[b] = chr(spare)
            spare += 1
    return [letters[b] for b in range(256)]


def tokenizer():
    vocab = {t: i for i, t in enumerate(SPECIAL + byte_letters())}
    added = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, t in enumerate(SPECIAL)]
    for i, word in enumerate(WORDS):
        added.append({"id": len(vocab) + i, "content": " " + word, "single_word": False, "lstrip": False,
                      "rstrip": False, "normalized": False, "special": False})
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence",
                              "pretokenizers": [{"type": "Digits", "individual_digits": True}, level]},
            "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                      "vocab": vocab, "merges": []}}


def config(n_vocab):
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": N_EMBD,
            "intermediate_size": N_FF, "num_hidden_layers": N_LAYER, "num_attention_heads": N_HEAD,
            "num_key_value_heads": N_HEAD, "head_dim": N_EMBD // N_HEAD, "vocab_size": n_vocab,
            "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
            "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "bos_token_id": 1,
            "eos_token_id": 2, "torch_dtype": "float32"}


def weights(n_vocab):
    rng = numpy.random.default_rng(1)
    shapes = {"model.embed_tokens.weight": (n_vocab, N_EMBD), "model.norm.weight": (N_EMBD,)}
    for i in range(N_LAYER):
        at = f"model.layers.{i}."
        for name in "qkvo":
            shapes[f"{at}self_attn.{name}_proj.weight"] = (N_EMBD, N_EMBD)
        shapes |= {at + "mlp.gate_proj.weight": (N_FF, N_EMBD), at + "mlp.up_proj.weight": (N_FF, N_EMBD),
                   at + "mlp.down_proj.weight": (N_EMBD, N_FF), at + "input_layernorm.weight": (N_EMBD,),
                   at + "post_attention_layernorm.weight": (N_EMBD,)}
    values = {}
    for name, shape in shapes.items():
        values[name] = numpy.ones(shape) if len(shape) == 1 else rng.normal(0, shape[1] ** -0.5, shape)
    return {name: v.astype("<f4") for name, v in values.items()}


def write_safetensors(path, tensors):
    head, at = {"__metadata__": {"format": "pt"}}, 0
    for name, v in tensors.items():
        head[name] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [at, at + v.nbytes]}
        at += v.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for v in tensors.values()))


def main():
    FOLDER.mkdir(exist_ok=True)
    n_vocab = len(SPECIAL) + 256 + len(WORDS)
    (FOLDER / "tokenizer.json").write_text(json.dumps(tokenizer(), ensure_ascii=False) + "\n")
    (FOLDER / "tokenizer_config.json").write_text(json.dumps(
        {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
         "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT}) + "\n")
    (FOLDER / "config.json").write_text(json.dumps(config(n_vocab), indent=2) + "\n")
    write_safetensors(FOLDER / "model.safetensors", weights(n_vocab))


if __name__ == "__main__":
    main()
