"""test_real_server.py - the same calls against `pgenrm serve` and a tiny model, where PGENRM_PROGRAM names it."""
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "src")]
from pgenrm_client import Client, PgenrmError, Rewards  # noqa: E402

PROGRAM = os.environ.get("PGENRM_PROGRAM")
MODEL = os.path.join(HERE, "..", "..", "..", "tests", "golden", "tiny-llama.gguf")
LONG = 600  # seconds: a slow machine is no failure
PAIR = {"query": "Tea?", "chosen": "Yes, green tea.", "rejected": "No."}


@unittest.skipUnless(PROGRAM, "PGENRM_PROGRAM is not set")
class RealServer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        tokens = os.path.join(cls.folder.name, "tokens")
        with open(tokens, "w", encoding="utf-8") as f:
            f.write("all\nours us-\n")
        cls.server = subprocess.Popen(
            [PROGRAM, "serve", "-m", MODEL, "--listen", "127.0.0.1:0", "--deadline", str(LONG), "--token-file", tokens,
             "--store", os.path.join(cls.folder.name, "users.db")], stderr=subprocess.PIPE, text=True)
        for line in cls.server.stderr:
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                cls.url = found.group(1)
            if "ready" in line:
                break
        cls.client = Client(cls.url, token="all", timeout=LONG)

    @classmethod
    def tearDownClass(cls):
        cls.server.send_signal(signal.SIGTERM)
        cls.server.stderr.read()
        cls.server.stderr.close()
        assert cls.server.wait(LONG) == 0
        cls.folder.cleanup()

    def test_a_user_comes_is_asked_and_goes(self):
        self.client.put_user("u1", history=[PAIR], criteria=["short"])
        self.client.feedback("u1", query="Milk?", chosen="A little.", rejected="Lots of milk in everything.")
        self.assertEqual(len(self.client.get_user("u1")["history"]), 2)
        result = self.client.score(user="u1", query="Sugar?", responses=["No.", "Three spoons."], ind=2)
        self.assertEqual(len(result["responses"]), 2)
        self.client.forget("u1")
        with self.assertRaises(PgenrmError) as e:
            self.client.get_user("u1")
        self.assertEqual(e.exception.status, 404)

    def test_a_scope_ends_at_its_prefix(self):
        ours = Client(self.url, token="ours", timeout=LONG)
        ours.put_user("us-1", history=[PAIR])
        with self.assertRaises(PgenrmError) as e:
            ours.put_user("them-1", history=[PAIR])
        self.assertEqual(e.exception.status, 403)
        with self.assertRaises(PgenrmError) as e:
            Client(self.url, token="wrong", timeout=LONG).get_user("us-1")
        self.assertEqual(e.exception.status, 401)

    def test_trl(self):
        rewards = Rewards(self.client, ind=2, seed=1)
        out = rewards.trl(["Sugar?"] * 3, ["No.", "Three spoons.", "Yes."], user=["u2"] * 3, history=[[PAIR]] * 3)
        again = rewards.trl(["Sugar?"] * 3, ["No.", "Three spoons.", "Yes."], user=["u2"] * 3, history=[[PAIR]] * 3)
        self.assertEqual(out, again)
        self.assertTrue(all(isinstance(x, float) and 1 <= x <= 10 for x in out), out)

    def test_verl(self):
        out = Rewards(self.client, ind=2).verl("d", "No.", "Three spoons.", {"query": "Sugar?", "history": [PAIR]})
        self.assertTrue(1 <= out["score"] <= 10)

    def test_openrlhf(self):
        label = '{"user": {"history": [{"query": "Tea?", "chosen": "Yes, green tea.", "rejected": "No."}]}, "ind": 2}'
        out = Rewards(self.client).openrlhf(["Sugar?No.</s>", "Sugar?Yes."], ["Sugar?", "Sugar?"], [label, label])
        self.assertEqual(len(out["rewards"]), 2)
        self.assertTrue(all(0 <= float(x) <= 1 for x in out["rewards"]))


if __name__ == "__main__":
    unittest.main()
