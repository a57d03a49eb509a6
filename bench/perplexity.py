#!/usr/bin/env python3
"""How far a dtype's perplexity is from the exact one, window by window.

    bench/perplexity.py [--levels avx2,avx512] [--dtype int8] [--context 1024] TEXT...

Of every text and level: the difference of the mean log-probability per token to `exact` at the first level, in percent
of the perplexity, with its standard error over the windows; then of all texts together. Without the adapter."""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def logprobs(args, text, level, dtype):
    command = [args.pgenrm, "perplexity", text, "--dtype", dtype, "--context", str(args.context), "--lora", "none",
               "--json", "--per-token", "-q"]
    out = subprocess.run(command, env={**os.environ, "PGENRM_CPU": level}, check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)


def windows(exact, other):
    """(sum of differences, tokens) of each window, which begins with a token without a log-probability."""
    out = []
    for a, b in zip(exact, other):
        if a is None:
            out.append([0.0, 0])
        else:
            out[-1][0] += a - b
            out[-1][1] += 1
    return [w for w in out if w[1]]


def gap(list_):
    n = sum(w[1] for w in list_)
    mean = sum(w[0] for w in list_) / n
    error = math.sqrt(sum((w[0] - mean * w[1]) ** 2 for w in list_)) / n
    return f"{100 * math.expm1(mean):+.2f} % ({100 * error:.2f})"


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("texts", nargs="+", metavar="TEXT")
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    p.add_argument("--levels", default="avx2,avx512")
    p.add_argument("--dtype", default="int8")
    p.add_argument("--context", type=int, default=1024)
    args = p.parse_args()
    levels, all_ = args.levels.split(","), {}
    print(f"{'':24} {'tokens':>7} {'exact':>8}  " + "  ".join(f"{args.dtype + ', ' + x:>18}" for x in levels))
    total = 0
    for text in args.texts:
        exact = logprobs(args, text, levels[0], "exact")
        row = []
        for level in levels:
            w = windows(exact["logprobs"], logprobs(args, text, level, args.dtype)["logprobs"])
            all_.setdefault(level, []).extend(w)
            row.append(gap(w))
        total += len(exact["logprobs"])
        print(f"{pathlib.Path(text).name:24} {len(exact['logprobs']):7} {exact['perplexity']:8.3f}  "
              + "  ".join(f"{x:>18}" for x in row), flush=True)
    print(f"{'all of them':24} {total:7} {'':8}  " + "  ".join(f"{gap(all_[x]):>18}" for x in levels))


if __name__ == "__main__":
    sys.exit(main())
