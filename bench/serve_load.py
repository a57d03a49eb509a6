#!/usr/bin/env python3
"""A server under the load of a trainer: N calls of one sample each at /get_reward, all at once, each for another user.

    pgenrm serve & bench/serve_load.py DATA.jsonl [--calls 1000] [--check 50] [--over 10]

DATA: PersonalRewardBench records. A call's user has a history of his own (up to 6 pairs of train rows, and a pair that
names the call, so that no two prompts are the same); its response is a row's chosen text, its anchor the rejected one.

--like openrlhf: called as by OpenRLHF's client: at most 5 tries of 180 s each, whatever was wrong with the last one, a
second between them, Retry-After not looked at. A call that has no answer then stays without one; how many did is said.

Says how many were answered, the latencies, the throughput, and what `pgenrm score` takes for the same in one offline
batch (--offline). --check: so many calls are asked again, alone: the same reward to the last digit, or it was another
one's. --over K: K times as many calls as the server's queue holds: those that are refused say 429 and come again;
all are answered in the end. --minutes M --pid P: in place of all this, calls one after the other in 16 rows for M
minutes, and every minute the resident memory of the server, process P; in the end its slope, without the first tenth,
with its standard error. Ends with 1 where a call had no reward or another one's."""
import argparse
import asyncio
import collections
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent


def calls_of(args):
    rows = [json.loads(line) for line in open(args.data)]
    rows = [r for r in rows if r["chosen"]["content"] != r["rejected"]["content"]]
    train = collections.defaultdict(list)
    for r in rows:
        if r["split"] == "train":
            train[r["user_id"]].append({"query": r["context"][-1]["content"], "chosen": r["chosen"]["content"],
                                        "rejected": r["rejected"]["content"]})
    out = []
    for i in range(args.calls):
        r = rows[i % len(rows)]
        history = [p for p in train[r["user_id"]] if p["chosen"] != r["chosen"]["content"]][:6]
        own = {"query": f"Which number is mine, {i} or {i + 1}?", "chosen": str(i), "rejected": f"{i + 1}, I think."}
        out.append({"query": r["context"][-1]["content"], "response": r["chosen"]["content"],
                    "anchor": r["rejected"]["content"], "history": history + [own]})
    return out


def body_of(call, args):
    label = {"user": {"history": call["history"]}, "anchor": call["anchor"], "ind": args.ind,
             "deadline_s": args.deadline}
    prompt = f"<|im_start|>user\n{call['query']}<|im_end|>\n<|im_start|>assistant\n"
    return json.dumps({"query": [prompt + call["response"] + "<|im_end|>"], "prompts": [prompt],
                       "labels": [json.dumps(label)]}).encode()


async def post(where, body, deadline):
    """Status and JSON of one call on a connection of its own."""
    reader, writer = await asyncio.wait_for(asyncio.open_connection(where.hostname, where.port), deadline)
    try:
        writer.write(b"POST /get_reward HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = await asyncio.wait_for(reader.read(), deadline)
    finally:
        writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), rest


TRIES, TRY_S, PAUSE_S = 5, 180, 1  # OpenRLHF's


async def ask_like_openrlhf(where, body, args, told):
    """The reward, or None: the client has given up."""
    first = time.monotonic()
    for i in range(TRIES):
        start = time.monotonic()
        try:
            status, rest = await asyncio.wait_for(post(where, body, TRY_S), TRY_S)
        except (OSError, asyncio.TimeoutError, IndexError, ValueError) as e:
            status, rest = type(e).__name__, b""
        told["statuses"][status] += 1
        if isinstance(status, int) and 200 <= status < 300:
            told["seconds"].append(time.monotonic() - start)
            told["in_time"] += time.monotonic() - first <= args.deadline
            told["tries"][i + 1] += 1
            return json.loads(rest)["rewards"][0]
        await asyncio.sleep(PAUSE_S)
    return None


async def ask(where, body, args, told):
    """The reward, or None; told counts statuses and keeps latencies of answered calls. Refused ones come again."""
    first = time.monotonic()
    end = first + args.deadline + 60
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            status, rest = await post(where, body, args.deadline + 60)
        except (OSError, asyncio.TimeoutError, IndexError, ValueError) as e:
            status, rest = type(e).__name__, b""
        told["statuses"][status] += 1
        if status == 200:
            told["seconds"].append(time.monotonic() - start)
            told["in_time"] += time.monotonic() - first <= args.deadline
            return json.loads(rest)["rewards"][0]
        if status not in (429, 503):
            print(f"{status}: {rest[:200].decode(errors='replace')}", file=sys.stderr)
            return None
        await asyncio.sleep(1)
    return None


async def ask_all(where, bodies, args):
    told = {"statuses": collections.Counter(), "seconds": [], "in_time": 0, "tries": collections.Counter()}
    start = time.monotonic()
    one = ask_like_openrlhf if args.like else ask
    rewards = await asyncio.gather(*(one(where, b, args, told) for b in bodies))
    return rewards, told, time.monotonic() - start


def report(name, rewards, told, wall, like):
    seconds = sorted(told["seconds"])
    at = lambda q: seconds[min(len(seconds) - 1, int(q * len(seconds)))] if seconds else float("nan")  # noqa: E731
    print(f"{name}: {sum(r is not None for r in rewards)} of {len(rewards)} answered, {told['in_time']} of them within "
          f"their deadline counted from the first try, in {wall:.1f} s: "
          f"{len(seconds) / wall:.1f} a second; seconds: median {at(.5):.2f}, 90 % {at(.9):.2f}, 99 % {at(.99):.2f}, "
          f"most {at(1):.2f}; statuses {dict(told['statuses'])}", flush=True)
    if like:
        print(f"as OpenRLHF asks: {sum(r is None for r in rewards)} of {len(rewards)} calls ended without an answer; "
              f"answered at try {dict(sorted(told['tries'].items()))}", flush=True)
    return all(r is not None for r in rewards)


def offline(calls, args):
    """Requests per second of one `pgenrm score` over the same requests, opening the model counted."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, c in enumerate(calls):
            path = pathlib.Path(folder) / f"{i}.json"
            path.write_text(json.dumps({"user": {"history": c["history"]}, "query": c["query"],
                                        "responses": [c["response"], c["anchor"]], "ind": args.ind}))
            files.append(str(path))
        start = time.monotonic()
        out = subprocess.run([args.pgenrm, "score", "--json", "-q", *args.score, *files], check=False,
                             stdout=subprocess.PIPE).stdout
        seconds = time.monotonic() - start
    results = [json.loads(line) for line in out.splitlines()]
    print(f"offline: {len(results)} requests in {seconds:.1f} s: {len(results) / seconds:.1f} a second", flush=True)
    return len(results) / seconds


# ---- memory over a long time ----

def resident(pid):
    """MB"""
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {pid} has no VmRSS")


def slope(points):
    """MB an hour by least squares over (seconds, MB), and its standard error."""
    n = len(points)
    mt, mm = sum(t for t, _ in points) / n, sum(m for _, m in points) / n
    sxx = sum((t - mt)**2 for t, _ in points)
    b = sum((t - mt) * (m - mm) for t, m in points) / sxx
    rest = sum((m - mm - b * (t - mt))**2 for t, m in points)
    return 3600 * b, 3600 * (rest / max(1, n - 2) / sxx)**.5


async def keep_asking(where, bodies, args):
    """Statuses and seconds of all calls, (seconds, MB) of the server, how many calls of one body had two rewards."""
    told, points = {"statuses": collections.Counter(), "seconds": [], "in_time": 0}, []
    seen, wrong, start = {}, 0, time.monotonic()
    end, following = start + 60 * args.minutes, iter(range(1 << 60))

    async def row():
        nonlocal wrong
        while time.monotonic() < end:
            i = next(following) % len(bodies)
            reward = await ask(where, bodies[i], args, told)
            wrong += reward is None or seen.setdefault(i, reward) != reward

    async def look():
        while time.monotonic() < end:
            points.append((time.monotonic() - start, resident(args.pid)))
            print(f"{points[-1][0] / 60:6.1f} min: {points[-1][1]:8.1f} MB, {len(told['seconds'])} answered",
                  flush=True)
            await asyncio.sleep(min(60, max(0.1, 6 * args.minutes)))

    await asyncio.gather(look(), *(row() for _ in range(16)))
    return told, points, wrong


def watch_memory(where, bodies, args):
    told, points, wrong = asyncio.run(keep_asking(where, bodies, args))
    late = points[len(points) // 10:]
    per_hour, error = slope(late)
    print(f"{len(told['seconds'])} answered, {wrong} without a reward or with another than before; statuses "
          f"{dict(told['statuses'])}; memory {per_hour:+.2f} ({error:.2f}) MB an hour over {len(late)} looks, "
          f"{min(m for _, m in late):.1f} to {max(m for _, m in late):.1f} MB")
    return 1 if wrong or not told["seconds"] else 0


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("data")
    p.add_argument("--url", default="http://127.0.0.1:8300")
    p.add_argument("--calls", type=int, default=1000)
    p.add_argument("--check", type=int, default=50)
    p.add_argument("--over", type=int, default=0, metavar="K", help="then K times the calls")
    p.add_argument("--like", choices=["openrlhf"], help="whose client calls; else one that comes again after every 429")
    p.add_argument("--minutes", type=float, default=0, metavar="M", help="memory over M minutes of calls, alone")
    p.add_argument("--pid", type=int, help="the server's process, for --minutes")
    p.add_argument("--ind", type=int, default=8)
    p.add_argument("--deadline", type=float, default=170)
    p.add_argument("--offline", action="store_true")
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    p.add_argument("--score", nargs="*", default=[], help="more options of `pgenrm score`")
    args = p.parse_args()
    where = urllib.parse.urlsplit(args.url)
    calls = calls_of(args)
    bodies = [body_of(c, args) for c in calls]
    if args.minutes:
        if not args.pid:
            p.error("--minutes needs --pid")
        return watch_memory(where, bodies, args)
    rewards, told, wall = asyncio.run(ask_all(where, bodies, args))
    good = report("at once", rewards, told, wall, args.like)
    if args.offline:
        print(f"served / offline: {len(told['seconds']) / wall / offline(calls, args):.2f}")
    step = max(1, len(bodies) // max(1, args.check))
    picked = [i for i in range(0, len(bodies), step) if rewards[i] is not None][:args.check]
    alone = [asyncio.run(ask_all(where, [bodies[i]], args))[0][0] for i in picked]
    wrong = [i for i, r in zip(picked, alone) if r != rewards[i]]
    print(f"asked again alone: {len(picked)}, {len(wrong)} with another reward {wrong[:5]}")
    if args.over:
        many = bodies * args.over
        rewards, told, wall = asyncio.run(ask_all(where, many, args))
        good &= report(f"{args.over} times that", rewards, told, wall, args.like)
        wrong += [i for i in range(len(many)) if rewards[i] != rewards[i % len(bodies)]]
        print(f"the same rewards: {not wrong}")
    return 0 if good and not wrong else 1


if __name__ == "__main__":
    sys.exit(main())
