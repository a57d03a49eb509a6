"""Rows for a calibration: tools/held_rows.py and tools/mirrored_rows.py on made users."""
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unittest

TOOLS = pathlib.Path(__file__).parent.parent.parent / "tools"


def row(user, question, chosen, rejected, split="train"):
    return {"user_id": user, "conversation_id": f"{question} {chosen} {rejected}", "split": split,
            "context": [{"role": "user", "content": question}], "chosen": {"role": "assistant", "content": chosen},
            "rejected": {"role": "assistant", "content": rejected}}


def made_rows(users=60, texts=12):
    """Each user agrees with half of the statements of one of two consultations: six pairs, one of them asked."""
    rng, rows = random.Random(3), []
    for u in range(users):
        mine = rng.sample(range(texts), texts)
        for k in range(texts // 2):
            rows.append(row(f"user {u}", f"consultation {u % 2}", f"text {mine[2 * k]}", f"text {mine[2 * k + 1]}",
                            "test" if k == 0 else "train"))
    return rows


def run(tool, rows, *options):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "data.jsonl")
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        command = [sys.executable, TOOLS / tool, *options, path]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def key(r):
    return (r["user_id"], r["context"][-1]["content"], r["chosen"]["content"], r["rejected"]["content"])


class Mirrored(unittest.TestCase):
    def test_as_often_one_way_as_the_other(self):
        out = run("mirrored_rows.py", made_rows(), "--pairs", "40")
        asked = [key(r) for r in out if r["split"] == "val"]
        ways = collections.Counter(k[1:] for k in asked)
        self.assertEqual(len(asked), 40)
        for (question, a, b), n in ways.items():
            self.assertEqual(n, ways[question, b, a])
        self.assertLessEqual(max(collections.Counter(k[0] for k in asked).values()), 2)

    def test_what_is_asked_is_not_known(self):
        rows = made_rows()
        out = run("mirrored_rows.py", rows)
        known = {(r["user_id"], r[side]["content"]) for r in out if r["split"] == "train" for side in
                 ("chosen", "rejected")}
        votes = {(u, t) for u, _, a, b in map(key, (r for r in rows if r["split"] == "train")) for t in
                 ((a, "for"), (b, "against"))}
        for r in out:
            if r["split"] != "val":
                continue
            user, _, a, b = key(r)
            self.assertFalse({(user, a), (user, b)} & known)
            self.assertTrue((user, (a, "for")) in votes and (user, (b, "against")) in votes)
        self.assertFalse([r for r in out if r["split"] == "test"])


class Held(unittest.TestCase):
    def test_every_row_of_held_users_is_asked_in_one_of_the_files(self):
        rows = made_rows()
        asked = collections.Counter()
        for k in ("1", "2", "3"):
            asked.update(key(r) for r in run("held_rows.py", rows, "--held", ".5", "--views", "3", "--at", k)
                         if r["split"] == "val")
        users = {k[0] for k in asked}
        self.assertTrue(10 < len(users) < 50)
        self.assertEqual(set(asked.values()), {1})
        self.assertEqual(set(asked), {key(r) for r in rows if r["split"] == "train" and r["user_id"] in users})


if __name__ == "__main__":
    unittest.main()
