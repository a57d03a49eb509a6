#!/usr/bin/env python3
"""Compares what `pgenrm convert` and `pgenrm merge` write in three programs: pgenrm, Hugging Face transformers and
llama.cpp.

    python3 -m venv /tmp/hf && /tmp/hf/bin/pip install torch transformers accelerate gguf peft
    python3 -m venv /tmp/lc && /tmp/lc/bin/pip install llama-cpp-python gguf
    /tmp/hf/bin/python tools/compare_exports.py --llama /tmp/lc/bin/python

Greedy continuations of 20 prompts (40 tokens each) on the same token ids, for every tiny family of tests/golden
(converted) and three merges of adapters; the reference is transformers in fp32 on the folder, for merges with PEFT's
adapters unmerged. Rows of the vocabulary beyond the tokenizer's ids and end tokens are chosen by none of them. With
--default the default model too: GGUF to F32 and Q8_0. Ends with 1 if a bound fails. Without bounds: Q8_0 files
(llama.cpp rounds activations to 8 bits there; on a copy of the same file with fp32 weights it does not, and that has a
bound), and transformers reading GGUF.

    compare_exports.py --peer FILE RULES < prompts      (run by --llama's Python) ids of llama.cpp, one JSON line each
"""
import argparse
import json
import pathlib
import sys
import tempfile
import warnings

import measure

GOLDEN = measure.ROOT / "tests" / "golden"
N_TOKENS = 40
FAMILIES = ["hf-tiny-llama/f32", "hf-tiny-llama31", "hf-tiny-qwen2", "hf-tiny-qwen3", "hf-tiny-mistral"]
MERGES = {
    # name: (base, adapters with their scales)
    "llama-qv": ("hf-tiny-llama/f32", [("lora/llama-qv", 1)]),
    "llama-both": ("hf-tiny-llama/f32", [("lora/llama-qv", 0.5), ("lora/llama-more", 2)]),
    "qwen3-all": ("hf-tiny-qwen3", [("lora/qwen3-all", 1)]),
}


# ---- llama.cpp, in a Python of its own ----

def peer(path, rules):
    """rules: n_token, the rows of the vocabulary that may be chosen, but for those in banned"""
    import llama_cpp
    import numpy as np
    f32 = 0
    llama = llama_cpp.Llama(model_path=path, n_ctx=512, n_batch=512, logits_all=True, n_threads=2, n_threads_batch=2,
                            verbose=False, type_k=f32, type_v=f32)
    print(json.dumps({"version": llama_cpp.__version__}))
    for line in sys.stdin:
        ask = json.loads(line)
        out = []
        llama.reset()
        llama.eval(ask["ids"])
        while len(out) < ask["n"]:
            row = np.array(llama.scores[llama.n_tokens - 1])[:rules["n_token"]]
            row[rules["banned"]] = -np.inf
            out.append(int(row.argmax()))
            llama.eval(out[-1:])
        print(json.dumps({"text": llama.tokenize(ask["text"].encode(), add_bos=False, special=False), "greedy": out}))


def rules_of(path):
    """What a GGUF file's tokenizer lets be chosen: no unused tokens at its end, and no end tokens, as `generate
    --ignore-eos`"""
    import gguf
    fields = gguf.GGUFReader(path).fields
    tokens, types = (fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "token_type"))
    n = len(tokens)
    while types[n - 1] == gguf.TokenType.UNUSED:
        n -= 1
    return {"n_token": n, "banned": [i for i in range(n) if tokens[i] in ("<|endoftext|>", "<|im_end|>")]}


def llama_cpp_greedy(python, path, prompts, rules, n):
    import subprocess
    asks = "".join(json.dumps({"ids": ids, "text": text, "n": n}) + "\n" for text, ids in prompts)
    done = subprocess.run([python, __file__, "--peer", str(path), json.dumps(rules)], input=asks, capture_output=True,
                          text=True)
    if done.returncode:
        return None, None, done.stderr.strip().split("\n")[-1]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [x["greedy"] for x in lines[1:]], [x["text"] for x in lines[1:]], lines[0]["version"]


# ---- transformers ----

def transformers_greedy(model, prompts, rules, n):
    """Continuations, and the smallest margin between the best and the second-best logit on the way, relative to the
    largest."""
    import torch
    out, margin = [], float("inf")
    with torch.no_grad():
        for _, ids in prompts:
            past, new, got = None, ids, []
            while len(got) < n:
                step = model(torch.tensor([new]), past_key_values=past, use_cache=True)
                past, row = step.past_key_values, step.logits[0, -1, :rules["n_token"]].double()
                top = float(row.abs().max())
                row[rules["banned"]] = -float("inf")
                best = row.topk(2)
                margin = min(margin, float(best.values[0] - best.values[1]) / top)
                got.append(int(best.indices[0]))
                new = got[-1:]
            out.append(got)
    return out, margin


def load(folder, **more):
    import torch
    import transformers
    return transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32,
                                                             attn_implementation="eager", **more).eval()


def load_unmerged(base, adapters):
    from peft import PeftModel
    from peft.tuners.lora import LoraLayer
    model = PeftModel.from_pretrained(load(GOLDEN / base), str(GOLDEN / adapters[0][0]), adapter_name="a0")
    for i, (path, _) in enumerate(adapters[1:], 1):
        model.load_adapter(str(GOLDEN / path), adapter_name=f"a{i}")
    if len(adapters) > 1:
        model.base_model.set_adapter([f"a{i}" for i in range(len(adapters))])
    for module in model.modules():
        for i, (_, scale) in enumerate(adapters):
            if isinstance(module, LoraLayer) and scale != 1 and f"a{i}" in module.scaling:
                module.set_scale(f"a{i}", scale)
    return model.eval()


# ---- the comparison ----

class Comparison:
    def __init__(self, args, table, work):
        self.args, self.table, self.work = args, table, pathlib.Path(work)
        self.prompts = measure.PROMPTS[:args.prompts]

    def program(self, model):
        about = argparse.Namespace(pgenrm=self.args.pgenrm, model=model, threads=self.args.threads)
        return measure.Program(about, "exact")

    def ours(self, model, n):
        """(text, ids) and continuation of every prompt."""
        p = self.program(model)
        got = [p.generate(self.work, text, "--raw", "--temperature", 0, "--max-tokens", n, "--ignore-eos")
               for text in self.prompts]
        return [(text, g["prompt_tokens"]) for text, g in zip(self.prompts, got)], [g["samples"][0]["tokens"]
                                                                                    for g in got]

    def row(self, what, a, b, bound=True):
        """Equal continuations, and equal tokens up to the first difference of each."""
        whole = sum(x == y for x, y in zip(a, b))
        tokens = sum(next((i for i in range(len(x)) if x[i] != y[i]), len(x)) for x, y in zip(a, b))
        text = f"{whole} of {len(a)} ({tokens} of {sum(map(len, a))} tokens before the first difference)"
        self.table.add(what, text, "all" if bound else "", whole == len(a) if bound else None)

    def peer(self, what, path, prompts, rules, want, n=N_TOKENS, bound=True):
        got, ids, said = llama_cpp_greedy(self.args.llama, path, prompts, rules, n)
        if got is None:
            self.table.add(what, said[:80], "loads", False)
            return None
        self.row(what, want, got, bound)
        same = sum(x == y for x, (_, y) in zip(ids, prompts))
        self.table.add("  prompts with equal token ids", f"{same} of {len(prompts)}", "all", same == len(prompts))
        return got

    def write(self, command, *words):
        self.program(None).run(command, "-q", "--force", *words)

    def check(self, name, reference, written):
        """written: the command and its words but for --type and --out"""
        f32, q8 = self.work / "f32.gguf", self.work / "q8.gguf"
        self.write(*written, "--type", "f32", "--out", f32)
        rules, (prompts, ours) = rules_of(f32), self.ours(f32, N_TOKENS)
        want, margin = transformers_greedy(reference, prompts, rules, N_TOKENS)
        self.table.add(f"{name}: smallest top-2 margin of the reference, of the largest logit", f"{margin:.1e}")
        self.row(f"{name}: F32 GGUF, pgenrm", want, ours)
        self.peer(f"{name}: F32 GGUF, llama.cpp", f32, prompts, rules, want)
        if written[0] == "merge":
            out = self.work / "merged"
            self.write(*written, "--type", "f32", "--out", out)
            self.row(f"{name}: F32 folder, transformers", want,
                     transformers_greedy(load(out), prompts, rules, N_TOKENS)[0])
        try:
            model = load(self.work, gguf_file=f32.name)
            self.row(f"{name}: F32 GGUF, transformers", want, transformers_greedy(model, prompts, rules, N_TOKENS)[0],
                     False)
        except Exception as e:  # a reader that lacks something is a result
            self.table.add(f"{name}: F32 GGUF, transformers", f"{type(e).__name__}: {str(e)[:60]}")
        self.write(*written, "--type", "q8_0", "--out", q8)
        self.packed(name, q8)

    def packed(self, name, q8, n=N_TOKENS):
        rules, (prompts, ours) = rules_of(q8), self.ours(q8, n)
        copy = self.work / "copy.gguf"
        measure.write_f32_copy(str(q8), str(copy))
        self.peer(f"{name}: Q8_0 GGUF, llama.cpp", q8, prompts, rules, ours, n, False)
        self.peer(f"{name}: Q8_0 GGUF copied to fp32, llama.cpp", copy, prompts, rules, ours, n)

    def default(self, model):
        f32, q8 = self.work / "f32.gguf", self.work / "q8.gguf"
        self.write("convert", model, "--type", "f32", "--out", f32)
        rules, (prompts, ours) = rules_of(f32), self.ours(f32, 30)
        self.row("default model: F32 GGUF and the file itself, pgenrm", self.ours(model, 30)[1], ours)
        self.peer("default model: F32 GGUF, llama.cpp", f32, prompts, rules, ours, 30)
        self.write("convert", model, "--type", "q8_0", "--out", q8)
        self.packed("default model", q8, 30)


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--llama", required=True, metavar="PYTHON", help="a Python that has llama-cpp-python")
    p.add_argument("--default", action="store_true", help="the default model too (minutes)")
    p.add_argument("--prompts", type=int, default=20, metavar="N", help="the first N prompts (default: 20)")
    p.add_argument("--only", default="", help="names of families and merges, separated by commas")
    args = p.parse_args()

    import torch
    import transformers
    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    table = measure.Table()
    wanted = [x for x in args.only.split(",") if x]
    print(f"{measure.machine()}\ntransformers {transformers.__version__}, torch {torch.__version__}; {args.prompts} "
          f"prompts x {N_TOKENS} tokens\n")
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as work:
        c = Comparison(args, table, work)
        for name in FAMILIES:
            if not wanted or name in wanted:
                c.check(name.split("/")[0], load(GOLDEN / name), ("convert", GOLDEN / name))
        for name, (base, adapters) in MERGES.items():
            if not wanted or name in wanted:
                words = [w for path, scale in adapters for w in ("--lora", f"{GOLDEN / path}:{scale}")]
                c.check("merge " + name, load_unmerged(base, adapters), ("merge", "-m", GOLDEN / base, *words))
        if args.default:
            c.default(pathlib.Path(args.model) if args.model else measure.default_model())
    return table.show()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], json.loads(sys.argv[3]))
    else:
        sys.exit(main())
