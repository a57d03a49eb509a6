"""here.py - for all tests: where things are, the tiny model whose texts are nonsense, and requests to ask it."""
from __future__ import annotations

import os
import pathlib
import unittest

import pgenrm

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
TINY = GOLDEN / "tiny-llama.gguf"
MINI = GOLDEN / "mini.frame"
BUILD = pathlib.Path(os.environ.get("PGENRM_BUILD", ROOT / "build"))
PROGRAM = BUILD / "pgenrm"
LONG = 600  # seconds: a slow machine is no failure
PAIR = {"query": "Tea?", "chosen": "Yes, green tea.", "rejected": "No."}


def request(i: int) -> dict:
    """Requests of three users, of different lengths."""
    history = [{"query": f"Number {i % 3}?", "chosen": f"Yes, {i % 3}.", "rejected": "No."}]
    return {"id": f"r{i}", "user": {"id": f"u{i % 3}", "history": history}, "query": f"Where is town {i}?",
            "responses": [f"North of {i}.", "South" + "." * (i % 4)], "seed": i}


def tiny(**more: object) -> pgenrm.Judge:
    return pgenrm.Judge(TINY, adapter=None, dtype="exact", **{"frame": MINI, "ind": 2, **more})


def verdict(result: pgenrm.Result) -> dict:
    """What does not depend on the company: all but times and what was cached."""
    raw = {**result.raw, "usage": {**result.raw["usage"], "cached_tokens": 0}}
    return {k: v for k, v in raw.items() if k not in ("seconds", "first_token_s")}


class WithJudge(unittest.TestCase):
    """One judge for all tests of a class."""

    judge: pgenrm.Judge

    @classmethod
    def setUpClass(cls) -> None:
        cls.judge = tiny()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.judge.close()
