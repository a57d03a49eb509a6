#!/usr/bin/env python3
"""What scores as expectations change: spread, ties and flips at m = 1, 4, 8, 16 chains, expected against declared.

    bench/expected.py --rows 20 --ind 32

Test rows of one data set become requests as bench/chains.py makes them; one `pgenrm score --chains --score expected`
writes their chains, and the totals that these declare are read from their texts: both kinds are of the same chains.
The chains of a request are cut into groups of m that follow each other. For every m and kind: the spread (standard
deviation between groups of their mean difference between the two responses), ties (groups whose two means are equal),
and flips (how often two groups of a request prefer different responses, a tie against a winner counted half)."""
import argparse
import itertools
import json
import os
import pathlib
import re
import statistics
import sys
import tempfile

import chains
from chains import measure

SIZES = (1, 4, 8, 16)
TOTAL = re.compile(r"^Total: A (\d+(?:\.\d+)?), B (\d+(?:\.\d+)?)\s*$", re.M)


def declared(sample):
    """What the chain states, in the request's order."""
    found = TOTAL.findall(sample["text"])
    by_place = [float(x) for x in found[-1]]
    return [by_place[sample["order"].index(r)] for r in range(2)]


def sign(x):
    return (x > 1e-9) - (x < -1e-9)


def measures(differences, m):
    """(spread, ties, flips) of one request."""
    groups = [statistics.fmean(differences[i:i + m]) for i in range(0, len(differences) - m + 1, m)]
    pairs = list(itertools.combinations(map(sign, groups), 2))
    flips = [1.0 if a * b < 0 else 0.5 if (a == 0) != (b == 0) else 0.0 for a, b in pairs]
    return (statistics.stdev(groups) if len(groups) > 1 else None, statistics.fmean(g == 0 for g in map(sign, groups)),
            statistics.fmean(flips) if flips else None)


def mean_of(values):
    known = [v for v in values if v is not None]
    return f"{statistics.fmean(known):.3f}" if known else ""


def report(results):
    kinds = {"expected": [], "declared": []}
    for r in results:
        samples = [s for s in r["samples"] if s["parsed"]]
        kinds["expected"].append([s["scores"][0] - s["scores"][1] for s in samples])
        kinds["declared"].append([a - b for a, b in map(declared, samples)])
    print("| m | kind | requests | spread | ties | flips |\n|---|---|---|---|---|---|")
    for m in SIZES:
        for kind, lists in kinds.items():
            spread, ties, flips = zip(*[measures(d, m) for d in lists if len(d) >= m])
            n = [sum(v is not None for v in x) for x in (spread, ties)]
            print(f"| {m} | {kind} | {n[0]} (ties {n[1]}) | {mean_of(spread)} | {mean_of(ties)} | {mean_of(flips)} |")
    agree = statistics.fmean(sign(statistics.fmean(a)) == sign(statistics.fmean(b)) for a, b in zip(*kinds.values()))
    print(f"\nverdicts of all chains that agree between the two kinds: {agree:.2f}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--data", type=pathlib.Path, default=measure.ROOT.parent / "shared" / "data")
    p.add_argument("--set", default="prism", choices=chains.FILES, help="whose test rows (default: prism)")
    p.add_argument("--rows", type=int, default=20)
    p.add_argument("--ind", type=int, default=32, help="chains per request; 2 groups of 16 by default")
    p.add_argument("--dtype", default="auto", choices=["auto", "exact", "f32", "bf16", "int8"])
    p.add_argument("--draw", default="1", help="seed of the rows and their histories (default: 1)")
    p.add_argument("--results", type=pathlib.Path, nargs="+", help="lines of earlier calls in place of a new one")
    args = p.parse_args()
    if args.results:
        return report([json.loads(line) for f in args.results for line in f.read_text(encoding="utf-8").splitlines()])
    entries = [e for e in chains.build(args.data, 3 * args.rows, args.draw) if e[2] == args.set]

    program = measure.Program(args, args.dtype)
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        file = pathlib.Path(folder) / "requests.jsonl"
        file.write_text("".join(json.dumps(e[0], ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")
        run = program.run("score", "--json", "-q", "--chains", "--score", "expected",
                          "--frame", "compact-lines", "--ind",
                          args.ind, file, accept=(0, 3))
    print(f"{measure.machine()}\nPGENRM_CPU={os.environ.get('PGENRM_CPU', '')} {args.set}, {len(entries)} requests, "
          f"{args.ind} chains each, {run.wall:.0f} s, load {os.getloadavg()[0]:.0f}\n")
    return report(run.values())


if __name__ == "__main__":
    sys.exit(main())
