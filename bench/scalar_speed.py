#!/usr/bin/env python3
"""Measures a reward model's tokens per second: `pgenrm bench --methods scalar` against PyTorch (transformers), the same
conversations, in one run, in turn.

    ~/.cache/pgenrm-peers/venv_ov/bin/python bench/scalar_speed.py        64 pairs of prism, 5 repeats, medians

The model is that of --base (default: the default model as a folder, made by bench/peers/install.sh) with a random score
head, written to a temporary folder. PyTorch gets the conversations sorted by length in padded batches of --batch, sdpa
attention, as many threads. The time of both begins with text and ends with scores; loading is left out. Tokens are
those of both conversations of every pair, on either side: pgenrm computes once what the two have in common. Ends with 1
if tokens differ, or a pair's difference of scores in fp32."""
import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402

TORCH = {"f32": torch.float32, "bf16": torch.bfloat16}
# Bound of a pair's gap in fp32: sums in another order over 30 layers, as for logits (tools/compare_transformers.py).
# What rounded arithmetics do under a random head is reported only: the model was not trained to hold its direction.
EXACT = 1e-3


def take_rows(path, n):
    rows = []
    for line in open(path, encoding="utf-8"):
        row = json.loads(line)
        if row.get("split") == "test" and row["chosen"]["content"] != row["rejected"]["content"]:
            rows.append(row)
    return rows[::max(1, len(rows) // n)][:n]


def make_model(base, folder):
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(base)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = pad
    with torch.no_grad():
        model.score.weight.normal_(0, 1 / model.config.hidden_size ** 0.5)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def conversations(rows):
    return [row["context"] + [{"role": "assistant", "content": row[key]["content"]}]
            for row in rows for key in ("chosen", "rejected")]


class Torch:
    def __init__(self, folder, dtype, batch):
        self.batch = batch
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=TORCH[dtype],
                                                                        attn_implementation="sdpa").eval()

    def run(self, talks):
        """seconds, tokens, scores"""
        start = time.monotonic()
        texts = [self.tokenizer.apply_chat_template(t, tokenize=False) for t in talks]
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        scores, pad = [0.0] * len(ids), self.model.config.pad_token_id
        with torch.inference_mode():
            for at in range(0, len(order), self.batch):
                part = order[at:at + self.batch]
                n = max(len(ids[i]) for i in part)
                tokens = torch.tensor([ids[i] + [pad] * (n - len(ids[i])) for i in part])
                mask = torch.tensor([[1] * len(ids[i]) + [0] * (n - len(ids[i])) for i in part])
                for i, v in zip(part, self.model(tokens, attention_mask=mask).logits[:, 0].float().tolist()):
                    scores[i] = v
        return time.monotonic() - start, sum(map(len, ids)), scores


def run_ours(program, folder, data, out):
    run = program.run("bench", "-q", "--json", "--methods", "scalar", "--scalar", folder, "--out", out, data)
    row = next(r for r in run.values() if r["method"] == "scalar")
    verdicts = [json.loads(line) for line in open(pathlib.Path(out) / "verdicts.jsonl", encoding="utf-8")]
    gap = {v["row"]: math.log(v["p"] / (1 - v["p"])) for v in verdicts if v["method"] == "scalar"}
    return row["seconds"], row["prompt_tokens"], [gap[i] for i in sorted(gap)]


def measure_all(args, folder, data, talks, scratch):
    peers = {name: Torch(folder, name, args.batch) for name in args.torch}
    ours = {name: measure.Program(args, name) for name in args.dtype}
    runs, n = {}, 0
    for repeat in range(args.repeats):
        for name, peer in peers.items():
            runs.setdefault(f"PyTorch {name}", []).append(peer.run(talks))
        for name, program in ours.items():
            n += 1
            runs.setdefault(f"pgenrm {name}", []).append(run_ours(program, folder, data, f"{scratch}/out-{n}"))
        for name, list_ in runs.items():
            print(f"{name:14} {list_[-1][0]:7.2f} s  load {os.getloadavg()[0]:.1f}", flush=True)
    return runs


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--base", type=pathlib.Path, default=pathlib.Path.home() / ".cache/pgenrm-peers/hf")
    p.add_argument("--data", type=pathlib.Path, default=measure.ROOT.parent / "shared/data/prism.jsonl")
    p.add_argument("--rows", type=int, default=64, help="pairs (default: 64)")
    p.add_argument("--batch", type=int, default=16, help="conversations of a batch of PyTorch's (default: 16)")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--torch", nargs="+", default=["f32", "bf16"], choices=sorted(TORCH))
    p.add_argument("--dtype", nargs="+", default=["f32", "bf16", "int8"], choices=["exact", "f32", "bf16", "int8"])
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    rows = take_rows(args.data, args.rows)
    talks = conversations(rows)
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as scratch:
        folder, data = f"{scratch}/reward", f"{scratch}/pairs.jsonl"
        make_model(args.base, folder)
        pathlib.Path(data).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows),
                                      encoding="utf-8")
        print(f"{measure.machine()}\n{len(rows)} pairs of {args.data.name}, -t {args.threads}, batches of {args.batch} "
              f"(PyTorch), medians of {args.repeats}\n")
        runs = measure_all(args, folder, data, talks, scratch)

    table = measure.Table()
    speeds = {name: statistics.median(r[1] / r[0] for r in list_) for name, list_ in runs.items()}
    best = max(speed for name, speed in speeds.items() if name.startswith("PyTorch"))
    _, tokens, scores = runs[f"PyTorch {args.torch[0]}"][0]
    spread = statistics.stdev(a - b for a, b in zip(scores[::2], scores[1::2]))
    for name, speed in speeds.items():
        table.add(f"{name}: tokens/s, times the best of PyTorch", f"{speed:.0f}, {speed / best:.2f}")
    for name in args.dtype:
        _, n, gaps = runs[f"pgenrm {name}"][0]
        errors = [g - (a - b) for g, a, b in zip(gaps, scores[::2], scores[1::2])]
        table.add(f"pgenrm {name}: tokens", n, str(tokens), n == tokens)
        worst, rms = max(map(abs, errors)), statistics.fmean(e * e for e in errors) ** 0.5 / spread
        exact = name in ("exact", "f32")
        table.add(f"pgenrm {name}: error of a pair's gap, largest, rms over its spread {spread:.2g}",
                  f"{worst:.2g}, {rms:.2g}", f"{EXACT:g}" if exact else "", worst <= EXACT if exact else None)
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
