#!/usr/bin/env python3
"""Two of our own servers behind one client, one of them killed in mid-run (kill -9): the results are those of one
server alone, and nothing is lost. Prints times and whether they are the same, to the last digit.

    bench/remote_kill.py [--rows N] [--ind M] [--after SECONDS] [--slots] [--pgenrm build/pgenrm]

--slots: with the frame that reads slots and the adapter that comes with pgenrm, and against a model here, too."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from serving import answering

ROOT = pathlib.Path(__file__).resolve().parent.parent
ADAPTER = ROOT / "models/SmolLM2-135M-Instruct"
CHAINS = ["--frame", "compact-lines", "--score", "recomputed"]
SLOTS = ["--frame", "compact", "--slots", str(ADAPTER / "slots.json")]


def start(args, port):
    lora = str(ADAPTER) if args.slots else "none"
    return answering([args.pgenrm, "serve", "--listen", f"127.0.0.1:{port}", "-t", "1", "--lora", lora, "--deadline",
                      "900", "--read-timeout", "900", "-q"], f"http://127.0.0.1:{port}/health")


def client(args, ports, path):
    urls = ",".join(f"http://127.0.0.1:{p}/v1" for p in ports)
    model = ["-m", urls] if ports else ["--lora", str(ADAPTER)]
    if ports and args.slots:
        model += ["--remote-tokenizer", args.tokenizer]
    return subprocess.Popen([args.pgenrm, "score", *model, *(SLOTS if args.slots else CHAINS), "--ind", str(args.ind),
                             "--json", "-q", path], stdout=subprocess.PIPE, text=True)


def results(process):
    out, _ = process.communicate()
    rows = [json.loads(line) for line in out.splitlines()]
    return [(r["id"], r["best"], [(x["score"], x["se"], x["n"]) for x in r["responses"]], r["chains"]["ind"])
            for r in rows]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pgenrm", default=str(ROOT / "build/pgenrm"))
    p.add_argument("--rows", type=int, default=8)
    p.add_argument("--ind", type=int, default=8)
    p.add_argument("--after", type=float, default=8)
    p.add_argument("--port", type=int, default=8421)
    p.add_argument("--slots", action="store_true")
    p.add_argument("--tokenizer", default=str(pathlib.Path.home() / ".cache/pgenrm/SmolLM2-135M-Instruct.Q4_1.gguf"))
    args = p.parse_args()
    ports = [args.port, args.port + 1]
    servers = [start(args, port) for port in ports]
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("\n".join((ROOT / "examples/choices.jsonl").read_text().splitlines()[: args.rows]) + "\n")
        f.flush()
        here = results(client(args, [], f.name)) if args.slots else None
        begin = time.time()
        one = results(client(args, ports[:1], f.name))
        middle = time.time()
        two = results(client(args, ports, f.name))
        print(f"one server {middle - begin:.1f} s, two {time.time() - middle:.1f} s, the same: {one == two}"
              + (f", and as a model here: {here == one}" if args.slots else ""))
        begin = time.time()
        run = client(args, ports, f.name)
        time.sleep(args.after)
        servers[1].kill()
        alive = run.poll() is None
        killed = results(run)
    print(f"one of two killed after {args.after:.0f} s ({'in mid-run' if alive else 'too late'}): "
          f"{time.time() - begin:.1f} s, the same: {one == killed}; "
          f"{sum(r[3]['parsed'] for r in killed)} of {sum(r[3]['requested'] for r in killed)} chains")
    for server in servers:
        server.kill()
        server.wait()
    return 0 if one == two == killed and here in (None, one) and alive else 1


if __name__ == "__main__":
    sys.exit(main())
