#!/usr/bin/env python3
"""Writes tests/golden/hf-tiny-scalar-FAMILY/, random reward models with a score head as transformers saves them, and in
scores.json of each what transformers computes after loading it again in fp32.

    tools/tiny_scalar.py          needs what tools/tiny_families.py needs

    llama    a template that begins with BOS, a tokenizer that would put a second one there; the padding is the token
             that ends a turn, so that transformers reads one token before the end; F16
    qwen2    biases of q, k and v; a padding token of its own; BF16
    qwen3    norms of the heads of q and k; no padding; a system turn that the template brings; BF16

scores.json: `conversations`, each with `messages`, `responses`, and of each response `ids` (all tokens of the
conversation in the chat template, no generation prompt) and `scores`. Where there is a padding token, all inputs in one
padded batch must give the same but for rounding: checked here.
"""
import json
import os
import shutil

import numpy as np
import torch
import transformers
from tokenizers import decoders, processors
from transformers import PreTrainedTokenizerFast

import tiny_model
from tiny_model import CHAT_TEMPLATE, GOLDEN

WIDTH, N_LAYER, N_HEAD, N_KV, N_FF, N_CTX, N_MERGE, EPS = 32, 2, 4, 2, 64, 1024, 61, 1e-6
BOS_TEMPLATE = ("{{ bos_token }}{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
                "message['content'] | trim + '<|im_end|>'}}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

FAMILIES = {
    # name: (classes begin with, values per head, tied, seed, type, template, padding, what else differs)
    "llama": ("Llama", 8, False, 11, torch.float16, BOS_TEMPLATE, "<|im_end|>", {}),
    "qwen2": ("Qwen2", 8, False, 12, torch.bfloat16, CHAT_TEMPLATE, "<|endoftext|>", {"use_sliding_window": False}),
    "qwen3": ("Qwen3", 16, True, 13, torch.bfloat16, CHAT_TEMPLATE, None,
              {"use_sliding_window": False, "attention_bias": False}),
}

CONVERSATIONS = [
    ([{"role": "user", "content": "Which answer is better?"}],
     ["The shorter one.", "That depends on the reader: some want the answer first and the reasons later.", "7"]),
    ([{"role": "system", "content": "You weigh answers."}, {"role": "user", "content": "Count to 12."},
      {"role": "assistant", "content": "1, 2, 3"}, {"role": "user", "content": "  Go on, and don't stop!  "}],
     ["4, 5, 6, 7, 8, 9, 10, 11, 12.", "No."]),
    ([{"role": "user", "content": "Der Leser fragt: welche ist die bessere? 读者提出一个问题"}],
     ["Die wärmere. 😀", "Die wärmere, denn sie fragt zurück und bleibt kurz.\n\n- eins\n- zwei\n"]),
    ([{"role": "user", "content": "Tell me all about the library. " * 12}],
     ["On 12 March 2024 the library lent 318 books, 27 films and 4 telescopes; 95 % came back in time. " * 3, "Yes"]),
    ([{"role": "user", "content": "Is it over?"}], ["It isn't hard to see.", "It is not hard to see."]),
]


def build(family, tokens):
    prefix, head_dim, tied, seed, _, _, pad, other = FAMILIES[family]
    config = getattr(transformers, prefix + "Config")(
        vocab_size=len(tokens), hidden_size=WIDTH, intermediate_size=N_FF, num_hidden_layers=N_LAYER,
        num_attention_heads=N_HEAD, num_key_value_heads=N_KV, head_dim=head_dim, max_position_embeddings=N_CTX,
        rms_norm_eps=EPS, tie_word_embeddings=tied, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=tokens.index("<|endoftext|>"), eos_token_id=tokens.index("<|im_end|>"),
        pad_token_id=tokens.index(pad) if pad else None, num_labels=1, attn_implementation="eager", **other)
    model = getattr(transformers, prefix + "ForSequenceClassification")(config).to(torch.float32).eval()
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith(".bias"):
                w = 0.5 * rng.standard_normal(p.shape)
            elif p.ndim == 1:
                w = 1.0 + 0.3 * rng.standard_normal(p.shape)
            elif "embed_tokens" in name or name == "score.weight":
                w = 0.5 * rng.standard_normal(p.shape)
            else:
                gain = 2.0 if "o_proj" in name or "down_proj" in name else 1.5
                w = gain / np.sqrt(p.shape[1]) * rng.standard_normal(p.shape)
            p.copy_(torch.from_numpy(w.astype(np.float32)))
    return model


def save(folder, family, model, tokenizer):
    _, _, _, _, dtype, template, pad, _ = FAMILIES[family]
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder)
    tokenizer.decoder = decoders.ByteLevel()
    if template is BOS_TEMPLATE:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|im_end|>",
                                   pad_token=pad or "<|endoftext|>", clean_up_tokenization_spaces=False)
    fast.chat_template = template
    fast.save_pretrained(folder)
    return fast


def check_batch(model, pad, ids, scores):
    n = max(len(i) for i in ids)
    batch = torch.tensor([i + [pad] * (n - len(i)) for i in ids])
    mask = torch.tensor([[1] * len(i) + [0] * (n - len(i)) for i in ids])
    with torch.no_grad():
        got = model(batch, attention_mask=mask).logits[:, 0].tolist()
    assert max(abs(a - b) for a, b in zip(got, scores)) < 1e-4


def golden(folder, family, fast):
    model = getattr(transformers, FAMILIES[family][0] + "ForSequenceClassification").from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager").eval()
    out, all_ids, all_scores = [], [], []
    for messages, responses in CONVERSATIONS:
        ids, scores = [], []
        for response in responses:
            text = fast.apply_chat_template(messages + [{"role": "assistant", "content": response}], tokenize=False,
                                            add_generation_prompt=False)
            ids.append(fast(text, add_special_tokens=False)["input_ids"])
            with torch.no_grad():
                scores.append(model(torch.tensor([ids[-1]])).logits[0, 0].item())
        out.append({"messages": messages, "responses": responses, "ids": ids, "scores": scores})
        all_ids += ids
        all_scores += scores
    if model.config.pad_token_id is not None:
        check_batch(model, model.config.pad_token_id, all_ids, all_scores)
    with open(os.path.join(folder, "scores.json"), "w") as f:
        json.dump({"conversations": out}, f)
        f.write("\n")
    return all_scores, all_ids


def main():
    torch.set_num_threads(1)
    for family in FAMILIES:
        tokenizer, tokens, _ = tiny_model.train_tokenizer(N_MERGE)
        folder = os.path.join(GOLDEN, f"hf-tiny-scalar-{family}")
        fast = save(folder, family, build(family, tokens), tokenizer)
        scores, ids = golden(folder, family, fast)
        print(f"{family}: {sum(map(len, ids))} tokens, scores {min(scores):.3f} to {max(scores):.3f}")


if __name__ == "__main__":
    main()
