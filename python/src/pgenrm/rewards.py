"""rewards.py - rewards for trainers by a judge in this process: pgenrm_client's hooks with the judge in the place of a
server.

    from pgenrm import Judge
    from pgenrm.rewards import Rewards
    trainer = GRPOTrainer(..., reward_funcs=Rewards(Judge(), ind=8).trl)       # or Rewards("http://HOST:8300", ind=8)
"""
from __future__ import annotations

import json
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Iterable, Mapping, Sequence

from pgenrm_client import PgenrmError, Rewards

from ._calls import outcome
from ._native import Error, check, cstring, ffi, lib, new_error, take_text
from .result import Result

if TYPE_CHECKING:
    from .judge import Judge

__all__ = ["InProcess", "Rewards"]

NAMES = {"deadline_s": "deadline"}  # of settings as a server has them


class InProcess:
    """What a pgenrm_client.Client is to a server, to a judge: the same calls, the same objects."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def score(self, **request: Any) -> dict[str, Any]:
        out = self.score_many([request])[0]
        if isinstance(out, PgenrmError):
            raise out
        made: dict[str, Any] = out
        return made

    def score_many(self, requests: Iterable[Mapping[str, Any]], concurrency: int = 0) -> list[Any]:
        """Each request's result object, or its error, in their order, all in one batch; concurrency is a server's."""
        asked = [self._submit(r) for r in requests]
        try:
            return [a if isinstance(a, Error) else self._raw(a) for a in asked]
        finally:
            for a in asked:
                if not isinstance(a, Error):
                    a.cancel()

    def get_reward(self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        """What the server's /get_reward answers OpenRLHF (docs/rewards.md), but for groups: samples come one by one,
        and a group would have to wait here for its members."""
        samples = [_Sample(*s) for s in zip(queries, prompts or [""] * len(queries), labels or [None] * len(queries))]
        judged = iter(self.score_many([s.request for s in samples if s.given is None]))
        results = [next(judged) if s.given is None else NOT_JUDGED for s in samples]
        for i, r in enumerate(results):
            if isinstance(r, PgenrmError):
                raise type(r)(f"sample {i}: {r}", r.status)
        rewards = [s.reward(r, i) if s.given is None else s.given for i, (s, r) in enumerate(zip(samples, results))]
        firsts = [r["responses"][0] for r in results]
        asked = [r["chains"]["ind"]["requested"] + r["chains"]["pro"]["requested"] for r in results]
        return {"rewards": rewards, "scores": rewards,
                "extra_logs": {"judge_score": [f["score"] for f in firsts], "chains": [f["n"] for f in firsts],
                               "parse_ok": [f["n"] / n if n else 0 for f, n in zip(firsts, asked)],
                               "in_group": [0] * len(firsts)}}

    def _submit(self, request: Mapping[str, Any]) -> Any:
        try:
            return self.judge.submit(**{NAMES.get(k, k): v for k, v in request.items()})
        except Error as e:
            return e

    @staticmethod
    def _raw(future: Any) -> Any:
        try:
            result: Result = outcome(future)
            return result.raw
        except (Error, CancelledError) as e:
            return e


def rollout(prompt: str, query: str) -> dict[str, Any]:
    """What trainers send as one text, with a chat template's marks or without: {"messages", "response"}."""
    keep: list[Any] = []
    out, err = ffi.new("char **"), new_error()
    check(lib.pgr_rollout_read(cstring(prompt, keep), cstring(query, keep), out, err), err)
    made: dict[str, Any] = json.loads(take_text(out[0]))
    return made


# A result with nothing in it, of a response that was not judged.
NOT_JUDGED: dict[str, Any] = {"responses": [{"score": 0.0, "n": 0}],
                              "chains": {"ind": {"requested": 0}, "pro": {"requested": 0}}}


class _Sample:
    """One response alone, with the rivals that its label has: an anchor, or both texts of the user's last pair."""

    OF_USER = ("id", "history", "criteria", "demographics")
    OF_REQUEST = ("ind", "pro", "seed", "deadline_s")

    def __init__(self, query: str, prompt: str, label: Any) -> None:
        read = rollout(prompt, query)
        about = self._label(label)
        user = about.get("user", about.get("user_id"))
        user = {"id": user} if isinstance(user, str) else {**(user or {})}
        user.update({k: about[k] for k in self.OF_USER if k in about})
        rivals = [about["anchor"]] if about.get("anchor") else self._last_pair(user)
        self.given = None if read["response"].strip() else self._empty(about)
        self.request = {"user": user, "messages": read["messages"],
                        "responses": [read["response"], *rivals],
                        **{k: about[k] for k in self.OF_REQUEST if k in about}}

    @staticmethod
    def _label(label: Any) -> dict[str, Any]:
        if isinstance(label, str) and label.lstrip().startswith("{"):
            label = json.loads(label)
        if isinstance(label, str):
            label = {"anchor": label} if label.strip() else {}
        return dict(label or {})

    @staticmethod
    def _empty(about: dict[str, Any]) -> float:
        """The reward of an empty response, which nobody judges."""
        worth = about.get("empty")
        if worth is None:
            raise ValueError("found an empty response, expected a text to judge, or in the label `empty`: the reward, "
                             "0 to 1, of a response that is empty")
        if isinstance(worth, bool) or not isinstance(worth, (int, float)) or not 0 <= worth <= 1:
            raise ValueError(f"label: empty: found {worth!r}, expected a reward, 0 to 1")
        return float(worth)

    @staticmethod
    def _last_pair(user: dict[str, Any]) -> list[str]:
        """Which is shown no longer unless it is the only one."""
        history = list(user.get("history") or [])
        if not history:
            raise ValueError("label: found neither an anchor nor a user's history, expected one to compare with")
        if len(history) > 1:
            user["history"] = history[:-1]
        return [history[-1]["chosen"], history[-1]["rejected"]]

    @staticmethod
    def reward(result: Mapping[str, Any], i: int) -> float:
        """1/2 + (score - mean of the rivals') / 18, within 0 and 1."""
        own, *rivals = [r["score"] for r in result["responses"]]
        if own is None or None in rivals:
            why = next(r["reason"] for r in result["responses"] if r["score"] is None)
            raise Error(f"sample {i}: no score: {why}", -4)
        value: float = 0.5 + (own - sum(rivals) / len(rivals)) / 18
        return min(1.0, max(0.0, value))
