#!/usr/bin/env python3
"""Writes tests/golden/chains-adapter/: an adapter of tests/golden/hf-tiny-chains that has half learnt to write chains,
from which GRPO is tested to go on: 150 steps of `pgenrm train psi` on made users, half of whom choose long answers.

    tools/tiny_chains_adapter.py [PGENRM]   a built program (default: build/pgenrm)
"""
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
USERS, PAIRS, LETTERS = 20, 6, "abcdefghijklmnopqrstuvwxyz"


def words(rng, n):
    return "".join("".join(rng.choices(LETTERS, k=4)) + " " for _ in range(n))


def rows(rng):
    for user in range(USERS):
        for i in range(PAIRS):
            texts = [words(rng, 4), words(rng, 30) + ("!" if i % 2 else "")]
            chosen, rejected = texts[user % 2], texts[1 - user % 2]
            yield {"user_id": f"u{user}", "context": [{"role": "user", "content": f"{i} of {user}"}],
                   "chosen": {"role": "assistant", "content": chosen},
                   "rejected": {"role": "assistant", "content": rejected}, "split": "train"}


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "pgenrm"
    with tempfile.TemporaryDirectory() as folder:
        data, out = pathlib.Path(folder) / "users.jsonl", pathlib.Path(folder) / "run"
        data.write_text("".join(json.dumps(r) + "\n" for r in rows(random.Random(5))))
        subprocess.run([program, "train", "psi", "--frame", GOLDEN / "chains.frame", data, "-m",
                        GOLDEN / "hf-tiny-chains", "--out", out, "--dtype", "f32", "--steps", "150", "--batch", "4",
                        "--lr", "1e-2", "--lora-rank", "8", "--pass-tokens", "1024", "--max-tokens", "60",
                        "--eval-limit", "1", "-q"], check=True)
        shutil.rmtree(GOLDEN / "chains-adapter", ignore_errors=True)
        shutil.copytree(out / "adapter", GOLDEN / "chains-adapter")


if __name__ == "__main__":
    main()
