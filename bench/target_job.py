#!/usr/bin/env python3
"""Many chains on one prompt: pgenrm against OpenVINO GenAI and llama.cpp, in one run, interleaved.

Jobs: ind-24 (24 sampled chains of 256 tokens on one prompt of 1,536 tokens), pro (16 chains on one prompt and 8 on 8
further prompts that share its first tokens, the instructions), single (one chain). Every engine gets the same token
ids, new ones in every repeat, so that nothing is known of an earlier repeat. Each engine is a process that has loaded
its model and has its KV cache (pgenrm: memory for 24,576 tokens at its start; OpenVINO GenAI: 4 GB; llama.cpp: a
context); only the job is timed. Memory is the most that a process held at any time of the run.
--level avx2 holds every engine to AVX2; --against BUILD takes another build of pgenrm beside this one.
Medians of the repeats; the ratio is peer / pgenrm of the medians, and of each repeat (least and largest)."""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import measure  # noqa: E402

PEERS = pathlib.Path.home() / ".cache" / "pgenrm-peers"


class Worker:
    def __init__(self, name, command, env):
        self.name, self.times, self.detail = name, {}, {}
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env={**os.environ, **env})
        if not self.process.stdout.readline():
            sys.exit(f"{name} did not start: {' '.join(map(str, command))}")

    def run(self, job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} ended in mid-job")
        return json.loads(line)

    def peak_mib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def prompts(args, repeat):
    """Ids of ordinary words (no control tokens), different in every repeat."""
    rng = random.Random(1000 + repeat)
    return lambda n: [rng.randrange(300, 40000) for _ in range(n)]


def make_job(name, args, repeat):
    new = prompts(args, repeat)
    if name == "single":
        groups = [{"prompt": new(args.prompt), "n": 1}]
    elif name == "ind-24":
        groups = [{"prompt": new(args.prompt), "n": 24}]
    else:
        head = new(args.shared)  # the instructions, and the query where it stands first
        groups = [{"prompt": head + new(args.prompt - args.shared), "n": 16}]
        groups += [{"prompt": head + new(args.prompt - args.shared), "n": 1} for _ in range(8)]
    return {"groups": groups, "tokens": args.tokens, "seed": repeat + 1}


def openvino(peers, folder, precision, *more):
    return [peers / "venv_ov/bin/python", ROOT / "bench/peers/openvino_worker.py", folder,
            f"INFERENCE_PRECISION_HINT={precision}", *more]


def all_commands(args, peers, files, model):
    """name -> command, in the order of the interleaving."""
    avx2 = args.level == "avx2"
    commands = {f"pgenrm {d}": [pathlib.Path(args.build) / "bench_job", model, d, 2] for d in args.dtypes.split(",")}
    if args.against:
        for d in args.against_dtypes.split(","):
            commands[f"before {d}"] = [pathlib.Path(args.against) / "bench_job", model, d, 2]
    if avx2:
        commands["openvino f32"] = openvino(peers, files / "ov", "f32")
        if (files / "ov_int8").exists():
            # activations in 8 bits want VNNI, which AVX2 alone has not: asked for, no primitive is found
            commands["openvino int8"] = openvino(peers, files / "ov_int8", "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE=0")
    else:
        commands["openvino bf16"] = openvino(peers, files / "ov", "bf16")
    own = peers / "venv_lc_avx2" # else what compiled itself for this CPU, and says so
    python = (own if avx2 and own.exists() else peers / "venv_lc") / "bin/python"
    name = "llama.cpp native" if avx2 and not own.exists() else "llama.cpp"
    for kind in ("Q4_1", "q8_0", "bf16"):
        if (files / f"{kind}.gguf").exists():
            commands[f"{name} {kind}"] = [python, ROOT / "bench/peers/llama_cpp_worker.py", files / f"{kind}.gguf"]
    return commands


def parse_args():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--jobs", default="ind-24,pro,single")
    p.add_argument("--repeats", type=int, default=5)
    p.add_argument("--prompt", type=int, default=1536, help="tokens (default: 1536)")
    p.add_argument("--shared", type=int, default=384, help="tokens that all prompts of `pro` begin with (default: 384)")
    p.add_argument("--tokens", type=int, default=256, help="of each chain (default: 256)")
    p.add_argument("--peers", default=str(PEERS), help="where bench/peers/install.sh put them")
    p.add_argument("--files", help="folder of the model's files: ov, *.gguf (default: that of --peers; "
                   "bench/peers/random_models.sh makes others)")
    p.add_argument("--model", default=None, help="file for pgenrm (default: Q4_1.gguf of --files, else its bf16.gguf)")
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--dtypes", default="int8,bf16", help="of pgenrm (default: int8,bf16)")
    p.add_argument("--level", default="", help="PGENRM_CPU of pgenrm; avx2: the peers are held to AVX2 too "
                   "(ONEDNN_MAX_CPU_ISA, a build of llama.cpp without AVX-512: bench/peers/install.sh avx2)")
    p.add_argument("--against", default="", help="another build folder of pgenrm, as `before`")
    p.add_argument("--against-dtypes", default="int8,bf16")
    p.add_argument("--only", default="", help="names of engines, by commas (default: all)")
    return p.parse_args()


def main():
    args = parse_args()
    peers = pathlib.Path(args.peers)
    files = pathlib.Path(args.files or peers)
    model = args.model or str(next(f for f in (files / "Q4_1.gguf", files / "bf16.gguf") if f.exists()))
    commands = all_commands(args, peers, files, model)
    env = {"PGENRM_CPU": args.level} if args.level else {}
    if args.level == "avx2":
        env["ONEDNN_MAX_CPU_ISA"] = "AVX2"
    wanted = [w for w in args.only.split(",") if w]
    workers = [Worker(n, c, env) for n, c in commands.items() if not wanted or n in wanted]

    level = f", level {args.level}" if args.level else ""
    print(f"{measure.machine()}{level}\n{files}\nprompt {args.prompt} tokens, chains of {args.tokens}, {args.repeats} "
          f"repeats, interleaved; `pro` shares {args.shared}\n")
    warm = {"groups": [{"prompt": prompts(args, -1)(64), "n": 2}], "tokens": 8, "seed": 1}
    for w in workers:
        w.run(warm)
    for name in args.jobs.split(","):
        times = {w.name: [] for w in workers}
        for k in range(args.repeats):
            job = make_job(name, args, k)
            for w in workers:
                answer = w.run(job)
                times[w.name].append(answer["seconds"])
                extra = (f"  prefill {answer['prefill_s']:.2f} decode {answer['decode_s']:.2f} cached "
                         f"{answer['cached']}" if "prefill_s" in answer else "")
                print(f"{name:8} {k + 1}  {w.name:18} {answer['seconds']:7.2f} s  "
                      f"{answer['tokens'] / answer['seconds']:7.1f} tokens/s{extra}", flush=True)
        own = [w.name for w in workers if w.name.startswith("pgenrm")]
        print()
        for n, t in times.items():
            row = f"{name:8}  {n:18} median {statistics.median(t):7.2f} s"
            for o in own:
                if not n.startswith("pgenrm"):
                    each = [a / b for a, b in zip(t, times[o])]
                    row += (f"   {statistics.median(t) / statistics.median(times[o]):5.2f} x {o} ({min(each):.2f} to "
                            f"{max(each):.2f})")
            print(row)
        print()
    for w in workers:
        print(f"peak memory {w.name:18} {w.peak_mib():7.0f} MiB")


if __name__ == "__main__":
    main()
