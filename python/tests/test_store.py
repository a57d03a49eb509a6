"""test_store.py - users come, are named by requests, and go; prototypes are made of them."""
from __future__ import annotations

import json
import os
import pathlib
import tempfile
import threading
import unittest

import numpy
from here import PAIR, ROOT, tiny, verdict

import pgenrm
from pgenrm import Pair, Prototypes, Store, User

MARTA = User("marta", [Pair("Tea?", "Yes, green tea.", "No."), Pair([{"role": "user", "content": "Milk?"}], "A little.",
                                                                   "Lots.")], ["short"], {"age": 34})


class WithStore(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "users.db")
        self.store = Store(self.path)
        self.addCleanup(self.store.close)


class Users(WithStore):
    def test_they_come_and_go(self) -> None:
        added = self.store.add(MARTA)
        self.assertEqual((added.users, added.pairs, added.known), (1, 2, 0))
        self.assertEqual(self.store.add(MARTA).known, 2)
        self.store.feedback("marta", "Sugar?", "No.", "Three spoons.")
        (row,) = self.store.users()
        self.assertEqual((row.id, row.pairs, row.criteria, row.demographics), ("marta", 3, 1, True))
        there = self.store.user("marta")
        self.assertEqual([p.chosen for p in there.history], ["Yes, green tea.", "A little.", "No."])
        self.assertEqual(there.criteria, ["short"])
        self.assertIn("marta", self.store)
        self.assertEqual(self.store.forget_pair("marta", "Sugar?", "No.", "Three spoons."), 1)
        self.assertEqual(self.store.forget_pair("marta", "Sugar?", "No.", "Three spoons."), 0)
        self.assertEqual([p.chosen for p in self.store.user("marta").history], ["Yes, green tea.", "A little."])
        self.store.forget("marta")
        self.assertNotIn("marta", self.store)
        self.assertEqual((len(self.store), list(self.store)), (0, []))

    def test_a_file_comes_in_and_goes_out(self) -> None:
        told: list = []
        out = self.store.import_file(ROOT / "examples/users.jsonl", progress=lambda *a: told.append(a))
        self.assertGreater(out.users, 1)
        again = os.path.join(self.folder.name, "again.jsonl")
        with open(again, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in self.store.export())
        with Store(os.path.join(self.folder.name, "other.db")) as other:
            self.assertEqual(other.import_file(again).pairs, out.pairs)
            self.assertEqual([r.id for r in other.users()], [r.id for r in self.store.users()])

    def test_what_is_wrong(self) -> None:
        with self.assertRaisesRegex(pgenrm.Error, "nobody"):
            self.store.user("nobody")
        with self.assertRaisesRegex(pgenrm.Error, "nobody"):
            self.store.forget("nobody")
        with self.assertRaisesRegex(pgenrm.FormatError, "chosen"):
            self.store.add({"id": "u", "history": [{"query": "q"}]})
        with self.assertRaisesRegex(pgenrm.FileError, "no-such"):
            self.store.import_file("/no-such.jsonl")
        with self.assertRaises(pgenrm.Error):
            Store(os.path.join(self.folder.name, "not.db"), create=False)

    def test_progress_that_raises_ends_the_import(self) -> None:
        def refuse(*_: object) -> None:
            raise KeyError("not so")

        with self.assertRaisesRegex(KeyError, "not so"):
            self.store.import_file(ROOT / "examples/users.jsonl", progress=refuse)
        self.assertGreater(self.store.import_file(ROOT / "examples/users.jsonl").pairs + len(self.store), 1)

    def test_threads_wait_for_each_other(self) -> None:
        def work(i: int) -> None:
            for k in range(5):
                self.store.feedback(f"u{i}", f"{k}?", "yes", "no")

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted((r.id, r.pairs) for r in self.store.users()), [(f"u{i}", 5) for i in range(8)])

    def test_closed(self) -> None:
        self.store.close()
        self.assertRaisesRegex(RuntimeError, "closed", self.store.users)


class Named(WithStore):
    def test_a_request_that_names_its_user_has_his_history(self) -> None:
        self.store.add(MARTA)
        with tiny(store=self.store) as judge:
            known = judge.score("marta", "Sugar?", ["No.", "Yes."])
            self.assertEqual(known.history_shown, 2)
            self.assertEqual(verdict(known), verdict(judge.score(MARTA, "Sugar?", ["No.", "Yes."])))
            self.assertEqual(judge.score("nobody", "Sugar?", ["No.", "Yes."]).history_shown, 0)
            self.store.add(User("new", [PAIR]))
            self.assertEqual(judge.score("new", "Sugar?", ["No.", "Yes."]).history_shown, 1)

    def test_similar_users(self) -> None:
        self.store.import_file(ROOT / "examples/users.jsonl")
        made = Prototypes.build(self.store, by="votes", k=2, epochs=0)
        self.assertEqual((made.k, len(made.groups), made.by, made.users), (2, 2, "votes", len(self.store)))
        self.assertTrue(numpy.all(numpy.diff(made.singular) <= 0))
        self.assertIn("<svg", made.map())
        self.assertIn("<table>", made._repr_html_())
        self.assertTrue(pathlib.Path(self.path + ".protos").exists())
        who = self.store.users()[0].id
        with tiny(store=self.path) as judge:
            out = judge.score(who, "Sugar?", ["No.", "Yes."], ind=1, pro=2)
            self.assertEqual(out.pro.requested, 2)
            self.assertNotIn(who, [n.user for n in out.neighbours])
        self.store.add(User("late", [PAIR]))
        self.assertEqual(made.add(self.store), (1, 0))
        with self.assertRaisesRegex(pgenrm.ArgumentError, "by.*moods"):
            Prototypes.build(self.store, by="moods")
        with self.assertRaisesRegex(pgenrm.Error, "embedder"):
            Prototypes.build(self.store, by="choices")


if __name__ == "__main__":
    unittest.main()
