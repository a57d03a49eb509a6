#!/usr/bin/env python3
"""Measures training on the default model in one run: LoRA and all weights, forward and backward, at every level of
kernels that the machine has, beside PyTorch, as a share of the best rate of products, and what trees save.

    cmake --build build --target bench_train --target bench_math
    bench/train_speed.py --json OUT.json       about 12 minutes on a quiet machine with 2 cores
    bench/train_speed.py --quick               does everything run? few tokens, once: no numbers to keep

Runs take turns, each in a process of its own; told are medians, least and largest of the repeats. A level is what
PGENRM_CPU allows; PyTorch is held to the same instructions (oneDNN's, MKL's and ATen's switches) and takes the best
dtype and batch of a few tries. LoRA has a line for each of our dtypes, the level's own and int8. Operations are those
of the products of one forward and backward, each as often as the algorithm wants it: what is computed again for want
of memory does not count. The ceiling is the best rate of single products of the same shapes, weighed by their
operations: by our kernels (bench_math) and by torch.matmul. Standard library alone; PyTorch and the model's folder
for transformers are those of bench/peers/install.sh."""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
import measure  # noqa: E402

PEERS = pathlib.Path.home() / ".cache" / "pgenrm-peers"
RANK = 16
TORCH_LEVELS = {"amx": {},
                "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "ATEN_CPU_CAPABILITY": "avx512",
                           "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
                "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2",
                         "MKL_ENABLE_INSTRUCTIONS": "AVX2"}}
SPEED = re.compile(r"([\d.]+) tokens/s \(forward ([\d.]+), backward ([\d.]+)\);.*peak (\d+) MB")
TREE = re.compile(r"([\d.]+) times, ideal ([\d.]+), measured / ideal ([\d.]+); by processor time ([\d.]+), ([\d.]+)")
FULL_SIZE = dict(batch=(3, 645, 45), batches=[1, 3], trees=[(8, 600, 45), (8, 1200, 300), (24, 1536, 256)])
QUICK_SIZE = dict(batch=(1, 96, 8), batches=[1], trees=[(2, 128, 32)])


# ---- operations ----

def products(c):
    """Shapes (N, K) of a layer's products as passes do them: q, k, v in one, gate and up in one."""
    d, ff, hd = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    return [(q + 2 * kv, d), (d, q), (2 * ff, d), (d, ff)]


def factors(c):
    """Sum of K and of N over the matrices that have factors of low rank."""
    d, ff, hd = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    shapes = [(q, d), (kv, d), (kv, d), (d, q), (ff, d), (ff, d), (d, ff)]
    return sum(k for _, k in shapes), sum(n for n, _ in shapes)


def operations(c, runs, wanted, full):
    """Of a forward and of a backward. runs: (first position, tokens) of each piece that is computed."""
    n, layers = sum(t for _, t in runs), c["num_hidden_layers"]
    seen = sum(t * first + t * (t + 1) // 2 for first, t in runs)
    weights = sum(a * b for a, b in products(c))
    of_k, of_n = factors(c)
    attention = 2 * seen * c["num_attention_heads"] * c["head_dim"]  # of one of its products
    head = 2 * wanted * c["vocab_size"] * c["hidden_size"]
    forward = layers * (2 * n * weights + 2 * attention) + head
    back = layers * (2 * n * weights + 5 * attention) + head
    if full:
        return forward, back + layers * 2 * n * weights + head
    first_dx = 2 * n * products(c)[0][0] * products(c)[0][1]  # nobody needs the first layer's input's gradient
    return (forward + layers * 2 * n * RANK * (of_k + of_n),
            back - first_dx + layers * 2 * n * RANK * (3 * of_k + 2 * of_n))


def shapes_of_step(c, tokens, wanted):
    """((N, K, M), operations) of the products of a forward and a backward."""
    d, vocab, layers = c["hidden_size"], c["vocab_size"], c["num_hidden_layers"]
    list_of = [((n, k, tokens), layers) for n, k in products(c)] + [((k, n, tokens), layers) for n, k in products(c)]
    list_of += [((vocab, d, wanted), 1), ((d, vocab, wanted), 1)]
    return [(shape, 2 * times * shape[0] * shape[1] * shape[2]) for shape, times in list_of]


def ceiling(shapes, rates):
    """One rate: all operations over the time that they take at the shapes' rates."""
    return sum(ops for _, ops in shapes) / sum(ops / r for (_, ops), r in zip(shapes, rates))


# ---- programs ----

class Runner:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.build, self.torch_file = pathlib.Path(args.build), measure.ROOT / "bench" / "train_torch.py"
        self.end = time.monotonic() + 60 * args.minutes

    def call(self, argv, env):
        for name in argv[:1]:
            if not os.access(name, os.X_OK):
                sys.exit(f"{name}: not there (see --help), expected a program")
        done = subprocess.run([str(a) for a in argv], env={**os.environ, **env}, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(map(str, argv))}\nended with status {done.returncode}:\n{done.stderr.strip()[-2000:]}")
        return done.stdout

    def late(self):
        return time.monotonic() > self.end

    def speed(self, text, pattern=SPEED):
        found = pattern.search(text)
        if not found:
            sys.exit(f"expected a line with {pattern.pattern}, found:\n{text}")
        return [float(v) for v in found.groups()]

    def ours(self, level, dtype, full, batch, steps):
        model = self.folder if full else self.args.model or measure.default_model()
        text = self.call([self.build / "bench_train", model, dtype, self.args.threads, *batch, 0, 0 if full else RANK,
                          steps], {"PGENRM_CPU": level})
        return dict(zip(("tokens", "forward", "backward", "peak"), self.speed(text)))

    def tree(self, level, dtype, case, steps):
        k, p, r = case
        text = self.call([self.build / "bench_train", self.args.model or measure.default_model(), dtype,
                          self.args.threads, k, p + r, r, 0, RANK, steps, p], {"PGENRM_CPU": level})
        lines = [line for line in text.splitlines() if line.startswith("tree")]
        out = dict(zip(("times", "ideal", "share", "cpu_times", "cpu_share"), self.speed(text, TREE)))
        out["peak"] = self.speed(lines[0])[3]
        return out

    def torch(self, level, dtype, full, batch, steps):
        text = self.call([self.args.python, self.torch_file, self.args.folder, dtype, self.args.threads, *batch, RANK,
                          steps] + ["--full"] * full, TORCH_LEVELS[level])
        return dict(zip(("tokens", "forward", "backward", "peak"), self.speed(text)))

    def our_rates(self, level, dtype, shapes):
        return [float(self.call([self.build / "bench_math", self.args.threads, dtype, *shape],
                                {"PGENRM_CPU": level})) for shape, _ in shapes]

    def torch_rates(self, level, dtype, shapes):
        words = [",".join(map(str, shape)) for shape, _ in shapes]
        text = self.call([self.args.python, self.torch_file, "--products", dtype, self.args.threads, *words],
                         TORCH_LEVELS[level])
        return [float(v) for v in text.split()]


def whole_folder(source, target):
    """The folder that transformers wrote from a GGUF file has tokens behind the embedding's rows: without them."""
    for file in pathlib.Path(source).iterdir():
        if file.name not in ("tokenizer.json", "tokenizer_config.json"):
            (pathlib.Path(target) / file.name).symlink_to(file)
    config = json.loads((pathlib.Path(source) / "config.json").read_text())
    words = json.loads((pathlib.Path(source) / "tokenizer.json").read_text())
    words["added_tokens"] = [t for t in words["added_tokens"] if t["id"] < config["vocab_size"]]
    (pathlib.Path(target) / "tokenizer.json").write_text(json.dumps(words))
    return config


def levels_of(runner):
    """The machine's and those below it, with the dtype of training there (docs/training.md)."""
    flags = next(line for line in open("/proc/cpuinfo") if line.startswith("flags")).split()
    maker = next(line for line in open("/proc/cpuinfo") if line.startswith("vendor_id")).split(":")[1]
    found = []
    for level in ("amx", "avx512", "avx2"):
        name = runner.call([runner.build / "bench_math", runner.args.threads, "peaks"],
                           {"PGENRM_CPU": level}).split(",")[0]
        if name not in [f[0] for f in found] and name in TORCH_LEVELS:
            fast = name == "amx" or name == "avx512" and "avx512_bf16" in flags and maker.strip() == "AuthenticAMD"
            found.append((name, "bf16" if fast else "f32"))
    return found


# ---- what is measured ----

def best_of_torch(runner, candidates, level, full, size, tries):
    """The fastest (dtype, sequences) of a few, one step each."""
    best = candidates[0]
    for k, (dtype, n) in enumerate(candidates if len(candidates) > 1 else []):
        got = runner.torch(level, dtype, full, (n, *size["batch"][1:]), 1)
        best = (dtype, n) if k == 0 or got["tokens"] > max(t["tokens"] for t in tries[-k:]) else best
        tries.append(dict(level=level, full=full, dtype=dtype, batch=n, **got))
        say(f"try PyTorch {level} {dtype} {'all weights' if full else 'LoRA'} {n} x {size['batch'][1]}", got)
    return best


def torch_choices(runner, levels, size, tries):
    """(level, full) to (dtype, sequences). Batches are tried at the machine's level, dtypes where there are two."""
    (top, top_dtype), chosen = levels[0], {}
    fast = ["bfloat16"] if top_dtype == "bf16" else []
    both = [(fast + ["float32"])[0], "float32"]
    first = [(both[0], n) for n in size["batches"]] + [("float32", size["batches"][0])] * bool(fast)
    chosen[top, False] = best_of_torch(runner, first, top, False, size, tries)
    again = [(chosen[top, False][0], n) for n in size["batches"]]
    chosen[top, True] = best_of_torch(runner, again, top, True, size, tries)
    for level, _ in levels[1:]:
        dtypes = dict.fromkeys(both) if level == "avx512" else ["float32"]
        some = [(d, chosen[top, False][1]) for d in dtypes]
        chosen[level, False] = chosen[level, True] = best_of_torch(runner, some, level, False, size, tries)
    return chosen


def say(what, got):
    numbers = ", ".join(f"{k} {v:g}" for k, v in got.items())
    print(f"{time.strftime('%H:%M:%S')} load {os.getloadavg()[0]:4.1f}  {what}: {numbers}", file=sys.stderr, flush=True)


def flat_series(runner, level, dtype, full, choice, size):
    """pgenrm's and PyTorch's; run(steps) gives a dict."""
    ours, peer = size["batch"], (choice[1], *size["batch"][1:])
    dtypes = [dtype] if full else [dtype, "int8"]  # adapters alone are trained in int8
    return [dict(who="pgenrm", level=level, dtype=d, full=full, batch=ours,
                 run=lambda steps, d=d: runner.ours(level, d, full, ours, steps)) for d in dtypes] + [
            dict(who="PyTorch", level=level, dtype=choice[0], full=full, batch=peer,
                 run=lambda steps: runner.torch(level, choice[0], full, peer, steps))]


def plan(runner, levels, size, choices):
    """All series in the order of a round: the machine's level, trees, then the levels below it."""
    series = []
    for level, dtype in levels:
        for full in (False, True):
            series += flat_series(runner, level, dtype, full, choices[level, full], size)
        if level == levels[0][0]:
            series += [dict(who="tree", level=level, dtype=dtype, case=case,
                            run=lambda steps, case=case: runner.tree(*levels[0], case, steps))
                       for case in size["trees"]]
    return series


def name_of(s):
    if s["who"] == "tree":
        return "tree {} x ({} + {})".format(*s["case"])
    return f"{s['who']} {'all weights' if s['full'] else 'LoRA'}"


def measure_all(runner, series, top, args):
    """Round by round; below the machine's level, and trees, at most two of them. Late: what has been run once is not
    run again."""
    for s in series:
        s["got"] = []
    for r in range(args.repeats):
        for s in series:
            below = s["level"] != top or s["who"] == "tree"
            if (below and r >= 2) or (runner.late() and s["got"]):
                continue
            steps = 1 if args.quick or below else 2
            s["got"].append(s["run"](steps))
            say(f"{r + 1}: {name_of(s)}, {s['level']}, {s['dtype']}", s["got"][-1])


def spread(values, digits=0):
    m = statistics.median(values)
    if len(values) < 2:
        return f"{m:.{digits}f}"
    return f"{m:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def median_of(s, key):
    return statistics.median(g[key] for g in s["got"])


def show(rows):
    width = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, width)).rstrip())
    print()


def show_flat(config, series, tops):
    """tops: (level, who, dtype) to a ceiling in GFLOP/s."""
    rows = [("level", "what", "dtype", "batch", "tokens/s", "forward", "backward", "peak MB", "GFLOP/s",
             "of our products", "of torch.matmul", "/ PyTorch")]
    for s in series:
        n, t, w = s["batch"]
        f, b = operations(config, [(0, t)] * n, n * w, s["full"])
        rate = (f + b) / (n * t) * median_of(s, "tokens") / 1e9
        s["gflops"] = rate
        s["ceilings"] = {who: tops[s["level"], who, form_of(s["dtype"])] for who in ("ours", "torch")}
        peer = next(p for p in series if p["who"] == "PyTorch" and (p["level"], p["full"]) == (s["level"], s["full"]))
        share = [f"{rate / v:.2f} of {v:.0f}" for v in s["ceilings"].values()]
        ratio = f"{median_of(s, 'tokens') / median_of(peer, 'tokens'):.2f}" if s["who"] == "pgenrm" else ""
        rows.append((s["level"], name_of(s), s["dtype"], f"{n} x {t}", spread([g["tokens"] for g in s["got"]]),
                     f"{median_of(s, 'forward'):.0f}", f"{median_of(s, 'backward'):.0f}",
                     f"{max(g['peak'] for g in s['got']):.0f}", f"{rate:.0f}", *share, ratio))
    show(rows)


def show_trees(config, series):
    rows = [("level", "tree K x (P + R)", "dtype", "times", "ideal by tokens", "measured / ideal", "by processor time",
             "ideal by operations", "measured / that", "peak MB")]
    for s in series:
        k, p, r = s["case"]
        flat = sum(operations(config, [(0, p + r)] * k, k * r, False))
        tree = sum(operations(config, [(0, p)] + [(p, r)] * k, k * r, False))
        s["ideal_operations"] = flat / tree
        rows.append((s["level"], f"{k} x ({p} + {r})", s["dtype"], spread([g["times"] for g in s["got"]], 2),
                     f"{median_of(s, 'ideal'):.2f}", spread([g["share"] for g in s["got"]], 2),
                     spread([g["cpu_share"] for g in s["got"]], 2), f"{flat / tree:.2f}",
                     f"{median_of(s, 'times') * tree / flat:.2f}", f"{max(g['peak'] for g in s['got']):.0f}"))
    show(rows)


def form_of(dtype):
    """Of a series' ceilings; PyTorch has no products in int8 that train: it is held to those in fp32."""
    return {"bfloat16": "bf16", "float32": "f32"}.get(dtype, dtype)


def find_ceilings(runner, config, series, size):
    """(level, whose, form) to GFLOP/s, of all that a series is held against."""
    n, t, w = size["batch"]
    shapes, tops = shapes_of_step(config, n * t, n * w), {}
    for level, form in dict.fromkeys((s["level"], form_of(s["dtype"])) for s in series):
        name = "bfloat16" if form == "bf16" else "float32"
        tops[level, "ours", form] = ceiling(shapes, runner.our_rates(level, form, shapes))
        tops[level, "torch", form] = ceiling(shapes, runner.torch_rates(level, name, shapes))
        say(f"ceiling {level} {form}", {who: tops[level, who, form] for who in ("ours", "torch")})
    return tops


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=str(measure.ROOT / "build"), help="has bench_train and bench_math")
    p.add_argument("-m", "--model", default=None, help="GGUF file of LoRA and trees (default: the default model)")
    p.add_argument("--folder", default=str(PEERS / "hf"), help="the same model for transformers, of all weights")
    p.add_argument("--python", default=str(PEERS / "venv_trl" / "bin" / "python"), help="has torch and transformers")
    p.add_argument("-t", "--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=3, help="at most two below the machine's level and of trees")
    p.add_argument("--minutes", type=float, default=11, help="later nothing is run a second time (default: 11)")
    p.add_argument("--only", metavar="TEXT", default="", help="runs whose name has it: LoRA, 'all weights', tree")
    p.add_argument("--json", metavar="FILE", help="all numbers")
    p.add_argument("--quick", action="store_true", help="few tokens, one repeat: only whether everything runs")
    args = p.parse_args()
    args.repeats = 1 if args.quick else args.repeats
    size, tries = QUICK_SIZE if args.quick else FULL_SIZE, []
    print(measure.machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        config, runner = whole_folder(args.folder, folder), Runner(args, folder)
        levels = levels_of(runner)
        series = plan(runner, levels, size, torch_choices(runner, levels, size, tries))
        series = [s for s in series if args.only in name_of(s)]
        tops = find_ceilings(runner, config, series, size)
        measure_all(runner, series, levels[0][0], args)
    print(f"{args.threads} threads, load {os.getloadavg()[0]:.1f} at the end\n")
    show_flat(config, [s for s in series if s["who"] != "tree"], tops)
    show_trees(config, [s for s in series if s["who"] == "tree"])
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({
            "machine": measure.machine(), "threads": args.threads, "tries": tries,
            "ceilings": [dict(level=k[0], by=k[1], form=k[2], gflops=v) for k, v in tops.items()],
            "series": [{k: v for k, v in s.items() if k != "run"} for s in series]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
