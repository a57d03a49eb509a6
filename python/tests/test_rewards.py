"""test_rewards.py - pgenrm_client's hooks with a judge in this process: the scores are the judge's, a group is one
request, what fails is None or said."""
from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import unittest
from typing import Iterator

from here import LONG, MINI, PAIR, PROGRAM, TINY, WithJudge

from pgenrm.rewards import InProcess, Rewards
from pgenrm_client import PgenrmError

ANSWERS = ["No.", "Three spoons.", "Yes, please."]


@contextlib.contextmanager
def served() -> Iterator[str]:
    """The address of a server with the same model and frame."""
    server = subprocess.Popen([PROGRAM, "serve", "-m", TINY, "--dtype", "exact", "--frame", MINI,
                               "--listen", "127.0.0.1:0", "--deadline", str(LONG)], stderr=subprocess.PIPE, text=True)
    assert server.stderr
    try:
        url = ""
        for line in server.stderr:
            found = re.search(r"listening on (http://\S+)", line)
            url = found[1] if found else url
            if "ready" in line:
                break
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
        server.stderr.close()
        server.wait(LONG)


class InThisProcess(WithJudge):
    def test_trl(self) -> None:
        out = Rewards(self.judge, ind=2, seed=1).trl(["Sugar?"] * 3 + ["Milk?"] * 2, [*ANSWERS, "A", "B"],
                                                    user=["u2"] * 5, history=[[PAIR]] * 5)
        user = {"id": "u2", "history": [PAIR]}
        expected = [*self.judge.score(user, "Sugar?", ANSWERS, seed=1).scores,
                    *self.judge.score(user, "Milk?", ["A", "B"], seed=1).scores]
        self.assertEqual(out, expected)

    def test_a_group_fails_alone_and_says_so(self) -> None:
        told: dict = {}
        with self.assertWarnsRegex(RuntimeWarning, "2 of 4 rewards are None.*query"):
            out = Rewards(self.judge).trl(["p", "p", " ", " "], ["a", "b", "c", "d"], history=[[PAIR]] * 4,
                                          log_extra=lambda k, v: told.update({k: v}))
        self.assertEqual(out[2:], [None, None])
        self.assertIn("query", told["pgenrm_error"][2])
        self.assertEqual(told["pgenrm_error"][0], "")

    def test_verl(self) -> None:
        info = {"query": "Sugar?", "history": [PAIR], "user": "u"}
        out = Rewards(self.judge, ind=2, deadline_s=600).verl("d", "No.", "Three spoons.", info)
        expected = self.judge.score({"id": "u", "history": [PAIR]}, "Sugar?", ["No.", "Three spoons."])
        self.assertEqual(out, {"score": expected.scores[0]})

    def test_openrlhf_is_what_a_server_answers(self) -> None:
        """The same samples, at a real server and here."""
        label = json.dumps({"user": {"history": [PAIR]}, "ind": 2})
        hi = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        samples = (["Sugar?No.</s>", "Sugar?Yes.", hi, f"{hi}Ho<|im_end|>"], ["Sugar?", "Sugar?", hi, hi],
                   [label, {"anchor": "Three spoons.", "ind": 2}, {"anchor": "Hm.", "empty": 0.25},
                    {"anchor": "Hm.", "user_id": "u", "history": [PAIR], "ind": 2}])
        here = Rewards(self.judge).openrlhf(*samples)
        with served() as url:
            there = Rewards(url).openrlhf(*samples)
        for key in ("rewards", "scores"):
            self.assertEqual([f"{float(x):.4f}" for x in here[key]], [f"{float(x):.4f}" for x in there[key]])
        for key, values in there["extra_logs"].items():
            self.assertEqual([f"{float(x):.4f}" for x in here["extra_logs"][key]],
                             [f"{float(x):.4f}" for x in values], key)

    def test_a_label_that_is_text_is_the_anchor(self) -> None:
        by_text, by_object = (Rewards(self.judge).openrlhf(["q a"], ["q"], [label])["rewards"]
                              for label in ("b", {"anchor": "b"}))
        self.assertEqual(float(by_text[0]), float(by_object[0]))

    def test_a_sample_without_a_score_is_no_number(self) -> None:
        with self.assertRaisesRegex(ValueError, "anchor"):
            Rewards(self.judge).openrlhf(["q a"], ["q"], [""])
        with self.assertRaisesRegex(PgenrmError, "sample 1"):
            Rewards(self.judge).openrlhf(["q a", "q b"], ["q", "q"], ["x", {"anchor": "y", "ind": -1}])
        for label in ("x", {"anchor": "x", "empty": 2}):
            with self.assertRaisesRegex(ValueError, "empty"):
                Rewards(self.judge).openrlhf(["q"], ["q"], [label])

    def test_what_a_client_is_to_a_server(self) -> None:
        client = InProcess(self.judge)
        asked = {"user": "u", "query": "q", "responses": ["a", "b"]}
        self.assertEqual(client.score(**asked)["responses"], self.judge.score(**asked).raw["responses"])
        with self.assertRaisesRegex(PgenrmError, "responses"):
            client.score(query="q", responses=["a"])


if __name__ == "__main__":
    unittest.main()
