#!/usr/bin/env python3
"""Cost curves of pgenrm: m chains on one prompt, and prompts of growing length; medians of interleaved repeats, and a
picture.

    ~/.cache/pgenrm-peers/venv_ov/bin/python bench/curves.py --svg docs/speed.svg          needs matplotlib for the
    picture

Every job is that of bench/target_job.py (sampled chains at temperature 1, none ends early, new token ids in every
repeat)."""
import argparse
import json
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
sys.path.insert(0, str(ROOT / "bench"))
import measure  # noqa: E402
import target_job  # noqa: E402


def job(n_prompt, m, n_token, seed):
    return {"groups": [{"prompt": target_job.prompts(None, seed)(n_prompt), "n": m}], "tokens": n_token, "seed": seed}


def run_all(workers, points, repeats, n_token):
    """-> {(worker, prompt, m): [answers]}"""
    results = {}
    for k in range(repeats):
        for n_prompt, m in points:
            for w in workers:
                results.setdefault((w.name, n_prompt, m), []).append(w.run(job(n_prompt, m, n_token, k + 1)))
    return results


def median(answers, key):
    return statistics.median(a[key] for a in answers)


def picture(path, results, names, ms, prompts, base):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pgenrm"
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for name in names:
        axes[0].plot(ms, [median(results[name, base, m], "seconds") for m in ms], marker="o", label=name)
        axes[1].plot(prompts, [median(results[name, p, 24], "seconds") for p in prompts], marker="o",
                     label=f"{name}, 24 chains")
        axes[1].plot(prompts, [median(results[name, p, 24], "prefill_s") for p in prompts], marker=".", linestyle=":",
                     label=f"{name}, the prompt alone")
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(ms, [str(m) for m in ms])
    axes[0].set_xlabel(f"chains of 256 tokens on one prompt of {base}")
    axes[1].set_xscale("log", base=2)
    axes[1].set_xticks(prompts, [str(p) for p in prompts])
    axes[1].set_xlabel("tokens of the prompt")
    for a in axes:
        a.set_ylabel("seconds")
        a.set_ylim(bottom=0)
        a.grid(alpha=0.3)
        a.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default=str(target_job.PEERS / "Q4_1.gguf"))
    p.add_argument("--build", default=str(ROOT / "build"))
    p.add_argument("--dtypes", default="int8,bf16")
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--tokens", type=int, default=256)
    p.add_argument("--base", type=int, default=1536, help="the prompt of the first curve (default: 1536)")
    p.add_argument("--chains", default="1,2,4,8,16,24,32,64")
    p.add_argument("--prompts", default="256,512,1024,2048,4096,7936")
    p.add_argument("--svg", help="where the picture goes")
    args = p.parse_args()
    ms, prompts = [int(x) for x in args.chains.split(",")], [int(x) for x in args.prompts.split(",")]
    workers = [target_job.Worker(d, [pathlib.Path(args.build) / "bench_job", args.model, d, 2])
               for d in args.dtypes.split(",")]
    for w in workers:
        w.run(job(64, 2, 8, 0))
    results = run_all(workers, [(args.base, m) for m in ms] + [(n, 24) for n in prompts], args.repeats, args.tokens)

    print(f"{measure.machine()}\n{args.model}, chains of {args.tokens} tokens, median of {args.repeats}\n")
    for w in workers:
        one = median(results[w.name, args.base, 1], "seconds")
        print(f"{w.name}, prompt {args.base}:    m   seconds   of one chain   tokens/s while decoding")
        for m in ms:
            r = results[w.name, args.base, m]
            print(f"{m:>{len(w.name) + 19}} {median(r, 'seconds'):9.2f} {median(r, 'seconds') / one:14.2f} "
                  f"{m * args.tokens / median(r, 'decode_s'):25.0f}")
        print(f"\n{w.name}, 24 chains:   prompt   seconds   prompt alone   prompt tokens/s   tokens/s while decoding")
        for n in prompts:
            r = results[w.name, n, 24]
            print(f"{n:>{len(w.name) + 22}} {median(r, 'seconds'):9.2f} {median(r, 'prefill_s'):14.2f} "
                  f"{n / median(r, 'prefill_s'):17.0f} {24 * args.tokens / median(r, 'decode_s'):25.0f}")
        print()
    if args.svg:
        picture(args.svg, results, [w.name for w in workers], ms, prompts, args.base)


if __name__ == "__main__":
    main()
