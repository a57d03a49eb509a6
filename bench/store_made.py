#!/usr/bin/env python3
"""store_made.py STORE [--users 1000000] [--pairs 3] [--pgenrm build/pgenrm]: fills a store, a file or postgres://...,
that is not there yet with made users "user0", "user1", ..., by SQL: as many rows as imports would make in hours are
there in minutes. How long it takes to load one of them:

    seq 0 999999 | shuf -n 1000 | sed s/^/user/ | build/bench_store STORE

The tables are made by `pgenrm user add`. Texts are 100 to 400 bytes, phrases drawn by the numbers of user and pair, so
that users differ in what is measured of texts (src/facts/facts.h) as others do. A pair's hash is a made one: such a
store is for measuring, not for imports. A file is written past what keeps pgenrm's own files clean of deleted bytes
(docs/users.md), and without a log: after a kill it is to be deleted."""
import argparse
import pathlib
import sqlite3
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent

# A text is ten of these, each in WIDE bytes, cut off at its length.
WIDE = 40
PHRASES = ["Take the old road over the river bridge", "I think my own way of it was the best",
           "Perhaps it might be risky, be careful", "Great question, you will love this!",
           "For example, such as in a small garden", "It costs 12 of 40, or 7 in 1998.",
           "Do you want to know more about that?", "\n- one thing first\n- another one then", "\n## What to do next\n",
           "\n1. wash it\n2. dry it\n", "Notwithstanding considerable complexity",
           "It's fine, don't worry, we'll see.", "\n```\nx = f(y)\n```\n", "Go on. Stop. Eat. Sleep well. Get up.",
           "The garden, the tools and the weather", "However, it could fail in some cases"]
ASKED = ["How do I plan a garden with tools", "What is the weather like by the river", "Tell me of the old bridge",
         "Which road is best"]

# numbers(i) is written by each database in its own way.
USERS = """INSERT INTO users(id, demographics, criteria)
    SELECT 'user' || i, 'age: ' || (20 + i % 60), '["short answers"]' FROM {numbers}"""
PAIRS = """INSERT INTO pairs("user", hash, conversation, context, chosen, rejected, split, subsets, type, attributes)
    SELECT u.key, {hash}, 'c' || u.key || '-' || i, '[{{"role":"user","content":"' || {question} || '"}}]', {chosen},
    {rejected}, 'train', '[]', '', '' FROM users u, {numbers} WHERE u.id <> 'first'"""


def text_of(postgres, phrases, seed, n):
    """SQL of a text of 100 + n % 300 bytes; the number of phrases is a power of 2. SQLite goes to a place in bytes
    faster than in a text."""
    bank = "".join(p.ljust(WIDE) for p in phrases)
    bank = "'" + bank.replace("'", "''") + "'" if postgres else f"x'{bank.encode().hex()}'"
    bits = len(phrases).bit_length() - 1
    drawn = [f"substr({bank}, CAST(1 + {WIDE} * ({seed} >> {8 + bits * k} & {len(phrases) - 1}) AS int), {WIDE})"
             for k in range(10)]
    return f"substr({' || '.join(drawn)}, 1, CAST(100 + ({n}) % 300 AS int))"


def statements(postgres, users, pairs):
    if postgres:
        numbers, key = "generate_series(0, {n} - 1) i", "decode(md5(u.key || '-' || i), 'hex')"
    else:
        numbers = "(WITH RECURSIVE t(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM t WHERE i + 1 < {n}) SELECT i FROM t)"
        key = "CAST(printf('%08d%08d', u.key, i) AS BLOB)"
    texts = {name: text_of(postgres, bank, f"((u.key * 7919 + i * 104729 + {k}) * 7368787 % 999999937 * 403949921)",
                           f"u.key * {31 + k} + i * 17")
             for k, (name, bank) in enumerate((("question", ASKED), ("chosen", PHRASES), ("rejected", PHRASES)))}
    return [USERS.format(numbers=numbers.format(n=users)),
            PAIRS.format(numbers=numbers.format(n=pairs), hash=key, **texts)]


def fill_postgres(store, texts):
    command = ["psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", store, "-c", "SET search_path = pgenrm"]
    for text in texts + ["ANALYZE"]:
        command += ["-c", text]
    subprocess.run(command, check=True)
    size = subprocess.run(["psql", "-qAt", "-d", store, "-c", "SELECT pg_database_size(current_database())"],
                          check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(size)


def fill_sqlite(store, texts):
    """Straight into the file, without a log: ten million users need the room of one file, and no more."""
    db = sqlite3.connect(store, isolation_level=None)
    for text in ["PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA cache_size = -400000", "BEGIN",
                 *texts, "COMMIT", "PRAGMA journal_mode = WAL"]:
        db.execute(text).fetchall()
    db.close()
    return pathlib.Path(store).stat().st_size


def main():
    p = argparse.ArgumentParser()
    p.add_argument("store")
    p.add_argument("--users", type=int, default=1000000)
    p.add_argument("--pairs", type=int, default=3)
    p.add_argument("--pgenrm", default=str(HERE.parent / "build" / "pgenrm"))
    a = p.parse_args()
    subprocess.run([a.pgenrm, "user", "add", "-q", "--store", a.store, "-"], input=b'{"id":"first"}', check=True,
                   stdout=subprocess.DEVNULL)
    postgres = a.store.startswith(("postgres://", "postgresql://"))
    start = time.time()
    size = (fill_postgres if postgres else fill_sqlite)(a.store, statements(postgres, a.users, a.pairs))
    print(f"{a.users} users, {a.users * a.pairs} pairs in {time.time() - start:.0f} s: {size / 1e6:.0f} MB")


sys.exit(main())
