#!/usr/bin/env python3
"""python_overhead.py [--rounds N] [--requests N]: what Python adds to the C call on a batch of 64 requests, and 8
threads calling at once.

    ninja -C build pgenrm_python
    PGENRM_BUILD=build PYTHONPATH=python/src:clients/python/src python3 bench/python_overhead.py

Two judges on the default model, 8 chains a request. Each round has 64 requests of texts of its own, so that no prompt
is known: once through pgr_judge_many on requests that are parsed already, results as C structs, and once through
Judge.score_many, from dictionaries to dataclasses, each on its own engine, in turns as to who begins. Then a round by 8
threads that call score() one request after the other, whose verdicts must be those of the batch. Wall clock, and CPU
seconds of the process, which other work on the machine moves less. The parts that are Python's alone (JSON to requests,
results to dataclasses) are also timed by themselves."""

import argparse
import json
import os
import pathlib
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from pgenrm import Judge, Result
from pgenrm._native import ffi, lib

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHAINS = 8


def requests(n, round_):
    with open(ROOT / "examples/request.json", encoding="utf-8") as f:
        base = json.load(f)
    pairs = base["user"]["history"]
    out = []
    for i in range(n):
        shift = (i * 7 + round_) % len(pairs)
        history = [{**p, "query": f"{p['query']} ({round_}.{i})"} for p in pairs[shift:] + pairs[:shift]]
        out.append({"id": f"{round_}.{i}", "user": {"history": history}, "query": f"{base['query']} ({round_}.{i})",
                    "responses": [f"{r} ({i})" for r in base["responses"]], "seed": i})
    return out


def clocked(call):
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return value, time.perf_counter() - wall, time.process_time() - cpu


def parsed(asked):
    made = []
    for r in asked:
        raw, out = json.dumps(r).encode(), ffi.new("pgr_request **")
        assert lib.pgr_request_parse(raw, len(raw), b"bench", out, ffi.NULL) == 0
        made.append(ffi.gc(out[0], lib.pgr_request_free))
    return made


def by_c(judge, asked):
    """The C call alone; scores to compare."""
    made, results = ffi.new("pgr_request *[]", keep := parsed(asked)), ffi.new("pgr_result *[]", len(asked))
    options = ffi.new("pgr_judge_options *", judge.options[0])
    options.ind = CHAINS
    status, wall, cpu = clocked(lambda: judge.alone(
        lambda: lib.pgr_judge_many(judge.engine, made, len(asked), options, results, ffi.NULL), lambda: None))
    assert status == 0 and keep
    scores = [[r.responses[k].score for k in range(r.n_response)] for r in results]
    for r in results:
        lib.pgr_result_free(r)
    return scores, wall, cpu


def by_python(judge, asked):
    results, wall, cpu = clocked(lambda: judge.score_many(asked, ind=CHAINS, progress=False))
    return results, wall, cpu


def alike(scores, results):
    return all(abs(a - b) < 1e-4 for s, r in zip(scores, results) for a, b in zip(s, r.scores))  # JSON has 6 digits


def alone(asked, results):
    """CPU seconds of what is Python's: requests to C, results to dataclasses."""
    _, _, requests_s = clocked(lambda: parsed(asked))
    texts = [json.dumps(r.raw) for r in results]
    _, _, results_s = clocked(lambda: [Result.of(json.loads(t), a) for t, a in zip(texts, asked)])
    return requests_s + results_s


def main():
    args = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--requests", type=int, default=64)
    args.add_argument("--model")
    a = args.parse_args()
    c_judge, python_judge = Judge(a.model, progress=False), Judge(a.model, progress=False)
    print(f"{c_judge.name}, {a.requests} requests of {CHAINS} chains, load before {os.getloadavg()[0]:.1f}")
    rows, own = [], []
    for k in range(a.rounds + 1):
        asked = requests(a.requests, k)
        order = [lambda: by_c(c_judge, asked), lambda: by_python(python_judge, asked)]
        got = [order[0](), order[1]()] if k % 2 else list(reversed([order[1](), order[0]()]))
        assert alike(got[0][0], got[1][0]), "the verdicts differ"
        if k == 0:
            continue  # the first touches memory and files
        rows.append((got[0][1], got[1][1], got[0][2], got[1][2]))
        own.append(alone(asked, got[1][0]))
        print(f"round {k}: C {got[0][1]:.3f} s ({got[0][2]:.3f} CPU), Python {got[1][1]:.3f} s ({got[1][2]:.3f} CPU), "
              f"of that Python's alone {1e3 * own[-1]:.1f} ms")
    c, p, c_cpu, p_cpu = (statistics.median(column) for column in zip(*rows))
    ours = statistics.median(own)
    print(f"median of {a.rounds}: Python over C {100 * (p / c - 1):+.2f} % of the clock, "
          f"{100 * (p_cpu / c_cpu - 1):+.2f} % of CPU; what is Python's alone takes {1e3 * ours:.1f} ms, "
          f"{100 * ours / c_cpu:.2f} % of the C call's CPU")

    asked = requests(a.requests, a.rounds + 1)
    batch, _, _ = by_python(c_judge, asked)
    with ThreadPoolExecutor(8) as pool:
        def one(i):
            r = asked[i]
            return python_judge.score(r["user"], r["query"], r["responses"], id=r["id"], seed=r["seed"], ind=CHAINS)
        results, wall, _ = clocked(lambda: list(pool.map(one, range(len(asked)))))
    same = sum(x.scores == y.scores and x.persona == y.persona for x, y in zip(batch, results))
    print(f"8 threads, one request each at a time: {wall:.3f} s, {same} of {len(asked)} verdicts those of the batch")
    print(f"load after {os.getloadavg()[0]:.1f}")
    assert same == len(asked)


if __name__ == "__main__":
    main()
