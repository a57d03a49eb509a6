"""bench.py - judges and statistical methods measured on known choices, as a table (docs/bench.md)."""
from __future__ import annotations

import csv
import json
import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from html import escape
from typing import Any, Iterator, Mapping, Sequence, Union

from ._calls import Progress, Watch
from ._native import check, cstring, cstrings, ffi, lib, new_error, take_text, text
from .embedder import Embedder
from .html import STYLE, row, table
from .judge import ROWS, Judge

Path = Union[str, "os.PathLike[str]"]
SHOWN = (("method", "method"), ("accuracy", "accuracy"), ("over longest", "over_longest"), ("over base", "over_base"),
         ("own - stranger", "over_stranger"), ("log loss", "log_loss"), ("ties", "ties"), ("failures", "failures"),
         ("pairs", "pairs"), ("seconds", "seconds"))

COUNTS = ("ties", "failures", "pairs")


def _name(r: Mapping[str, Any]) -> str:
    chains = ",".join(f"{k.title()}-{r[k]}" for k in ("ind", "pro") if r[k])
    who = " (strangers)" if r["stranger"] else " (no history)" if r["plain"] else ""
    return f"{r['method']}{' ' + chains if chains else ''}{who}"


def _cell(r: Mapping[str, Any], key: str) -> str:
    value, error = r.get(key), r.get(f"{key}_se")
    if key == "method":
        return _name(r)
    if value is None:
        return "–"
    if key in COUNTS:
        return f"{value:,}"
    sign = "+" if key.startswith("over_") else ""
    return f"{value:{sign}.3f}" + (f" ± {error:.3f}" if error is not None else "")


@dataclass(frozen=True)
class Report:
    """The rows of a benchmark: dictionaries with the keys of docs/bench.md, and what was not as expected. It prints as
    a table, and a notebook shows it as one."""

    rows: list[dict[str, Any]] = field(repr=False)
    notes: list[str]
    seconds: float
    html: str = field(repr=False)
    """The whole report as a page with its plots."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, what: Union[int, str]) -> Any:
        """A row by its number, a column by its name."""
        return self.rows[what] if isinstance(what, int) else [r.get(what) for r in self.rows]

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0]) if self.rows else []

    def write_csv(self, path: Path) -> None:
        """Lists and objects in it are JSON."""
        with open(path, "w", newline="", encoding="utf-8") as f:
            out = csv.writer(f)
            out.writerow(self.columns)
            for r in self.rows:
                out.writerow([json.dumps(v) if isinstance(v, (list, dict)) else v for v in r.values()])

    def _sets(self) -> list[tuple[str, list[dict[str, Any]]]]:
        names = dict.fromkeys(str(r["data"]) for r in self.rows)
        return [(n, [r for r in self.rows if r["data"] == n]) for n in names]

    def __str__(self) -> str:
        lines: list[str] = []
        for name, rows in self._sets():
            cells = [[title for title, _ in SHOWN], *([_cell(r, k) for _, k in SHOWN] for r in rows)]
            widths = [max(len(c[i]) for c in cells) for i in range(len(SHOWN))]
            lines.append(f"{name}: {rows[0]['pairs']:,} pairs of {rows[0]['users']:,} users")
            lines += ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths)))
                      for line in cells]
        return "\n".join([*lines, *(f"note: {n}" for n in self.notes)])

    def _repr_html_(self) -> str:
        parts = [STYLE, '<div class="pgenrm wide">']
        for name, rows in self._sets():
            parts += [f"<h4>{escape(name)}</h4>",
                      table([t for t, _ in SHOWN], [row([escape(_cell(r, k)) for _, k in SHOWN]) for r in rows])]
        parts += [f'<p class="dim">{escape(n)}</p>' for n in self.notes]
        return "".join([*parts, "</div>"])


class _Options:
    """pgr_bench_options and what they point to."""

    def __init__(self, judge: Judge | None, settings: Mapping[str, Any]) -> None:
        self.keep: list[Any] = []
        self.c = ffi.new("pgr_bench_options *", lib.pgr_bench_options_default())
        if judge is not None:
            self.c.judge = judge.options[0]
        ROWS.set(ffi.addressof(self.c, "judge"), settings, self.keep)

    def texts(self, name: str, values: Union[Path, Sequence[Path], None]) -> None:
        if values is None:
            return
        listed = [values] if isinstance(values, (str, os.PathLike)) else list(values)
        setattr(self.c, name, cstrings(listed, self.keep))
        setattr(self.c, f"n_{name}", len(listed))

    def numbers(self, name: str, values: Union[int, Sequence[int], None]) -> None:
        if values is None:
            return
        made = ffi.new("int[]", [values] if isinstance(values, int) else list(values))
        self.keep.append(made)
        setattr(self.c, name, made)
        setattr(self.c, f"n_{name}", len(made))

    def one(self, name: str, value: Any) -> None:
        if value is not None:
            is_text = isinstance(value, (str, os.PathLike))
            setattr(self.c, name, cstring(value, self.keep) if is_text else value)


def bench(data: Union[Path, Sequence[Path]], judge: Judge | None = None, *, ind: Union[int, Sequence[int], None] = None,
          pro: Union[int, Sequence[int], None] = None, methods: Sequence[str] | None = None, baselines: bool = False,
          history_from: Union[Path, Sequence[Path], None] = None, users: Union[Path, Sequence[Path], None] = None,
          split: str = "test", subset: str | None = None, user_key: str | None = None, limit: int = 0, runs: int = 1,
          seed: int = 0, strangers: int = 0, folds: int = 0, robust: bool = False, at_once: int = 0,
          out: Path | None = None, resume: bool = False, calibration: Path | None = None,
          calibration_out: Path | None = None, attributes_out: Path | None = None, embedder: Embedder | None = None,
          by: str | None = None, threads: int = 0, progress: Progress = None, **settings: Any) -> Report:
    """Methods side by side on the same pairs of a data set, or of several, with their errors.

    data       files of pairs in any form of docs/users.md; rows of `split` are asked, train rows are history
    judge      who is measured; None: the statistical methods alone (ind=0)
    ind, pro   numbers of chains, or several
    baselines  the statistical methods and the judge's plain prompts; methods: these by name, and `longest`
    strangers  every row that uses a history again with those of so many other users
    out        folder that keeps every verdict; resume: go on with what it holds, as after Ctrl-C
    by         of pro's similar users: "votes", "choices" or "facts" (Prototypes.build); None: as the texts are
    settings   further options of judging (docs/options.md), but for ind, pro, seed and chains
    """
    o = _Options(judge, settings)
    for name, paths in (("data", data), ("history_from", history_from), ("users", users), ("methods", methods)):
        o.texts(name, paths)
    o.numbers("ind", ind if ind is not None or judge is not None else 0)
    o.numbers("pro", pro)
    for name, value in (("split", split), ("subset", subset), ("user_key", user_key), ("limit", limit), ("runs", runs),
                        ("seed", seed), ("baselines", baselines), ("strangers", strangers), ("folds", folds),
                        ("robust", robust), ("n_thread", threads), ("at_once", at_once), ("out", out),
                        ("resume", resume), ("calibration", calibration), ("calibration_out", calibration_out),
                        ("attributes_out", attributes_out), ("by", by)):
        o.one(name, value)
    if embedder is not None:
        o.one("embedder_path", embedder.path)
    watch = Watch(progress)
    watch.fill(o.c.watch)
    watch.keep += [o.c, o.keep]
    with embedder.lock if embedder is not None else nullcontext():
        o.c.embedder = embedder.handle if embedder is not None else ffi.NULL
        return _run(o, judge, watch)


def _run(o: _Options, judge: Judge | None, watch: Watch) -> Report:
    made = ffi.new("pgr_bench_report **")
    engine = judge.engine if judge is not None else ffi.NULL
    watch.run(lambda e: lib.pgr_bench(engine, o.c, made, e), made, lib.pgr_bench_free,
              judge.alone if judge is not None else None)
    return _read(ffi.gc(made[0], lib.pgr_bench_free))


def _json(row_: Any) -> dict[str, Any]:
    out, err = ffi.new("char **"), new_error()
    check(lib.pgr_bench_row_json(row_, out, err), err)
    made: dict[str, Any] = json.loads(take_text(out[0]))
    return made


def _read(report: Any) -> Report:
    out, err = ffi.new("char **"), new_error()
    check(lib.pgr_bench_html(report, b"pgenrm bench", out, err), err)
    return Report([_json(report.rows + i) for i in range(report.n_row)],
                  [text(report.notes[i]) for i in range(report.n_note)], float(report.seconds), take_text(out[0]))
