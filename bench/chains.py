#!/usr/bin/env python3
"""Measures about 1,000 chains of judgement over varied requests made from real preference data.

    bench/chains.py                                   63 requests x 16 chains
    bench/chains.py --rows 6 --ind 2                  a quick look

Takes test rows of ../shared/data (PRISM, MT-bench votes, polis; spread over users and questions), puts
the chosen response at a random place and the user's train rows into user.history: none, a few or many; some requests
tell demographics, and some are made multi-turn by an earlier exchange of the same user (the data's own rows are
single-turn). The row to judge and its history share no conversation (MT-bench: no question either) and no response
text. The requests go to a temporary folder; one `pgenrm score --json --chains` judges them all. Ends with 1 if a chain
failed or was lost."""
import argparse
import collections
import gzip
import json
import math
import pathlib
import random
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402

FILES = {"prism": "prism.jsonl", "mt_bench": "mt_bench.jsonl", "polis": "polis.jsonl.gz"}
HISTORY_SIZES = [0, 1, 2, 3, 5, 8]  # in turn
DEMOGRAPHICS_EVERY = 2              # of the PRISM requests
TURNS_EVERY = 4                     # of each set's requests


# ---- requests ----

def read_rows(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def question_of(row):
    """Rows with equal values share a conversation: MT-bench's two turns of a question do, though their ids differ."""
    name = row["conversation_id"]
    return name.rsplit("-", 1)[0] if name.startswith("mt") else name


def texts_of(row):
    return {row["chosen"]["content"], row["rejected"]["content"]}


def may_be_history(row, judged):
    return question_of(row) != question_of(judged) and not texts_of(row) & texts_of(judged)


def pick_rows(rows, n, rng):
    """n test rows in random order, those first whose user and question have not been seen before."""
    test = [r for r in rows if r["split"] == "test"]
    rng.shuffle(test)
    users, questions, ranked = collections.Counter(), collections.Counter(), []
    for row in test:
        rank = users[row["user_id"]] + questions[question_of(row)]
        users[row["user_id"]] += 1
        questions[question_of(row)] += 1
        ranked.append((rank, len(ranked), row))
    return [row for _, _, row in sorted(ranked, key=lambda r: r[:2])[:n]]


def request_of(row, place, i, number, train, demographics, rng):
    """The i-th request of its set, with the known choice at a place."""
    pairs = [r for r in train[row["user_id"]] if may_be_history(r, row)]
    rng.shuffle(pairs)
    size = HISTORY_SIZES[i % len(HISTORY_SIZES)]
    earlier = pairs.pop() if i % TURNS_EVERY == TURNS_EVERY - 1 and pairs else None
    user = {"id": row["user_id"],
            "history": [{"context": p["context"], "chosen": p["chosen"]["content"],
                         "rejected": p["rejected"]["content"]} for p in pairs[:size]]}
    if i % DEMOGRAPHICS_EVERY == 0 and row["user_id"] in demographics:
        user["demographics"] = demographics[row["user_id"]]
    responses = [row["chosen"]["content"], row["rejected"]["content"]]
    if place == 1:
        responses.reverse()
    before = earlier["context"] + [{"role": "assistant", "content": earlier["chosen"]["content"]}] if earlier else []
    request = {"id": f"{number}", "user": user, "messages": before + row["context"], "responses": responses,
               "seed": number}
    return request


def build(data, n_row, seed):
    """(request, place of the choice, data set) per row, the sets in turn."""
    demographics = {r["user_id"]: r["demographics"] for r in read_rows(data / "prism_users.jsonl")}
    lists = []
    for k, (name, file) in enumerate(FILES.items()):
        rows, rng = read_rows(data / file), random.Random(f"{seed} {name}")
        train = collections.defaultdict(list)
        for r in rows:
            if r["split"] == "train":
                train[r["user_id"]].append(r)
        n = n_row // len(FILES) + (k < n_row % len(FILES))
        picked, places = pick_rows(rows, n, rng), [i % 2 for i in range(n)]
        rng.shuffle(places)
        lists.append([(request_of(row, place, i, i * len(FILES) + k, train, demographics, rng), place, name)
                      for i, (row, place) in enumerate(zip(picked, places))])
    return [entry for group in zip(*[x + [None] * (max(map(len, lists)) - len(x)) for x in lists]) for entry in group
            if entry]


# ---- what came back ----

def verdict_points(result, place):
    """1 right, 0 wrong, a half for a tie or no verdict."""
    if result["best"] is None or result["tie"]:
        return 0.5
    return float(result["best"] == place)


def longest_points(request, place):
    mine, other = len(request["responses"][place]), len(request["responses"][1 - place])
    return 0.5 if mine == other else float(mine > other)


def clustered_mean(points, users):
    """Mean and its standard error, clustered by user."""
    mean = statistics.fmean(points)
    sums = collections.defaultdict(float)
    for p, u in zip(points, users):
        sums[u] += p - mean
    n = len(sums)
    return mean, math.sqrt(sum(s * s for s in sums.values()) * n / max(n - 1, 1)) / len(points)


def share(part, whole):
    return f"{part} ({100 * part / whole:.1f} %)" if whole else f"{part}"


def report_chains(results, table):
    samples = [s for r in results for s in r["samples"]]
    chains = [r["chains"]["ind"] for r in results]
    requested, parsed, cut, failed = (sum(c[key] for c in chains) for key in ("requested", "parsed", "cut", "failed"))
    table.add("chains requested", requested)
    table.add("chains returned", len(samples), "all", len(samples) == requested)
    table.add("parsed", share(parsed, requested), "all", parsed == requested)
    table.add("failed", share(failed, requested), "0", failed == 0)
    for reason, n in collections.Counter(s["reason"] or "no reason given" for s in samples
                                         if not s["parsed"]).most_common(8):
        table.add(f"  {reason[:70]}", n)
    table.add("cut at the token limit", share(cut, requested))
    table.add("  of these parsed", sum(s["cut"] and s["parsed"] for s in samples))
    table.add("counts of the results against their samples", "equal" if parsed == sum(s["parsed"] for s in samples)
              and cut == sum(s["cut"] for s in samples) else "different",
              "equal", parsed == sum(s["parsed"] for s in samples) and cut == sum(s["cut"] for s in samples))
    wrong = sum(r["chains"]["arithmetic_wrong"] * r["chains"]["ind"]["parsed"] for r in results
                if r["chains"]["arithmetic_wrong"] is not None)
    table.add("declared differs from recomputed", share(round(wrong), parsed))
    flips = [r["chains"]["flip_rate"] for r in results if r["chains"]["flip_rate"] is not None]
    table.add("flip rate, mean over requests", f"{statistics.fmean(flips):.3f} (n {len(flips)})" if flips else "none")
    lengths = sorted(s["tokens"] for s in samples)
    if lengths:
        table.add("tokens of a chain: median, 95 %, longest",
                  f"{lengths[len(lengths) // 2]}, {lengths[int(0.95 * (len(lengths) - 1))]}, {lengths[-1]}")
    table.add("different chain texts", len({s["text"] for s in samples}))


def report_accuracy(entries, results, table):
    for name in [*FILES, "all"]:
        chosen = [(e, r) for e, r in zip(entries, results) if name in (e[2], "all")]
        if not chosen:
            continue
        users = [e[0]["user"]["id"] for e, _ in chosen]
        points, longest = [verdict_points(r, e[1]) for e, r in chosen], [longest_points(e[0], e[1]) for e, _ in chosen]
        mean, se = clustered_mean(points, users)
        mean_longest, se_longest = clustered_mean(longest, users)
        table.add(f"accuracy, {name} (n {len(chosen)}, ties {sum(r['tie'] for _, r in chosen)}, no verdict "
                  f"{sum(r['best'] is None for _, r in chosen)})",
                  f"{mean:.3f} +- {se:.3f}")
        table.add("  longest answer wins", f"{mean_longest:.3f} +- {se_longest:.3f}")


def report_cost(run, results, table):
    usage = [r["usage"] for r in results]
    prompt, cached, written = (sum(u[key] for u in usage)
                               for key in ("prompt_tokens", "cached_tokens", "completion_tokens"))
    table.add("prompt tokens (of them cached)", f"{prompt} ({cached})")
    table.add("tokens written", written)
    table.add("texts shortened, requests with one",
              f"{sum(len(r.get('clipped', [])) for r in results)}, {sum(bool(r.get('clipped')) for r in results)}")
    table.add("wall clock", f"{run.wall:.1f} s")
    table.add("processor time", f"{run.cpu:.1f} s")
    table.add("tokens written per second of wall clock", f"{written / run.wall:.1f}")
    table.add("seconds from the call to a result, median", f"{statistics.median(r['seconds'] for r in results):.2f}")
    table.add("peak memory", f"{run.peak_mib:.0f} MiB")


def parser(about):
    """That of a measurement on the data sets: what all of tools/measure.py take, and where the data lie."""
    first, _, more = about.partition("\n")
    p = argparse.ArgumentParser(description=first, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--data", type=pathlib.Path, default=measure.ROOT.parent / "shared" / "data",
                   help="folder of the data (default: ../shared/data)")
    return p


def main():
    p = parser(__doc__)
    p.add_argument("--rows", type=int, default=63, help="requests, a third from each data set (default: 63)")
    p.add_argument("--ind", type=int, default=16, help="chains per request (default: 16)")
    p.add_argument("--dtype", default="auto", choices=["auto", "exact", "f32", "bf16", "int8"])
    p.add_argument("--frame", help="prompt frame (default: the program's)")
    p.add_argument("--draw", default="1", help="seed of the rows and their histories (default: 1)")
    p.add_argument("--keep", type=pathlib.Path, metavar="FOLDER",
                   help="also write requests and results here, outside the repository")
    args = p.parse_args()
    if args.keep and measure.ROOT in [args.keep.resolve(), *args.keep.resolve().parents]:
        p.error("--keep: the data may not enter the repository, expected a folder outside it")
    if not (args.data / "prism.jsonl").exists():
        sys.exit(f"{args.data}: no prism.jsonl there, name the folder with --data")

    program, entries = measure.Program(args, args.dtype), build(args.data, args.rows, args.draw)
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        file = pathlib.Path(folder) / "requests.jsonl"
        file.write_text("".join(json.dumps(e[0], ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")
        frame = ["--frame", args.frame] if args.frame else []
        run = program.run("score", "--json", "-q", "--chains", "--ind", args.ind, *frame, file, accept=(0, 3))
    results = run.values()
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
        (args.keep / "requests.jsonl").write_text("".join(json.dumps(e[0], ensure_ascii=False) + "\n" for e in entries),
                                                  encoding="utf-8")
        (args.keep / "results.jsonl").write_text(run.stdout, encoding="utf-8")

    by_id = {r["id"]: r for r in results}
    lost = [e for e in entries if e[0]["id"] not in by_id]
    done = [e for e in entries if e[0]["id"] in by_id]
    results = [by_id[e[0]["id"]] for e in done]
    print(f"{measure.machine()}\n{' '.join(run.argv[:1])} score --json --chains --ind {args.ind} --dtype {args.dtype} "
          f"-t {args.threads}, {len(entries)} requests, exit status {run.rc}\n")
    if lost:
        print(f"not judged: {', '.join(e[0]['id'] for e in lost)}\n{run.stderr.strip()[:2000]}\n")
    table = measure.Table()
    table.add("requests judged", f"{len(done)} of {len(entries)}", "all", not lost)
    table.add("  with history, demographics, several turns", ", ".join(str(sum(map(has, entries))) for has in (
        lambda e: bool(e[0]["user"]["history"]), lambda e: "demographics" in e[0]["user"],
        lambda e: len(e[0]["messages"]) > 1)))
    if results:
        report_chains(results, table)
        report_accuracy(done, results, table)
        report_cost(run, results, table)
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
