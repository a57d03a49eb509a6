"""test_others.py - embeddings as numpy arrays, a benchmark as a table, a data set labelled; Ctrl-C in long calls."""
from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
import unittest

import numpy
from here import GOLDEN, ROOT, WithJudge, request

import pgenrm
from pgenrm import Embedder, bench, label

CHOICES = ROOT / "examples/choices.jsonl"


class Embedding(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.embedder = Embedder(GOLDEN / "hf-tiny-bert")

    def test_arrays(self) -> None:
        texts = ["a town", "", "ünï " * 40, "a town"]
        out = self.embedder.embed(texts)
        self.assertEqual((out.shape, out.dtype), ((4, self.embedder.dims), numpy.float32))
        numpy.testing.assert_array_equal(out[0], out[3])
        numpy.testing.assert_array_equal(out[0], self.embedder.embed("a town"))
        self.assertEqual(self.embedder.embed([]).shape, (0, self.embedder.dims))

    def test_short_ones(self) -> None:
        out = self.embedder.embed(["a town"], dim=8)
        self.assertEqual(out.shape, (1, 8))
        self.assertAlmostEqual(float(numpy.linalg.norm(out)), 1, places=5)  # of float32

    def test_what_is_wrong(self) -> None:
        with self.assertRaisesRegex(pgenrm.ArgumentError, "pool.*max"):
            self.embedder.embed(["a"], pool="max")
        with self.assertRaises(pgenrm.Error):
            self.embedder.embed(["a"], dim=self.embedder.dims + 1)
        with self.assertRaises(pgenrm.Error):
            Embedder("/no-such-embedder")

    def test_threads(self) -> None:
        expected, wrong = self.embedder.embed("a town"), []

        def work() -> None:
            for _ in range(5):
                if not numpy.array_equal(self.embedder.embed("a town"), expected):
                    wrong.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(wrong, [])


class Measuring(WithJudge):
    def test_statistics_without_a_judge(self) -> None:
        out = bench(CHOICES, baselines=True)
        self.assertIn("longest", out["method"])
        row = out[out["method"].index("longest")]
        self.assertTrue(0 <= row["accuracy"] <= 1)
        self.assertIn("longest", str(out))
        self.assertIn("<table>", out._repr_html_())
        self.assertIn("<html", out.html.lower())
        self.assertEqual(len(out), len(list(out)))

    def test_a_judge(self) -> None:
        out = bench(CHOICES, self.judge, ind=[1, 2], limit=3)
        self.assertEqual([(r["ind"], r["pairs"]) for r in out if r["method"] == "p-genrm"], [(1, 3), (2, 3)])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.csv")
            out.write_csv(path)
            with open(path, encoding="utf-8") as f:
                self.assertEqual(len(f.readlines()), 1 + len(out))
        self.assertEqual(self.judge.score_many([request(0)])[0].ind.requested, 2)  # it judges as before

    def test_what_is_wrong(self) -> None:
        with self.assertRaisesRegex(pgenrm.Error, "no-such"):
            bench("/no-such.jsonl")
        with self.assertRaisesRegex(pgenrm.Error, "method.*tallest|tallest"):
            bench(CHOICES, methods=["tallest"])
        with self.assertRaisesRegex(TypeError, "tempo"):
            bench(CHOICES, self.judge, tempo=1)


class Labelling(WithJudge):
    def test_pairs_for_dpo(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path, out = (os.path.join(folder, n) for n in ("r.jsonl", "out.jsonl"))
            with open(path, "w", encoding="utf-8") as f:
                f.writelines(json.dumps(request(i)) + "\n" for i in range(4))
            told = label(self.judge, path, out, ind=2)
            with open(out, encoding="utf-8") as f:
                rows = [json.loads(line) for line in f]
            self.assertEqual((told.read, len(rows)), (4, told.labelled))
            self.assertEqual(told.labelled + told.close + told.failed, 4)
            for row in rows:
                result = self.judge.score_many([request(row["line"] - 1)], ind=2)[0]
                self.assertEqual(row["score_chosen"], max(s for s in result.scores if s is not None))


class Interrupted(WithJudge):
    def test_control_c_ends_a_benchmark(self) -> None:
        before = self.judge.score_many([request(0)])[0].raw["responses"]
        # whoever starts the tests in the background may have told them to ignore it
        self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
        pressed: list[int] = []

        def press(*_: object) -> None:  # while it works
            if not pressed:
                pressed.append(1)
                os.kill(os.getpid(), signal.SIGINT)

        with self.assertRaises(KeyboardInterrupt):
            bench(CHOICES, self.judge, ind=1024, runs=100, progress=press)
        self.assertEqual(self.judge.score_many([request(0)])[0].raw["responses"], before)


if __name__ == "__main__":
    unittest.main()
