#!/usr/bin/env python3
"""Writes tests/golden/tiny-llama.gguf, a random model of the llama architecture, and tests/golden/tiny-llama.json, what
Hugging Face transformers computes with the same weights in fp32.

    tools/tiny_model.py          needs gguf, numpy, tokenizers, torch, transformers

The tokenizer is trained here, on the text below. Weights come from a fixed seed. GGUF files of this architecture hold
the rows of q and k in the order of interleaved rotation, so they are permuted when written. Check of the JSON: `rows`
holds logits after the prompt's tokens 0..pos; `greedy` continues the prompt; `gap` is the smallest difference between
the best and the second-best logit along it, far above what the order of summation can change.
"""
import json
import os

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

GOLDEN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "golden")
N_LAYER, N_EMBD, N_HEAD, N_HEAD_KV, HEAD_DIM, N_FF, N_CTX = 2, 64, 4, 2, 16, 96, 2048
EPS, ROPE_BASE, N_MERGE, SEED = 1e-5, 10000.0, 400, 4
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

CHAT_TEMPLATE = ("{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
                 "{{ '<|im_start|>system\n"
                 "You weigh answers for one reader and keep it short.<|im_end|>\n' }}{% endif %}"
                 "{{'<|im_start|>' + message['role'] + '\n' + "
                 "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
                 "{{ '<|im_start|>assistant\n' }}{% endif %}")

TEXTS = """
A reader asks a question and two answers come back. One of them is longer, with a list of steps and a warning at the \
end; the other is a single warm sentence that asks a question in return.
Which one is better? That depends on the reader. Some people want the answer first and the reasons later, others want \
to be heard before they are told anything.
The judge looks at what this reader chose before. In the first pair she took the shorter text. In the second pair she \
took the one with numbers. In the third she took the polite one, although it was wrong.
So the persona is: a practical person who likes numbers, dislikes long lists, and forgives mistakes that are made \
kindly. The rubric follows from the persona: brevity 40 percent, facts 35 percent, tone 25 percent.
Each criterion gets a score from 1 to 10, and the total is the weighted sum of the scores. If the weights do not add \
up to 100 something went wrong, and the chain says so.
It isn't hard to see why we'd rather count than guess: they're cheap, they don't argue, and you'll find the same \
result tomorrow. I've tried it, he's tried it, she'd try it too.
for (int i = 0; i < n; i++) { total += weight[i] * score[i]; } return total / 100.0;
def score(persona, response):\n    return sum(w * s for w, s in zip(persona.weights, response.scores))
{"persona": "likes short answers", "criteria": [{"name": "brevity", "weight": 40, "score": 7}], "total": 6.5}
On 12 March 2024 the library lent 318 books, 27 films and 4 telescopes; 95 % came back in time. The rest cost 0.50 a \
day.
Der Leser fragt, und zwei Antworten kommen zurück. Die eine ist länger, die andere ist wärmer. Welche ist die bessere?
La lectrice pose une question et deux réponses arrivent. L'une est longue, l'autre est chaleureuse. Laquelle \
préfère-t-elle ?
La lectora hace una pregunta y llegan dos respuestas. Una es más larga, la otra es más amable. ¿Cuál prefiere?
Читатель задаёт вопрос, и приходят два ответа. Один длиннее, другой теплее. Какой из них лучше?
读者提出一个问题，得到两个回答。一个更长，一个更亲切。哪一个更好？ 読者が質問をすると、二つの答えが返ってくる。
يسأل القارئ سؤالا فتأتي إجابتان. إحداهما أطول والأخرى ألطف. 😀👍🏽
"""


def spelling():
    """byte -> character of the GPT-2 alphabet"""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    rest = [b for b in range(256) if b not in keep]
    return {**{b: chr(b) for b in keep}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def train_tokenizer(n_merge=N_MERGE):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    alphabet = sorted(spelling().values())
    trainer = trainers.BpeTrainer(vocab_size=256 + n_merge + len(CONTROL), special_tokens=CONTROL,
                                  initial_alphabet=alphabet, show_progress=False, min_frequency=1)
    t.train_from_iterator(TEXTS.strip().split("\n"), trainer)
    state = json.loads(t.to_str())["model"]
    tokens = [tok for tok, _ in sorted(state["vocab"].items(), key=lambda kv: kv[1])]
    merges = [m if isinstance(m, str) else " ".join(m) for m in state["merges"]]
    assert len(tokens) == 256 + n_merge + len(CONTROL) and len(merges) == n_merge
    return t, tokens, merges


def build_model(n_vocab):
    """The model with random weights that are large enough for the logits to vary."""
    rng = np.random.default_rng(SEED)
    config = LlamaConfig(vocab_size=n_vocab, hidden_size=N_EMBD, intermediate_size=N_FF, num_hidden_layers=N_LAYER,
                         num_attention_heads=N_HEAD, num_key_value_heads=N_HEAD_KV, head_dim=HEAD_DIM,
                         max_position_embeddings=N_CTX, rms_norm_eps=EPS, tie_word_embeddings=True,
                         rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE}, attn_implementation="eager")
    model = LlamaForCausalLM(config).to(torch.float32).eval()
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if p.ndim == 1:
                w = 1.0 + 0.3 * rng.standard_normal(p.shape)
            elif "embed_tokens" in name:
                w = 0.35 * rng.standard_normal(p.shape)
            else:
                gain = 2.0 if "o_proj" in name or "down_proj" in name else 1.5
                w = gain / np.sqrt(p.shape[1]) * rng.standard_normal(p.shape)
            p.copy_(torch.from_numpy(w.astype(np.float32)))
    return model


def interleave(w, n_head):
    """rows of a head from (first half, second half) to pairs: HF's rotation to GGUF's"""
    return w.reshape(n_head, 2, w.shape[0] // n_head // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def write_tokenizer(w, tokens, types, merges, pre, chat_template, bos, eos, add_bos):
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre(pre)
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(bos)
    w.add_eos_token_id(eos)
    w.add_add_bos_token(add_bos)
    if chat_template:
        w.add_chat_template(chat_template)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_gguf(path, model, tokens, merges):
    w = gguf.GGUFWriter(path, "llama")
    w.add_name("tiny llama of random weights")
    w.add_block_count(N_LAYER)
    w.add_context_length(N_CTX)
    w.add_embedding_length(N_EMBD)
    w.add_feed_forward_length(N_FF)
    w.add_head_count(N_HEAD)
    w.add_head_count_kv(N_HEAD_KV)
    w.add_rope_freq_base(ROPE_BASE)
    w.add_layer_norm_rms_eps(EPS)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_file_type(0)
    types = [gguf.TokenType.CONTROL if t in CONTROL else gguf.TokenType.NORMAL for t in tokens]
    write_tokenizer(w, tokens, types, merges, "smollm", CHAT_TEMPLATE, tokens.index("<|im_start|>"),
                    tokens.index("<|im_end|>"), False)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm"}
    state = {k: v.numpy() for k, v in model.state_dict().items()}
    w.add_tensor("token_embd.weight", state["model.embed_tokens.weight"])
    w.add_tensor("output_norm.weight", state["model.norm.weight"])
    for layer in range(N_LAYER):
        for hf, ours in names.items():
            v = state[f"model.layers.{layer}.{hf}.weight"]
            heads = {"attn_q": N_HEAD, "attn_k": N_HEAD_KV}.get(ours)
            w.add_tensor(f"blk.{layer}.{ours}.weight", np.ascontiguousarray(interleave(v, heads) if heads else v))
    finish(w)


def write_seed(path, tokens, merges):
    """A file of the same form of a few kilobytes, for the fuzz corpus: bytes and ten merges, one layer of width 8."""
    few = [m for m in merges if all(len(part) == 1 for part in m.split(" "))][:10]
    tokens = tokens[:len(CONTROL) + 256] + [m.replace(" ", "") for m in few]
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(8)
    w.add_feed_forward_length(4)
    w.add_head_count(2)
    w.add_layer_norm_rms_eps(EPS)
    types = [gguf.TokenType.CONTROL if t in CONTROL else gguf.TokenType.NORMAL for t in tokens]
    write_tokenizer(w, tokens, types, few, "smollm", CHAT_TEMPLATE, 1, 2, False)
    w.add_tensor("token_embd.weight", np.zeros((len(tokens), 8), np.float16))
    for name, shape in [("attn_q", (8, 8)), ("ffn_down", (8, 4)), ("attn_norm", (8,))]:
        w.add_tensor(f"blk.0.{name}.weight", np.zeros(shape, np.float32))
    finish(w)


@torch.no_grad()
def golden(model, prompt, n_token):
    """n_token: ids of the tokenizer; rows of the vocabulary beyond them are never chosen"""
    logits = model(torch.tensor([prompt])).logits[0].numpy()
    rows = [{"pos": p, "logits": [float(f"{v:.9g}") for v in logits[p]]} for p in (0, 17, 40, len(prompt) - 1)]
    greedy, ids, gap = [], list(prompt), float("inf")
    for _ in range(40):
        last = model(torch.tensor([ids])).logits[0, -1].numpy()[:n_token]
        best = np.sort(last)[-2:]
        gap = min(gap, float(best[1] - best[0]))
        greedy.append(int(last.argmax()))
        ids.append(greedy[-1])
    return {"prompt": prompt, "rows": rows, "greedy": greedy, "gap": gap}


def main():
    torch.set_num_threads(1)
    tokenizer, tokens, merges = train_tokenizer()
    model = build_model(len(tokens))
    write_gguf(os.path.join(GOLDEN, "tiny-llama.gguf"), model, tokens, merges)
    write_seed(os.path.join(os.path.dirname(GOLDEN), "fuzz", "corpus", "gguf", "micro-llama.gguf"), tokens, merges)
    prompt = tokenizer.encode("A reader asks 3 questions, and each answer is weighed: brevity 40, facts 35, tone 25. "
                              * 3).ids[:64]
    out = golden(model, prompt, len(tokens))
    with open(os.path.join(GOLDEN, "tiny-llama.json"), "w") as f:
        json.dump(out, f)
        f.write("\n")
    print(f"{len(tokens)} tokens, logits {np.std(out['rows'][-1]['logits']):.2f} std, greedy {out['greedy']}, gap "
          f"{out['gap']:.4f}")


if __name__ == "__main__":
    main()
