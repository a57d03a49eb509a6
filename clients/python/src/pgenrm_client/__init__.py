"""Personal rewards from a pgenrm server: a thin client and what verl, TRL and OpenRLHF call.

    from pgenrm_client import Client
    client = Client("http://127.0.0.1:8300", token="...")
    result = client.score(user="u1", query="How do I prune roses?", responses=["In March.", "Ask a gardener."])
    result["best"], [r["score"] for r in result["responses"]]

Needs nothing beyond the standard library. A score that the server does not have is None, never a number.
"""
from .client import Client, PgenrmError
from .rewards import Rewards

__all__ = ["Client", "PgenrmError", "Rewards"]
__version__ = "0.1.0"
