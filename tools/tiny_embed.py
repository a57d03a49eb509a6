#!/usr/bin/env python3
"""Writes tests/golden/hf-tiny-bert/ and tests/golden/hf-tiny-qwen3-embedding/: random embedding models as transformers
and sentence-transformers save them, and in embeddings.json of each what transformers computes after loading it again in
fp32.

    tools/tiny_embed.py          needs gguf, numpy, tokenizers, torch, transformers

    hf-tiny-bert             BertModel of 2 layers with BERT's normaliser and WordPiece; max_seq_length 40 is less than
                             its 64 positions; embeddings for the three kinds of hidden_act, mean and cls
    hf-tiny-qwen3-embedding  Qwen3Model of 2 layers, its tokenizer.json appends <|endoftext|>; last token and mean

embeddings.json: `texts`, `ids` of each (special tokens and truncation included), `vectors`: name -> one unit vector per
text.
"""
import json
import os
import shutil
from collections import Counter

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast, PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

import tiny_model
from tiny_model import GOLDEN, TEXTS

MAX_TOKENS, N_POS = 40, 64
SENTENCES = ["A reader asks a question.", "", "two",
             "  The judge looks at what this reader chose before; in the 2nd pair she took the SHORTER text!  ",
             "Der Leser fragt, und zwei Antworten kommen zurück.", "读者提出一个问题",
             "unbelievably uncharacteristic\ttokens [and] so on",
             "The rubric follows from the persona: brevity 40 percent, facts 35 percent, tone 25 percent. " * 2,
             "x" * 120]


def random_weights(model, seed, scale):
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim == 1:
                w = (1.0 if "norm" in name.lower() and name.endswith("weight")
                     else 0.0) + 0.3 * rng.standard_normal(p.shape)
            elif "embed" in name:
                w = 0.5 * rng.standard_normal(p.shape)
            else:
                w = scale / np.sqrt(p.shape[1]) * rng.standard_normal(p.shape)
            p.copy_(torch.from_numpy(w.astype(np.float32)))
    return model.to(torch.float32).eval()


def write_json(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        json.dump(value, f)
        f.write("\n")


def unit(x):
    return [[round(v, 9) for v in row] for row in torch.nn.functional.normalize(x.double(), dim=-1).tolist()]


def hidden_of(model, ids):
    with torch.no_grad():
        return [model(torch.tensor([i])).last_hidden_state[0] for i in ids]


def sentence_files(folder, mode, dims, normalise=True):
    types = ["Transformer", "Pooling"] + (["Normalize"] if normalise else [])
    write_json(os.path.join(folder, "modules.json"),
               [{"idx": i, "name": str(i), "path": f"{i}_{t}" if i else "", "type": f"sentence_transformers.models.{t}"}
                for i, t in enumerate(types)])
    write_json(os.path.join(folder, "1_Pooling", "config.json"),
               {"word_embedding_dimension": dims, "pooling_mode_cls_token": mode == "cls",
                "pooling_mode_mean_tokens": mode == "mean",
                "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False,
                "pooling_mode_weightedmean_tokens": False,
                "pooling_mode_lasttoken": mode == "lasttoken", "include_prompt": True})


def word_pieces():
    """A vocabulary counted from the texts (PyPI's trainer breaks ties by chance): characters, whole words, beginnings,
    ends."""
    normal, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [w for w, _ in split.pre_tokenize_str(normal.normalize_str(TEXTS))]
    parts = [[c for w in words for c in w], words, [w[:n] for w in words for n in (2, 3) if len(w) > n],
             ["##" + w[-n:] for w in words for n in (2, 3) if len(w) > n]]
    out = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for part, most in zip(parts, (70, 60, 50, 50)):
        counted = sorted(Counter(part).items(), key=lambda kv: (-kv[1], kv[0]))[:most]
        out += [w for w, _ in counted] + (["##" + w for w, _ in counted] if part is parts[0] else [])
    return list(dict.fromkeys(out))


def bert():
    folder = os.path.join(GOLDEN, "hf-tiny-bert")
    shutil.rmtree(folder, ignore_errors=True)
    t = Tokenizer(models.WordPiece({w: i for i, w in enumerate(word_pieces())}, unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    t.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                     special_tokens=[(s, t.token_to_id(s)) for s in ("[CLS]", "[SEP]")])
    t.decoder = decoders.WordPiece()
    fast = BertTokenizerFast(tokenizer_object=t)
    config = BertConfig(vocab_size=t.get_vocab_size(), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=48, max_position_embeddings=N_POS, type_vocab_size=2,
                        attn_implementation="eager")
    random_weights(BertModel(config), 5, 1.5).save_pretrained(folder)
    fast.save_pretrained(folder)
    t.enable_truncation(16)  # settings that count for nothing: the sentence length does
    t.enable_padding(length=20)
    t.save(os.path.join(folder, "tokenizer.json"))
    sentence_files(folder, "mean", 32)
    write_json(os.path.join(folder, "sentence_bert_config.json"),
               {"max_seq_length": MAX_TOKENS, "do_lower_case": False})

    t.no_padding()
    t.enable_truncation(MAX_TOKENS)
    ids = [t.encode(s).ids for s in SENTENCES]
    vectors = {}
    for act in ("gelu", "gelu_new", "relu"):
        model = BertModel.from_pretrained(folder, hidden_act=act, dtype=torch.float32,
                                          attn_implementation="eager").eval()
        hidden = hidden_of(model, ids)
        vectors[act + " mean"] = unit(torch.stack([h.double().mean(0) for h in hidden]))
        vectors[act + " cls"] = unit(torch.stack([h[0] for h in hidden]))
    write_json(os.path.join(folder, "embeddings.json"), {"texts": SENTENCES, "ids": ids, "vectors": vectors})
    return [len(i) for i in ids]


def qwen3():
    folder = os.path.join(GOLDEN, "hf-tiny-qwen3-embedding")
    shutil.rmtree(folder, ignore_errors=True)
    t, tokens, _ = tiny_model.train_tokenizer(61)
    t.decoder = decoders.ByteLevel()
    end = tokens.index("<|endoftext|>")
    t.post_processor = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", end)])
    fast = PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                   model_max_length=512, clean_up_tokenization_spaces=False)
    config = Qwen3Config(vocab_size=len(tokens), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
                         rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, use_sliding_window=False,
                         attention_bias=False, tie_word_embeddings=True, bos_token_id=None, eos_token_id=end,
                         attn_implementation="eager")
    random_weights(Qwen3Model(config), 6, 1.5).save_pretrained(folder)
    fast.save_pretrained(folder)
    sentence_files(folder, "lasttoken", 32)
    model = Qwen3Model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    task = "Given a pair, find the same taste"
    texts = SENTENCES[:6] + SENTENCES[7:]
    vectors, all_ids = {}, {}
    for name, prefix in (("", ""), ("instruct ", f"Instruct: {task}\nQuery:")):
        ids = [t.encode(prefix + s).ids for s in texts]
        hidden = hidden_of(model, ids)
        all_ids[name] = ids
        vectors[name + "last"] = unit(torch.stack([h[-1] for h in hidden]))
        vectors[name + "mean"] = unit(torch.stack([h.double().mean(0) for h in hidden]))
        vectors[name + "last of 8"] = unit(torch.stack([h[-1][:8] for h in hidden]))
    write_json(os.path.join(folder, "embeddings.json"),
               {"texts": texts, "task": task, "ids": all_ids[""], "vectors": vectors})
    return [len(i) for i in all_ids[""]]


def main():
    torch.set_num_threads(1)
    print("bert: tokens", bert())
    print("qwen3: tokens", qwen3())
    for name in ("hf-tiny-bert", "hf-tiny-qwen3-embedding"):
        for where, _, files in os.walk(os.path.join(GOLDEN, name)):
            for f in sorted(files):
                print(f"{os.path.getsize(os.path.join(where, f)):8d}  "
                      f"{os.path.relpath(os.path.join(where, f), GOLDEN)}")


if __name__ == "__main__":
    main()
