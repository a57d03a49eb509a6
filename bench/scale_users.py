#!/usr/bin/env python3
"""scale_users.py [--users 10000,100000,1000000,10000000] [--pairs 2] [--folder DIR]: what a user costs, and what each
thing that is done for one costs, as the number of made users (bench/store_made.py) grows: making them; bytes on the
disk; loading a user (bench_store); importing 1,000 more with 2 pairs each; opening the store; forgetting one by the
command; and by a server on that store, one call after the other: feedback, showing a user, the list of users,
forgetting one (the least of --calls, the median in brackets). Times are wall clocks; and the processor's, which other
work on the machine touches less. Ten million need 21 GB of room."""
import argparse
import http.client
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from serving import started

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = ["-m", str(ROOT / "tests/golden/tiny-llama.gguf"), "--frame", str(ROOT / "tests/golden/mini.frame"), "--lora",
        "none"]


def healthy(port):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    c.request("GET", "/health")
    return c.getresponse().status == 200


def start(pgenrm, store):
    server, url = started([pgenrm, "serve", "--listen", "127.0.0.1:0", "--store", store, "--deadline", "600", *TINY])
    port = int(url.rpartition(":")[2])
    while not healthy(port):
        time.sleep(0.05)
    return server, port


def timed(connection, method, path, body=None):
    """Milliseconds."""
    begin = time.monotonic()
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        sys.exit(f"scale_users.py: {method} {path}: {answer.status} {text[:200]}")
    return 1000 * (time.monotonic() - begin)


def command(args, **more):
    """Milliseconds by the clock and of the processor."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(args, check=True, stdout=subprocess.DEVNULL, **more)
    took, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{1000 * took:.0f} ms ({1000 * cpu:.0f} of the processor)"


def more_users(n, n_pair):
    rows = [{"user_id": f"more{u}", "context": [{"role": "user", "content": f"Which {i}?"}],
             "chosen": {"role": "assistant", "content": f"This {u} {i} " + "x" * 200},
             "rejected": {"role": "assistant", "content": "That " + "y" * 200}}
            for u in range(n) for i in range(n_pair)]
    return "".join(json.dumps(r) + "\n" for r in rows)


def cpu_ms(pid):
    """Of a process's threads that are there now; its server's do not end meanwhile."""
    return sum(int(t.read_text().split()[0]) for t in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e6


def calls_of(server, connection, calls):
    """The least and the median by the clock; the processor's time a call."""
    before = cpu_ms(server.pid)
    ms = [timed(connection, *c) for c in calls]
    each = (cpu_ms(server.pid) - before) / len(calls)
    return f"{min(ms):.2f} ({statistics.median(ms):.2f}) ms, {each:.2f} of the processor"


def measure(pgenrm, n_user, n_pair, calls, folder):
    store = f"{folder}/{n_user}.db"
    there = os.path.exists(store)
    made = "before" if there else command([sys.executable, ROOT / "bench/store_made.py", store, "--users", str(n_user),
                                           "--pairs", str(n_pair), "--pgenrm", pgenrm])
    size = os.path.getsize(store)
    print(f"{n_user:9} users: made {made}: {size / 2**20:.1f} MiB, {size / n_user:.0f} bytes a user", flush=True)
    step = max(1, n_user // 1000)
    ids = "".join(f"user{i}\n" for i in range(0, n_user, step))
    loads = subprocess.run([ROOT / "build/bench_store", store], input=ids, text=True, check=True,
                           stdout=subprocess.PIPE).stdout
    load = float(re.search(r"median ([0-9.]+) ms", loads).group(1))
    opened = command([pgenrm, "user", "show", "--store", store, "user7"])
    imported = command([pgenrm, "user", "import", "-q", "--store", store, "-"], text=True,
                       input=more_users(1000, n_pair))
    gone = command([pgenrm, "user", "forget", "--store", store, "more7"])
    print(f"          load {load:.3f} ms, `user show` {opened}, import of 1,000 {imported}, `user forget` {gone}",
          flush=True)
    server, port = start(pgenrm, store)
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    who = [f"user{(i * 7919) % n_user}" for i in range(calls)]
    tell = calls_of(server, c, [("POST", "/v1/personal/feedback", {"user": u, "query": "Which?", "chosen": f"This {i}",
                                                                   "rejected": "That"}) for i, u in enumerate(who)])
    show = calls_of(server, c, [("GET", f"/v1/personal/users/{u}") for u in who])
    listed = calls_of(server, c, [("GET", "/v1/personal/users")] * 5)
    forget = calls_of(server, c, [("DELETE", f"/v1/personal/users/{u}") for u in dict.fromkeys(who[:20])])
    server.terminate()
    server.communicate()
    if not there:
        os.unlink(store)
    print(f"          served: show {show}; feedback {tell}; the list {listed}; forget {forget}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--users", default="10000,100000,1000000")
    p.add_argument("--pairs", type=int, default=2)
    p.add_argument("--calls", type=int, default=100)
    p.add_argument("--folder", help="where the stores N.db are made; one that is there is used and stays")
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for n in args.users.split(","):
            measure(args.pgenrm, int(n), args.pairs, args.calls, args.folder or temporary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
