#!/usr/bin/env python3
"""kill_train.py: kills each stage of `pgenrm train` with SIGKILL at random moments, resumes it, compares all bytes.

    bench/kill_train.py [--times 30] [--pgenrm build/pgenrm] [--stages sft,psi,cre,...] [--steps 20] [--seed 1]

Stages: sft; psi, cre, hncl on slots; text-psi, text-cre, text-hncl on chains of text; bt, dpo, grpo. Tiny models of
tests/golden and the conversations and pairs of examples/. Of every stage a run in peace, then as many
runs as --times says, each killed once at a moment drawn evenly from the time that the run in peace took (start, steps,
checkpoints, evaluations, the adapter at the end), then resumed by the same command with --resume. Every file of
adapter/ and of the last checkpoint must have the bytes of the run in peace, and metrics.jsonl its lines, but for
step_time and the file's length. Ends with 1 otherwise."""
import argparse
import json
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden"
PAIRS = ROOT / "examples/choices.jsonl"
SLOTS = ["-m", GOLDEN / "hf-tiny-words", "--pairs-min", 1, "--held", .3, "--pass-tokens", 4096, "--eval-every", 7]


TEXT = ["--frame", GOLDEN / "chains.frame", PAIRS, "-m", GOLDEN / "hf-tiny-chains", "--max-tokens", 64, "--held", .3,
        "--eval-limit", 1, "--eval-every", 4, "--batch", 2, "--dtype", "f32"]
WORDS = ["-m", GOLDEN / "hf-tiny-words", "--batch", 2, "--dtype", "f32"]
OTHERS = {
    "sft": ["--data", ROOT / "examples/chats.jsonl", "--batch", 3, "--lr", .01, "--dtype", "f32", "-m",
            GOLDEN / "hf-tiny-llama/f32"],
    "bt": ["--data", PAIRS, *WORDS],
    "dpo": ["--data", PAIRS, *WORDS],
    "grpo": ["--data", PAIRS, *WORDS, "--judge", "none", "--frame", "compact", "--samples", 2, "--max-new", 4, "--held",
             .3, "--eval-limit", 2, "--eval-every", 4],
}


def command(stage, init):
    if stage in OTHERS:
        return OTHERS[stage]
    text = stage.startswith("text-")
    data = TEXT if text else [f"taste={PAIRS}", f"quality={PAIRS}", *SLOTS]
    if stage.endswith("psi"):
        return data
    return [*data, *(["--samples", 2] if text else []), "--init", init]


def start(o, stage, init, out):
    words = [o.pgenrm, "train", stage.removeprefix("text-"), *command(stage, init), "--steps", o.steps,
             "--save-minutes", 0, "--out", out, "--resume", "-q"]
    return subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(o, stage, init, out):
    run = start(o, stage, init, out)
    _, said = run.communicate()
    if run.returncode != 0:
        sys.exit(f"{stage}: {said}")


def bytes_of(out, steps):
    found = {f"{f.parent.name}/{f.name}": f.read_bytes()
             for folder in ("adapter", "model", f"checkpoint-{steps}")
             if (out / folder).exists() for f in sorted((out / folder).iterdir()) if f.is_file()}
    if (out / "chains.jsonl").exists():  # the teacher's, of text-psi
        found["chains.jsonl"] = (out / "chains.jsonl").read_bytes()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop("step_time", None)
    found["metrics.jsonl"] = lines
    state = f"checkpoint-{steps}/state.json"
    found[state] = json.loads(found[state]) | {"metrics_bytes": 0}  # the length of the lines, step_time's digits in it
    return found


def run_stage(o, stage, init, scratch, draw):
    peace = scratch / f"{stage}-peace"
    begin = time.monotonic()
    finish(o, stage, init, peace)
    whole = time.monotonic() - begin
    want, killed, wrong, at = bytes_of(peace, o.steps), 0, 0, []
    for _ in range(o.times):
        out = scratch / f"{stage}-killed"
        shutil.rmtree(out, ignore_errors=True)
        run = start(o, stage, init, out)
        time.sleep(draw.uniform(0, whole))
        run.kill()
        run.communicate()
        killed += run.returncode == -9
        steps = [int(f.name.split("-")[1]) for f in out.glob("checkpoint-*") if f.name.split("-")[1].isdigit()]
        at.append(max(steps, default=0))
        finish(o, stage, init, out)
        got = bytes_of(out, o.steps)
        different = sorted(k for k in want.keys() | got.keys() if want.get(k) != got.get(k))
        wrong += bool(different)
        if different:
            print(f"  {stage}: killed after step {at[-1]}: different: {', '.join(different)}")
    print(f"{stage}: {o.times} runs of {o.steps} steps ({whole:.1f} s in peace), {killed} killed in time, checkpoints "
          f"at the kill {sorted(at)}: {o.times - wrong} end in the same bytes", flush=True)
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--times", type=int, default=30)
    p.add_argument("--pgenrm", default=ROOT / "build/pgenrm")
    p.add_argument("--stages", default="sft,psi,cre,hncl,text-psi,text-cre,text-hncl,bt,dpo,grpo")
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--seed", type=int, default=1)
    o = p.parse_args()
    draw, wrong = random.Random(o.seed), 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for first in ("psi", "text-psi"):
            finish(argparse.Namespace(pgenrm=o.pgenrm, steps=2), first, None, scratch / f"begin-{first}")
        for stage in o.stages.split(","):
            begin = "begin-text-psi" if stage.startswith("text-") else "begin-psi"
            wrong += run_stage(o, stage, scratch / begin / "adapter", scratch, draw)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
