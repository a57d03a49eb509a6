"""test_client.py - what a client asks, when it asks again, and what it never makes up."""
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "src")]
from fake_server import FakeServer, by_length  # noqa: E402

from pgenrm_client import Client, PgenrmError  # noqa: E402


class Asking(unittest.TestCase):
    def test_a_request_is_what_the_server_reads(self):
        with FakeServer(by_length) as s:
            result = Client(s.url).score(user="u1", query="q", responses=["a", "bb"], ind=4, pro=None)
            self.assertEqual([r["score"] for r in result["responses"]], [1.0, 2.0])
            method, path, body, _ = s.asked[0]
            self.assertEqual((method, path), ("POST", "/v1/personal/score"))
            self.assertEqual(body, {"user": {"id": "u1"}, "query": "q", "responses": ["a", "bb"], "ind": 4})

    def test_users(self):
        with FakeServer(lambda *_: (200, {"ok": True}, {})) as s:
            client = Client(s.url)
            client.put_user("a/b ü", history=[])
            client.get_user("u")
            client.forget("u")
            client.feedback("u", "yes", "no", query="q")
            self.assertEqual([(m, p) for m, p, _, _ in s.asked], [
                ("PUT", "/v1/personal/users/a%2Fb%20%C3%BC"), ("GET", "/v1/personal/users/u"),
                ("DELETE", "/v1/personal/users/u"), ("POST", "/v1/personal/feedback")])
            self.assertEqual(s.asked[3][2], {"user": "u", "chosen": "yes", "rejected": "no", "query": "q"})

    def test_tokens(self):
        with FakeServer(by_length) as s:
            Client(s.url, token="t").score(responses=["a", "b"], query="q")
            Client(s.url.replace("http://", "http://me:s%40t@")).score(responses=["a", "b"], query="q")
            self.assertEqual([a[3].get("Authorization") for a in s.asked], ["Bearer t", "Basic bWU6c0B0"])

    def test_many_keep_their_order_and_fail_alone(self):
        def answer(method, path, body):
            return by_length(method, path, body) if body["query"] != "bad" else (400, {"error": {"message": "no"}}, {})

        with FakeServer(answer) as s:
            out = Client(s.url).score_many([{"query": q, "responses": ["a" * (i + 1), ""]}
                                            for i, q in enumerate(["x", "bad", "y"])])
            self.assertEqual(out[0]["responses"][0]["score"], 1.0)
            self.assertIsInstance(out[1], PgenrmError)
            self.assertEqual(out[2]["responses"][0]["score"], 3.0)


class Failing(unittest.TestCase):
    def given(self, answers, tries=5, timeout=20.0):
        """The client's outcome where the server answers so, one after the other."""
        left = list(answers)
        with FakeServer(lambda *_: left.pop(0)) as s:
            client = Client(s.url, tries=tries, timeout=timeout)
            try:
                return client.score(query="q", responses=["a", "b"]), len(s.asked)
            except PgenrmError as e:
                return e, len(s.asked)

    GOOD = (200, {"responses": []}, {})

    def test_what_passes_is_asked_again(self):
        for first in ((429, b"", {"Retry-After": "0"}), (503, b"", {"Retry-After": "0"}), "cut"):
            out, n = self.given([first, self.GOOD, self.GOOD])
            self.assertEqual(out, {"responses": []})
            self.assertEqual(n, 2)

    def test_what_does_not_pass_is_said(self):
        out, n = self.given([(404, {"error": {"message": "no user u9"}}, {}), self.GOOD])
        self.assertEqual((out.status, n), (404, 1))
        self.assertIn("/v1/personal/score: no user u9", str(out))

    def test_no_json_is_an_error(self):
        out, _ = self.given([(200, b"<html>", {})])
        self.assertIn("no JSON", str(out))

    def test_the_last_refusal_is_the_error(self):
        out, n = self.given([(429, b"full", {"Retry-After": "0"})] * 3, tries=3)
        self.assertEqual((out.status, n), (429, 3))
        self.assertIn("full", str(out))

    def test_nobody_there(self):
        with self.assertRaises(PgenrmError) as e:
            Client("http://127.0.0.1:1", tries=2, timeout=5).score(query="q", responses=["a", "b"])
        self.assertEqual(e.exception.status, 0)

    def test_another_address_stands_in(self):
        with FakeServer(by_length) as s:
            client = Client(["http://127.0.0.1:1", s.url], tries=2)
            for _ in range(3):
                client.score(query="q", responses=["a", "b"])
            self.assertEqual(len(s.asked), 3)

    def test_a_token_is_never_in_an_error(self):
        with self.assertRaises(PgenrmError) as e:
            Client("http://me:secret@127.0.0.1:1", tries=1).score(query="q", responses=["a", "b"])
        self.assertNotIn("secret", str(e.exception))

    def test_addresses(self):
        for bad in ("127.0.0.1:8300", "ftp://x", "http://"):
            with self.assertRaises(ValueError):
                Client(bad)


if __name__ == "__main__":
    unittest.main()
