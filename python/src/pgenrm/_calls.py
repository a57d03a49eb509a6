"""_calls.py - long calls: progress, and Ctrl-C. The interpreter is free while the library works (cffi gives the GIL
back); a call of the main thread is made by another one meanwhile, so that Ctrl-C is heard at once: it sets the
library's cancel flag, waits for the call to end, and raises KeyboardInterrupt."""
from __future__ import annotations

import sys
import threading
from concurrent.futures import Future, wait
from typing import Any, Callable, Union

from ._native import check, ffi, lib, new_error, text

ProgressFn = Callable[[str, int, int, str], None]
Progress = Union[bool, ProgressFn, None]
"""label, done, total, unit. True: a bar (tqdm's where it is installed, else the library's); False: nothing; None: a bar
where somebody looks (a terminal or a notebook) and tqdm is installed."""


Caller = Callable[[Callable[[], Any], Callable[[], None]], Any]
"""Makes a call and returns what it returns; the second is called to cancel it."""


def watched() -> bool:
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Bars:
    """One tqdm bar for each step of a call, in their turn."""

    def __init__(self) -> None:
        from tqdm.auto import tqdm

        self._tqdm, self._bar, self._label = tqdm, None, ""

    def __call__(self, label: str, done: int, total: int, unit: str) -> None:
        if label != self._label or (self._bar is not None and self._bar.total != (total or None)):
            self.close()
            self._label = label
            if label:
                self._bar = self._tqdm(total=total or None, desc=label, unit=f" {unit}", delay=1, unit_scale=True)
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._label = None, ""


def progress_of(wanted: Progress) -> ProgressFn | None:
    if callable(wanted):
        return wanted
    if wanted is False or (wanted is None and not watched()):
        return None
    try:
        return Bars()
    except ImportError:
        return _library_bar() if wanted else None


def _library_bar() -> ProgressFn:
    bar = ffi.gc(lib.pgr_progress_bar_create(False), lib.pgr_progress_bar_free)

    def update(label: str, done: int, total: int, unit: str) -> None:
        lib.pgr_progress_bar_update(bar, label.encode(), done, total, unit.encode())

    return update


class Watch:
    """Who watches one call, as its pgr_watch."""

    def __init__(self, progress: Progress = False) -> None:
        self.flag = ffi.new("int *")
        self.keep: list[Any] = []
        """What the call's C structs point to; it lives as long as the call, wherever it is made."""
        self._progress = progress_of(progress)
        self._failed: BaseException | None = None
        self._callback = (ffi.callback("pgr_progress_fn", self._told) if self._progress else ffi.NULL)

    def fill(self, watch: Any) -> None:
        watch.cancel = self.flag
        watch.progress = self._callback

    def cancel(self) -> None:
        self.flag[0] = 1

    def _made(self, call: Callable[[Any], int], err: Any) -> int:
        return call(err)

    def _told(self, _: Any, label: Any, done: int, total: int, unit: Any) -> None:
        try:
            if self._progress and self._failed is None:
                self._progress(text(label), done, total, text(unit))
        except BaseException as e:  # it must not pass through C
            self._failed = e
            self.cancel()

    def run(self, call: Callable[[Any], int], out: Any = None, free: Any = None, by: Caller | None = None) -> None:
        """call(err) gives a pgr_status. out, free: what the call made, and what takes it back where Ctrl-C came too
        late to stop it. by: who makes the call; else this thread, or one of its own for the main thread."""
        err = new_error()
        try:
            status = (by or interruptible)(lambda: self._made(call, err), self.cancel)
        except KeyboardInterrupt:
            if free and out and out[0] != ffi.NULL:
                free(out[0])
            raise
        finally:
            close = getattr(self._progress, "close", None)
            if close:
                close()
        if self._failed is not None:
            if status == 0 and free and out:
                free(out[0])
            raise self._failed
        check(status, err)


def interruptible(call: Callable[[], Any], cancel: Callable[[], None]) -> Any:
    """What call returns. Ctrl-C calls cancel and is raised when call has ended."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    ended = threading.Event()
    box: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        try:
            box.append((call(), None))
        except BaseException as e:
            box.append((None, e))
        finally:
            ended.set()

    threading.Thread(target=work, name="pgenrm-call", daemon=True).start()
    wait_for(lambda: ended.wait(LOOK_S), ended.is_set, cancel)
    value, failure = box[0]
    if failure is not None:
        raise failure
    return value


# A signal that arrives just as the main thread is about to wait for a lock may wake it only when the wait ends (CPython
# looks for signals before, not there): no wait of ours is without end.
LOOK_S = 0.1


def outcome(future: Future[Any]) -> Any:
    """future.result(), which Ctrl-C ends at any moment."""
    while not future.done():
        wait([future], LOOK_S)
    return future.result()


def wait_for(wait: Callable[[], Any], over: Callable[[], bool], cancel: Callable[[], None]) -> None:
    interrupt: KeyboardInterrupt | None = None
    while not over():
        try:
            wait()
        except KeyboardInterrupt as e:
            interrupt = e
            cancel()
    if interrupt is not None:
        raise interrupt
