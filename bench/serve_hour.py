#!/usr/bin/env python3
"""An hour of what products and trainers ask of one server, all routes mixed: is its memory flat, is every answer its
user's?

    pgenrm serve --store NEW.db --deadline 170 & bench/serve_hour.py DATA.jsonl --pid $! [--minutes 60] [--rows 4]

DATA: PersonalRewardBench records. Rows (clients) ask one call after the other, each of these kinds by its share:

  score, reward   of a user by id whose history stays: the same answer to the last digit every time it is asked
  feedback        a new pair of a user who changes; show: what GET has of him is exactly what was told and not
                  forgotten, by his own marks; ask: his score; forget: he is gone
  inline          /get_reward with a history in the label
  chat            24 tokens with a seed: the same text every time

In the end the fixed ones are asked once more, each alone: another answer than under load was another one's. Every
10 s a line of --csv: seconds, MB of the server (VmRSS) and calls answered. Says the memory's slope with its standard
error over each half, calls by kind and status, latencies, errors, wrong answers; ends with 1 where there is one of
these two."""
import argparse
import asyncio
import collections
import json
import pathlib
import random
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from serve_load import resident, slope  # noqa: E402

SHARES = {"score": 30, "reward": 25, "feedback": 12, "show": 10, "ask": 8, "inline": 8, "chat": 4, "forget": 3}


async def call(where, method, path, body, limit):
    """Status (or the name of what went wrong) and bytes of one call on a connection of its own."""
    text = json.dumps(body).encode() if body is not None else b""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(where.hostname, where.port), 10)
    except (OSError, asyncio.TimeoutError) as e:
        return type(e).__name__, b""
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                     f"application/json\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text)
        answer = await asyncio.wait_for(reader.read(), limit)
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), rest
    except (OSError, asyncio.TimeoutError, IndexError, ValueError) as e:
        return type(e).__name__, b""
    finally:
        writer.close()


def rows_of(path):
    rows = [json.loads(line) for line in open(path)]
    rows = [r for r in rows if r["split"] == "train" and r["chosen"]["content"] != r["rejected"]["content"]]
    of = collections.defaultdict(list)
    for r in rows:
        of[r["user_id"]].append(r)
    return [v for v in of.values() if len(v) >= 5]


def pair_of(row, mark):
    return {"query": row["context"][-1]["content"] + f" ({mark})", "chosen": row["chosen"]["content"],
            "rejected": row["rejected"]["content"]}


class Load:
    def __init__(self, args):
        self.args, self.where = args, urllib.parse.urlsplit(args.url)
        self.random = random.Random(args.seed)
        people = rows_of(args.data)
        self.fixed = [(f"fixed/{i}", p) for i, p in enumerate(people[:args.users])]
        self.changing = {f"moving/{i}": p for i, p in enumerate(people[args.users:2 * args.users])}
        self.told = {u: [] for u in self.changing}  # marks of pairs that were answered with 200
        self.locks = {u: asyncio.Lock() for u in self.changing}
        self.n_mark, self.statuses, self.seconds = 0, collections.Counter(), collections.defaultdict(list)
        self.seen, self.errors, self.wrong = {}, [], []

    async def ask(self, kind, method, path, body):
        """The answer as JSON, or None: told among the errors. 429 is asked again."""
        while True:
            start = time.monotonic()
            status, rest = await call(self.where, method, path, body, self.args.limit)
            self.statuses[kind, status] += 1
            if status == 200:
                self.seconds[kind].append(time.monotonic() - start)
                return json.loads(rest)
            if status != 429:
                self.errors.append(f"{kind}: {status}: {rest[:160]!r}")
                return None
            await asyncio.sleep(1)

    def same(self, key, answer):
        """The first answer to a key is the one that all others, and the one in the end, must be."""
        if self.seen.setdefault(key, answer) != answer:
            self.wrong.append(f"{key}: {answer}, before: {self.seen[key]}")

    # ---- the kinds ----

    async def start(self):
        for user, rows in self.fixed:
            await self.ask("put", "PUT", f"/v1/personal/users/{urllib.parse.quote(user, safe='')}",
                           {"history": [pair_of(r, user) for r in rows[1:5]]})

    async def score(self, i=None):
        i = self.random.randrange(len(self.fixed)) if i is None else i
        user, rows = self.fixed[i]
        a = await self.ask("score", "POST", "/v1/personal/score", {
            "user": user, "query": self.fixed[0][1][0]["context"][-1]["content"], "deadline_s": self.args.limit - 10,
            "responses": [self.fixed[0][1][0]["chosen"]["content"], self.fixed[0][1][0]["rejected"]["content"]]})
        if a and a["id"] not in (None, user):
            self.wrong.append(f"{user}: an answer of {a['id']}")
        if a:
            self.same(("score", i), [[r["score"] for r in a["responses"]], a["persona"], a["criteria"]])

    async def reward_of(self, kind, key, label, row):
        label = {**label, "anchor": row["rejected"]["content"], "deadline_s": self.args.limit - 10}
        a = await self.ask(kind, "POST", "/get_reward", {
            "query": [row["context"][-1]["content"] + row["chosen"]["content"]],
            "prompts": [row["context"][-1]["content"]], "labels": [json.dumps(label)]})
        if a:
            self.same(key, a["rewards"][0])

    async def reward(self, i=None):
        i = self.random.randrange(len(self.fixed)) if i is None else i
        await self.reward_of("reward", ("reward", i), {"user": self.fixed[i][0]}, self.fixed[0][1][0])

    async def inline(self, i=None):
        i = self.random.randrange(len(self.fixed)) if i is None else i
        user, rows = self.fixed[i]
        await self.reward_of("inline", ("inline", i), {"user": {"history": [pair_of(r, user) for r in rows[1:4]]}},
                             rows[0])

    def mover(self):
        user = self.random.choice(list(self.changing))
        return user, self.changing[user], f"/v1/personal/users/{urllib.parse.quote(user, safe='')}"

    async def feedback(self):
        user, rows, _ = self.mover()
        async with self.locks[user]:
            self.n_mark += 1
            mark = f"{user}#{self.n_mark}"
            pair = pair_of(rows[self.n_mark % len(rows)], mark)
            if await self.ask("feedback", "POST", "/v1/personal/feedback", {"user": user, **pair}):
                self.told[user].append(mark)

    async def show(self):
        user, _, path = self.mover()
        async with self.locks[user]:
            if not self.told[user]:
                return
            a = await self.ask("show", "GET", path, None)
            if a is None:
                return
            marks = sorted(h["query"][h["query"].rindex("(") + 1:-1] for h in a["history"])
            if marks != sorted(self.told[user]):
                self.wrong.append(f"{user} has {marks[:3]}..., expected {sorted(self.told[user])[:3]}...")

    async def ask_mover(self):
        user, rows, _ = self.mover()
        row = rows[0]
        await self.ask("ask", "POST", "/v1/personal/score", {
            "user": user, "query": row["context"][-1]["content"], "deadline_s": self.args.limit - 10,
            "responses": [row["chosen"]["content"], row["rejected"]["content"]]})

    async def forget(self):
        user, _, path = self.mover()
        async with self.locks[user]:
            if self.told[user] and await self.ask("forget", "DELETE", path, None):
                self.told[user] = []

    async def chat(self):
        n = self.random.randrange(8)
        a = await self.ask("chat", "POST", "/v1/chat/completions", {
            "messages": [{"role": "user", "content": f"Name {n + 2} fruits."}], "max_tokens": 24, "seed": n,
            "deadline_s": self.args.limit - 10})
        if a:
            self.same(("chat", n), a["choices"][0]["message"]["content"])

    # ---- the run ----

    async def row(self, end):
        kinds, weights = list(SHARES), list(SHARES.values())
        while time.monotonic() < end:
            kind = self.random.choices(kinds, weights)[0]
            await (self.ask_mover() if kind == "ask" else getattr(self, kind)())

    def answered(self):
        return sum(n for (_, status), n in self.statuses.items() if status == 200)

    async def look(self, start, end, points, out):
        while time.monotonic() < end:
            points.append((time.monotonic() - start, resident(self.args.pid)))
            print(f"{points[-1][0]:.0f},{points[-1][1]:.1f},{self.answered()}", file=out, flush=True)
            await asyncio.sleep(10)

    async def run(self):
        points = []
        await self.start()
        start = time.monotonic()
        end = start + 60 * self.args.minutes
        with open(self.args.csv, "w") as out:
            await asyncio.gather(self.look(start, end, points, out), *(self.row(end) for _ in range(self.args.rows)))
        print(f"asked in {time.monotonic() - start:.0f} s", flush=True)
        keys = [(kind, i) for kind, i in sorted(self.seen) if kind != "chat"]
        for kind, i in keys[:self.args.alone]:
            await getattr(self, kind)(i)
        return points


def say(load, points):
    half = len(points) // 2
    for name, some in (("first half", points[:half]), ("second half", points[half:])):
        if len(some) > 2:
            b, error = slope(some)
            print(f"{name}: {some[0][1]:.1f} to {some[-1][1]:.1f} MB, most {max(m for _, m in some):.1f}, "
                  f"{b:+.2f} ({error:.2f}) MB an hour over {len(some)} looks")
    for kind in sorted({k for k, _ in load.statuses}):
        seconds = sorted(load.seconds[kind])
        at = lambda q: seconds[min(len(seconds) - 1, int(q * len(seconds)))] if seconds else float("nan")  # noqa: E731
        statuses = {s: n for (k, s), n in load.statuses.items() if k == kind}
        print(f"{kind}: {statuses}; seconds: median {at(.5):.2f}, 90 % {at(.9):.2f}, most {at(1):.2f}")
    values = [json.dumps(v) for (kind, _), v in load.seen.items() if kind == "score"]
    print(f"the same question, {len(values)} users: {len(set(values))} answers; {len(load.seen)} fixed questions")
    print(f"{load.answered()} answered, {len(load.errors)} errors, {len(load.wrong)} wrong")
    for line in load.errors[:10] + load.wrong[:10]:
        print(line)


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data")
    p.add_argument("--url", default="http://127.0.0.1:8300")
    p.add_argument("--pid", type=int, required=True)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--rows", type=int, default=4)
    p.add_argument("--users", type=int, default=40, help="whose history stays, and as many whose changes")
    p.add_argument("--alone", type=int, default=1000, help="of the fixed questions asked again in the end")
    p.add_argument("--limit", type=float, default=180, help="seconds a call may take")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--csv", default="memory.csv")
    args = p.parse_args()
    load = Load(args)
    points = asyncio.run(load.run())
    say(load, points)
    return 1 if load.wrong or load.errors or not load.answered() else 0


if __name__ == "__main__":
    sys.exit(main())
