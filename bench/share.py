#!/usr/bin/env python3
"""Shares of the machine's ceiling, measured in the same run: reading a prompt (bf16), decoding 24 chains (bf16, int8),
and where the processors' time goes (by perf, where it is installed).

Counted are the products with weights (2 operations per weight and row; the head only for rows that sample) and
attention (4 operations per query head, value and token seen). The ceiling is that of the dot-product instruction, both
cores, before and after the jobs; the larger counts."""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "bench"))
import measure  # noqa: E402
import target_job  # noqa: E402

GROUPS = [("products with weights", r"^(int8|bf16)_\d+|gemm_.*(run|task|tile)|packed|product_task|panel"),
          ("attention", r"chunk|^page_\d|^values_\d|attn_merge|fold_task|run_part|run_whole|tile_task|span"),
          ("packing of weights (load)", r"pack|dequant|fmaxf"),
          ("sampling", r"exp_sum|max_simd|sampler|prepare_task|draw_blocks"),
          ("norms, rope, activations, K and V",
           r"rmsnorm|rope|swiglu|attn_store|attn_query|store_|to_bf16|add_simd|quantise|embed_row|cosf|sinf|"
           r"int8_quad|norm_row|input_row"),
          ("waiting for the other core", r"pool_|worker|wait|spin|futex")]


def operations(c, first, last, n_head_row, rows=1):
    """Of `rows` sequences, positions first to last - 1."""
    n_q, n_kv = c["n_head"] * c["head_dim"], c["n_head_kv"] * c["head_dim"]
    per_row = 2 * c["n_layer"] * (c["n_embd"] * (2 * n_q + 2 * n_kv) + 3 * c["n_embd"] * c["n_ff"])
    seen = sum(range(first + 1, last + 1))
    return rows * ((last - first) * per_row + 4 * seen * n_q * c["n_layer"]) + n_head_row * 2 * c["n_embd"] * c[
        "n_vocab"]


def peaks(build):
    text = subprocess.run([build / "bench_math", "2", "peaks"], capture_output=True, text=True, check=True).stdout
    return {m[0]: float(m[1]) for m in re.findall(r"peak (\w+) (\d+)", text)}


def dimensions(program, model):
    c = json.loads(subprocess.run([program, "inspect", "--json", model], capture_output=True, text=True,
                                  check=True).stdout)
    names = {"n_layer": "layers", "n_embd": "width", "n_head": "heads", "n_head_kv": "kv_heads", "head_dim": "head_dim",
             "n_ff": "feed_forward", "n_vocab": "vocabulary"}
    return {k: c[v] for k, v in names.items()}


def where(build, model, dtype, job):
    """Shares of samples by group."""
    with tempfile.NamedTemporaryFile() as data:
        subprocess.run(["perf", "record", "-q", "-F", "500", "-o", data.name, build / "bench_job", model, dtype, "2"],
                       input=json.dumps(job) + "\n", text=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       check=True)
        report = subprocess.run(["perf", "report", "-i", data.name, "--percent-limit", "0.05", "--sort", "symbol"],
                                capture_output=True, text=True).stdout
    shares, rest = {name: 0.0 for name, _ in GROUPS}, {}
    for percent, symbol in re.findall(r"^\s*([\d.]+)%\s+\[.\]\s+(\S+)", report, re.M):
        name = next((n for n, pattern in GROUPS if re.search(pattern, symbol)), None)
        if name:
            shares[name] += float(percent)
        else:
            rest[symbol] = float(percent)
    shares["else, the system among it"] = 100 - sum(shares.values())
    return shares, sorted(rest.items(), key=lambda x: -x[1])[:5]


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=str(target_job.PEERS / "Q4_1.gguf"))
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--repeats", type=int, default=5)
    args = p.parse_args()
    build = pathlib.Path(args.build)
    c = dimensions(build / "pgenrm", args.model)
    before, rows = peaks(build), []
    workers = {d: target_job.Worker(d, [build / "bench_job", args.model, d, 2]) for d in ("bf16", "int8")}
    new = target_job.prompts(None, 77)
    for w in workers.values():
        w.run({"groups": [{"prompt": new(64), "n": 2}], "tokens": 8, "seed": 1})
    times = {}
    for k in range(args.repeats):
        for d, w in workers.items():
            a = w.run({"groups": [{"prompt": new(2048), "n": 1}], "tokens": 1, "seed": k})
            times.setdefault((d, "prompt of 2,048"), []).append(a["prefill_s"])
            a = w.run({"groups": [{"prompt": new(1536), "n": 24}], "tokens": 128, "seed": k})
            times.setdefault((d, "24 chains at 1,536"), []).append(a["decode_s"])
    after = peaks(build)
    top = {k: max(before[k], after[k]) for k in before}
    work = {"prompt of 2,048": operations(c, 0, 2048, 1),
            "24 chains at 1,536": operations(c, 1536, 1536 + 127, 24 * 127, rows=24)}
    print(f"{measure.machine()}\n{args.model}, median of {args.repeats}; ceilings "
          + ", ".join(f"{k} {v:.0f}" for k, v in top.items()) + " G(FL)OP/s\n")
    for (d, name), t in sorted(times.items(), key=lambda x: x[0][1]):
        s = statistics.median(t)
        print(f"{name:20} {d:5} {s:7.3f} s   {work[name] / s / 1e9:6.0f} G(FL)OP/s   "
              f"{100 * work[name] / s / 1e9 / top[d]:5.1f} % of {d}'s ceiling, "
              f"{100 * work[name] / s / 1e9 / top['bf16']:5.1f} % of bf16's")
    if not shutil.which("perf"):
        return
    print("\nwhere the processors' time goes, load of the model included, % of samples")
    for d in workers:
        for name, job in (("prompt of 2,048", {"groups": [{"prompt": new(2048), "n": 1}], "tokens": 1, "seed": 1}),
                          ("24 chains at 1,536",
                           {"groups": [{"prompt": new(1536), "n": 24}], "tokens": 256, "seed": 1})):
            shares, rest = where(build, args.model, d, job)
            print(f"{d:5} {name:20} " + ", ".join(f"{k} {v:.1f}" for k, v in shares.items()) + "; largest else: "
                  + ", ".join(f"{k} {v}" for k, v in rest))


if __name__ == "__main__":
    main()
