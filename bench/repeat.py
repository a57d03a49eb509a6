#!/usr/bin/env python3
"""Checks that the same seed gives the same chains: texts, tokens, log-probabilities and scores equal to the last digit.

Compared are 1 and 2 threads (score and generate), a chain among 2 and among 16 (score --ind), a sample alone and in a
batch of 16 (generate -n), a request alone and as one of several in a call, two calls that are the same; with --open,
prompts submitted while others run against the same prompts alone (`cmake --build build --target bench_job` builds the
worker); and that another seed gives other chains, so that the comparison can fail. Ends with 1 if anything differs."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402

CLOCKS = ("seconds", "first_token_s")
PROMPTS = [measure.PROMPTS[0], measure.PROMPTS[3]]


def without_clocks(result):
    return {key: value for key, value in result.items() if key not in CLOCKS}


def first_difference(a, b):
    """Where two lists of chains or samples part, in words."""
    if len(a) != len(b):
        return f"{len(a)} against {len(b)} chains"
    for i, (x, y) in enumerate(zip(a, b)):
        for key in x:
            if x[key] == y.get(key):
                continue
            if isinstance(x[key], (list, str)) and isinstance(y.get(key), (list, str)):
                at = next((k for k in range(min(len(x[key]), len(y[key]))) if x[key][k] != y[key][k]), "its end")
                return f"chain {i}, {key}, from {at}"
            return f"chain {i}, {key}: {x[key]} against {y.get(key)}"
    return ""


def add(table, what, a, b):
    where = first_difference(a, b)
    table.add(what, where or f"{len(a)} equal", "equal", not where)


def check_score(program, args, dtype, table):
    def score(ind, *files, **more):
        return program.run("score", "--json", "-q", "--chains", "--seed", more.pop("seed", 7), "--ind", ind, *files,
                           accept=(0, 3), **more).values()

    one, two = score(args.n, args.request, threads=1)[0], score(args.n, args.request, threads=2)[0]
    add(table, f"{dtype}: score, 1 and 2 threads", one["samples"], two["samples"])
    same = without_clocks(one) == without_clocks(two)
    table.add("  the whole result but its clocks", "equal" if same else "different", "equal", same)
    add(table, f"{dtype}: score, the same call again", two["samples"],
        score(args.n, args.request, threads=2)[0]["samples"])
    few = score(2, args.request, threads=2)[0]["samples"]
    add(table, f"{dtype}: score, --ind 2 against the first two of --ind {args.n}", few, two["samples"][:2])
    among = score(args.n, args.other, args.request, threads=2)
    add(table, f"{dtype}: score, a request alone and after another one", two["samples"], among[-1]["samples"])
    other = score(2, args.request, threads=2, seed=8)[0]["samples"]
    table.add(f"{dtype}: score, another seed", "other chains" if first_difference(few, other) else "the same chains",
              "other", bool(first_difference(few, other)))


def check_generate(program, args, dtype, folder, table):
    for k, prompt in enumerate(PROMPTS):
        def generate(n, threads):
            return program.generate(folder, prompt, "--raw", "--seed", 7, "-n", n, "--max-tokens", args.tokens,
                                    threads=threads)["samples"]

        batch = generate(args.n, 2)
        add(table, f"{dtype}: generate, prompt {k}, 1 and 2 threads", generate(args.n, 1), batch)
        add(table, f"{dtype}: generate, prompt {k}, sample 0 alone and among {args.n}", generate(1, 2), batch[:1])
        add(table, f"{dtype}: generate, prompt {k}, samples 0-4 of 5 and of {args.n}", generate(5, 2), batch[:5])
        table.add("  different texts among them", len({s["text"] for s in batch}), "> 1",
                  len({s["text"] for s in batch}) > 1)


class Jobs:
    """bench_job as a child: one line in, one line out."""

    def __init__(self, args, dtype, threads):
        model = args.model or measure.default_model()
        self.child = subprocess.Popen([args.bench_job, model, dtype, str(threads), "0"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.child.stdout.readline()

    def digests(self, groups, tokens, seed=7):
        self.child.stdin.write(json.dumps({"groups": groups, "tokens": tokens, "seed": seed}) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())["digests"]

    def close(self):
        self.child.stdin.close()
        self.child.wait()


def open_groups(program):
    """Short and long prompts, some with the same beginning: (ids, chains)."""
    texts = [measure.TEXT, *measure.PROMPTS[:4]]
    long, *short = [measure.ids_of(program.run("tokenize", "--json", "--", t).values()[0]) for t in texts]
    return [(long[:300], 5), (short[0], 3), (long[:200] + short[1], 4), (long, 2), (short[2], 6), (long[:300], 2),
            (short[3], 1)]


def check_open(program, args, dtype, table):
    made = [{"prompt": prompt, "n": n, "id": i} for i, (prompt, n) in enumerate(open_groups(program))]
    jobs = Jobs(args, dtype, 2)
    alone = [jobs.digests([g], args.tokens)[0] for g in made]
    for name, steps in (("all at once", 0), ("one each step", 1), ("one every 5 steps", 5), ("one every 23 steps", 23)):
        together = jobs.digests([g | {"after": i * steps} for i, g in enumerate(made)], args.tokens)
        same = sum(a == b for a, b in zip(alone, together))
        table.add(f"{dtype}: submitted while others run, {name}", f"{same} of {len(made)} equal to alone", "all",
                  same == len(made))
    differs = not set(jobs.digests(made, args.tokens, seed=8)) & set(alone)
    table.add("  another seed", "other chains" if differs else "the same chains", "other", differs)
    jobs.close()
    one = Jobs(args, dtype, 1)
    same = one.digests([g | {"after": 3 * i} for i, g in enumerate(made)], args.tokens) == alone
    table.add(f"{dtype}: submitted while others run, 1 thread against alone with 2", "equal" if same else "different",
              "equal", same)
    one.close()


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--request", default=str(measure.ROOT / "examples" / "request.json"),
                   help="default: examples/request.json")
    p.add_argument("--other", default=str(measure.ROOT / "examples" / "new_user.json"),
                   help="request judged before it (default: examples/new_user.json)")
    p.add_argument("-n", type=int, default=16, help="chains of the batch (default: 16)")
    p.add_argument("--tokens", type=int, default=64, help="tokens of a sample (default: 64)")
    p.add_argument("--dtype", default="auto",
                   help="arithmetic, several separated by commas: auto,exact,f32,bf16,int8 (default: auto)")
    p.add_argument("--open", action="store_true",
                   help="only: prompts submitted while others run, against the same alone")
    p.add_argument("--bench-job", default=str(measure.ROOT / "build" / "bench_job"), metavar="PROGRAM",
                   help="for --open (default: build/bench_job)")
    args = p.parse_args()

    table = measure.Table()
    print(f"{measure.machine()}\n{args.pgenrm}, --dtype {args.dtype}, {args.n} chains\n")
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        for dtype in args.dtype.split(","):
            program = measure.Program(args, dtype)
            if args.open:
                check_open(program, args, dtype, table)
                continue
            check_score(program, args, dtype, table)
            check_generate(program, args, dtype, folder, table)
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
