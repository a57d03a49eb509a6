#!/usr/bin/env python3
"""kill_serve.py: kills a server with SIGKILL at random moments while clients write feedback, and proves that every
answered one is there and none is half there.

    bench/kill_serve.py --times 50 -- build/pgenrm serve -m tests/golden/tiny-llama.gguf --store STORE \\
        --listen 127.0.0.1:PORT

STORE and PORT in the command are replaced; the store is the same for all rounds. After each kill the file is whole
(PRAGMA integrity_check), every pair in it is one that was sent, and every pair that was answered with 200 is in it.
The last round reads all users back through the server."""
import argparse
import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time

from serving import answering


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start(command, store):
    """The server's process and its port, once it is ready."""
    port = free_port()
    words = [w.replace("STORE", store).replace("PORT", str(port)) for w in command]
    return answering(words, f"http://127.0.0.1:{port}/health", start_new_session=True), port


def ask(port, method, path, body=None, connection=None):
    c = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    c.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
    answer = c.getresponse()
    text = answer.read()
    if not connection:
        c.close()
    return answer.status, text


def write(port, client, next_number, sent, answered, stop):
    """One client: one pair after the other, until the server is gone."""
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        while not stop.is_set():
            n = next_number()
            user, pair = f"u{n % 7}", (f"query {n}?", f"chosen {n} " + "x" * (n % 900), f"rejected {n}")
            sent[n] = (user, *pair)
            status, _ = ask(port, "POST", "/v1/personal/feedback",
                            {"user": user, "query": pair[0], "chosen": pair[1], "rejected": pair[2]}, c)
            if status == 200:
                answered.add(n)
    except (OSError, http.client.HTTPException):
        pass


def check(store, sent, answered):
    db = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    whole = db.execute("PRAGMA integrity_check").fetchone()[0]
    rows = db.execute("SELECT u.id, p.context, p.chosen, p.rejected FROM pairs p JOIN users u ON u.key = p.user")
    there = {(u, json.loads(c)[-1]["content"], a, b) for u, c, a, b in rows}
    db.close()
    known = set(sent.values())
    lost = [n for n in answered if sent[n] not in there]
    foreign = there - known
    if whole != "ok" or lost or foreign:
        sys.exit(f"kill_serve.py: integrity {whole}; {len(lost)} answered pairs are lost {lost[:3]}, "
                 f"{len(foreign)} that were not sent like this are there {list(foreign)[:1]}")
    return len(there)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--times", type=int, default=50)
    p.add_argument("--clients", type=int, default=8)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--most", type=float, default=1.0, help="seconds of writing before a kill, at most")
    p.add_argument("command", nargs="+")
    o = p.parse_args()
    draw = random.Random(o.seed)
    sent, answered, lock, count = {}, set(), threading.Lock(), [0]

    def next_number():
        with lock:
            count[0] += 1
            return count[0]

    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "users.db")
        for _ in range(o.times):
            server, port = start(o.command, store)
            stop = threading.Event()
            clients = [threading.Thread(target=write, args=(port, i, next_number, sent, answered, stop))
                       for i in range(o.clients)]
            for c in clients:
                c.start()
            time.sleep(draw.uniform(0.02, o.most))
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
            stop.set()
            for c in clients:
                c.join()
            n = check(store, sent, answered)
        server, port = start(o.command, store)
        read = 0
        for user in sorted({s[0] for s in sent.values()}):
            status, text = ask(port, "GET", f"/v1/personal/users/{user}")
            read += len(json.loads(text)["history"]) if status == 200 else 0
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    if read != n:
        sys.exit(f"kill_serve.py: the store has {n} pairs, the server shows {read}")
    print(f"{o.times} kills, {o.clients} clients: {len(sent)} pairs sent, {len(answered)} answered, all of these are "
          f"there; {n - len(answered)} more came through without their answer; nothing half-written")


if __name__ == "__main__":
    main()
