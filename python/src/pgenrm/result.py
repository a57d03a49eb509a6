"""result.py - what a verdict is, as dataclasses: the result object of docs/requests.md with its names. A number that
does not exist is None."""
from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Mapping, TypeVar

T = TypeVar("T")


def as_float(v: Any) -> Any:
    """JSON writes a number that happens to be whole without a point."""
    return float(v) if isinstance(v, int) else [as_float(x) for x in v] if isinstance(v, list) else v


REAL = ("float", "float | None", "list[float | None]")
_KNOWN: dict[Any, dict[str, bool]] = {}


def _fields(kind: Any) -> dict[str, bool]:
    """The names of a dataclass's fields: whether one is a real number, or a list of them."""
    if kind not in _KNOWN:
        _KNOWN[kind] = {f.name: str(f.type) in REAL for f in fields(kind)}
    return _KNOWN[kind]


def made(kind: type[T], data: Mapping[str, Any], **more: Any) -> T:
    """Of the keys that the dataclass has; ones that are left out have its default."""
    real = _fields(kind)
    given = {**{k: v for k, v in data.items() if k in real}, **more}
    return kind(**{k: as_float(v) if real[k] else v for k, v in given.items()})


@dataclass(frozen=True)
class Response:
    """One response and its scores. score is None, with a reason, where no chain scored it: never a guess."""

    index: int
    text: str
    score: float | None
    se: float | None
    win: float | None
    """Calibrated probability that it is the best."""
    expected: float | None
    declared: float | None
    recomputed: float | None
    prefer: int
    """Chains that prefer it to every other text."""
    ind: float | None
    pro: float | None
    scalar: float | None
    prior: float
    n: int
    reason: str | None = None


@dataclass(frozen=True)
class Criterion:
    name: str
    weight: float
    """Percent."""
    share: float | None
    contested: bool
    reason: str
    scores: list[float | None]
    """One for each response."""


@dataclass(frozen=True)
class Neighbour:
    user: str
    similarity: float
    weight: float
    n: int


@dataclass(frozen=True)
class Chains:
    requested: int
    parsed: int
    cut: int
    failed: int
    reason: str | None = None


@dataclass(frozen=True)
class Chain:
    """A chain's text; judges have them with keep_chains=True (`chains=True`)."""

    text: str
    user: str | None
    order: list[int]
    parsed: bool
    cut: bool
    reason: str | None
    scores: list[float | None]
    tokens: int
    seed: int
    arithmetic_wrong: bool = False
    """The totals that it states are not its weighted sums."""


@dataclass(frozen=True)
class Clip:
    field: str
    from_tokens: int
    to_tokens: int


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Result:
    """The verdict on one request. In a notebook it shows itself as the report that people read."""

    id: str | None
    model: str
    frame: str
    best: int | None
    tie: bool
    kind: str
    confidence: float | None
    confidence_raw: float | None
    calibrated: bool
    agree: int
    lead: float | None
    lead_se: float | None
    open: bool
    score_used: str | None
    responses: list[Response]
    ind: Chains
    pro: Chains
    alike: int
    flip_rate: float | None
    arithmetic_wrong: float | None
    contradictory: float | None
    persona: str
    criteria: list[Criterion]
    rubric_chains: int
    neighbours: list[Neighbour]
    w_ind: float
    w_pro: float
    cold_start: bool
    untrained: bool
    prototype: int | None
    scalar: dict[str, Any] | None
    adaptive: dict[str, Any] | None
    history_shown: int
    history_used: int
    draws: int
    history_by: str
    clipped: list[Clip]
    usage: Usage
    seconds: float
    first_token_s: float
    chains: list[Chain] = field(repr=False)
    query: str = field(repr=False)
    raw: dict[str, Any] = field(repr=False)
    """The object of docs/requests.md, as a server sends it."""

    @property
    def scores(self) -> list[float | None]:
        return [r.score for r in self.responses]

    @classmethod
    def of(cls, raw: dict[str, Any], request: Mapping[str, Any] | None = None) -> Result:
        """raw: as pgr_result_json writes it, or a server; request: what was asked, for its texts."""
        asked = request or {}
        texts = asked.get("responses") or []
        chains = raw["chains"]
        return made(
            cls, {**raw, **chains},
            responses=[made(Response, r, text=texts[i] if i < len(texts) else "")
                       for i, r in enumerate(raw["responses"])],
            ind=made(Chains, chains["ind"]), pro=made(Chains, chains["pro"]),
            criteria=[made(Criterion, c) for c in raw["criteria"]],
            neighbours=[made(Neighbour, n) for n in raw["neighbours"]],
            w_ind=raw["weights"]["ind"], w_pro=raw["weights"]["pro"],
            clipped=[made(Clip, c) for c in raw["clipped"]], usage=made(Usage, raw["usage"]),
            chains=[made(Chain, c) for c in raw.get("samples") or []], query=_question(asked), raw=raw)

    def __str__(self) -> str:
        """For print(): who is asking, a line for each score, the verdict. repr() has every field."""
        from .html import NOBODY, letter, number, verdict

        who = self.persona or (NOBODY if self.history_shown == 0 and not self.neighbours else "")
        scores = [f"{letter(x.index)}  {x.reason or 'no score'}" if x.score is None else
                  f"{letter(x.index)}  {x.score:5.2f} ± {number(x.se)}" for x in self.responses]
        return "\n".join([*([who] if who else []), *scores, verdict(self)])

    def _repr_html_(self) -> str:
        from .html import report

        return report(self)


def _question(request: Mapping[str, Any]) -> str:
    if isinstance(request.get("query"), str):
        return str(request["query"])
    turns = request.get("messages") or [{}]
    content = turns[-1].get("content", "")
    return content if isinstance(content, str) else "".join(str(p.get("text", "")) for p in content)
