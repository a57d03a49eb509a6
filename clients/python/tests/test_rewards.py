"""test_rewards.py - the calls of TRL, verl and OpenRLHF as their trainers make them."""
import os
import sys
import unittest
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "src")]
from fake_server import FakeServer, by_length  # noqa: E402

from pgenrm_client import Client, PgenrmError, Rewards  # noqa: E402


class Trl(unittest.TestCase):
    def test_a_group_is_one_request(self):
        with FakeServer(by_length) as s:
            reward = Rewards(Client(s.url), ind=2).trl
            out = reward(prompts=["p", "p", "q", "q"], completions=["a", "bb", "ccc", "d"], completion_ids=[[1]] * 4,
                         user=["u1", "u1", "u2", "u2"], trainer_state=None)
            self.assertEqual(out, [1.0, 2.0, 3.0, 1.0])
            self.assertEqual(sorted((a[2] for a in s.asked), key=lambda b: b["query"]), [
                {"user": {"id": "u1"}, "query": "p", "responses": ["a", "bb"], "ind": 2},
                {"user": {"id": "u2"}, "query": "q", "responses": ["ccc", "d"], "ind": 2}])

    def test_two_users_of_one_prompt_are_two_groups(self):
        with FakeServer(by_length) as s:
            Rewards(Client(s.url)).trl(["p"] * 4, ["a", "b", "c", "d"], user_id=["u1", "u1", "u2", "u2"])
            self.assertEqual(sorted(a[2]["user"]["id"] for a in s.asked), ["u1", "u2"])

    def test_conversations(self):
        prompt = [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]
        with FakeServer(by_length) as s:
            out = Rewards(Client(s.url)).trl([prompt] * 2, [[{"role": "assistant", "content": "abc"}],
                                                            [{"role": "assistant", "content": "a"}]])
            self.assertEqual(out, [3.0, 1.0])
            self.assertEqual(s.asked[0][2]["messages"], [{"role": "user", "content": "hi"}])

    def test_a_history_comes_along(self):
        history = [{"query": "x", "chosen": "y", "rejected": "z"}]
        with FakeServer(by_length) as s:
            Rewards(Client(s.url)).trl(["p"] * 2, ["a", "b"], user=["u", "u"], history=[history, history])
            self.assertEqual(s.asked[0][2]["user"], {"id": "u", "history": history})

    def test_no_score_is_none_and_no_number(self):
        with FakeServer(by_length) as s:
            self.assertEqual(Rewards(Client(s.url)).trl(["p"] * 2, ["a", "unjudged"]), [1.0, None])

    def test_a_group_fails_alone_and_says_so(self):
        def answer(method, path, body):
            return by_length(method, path, body) if body["query"] == "p" else (400, {"error": {"message": "why"}}, {})

        told = {}
        with FakeServer(answer) as s, self.assertWarnsRegex(RuntimeWarning, "2 of 4 rewards are None.*why"):
            out = Rewards(Client(s.url)).trl(["p", "p", "q", "q"], ["a", "b", "c", "d"],
                                             log_extra=lambda k, v: told.update({k: v}),
                                             log_metric=lambda k, v: told.update({k: v}))
        self.assertEqual(out, [1.0, 1.0, None, None])
        self.assertEqual(told["pgenrm/failed"], 0.5)
        self.assertIn("why", told["pgenrm_error"][2])
        self.assertEqual(told["pgenrm_error"][0], "")

    def test_a_judge_that_never_judged_is_an_error(self):
        def refuse(method, path, body):
            return 400, {"error": {"message": "unknown key \"idn\", expected perhaps \"ind\""}}, {}

        with FakeServer(refuse) as s:
            with self.assertRaisesRegex(PgenrmError, "perhaps \"ind\""):
                Rewards(Client(s.url), idn=2).trl(["p"] * 2, ["a", "b"])
        with self.assertRaisesRegex(PgenrmError, "refused"):  # nobody listens there any more
            Rewards(Client(s.url, tries=1)).trl(["p"] * 2, ["a", "b"])

    def test_a_judge_that_fails_later_is_told_of_once(self):
        fail = []

        def answer(method, path, body):
            return (400, {"error": {"message": "why"}}, {}) if fail else by_length(method, path, body)

        with FakeServer(answer) as s, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            reward = Rewards(Client(s.url)).trl
            reward(["p"] * 2, ["a", "b"])
            self.assertEqual(told, [])
            fail.append(True)
            self.assertEqual(reward(["p"] * 2, ["a", "b"]), [None, None])
            reward(["p"] * 2, ["a", "b"])
            self.assertEqual(len(told), 1)
            self.assertIn("2 of 2 rewards are None, for the first time because of: http", str(told[0].message))

    def test_an_empty_completion_has_no_reward_and_costs_the_others_none(self):
        nothing = [{"role": "assistant", "content": None}]
        with FakeServer(by_length) as s, self.assertWarnsRegex(RuntimeWarning, "2 of 3 rewards are None.*is empty"):
            reward = Rewards(Client(s.url)).trl
            self.assertEqual(reward(["p"] * 3, ["a", " \n", nothing]), [1.0, None, None])
            self.assertEqual(s.asked[-1][2]["responses"], ["a", "(no answer)"])  # somebody must be its rival
            self.assertEqual(reward(["p"] * 3, ["a", "", "ccc"]), [1.0, None, 3.0])
            self.assertEqual(s.asked[-1][2]["responses"], ["a", "ccc"])
            self.assertEqual(reward(["p"] * 2, ["", ""]), [None, None])
            self.assertEqual(len(s.asked), 2)

    def test_a_user_whom_nobody_knows_is_told_of(self):
        def answer(method, path, body):
            status, out, headers = by_length(method, path, body)
            known = (body.get("user") or {}).get("id") == "ann"
            return status, {**out, "history_used": 3 if known else 0, "neighbours": []}, headers

        with FakeServer(answer) as s, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            reward = Rewards(Client(s.url)).trl
            reward(["p"] * 2, ["a", "b"], user=["ann"] * 2)
            self.assertEqual(told, [])
            for _ in range(2):
                reward(["p"] * 2, ["a", "b"], user=["anna"] * 2)
                reward(["p"] * 2, ["a", "b"], person=["ann"] * 2)
            self.assertEqual(len(told), 2)
            self.assertIn("no choice of the user 'anna'", str(told[0].message))
            self.assertIn("no column `user`", str(told[1].message))

    def test_a_single_completion_needs_an_anchor(self):
        with FakeServer(by_length) as s:
            reward = Rewards(Client(s.url)).trl
            self.assertEqual(reward(["p", "q"], ["abc", "d"], anchor=["x", "yy"]), [3.0, 1.0])
            self.assertIn(["abc", "x"], [a[2]["responses"] for a in s.asked])
            with self.assertRaisesRegex(ValueError, "anchor"):
                reward(["p", "q"], ["abc", "d"])

    def test_its_name_is_what_trl_logs(self):
        self.assertEqual(Rewards.trl.__name__, "trl")


class Verl(unittest.TestCase):
    def setUp(self):
        self.server = FakeServer(by_length)
        os.environ["PGENRM_URL"] = self.server.url
        self.addCleanup(self.server.__exit__)
        self.addCleanup(os.environ.pop, "PGENRM_URL")
        from pgenrm_client import verl
        verl._client.cache_clear()
        self.compute_score = verl.compute_score

    def test_one_response_against_an_anchor(self):
        out = self.compute_score(data_source="d", solution_str="abcd", ground_truth="",
                                 extra_info={"user_id": "u", "question": "q", "anchor": "xy", "num_turns": 1}, ind=4,
                                 reward_router_address=None)
        self.assertEqual(out, {"score": 4.0})
        self.assertEqual(self.server.asked[0][2],
                         {"user": {"id": "u"}, "query": "q", "responses": ["abcd", "xy"], "ind": 4})

    def test_the_ground_truth_is_the_anchor_of_last_resort(self):
        self.compute_score("d", "a", "truth", {"query": "q"})
        self.assertEqual(self.server.asked[0][2]["responses"], ["a", "truth"])

    def test_what_is_missing_is_said(self):
        with self.assertRaisesRegex(ValueError, "extra_info"):
            self.compute_score("d", "a", "truth", {})
        with self.assertRaisesRegex(ValueError, "anchor"):
            self.compute_score("d", "a", None, {"query": "q"})

    def test_no_score_is_an_error_and_no_0(self):
        with self.assertRaises(PgenrmError):
            self.compute_score("d", "unjudged", "truth", {"query": "q"})


    def test_an_empty_completion_is_not_judged(self):
        for text in ("", " \n"):
            with self.assertRaisesRegex(PgenrmError, "empty"):
                self.compute_score("d", text, "truth", {"query": "q"})
            self.assertEqual(self.compute_score("d", text, "truth", {"query": "q"}, empty=1), {"score": 1.0})
        self.assertEqual(self.server.asked, [])


class OpenRlhf(unittest.TestCase):
    def test_it_is_the_remote_form(self):
        answer = {"rewards": [0.5], "scores": [0.5], "extra_logs": {"parse_ok": [1.0]}}
        with FakeServer(lambda *_: (200, answer, {})) as s:
            out = Rewards(Client(s.url)).openrlhf(["p a</s>"], ["p "], ['{"user": "u"}'])
            self.assertEqual(float(out["rewards"][0]), 0.5)
            self.assertEqual(float(out["extra_logs"]["parse_ok"][0]), 1.0)
            self.assertEqual(s.asked[0][1:3], ("/get_reward", {"query": ["p a</s>"], "prompts": ["p "],
                                                               "labels": ['{"user": "u"}']}))


if __name__ == "__main__":
    unittest.main()
