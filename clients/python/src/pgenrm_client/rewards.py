"""rewards.py - what trainers call, on top of the client. One object holds the settings of all three:

    rewards = Rewards("http://127.0.0.1:8300", ind=8)
    trainer = GRPOTrainer(..., reward_funcs=rewards.trl)

The modules verl.py and openrlhf.py have the same as plain functions, for configurations that name a file.
"""
from __future__ import annotations

import json
import warnings
from typing import Any, Mapping, Sequence

from .client import Client, PgenrmError

USER_KEYS = ("user", "user_id")
NO_ANSWER = "(no answer)"  # the rival of a response whose group has no other
EMPTY = "the completion is empty"


def text_of(completion: Any) -> str:
    """A completion as TRL has it: a string, or messages, of which the assistant's count."""
    if isinstance(completion, str):
        return completion
    return "\n".join(part_text(m.get("content")) for m in completion if m.get("role", "assistant") == "assistant")


def part_text(content: Any) -> str:
    """A message's content: a string, or a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(p.get("text", "") for p in content if p.get("type", "text") == "text")


def asked(prompt: Any) -> dict[str, Any]:
    """A prompt as a request has it: {"query"} or {"messages"}."""
    if isinstance(prompt, str):
        return {"query": prompt}
    return {"messages": [{"role": m["role"], "content": part_text(m.get("content"))} for m in prompt]}


def user_of(row: Mapping[str, Any]) -> Any:
    """Whose reward it is: the first of user and user_id that is given; with `history` an object of both."""
    user = next((row[k] for k in USER_KEYS if row.get(k) is not None), None)
    history = row.get("history")
    if not isinstance(history, (list, tuple)):
        return user
    return {**({"id": user} if isinstance(user, str) else dict(user or {})), "history": list(history)}


def same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True, default=str) == json.dumps(b, sort_keys=True, default=str)


class Rewards:
    """client: a Client, a server's address, or a pgenrm.Judge in this process (whatever has as_client()). settings:
    ind, pro, history, seed, deadline_s of every request. empty: the score, 1 to 10, that verl gets for a completion
    that is empty; None: an error, as nobody judges it."""

    def __init__(self, client: Any = None, empty: float | None = None, **settings: Any):
        if hasattr(client, "as_client"):
            client = client.as_client()
        self.client = Client(client) if client is None or isinstance(client, (str, list, tuple)) else client
        self.settings = settings
        self.empty = empty
        self.__name__ = "pgenrm"
        self._judged = False  # a group has been; before that an error is one of the setting up
        self._told: set[str] = set()

    # ---- a group of responses to one prompt, judged together ----

    def group(self, prompt: Any, responses: Sequence[str], row: Mapping[str, Any]) -> list[float | None]:
        """Each response's score; None where the judge has none. A single response needs a rival: row["anchor"]."""
        return self._scores(self.client.score(**self._request(prompt, responses, row)), len(responses))

    @staticmethod
    def _scores(result: Mapping[str, Any], n: int) -> list[float | None]:
        return [r.get("score") for r in result["responses"][:n]]

    def _request(self, prompt: Any, responses: Sequence[str], row: Mapping[str, Any]) -> dict[str, Any]:
        rivals = list(responses)
        if len(rivals) == 1:
            if not isinstance(row.get("anchor"), str):
                raise ValueError("a single response has no rival to be judged with: expected a column `anchor`, or "
                                 "more than one completion of a prompt")
            rivals.append(row["anchor"])
        return {"user": user_of(row), "responses": rivals, **asked(prompt), **self.settings}

    # ---- TRL ----

    def trl(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """TRL's reward function: rows of one prompt and user stand side by side and are judged in one request, all
        requests in one batch. Columns user (or user_id), history and anchor of the data set count. A group that could
        not be judged is None, which TRL leaves out; what went wrong is warned of, and told through log_extra where the
        trainer offers it. An empty completion is None, too, and the others of its group are judged without it: as a
        text it might please who likes short answers. Where not one group of the first call is judged the error is
        raised: nothing would be learnt from such a judge."""
        rows = [{k: v[i] for k, v in columns.items() if isinstance(v, (list, tuple)) and len(v) == len(prompts)}
                for i in range(len(prompts))]
        starts = [i for i in range(len(prompts)) if i == 0 or not (
            same(prompts[i], prompts[i - 1]) and same(user_of(rows[i]), user_of(rows[i - 1])))]
        texts = [text_of(c) for c in completions]
        scores: list[float | None] = [None] * len(prompts)
        problems = ["" if t.strip() else EMPTY for t in texts]
        groups = [[i for i in range(a, b) if texts[i].strip()] for a, b in zip(starts, starts[1:] + [len(prompts)])]
        sizes = [b - a for a, b in zip(starts, starts[1:] + [len(prompts)])]
        asked_for = [(g, n) for g, n in zip(groups, sizes) if g]
        requests = [self._request(prompts[g[0]], [texts[i] for i in g] + [NO_ANSWER] * (len(g) == 1 < n), rows[g[0]])
                    for g, n in asked_for]
        results = list(self.client.score_many(requests))
        for (group, _), request, result in zip(asked_for, requests, results):
            if isinstance(result, PgenrmError):
                for i in group:
                    problems[i] = str(result)
                continue
            self._judged = True
            self._warn_of_strangers(request["user"], result)
            for i, score in zip(group, self._scores(result, len(group))):
                scores[i] = score
        if results and not self._judged:
            raise next(r for r in results if isinstance(r, PgenrmError))
        self._log(columns, problems)
        return scores

    def _warn(self, kind: str, message: str) -> None:
        """Once for each kind: a training calls thousands of times."""
        if kind not in self._told:
            self._told.add(kind)
            warnings.warn(f"pgenrm: {message}", RuntimeWarning, stacklevel=4)

    def _warn_of_strangers(self, user: Any, result: Mapping[str, Any]) -> None:
        if result.get("history_used") != 0 or result.get("neighbours"):
            return
        if user is None:
            self._warn("nobody", "no column `user`, `user_id` or `history`: the rewards are what is good for anybody")
        else:
            name = user if isinstance(user, str) else user.get("id")
            self._warn("stranger", f"the judge knows no choice of the user {name!r}: his rewards are what is good for "
                                   "anybody (told once; is that his name in the store?)")

    def _log(self, columns: Mapping[str, Any], problems: list[str]) -> None:
        failed = [p for p in problems if p]
        if failed:
            self._warn(failed[0], f"{len(failed)} of {len(problems)} rewards are None, for the first time because of: "
                                  f"{failed[0]}")
        log_extra, log_metric = columns.get("log_extra"), columns.get("log_metric")
        if callable(log_metric):
            log_metric("pgenrm/failed", sum(map(bool, problems)) / max(1, len(problems)))
        if callable(log_extra) and any(problems):
            log_extra("pgenrm_error", problems)

    # ---- verl ----

    def verl(self, data_source: str, solution_str: str, ground_truth: Any, extra_info: Mapping[str, Any] | None = None,
             **_: Any) -> dict[str, Any]:
        """verl's compute_score: one response against an anchor (extra_info["anchor"], else a ground truth that is a
        text). extra_info: user (or user_id), history, and the prompt as question, query or messages."""
        info = dict(extra_info or {})
        if info.get("anchor") is None and isinstance(ground_truth, str) and ground_truth:
            info["anchor"] = ground_truth
        prompt = next((info[k] for k in ("messages", "query", "question", "prompt") if info.get(k) is not None), None)
        if prompt is None:
            raise ValueError("extra_info: found no messages, query, question or prompt, expected one of them")
        answer = text_of(solution_str)
        if not answer.strip():
            if self.empty is None:
                raise PgenrmError(f"{EMPTY}: expected a text to judge, or `empty`, the score of one without")
            return {"score": float(self.empty)}
        score = self.group(prompt, [answer], info)[0]
        if score is None:
            raise PgenrmError("no chain could be scored for this response")
        return {"score": score}

    # ---- OpenRLHF ----

    def openrlhf(self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        """OpenRLHF's reward_func: the same as its remote reward model, in its Python form."""
        answer = self.client.get_reward(queries, prompts, labels)
        return {k: _tensors(answer[k]) for k in ("rewards", "scores", "extra_logs") if k in answer}


def _tensors(value: Any) -> Any:
    """Lists as OpenRLHF wants them; without torch they stay lists."""
    try:
        import torch
    except ImportError:
        return value
    if isinstance(value, dict):
        return {k: _tensors(v) for k, v in value.items()}
    return torch.tensor(value, dtype=torch.float32)
