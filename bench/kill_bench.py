#!/usr/bin/env python3
"""kill_bench.py: kills `pgenrm bench` with the language model at random moments, resumes it, says what a kill costs.

    bench/kill_bench.py [--times 50] [--pgenrm build/pgenrm] [--mean-life S] DATA.jsonl -- --ind 4 --limit 24 ...

After each kill: every whole line of verdicts.jsonl is a verdict, none that was there is gone, at most one line is torn.
At the end: no verdict was asked for twice (each stands there once), and the rows equal those of a run in peace but for
times and cached tokens. What a kill costs is the time of all runs together beyond that of the run in peace, shared
among the kills: opening the model, and the requests that were at work. How many those were is counted at every kill
(the log says when a request begins, the journal when it is settled) and must not exceed --at-once. Also told: the
longest time since the last saved verdict at a kill, and the peak memory of the run in peace."""
import argparse
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def verdicts(path):
    """Keys of the whole lines, and how many bytes are torn."""
    data = path.read_bytes() if path.exists() else b""
    whole, _, torn = data.rpartition(b"\n")
    keys = []
    for line in whole.splitlines():
        v = json.loads(line)
        keys.append(tuple(v[k] for k in ("data", "method", "ind", "pro", "stranger", "plain", "run", "row")))
    return keys, len(torn)


def asked(keys):
    """Verdicts of the language model."""
    return sum(key[2] + key[3] > 0 for key in keys)


def rows(path):
    out = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        for key in ("seconds", "seconds_per_pair", "cached_tokens"):
            del row[key]
        out.append(row)
    return out


def start(o, out):
    """The log of each run is a file of its own."""
    resume = ["--resume"] if (out / "plan.json").exists() else []
    with open(f"{out}.log", "wb") as log:
        return subprocess.Popen([o.pgenrm, "bench", "--log-level", "debug", "--at-once", str(o.at_once), "--out",
                                 str(out), *resume, *o.rest, *o.data], stdout=subprocess.DEVNULL, stderr=log)


def begun(out):
    return len(re.findall(rb"request \d+ of \d+ begins", pathlib.Path(f"{out}.log").read_bytes()))


def wait(run):
    """Exit status and peak memory in MB."""
    _, status, usage = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    return run.returncode, usage.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--times", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--mean-life", type=float, help="seconds until a run is killed (default: a fifth of a whole one)")
    p.add_argument("--at-once", type=int, default=1)
    p.add_argument("--pgenrm", default=str(HERE.parent / "build" / "pgenrm"))
    p.add_argument("data", nargs="+")
    argv = sys.argv[1:]
    cut = argv.index("--") if "--" in argv else len(argv)
    o = p.parse_args(argv[:cut])
    o.rest = argv[cut + 1:]
    draw = random.Random(o.seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        begin = time.time()
        status, peak = wait(start(o, folder / "peace"))
        whole = time.time() - begin
        if status not in (0, 3):
            sys.exit(f"kill_bench.py: the run in peace ended with status {status}")
        want, total = rows(folder / "peace" / "rows.jsonl"), len(verdicts(folder / "peace" / "verdicts.jsonl")[0])
        print(f"in peace: {whole:.1f} s, {total} verdicts, peak {peak:.0f} MB", flush=True)

        kills = ended = 0
        spent, silent, torn, at_work = 0.0, [], 0, []
        out = folder / "killed-0"
        while kills < o.times:
            known = set(verdicts(out / "verdicts.jsonl")[0])
            began = time.time()
            run = start(o, out)
            life = draw.uniform(0, 2 * (o.mean_life or whole / 5))
            while run.poll() is None and time.time() - began < life:
                time.sleep(0.002)
            if run.poll() is None:
                run.send_signal(signal.SIGKILL)
                run.wait()
                spent += time.time() - began
                kills += 1
                journal = out / "verdicts.jsonl"
                keys, rest = verdicts(journal)
                torn += rest > 0
                at_work.append(begun(out) - asked(keys) + asked(known))
                assert 0 <= at_work[-1] <= o.at_once, f"{at_work[-1]} requests were at work, expected {o.at_once}"
                assert known <= set(keys), "a verdict that was saved is gone"
                if journal.exists() and len(keys) > len(known):
                    silent.append(time.time() - journal.stat().st_mtime)
                continue
            spent += time.time() - began
            check(out, want, total)
            ended += 1
            out = folder / f"killed-{ended}"
        began = time.time()
        status, peak = wait(start(o, out))
        spent += time.time() - began
        assert status in (0, 3), status
        check(out, want, total)
        cost = (spent - whole * (ended + 1)) / kills
        if not silent:
            sys.exit("kill_bench.py: no kill came while verdicts were being written: runs must live longer")
        print(f"{kills} kills, {ended + 1} runs to the end, each the same as in peace, no verdict asked twice; "
              f"{len(silent)} kills came after new verdicts, {sum(n > 0 for n in at_work)} while requests were "
              f"at work, {max(at_work)} at most; torn lines {torn}; a "
              f"kill costs {cost:.2f} s, which is {cost / whole * total:.1f} verdicts' time; since the "
              f"last verdict saved: median {sorted(silent)[len(silent) // 2]:.2f} s, at most {max(silent):.2f} s")


def check(out, want, total):
    keys, rest = verdicts(out / "verdicts.jsonl")
    assert rest == 0 and len(keys) == len(set(keys)) == total, (len(keys), len(set(keys)), total)
    assert rows(out / "rows.jsonl") == want, "other rows than in peace"


if __name__ == "__main__":
    main()
