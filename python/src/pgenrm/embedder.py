"""embedder.py - texts as vectors (docs/embed.md)."""
from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Sequence, Union

from ._calls import Progress, Watch
from ._native import ArgumentError, cstring, encoded, ffi, found, lib, text

if TYPE_CHECKING:
    import numpy

Path = Union[str, "os.PathLike[str]"]
POOLS = ("auto", "mean", "cls", "last")  # in the order of pgr_pool


class Embedder:
    """model: a Hugging Face folder with an encoder, any model that a Judge takes, a name, or a server's address with
    "/v1"; None: $PGENRM_EMBEDDER, else the default embedder. Threads may share one: they wait for each other."""

    def __init__(self, model: Path | None = None, *, threads: int = 0, progress: Progress = None) -> None:
        watch = Watch(progress)
        keep = watch.keep
        options = ffi.new("pgr_model_options *", lib.pgr_model_options_default())
        options.n_thread = threads
        watch.fill(options.watch)
        self.path = found(lib.pgr_embedder_find, model)
        out, name = ffi.new("pgr_embedder **"), cstring(self.path, keep)
        watch.run(lambda e: lib.pgr_embedder_open(name, options, out, e), out, lib.pgr_embedder_close)
        self._embedder, self.lock = out[0], threading.Lock()
        self._close = weakref.finalize(self, lib.pgr_embedder_close, out[0])
        self.name = text(lib.pgr_embedder_name(out[0]))
        self.dims = int(lib.pgr_embedder_dims(out[0]))
        self.max_tokens = int(lib.pgr_embedder_max_tokens(out[0]))
        """Of a text; what is beyond them is cut."""

    def close(self) -> None:
        with self.lock:
            self._close()

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<pgenrm.Embedder {self.name}, {self.dims} values>"

    @property
    def handle(self) -> Any:
        """The C object, for whoever holds `lock`."""
        if not self._close.alive:
            raise RuntimeError("the embedder is closed")
        return self._embedder

    def embed(self, texts: Union[str, Sequence[str]], *, instruct: str | None = None, dim: int | None = None,
              pool: str = "auto", progress: Progress = None) -> numpy.ndarray[Any, numpy.dtype[numpy.float32]]:
        """float32 (n, dim or dims), of one text (dims,). Length 1 unless the model's files leave that out.

        instruct  the task of queries: a text becomes "Instruct: TASK\\nQuery:TEXT"
        dim       the first values only, scaled to length 1 again
        pool      "auto": what the model's files say; "mean", "cls", "last"
        """
        import numpy

        if pool not in POOLS:
            raise ArgumentError(f"pool: found {pool!r}, expected one of {', '.join(POOLS)}", -1)
        many = [texts] if isinstance(texts, str) else list(texts)
        watch = Watch(progress)
        keep = watch.keep
        raw = [encoded(t) for t in many]
        keep += [ffi.from_buffer(r) for r in raw]
        options = ffi.new("pgr_embed_options *", lib.pgr_embed_options_default())
        options.pool, options.dim, options.instruct = POOLS.index(pool), dim or 0, cstring(instruct, keep)
        watch.fill(options.watch)
        out = numpy.empty((len(many), dim or self.dims), dtype=numpy.float32)
        starts, lens = ffi.new("char *[]", [ffi.cast("char *", k) for k in keep[:len(raw)]]), ffi.new(
            "size_t[]", [len(r) for r in raw])
        values = ffi.from_buffer("float[]", out) if len(many) else ffi.NULL
        with self.lock:
            handle = self.handle
            if len(many):
                watch.run(lambda e: lib.pgr_embed(handle, starts, lens, len(many), options, values, ffi.NULL, e))
        return out[0] if isinstance(texts, str) else out
