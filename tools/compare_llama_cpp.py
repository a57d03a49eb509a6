#!/usr/bin/env python3
"""Compares pgenrm with llama.cpp (PyPI llama-cpp-python) running the same GGUF file.

    python3 -m venv /tmp/lc && /tmp/lc/bin/pip install llama-cpp-python gguf
    /tmp/lc/bin/python tools/compare_llama_cpp.py

Three things: token ids of varied lines (tools/lines.py), greedy continuations of 20 prompts, log-probabilities of a
text. llama.cpp rounds activations to 8 bits before every product with 4-bit weights, we do not. So the same is run a
second time on a copy of the file with its weights written out in fp32 (a temporary file, about 540 MB), where it rounds
nothing: the difference that is left there is the order of sums, and its bound is tight. How far llama.cpp is from
itself on the two files is the size of its rounding, and the bound on the original file stands above that. Ends with 1
if a bound fails."""
import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

import measure

F32 = 0                # GGML_TYPE_F32
N_CONTEXT = 1024
GREEDY_BOUND = 18 / 20 # where two tokens are almost equally likely, rounding decides
LOGPROB_BOUND = 0.5    # nats; 8-bit activations through 30 layers, see the row "llama.cpp against itself"
F32_BOUND = 1e-3       # nats; fp32 sums in another order
F32_GREEDY_BOUND = 1


class Peer:
    """llama.cpp on one file."""

    def __init__(self, path, threads, **more):
        self.llama = llama_cpp.Llama(model_path=str(path), n_ctx=N_CONTEXT, n_batch=512, logits_all=True,
                                     n_threads=threads, n_threads_batch=threads, verbose=False, **more)
        self.ends = {self.llama.token_eos(),
                     llama_cpp.llama_vocab_eot(llama_cpp.llama_model_get_vocab(self.llama._model.model))}

    def tokenize(self, text):
        return self.llama.tokenize(text.encode(), add_bos=False, special=False)

    def last_logprobs(self, ids):
        """Appends ids; log-probabilities of what follows."""
        self.llama.eval(ids)
        return log_softmax(np.array(self.llama.scores[self.llama.n_tokens - 1], dtype=np.float64))

    def greedy(self, ids, n):
        """Up to n ids (an end token is the last), and the log-probabilities before each of them."""
        self.llama.reset()
        out, rows, row = [], [], self.last_logprobs(ids)
        while True:
            out.append(int(row.argmax()))
            rows.append(row)
            if len(out) == n or out[-1] in self.ends:
                return out, rows
            row = self.last_logprobs(out[-1:])

    def logprobs(self, ids):
        """log p(ids[i] | ids[:i]) for i >= 1."""
        self.llama.reset()
        self.llama.eval(ids)
        scores = np.array(self.llama.scores[:len(ids) - 1], dtype=np.float64)
        return [float(log_softmax(scores[i])[ids[i + 1]]) for i in range(len(ids) - 1)]


def log_softmax(x):
    x = x - x.max()
    return x - np.log(np.exp(x).sum())


# ---- token ids ----

def our_ids(program, folder, lines):
    """ids of every line. `tokenize --file` takes one line per item; what holds a line break goes alone, as an
    argument."""
    out = [None] * len(lines)
    plain = [i for i, text in enumerate(lines) if "\n" not in text and "\r" not in text]
    file = pathlib.Path(folder) / "lines.txt"
    file.write_bytes("".join(lines[i] + "\n" for i in plain).encode())
    values = program.run("tokenize", "--json", "-q", "--file", file).values()
    if len(values) != len(plain):
        sys.exit(f"tokenize --file: {len(values)} arrays for {len(plain)} lines")
    for i, value in zip(plain, values):
        out[i] = measure.ids_of(value)
    for i in range(len(lines)):
        if out[i] is None:
            out[i] = measure.ids_of(program.run("tokenize", "--json", "-q", "--", lines[i]).values()[0])
    return out


def varied_lines():
    text = subprocess.run([sys.executable, str(measure.ROOT / "tools" / "lines.py")], check=True,
                          capture_output=True).stdout
    return [json.loads(line) for line in text.decode().split("\n") if line]


def long_lines(n):
    """n lines of at least 40 bytes, spread over all of them."""
    lines = [line for line in varied_lines() if len(line.encode()) >= 40 and "\0" not in line]
    return lines[::max(1, len(lines) // n)][:n] if n else []


def compare_ids(program, peer, folder, n_line, table):
    lines = varied_lines()[:n_line]
    ours, theirs = our_ids(program, folder, lines), [peer.tokenize(line) for line in lines]
    wrong = [i for i in range(len(lines)) if ours[i] != theirs[i]]
    for i in wrong[:8]:
        print(f"line {i} {lines[i]!r}\n  ours   {ours[i]}\n  theirs {theirs[i]}")
    total = sum(map(len, theirs))
    table.add("lines with equal token ids", f"{len(lines) - len(wrong)} of {len(lines)} ({total} ids)", "all",
              not wrong and len(lines) == n_line)


# ---- greedy continuations ----

def strip_end(ids, ends):
    return ids[:-1] if ids and ids[-1] in ends else ids


def compare_greedy(prompts, ours, peer, n, what, bound, table):
    """ours: (prompt ids, continuation) per prompt; bound: share that must be equal. A difference is shown with the
    peer's margin between its own choice and ours."""
    equal, margins = 0, []
    for k, (prompt, mine) in enumerate(ours):
        theirs, rows = peer.greedy(prompt, n)
        a, b = strip_end(mine, peer.ends), strip_end(theirs, peer.ends)
        if a == b:
            equal += 1
            continue
        at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
        if at < len(rows):
            best = np.sort(rows[at])[-2:]
            gap = float(best[1] - rows[at][mine[at]]) if at < len(mine) else float("nan")
            margins.append(float(best[1] - best[0]))
            print(f"{what}, prompt {k} {prompts[k][:40]!r}: differs at token {at}; theirs has a top-2 margin of "
                  f"{margins[-1]:.4f} nats, our token is {gap:.4f} below its best")
    table.add(f"{what}: greedy continuations equal", f"{equal} of {len(ours)} x {n} tokens",
              f">= {math.ceil(bound * len(ours))}", equal >= bound * len(ours))
    if margins:
        table.add("  largest top-2 margin where they differ", f"{max(margins):.4f} nats")


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--dtype", default="exact", choices=["exact", "f32", "bf16", "int8"],
                   help="our arithmetic; the tight bounds are for exact and f32")
    p.add_argument("--lines", type=int, default=2000, help="lines to tokenize (default: 2000)")
    p.add_argument("--more", type=int, default=0, metavar="N",
                   help="N lines of tools/lines.py as prompts beyond the 20 (default: 0)")
    p.add_argument("--tokens", type=int, default=30, help="tokens of a continuation (default: 30)")
    p.add_argument("--text-tokens", type=int, default=300, help="tokens of the text (default: 300)")
    args = p.parse_args()

    model = pathlib.Path(args.model) if args.model else measure.default_model()
    program, table, tight = measure.Program(args, args.dtype), measure.Table(), args.dtype in ("exact", "f32")
    print(f"{measure.machine()}\n{model.name}, --dtype {args.dtype}, against llama-cpp-python "
          f"{llama_cpp.__version__}\n")
    prompts = measure.PROMPTS + long_lines(args.more)
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        peer = Peer(model, args.threads)
        compare_ids(program, peer, folder, args.lines, table)

        ours = [(g["prompt_tokens"], g["samples"][0]["tokens"])
                for g in (program.greedy(folder, text, args.tokens) for text in prompts)]
        wrong = [k for k, (ids, _) in enumerate(ours) if ids != peer.tokenize(prompts[k])]
        table.add("prompts with equal token ids", f"{len(ours) - len(wrong)} of {len(ours)}", "all", not wrong)
        compare_greedy(prompts, ours, peer, args.tokens, "same file", GREEDY_BOUND, table)

        ids, mine = program.logprobs(folder, measure.TEXT)
        ids, mine = ids[:args.text_tokens], mine[1:args.text_tokens]
        if len(ids) < args.text_tokens:
            sys.exit(f"the text has {len(ids)} tokens, expected {args.text_tokens}")
        theirs = peer.logprobs(ids)
        most, mean = measure.differences(mine, theirs)
        table.add(f"same file: log-probabilities of {len(ids)} tokens, largest difference", f"{most:.4f} nats",
                  f"<= {LOGPROB_BOUND}", most <= LOGPROB_BOUND)
        table.add("  mean difference", f"{mean:.4f} nats")

        copy = pathlib.Path(folder) / "f32.gguf"
        measure.write_f32_copy(str(model), str(copy))
        exact = Peer(copy, args.threads, type_k=F32, type_v=F32)
        compare_greedy(prompts, ours, exact, args.tokens, "fp32 copy", F32_GREEDY_BOUND if tight else GREEDY_BOUND,
                       table)
        exact_theirs = exact.logprobs(ids)
        bound = F32_BOUND if tight else LOGPROB_BOUND
        most, mean = measure.differences(mine, exact_theirs)
        table.add(f"fp32 copy: log-probabilities of {len(ids)} tokens, largest difference", f"{most:.6f} nats",
                  f"<= {bound}", most <= bound)
        table.add("  mean difference", f"{mean:.6f} nats")
        most, mean = measure.differences(theirs, exact_theirs)
        table.add("llama.cpp against itself, same file and fp32 copy: largest difference", f"{most:.4f} nats")
        table.add("  mean difference", f"{mean:.4f} nats")
        same = sum(peer.greedy(prompt, args.tokens)[0] == exact.greedy(prompt, args.tokens)[0] for prompt, _ in ours)
        table.add("  greedy continuations equal", f"{same} of {len(ours)} x {args.tokens} tokens")
    print()
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
