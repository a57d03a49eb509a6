#!/usr/bin/env python3
"""alone.py: one response alone: which way of scoring it orders the two responses of a choice as the user did. Asks a
running server as a trainer would, one sample per call, at /get_reward.

    pgenrm serve &
    bench/alone.py --url http://127.0.0.1:8300 DATA.jsonl          # PersonalRewardBench records

Ways (docs/rewards.md):
    group     the two responses, each in a call of its own, meet by their group's name
    all       all responses of the conversation meet, as the rollouts of one prompt do
    anchor    each against one and the same other response to that question (rows that have one)
    history   each against both texts of the user's last pair
    empty     each against "(no answer)"
    longer    no judge: the longer one

Test rows; the user's train rows without those of the row's conversation are his history. A tie counts half. Errors in
brackets: by users, of whom several rows come. Ways are compared on the rows that all of them have."""
import argparse
import collections
import concurrent.futures
import json
import math
import random
import sys
import urllib.request

WAYS = ["group", "all", "anchor", "history", "empty"]


def pair_of(row):
    return {"context": row["context"], "chosen": row["chosen"]["content"], "rejected": row["rejected"]["content"]}


def history_of(row, train):
    return [pair_of(r) for r in train.get(row["user_id"], []) if r["conversation_id"] != row["conversation_id"]]


def verdict(a, b):
    return 1.0 if a > b else 0.5 if a == b else 0.0


def reward(o, row, response, history, more):
    """As OpenRLHF sends it."""
    label = {"user": {"history": history}, "ind": o.ind, "deadline_s": o.deadline, **more}
    prompt = "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in row["context"])
    prompt += "<|im_start|>assistant\n"
    body = {"query": [prompt + response + "<|im_end|>"], "prompts": [prompt], "labels": [json.dumps(label)]}
    request = urllib.request.Request(o.url + "/get_reward", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=o.deadline + 30) as answer:
        return json.load(answer)["rewards"][0]


def rewards(o, row, responses, history, way, others, name):
    """Of the responses, in calls of their own, in the order of the list."""
    asked = list(responses)
    if way == "all":
        asked += [t for t in others if t not in asked]
    random.Random(name).shuffle(asked)
    label = {}
    if way in ("group", "all"):
        label = {"group": f"{way} {name}", "group_size": len(asked), "collect_s": o.deadline * 0.4}
    elif way == "anchor":
        label = {"anchor": others[0]}
    elif way == "empty":
        label = {"anchor": "(no answer)"}
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        got = dict(zip(asked, pool.map(lambda text: reward(o, row, text, history, label), asked)))
    return [got[t] for t in responses]


def clustered(values, users):
    """Mean and its standard error by users."""
    n = len(values)
    mean = sum(values) / n
    sums = collections.defaultdict(float)
    for v, u in zip(values, users):
        sums[u] += v - mean
    g = len(sums)
    return mean, math.sqrt(g / max(1, g - 1) * sum(s * s for s in sums.values())) / n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--url", default="http://127.0.0.1:8300")
    p.add_argument("--ind", type=int, default=8)
    p.add_argument("--deadline", type=float, default=120)
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--at-once", type=int, default=4)
    p.add_argument("--ways", default=",".join(WAYS))
    o = p.parse_args()
    rows = [json.loads(line) for line in open(o.data)]
    train, beside = collections.defaultdict(list), collections.defaultdict(list)
    for r in rows:
        if r["split"] == "train":
            train[r["user_id"]].append(r)
        elif r["split"] == "test":
            beside[r["user_id"], json.dumps(r["context"])].append(r)
    test = [r for r in rows if r["split"] == "test" and history_of(r, train)]
    random.Random(0).shuffle(test)
    test = test[:o.limit or len(test)]
    ways = o.ways.split(",")

    def one(i):
        row = test[i]
        own = [row["chosen"]["content"], row["rejected"]["content"]]
        same = beside[row["user_id"], json.dumps(row["context"])]
        others = [t["content"] for r in same for t in (r["chosen"], r["rejected"]) if t["content"] not in own]
        out = {"longer": verdict(len(own[0]), len(own[1]))}
        for way in ways:
            if way == "anchor" and not others:
                continue
            a, b = rewards(o, row, own, history_of(row, train), way, others, f"row {i}")
            out[way] = verdict(a, b)
        return out

    with concurrent.futures.ThreadPoolExecutor(o.at_once) as pool:
        results = []
        for i, r in enumerate(pool.map(one, range(len(test)))):
            results.append(r)
            if i % 50 == 49:
                print(f"{i + 1} of {len(test)} rows", file=sys.stderr)
    users = [r["user_id"] for r in test]
    for name, rows_of in (("all rows", range(len(test))),
                          ("rows with an anchor", [i for i, r in enumerate(results) if "anchor" in r])):
        rows_of = list(rows_of)
        if not rows_of:
            continue
        print(f"{name}: {len(rows_of)} of {len({users[i] for i in rows_of})} users")
        for way in ways + ["longer"]:
            if any(way not in results[i] for i in rows_of):
                continue
            mean, se = clustered([results[i][way] for i in rows_of], [users[i] for i in rows_of])
            ties = sum(results[i][way] == 0.5 for i in rows_of)
            gain, gain_se = clustered([results[i][way] - results[i][ways[0]] for i in rows_of],
                                      [users[i] for i in rows_of])
            print(f"  {way:8} {mean:.3f} ({se:.3f})  ties {ties:3}  over {ways[0]} {gain:+.3f} ({gain_se:.3f})")


if __name__ == "__main__":
    main()
