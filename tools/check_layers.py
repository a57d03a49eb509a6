#!/usr/bin/env python3
"""Proves the layering: a room includes, directly, nothing but itself and what src/rooms.txt lists for it, and of
another room only the headers that stand in it, not those of its sub-folders; cmd/ sees the public headers only; the
table of docs/architecture.md has the same rooms with the same needs; CONTRIBUTING.md has a row for every room."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PUBLIC = {p.name for p in (ROOT / "include").glob("*.h")}


def read_table():
    """room -> rooms that it may include; a room may only need rooms listed above it."""
    needs = {}
    for n, line in enumerate((ROOT / "src" / "rooms.txt").read_text().splitlines(), 1):
        if line.startswith("#"):
            continue
        room, _, listed = line.partition(":")
        needs[room] = listed.split()
        unknown = [r for r in needs[room] if r not in needs or r == room]
        if unknown:
            sys.exit(f"src/rooms.txt:{n}: {room} needs {unknown[0]}, expected a room listed above it")
    return needs


def includes(path):
    for n, line in enumerate(path.read_text().splitlines(), 1):
        hit = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if hit and hit[1] not in PUBLIC:
            yield n, hit[1]


def page_errors(needs):
    """What docs/architecture.md says otherwise, and CONTRIBUTING.md not at all."""
    named = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    for room in needs:
        if room not in named:
            yield f"CONTRIBUTING.md: {room}: found no row of the table of rooms"
    page = ROOT / "docs/architecture.md"
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([\w, ]*)\|$", page.read_text(), re.M))
    for room in needs:
        expected = ", ".join(needs[room])
        found = rows.get(room, "no such row").strip()
        if found != expected:
            yield f"docs/architecture.md: {room}: found '{found}', expected '{expected}' (src/rooms.txt)"


def main():
    needs, wrong, files = read_table(), [], 0
    for room in needs:
        for path in sorted((ROOT / "src" / room).rglob("*.[ch]")):
            files += 1
            for n, name in includes(path):
                if name.split("/")[0] not in [room, *needs[room]]:
                    wrong.append(f"{path.relative_to(ROOT)}:{n}: {name}, but src/rooms.txt gives {room}: "
                                 f"{' '.join(needs[room])}")
                elif name.count("/") > 1 and name.split("/")[0] != room:
                    wrong.append(f"{path.relative_to(ROOT)}:{n}: {name} is private to {name.split('/')[0]}, "
                                 "expected a header directly in it")
    for path in sorted((ROOT / "cmd").glob("*.[ch]")):
        files += 1
        for n, name in includes(path):
            if not (ROOT / "cmd" / name).exists():
                wrong.append(f"{path.relative_to(ROOT)}:{n}: cmd includes {name}, expected public headers only")
    wrong += page_errors(needs)
    rooms = {p.name for p in (ROOT / "src").iterdir() if p.is_dir()}
    wrong += [f"src/{room} is not in src/rooms.txt" for room in sorted(rooms - set(needs))]
    print("\n".join(wrong) if wrong
          else f"layers: {files} files in {len(needs)} rooms, every include is one that src/rooms.txt allows")
    return 1 if wrong or not files else 0


sys.exit(main())
