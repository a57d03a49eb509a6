"""prototypes.py - groups of users who prefer alike, and the file that holds them (docs/prototypes.md)."""
from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any, Union

from ._calls import Progress, Watch
from ._native import ArgumentError, check, cstring, ffi, lib, new_error, take_text, text
from .embedder import Embedder
from .html import STYLE, row, table
from .judge import Judge
from .store import Store

if TYPE_CHECKING:
    import numpy

Path = Union[str, "os.PathLike[str]"]
WAYS = ("votes", "choices", "analysis", "facts")  # in the order of pgr_proto_by


@dataclass(frozen=True)
class Prototype:
    rows: int
    users: int
    words: list[str]
    """Typical of what they chose; by facts what they like ("length more")."""
    similarity: float


def beside(store: Store) -> str:
    """The file of prototypes that belongs to a store."""
    keep: list[Any] = []
    out, err = ffi.new("char **"), new_error()
    check(lib.pgr_store_protos(cstring(store.path, keep), out, err), err)
    return take_text(out[0])


@dataclass(frozen=True)
class Prototypes:
    """What a file of prototypes holds; made by build() or open()."""

    path: str
    by: str
    embedder: str
    model: str
    split: str
    dims: int
    k: int
    rows: int
    users: int
    pairs: int
    seed: int
    inertia: float
    suggested_k: int
    beta: float
    own_lead: float
    """By facts: of members' pairs, how many more are told right less wrong by their own others than by strangers'."""
    texts: int
    """By votes: texts that two or more of the users chose or rejected."""
    singular: numpy.ndarray[Any, Any] = field(repr=False)
    """Singular values, largest first."""
    losses: numpy.ndarray[Any, Any] = field(repr=False)
    """Mean loss of every epoch of refinement."""
    groups: list[Prototype] = field(repr=False)

    @classmethod
    def open(cls, path: Path, *, check_all: bool = False) -> Prototypes:
        """check_all: all checksums are compared, else those of arrays beyond 256 MiB are not."""
        import numpy

        keep: list[Any] = []
        out, err = ffi.new("pgr_prototypes **"), new_error()
        check(lib.pgr_prototypes_read(cstring(path, keep), check_all, out, err), err)
        p = ffi.gc(out[0], lib.pgr_prototypes_free)
        return cls(text(p.path), WAYS[p.by], text(p.embedder), text(p.model), text(p.split), int(p.dims), int(p.k),
                   int(p.rows), int(p.users), int(p.pairs), int(p.seed), float(p.inertia), int(p.suggested_k),
                   float(p.beta), float(p.own_lead), int(p.texts),
                   numpy.array([p.singular[i] for i in range(p.n_singular)]),
                   numpy.array([p.losses[i] for i in range(p.n_loss)]), [_prototype(p.list[i]) for i in range(p.k)])

    @classmethod
    def build(cls, store: Store, path: Path | None = None, *, by: str = "choices", k: int = 0, restarts: int = 10,
              epochs: int = 1, beta: float = 4, dims: int = 512, split: str = "history", seed: int = 0,
              embedder: Embedder | None = None, judge: Judge | None = None, threads: int = 0,
              progress: Progress = None) -> Prototypes:
        """Users of the store -> vectors -> k-means -> refinement -> a file (default: the store's own, which a Judge on
        this store finds).

        by        "choices" and "analysis" need an embedder, "votes" and "facts" no model; "analysis" has the preference
                  analyses that the store lacks written by `judge`
        k         prototypes; 0: as the singular values suggest
        """
        made = beside(store) if path is None else os.fspath(path)
        settings = {"k": k, "restarts": restarts, "epochs": epochs, "beta": beta, "dims": dims, "split": split,
                    "seed": seed, "n_thread": threads}
        _Building(store, embedder, judge, by, settings, progress).run(
            lambda s, name, o, e: lib.pgr_proto_build(s, name, o, e), made)
        return cls.open(made)

    def add(self, store: Store, *, embedder: Embedder | None = None, judge: Judge | None = None,
            progress: Progress = None) -> tuple[int, int]:
        """Users of the store that the file lacks join the nearest prototype, those that the store no longer has leave
        it: how many of both. open() the path again to see them."""
        out = ffi.new("pgr_proto_added *")
        _Building(store, embedder, judge, self.by, {"split": self.split}, progress).run(
            lambda s, name, o, e: lib.pgr_proto_add(s, name, o, out, e), self.path)
        return int(out.added), int(out.dropped)

    def map(self, users: int = 0) -> str:
        """An SVG picture of at most so many users (0: 4,000), coloured by prototype."""
        keep: list[Any] = []
        out, err = ffi.new("char **"), new_error()
        check(lib.pgr_proto_map(cstring(self.path, keep), users, out, err), err)
        return take_text(out[0])

    def _repr_html_(self) -> str:
        rows = [row([f"{i + 1}", f"{p.users}", f"{p.rows}", f"{p.similarity:.2f}", escape(", ".join(p.words))])
                for i, p in enumerate(self.groups)]
        return f'{STYLE}<div class="pgenrm">' + table(
            ["Prototype", "Users", "Rows", "Similarity",
             "What they like" if self.by == "facts" else "Typical words of what they chose"], rows) + "</div>"


def _prototype(p: Any) -> Prototype:
    words: list[str] = []
    while p.words[len(words)] != ffi.NULL:
        words.append(text(p.words[len(words)]))
    return Prototype(int(p.rows), int(p.users), words, float(p.similarity))


class _Building:
    """One call that builds, with what it needs."""

    def __init__(self, store: Store, embedder: Embedder | None, judge: Judge | None, by: str, settings: dict[str, Any],
                 progress: Progress) -> None:
        if by not in WAYS:
            raise ArgumentError(f"by: found {by!r}, expected one of {', '.join(WAYS)}", -1)
        self.store, self.embedder, self.judge = store, embedder, judge
        self.watch = Watch(progress)
        self.keep = self.watch.keep
        self.options = o = ffi.new("pgr_proto_options *", lib.pgr_proto_options_default())
        o.by = WAYS.index(by)
        for name, value in settings.items():
            setattr(o, name, cstring(value, self.keep) if isinstance(value, str) else value)
        self.watch.fill(o.watch)

    def run(self, call: Any, path: Path) -> None:
        name = cstring(path, self.keep)
        with self.store.lock, self.embedder.lock if self.embedder else nullcontext():
            store = self.store.handle
            self.options.embedder = self.embedder.handle if self.embedder else ffi.NULL
            if self.judge is not None:
                self._analyses(self.judge)
            self.watch.run(lambda e: call(store, name, self.options, e), by=self.judge.alone if self.judge else None)

    def _analyses(self, judge: Judge) -> None:
        """The judge writes those that are missing."""
        analyst = ffi.new("pgr_analyst *", {"engine": judge.engine, "options": judge.options})
        self.keep.append(analyst)
        self.options.analyse = ffi.cast("pgr_analyse_fn", ffi.addressof(lib, "pgr_analyse"))
        self.options.analyse_ctx = analyst
        self.options.analyst = cstring(judge.name, self.keep)
