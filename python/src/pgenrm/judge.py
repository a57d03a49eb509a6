"""judge.py - a model with its adapter, its store and its calibration, opened together, and the requests that it judges.

    judge = Judge()                                  # the default model with the adapter that comes with pgenrm
    result = judge.score(User(history=[...]), "What can I cook?", ["Stew: ...", "Chickpeas are ..."], ind=8)
    result.best, result.scores
"""
from __future__ import annotations

import asyncio
import json
import os
import pathlib
import threading
import weakref
from concurrent.futures import CancelledError, Future
from typing import Any, Callable, Iterable, Mapping, Sequence, Union

from ._calls import Progress, Watch, outcome, progress_of, wait_for
from ._desk import Ask, Desk
from ._native import (ArgumentError, Error, Rows, check, cstring, ffi, found, lib, new_error,
                      shipped_adapter, take_text, text)
from .result import Result
from .user import Turn, User, user_object

Path = Union[str, "os.PathLike[str]"]
Adapters = Union[Path, None, Sequence[Union[Path, "tuple[Path, float]"]]]
Question = Union[str, Sequence[Turn]]

ROWS = Rows(lib.pgr_judge_option_rows())
if ROWS.offset("chains") != ffi.offsetof("pgr_judge_options", "keep_chains"):
    raise ImportError("libpgenrm.so and pgenrm_declared.py are of different versions: build the target pgenrm_python")
DTYPES = ("auto", "exact", "f32", "bf16", "int8")
AT_DESK = ("frame", "slots")  # of all requests of a judge


class _Opened:
    """What a judge has opened, closed in the reverse order."""

    def __init__(self) -> None:
        self._closers: list[tuple[Callable[[Any], None], Any]] = []
        self.keep: list[Any] = []

    def open(self, out: Any, close: Callable[[Any], None], call: Callable[[Any], int],
             watch: Watch | None = None) -> Any:
        """The object that call puts into out."""
        if watch is not None:
            watch.run(call, out, close)
        else:
            err = new_error()
            check(call(err), err)
        self._closers.append((close, out[0]))
        return out[0]

    def close(self) -> None:
        while self._closers:
            close, what = self._closers.pop()
            close(what)


def is_address(model: Path | None) -> bool:
    return isinstance(model, str) and model.startswith(("http://", "https://"))


def request_of(user: Any, query: Question | None, responses: Sequence[str], messages: Sequence[Turn] | None,
               id: str | None, scalar: Sequence[float] | None) -> dict[str, Any]:
    """An object of docs/requests.md of what score is called with."""
    if query is not None and not isinstance(query, str):
        messages, query = query, None
    return {"id": id, "user": user, "query": query, "messages": messages, "responses": responses, "scalar": scalar}


class Judge:
    """Threads may share one: what they ask at the same time is judged in one batch, each request as if it were alone.

    model        a GGUF file, a Hugging Face folder, a name in the cache folder; None: $PGENRM_MODEL, else the default
                 model; "http://HOST/v1": chains by a server (docs/remote.md)
    adapter      "auto": the one that comes with pgenrm for this model and the compact frame, if there is one; None:
                 none; a path, or a list of paths or of (path, scale)
    store        path of a store of users, or a Store: who is named by his id has the history that it knows
    prototypes   file of prototypes, for pro > 0; default: the one beside the store, if it is there
    embedder     path or name, for similar users and for history_by="relevant"; default: what the prototypes need
    calibration  file; default: the one in the adapter's folder that "auto" has found
    dtype        "auto", "exact", "f32", "bf16", "int8";  threads: 0: all cores
    progress     of opening the model and of score_many: see pgenrm.Progress
    settings     what counts for requests that say nothing: the options of docs/options.md by their names (ind, pro,
                 history, seed, frame, temperature, chains=True...). frame and slots are the judge's alone

    A model and its engine live until close(), the end of a `with`, or the end of the object.
    """

    def __init__(self, model: Path | None = None, adapter: Adapters = "auto", store: Any = None, *,
                 prototypes: Path | None = None, embedder: Path | None = None, calibration: Path | None = None,
                 dtype: str = "auto", threads: int = 0, chat_template: str | None = None, api_key: str | None = None,
                 progress: Progress = None, **settings: Any) -> None:
        self._opened = _Opened()
        self._progress = progress
        self._settings = dict(settings)
        self._store: Any = ffi.NULL
        self._store_lock = threading.Lock()
        self._watch = Watch(progress)
        self._opened.keep.append(self._watch)  # a server's engine looks at its flag as long as it lives
        try:
            options = self._new_options({}, self._opened.keep)
            self._open_engine(model, adapter, dtype, threads, chat_template, api_key)
            self._open_calibration(calibration, options)
            if store is not None or prototypes is not None or (settings.get("pro") or 0) > 0:
                self._open_users(getattr(store, "path", store), prototypes, embedder, threads, options)
            if embedder is not None or self._relevant(options):
                self._open_embedder(embedder, threads, options)
            self._desk = Desk(self._engine, options, self._opened.close)
        except BaseException:
            self._opened.close()
            raise
        self._options, self._name = options, text(lib.pgr_engine_name(self._engine))
        self._close = weakref.finalize(self, self._desk.close)

    # ---- opening ----

    def _open_engine(self, model: Path | None, adapter: Adapters, dtype: str, threads: int, template: str | None,
                     api_key: str | None) -> None:
        model = model if model is not None else os.environ.get("PGENRM_MODEL")
        self._shipped: str | None = None
        if is_address(model):
            self._connect(str(model), adapter, api_key)
            return
        path = found(lib.pgr_model_find, model)
        self._open_model(path, dtype, threads, template)
        out = ffi.new("pgr_engine **")
        self._engine = self._opened.open(out, lib.pgr_engine_free,
                                         lambda e: lib.pgr_engine_create(self._model, ffi.NULL, out, e))
        self._open_adapters(path, adapter)

    def _open_model(self, path: str, dtype: str, threads: int, template: str | None) -> None:
        if dtype not in DTYPES:
            raise ArgumentError(f"dtype: found {dtype!r}, expected one of {', '.join(DTYPES)}", -1)
        keep = self._opened.keep
        options = ffi.new("pgr_model_options *", lib.pgr_model_options_default())
        options.dtype, options.n_thread = DTYPES.index(dtype), threads
        options.chat_template = cstring(template, keep)
        self._watch.fill(options.watch)
        out, name = ffi.new("pgr_model **"), cstring(path, keep)
        self._model = self._opened.open(out, lib.pgr_model_close,
                                        lambda e: lib.pgr_model_open(name, options, out, e), self._watch)

    def _connect(self, urls: str, adapter: Adapters, api_key: str | None) -> None:
        if adapter not in ("auto", None):
            raise ArgumentError("adapter: found one, expected none with a server, which loads its adapters itself", -1)
        keep = self._opened.keep
        options = ffi.new("pgr_remote_options *", lib.pgr_remote_options_default())
        options.urls, options.key = cstring(urls, keep), cstring(api_key, keep)
        self._watch.fill(options.watch)
        out = ffi.new("pgr_engine **")
        self._engine = self._opened.open(out, lib.pgr_engine_free,
                                         lambda e: lib.pgr_engine_connect(options, out, e), self._watch)

    def _open_adapters(self, path: str, adapter: Adapters) -> None:
        wanted: Sequence[Any] = []
        if isinstance(adapter, str) and adapter == "auto":
            if self._settings.get("frame") in (None, "compact"):
                keep: list[Any] = []
                out, err = ffi.new("char **"), new_error()
                check(lib.pgr_adapter_find(cstring(path, keep), out, err), err)
                self._shipped = take_text(out[0]) or shipped_adapter(path)
                wanted = [self._shipped] if self._shipped else []
        elif adapter is not None:
            wanted = [adapter] if isinstance(adapter, (str, os.PathLike)) else list(adapter)
        if not wanted:
            return
        pairs = [w if isinstance(w, tuple) else (w, 1.0) for w in wanted]
        loras = ffi.new("pgr_lora *[]", [self._open_adapter(p) for p, _ in pairs])
        scales, err = ffi.new("float[]", [s for _, s in pairs]), new_error()
        check(lib.pgr_engine_set_loras(self._engine, loras, scales, len(pairs), err), err)

    def _open_adapter(self, path: Path) -> Any:
        keep: list[Any] = []
        out, name = ffi.new("pgr_lora **"), cstring(path, keep)
        return self._opened.open(out, lib.pgr_lora_close, lambda e: lib.pgr_lora_open(self._model, name, out, e))

    def _open_calibration(self, named: Path | None, options: Any) -> None:
        path: Path | None = named
        if path is None and self._shipped:
            beside = pathlib.Path(self._shipped, "calibration.json")
            path = beside if beside.exists() else None
        if path is not None:
            keep: list[Any] = []
            out, name = ffi.new("pgr_calibration **"), cstring(path, keep)
            options.calibration = self._opened.open(out, lib.pgr_calibration_free,
                                                    lambda e: lib.pgr_calibration_open(name, out, e))

    def _open_users(self, store: Path | None, prototypes: Path | None, embedder: Path | None, threads: int,
                    options: Any) -> None:
        keep = self._opened.keep
        path = found(lib.pgr_store_find, store)
        name, out = cstring(path, keep), ffi.new("pgr_store **")
        self._store = self._opened.open(out, lib.pgr_store_close,
                                        lambda e: lib.pgr_store_open(name, lib.PGR_STORE_READ, out, e))
        if prototypes is None and not (self._settings.get("pro") or 0) > 0:
            beside = ffi.new("char **")
            err = new_error()
            check(lib.pgr_store_protos(name, beside, err), err)
            if not os.path.exists(take_text(beside[0])):
                return
        people = ffi.new("pgr_people **")
        protos = cstring(prototypes, keep)
        by = cstring(found(lib.pgr_embedder_find, embedder) if embedder is not None else None, keep)
        options.people = self._opened.open(people, lib.pgr_people_close,
                                           lambda e: lib.pgr_people_open(name, protos, by, threads, people, e))

    def _relevant(self, options: Any) -> bool:
        return bool(options.history_by == lib.PGR_HISTORY_RELEVANT and options.people == ffi.NULL)

    def _open_embedder(self, embedder: Path | None, threads: int, options: Any) -> None:
        keep = self._opened.keep
        model = ffi.new("pgr_model_options *", lib.pgr_model_options_default())
        model.n_thread = threads
        self._watch.fill(model.watch)
        name, out = cstring(found(lib.pgr_embedder_find, embedder), keep), ffi.new("pgr_embedder **")
        options.embedder = self._opened.open(out, lib.pgr_embedder_close,
                                             lambda e: lib.pgr_embedder_open(name, model, out, e), self._watch)

    def close(self) -> None:
        """What is asked fails, everything is closed. A second time does nothing."""
        with self._store_lock:
            self._store = ffi.NULL
        self._close()

    def __enter__(self) -> Judge:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pgenrm.Judge {self.name}>" if self._close.alive else "<pgenrm.Judge, closed>"

    @property
    def name(self) -> str:
        """Of its model; "MODEL at ADDRESS" of a server's."""
        return self._name

    # ---- one request ----

    def score(self, user: Union[str, User, Mapping[str, Any], None] = None, query: Question | None = None,
              responses: Sequence[str] = (), *, messages: Sequence[Turn] | None = None, id: str | None = None,
              scalar: Sequence[float] | None = None, **settings: Any) -> Result:
        """The verdict on one request (docs/requests.md).

        user       an id that the store knows, a User, a "user" object, or nobody
        query      what is asked: a text, or a dialogue whose last turn is the user's (also as `messages`)
        responses  2 to 26 texts
        settings   ind, pro, history, seed, deadline (seconds) and the other options of docs/options.md
        """
        result: Result = self._judge([request_of(user, query, responses, messages, id, scalar)], settings)[0]
        return result

    def submit(self, user: Union[str, User, Mapping[str, Any], None] = None, query: Question | None = None,
               responses: Sequence[str] = (), *, messages: Sequence[Turn] | None = None, id: str | None = None,
               scalar: Sequence[float] | None = None, **settings: Any) -> Future[Result]:
        """As score, at once: a future, whose cancel() stops the chains."""
        futures: list[Future[Result]] = []
        self._ask([request_of(user, query, responses, messages, id, scalar)], settings, futures)
        return futures[0]

    async def score_async(self, user: Union[str, User, Mapping[str, Any], None] = None, query: Question | None = None,
                          responses: Sequence[str] = (), **settings: Any) -> Result:
        """As score, awaited; a cancelled task stops its chains."""
        return await asyncio.wrap_future(self.submit(user, query, responses, **settings))

    # ---- many ----

    def score_many(self, requests: Iterable[Mapping[str, Any]], *, errors: str = "raise", progress: Progress = None,
                   **settings: Any) -> list[Any]:
        """The verdicts on many requests, judged in one batch, in their order: each is what score gives of it alone.

        requests  objects of docs/requests.md (or records of data sets), whose "user" may be an id or a User
        errors    "raise": the first request that fails ends all; "return": its Error stands in its place
        """
        if errors not in ("raise", "return"):
            raise ValueError(f"errors: found {errors!r}, expected 'raise' or 'return'")
        asked = list(requests)
        return self._judge(asked, settings, progress if progress is not None else self._progress, errors == "return")

    async def score_many_async(self, requests: Iterable[Mapping[str, Any]], *, errors: str = "raise",
                               **settings: Any) -> list[Any]:
        """As score_many, awaited."""
        futures: list[Future[Result]] = []
        try:
            self._ask(list(requests), settings, futures, errors == "return")
            return await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=errors == "return")
        finally:
            for f in futures:
                f.cancel()

    # ---- on the way to the desk ----

    def _new_options(self, settings: Mapping[str, Any], keep: list[Any]) -> Any:
        """Of one call: the judge's with what the call says."""
        own = getattr(self, "_options", None)
        options = ffi.new("pgr_judge_options *", own[0] if own is not None else lib.pgr_judge_options_default())
        ROWS.set(options, settings if own is not None else self._settings, keep)
        return options

    def _ask(self, requests: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], futures: list[Future[Result]],
             keep_going: bool = False) -> None:
        """Brings the requests to the desk. Their futures go into the caller's list before: Ctrl-C may come at any
        moment, and whoever holds the list can cancel what is there."""
        for name in AT_DESK:
            if settings.get(name) is not None:
                raise TypeError(f"{name}: found it for one request, expected it where the Judge is made")
        if not self._close.alive:
            raise RuntimeError("the judge is closed")
        keep: list[Any] = []
        options = self._new_options(settings, keep)
        asks: list[Ask] = []
        for i, given in enumerate(requests):
            try:
                ask = Ask(*self._request(given, i if len(requests) > 1 else None, options, keep))
                asks.append(ask)
                futures.append(ask.future)
            except Error as e:
                if not keep_going:
                    raise
                futures.append(Future())
                futures[-1].set_exception(e)
        self._desk.ask(asks)

    def _request(self, given: Mapping[str, Any], at: int | None, options: Any,
                 keep: list[Any]) -> tuple[Any, Any, list[Any], Mapping[str, Any]]:
        body = {k: v for k, v in given.items() if v is not None}
        if "user" in body:
            body["user"] = user_object(body["user"])
        if not isinstance(body.get("responses", ()), (list, tuple)):
            raise TypeError(f"responses: found {type(body['responses']).__name__}, expected a list of texts")
        raw = json.dumps(body, allow_nan=False).encode()
        origin = b"request" if at is None else f"requests[{at}]".encode()
        out, err = ffi.new("pgr_request **"), new_error()
        check(lib.pgr_request_parse(raw, len(raw), origin, out, err), err)
        request = ffi.gc(out[0], lib.pgr_request_free)
        with self._store_lock:
            if self._store != ffi.NULL:
                known = ffi.new("bool *")
                check(lib.pgr_request_complete(request, self._store, known, err), err)
        return request, options, [options, *keep], body

    def _judge(self, requests: Sequence[Mapping[str, Any]], settings: Mapping[str, Any], progress: Progress = False,
               keep_errors: bool = False) -> list[Any]:
        """Their results; with Ctrl-C, or where one fails, the others are cancelled."""
        futures: list[Future[Result]] = []
        told = progress_of(progress) if len(requests) > 1 else None
        out: list[Any] = []
        try:
            self._ask(requests, settings, futures, keep_errors)
            for i, f in enumerate(futures):
                try:
                    out.append(outcome(f))
                except (Error, CancelledError) as e:
                    if not keep_errors:
                        raise
                    out.append(e)
                if told:
                    told("judging", i + 1, len(futures), "requests")
        finally:
            for f in futures:
                f.cancel()
            close = getattr(told, "close", None)
            if close:
                close()
        return out

    def as_client(self) -> Any:
        """What pgenrm_client's hooks for trainers take in the place of a server: see pgenrm.rewards."""
        from .rewards import InProcess

        return InProcess(self)

    def alone(self, call: Callable[[], Any], cancel: Callable[[], None]) -> Any:
        """What call returns, made while nothing else is asked of the engine: for calls of the library that need it to
        themselves."""
        return self._desk.alone(call, cancel)

    @property
    def engine(self) -> Any:
        """The C object: for calls made by alone()."""
        return self._engine

    @property
    def options(self) -> Any:
        """The judge's own pgr_judge_options, to be read."""
        return self._options
