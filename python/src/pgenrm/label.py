"""label.py - preference pairs that the judge decides, as trainers read them (docs/training.md)."""
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Union

from ._calls import Progress, Watch
from ._native import Rows, cstring, ffi, lib
from .judge import ROWS, Judge

Path = Union[str, "os.PathLike[str]"]
LABEL_ROWS = Rows(lib.pgr_label_option_rows())


@dataclass(frozen=True)
class Labelled:
    read: int
    labelled: int
    close: int
    """Ahead by less than the margin, or by nothing."""
    failed: int
    first: str
    """Why the first of the failed was not judged."""


def label(judge: Judge, requests: Path, out: Path, *, form: str = "dpo", margin: float = 0, group: int = 32,
          resume: bool = False, progress: Progress = None, **settings: Any) -> Labelled:
    """Judges the requests of a file (one to a line, or an array) and writes rows that TRL's DPOTrainer ("dpo": prompt,
    chosen, rejected) or KTOTrainer ("kto") reads. `out` appears when all is done; until then it is OUT.part, with which
    resume goes on.

    margin    points that the best response must be ahead of the worst; requests of less are left out
    settings  of judging: ind, pro, seed...
    """
    watch = Watch(progress)
    keep = watch.keep
    options = ffi.new("pgr_label_options *", lib.pgr_label_options_default())
    options.judge = judge.options[0]
    LABEL_ROWS.set(options, {"form": form, "margin": margin, "group": group, "resume": resume}, keep)
    ROWS.set(ffi.addressof(options, "judge"), settings, keep)
    watch.fill(options.watch)
    names, report = (cstring(requests, keep), cstring(out, keep)), ffi.new("pgr_label_report *")
    watch.run(lambda e: lib.pgr_label(judge.engine, *names, options, report, e), by=judge.alone)
    return Labelled(int(report.read), int(report.labelled), int(report.close), int(report.failed),
                    ffi.string(report.first).decode("utf-8", "replace"))
