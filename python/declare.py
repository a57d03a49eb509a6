"""declare.py OUT [CC] - writes the module through which Python calls libpgenrm: what include/*.h declare, all of it,
read through the C compiler's preprocessor and compiled for cffi's out-of-line ABI mode.

There is no list of declarations beside the headers that could drift from them; that cffi lays out every struct as the C
compiler does is a test's (python/tests/test_declared.py).
"""
from __future__ import annotations

import pathlib
import re
import subprocess
import sys

import cffi

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([\w./]+)[>"].*$', re.M)


def headers(folder: pathlib.Path) -> list[pathlib.Path]:
    """The public headers, each behind those that it includes."""
    ordered: list[pathlib.Path] = []

    def add(path: pathlib.Path) -> None:
        for kind, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if kind == '"':
                add(folder / name)
        if path not in ordered:
            ordered.append(path)

    for path in sorted(folder.glob("*.h")):
        add(path)
    return ordered


def declarations(folder: pathlib.Path, cc: str) -> str:
    """Their text without what the system's headers say, macros expanded."""
    text = "\n".join(INCLUDE.sub("", path.read_text(encoding="utf-8")) for path in headers(folder))
    plain = subprocess.run([cc, "-E", "-P", "-xc", "-"], input=text, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in plain.splitlines() if not line.startswith("#"))


def main() -> None:
    out, cc = pathlib.Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "cc"
    ffi = cffi.FFI()
    ffi.cdef(declarations(ROOT / "include", cc))
    ffi.set_source("pgenrm_declared", None)
    made = out.with_suffix(".part")
    ffi.emit_python_code(str(made))
    made.replace(out)


if __name__ == "__main__":
    main()
