#!/usr/bin/env python3
"""The metrics of trainings as a database of Trackio, whose dashboard then shows them:

    tools/trackio_db.py RUN... --project pgenrm [--follow]     then: trackio show --project pgenrm

RUN is a folder of `pgenrm train` (metrics.jsonl). The database is PROJECT.db in $TRACKIO_DIR, else in
~/.cache/huggingface/trackio: a table `metrics` (id, timestamp, run_name, step, metrics as JSON) and a table `configs`
(id, run_name, config as JSON, created_at). A run that is there already is written anew. --follow goes on as long as
the files grow, until Ctrl-C."""
import argparse
import datetime
import json
import os
import pathlib
import sqlite3
import sys
import time

TABLES = """
CREATE TABLE IF NOT EXISTS metrics(id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL,
    run_name TEXT NOT NULL, step INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS configs(id INTEGER PRIMARY KEY AUTOINCREMENT, run_name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL, created_at TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS idx_metrics_run_step ON metrics(run_name, step);
CREATE INDEX IF NOT EXISTS idx_configs_run_name ON configs(run_name);
"""


def now():
    return datetime.datetime.now().isoformat()


class Run:
    """A run's metrics file, and how far it was read."""

    def __init__(self, folder):
        self.path = pathlib.Path(folder) / "metrics.jsonl"
        self.name = pathlib.Path(folder).resolve().name
        self.at = 0
        if not self.path.is_file():
            sys.exit(f"{self.path}: not there, expected the metrics of a training")

    def rows(self):
        """New whole lines as (step, {name: number}), what an evaluation measured below eval/; no samples."""
        with open(self.path, "rb") as f:
            f.seek(self.at)
            text = f.read()
        end = text.rfind(b"\n") + 1
        self.at += end
        for line in text[:end].splitlines():
            v = json.loads(line)
            prefix = "eval/" if v.get("evaluation") else ""
            numbers = {prefix * (not k.startswith("eval/")) + k: x for k, x in v.items()
                       if isinstance(x, (int, float)) and not isinstance(x, bool) and k != "step"}
            if numbers and "sample" not in v:
                yield v["step"], numbers


def write(db, run):
    n = 0
    for step, numbers in run.rows():
        db.execute("INSERT INTO metrics(timestamp, run_name, step, metrics) VALUES(?, ?, ?, ?)",
                   (now(), run.name, step, json.dumps(numbers)))
        n += 1
    db.commit()
    return n


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--project", default="pgenrm")
    p.add_argument("--follow", action="store_true")
    a = p.parse_args()
    if not all(c.isalnum() or c in "-_" for c in a.project):
        p.error(f"project: found {a.project!r}, expected letters, digits, - and _")
    folder = pathlib.Path(os.environ.get("TRACKIO_DIR") or pathlib.Path.home() / ".cache/huggingface/trackio")
    folder.mkdir(parents=True, exist_ok=True)
    runs = [Run(r) for r in a.runs]
    db = sqlite3.connect(folder / f"{a.project}.db", timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(TABLES)
    for run in runs:
        db.execute("DELETE FROM metrics WHERE run_name = ?", (run.name,))
        db.execute("INSERT OR REPLACE INTO configs(run_name, config, created_at) VALUES(?, ?, ?)",
                   (run.name, json.dumps({"folder": str(run.path.parent.resolve())}), now()))
        print(f"{run.name}: {write(db, run)} rows")
    try:
        while a.follow:
            time.sleep(2)
            for run in runs:
                write(db, run)
    except KeyboardInterrupt:
        pass
    db.close()


if __name__ == "__main__":
    main()
