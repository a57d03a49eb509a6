"""html.py - the report of a verdict for notebooks: who is asking, the rubric, the scores, the verdict, what went how.
All styles are inline, there is no script, and every text is escaped."""
from __future__ import annotations

from html import escape
from typing import Iterable, Sequence

from .result import Criterion, Response, Result

NOBODY = "Nobody whose choices are known: this is what the judge finds good for anybody."
CRITERIA_SHOWN = 8  # the lighter ones are one row together

STYLE = """<style>
.pgenrm{font:14px/1.45 system-ui,sans-serif;max-width:56em;overflow-x:auto;overflow-wrap:anywhere}
.pgenrm.wide{max-width:none}
.pgenrm h4{margin:1em 0 .3em}
.pgenrm table{border-collapse:collapse;margin:.3em 0;font-size:inherit}
.pgenrm th,.pgenrm td{padding:.2em .7em;text-align:right;vertical-align:top;white-space:nowrap}
.pgenrm th,.pgenrm td{border-bottom:1px solid #8884}
.pgenrm th:first-child,.pgenrm td:first-child,.pgenrm .scores th,.pgenrm .scores td{text-align:left}
.pgenrm small{display:inline-block;white-space:normal;min-width:20em}
.pgenrm .sum td{font-weight:600}
.pgenrm small,.pgenrm .dim{opacity:.75}
.pgenrm .bar{display:inline-block;height:.8em;background:#8889;vertical-align:baseline}
.pgenrm .best .bar{background:#2a8a4a}
.pgenrm .text{white-space:pre-wrap;max-width:34em}
.pgenrm .weak{font-style:italic}
</style>"""


def letter(i: int) -> str:
    return chr(ord("A") + i % 26)


def number(v: float | None, digits: int = 2) -> str:
    return "–" if v is None else f"{v:.{digits}f}"


def percent(v: float | None) -> str:
    return "–" if v is None else f"{100 * v:.0f} %"


def plural(n: int, word: str) -> str:
    return f"{n:,} {word}" + ("" if n == 1 else "s")


def row(cells: Iterable[str], tag: str = "td", kind: str = "") -> str:
    """Cells are HTML already."""
    name = f' class="{kind}"' if kind else ""
    return f"<tr{name}>" + "".join(f"<{tag}>{c}</{tag}>" for c in cells) + "</tr>"


def table(head: Sequence[str], rows: Iterable[str], kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f"<table{name}><thead>{row(head, 'th')}</thead><tbody>{''.join(rows)}</tbody></table>"


def heading(text: str) -> str:
    return f"<h4>{escape(text)}</h4>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


# ---- parts ----

def _together(criteria: Sequence[Criterion], n: int) -> Criterion:
    weight = sum(c.weight for c in criteria)
    scores: list[float | None] = []
    for i in range(n):
        known = [(c.weight, c.scores[i]) for c in criteria]
        total = sum(w * s for w, s in known if s is not None)
        scores.append(None if any(s is None for _, s in known) or not weight else total / weight)
    return Criterion(f"{len(criteria)} more together", weight, None, False, "", scores)


def _shown(r: Result) -> list[Criterion]:
    """All, or the heaviest, the rest as one, and what stands last."""
    if not r.rubric_chains or len(r.criteria) <= CRITERIA_SHOWN:
        return r.criteria
    last = [c for c in r.criteria[-1:] if c.name == "both directions"]
    own = r.criteria[:len(r.criteria) - len(last)]
    first = own[:CRITERIA_SHOWN - 1 - len(last)]
    return [*first, _together(own[len(first):], len(r.responses)), *last]


def _criterion(r: Result, c: Criterion) -> str:
    name = escape(c.name) + (" <small>(contested)</small>" if c.contested and c.name != "both directions" else "")
    if c.reason:
        name += f"<br><small>{escape(c.reason)}</small>"
    share = f"{c.share * r.rubric_chains:.0f} of {r.rubric_chains}" if c.share is not None and r.rubric_chains else ""
    return row([name, f"{c.weight:.1f} %", share, *(number(s) for s in c.scores)])


def _rubric(r: Result) -> str:
    n = r.responses[0].n if r.responses else 0
    rows = [_criterion(r, c) for c in _shown(r)]
    blank = ["", ""]
    rows.append(row([f"Score, mean of {plural(n, 'chain')}", *blank, *(number(s) for s in r.scores)], kind="sum"))
    rows.append(row(["± standard error", *blank, *(number(x.se) for x in r.responses)]))
    if r.calibrated:
        rows.append(row(["Probability to be the best", *blank, *(percent(x.win) for x in r.responses)]))
    title = "Scores in numbers"
    if r.criteria:
        title = f"Rubric, merged over {r.rubric_chains} chains" if r.rubric_chains > 1 else "Rubric of one chain"
    return heading(title) + table(["Criterion", "Weight", "Chains", *(letter(x.index) for x in r.responses)], rows)


def _bar(r: Result, x: Response) -> str:
    full = max([10.0, *(s for s in r.scores if s is not None)])
    text = f'<div class="text">{escape(x.text)}</div>'
    if x.score is None:
        return row([letter(x.index), f'<span class="weak">{escape(x.reason or "no score")}</span>', "", text])
    width = 12 * max(0.0, x.score) / full
    error = f" ± {x.se:.2f}" if x.se is not None else ""
    return row([letter(x.index), f'<span class="bar" style="width:{width:.2f}em"></span>',
                f"{x.score:.2f}{error}", text], kind="best" if x.index == r.best else "")


def verdict(r: Result) -> str:
    """One sentence."""
    if r.best is None:
        return "None: no chain could be read or has the scores that count, so there is no score."
    best = r.responses[r.best]
    if r.tie:
        same = [letter(x.index) for x in r.responses
                if x.score is not None and best.score is not None and abs(x.score - best.score) <= 1e-9]
        return f"None: {' and '.join(same)} have the same score."
    who = f"{r.agree} of {plural(best.n, 'chain')} prefer{'s' if r.agree == 1 else ''} {letter(r.best)}"
    if r.calibrated:
        return f"Response {letter(r.best)}, {percent(r.confidence)} confidence (calibrated); {who}."
    return f"Response {letter(r.best)}: {who}. How often that is right is not known without a calibration."


def _warnings(r: Result) -> str:
    out = ""
    if r.best is not None and r.open:
        out += paragraph("The difference lies within the error of the chains: more chains (ind) would tell.", "weak")
    if r.best is not None and r.untrained:
        out += paragraph("The judge is untrained: this model has not learnt what the frame's slots mean, so that its "
                         "taste and its scores for quality say little.", "weak")
    return out


def _neighbours(r: Result) -> str:
    if not r.neighbours:
        return heading("Similar users") + paragraph(r.pro.reason, "weak") if r.pro.reason else ""
    rows = [row([escape(n.user), number(n.similarity), percent(n.weight), f"{n.n}"]) for n in r.neighbours]
    cold = " (cold start: the user's history is short)" if r.cold_start else ""
    return (heading("Similar users") + table(["User", "Similarity", "Weight", "Chains"], rows)
            + paragraph(f"The own history weighs {percent(r.w_ind)}, similar users {percent(r.w_pro)}{cold}."))


def _details(r: Result) -> str:
    parsed, asked = r.ind.parsed + r.pro.parsed, r.ind.requested + r.pro.requested
    failed = r.ind.failed + r.pro.failed
    parts = [f"{parsed} of {plural(asked, 'chain')} read" + (f", {failed} failed" if failed else "")]
    if r.alike:
        parts.append(f"{r.alike} more would be copies of these")
    if r.flip_rate is not None:
        parts.append(f"the verdict changed in {percent(r.flip_rate)} of the pairs in swapped order")
    parts += [f"{c.field} shortened from {c.from_tokens:,} to {c.to_tokens:,} tokens" for c in r.clipped[:4]]
    u = r.usage
    parts.append(f"{u.prompt_tokens:,} prompt tokens ({u.cached_tokens:,} cached), {u.completion_tokens:,} written")
    parts.append(f"{r.seconds:.1f} s")
    reasons = sorted({c.reason for c in r.chains if c.reason})
    return paragraph("; ".join(parts + reasons[:3]) + ".", "dim")


def report(r: Result) -> str:
    shown = f"{r.model}, {r.frame} frame, {plural(r.history_shown, 'history pair')} shown"
    out = [STYLE, '<div class="pgenrm">', paragraph((f"{r.id}: " if r.id else "") + shown, "dim")]
    if r.query:
        out.append(paragraph(r.query))
    nobody = r.history_shown == 0 and not r.neighbours
    if r.persona or nobody:
        out += [heading("Who is asking"), paragraph(r.persona) if r.persona else paragraph(NOBODY, "weak")]
    bars = table(["", "", "Score", "Response"], [_bar(r, x) for x in r.responses], "scores")
    out += [_rubric(r), heading("Scores"), bars,
            heading("Verdict"), f"<p><b>{escape(verdict(r))}</b></p>", _warnings(r), _neighbours(r), _details(r),
            "</div>"]
    return "".join(out)
