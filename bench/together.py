#!/usr/bin/env python3
"""Measures requests of many users judged one by one against all of them in one batch.

    bench/together.py                        32 requests x 4 chains, 3 repeats in turn, minima

The requests are those of bench/chains.py. One by one is `score --deadline 100000`: with a deadline every request is
judged alone (one call of the library each, prefixes shared over the calls); the other run is the same without it. Ends
with 1 if the chains differ."""
import json
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import chains  # noqa: E402
import measure  # noqa: E402

WAYS = {"one by one": ["--deadline", 100000], "together": []}


def main():
    p = chains.parser(__doc__)
    p.add_argument("--rows", type=int, default=32, help="requests (default: 32)")
    p.add_argument("--ind", type=int, default=4, help="chains per request (default: 4)")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--dtype", default="auto", choices=["auto", "exact", "f32", "bf16", "int8"])
    args = p.parse_args()
    program, entries = measure.Program(args, args.dtype), chains.build(args.data, args.rows, "1")
    print(f"{measure.machine()}\nscore --ind {args.ind} --dtype {args.dtype} -t {args.threads}, {len(entries)} "
          f"requests, minima of {args.repeats}\n")

    runs = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        file = pathlib.Path(folder) / "requests.jsonl"
        file.write_text("".join(json.dumps(e[0], ensure_ascii=False) + "\n" for e in entries), encoding="utf-8")
        for _ in range(args.repeats):
            for way, words in WAYS.items():
                run = program.run("score", "--json", "-q", "--chains", "--ind", args.ind, *words, file, accept=(0, 3))
                runs[way].append(run)
                print(f"{way:10}  wall {run.wall:6.1f} s  processor {run.cpu:6.1f} s  load {os.getloadavg()[0]:.1f}",
                      flush=True)

    table = measure.Table()
    samples = {}
    for way in WAYS:
        results = runs[way][0].values()
        samples[way] = {r["id"]: r["samples"] for r in results}
        prompt, cached, written = (sum(r["usage"][key] for r in results)
                                   for key in ("prompt_tokens", "cached_tokens", "completion_tokens"))
        wall, cpu = min(r.wall for r in runs[way]), min(r.cpu for r in runs[way])
        table.add(f"{way}: wall clock, processor time", f"{wall:.1f} s, {cpu:.1f} s")
        table.add("  prompt tokens, of them cached, written", f"{prompt}, {cached}, {written}")
        table.add("  written per second of wall clock, of processor time", f"{written / wall:.0f}, {written / cpu:.0f}")
        table.add("  peak memory", f"{max(r.peak_mib for r in runs[way]):.0f} MiB")
    same = samples["one by one"] == samples["together"]
    table.add("chains of the two", "equal" if same else "different", "equal", same)
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
