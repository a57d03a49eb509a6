#!/usr/bin/env python3
"""Proves the layout: every tracked .c file equals what clang-format makes of it, and no tracked line of code is longer
than 120 columns. Headers, Python, shell and CMake are laid out by hand; prose (.md) has no limit.
--if-installed: where clang-format is missing or of another version, only the columns are proved, and it says so."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = 120
CLANG_FORMAT = 14  # other versions lay some lines out otherwise
CODE = (".c", ".h", ".inc", ".py", ".sh", ".cmake", "CMakeLists.txt", "Makefile")


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name.endswith(CODE) and (ROOT / name).is_file()]


def too_long(name):
    lines = (ROOT / name).read_text(encoding="utf-8").split("\n")
    return [f"{name}:{n}: {len(line)} columns, expected at most {COLUMNS}"
            for n, line in enumerate(lines, 1) if len(line) > COLUMNS]


def misplaced(name):
    """The first line that clang-format would lay out otherwise."""
    want = subprocess.run(["clang-format", name], cwd=ROOT, check=True, capture_output=True,
                          text=True).stdout.split("\n")
    have = (ROOT / name).read_text(encoding="utf-8").split("\n")
    if want == have:
        return []
    n = next((i for i, (a, b) in enumerate(zip(have, want)) if a != b), min(len(have), len(want)) - 1)
    return [f"{name}:{n + 1}: clang-format has {want[n]!r} here (`make format`)"]


def warned(names):
    """Those of names whose layout clang-format warns of: one call for many files, which is most of the time."""
    told = subprocess.run(["clang-format", "--dry-run", *names], cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in names if f"{name}:" in told.stderr]


def lacking_formatter():
    """What is wrong with the clang-format of this machine; empty where it is the expected one."""
    try:
        text = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        return f"there is no clang-format, expected version {CLANG_FORMAT} (Debian 12: clang-format)"
    found = re.search(r"version (\d+)", text)
    if not found or int(found[1]) != CLANG_FORMAT:
        return f"found {text.strip() or 'a clang-format without a version'}, expected version {CLANG_FORMAT}"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--if-installed", action="store_true", help="no error where clang-format is not there")
    if_installed = parser.parse_args().if_installed
    lacking = lacking_formatter()
    if lacking and not if_installed:
        sys.exit(f"style: {lacking}")
    names = tracked()
    sources = [name for name in names if name.endswith(".c")]
    wrong = [line for name in names for line in too_long(name)]
    if not lacking:
        cores = os.cpu_count() or 1
        with concurrent.futures.ThreadPoolExecutor(cores) as pool:
            parts = pool.map(warned, (sources[i::cores] for i in range(cores)))
        wrong += [line for part in parts for name in part for line in misplaced(name)]
    layout = f"layout not proved: {lacking}" if lacking else f"{len(sources)} .c files as clang-format has them"
    print("\n".join(wrong) if wrong else f"style: {layout}, {len(names)} files within {COLUMNS} columns")
    return 1 if wrong or not sources else 0


sys.exit(main())
