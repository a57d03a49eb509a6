#!/usr/bin/env python3
"""The remote engine against a server that is not ours: PyPI's llama-cpp-python[server] on the default model's file. The
same requests judged here and through it, no adapter on either side: agreement of the scores in
units of their sampling errors, and the time of both.

    bench/remote_peer.py --python VENV/bin/python [--requests N] [--ind M] [--threads T] [--places]

VENV has llama-cpp-python and fastapi, uvicorn, sse-starlette, pydantic-settings, starlette-context
(bench/peers/install.sh makes venv_lc; the rest is `pip install`)."""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from serving import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = pathlib.Path.home() / ".cache/pgenrm/SmolLM2-135M-Instruct.Q4_1.gguf"


def start_server(args):
    return llama_cpp(args.python, args.model, args.port, args.threads,
                     *(["--logits_all", "true"] if args.places else []))[0]


def judge(args, model, extra, path):
    command = [args.pgenrm, "score", "-m", model, "--lora", "none", "--frame", args.frame, "--ind", str(args.ind),
               "--score", args.score, "--json", "-q", "-t", str(args.threads), *extra, path]
    begin = time.time()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.time() - begin
    if done.returncode not in (0, 3):
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()], seconds


def requests(args):
    return (ROOT / "examples/choices.jsonl").read_text().splitlines()[: args.requests]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", required=True)
    p.add_argument("--pgenrm", default=str(ROOT / "build/pgenrm"))
    p.add_argument("--model", default=MODEL)
    p.add_argument("--requests", type=int, default=4)
    p.add_argument("--ind", type=int, default=8)
    p.add_argument("--frame", default="judge", help="which scores at once; compact-lines writes 130 tokens a chain")
    p.add_argument("--score", default="declared")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--port", type=int, default=8917)
    p.add_argument("--places", action="store_true", help="with log-probabilities, which that server is slow at")
    args = p.parse_args()
    server = start_server(args)
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
            f.write("\n".join(requests(args)) + "\n")
            f.flush()
            here, t_here = judge(args, str(args.model), ["--dtype", "exact"], f.name)
            there, t_there = judge(args, f"http://127.0.0.1:{args.port}/v1", ["--remote-context", "2048"], f.name)
    finally:
        server.kill()
        server.wait()
    z = []
    for a, b in zip(here, there):
        for x, y in zip(a["responses"], b["responses"]):
            if x["score"] is None or y["score"] is None or not x["se"] or not y["se"]:
                continue
            z.append((x["score"] - y["score"]) / math.hypot(x["se"], y["se"]))
            print(f"request {a['id']} response {x['index']}: here {x['score']:.2f} ({x['se']:.2f}), there "
                  f"{y['score']:.2f} ({y['se']:.2f})")
    for name, rows, seconds in (("here", here, t_here), ("there", there, t_there)):
        chains = sum(r["chains"]["ind"]["parsed"] for r in rows)
        wanted = sum(r["chains"]["ind"]["requested"] for r in rows)
        tokens = sum(r["usage"]["completion_tokens"] for r in rows)
        print(f"{name}: {chains} of {wanted} chains, {tokens} tokens in {seconds:.1f} s, {tokens / seconds:.1f} per s")
    if z:
        print(f"differences over their errors: n {len(z)}, mean {sum(z) / len(z):+.2f}, root mean square "
              f"{math.sqrt(sum(v * v for v in z) / len(z)):.2f}, largest {max(map(abs, z)):.2f}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
