"""test_declared.py - cffi reads the public headers themselves; here its layout of every struct is the C compiler's, and
every function that they declare is in the library."""
from __future__ import annotations

import os
import pathlib
import subprocess
import tempfile
import unittest

from here import ROOT

import pgenrm
from pgenrm._native import KINDS, ffi, lib


def is_whole(name: str) -> bool:
    try:
        return ffi.typeof(name).kind == "struct" and ffi.sizeof(name) > 0
    except ffi.error:  # only its name is public
        return False


def structs() -> list[tuple[str, object]]:
    return [(n, ffi.typeof(n)) for n in ffi.list_types()[0] if n.startswith("pgr_") and is_whole(n)]


def program() -> str:
    lines = ['#include "pgenrm_train.h"', '#include "pgenrm_bench.h"', '#include "pgenrm_serve.h"', "int main(void) {"]
    for name, t in structs():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        lines += [f'printf("{name}.{f} %zu\\n", offsetof({name}, {f}));' for f, _ in t.fields]
    return "\n".join([*lines, "return 0;", "}", ""])


def by_cffi() -> list[str]:
    out = []
    for name, t in structs():
        out.append(f"{name} {ffi.sizeof(name)}")
        out += [f"{name}.{f} {ffi.offsetof(name, f)}" for f, _ in t.fields]
    return out


class Declared(unittest.TestCase):
    def test_every_struct_is_laid_out_as_the_compiler_does(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, made = pathlib.Path(folder, "layout.c"), pathlib.Path(folder, "layout")
            source.write_text(program())
            subprocess.run([os.environ.get("CC", "cc"), f"-I{ROOT / 'include'}", source, "-o", made], check=True)
            by_compiler = subprocess.run([made], check=True, capture_output=True, text=True).stdout.splitlines()
        self.assertEqual(by_compiler, by_cffi())
        self.assertGreater(len(by_compiler), 500)  # that the list is not empty

    def test_every_status_is_an_exception_of_its_own(self) -> None:
        statuses = {int(getattr(lib, n)) for n in dir(lib) if n.startswith(("PGR_E_", "PGR_OK"))}
        self.assertEqual(statuses, {0, *KINDS})
        self.assertEqual(len(set(KINDS.values())), len(KINDS))

    def test_every_function_is_there(self) -> None:
        functions = [n for n in dir(lib) if n.startswith("pgr_")]
        self.assertGreater(len(functions), 100)
        for name in functions:
            self.assertEqual(ffi.typeof(getattr(lib, name)).kind, "function", name)

    def test_the_version_is_the_headers(self) -> None:
        self.assertIn(f'#define PGR_VERSION "{pgenrm.__version__}"', (ROOT / "include/pgenrm_model.h").read_text())


if __name__ == "__main__":
    unittest.main()
