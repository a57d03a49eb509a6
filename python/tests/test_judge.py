"""test_judge.py - a verdict through Python is the program's; of many, of many threads and awaited, each is as alone;
what is wrong is said with the library's words; what is cancelled leaves the judge as it was."""
from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pgenrm
from here import GOLDEN, LONG, MINI, PAIR, PROGRAM, TINY, WithJudge, request, tiny, verdict
from pgenrm import Judge, Pair, User


class Alone(WithJudge):
    def test_it_is_the_programs_verdict(self) -> None:
        asked = request(1)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "r.json")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(asked, f)
            out = subprocess.run([PROGRAM, "score", "-m", TINY, "--dtype", "exact", "--frame", MINI, "--ind",
                                  "4", "--json", path], check=False, capture_output=True, text=True)
        by_program = pgenrm.Result.of(json.loads(out.stdout), asked)
        self.assertEqual(verdict(by_program), verdict(self.judge.score_many([asked], ind=4)[0]))

    def test_the_parts_of_a_request(self) -> None:
        asked = request(2)
        user = User("u2", [Pair(**asked["user"]["history"][0])])
        one = self.judge.score(user, asked["query"], asked["responses"], id="r2", seed=2)
        self.assertEqual(verdict(one), verdict(self.judge.score_many([asked])[0]))
        turns = [{"role": "user", "content": asked["query"]}]
        self.assertEqual(verdict(one), verdict(self.judge.score(user, turns, asked["responses"], id="r2", seed=2)))
        self.assertEqual([r.text for r in one.responses], asked["responses"])
        self.assertEqual((one.query, one.id, len(one.scores)), (asked["query"], "r2", 2))
        raw = {**one.raw, "seconds": 3, "criteria": [{"name": "c", "weight": 1, "share": None, "contested": False,
                                                      "reason": "", "scores": [4, None]}]}
        whole = pgenrm.Result.of(raw)  # numbers that happen to be whole are numbers like the others
        self.assertEqual([type(x) for x in (whole.seconds, whole.criteria[0].weight, *whole.criteria[0].scores)],
                         [float, float, float, type(None)])

    def test_settings_count(self) -> None:
        asked = request(0)
        two, three = (self.judge.score_many([asked], ind=n, chains=True)[0] for n in (2, 3))
        self.assertEqual((two.ind.requested, three.ind.requested, len(three.chains)), (2, 3, 3))
        self.assertEqual(self.judge.score_many([asked], chains=False)[0].chains, [])
        self.assertEqual(two.chains[0].text, three.chains[0].text)  # the same seed, the same chain
        other = self.judge.score_many([asked], ind=2, chains=True, seed=99)[0]
        self.assertNotEqual(two.chains[0].text, other.chains[0].text)

    def test_a_judges_own_settings(self) -> None:
        with tiny(ind=3, chains=True) as judge:
            self.assertEqual(len(judge.score("nobody", "Where?", ["Here.", "There."]).chains), 3)
            self.assertEqual(judge.score("nobody", "Where?", ["Here.", "There."], ind=1).ind.requested, 1)


class Together(WithJudge):
    def setUp(self) -> None:
        self.asked = [request(i) for i in range(8)]
        self.alone = [verdict(self.judge.score_many([r])[0]) for r in self.asked]

    def test_many(self) -> None:
        self.assertEqual([verdict(r) for r in self.judge.score_many(self.asked)], self.alone)
        self.assertEqual(self.judge.score_many([]), [])

    def test_eight_threads_at_once(self) -> None:
        start = threading.Barrier(8)

        def ask(i: int) -> list[dict]:
            start.wait()
            order = [(i + k) % 8 for k in range(8)]
            got = {k: verdict(self.judge.score_many([self.asked[k]])[0]) for k in order}
            return [got[k] for k in range(8)]

        with ThreadPoolExecutor(8) as pool:
            for answers in pool.map(ask, range(8), timeout=LONG):
                self.assertEqual(answers, self.alone)

    def test_awaited(self) -> None:
        async def ask() -> list:
            one = self.judge.score_async(self.asked[0]["user"], self.asked[0]["query"], self.asked[0]["responses"],
                                         id="r0", seed=0)
            return [await one, *await self.judge.score_many_async(self.asked[1:])]

        self.assertEqual([verdict(r) for r in asyncio.run(ask())], self.alone)

    def test_one_fails_alone(self) -> None:
        asked = [self.asked[0], {"query": "q", "responses": ["only one"]}, self.asked[2]]
        with self.assertRaisesRegex(pgenrm.FormatError, r"requests\[1\].*responses"):
            self.judge.score_many(asked)
        out = self.judge.score_many(asked, errors="return")
        self.assertIsInstance(out[1], pgenrm.FormatError)
        self.assertEqual([verdict(out[0]), verdict(out[2])], [self.alone[0], self.alone[2]])

    def test_progress(self) -> None:
        told: list = []
        self.judge.score_many(self.asked[:3], progress=lambda *a: told.append(a))
        self.assertEqual(told, [("judging", i, 3, "requests") for i in (1, 2, 3)])


class Wrong(WithJudge):
    def test_what_the_library_says(self) -> None:
        with self.assertRaises(pgenrm.FormatError) as e:
            self.judge.score("u", "q", ["a", ""])
        self.assertRegex(str(e.exception), r"responses\[1\]")
        self.assertEqual(e.exception.status, -4)
        with self.assertRaisesRegex(pgenrm.ArgumentError, "ind.*-3"):
            self.judge.score("u", "q", ["a", "b"], ind=-3)
        with self.assertRaisesRegex(ValueError, "temperature"):
            self.judge.score("u", "q", ["a", "b"], temperature="warm")
        with self.assertRaisesRegex(pgenrm.Error, "people|similar users|store"):
            self.judge.score("u", "q", ["a", "b"], pro=2)

    def test_what_is_no_option(self) -> None:
        with self.assertRaisesRegex(TypeError, "temprature.*perhaps temperature"):
            self.judge.score("u", "q", ["a", "b"], temprature=1)
        with self.assertRaisesRegex(TypeError, "frame.*Judge"):
            self.judge.score("u", "q", ["a", "b"], frame="full")
        with self.assertRaisesRegex(TypeError, "responses.*str"):
            self.judge.score("u", "q", "ab")

    def test_models_that_are_not_there(self) -> None:
        with self.assertRaisesRegex(pgenrm.Error, "no-such-model"):
            Judge("/no-such-model.gguf")
        with self.assertRaisesRegex(pgenrm.Error, "prompts.txt"):
            Judge(GOLDEN / "prompts.txt")
        with self.assertRaisesRegex(pgenrm.ArgumentError, "dtype.*int4"):
            Judge(TINY, dtype="int4")
        with self.assertRaisesRegex(pgenrm.Error, "no-adapter"):
            Judge(TINY, adapter="/no-adapter")
        with self.assertRaisesRegex(pgenrm.Error, "no-such-frame"):
            tiny(frame="no-such-frame")
        with self.assertRaisesRegex(TypeError, "colour"):
            tiny(colour="red")

    def test_texts_of_all_kinds(self) -> None:
        for text in ("ünï\u4e16 \U0001f600", "a\0b", '"\\\n', "x" * 3000):
            try:
                shown = self.judge.score("u", text, [text, "b"]).responses[0].text
                self.assertEqual(shown, text)
            except pgenrm.Error as e:
                self.assertIn("\0", text, e)
        with self.assertRaises((pgenrm.Error, UnicodeEncodeError)):
            self.judge.score("u", "\ud800", ["a", "b"])


class Ending(unittest.TestCase):
    def test_cancelled_futures_leave_the_judge_as_it_was(self) -> None:
        with tiny() as judge:
            expected = verdict(judge.score_many([request(0)])[0])
            futures = [judge.submit("u", f"Where is {i}?", ["Here.", "There."], ind=32) for i in range(6)]
            self.assertTrue(all(f.cancel() for f in futures[1:]))
            self.assertIsInstance(futures[0].result(LONG), pgenrm.Result)
            for f in futures[1:]:
                self.assertRaises(CancelledError, f.result)
            self.assertEqual(verdict(judge.score_many([request(0)])[0]), expected)

    def test_a_cancelled_task(self) -> None:
        async def late(judge: Judge) -> None:
            await asyncio.wait_for(judge.score_async("u", "q", ["a", "b"], ind=1024), 0.01)

        with tiny() as judge:
            self.assertRaises(asyncio.TimeoutError, lambda: asyncio.run(late(judge)))
            self.assertEqual(judge.score("u", "q", ["a", "b"]).ind.requested, 2)

    def test_a_deadline_is_a_verdict_of_what_is_there(self) -> None:
        with tiny() as judge:
            out = judge.score("u", "q", ["a", "b"], ind=1024, deadline=0.01)
            self.assertLess(out.ind.parsed, 1024)

    def test_control_c(self) -> None:
        with tiny() as judge:
            expected = verdict(judge.score_many([request(0)])[0])

            def press() -> None:  # while it works
                while not judge._desk._at_work:
                    time.sleep(0.001)
                os.kill(os.getpid(), signal.SIGINT)

            # whoever starts the tests in the background may have told them to ignore it
            self.addCleanup(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, signal.default_int_handler))
            presser = threading.Thread(target=press)
            with self.assertRaises(KeyboardInterrupt):
                presser.start()
                judge.score_many([request(i) for i in range(64)] * 4, ind=1024)
            presser.join()
            self.assertEqual(verdict(judge.score_many([request(0)])[0]), expected)

    def test_closed(self) -> None:
        judge = tiny()
        waiting = judge.submit("u", "q", ["a", "b"], ind=1024)
        judge.close()
        judge.close()
        self.assertRaisesRegex(RuntimeError, "closed", waiting.result, LONG)
        self.assertRaisesRegex(RuntimeError, "closed", judge.score, "u", "q", ["a", "b"])
        self.assertIn("closed", repr(judge))

    def test_forgotten(self) -> None:
        """A judge that nobody holds ends its thread, with its last request or without one."""
        for asks in (0, 1):
            judge = tiny()
            for _ in range(asks):
                judge.score("u", "q", ["a", "b"])
            del judge
            gc.collect()
        self.assertFalse([t for t in threading.enumerate() if t.name == "pgenrm-judge"])

    def test_the_interpreter_ends(self) -> None:
        code = ("import here; judge = here.tiny(); judge.submit('u', 'q', ['a', 'b'], ind=1024); "
                "print(judge.score('u', 'q', ['a', 'b'], ind=1).ind.requested)")
        here = os.path.dirname(os.path.abspath(__file__))
        out = subprocess.run([os.sys.executable, "-B", "-c", code], cwd=here, capture_output=True, text=True,
                             timeout=LONG)
        self.assertEqual((out.returncode, out.stdout), (0, "1\n"), out.stderr)


class Stranger(unittest.TestCase):
    def test_a_user_of_the_request_and_nobody(self) -> None:
        with tiny() as judge:
            asks = [{"user": u, "query": "Tea?", "responses": ["a", "b"]}
                    for u in (None, "u", User("u", [PAIR]), {"history": [PAIR], "criteria": "short"})]
            self.assertEqual([r.history_shown for r in judge.score_many(asks)], [0, 0, 1, 1])


if __name__ == "__main__":
    unittest.main()
