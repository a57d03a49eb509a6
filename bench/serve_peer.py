#!/usr/bin/env python3
"""Chat completions served by pgenrm and by PyPI's llama-cpp-python[server] on the same file, asked by 1, 8 and 64
clients at a time, in one run: requests per second.

    bench/serve_peer.py --python VENV/bin/python [--clients 1,8,64] [--tokens 64] [--repeats 3] [--level avx2]

Every request is a question of its own behind the same system text, temperature 1, so many tokens at most; both servers
write about as many (told, with the tokens per second). The servers are asked in turns, repeat by repeat, one of them
idle; medians are told. VENV: bench/peers/install.sh, and `pip install fastapi uvicorn sse-starlette pydantic-settings
starlette-context`. --level: the CPU's level that pgenrm is held to, where the peer was built for less than the CPU
has."""
import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import time
import urllib.request

from serving import llama_cpp, started

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = pathlib.Path.home() / ".cache/pgenrm/SmolLM2-135M-Instruct.Q4_1.gguf"
SYSTEM = ("You answer questions of a small town's library about its opening hours, its books, its rooms and its rules, "
          "in a friendly tone and at most three sentences.")


def ours(args):
    return started([args.pgenrm, "serve", "-m", str(args.model), "--lora", "none", "--listen", "127.0.0.1:0", "-t",
                    str(args.threads), "--deadline", "600"],
                   env={**os.environ, **({"PGENRM_CPU": args.level} if args.level else {})})


def peer(args):
    return llama_cpp(args.python, args.model, args.port, args.threads)


def ask(url, i, args):
    body = {"messages": [{"role": "system", "content": SYSTEM},
                         {"role": "user", "content": f"Shelf {i}: what is there, and may I borrow it on day {i % 7}?"}],
            "temperature": 1.0, "max_tokens": args.tokens, "seed": i}
    request = urllib.request.Request(url + "/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=900) as answer:
        return json.load(answer)["usage"]["completion_tokens"]


def round_of(url, clients, first, args):
    """Requests and tokens per second."""
    n = clients * args.per_client
    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        tokens = list(pool.map(lambda i: ask(url, i, args), range(first, first + n)))
    seconds = time.monotonic() - start
    return n / seconds, sum(tokens) / seconds


def main():
    about, _, more = __doc__.partition("\n\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", required=True)
    p.add_argument("--pgenrm", default=str(ROOT / "build" / "pgenrm"))
    p.add_argument("--model", default=MODEL)
    p.add_argument("--level")
    p.add_argument("--clients", default="1,8,64")
    p.add_argument("--tokens", type=int, default=64)
    p.add_argument("--per-client", type=int, default=1)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--port", type=int, default=8399)
    args = p.parse_args()
    servers = {"pgenrm": ours(args), "llama-cpp-python": peer(args)}
    try:
        for name, (_, url) in servers.items():
            ask(url, 0, args)
        first = 1
        for clients in map(int, args.clients.split(",")):
            got = {name: [] for name in servers}
            for _ in range(args.repeats):
                for name, (_, url) in servers.items():
                    got[name].append(round_of(url, clients, first, args))
                first += clients * args.per_client
            middle = {name: [statistics.median(x) for x in zip(*list_)] for name, list_ in got.items()}
            ratios = sorted(a[0] / b[0] for a, b in zip(got["pgenrm"], got["llama-cpp-python"]))
            print(f"{clients:3} clients: " + ", ".join(f"{name} {m[0]:.2f} requests/s ({m[1]:.0f} tokens/s)"
                                                       for name, m in middle.items())
                  + f"; {statistics.median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)
    finally:
        for server, _ in servers.values():
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
