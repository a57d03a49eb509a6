"""store.py - users and what they preferred, kept in a file (SQLite) or in PostgreSQL (docs/users.md)."""
from __future__ import annotations

import json
import os
import threading
import weakref
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Sequence, Union

from ._calls import Progress, Watch
from ._native import check, cstring, cstrings, ffi, found, lib, new_error, text
from .user import Pair, Turn, User, user_object

Path = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class Imported:
    users: int
    """New ones."""
    pairs: int
    """New ones."""
    known: int
    """Pairs that were there already."""
    skipped: int
    """Bad records."""
    left_out: dict[str, int]
    """Rows that make no pair, by why: "a tie, or equal scores"..."""
    first_bad: str
    """Why the first bad record was skipped."""


@dataclass(frozen=True)
class UserRow:
    id: str
    pairs: int
    test_pairs: int
    criteria: int
    demographics: bool
    vectors: int
    analyses: int


def _imported(out: Any) -> Imported:
    left = {text(lib.pgr_left_text(i)): int(out.left_out[i]) for i in range(lib.PGR_LEFT_N) if out.left_out[i]}
    return Imported(int(out.users), int(out.pairs), int(out.known), int(out.skipped), left,
                    ffi.string(out.first_bad).decode("utf-8", "replace"))


class Store:
    """path: a file or postgres://USER@HOST:PORT/DATABASE; None: $PGENRM_STORE, else users.db in the cache folder.
    create: made where it is not there. Threads may share one: they wait for each other."""

    def __init__(self, path: Path | None = None, *, create: bool = True, read_only: bool = False) -> None:
        self.path = found(lib.pgr_store_find, path)
        """May hold a password; repr() does not."""
        keep: list[Any] = []
        mode = (lib.PGR_STORE_READ if read_only else lib.PGR_STORE_CREATE if create else lib.PGR_STORE_WRITE)
        out, err = ffi.new("pgr_store **"), new_error()
        check(lib.pgr_store_open(cstring(self.path, keep), mode, out, err), err)
        self._shown = text(lib.pgr_store_path(out[0]))
        self._store = out[0]
        self.lock = threading.Lock()
        """A handle is one thread's at a time."""
        self._close = weakref.finalize(self, lib.pgr_store_close, out[0])

    def close(self) -> None:
        with self.lock:
            self._close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pgenrm.Store {self._shown}>"

    @property
    def handle(self) -> Any:
        """The C object, for whoever holds `lock`."""
        if not self._close.alive:
            raise RuntimeError("the store is closed")
        return self._store

    # ---- what goes in ----

    def import_file(self, path: Path, *, form: str | None = None, skip_bad: bool = False, user: str | None = None,
                    user_key: str | None = None, weights: str | None = None, progress: Progress = None) -> Imported:
        """The users and pairs of a data set's file (JSON lines or an array, plain or gzip; docs/users.md has the
        forms). What was read before an error or Ctrl-C is there, and another import goes on."""
        watch = Watch(progress)
        keep = watch.keep
        options = ffi.new("pgr_import_options *")
        options.form, options.user = cstring(form, keep), cstring(user, keep)
        options.user_key, options.weights = cstring(user_key, keep), cstring(weights, keep)
        options.skip_bad = skip_bad
        watch.fill(options.watch)
        out, name = ffi.new("pgr_imported *"), cstring(path, keep)
        with self.lock:
            store = self.handle
            watch.run(lambda e: lib.pgr_user_import(store, name, options, out, e))
        return _imported(out)

    def add(self, user: Union[User, Mapping[str, Any]]) -> Imported:
        """A user with his pairs: all of it or nothing. Who is there gets the pairs that he has not; criteria and
        demographics that are given replace his."""
        raw = json.dumps(user_object(user), allow_nan=False).encode()
        out, err = ffi.new("pgr_imported *"), new_error()
        with self.lock:
            check(lib.pgr_user_add(self.handle, raw, len(raw), b"user", out, err), err)
        return _imported(out)

    def feedback(self, user: str, query: Union[str, Sequence[Turn]], chosen: str, rejected: str) -> Imported:
        """One more pair of a user's, which the next request knows."""
        return self.add(User(user, [Pair(query, chosen, rejected)]))

    def forget(self, *ids: str) -> None:
        """All that is stored of these users goes, their bytes in the file too: all of them or none. An error that says
        "rows are gone" where another program is reading: their bytes go with the next change."""
        keep: list[Any] = []
        err = new_error()
        with self.lock:
            check(lib.pgr_user_forget(self.handle, cstrings(ids, keep), len(ids), err), err)

    def forget_pair(self, user: str, query: str, chosen: str, rejected: str) -> int:
        """The pairs of a user with this question (of a dialogue the last turn) and these responses: how many went."""
        keep: list[Any] = []
        texts = [cstring(t, keep) for t in (user, query, chosen, rejected)]
        n, err = ffi.new("size_t *"), new_error()
        with self.lock:
            check(lib.pgr_user_forget_pair(self.handle, *texts, n, err), err)
        return int(n[0])

    # ---- what is there ----

    def users(self) -> list[UserRow]:
        """In the order in which they came."""
        rows: list[UserRow] = []

        def take(_: Any, row: Any) -> bool:
            rows.append(UserRow(text(row.id), int(row.pairs), int(row.test_pairs), int(row.criteria),
                                bool(row.demographics), int(row.vectors), int(row.analyses)))
            return True

        callback, err = ffi.callback("pgr_user_fn", take), new_error()
        with self.lock:
            check(lib.pgr_user_list(self.handle, callback, ffi.NULL, err), err)
        return rows

    def user(self, id: str) -> User:
        """With his history; an error where there is no such user."""
        return User.of(json.loads("".join(self._lines(id, lib.PGR_USER_REQUEST))))

    def export(self, id: str | None = None) -> list[dict[str, Any]]:
        """The records of one user, or of all: what import_file reads back, one of them to a line."""
        return [json.loads(line) for line in "".join(self._lines(id, lib.PGR_USER_RECORDS)).splitlines()]

    def __contains__(self, id: str) -> bool:
        keep: list[Any] = []
        out, err = ffi.new("pgr_user **"), new_error()
        with self.lock:
            status = lib.pgr_user_load(self.handle, cstring(id, keep), out, err)
        if status == lib.PGR_E_ARG:
            return False
        check(status, err)
        lib.pgr_user_free(out[0])
        return True

    def __len__(self) -> int:
        return len(self.users())

    def __iter__(self) -> Iterator[str]:
        return iter([row.id for row in self.users()])

    def _lines(self, id: str | None, form: int) -> list[str]:
        keep: list[Any] = []
        parts: list[bytes] = []

        def take(_: Any, data: Any, n: int) -> bool:
            parts.append(bytes(ffi.buffer(data, n)))
            return True

        callback, err = ffi.callback("pgr_write_fn", take), new_error()
        with self.lock:
            check(lib.pgr_user_export(self.handle, cstring(id, keep), form, callback, ffi.NULL, err), err)
        return [b"".join(parts).decode("utf-8", "replace")]


