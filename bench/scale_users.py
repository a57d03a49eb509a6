#!/usr/bin/env python3
"""scale_users.py [--users 10000,100000,1000000] [--pairs 2]: what a user costs, and what each thing that is done for
one costs, as the number of made users (bench/store_made.py) grows: bytes on the disk; loading a user (bench_store); and
by a server on that store, one call after the other: feedback, showing a user (the least of 100, the median in
brackets), forgetting one. Times are wall clocks."""
import argparse
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = ["-m", str(ROOT / "tests/golden/tiny-llama.gguf"), "--frame", str(ROOT / "tests/golden/mini.frame"), "--lora",
        "none"]


def healthy(port):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    c.request("GET", "/health")
    return c.getresponse().status == 200


def start(pgenrm, store):
    server = subprocess.Popen([pgenrm, "serve", "--listen", "127.0.0.1:0", "--store", store, "--deadline", "600",
                               *TINY], stderr=subprocess.PIPE, text=True)
    port = None
    for line in server.stderr:
        found = re.search(r"listening on http://127.0.0.1:(\d+)", line)
        port = int(found.group(1)) if found else port
        if "ready" in line:
            while not healthy(port):
                time.sleep(0.05)
            return server, port
    sys.exit(f"scale_users.py: the server ended with status {server.wait()}")


def timed(connection, method, path, body=None):
    """Milliseconds."""
    begin = time.monotonic()
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"scale_users.py: {method} {path}: {answer.status} {text[:200]}")
    return 1000 * (time.monotonic() - begin)


def spread(ms):
    """The least, which other work on the machine has not touched, and the median."""
    return f"{min(ms):.2f} ({statistics.median(ms):.2f})"


def measure(pgenrm, n_user, n_pair, calls, folder):
    store = f"{folder}/{n_user}.db"
    subprocess.run([sys.executable, ROOT / "bench/store_made.py", store, "--users", str(n_user), "--pairs", str(n_pair),
                    "--pgenrm", pgenrm], check=True, stdout=subprocess.DEVNULL)
    size = os.path.getsize(store)
    step = max(1, n_user // 1000)
    ids = "".join(f"user{i}\n" for i in range(0, n_user, step))
    loads = subprocess.run([ROOT / "build/bench_store", store], input=ids, text=True, check=True,
                           stdout=subprocess.PIPE).stdout
    server, port = start(pgenrm, store)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    who = [f"user{(i * 7919) % n_user}" for i in range(calls)]
    tell = [timed(c, "POST", "/v1/personal/feedback", {"user": u, "query": "Which?", "chosen": f"This {i}",
                                                       "rejected": "That"}) for i, u in enumerate(who)]
    show = [timed(c, "GET", f"/v1/personal/users/{u}") for u in who]
    forget = timed(c, "DELETE", f"/v1/personal/users/{who[0]}")
    server.terminate()
    server.communicate()
    os.unlink(store)
    load = float(re.search(r"median ([0-9.]+) ms", loads).group(1))
    print(f"{n_user:9} users: {size / 2**20:8.1f} MiB, {size / n_user:6.0f} bytes a user; load {load:.3f} ms, "
          f"show {spread(show)} ms, feedback {spread(tell)} ms, forget {forget:.0f} ms", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--users", default="10000,100000,1000000")
    p.add_argument("--pairs", type=int, default=2)
    p.add_argument("--calls", type=int, default=100)
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for n in args.users.split(","):
            measure(args.pgenrm, int(n), args.pairs, args.calls, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
