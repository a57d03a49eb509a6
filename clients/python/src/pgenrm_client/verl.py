"""verl.py - for verl's configuration: reward.custom_reward_function.path=.../pgenrm_client/verl.py, name=compute_score.

The server is $PGENRM_URL, or the keyword `url` of reward_kwargs; `empty` is the score, 1 to 10, of an empty completion,
which is an error otherwise; further keywords (ind, pro, seed...) are settings of every request.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Any

from pgenrm_client.client import Client
from pgenrm_client.rewards import Rewards

SETTINGS = ("ind", "pro", "history", "seed", "deadline_s")


@lru_cache(maxsize=8)
def _client(url: str | None, token: str | None) -> Client:
    return Client(url, token)


def compute_score(data_source: str, solution_str: str, ground_truth: Any, extra_info: Any = None,
                  url: str | None = None, token: str | None = None, empty: float | None = None,
                  **keywords: Any) -> dict[str, Any]:
    settings = {k: keywords[k] for k in SETTINGS if keywords.get(k) is not None}
    return Rewards(_client(url, token), empty, **settings).verl(data_source, solution_str, ground_truth, extra_info)
