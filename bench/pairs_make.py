#!/usr/bin/env python3
"""pairs_make.py PAIRS [USERS] > pairs.jsonl: PersonalRewardBench records of made-up users, the same for the same
numbers. Prompts and responses are runs of common words, 20 to 400 of them, like the lengths of real ones."""
import json
import random
import sys

WORDS = ("time year people way day man thing woman life child world school state family student group country problem "
         "hand part place case week company system program question work government number night point home water room "
         "mother area money story fact month lot right study book eye job word business issue side kind head house "
         "service friend").split()


def text(rng, least, most):
    n = int(least * (most / least) ** rng.random())
    return " ".join(rng.choices(WORDS, k=n)).capitalize() + "."


def main():
    n, users = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100000
    rng = random.Random(1)
    texts = [text(rng, 20, 400) for _ in range(4000)]
    for i in range(n):
        row = {"user_id": f"user{rng.randrange(users)}", "conversation_id": f"c{i}",
               "context": [{"role": "user", "content": text(rng, 5, 40)}],
               "chosen": {"role": "assistant", "content": rng.choice(texts)},
               "rejected": {"role": "assistant", "content": rng.choice(texts)},
               "split": "test" if i % 5 == 4 else "train", "chosen_score": rng.randint(1, 100)}
        sys.stdout.write(json.dumps(row) + "\n")


main()
