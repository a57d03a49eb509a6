#!/usr/bin/env python3
"""kill.py [--kills 50] [--pairs 100000] [--pgenrm build/pgenrm]: kills -9 `pgenrm user import` at random moments and
looks at what is left.

After each kill: SQLite's integrity check, foreign keys, and that the pairs that are there are the file's first ones.
After the last: the import is run to its end, and what it exports must equal, byte for byte, an import that was never
killed."""
import argparse
import pathlib
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def check(store):
    """Pairs in the store, which must be the first ones of the file."""
    if not store.exists():
        return 0
    db = sqlite3.connect(store)
    if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
        return 0  # killed before its tables were there
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "integrity"
    assert db.execute("PRAGMA foreign_key_check").fetchall() == [], "foreign keys"
    n, last = db.execute(
        "SELECT count(*), coalesce(max(CAST(substr(conversation, 2) AS INTEGER)) + 1, 0) FROM pairs").fetchone()
    assert n == last, f"{n} pairs, but the last one is number {last}"
    db.close()
    return n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--kills", type=int, default=50)
    p.add_argument("--pairs", type=int, default=100000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--pgenrm", default=str(HERE.parent / "build" / "pgenrm"))
    a = p.parse_args()
    rng = random.Random(a.seed)
    with tempfile.TemporaryDirectory() as folder:
        data, store, peace = (pathlib.Path(folder) / n for n in ("pairs.jsonl", "killed.db", "peace.db"))
        with open(data, "wb") as f:
            subprocess.run([HERE / "pairs_make.py", str(a.pairs), "5000"], stdout=f, check=True)
        start = time.time()
        subprocess.run([a.pgenrm, "user", "import", "-q", "--store", peace, data], check=True,
                       stdout=subprocess.DEVNULL)
        whole = time.time() - start
        killed, n, moments = 0, 0, []
        while killed < a.kills:
            run = subprocess.Popen([a.pgenrm, "user", "import", "-q", "--store", store, data],
                                   stdout=subprocess.DEVNULL)
            time.sleep(rng.random() * whole * 0.5)
            run.send_signal(signal.SIGKILL)
            died = run.wait() == -signal.SIGKILL
            n = check(store)
            killed += died
            moments.append(n)
            if not died:  # it was done: begin again
                for f in pathlib.Path(folder).glob("killed.db*"):
                    f.unlink()
        subprocess.run([a.pgenrm, "user", "import", "-q", "--store", store, data], check=True,
                       stdout=subprocess.DEVNULL)
        export = [subprocess.run([a.pgenrm, "user", "export", "--store", s], check=True, stdout=subprocess.PIPE).stdout
                  for s in (store, peace)]
        assert export[0] == export[1] and export[0].count(b"\n") > a.pairs, "exports differ"
        print(f"{killed} kills of an import of {a.pairs} pairs ({whole:.1f} s in peace): no damage, pairs found after "
              f"each kill "
              f"{min(moments)} to {max(moments)}; finished, it equals the import in peace byte for byte "
              f"({len(export[0])} bytes)")


sys.exit(main())
