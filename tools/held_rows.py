#!/usr/bin/env python3
"""held_rows.py DATA.jsonl [--held .1] [--views N [--at K]]: rows that `pgenrm train psi` holds back become split "val".

Prints the file with those train rows of split "val" in place of "train", and on standard error how many they are: rows
from which an adapter has learnt nothing, on which a calibration for it can be fitted (docs/bench.md, "Numbers"). Of
`quality=DATA.jsonl` psi holds back queries (by the last turn, as src/train/psi_data.c has it). Of `views=DATA.jsonl` it
holds back users: with --views one of N train rows of these is asked (the Nth, or the Kth), the others stay what is
known of them: with a large N, and a file for each K, as much is known as of the users of test rows."""
import argparse
import json
import sys


def fnv(text):
    """src/base/hash.h, the NUL at the end counted."""
    h = 0xCBF29CE484222325
    for byte in text.encode() + b"\0":
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def is_held(key, share):
    h = fnv(key)
    return (h ^ h >> 32) % 100003 < share * 100003


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data", type=argparse.FileType("r", encoding="utf-8"))
    p.add_argument("--held", type=float, default=0.1)
    p.add_argument("--views", type=int, metavar="N")
    p.add_argument("--at", type=int, default=0, metavar="K", help="1 to N (default N)")
    a = p.parse_args()
    held = train = 0
    rows = {}  # of a held user, so far
    for line in a.data:
        row = json.loads(line)
        if row.get("split") == "train" and "chosen" in row and "history" not in row.get("subset", []):
            train += 1
            user, query = row["user_id"], row["context"][-1]["content"]
            asked = is_held(user if a.views else query, a.held)
            if a.views and asked:
                rows[user] = rows.get(user, 0) + 1
                asked = (rows[user] - a.at) % a.views == 0
            if asked:
                held += 1
                row["split"] = "val"
        print(json.dumps(row, ensure_ascii=False))
    print(f"{a.data.name}: {held} of {train} train rows are held back", file=sys.stderr)


if __name__ == "__main__":
    main()
