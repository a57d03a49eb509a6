#!/usr/bin/env python3
"""The ladder of taste: every stage and what is left out of it, learnt and asked alike, over several seeds.

    bench/ladder.py --pgenrm build/pgenrm --seeds 3,4,5 --out LADDER synth.jsonl unseen.jsonl

synth.jsonl is learnt from, unseen.jsonl (users of tastes that were held out) is asked about: docs/synth.md makes both.
A seed is one of training and of which pairs are shown. The model is the default one; a rung whose adapter and
evaluation are there is not run again, so a killed run goes on. Prints a table in markdown: means over the seeds, and
against psi the mean difference with its standard error over the seeds.
"""
import argparse
import json
import math
import pathlib
import subprocess
import sys

PSI = ["--steps", "160"]
MORE = ["--steps", "60"]
NOTHING = ["--steps", "1", "--lr", "1e-9", "--taste-lr", "1e-9", "--batch", "1", "--users", "1"]
# name, stage, whether it goes on from psi, its options, what a reader calls it
RUNGS = [
    ("base", "psi", False, NOTHING, "the model as it is"),
    ("psi", "psi", False, PSI, "**psi**: cross-entropy and Bradley-Terry"),
    ("ce", "psi", False, [*PSI, "--bt-weight", "1e-9"], "... without Bradley-Terry"),
    ("turned", "psi", False, [*PSI, "--turned", ".5"], "... half of the users turned round"),
    ("more", "psi", True, [*MORE, "--taste-lr", "5e-4"], "psi, then 60 steps more of it"),
    ("cre", "cre", True, MORE, "psi, then **cre**"),
    ("cre_noprocess", "cre", True, [*MORE, "--alpha", "0"], "... without the process reward"),
    ("cre_nooutcome", "cre", True, [*MORE, "--beta", "0"], "... without the outcome reward"),
    ("cre_together", "cre", True, [*MORE, "--alpha", "0", "--together"], "... its outcome what it adds to all"),
    ("hncl", "hncl", True, MORE, "psi, then **hncl**: hard pairs 0 to .8"),
    ("hncl_flat", "hncl", True, [*MORE, "--hard-from", "0.5", "--hard-to", "0.5"], "... flat: .5 throughout"),
    ("hncl_easy", "hncl", True, [*MORE, "--hard-from", "0", "--hard-to", "0"], "... none of them hard"),
]
COLUMNS = ["own", "chain", "once", "stranger", "flipped", "rule", "agree"]


def read_metrics(folder):
    path = folder / "metrics.jsonl"
    if not path.exists():
        return [], None
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    ends = [row for row in rows if row.get("evaluation")]
    return rows, ends[-1] if ends else None


def run_rung(args, seed, rung):
    name, stage, goes_on, options, _ = rung
    folder = args.out / f"seed-{seed}" / name
    if read_metrics(folder)[1] and (folder / "adapter").exists():
        return
    init = ["--init", str(folder.parent / "psi" / "adapter")] if goes_on else []
    command = [args.pgenrm, "train", stage, f"taste={args.learn}", "--eval", f"taste={args.ask}", "--eval-every", "0",
               "--eval-limit", "190", "--eval-pairs", str(args.pairs), "--seed", str(seed), "-t", str(args.threads),
               "--save-minutes", "2", "--no-fit", "--resume", "--out", str(folder), *init, *options]
    print(" ".join(command), file=sys.stderr, flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{name}.log", "a") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)


def mean_error(values):
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1) / len(values))


def number(x):
    return "" if math.isnan(x) else f"{x:.3f}".replace("0.", ".", 1)


def late(rows, key):
    """The mean of a metric over the last ten steps of a run: NaN where it has none."""
    values = [row[key] for row in rows if key in row][-10:]
    return sum(values) / len(values) if values else math.nan


def print_table(args):
    found = {(seed, name): read_metrics(args.out / f"seed-{seed}" / name) for seed in args.seeds for name, *_ in RUNGS}
    print("| what | seeds | " + " | ".join(COLUMNS) + " | own less psi's | own less the rule | rule on what counts |")
    print("|---" * (len(COLUMNS) + 5) + "|")
    for name, _, _, _, title in RUNGS:
        seeds = [s for s in args.seeds if found[s, name][1]]
        if not seeds:
            continue
        of = lambda n, key, s: found[s, n][1][f"taste/{key}"]
        cells = [number(mean_error([of(name, c, s) for s in seeds])[0]) for c in COLUMNS]
        beside = [s for s in seeds if found[s, "psi"][1] and name != "psi"]
        for pairs in ([of(name, "own", s) - of("psi", "own", s) for s in beside],
                      [of(name, "own", s) - of(name, "rule", s) for s in seeds]):
            mean, error = mean_error(pairs) if pairs else (math.nan, math.nan)
            cells.append(f"{mean:+.3f}".replace("0.", ".", 1) + f" ({number(error)})" if pairs else "")
        cells.append(number(mean_error([late(found[s, name][0], "rewards/outcome/rule") for s in seeds])[0]))
        print(f"| {title} | {len(seeds)} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("learn")
    parser.add_argument("ask")
    parser.add_argument("--pgenrm", default="build/pgenrm")
    parser.add_argument("--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[3, 4, 5])
    parser.add_argument("--pairs", type=int, default=6, help="shown of a user in evaluations")
    parser.add_argument("--rungs", type=lambda text: text.split(","), help="only these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    args = parser.parse_args()
    order = sorted(RUNGS, key=lambda rung: rung[0] != "psi")  # psi first: others go on from it
    for seed in args.seeds if not args.table else []:
        for rung in order:
            if not args.rungs or rung[0] in args.rungs:
                run_rung(args, seed, rung)
    print_table(args)


if __name__ == "__main__":
    main()
