"""_desk.py - the thread that owns an engine: what all other threads ask is judged at one open desk (pgr_desk_...), so
that requests of many threads share batches; whoever asks gets a future."""
from __future__ import annotations

import json
import threading
from concurrent.futures import Future, wait
from typing import Any, Callable, Mapping

from ._calls import LOOK_S, wait_for
from ._native import Error, check, error_of, ffi, lib, new_error, take_text
from .result import Result


class Ask:
    """A request on its way. `keep`: what its C structs point to."""

    def __init__(self, request: Any, options: Any, keep: list[Any], given: Mapping[str, Any]) -> None:
        self.request, self.options, self.keep, self.given = request, options, keep, given
        self.future: Future[Result] = Future()
        self.ticket = 0


class Job:
    """What needs the engine to itself."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call
        self.future: Future[Any] = Future()


def finish(future: Future[Any], value: Any = None, failure: BaseException | None = None) -> None:
    """Unless nobody waits for it any more."""
    if not future.set_running_or_notify_cancel():
        return
    if failure is not None:
        future.set_exception(failure)
    else:
        future.set_result(value)


class Desk:
    """engine, options: C objects that the desk frees in the end through `free`."""

    def __init__(self, engine: Any, options: Any, free: Callable[[], None]) -> None:
        self._engine, self._options, self._free = engine, options, free
        self._lock = threading.Condition()
        self._asks: list[Ask] = []
        self._dropped: list[Ask] = []
        self._jobs: list[Job] = []
        self._closed = False
        self._desk: Any = ffi.NULL
        self._at_work: dict[int, Ask] = {}
        self._thread: threading.Thread | None = None
        self._open()  # what is wrong with the judge's settings is said at once

    # ---- from any thread ----

    def ask(self, asks: list[Ask]) -> None:
        for a in asks:
            a.future.add_done_callback(lambda f, a=a: self._drop(a) if f.cancelled() else None)  # type: ignore[misc]
        with self._lock:
            self._begin()
            self._asks += asks
            self._lock.notify_all()

    def alone(self, call: Callable[[], Any], cancel: Callable[[], None]) -> Any:
        """What call returns, made by the engine's thread while nothing else is asked of the engine."""
        job = Job(call)
        with self._lock:
            self._begin()
            self._jobs.append(job)
            self._lock.notify_all()
        wait_for(lambda: wait([job.future], LOOK_S), job.future.done, cancel)
        return job.future.result()

    def close(self) -> None:
        """What is asked fails; the engine's thread ends and frees the engine."""
        with self._lock:
            was_closed, self._closed = self._closed, True
            self._lock.notify_all()
        if self._thread is None:
            if not was_closed:
                self._end(self._left)
        elif self._thread is not threading.current_thread():
            self._thread.join()

    def _begin(self) -> None:
        if self._closed:
            raise RuntimeError("the judge is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pgenrm-judge", daemon=True)
            self._thread.start()

    def _drop(self, ask: Ask) -> None:
        with self._lock:
            self._dropped.append(ask)
            self._lock.notify_all()

    # ---- the thread of the engine ----

    def _run(self) -> None:
        try:
            self._work()
            self._end(self._left)
        except BaseException as e:  # ours: nobody must wait for ever
            with self._lock:
                self._closed = True
            self._end(e)
            raise

    def _work(self) -> None:
        """Until the desk is closed."""
        busy = False
        while True:
            with self._lock:
                while not (busy or self._asks or self._dropped or self._jobs or self._closed):
                    self._lock.wait()
                if self._closed:
                    return
                asks = [] if self._jobs else self._asks  # who needs the engine alone need not wait for ever
                if asks:
                    self._asks = []
                dropped, self._dropped = self._dropped, []
                job = self._jobs.pop(0) if self._jobs and not self._at_work else None
            for a in asks:
                self._submit(a)
            for a in dropped:
                self._cancel(a)
            if job is not None:
                self._do(job)
            busy = self._step()

    def _open(self) -> None:
        if self._desk == ffi.NULL:
            out, err = ffi.new("pgr_desk **"), new_error()
            check(lib.pgr_desk_open(self._engine, self._options, out, err), err)
            self._desk = out[0]

    def _submit(self, a: Ask) -> None:
        if a.future.cancelled():
            return
        try:
            self._open()
            ask, ticket, err = ffi.new("pgr_ask *"), ffi.new("uint64_t *"), new_error()
            ask.request, ask.options = a.request, a.options
            check(lib.pgr_desk_ask(self._desk, ask, ticket, err), err)
            a.ticket = int(ticket[0])
            self._at_work[a.ticket] = a
        except Error as e:
            finish(a.future, failure=e)

    def _cancel(self, a: Ask) -> None:
        if self._at_work.pop(a.ticket, None) is not None:
            lib.pgr_desk_cancel(self._desk, a.ticket)

    def _do(self, job: Job) -> None:
        self._close_desk()
        try:
            finish(job.future, job.call())
        except BaseException as e:
            finish(job.future, failure=e)

    def _step(self) -> bool:
        if self._desk == ffi.NULL:
            return False
        busy = bool(lib.pgr_desk_step(self._desk))
        verdict = ffi.new("pgr_verdict *")
        while lib.pgr_desk_take(self._desk, verdict):
            self._settle(self._at_work.pop(int(verdict.ticket), None), verdict)
        return busy

    @staticmethod
    def _settle(a: Ask | None, verdict: Any) -> None:
        if verdict.result == ffi.NULL:
            if a is not None:
                finish(a.future, failure=error_of(verdict.error))
            return
        try:
            if a is not None:
                out, err = ffi.new("char **"), new_error()
                check(lib.pgr_result_json(verdict.result, out, err), err)
                finish(a.future, Result.of(json.loads(take_text(out[0])), a.given))
        except Exception as e:
            assert a is not None
            finish(a.future, failure=e)
        finally:
            lib.pgr_result_free(verdict.result)

    def _close_desk(self) -> None:
        lib.pgr_desk_close(self._desk)
        self._desk = ffi.NULL

    _left = RuntimeError("the judge was closed before it judged this")

    def _end(self, why: BaseException) -> None:
        self._close_desk()
        with self._lock:
            left = [*(a.future for a in [*self._at_work.values(), *self._asks]), *(j.future for j in self._jobs)]
        for future in left:
            if not future.done():
                finish(future, failure=why)
        self._at_work.clear()
        self._free()
