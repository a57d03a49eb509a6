"""pgenrm - scores responses for one user, with reasons: a language model reads what the user preferred before, says who
this user is here, which weighted criteria follow, and how every response does on each.

    from pgenrm import Judge, User
    judge = Judge()
    result = judge.score(User(history=[{"query": "Tea?", "chosen": "Yes.", "rejected": "It depends on ..."}]),
                         "What shall I drink?", ["Tea.", "There are many options ..."])
    result.best, result.scores, result.persona

docs/python.md has the rest.
"""
from ._calls import Progress
from ._native import (ArgumentError, Cancelled, DeadlinePassed, Error, FileError, FormatError, LimitExceeded,
                      OutOfMemory, RemoteError, Unsupported)
from .bench import Report, bench
from .embedder import Embedder
from .judge import Judge
from .label import Labelled, label
from .prototypes import Prototype, Prototypes
from .result import Chain, Chains, Clip, Criterion, Neighbour, Response, Result, Usage
from .store import Imported, Store, UserRow
from .user import Pair, User

__version__ = "0.1.0"
__all__ = ["ArgumentError", "Cancelled", "Chain", "Chains", "Clip", "Criterion", "DeadlinePassed", "Embedder",
           "Error", "FileError", "FormatError", "Imported", "Judge", "Labelled", "LimitExceeded", "Neighbour",
           "OutOfMemory", "Pair", "Progress", "Prototype", "Prototypes", "RemoteError", "Report", "Response",
           "Result", "Store", "Unsupported", "Usage", "User", "UserRow", "bench", "label"]
