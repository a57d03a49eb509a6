#!/usr/bin/env python3
"""Proves the layout: every tracked .c file equals what clang-format makes of it, and no tracked line of code is longer
than 120 columns. Headers, Python, shell and CMake are laid out by hand; prose (.md) has no limit."""
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


def formatter():
    try:
        text = subprocess.run(["clang-format", "--version"], capture_output=True, text=True).stdout
    except FileNotFoundError:
        sys.exit(f"style: there is no clang-format, expected version {CLANG_FORMAT} (Debian 12: clang-format)")
    found = re.search(r"version (\d+)", text)
    if not found or int(found[1]) != CLANG_FORMAT:
        sys.exit(f"style: found {text.strip() or 'a clang-format without a version'}, expected version {CLANG_FORMAT}")


def main():
    formatter()
    names = tracked()
    sources = [name for name in names if name.endswith(".c")]
    wrong = [line for name in names for line in too_long(name)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        wrong += [line for lines in pool.map(misplaced, sources) for line in lines]
    print("\n".join(wrong) if wrong else f"style: {len(sources)} .c files as clang-format has them, "
          f"{len(names)} files within {COLUMNS} columns")
    return 1 if wrong or not sources else 0


sys.exit(main())
