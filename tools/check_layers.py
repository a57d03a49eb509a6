#!/usr/bin/env python3
"""Proves the layering: no room includes a room that it may not, cmd/ sees pgenrm.h only."""
import pathlib
import re
import sys

NEEDS = {  # a room may include itself, what is listed, and what those may include
    "base": [], "math": ["base"], "model": ["math"], "infer": ["model"], "user": ["base"],
    "prototype": ["model", "user"], "judge": ["infer", "user", "prototype"], "bench": ["judge"],
}


def reach(room):
    seen = {room}
    for need in NEEDS[room]:
        seen |= reach(need)
    return seen


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    wrong, files = [], 0
    for room in NEEDS:
        for path in sorted((root / "src" / room).rglob("*.[ch]")):
            files += 1
            for n, line in enumerate(path.read_text().splitlines(), 1):
                hit = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
                if not hit or hit[1] == "pgenrm.h":
                    continue
                to = hit[1].split("/")[0]
                if to not in reach(room):
                    wrong.append(f"{path.relative_to(root)}:{n}: src/{room} includes {hit[1]}")
    for path in sorted((root / "cmd").glob("*.[ch]")):
        files += 1
        for n, line in enumerate(path.read_text().splitlines(), 1):
            hit = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if hit and hit[1] != "pgenrm.h" and not (root / "cmd" / hit[1]).exists():
                wrong.append(f"{path.relative_to(root)}:{n}: cmd includes {hit[1]}")
    rooms = {p.name for p in (root / "src").iterdir() if p.is_dir()}
    wrong += [f"src/{room} is not in the table of tools/check_layers.py" for room in sorted(rooms - set(NEEDS))]
    print("\n".join(wrong) if wrong else f"layers: {files} files, no include goes up")
    return 1 if wrong or not files else 0


sys.exit(main())
