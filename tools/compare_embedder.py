#!/usr/bin/env python3
"""Compares `pgenrm embed` with Hugging Face transformers (PyTorch, fp32) on 200 sentences, then times both in turn.

    tools/compare_embedder.py [BUILD [THREADS]]    build folder (build), threads (2); needs torch and transformers, and
    `make embedder`

Sentences: a list made here of many lengths, scripts and oddities, and where ../shared/data/mt_bench.jsonl is there
every second one from it. Largest difference of a component must be below 1e-5. Times: both with as many threads, the
same batches of 32 texts, sorted by length; PyTorch pads each batch to its longest text. 5 repeats in turn after one
that does not count; the median. The texts are put to tokens inside the time on both sides.
"""
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import transformers
from tokenizers import Tokenizer

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build")
CACHE = os.environ.get("PGENRM_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME")
                                                      or os.path.expanduser("~/.cache"), "pgenrm")
MODEL = os.path.join(CACHE, "all-MiniLM-L6-v2")
N, BATCH, REPEATS, MAX_TOKENS, BOUND = 200, 32, 5, 256, 1e-5
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 2

ODD = ["", " ", "a", "A.", "ÀÉÎõü naïve façade", "Straße, groß, ßß", "日本語の文章です。", "中文混 English 混排", "Ελληνικά Σίσυφος",
       "Привет, мир!",
       "नमस्ते दुनिया", "안녕하세요 세계", "🙂👍🏽 emoji \u200d text", "tab\tand\x0bcontrol\x07bytes", "x" * 150,
       "supercalifragilisticexpialidocious " * 12,
       "1234567890 3.14159 1,000,000", "e-mail: a.b@c.org, http://example.org/?q=1&r=2", "((([[[{{{}}}]]])))",
       "İstanbul ıI ŞĞ", "ﬁligree ﬂow ½ ²",
       "don't can't won't it's", "[CLS is not a token] [MASK ]", "\u00a0non\u00a0breaking\u3000spaces",
       "الكتاب على الطاولة", "ไทยไม่มีช่องว่าง"]
WORDS = ("the reader asks a question and two answers come back one of them is longer with numbers warnings lists "
         "while other short warm funny polite "
         "judge weighs brevity facts tone persona rubric criteria history prefers dislikes because library recipe "
         "engine contract medicine planet "
         "Norwegian quarterly photosynthesis unreliable bicycle trustworthiness re-entry COVID-19 iPhone").split()


def sentences():
    rng = random.Random(7)
    made = [" ".join(rng.choice(WORDS)
                     for _ in range(int(2 ** rng.uniform(1, 6) if rng.random() < 0.97 else 230))) + rng.choice(
                         [".", "?", "!", " ..."]) for _ in range(N)]
    path = os.path.join(ROOT, "..", "shared", "data", "mt_bench.jsonl")
    if os.path.exists(path):
        real = []
        for line in open(path, encoding="utf-8"):
            real += [t for t in strings(json.loads(line)) if len(t) > 20]
        real = sorted(set(" ".join(t.split()) for t in real))
        made[1::2] = rng.sample(real, len(made[1::2]))
    return (ODD + made)[:N]


def strings(v):
    if isinstance(v, str):
        return [v]
    if isinstance(v, dict):
        v = list(v.values())
    return [s for x in v for s in strings(x)] if isinstance(v, list) else []


class Reference:
    def __init__(self):
        self.tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.enable_padding()
        self.model = transformers.AutoModel.from_pretrained(MODEL, dtype=torch.float32).eval()

    def embed(self, texts):
        encoded = self.tokenizer.encode_batch(texts)
        ids = torch.tensor([e.ids for e in encoded])
        mask = torch.tensor([e.attention_mask for e in encoded])
        with torch.inference_mode():
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(-1).float()
            return torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1), mask.sum(1)


def compare(reference, texts, path):
    out = subprocess.run([os.path.join(BUILD, "pgenrm"), "embed", "--json", "-q", "-m", MODEL, path], check=True,
                         capture_output=True, text=True).stdout
    ours = [json.loads(line) for line in out.splitlines()]
    assert len(ours) == len(texts), (len(ours), len(texts))
    worst, wrong = 0.0, 0
    for text, o in zip(texts, ours):
        want, tokens = reference.embed([text])
        worst = max(worst, (torch.tensor(o["embedding"], dtype=torch.float64) - want[0].double()).abs().max().item())
        wrong += o["tokens"] != tokens.item()
    cut = sum("cut" in o for o in ours)
    print(f"{len(texts)} sentences, {sum(o['tokens'] for o in ours)} tokens, {cut} cut: other numbers of tokens "
          f"{wrong}, largest difference {worst:.3g}"
          f" (bound {BOUND:g})", flush=True)
    return worst < BOUND and wrong == 0


def time_both(reference, texts, path):
    ours = subprocess.Popen([os.path.join(BUILD, "bench_embed"), MODEL, path, str(BATCH), str(THREADS)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_ours():
        ours.stdin.write("\n")
        ours.stdin.flush()
        return float(ours.stdout.readline())

    def run_reference():
        start = time.perf_counter()
        for i in range(0, len(texts), BATCH):
            reference.embed(texts[i:i + BATCH])
        return time.perf_counter() - start

    times = [(run_ours(), run_reference()) for _ in range(REPEATS + 1)][1:]
    ours.stdin.close()
    ours.wait()
    for name, t in zip(("pgenrm", f"PyTorch {torch.__version__}"), zip(*times)):
        m = statistics.median(t)
        print(f"{name}: {len(texts) / m:.0f} texts/s (median of {REPEATS}: {m:.3f} s, {min(t):.3f} to {max(t):.3f})")


def main():
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    os.environ["RAYON_NUM_THREADS"] = str(THREADS)
    subprocess.run(["cmake", "--build", BUILD, "--target", "bench_embed", "pgenrm"], check=True,
                   stdout=subprocess.DEVNULL)
    reference = Reference()
    texts = sentences()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "texts")
        with open(path, "w", encoding="utf-8", newline="\n") as f:
            f.write("".join(t.replace("\n", " ") + "\n" for t in texts))
        torch.set_num_threads(1)
        good = compare(reference, texts, path)
        torch.set_num_threads(THREADS)
        texts = sorted(texts, key=lambda t: len(reference.tokenizer.encode(t).tokens))
        reference.tokenizer.enable_padding()
        with open(path, "w", encoding="utf-8", newline="\n") as f:
            f.write("".join(t + "\n" for t in texts))
        time_both(reference, texts, path)
    return 0 if good else 1


sys.exit(main())
