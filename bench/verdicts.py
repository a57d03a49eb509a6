#!/usr/bin/env python3
"""Do int8 and bf16 give the same verdicts? Judges the same requests with both, and compares with what another seed
changes.

    bench/verdicts.py                                 42 requests x 8 chains, four runs
    bench/verdicts.py --rows 6 --ind 2                a quick look

Requests are those of bench/chains.py (real preference data). Runs: bf16 and int8, each with two seeds. Two dtypes at
one seed use the same random numbers, but a chain that parts from its double at one token goes on differently, so the
right measure is the disagreement of two seeds of one dtype: the noise floor of so many chains. Compared are the best
response (ties and no verdict count as one more answer) and the mean scores of the responses."""
import itertools
import json
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import chains  # noqa: E402
import measure  # noqa: E402

SEEDS = (0, 1_000_000)  # added to the seed of every request


def judge(args, dtype, entries, seed):
    """Results by request."""
    requests = [dict(e[0], seed=e[0]["seed"] + seed) for e in entries]
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        file = pathlib.Path(folder) / "requests.jsonl"
        file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests), encoding="utf-8")
        run = measure.Program(args, dtype).run("score", "--json", "-q", "--ind", args.ind, file, accept=(0, 3))
    return {r["id"]: r for r in run.values()}, run


def answer(result):
    return "tie" if result["tie"] else result["best"]


def scores(result):
    return [r["score"] for r in result["responses"]]


def compare(a, b):
    """Share of requests with the same answer, its standard error, mean |difference| of scores, mean difference (b -
    a)."""
    ids = sorted(a.keys() & b.keys())
    same = [float(answer(a[i]) == answer(b[i])) for i in ids]
    diffs = [y - x for i in ids for x, y in zip(scores(a[i]), scores(b[i])) if x is not None and y is not None]
    error = (statistics.pvariance(same) / len(same)) ** 0.5
    return statistics.fmean(same), error, statistics.fmean(map(abs, diffs)), statistics.fmean(diffs)


def main():
    p = chains.parser(__doc__)
    p.add_argument("--rows", type=int, default=42, help="requests, a third from each data set (default: 42)")
    p.add_argument("--ind", type=int, default=8, help="chains per request (default: 8)")
    p.add_argument("--dtypes", default="bf16,int8", help="two of auto, exact, f32, bf16, int8 (default: bf16,int8)")
    p.add_argument("--draw", default="1", help="seed of the rows and their histories (default: 1)")
    args = p.parse_args()
    if not (args.data / "prism.jsonl").exists():
        sys.exit(f"{args.data}: no prism.jsonl there, name the folder with --data")

    entries, runs = chains.build(args.data, args.rows, args.draw), {}
    places = {e[0]["id"]: e[1] for e in entries}
    print(f"{measure.machine()}\n{len(entries)} requests x {args.ind} chains\n")
    table = measure.Table()
    for dtype, (k, seed) in itertools.product(args.dtypes.split(","), enumerate(SEEDS)):
        results, run = judge(args, dtype, entries, seed)
        runs[dtype, k] = results
        right = statistics.fmean(chains.verdict_points(r, places[i]) for i, r in results.items())
        table.add(f"{dtype}, seeds {'AB'[k]}: judged; accuracy; ties",
                  f"{len(results)}; {right:.3f}; {sum(r['tie'] for r in results.values())}", "all",
                  len(results) == len(entries))
        table.add("  processor time", f"{run.cpu:.1f} s")
    for (x, a), (y, b) in itertools.combinations(runs.items(), 2):
        same, error, distance, shift = compare(a, b)
        name = f"{x[0]} {'AB'[x[1]]} and {y[0]} {'AB'[y[1]]}" + (" (noise floor)" if x[0] == y[0] else ", same seeds"
                                                                 if x[1] == y[1] else "")
        table.add(f"{name}: same best", f"{same:.3f} +- {error:.3f}")
        table.add("  scores: mean |difference|, mean difference", f"{distance:.3f}, {shift:+.3f}")
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
