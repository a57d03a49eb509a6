#!/usr/bin/env python3
"""mirrored_rows.py DATA.jsonl [--pairs 320] [--each 2] [--seed 11]: pairs on which people divide, made of train rows.

Of two texts of one question some people chose a and rejected b (in one row or in two), others the other way round: one
of each is asked. So each pair stands as often one way as the other, and how popular a text is tells nothing of them: a
calibration fitted on such rows is one for what people contest (docs/bench.md, "Contested items"). Prints the train rows
less those that the asked texts were taken from, then the pairs as split "val", and counts on standard error."""
import argparse
import collections
import json
import random
import sys


def read_votes(rows):
    """By question: who chose a text and who rejected it, and in which row."""
    votes = {}
    for i, row in enumerate(rows):
        chosen, rejected = votes.setdefault(row["context"][-1]["content"], (collections.defaultdict(dict),
                                                                            collections.defaultdict(dict)))
        chosen[row["chosen"]["content"]][row["user_id"]] = i
        rejected[row["rejected"]["content"]][row["user_id"]] = i
    return votes


def divided(votes):
    """(question, a, b, who chose a and rejected b, who the other way round)"""
    out = []
    for question, (chosen, rejected) in votes.items():
        texts = sorted(set(chosen) & set(rejected))
        for x, a in enumerate(texts):
            for b in texts[:x]:
                one = sorted(set(chosen[a]) & set(rejected[b]))
                other = sorted(set(chosen[b]) & set(rejected[a]))
                if one and other:
                    out.append((question, a, b, one, other))
    return out


def mirrored(rows, n, each, rng):
    """n pairs at most, `each` of a user and no text of his twice; and the rows that hold their votes."""
    votes = read_votes(rows)
    pairs = divided(votes)
    rng.shuffle(pairs)
    asked, taken, times, used = [], set(), collections.Counter(), set()
    for question, a, b, one, other in pairs:
        if len(asked) + 2 > n:
            break
        free = [[u for u in users if times[u] < each and not {(u, a), (u, b)} & used] for users in (one, other)]
        if not all(free):
            continue
        chosen, rejected = votes[question]
        for user, yes, no in ((rng.choice(free[0]), a, b), (rng.choice(free[1]), b, a)):
            times[user] += 1
            used |= {(user, yes), (user, no)}
            taken |= {chosen[yes][user], rejected[no][user]}
            asked.append({"user_id": user, "conversation_id": "mirrored",
                          "context": [{"role": "user", "content": question}],
                          "chosen": {"role": "assistant", "content": yes},
                          "rejected": {"role": "assistant", "content": no}, "split": "val"})
    rng.shuffle(asked)
    return asked, taken


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data", type=argparse.FileType("r", encoding="utf-8"))
    p.add_argument("--pairs", type=int, default=320)
    p.add_argument("--each", type=int, default=2, help="pairs of a user at most")
    p.add_argument("--seed", type=int, default=11)
    a = p.parse_args()
    rows = [r for r in map(json.loads, a.data) if r.get("split") == "train" and "chosen" in r]
    asked, taken = mirrored(rows, a.pairs, a.each, random.Random(a.seed))
    for row in [r for i, r in enumerate(rows) if i not in taken] + asked:
        print(json.dumps(row, ensure_ascii=False))
    print(f"{a.data.name}: {len(asked)} pairs of {len({r['user_id'] for r in asked})} users, "
          f"{len(taken)} of {len(rows)} train rows held out for them", file=sys.stderr)


if __name__ == "__main__":
    main()
