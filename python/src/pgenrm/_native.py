"""_native.py - the library and the ways into it: where it is found, errors as exceptions, texts, options by name.

libpgenrm.so and pgenrm_declared.py (made of the public headers by python/declare.py) lie in one folder: `_lib` of this
package where it was installed, or the build folder that $PGENRM_BUILD names.
"""
from __future__ import annotations

import importlib.util
import os
import pathlib
from typing import Any, Mapping, Sequence

from pgenrm_client import PgenrmError

HERE = pathlib.Path(__file__).resolve().parent


class Error(PgenrmError):
    """What the library said: str(e) is its message, e.status its pgr_status (negative)."""


class ArgumentError(Error, ValueError):
    """PGR_E_ARG"""


class OutOfMemory(Error, MemoryError):
    """PGR_E_MEM"""


class FileError(Error):
    """PGR_E_IO"""


class FormatError(Error, ValueError):
    """PGR_E_FORMAT"""


class Unsupported(Error):
    """PGR_E_UNSUPPORTED"""


class LimitExceeded(Error):
    """PGR_E_LIMIT"""


class Cancelled(Error):
    """PGR_E_CANCELLED"""


class DeadlinePassed(Error):
    """PGR_E_DEADLINE"""


class RemoteError(Error):
    """PGR_E_REMOTE: a server that was asked did not give it."""


KINDS: dict[int, type[Error]] = {-1: ArgumentError, -2: OutOfMemory, -3: FileError, -4: FormatError, -5: Unsupported,
                                 -6: LimitExceeded, -7: Cancelled, -8: DeadlinePassed, -9: RemoteError}


def _folder() -> pathlib.Path:
    named = os.environ.get("PGENRM_BUILD")
    folder = pathlib.Path(named) if named else HERE / "_lib"
    for name in ("libpgenrm.so", "pgenrm_declared.py"):
        if not (folder / name).exists():
            raise ImportError(f"{folder / name} is not there: install the package (pip install ./python), or let "
                              "$PGENRM_BUILD name a folder in which the target pgenrm_python was built")
    return folder.resolve()


def _load() -> tuple[Any, Any]:
    folder = _folder()
    spec = importlib.util.spec_from_file_location("pgenrm_declared", folder / "pgenrm_declared.py")
    assert spec and spec.loader
    declared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(declared)
    return declared.ffi, declared.ffi.dlopen(str(folder / "libpgenrm.so"))


ffi, lib = _load()


def shipped_adapter(model: str) -> str | None:
    """The adapter for the model at this path that came with an installed package, named as pgr_adapter_find has it."""
    folder = HERE / "models" / pathlib.Path(model).name.split(".")[0]
    return str(folder) if (folder / "adapter_config.json").exists() else None


# ---- errors ----

def error_of(err: Any) -> Error:
    status, message = int(err.status), ffi.string(err.message).decode("utf-8", "replace")
    return KINDS.get(status, Error)(message or text(lib.pgr_status_text(status)), status)


def new_error() -> Any:
    return ffi.new("pgr_error *")


def check(status: int, err: Any) -> None:
    if status != 0:
        raise error_of(err)


# ---- texts ----

def text(p: Any) -> str:
    """A text of the library's; NULL is the empty one."""
    return ffi.string(p).decode("utf-8", "replace") if p != ffi.NULL else ""


def take_text(p: Any) -> str:
    """A text that the library handed over."""
    try:
        return text(p)
    finally:
        lib.pgr_free(p)


def encoded(value: str | bytes | os.PathLike[str]) -> bytes:
    """UTF-8; names of files that are none come through as the system gave them."""
    raw = os.fspath(value)
    return raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogateescape")


def cstring(value: str | bytes | os.PathLike[str] | None, keep: list[Any]) -> Any:
    """`keep` is what the text lives as long as."""
    if value is None:
        return ffi.NULL
    raw = encoded(value)
    if b"\0" in raw:
        raise ArgumentError("found a NUL in a text, expected none", -1)
    made = ffi.new("char[]", raw)
    keep.append(made)
    return made


def cstrings(values: Sequence[str | os.PathLike[str]], keep: list[Any]) -> Any:
    made = ffi.new("char *[]", [cstring(v, keep) for v in values])
    keep.append(made)
    return made


def found(call: Any, name: str | os.PathLike[str] | None) -> str:
    """The path that a pgr_..._find gives."""
    keep: list[Any] = []
    out, err = ffi.new("char **"), new_error()
    check(call(cstring(name, keep), out, err), err)
    return take_text(out[0])


# ---- options by name: rows of pgr_..._option_rows ----

class Rows:
    """The rows of one options struct. Keywords are their names with _ for -."""

    def __init__(self, rows: Any):
        self._rows: dict[str, Any] = {}
        i = 0
        while rows[i].name != ffi.NULL:
            self._rows[text(rows[i].name).replace("-", "_")] = rows + i
            i += 1

    def offset(self, name: str) -> int:
        return int(self._rows[name].offset)

    def set(self, options: Any, settings: Mapping[str, Any], keep: list[Any]) -> None:
        """options: a pointer to the struct. None counts as not given."""
        for name, value in settings.items():
            if value is not None:
                self._set_one(options, name, value, keep)

    def _set_one(self, options: Any, name: str, value: Any, keep: list[Any]) -> None:
        row, err = self._rows.get(name), new_error()
        if row is None:
            near = self._near(name)
            raise TypeError(f"{name}: no such option" + (f", expected perhaps {near}" if near else ""))
        if row.type == lib.PGR_OPTION_FLAG:
            if bool(value) != bool(row.standard):
                check(lib.pgr_option_set(row, options, ffi.NULL, err), err)
            else:
                ffi.cast("bool *", ffi.cast("char *", options) + row.offset)[0] = bool(value)
            return
        if isinstance(value, bool):
            raise TypeError(f"{name}: found {value}, expected {text(row.value)}")
        shown = value if isinstance(value, (str, os.PathLike)) else repr(value)
        check(lib.pgr_option_set(row, options, cstring(shown, keep), err), err)

    def _near(self, name: str) -> str:
        keep: list[Any] = []
        names = ffi.new("char *[]", [*(cstring(n, keep) for n in self._rows), ffi.NULL])
        return text(lib.pgr_nearest(cstring(name, keep), names))
