"""test_html.py - the report in a notebook says what the result says, and no text of it becomes markup."""
from __future__ import annotations

import dataclasses
import re
import unittest
from html.parser import HTMLParser

from here import WithJudge, request

from pgenrm import Criterion, Neighbour, Result
from pgenrm.html import verdict

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>&amp;\'"'
ALLOWED = {"style", "div", "p", "h4", "table", "thead", "tbody", "tr", "th", "td", "span", "small", "b", "br"}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.attributes += [k for k, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


class Html(WithJudge):
    def setUp(self) -> None:
        self.result: Result = self.judge.score_many([request(1)], chains=True)[0]

    def test_it_says_what_the_result_says(self) -> None:
        text = read(self.result._repr_html_()).text
        for r in self.result.responses:
            self.assertIn(r.text, text)
            self.assertIn("no chain" if r.score is None else f"{r.score:.2f}", text)
        self.assertIn(self.result.query, text)
        self.assertIn(verdict(self.result), text)

    def test_print_says_it_in_lines(self) -> None:
        r = self.result
        lines = str(r).splitlines()
        self.assertEqual(lines[-1], verdict(r))
        for x, line in zip(r.responses, lines[-1 - len(r.responses):-1]):
            self.assertIn("no" if x.score is None else f"{x.score:.2f}", line)
        self.assertIn("persona=", repr(r))

    def test_nobody_is_said(self) -> None:
        known = dataclasses.replace(self.result, persona="", history_shown=1)
        for r, said in ((known, False), (dataclasses.replace(known, history_shown=0), True)):
            self.assertEqual("Nobody whose choices" in r._repr_html_(), said)
            self.assertEqual("Nobody whose choices" in str(r), said)

    def test_no_text_becomes_markup(self) -> None:
        r = self.result
        evil = dataclasses.replace(
            r, id=EVIL, model=EVIL, frame=EVIL, persona=EVIL, query=EVIL, rubric_chains=2,
            responses=[dataclasses.replace(x, text=EVIL, reason=EVIL) for x in r.responses],
            criteria=[Criterion(EVIL, 100, 1, True, EVIL, [1.0, 2.0])], neighbours=[Neighbour(EVIL, 1, 1, 1)],
            pro=dataclasses.replace(r.pro, reason=EVIL))
        tags = read(evil._repr_html_())
        self.assertEqual(set(tags.tags) - ALLOWED, set())
        self.assertEqual(set(tags.attributes) - {"class", "style"}, set())
        self.assertGreaterEqual(tags.text.count(EVIL), 8)

    def test_no_score_is_said(self) -> None:
        r = self.result
        unscored = [dataclasses.replace(x, score=None, se=None, reason="why not") for x in r.responses]
        none = dataclasses.replace(r, best=None, responses=unscored)
        text = read(none._repr_html_()).text
        self.assertIn("why not", text)
        self.assertIn("there is no score", text)
        self.assertIsNone(re.search(r"nan|None,", text))

    def test_a_tie_is_none(self) -> None:
        r = self.result
        same = [dataclasses.replace(x, score=5.0) for x in r.responses]
        tie = dataclasses.replace(r, best=0, tie=True, responses=same)
        self.assertEqual(verdict(tie), "None: A and B have the same score.")

    def test_light_criteria_are_one_row(self) -> None:
        r = dataclasses.replace(self.result, rubric_chains=1, criteria=[
            Criterion(f"c{i}", 10, 1, False, "", [float(i), 1.0]) for i in range(10)])
        text = read(r._repr_html_()).text
        self.assertIn("3 more together", text)
        self.assertIn("30.0 %", text)
        self.assertIn("8.00", text)  # the mean of 7, 8 and 9


if __name__ == "__main__":
    unittest.main()
