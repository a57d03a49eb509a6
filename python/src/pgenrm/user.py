"""user.py - a user as a request has him."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence, Union

Turn = Mapping[str, Any]
"""{"role": "user" | "assistant" | "system", "content": "..."}"""


@dataclass(frozen=True)
class Pair:
    """What somebody preferred. query: what was asked, a text or a whole dialogue whose last turn is the user's."""

    query: Union[str, Sequence[Turn]]
    chosen: str
    rejected: str

    def to_dict(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"query": self.query} if isinstance(self.query, str) else {
            "context": [dict(t) for t in self.query]}
        return {**asked, "chosen": self.chosen, "rejected": self.rejected}

    @classmethod
    def of(cls, data: Union[Pair, Mapping[str, Any]]) -> Pair:
        if isinstance(data, Pair):
            return data
        return cls(data["query"] if data.get("query") is not None else data["context"], data["chosen"],
                   data["rejected"])


@dataclass(frozen=True)
class User:
    """Who is asking; everything is optional. history: oldest first. demographics: a text, or a flat mapping."""

    id: str | None = None
    history: Sequence[Union[Pair, Mapping[str, Any]]] = ()
    criteria: Union[str, Sequence[str]] = ()
    demographics: Union[str, Mapping[str, Any], None] = None

    def to_dict(self) -> dict[str, Any]:
        """The "user" object of docs/requests.md; keys that say nothing are left out."""
        out: dict[str, Any] = {}
        if self.id is not None:
            out["id"] = self.id
        if self.history:
            out["history"] = [p.to_dict() if isinstance(p, Pair) else dict(p) for p in self.history]
        if self.criteria:
            out["criteria"] = self.criteria if isinstance(self.criteria, str) else list(self.criteria)
        if self.demographics:
            out["demographics"] = (self.demographics if isinstance(self.demographics, str)
                                   else dict(self.demographics))
        return out

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> User:
        """The "user" object of docs/requests.md."""
        return cls(data.get("id"), [Pair.of(p) for p in data.get("history") or ()], data.get("criteria") or (),
                   data.get("demographics"))


def user_object(user: Union[str, User, Mapping[str, Any], None]) -> dict[str, Any] | None:
    """A text is the id of a user whom the store knows."""
    if user is None:
        return None
    if isinstance(user, str):
        return {"id": user}
    return user.to_dict() if isinstance(user, User) else dict(user)
