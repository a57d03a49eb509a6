#!/usr/bin/env python3
"""same_rows.py OLD.jsonl NEW.jsonl: rows of two `pgenrm bench --json` runs of one plan, method by method: how far their
numbers differ. Rows that only one has (controls that the other did not know) are counted and passed over."""
import json
import sys

NUMBERS = ("accuracy", "macro_user", "ece", "over_longest")


def read(path):
    rows = {}
    for line in open(path):
        r = json.loads(line)
        if r["stranger"] or r.get("plain"):
            continue
        rows[r["data"], r["split"], r["method"], r["ind"], r["pro"]] = r
    return rows


def main():
    old, new = read(sys.argv[1]), read(sys.argv[2])
    worst = dict.fromkeys(NUMBERS, (0.0, None))
    for key in old.keys() & new.keys():
        for name in NUMBERS:
            a, b = old[key][name], new[key][name]
            if (a is None) != (b is None):
                sys.exit(f"{key}: {name} is {a} and {b}")
            if a is not None and abs(a - b) >= worst[name][0]:
                worst[name] = (abs(a - b), key)
    print(f"{len(old.keys() & new.keys())} rows in both, {len(old.keys() ^ new.keys())} in one")
    for name, (d, key) in worst.items():
        print(f"{name}: at most {d:.2e} apart, {key}")


main()
