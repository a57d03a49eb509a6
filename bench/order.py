#!/usr/bin/env python3
"""Measures which order of a prompt's parts reuses most, and what it does to the verdicts.

    bench/order.py                           tokens to compute, six cases
    bench/order.py --accuracy                also 64 pairs x 4 chains for each order (minutes)

Three orders of the frame compact-lines's user message; the system message (instructions) stands before it in all:
    history first     about the user, query, responses (the frame as it is)
    query first       query, about the user, responses
    history last      query, responses, about the user
Tokens to compute are prompt_tokens - cached_tokens of one `score` over all requests of a case: what the prefix tree
finds, not an estimate. Pro prompts are the request with other users' histories. Chains of one token, by the model's
first layer alone (needs gguf): how many tokens there are to compute depends on neither."""
import argparse
import collections
import json
import pathlib
import random
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import chains  # noqa: E402
import measure  # noqa: E402

USER = ["{demographics}", "{criteria}", "{history}"]
QUERY, RESPONSES = "Question: {query}", "{responses}"
ORDERS = {"history first": [*USER, QUERY, RESPONSES], "query first": [QUERY, *USER, RESPONSES],
          "history last": [QUERY, RESPONSES, *USER]}
MIXED = "Ind, 8 other users with one chain each"
HISTORY = 6  # pairs, as many as the frame shows


def write_frames(folder):
    """Paths of frames by (order, with grammar): without one a chain may end after a token."""
    text = (measure.ROOT / "src" / "judge" / "frames" / "compact-lines.frame").read_text(encoding="utf-8")
    before = "\n".join(ORDERS["history first"])
    if text.count(before) != 1:
        sys.exit("src/judge/frames/compact-lines.frame: its [user] is not the one that this script rearranges")
    frames = {}
    for i, (name, parts) in enumerate(ORDERS.items()):
        whole = text.replace(before, "\n".join(parts))
        for grammar in (True, False):
            path = pathlib.Path(folder) / f"order-{i}-{int(grammar)}.frame"
            path.write_text(whole if grammar else whole[:whole.index("[grammar]")], encoding="utf-8")
            frames[name, grammar] = path
    return frames


def write_first_layer(source, target):
    """The same GGUF with one layer."""
    import gguf
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture":
            continue
        kind, value = field.types[0], 1 if name == f"{arch}.block_count" else field.contents()
        writer.add_key_value(name, value, kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        if tensor.name.startswith("blk.0.") or not tensor.name.startswith("blk."):
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# ---- requests ----

def pair_of(row):
    return {"context": row["context"], "chosen": row["chosen"]["content"], "rejected": row["rejected"]["content"]}


def request_of(name, row, pairs):
    return {"id": name, "user": {"id": row["user_id"], "history": [pair_of(p) for p in pairs[:HISTORY]]},
            "messages": row["context"], "ind": 2,
            "responses": [row["chosen"]["content"], row["rejected"]["content"]], "seed": 1}


def one_chain(request, i):
    """One chain alone, which sees every second request's responses reversed."""
    return {**request, "ind": 1, "responses": request["responses"][::-1] if i % 2 else request["responses"]}


def users_with_history(rows, n_test):
    """(test rows, train rows) of users that have enough of both, no conversation in both."""
    by_user = collections.defaultdict(lambda: ([], []))
    for r in rows:
        by_user[r["user_id"]][r["split"] == "train"].append(r)
    for test, train in by_user.values():
        test = test[:n_test]
        train = [p for p in train if all(chains.may_be_history(p, row) for row in test)]
        if len(test) == n_test and len(train) >= HISTORY:
            yield test, train


def cases(data, n):
    """{case: requests} from PRISM and MT-bench in equal parts."""
    out = {"one request per user": [], "8 queries of one user": [], "Ind, 1 other user": [], "Ind, 4 other users": [],
           "Ind, 8 other users": [], MIXED: []}
    for k, name in enumerate(("prism", "mt_bench")):
        rows = chains.read_rows(data / chains.FILES[name])
        random.Random(f"order {name}").shuffle(rows)
        singles = list(users_with_history(rows, 1))
        for i, (test, train) in enumerate(singles[:2 * n]):
            out["one request per user"].append(request_of(f"a{k}-{i}", test[0], train))
        for i, (test, train) in enumerate(list(users_with_history(rows, 8))[:n]):
            out["8 queries of one user"] += [request_of(f"b{k}-{i}-{q}", row, train) for q, row in enumerate(test)]
        for i, (test, train) in enumerate(singles[:n]):
            others = [t for _, t in singles[n:]]
            random.Random(f"others {name} {i}").shuffle(others)
            whole = [request_of(f"c{k}-{i}-{u}", test[0], t) for u, t in enumerate([train, *others[:8]])]
            out[MIXED] += [whole[0], *map(one_chain, whole[1:], range(8))]
            for m in (1, 4, 8):
                out[f"Ind, {m} other user{'s' * (m > 1)}"] += whole[:1 + m]
    return out


def write_requests(folder, requests):
    file = pathlib.Path(folder) / "requests.jsonl"
    file.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in requests), encoding="utf-8")
    return file


# ---- what is measured ----

def count_tokens(program, folder, frames, requests, words):
    """{order: (prompt tokens, of them computed)} over all requests."""
    out = {}
    for name in ORDERS:
        run = program.run("score", "--json", "-q", "--max-tokens", 1, "--frame", frames[name, False], *words,
                          write_requests(folder, requests), accept=(0, 3))
        usage = [r["usage"] for r in run.values()]
        if len(usage) != len(requests):
            sys.exit(f"{len(requests) - len(usage)} requests were not judged: {run.stderr.strip()[:1000]}")
        prompt = sum(u["prompt_tokens"] for u in usage)
        out[name] = prompt, prompt - sum(u["cached_tokens"] for u in usage)
    return out


def report_tokens(program, folder, frames, args):
    print("| case | requests | prompt tokens |" + "".join(f" {name} |" for name in ORDERS))
    print("|---|---|---|" + "---|" * len(ORDERS))
    for case, requests in cases(args.data, args.requests).items():
        if args.case not in case:
            continue
        for swap, words in (("both orders of the responses", []), ("one order", ["--no-swap"]))[:1 if case == MIXED
                                                                                                else 2]:
            counts = count_tokens(program, folder, frames, requests, words)
            base = counts["history first"][1]
            cells = " | ".join(f"{computed} ({100 * computed / base:.0f} %)" for _, computed in counts.values())
            print(f"| {case}, {swap} | {len(requests)} | {counts['history first'][0]} | {cells} |", flush=True)
    print()


def report_accuracy(program, folder, frames, args):
    entries = chains.build(args.data, args.rows, "order")
    users = [e[0]["user"]["id"] for e in entries]
    points, base = {}, None
    print(f"{len(entries)} pairs x {args.ind} chains; a tie counts as half; standard errors by user\n")
    print("| order | accuracy | minus history first | flip rate | chains that parsed | wall clock "
          "|\n|---|---|---|---|---|---|")
    for name in ORDERS:
        run = program.run("score", "--json", "-q", "--ind", args.ind, "--frame", frames[name, True],
                          write_requests(folder, [e[0] for e in entries]), accept=(0, 3))
        results = {r["id"]: r for r in run.values()}
        points[name] = [chains.verdict_points(results[e[0]["id"]], e[1]) for e in entries]
        base = base or points[name]
        mean, se = chains.clustered_mean(points[name], users)
        more, more_se = chains.clustered_mean([p - b for p, b in zip(points[name], base)], users)
        flips = [r["chains"]["flip_rate"] for r in results.values() if r["chains"]["flip_rate"] is not None]
        parsed, requested = (sum(r["chains"]["ind"][key] for r in results.values()) for key in ("parsed", "requested"))
        print(f"| {name} | {mean:.3f} +- {se:.3f} | {more:+.3f} +- {more_se:.3f} | {statistics.fmean(flips):.3f} | "
              f"{parsed} of {requested} | {run.wall:.0f} s |", flush=True)
    mean, se = chains.clustered_mean([chains.longest_points(e[0], e[1]) for e in entries], users)
    print(f"| longest answer wins | {mean:.3f} +- {se:.3f} | | | | |")


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--data", type=pathlib.Path, default=measure.ROOT.parent / "shared" / "data",
                   help="folder of the data (default: ../shared/data)")
    p.add_argument("--accuracy", action="store_true", help="judge pairs under each order, too")
    p.add_argument("--no-tokens", action="store_true", help="leave out the count of tokens")
    p.add_argument("--requests", type=int, default=3,
                   help="of each case and data set; twice and eight times as many for the first two (default: 3)")
    p.add_argument("--case", default="", metavar="WORDS", help="only cases with these words in their name")
    p.add_argument("--rows", type=int, default=64, help="pairs (default: 64)")
    p.add_argument("--ind", type=int, default=4, help="chains per pair (default: 4)")
    p.add_argument("--dtype", default="auto", choices=["auto", "exact", "f32", "bf16", "int8"])
    args = p.parse_args()
    print(f"{measure.machine()}\n")
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        frames = write_frames(folder)
        if args.accuracy:
            report_accuracy(measure.Program(args, args.dtype), folder, frames, args)
        if not args.no_tokens:
            write_first_layer(args.model or measure.default_model(), f"{folder}/first.gguf")
            args.model = f"{folder}/first.gguf"
            report_tokens(measure.Program(args), folder, frames, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
