#!/usr/bin/env python3
"""Measures time to the first token, total time and peak memory of the main job: `pgenrm score examples/request.json
--ind 8`.

Every repeat is a new process; medians are reported. Time to the first token counts from the start of the process to the
first sampled token. The result says `seconds` (the judging) and `first_token_s` (from the judging's start), so it is
wall clock - seconds + first_token_s: what is outside the judging (process start, opening the model, printing and exit)
is all counted as before the first token, which makes the number a little too large, never too small. The first call is
not counted: it brings the model's file into the page cache. Ends with 1 if a goal is missed."""
import argparse
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--request", default=str(measure.ROOT / "examples" / "request.json"),
                   help="default: examples/request.json")
    p.add_argument("--ind", type=int, default=8, help="chains (default: 8)")
    p.add_argument("--repeats", type=int, default=5, help="calls that count (default: 5)")
    p.add_argument("--dtype", default="auto", choices=["auto", "exact", "f32", "bf16", "int8"])
    p.add_argument("--first-token", type=float, default=2.0, metavar="S", help="goal in seconds (default: 2)")
    p.add_argument("--memory", type=float, default=700.0, metavar="MB", help="goal in megabytes (default: 700)")
    args = p.parse_args()

    program, rows = measure.Program(args, args.dtype), []
    print(f"{measure.machine()}\n{args.pgenrm} score {args.request} --ind {args.ind} --json --dtype {args.dtype} -t "
          f"{args.threads}, median of {args.repeats} after one call that is not counted")
    print("time to the first token = wall clock - seconds + first_token_s of the result (--help says why)\n")
    for k in range(args.repeats + 1):
        run = program.run("score", args.request, "--ind", args.ind, "--json", "-q", accept=(0, 3))
        result = run.values()[0]
        outside = run.wall - result["seconds"]
        row = {"first": outside + result["first_token_s"], "outside": outside, "judging": result["first_token_s"],
               "total": run.wall,
               "cpu": run.cpu,
               "memory": run.peak_mib * 2**20 / 1e6, "tokens": result["usage"]["completion_tokens"],
               "prompt": result["usage"]["prompt_tokens"] - result["usage"]["cached_tokens"]}
        print(f"{'not counted' if k == 0 else f'call {k}':11}  first token {row['first']:6.2f} s  total "
              f"{row['total']:6.2f} s  memory {row['memory']:6.0f} MB")
        if k:
            rows.append(row)
    middle = {key: statistics.median(r[key] for r in rows) for key in rows[0]}

    print()
    table = measure.Table()
    table.add("start of the process to the first token", f"{middle['first']:.2f} s", f"< {args.first_token:g} s",
              middle["first"] < args.first_token)
    table.add("  outside the judging: start, opening the model, exit", f"{middle['outside']:.2f} s")
    table.add(f"  reading {middle['prompt']:.0f} prompt tokens", f"{middle['judging']:.2f} s")
    table.add("start to the end", f"{middle['total']:.2f} s")
    table.add("  processor time of all threads", f"{middle['cpu']:.2f} s")
    table.add("tokens written", f"{middle['tokens']:.0f}")
    table.add("  per second after the first", f"{middle['tokens'] / max(middle['total'] - middle['first'], 1e-9):.1f}")
    table.add("peak memory (resident)", f"{middle['memory']:.0f} MB", f"< {args.memory:g} MB",
              middle["memory"] < args.memory)
    table.add("  largest", f"{max(r['memory'] for r in rows):.0f} MB")
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
