#!/usr/bin/env python3
"""ten_million.py STORE [--users 10000000] [--prototypes FILE] [--calls 300] [--mix show=4,feedback=4,ind=1,pro=1]
[--clients 1] [--seed 1] [-- OPTIONS OF serve]: a day's calls at a server whose store has ten million users
(bench/store_made.py), with prototypes by facts of all of them. Users are drawn evenly from all, so that hardly one is
asked twice: nothing of him is in memory but by chance. The kinds are

    show       GET of a user
    feedback   a pair of him, on the disk before it is answered
    ind        a score of two responses by the user's own history, 8 chains
    pro        the same by 8 similar users: found among all, loaded, shown to the judge

Told: seconds until the server was ready; by kind the calls' clock (least, median, 99 %) and, with one client, the
processor's time of the server's threads; the server's memory, of which the mapped file's pages are the system's to take
back. Last what a second of one core carries, from which docs/scale.md says how many servers there are to be. The
prototypes: `pgenrm proto build --by facts`, or, where that has no time, bench_neighbours with `levels` and `like=` of
the prototypes of fewer users: as many vectors of made levels, searched and loaded as the others are."""
import argparse
import concurrent.futures
import http.client
import json
import pathlib
import random
import sys
import threading
import time

from scale_users import cpu_ms, timed
from serving import started

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = ["show", "feedback", "ind", "pro"]


def call(kind, user, i):
    if kind == "show":
        return "GET", f"/v1/personal/users/{user}", None
    if kind == "feedback":
        return "POST", "/v1/personal/feedback", {"user": user, "query": "Which way?", "chosen": f"The short one, {i}.",
                                                 "rejected": "There are many ways. Which one do you like?"}
    counts = {"ind": 8, "pro": 0} if kind == "ind" else {"ind": 0, "pro": 8}
    return "POST", "/v1/personal/score", {"user": user, "query": f"How do I begin, {i}?", **counts, "responses": [
        "Begin with the tools:\n- a spade\n- a rake", "It depends. What would you like to grow in it?"]}


def memory(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {k: int(status.split(k + ":")[1].split()[0]) / 1024 for k in ("RssAnon", "RssFile", "VmHWM")}


def told(pid, when):
    m = memory(pid)
    print(f"memory {when}: {m['RssAnon']:.0f} MiB its own, {m['RssFile']:.0f} of mapped files; most {m['VmHWM']:.0f}",
          flush=True)


def run(server, address, calls, clients):
    """[(kind, milliseconds, of the processor)]; the latter with one client."""
    own = threading.local()

    def one(work):
        kind, user, i = work
        if not hasattr(own, "connection"):
            own.connection = http.client.HTTPConnection(address, timeout=900)
        before = cpu_ms(server.pid)
        ms = timed(own.connection, *call(kind, user, i))
        return kind, ms, cpu_ms(server.pid) - before

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, calls))


def at(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(done, seconds, clients):
    print(f"{len(done)} calls of {clients} clients in {seconds:.1f} s")
    for kind in KINDS:
        ms = [d[1] for d in done if d[0] == kind]
        if not ms:
            continue
        line = f"{kind:9} {len(ms):5} calls: least {min(ms):.1f}, median {at(ms, .5):.1f}, 99 % {at(ms, .99):.1f} ms"
        if clients == 1:
            cpu = [d[2] for d in done if d[0] == kind]
            line += f"; of the processor median {at(cpu, .5):.2f}, mean {sum(cpu) / len(cpu):.2f} ms: "
            line += f"{1000 * len(cpu) / sum(cpu):.1f} a second of one core"
        print(line, flush=True)


def main():
    args, more = sys.argv[1:], []
    if "--" in args:
        args, more = args[:args.index("--")], args[args.index("--") + 1:]
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("store")
    p.add_argument("--users", type=int, default=10000000)
    p.add_argument("--prototypes", help="without them nobody is asked for similar users (pro)")
    p.add_argument("--calls", type=int, default=300)
    p.add_argument("--mix", default="show=4,feedback=4,ind=1,pro=1")
    p.add_argument("--clients", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    a = p.parse_args(args)
    mix = {k: int(n) for k, n in (part.split("=") for part in a.mix.split(","))}
    command = [a.pgenrm, "serve", "--listen", "127.0.0.1:0", "--store", a.store, "--deadline", "600", *more]
    if a.prototypes:
        command += ["--prototypes", a.prototypes]
    begin = time.monotonic()
    server, url = started(command)
    threading.Thread(target=server.stderr.read, daemon=True).start()
    print(f"ready after {time.monotonic() - begin:.1f} s, {cpu_ms(server.pid):.0f} ms of the processor", flush=True)
    told(server.pid, "before the first call")
    draw = random.Random(a.seed)
    kinds = draw.choices([k for k in KINDS if k in mix], [mix[k] for k in KINDS if k in mix], k=a.calls)
    calls = [(kind, f"user{draw.randrange(a.users)}", i) for i, kind in enumerate(kinds)]
    begin = time.monotonic()
    done = run(server, url.rpartition("/")[2], calls, a.clients)
    report(done, time.monotonic() - begin, a.clients)
    told(server.pid, "after the last")
    server.terminate()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main())
