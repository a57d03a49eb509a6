"""openrlhf.py - for OpenRLHF's --reward.remote_url FILE (older: --remote_rm_url): names this file. The server is
$PGENRM_URL; OpenRLHF can also ask it without this file, by --reward.remote_url http://HOST:8300/get_reward.
"""
from __future__ import annotations

from typing import Any, Sequence

from pgenrm_client.rewards import Rewards

_rewards: Rewards | None = None


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any], **_: Any) -> dict[str, Any]:
    global _rewards
    if _rewards is None:
        _rewards = Rewards()
    return _rewards.openrlhf(queries, prompts, labels)
