#!/usr/bin/env python3
"""kill_any.py: kills a command with SIGKILL at random moments and proves that nothing is lost: a killed run goes on,
and its end is that of one never killed.

    bench/kill_any.py --times 50 --start CMD --run CMD --check CMD --result CMD

start   brings about the state before the command (deletes what it made)
run     the command, which is killed
check   run after every kill: has to succeed
result  after a whole run; what it prints has to be the same whether the run was killed before or not

All are shell commands. A run that ends before its moment is compared too, and begins from the start again."""
import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time


def shell(command):
    done = subprocess.run(command, shell=True, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"kill_any.py: {command}\nstatus {done.returncode}\n{done.stderr.decode(errors='replace')}")
    return done.stdout


def result(command):
    return hashlib.sha256(shell(command)).hexdigest()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--times", type=int, default=50)
    p.add_argument("--seed", type=int, default=0)
    for name in ("start", "run", "check", "result"):
        p.add_argument("--" + name, required=True)
    o = p.parse_args()
    draw = random.Random(o.seed)

    shell(o.start)
    begin = time.time()
    shell(o.run)
    length = time.time() - begin
    want = result(o.result)
    print(f"a whole run takes {length:.2f} s, its result is {want[:16]}")

    killed = ended = rounds = 0
    shell(o.start)
    while killed < o.times:
        run = subprocess.Popen(o.run, shell=True, start_new_session=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
        try:
            status = run.wait(draw.uniform(0, length))
            if status != 0:
                sys.exit(f"kill_any.py: after {killed} kills the command ended with status {status}")
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            killed += 1
            shell(o.check)
            rounds += 1
            if rounds < 10:
                continue
            shell(o.run)  # ten kills in a row: now to the end
        ended += 1
        rounds = 0
        if result(o.result) != want:
            sys.exit(f"kill_any.py: after {killed} kills the result is another one")
        shell(o.start)
    shell(o.run)
    if result(o.result) != want:
        sys.exit("kill_any.py: the last result is another one")
    print(f"{killed} kills, {ended + 1} runs to the end: every check passed, every result was the same")


main()
