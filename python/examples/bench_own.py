"""bench_own.py - a judge measured on a data set of your own: how often it agrees with what people chose, beside methods
that need no language model, and beside itself with other people's histories.

    python python/examples/bench_own.py [DATA.jsonl ...]
"""
# %%
import sys
import tempfile
from pathlib import Path

from pgenrm import Judge, bench

data = sys.argv[1:] or [Path(__file__).resolve().parents[2] / "examples/choices.jsonl"]

# %% any form of docs/users.md: rows with split "test" are asked, train rows are the users' histories
statistics = bench(data, baselines=True, strangers=1)
print(statistics)

# %% the judge on the same rows; Ctrl-C ends it, and with out= and resume=True it goes on
with Judge() as judge:
    report = bench(data, judge, ind=[4, 8], strangers=1, limit=40, seed=1)
print(report)

# %% rows are dictionaries; those of strangers' histories are controls. A notebook shows `report` as a table
for r in report:
    who = "strangers' histories" if r["stranger"] else "own histories"
    print(f'{r["method"]}, {r["ind"]} chains, {who}: {r["accuracy"]:.3f} ± {r["accuracy_se"]:.3f}')

# %% the whole report with its plots, to send to a colleague
page = Path(tempfile.mkdtemp(prefix="pgenrm-bench-"), "report.html")
page.write_text(report.html, encoding="utf-8")
print(page.resolve())
