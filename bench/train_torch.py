#!/usr/bin/env python3
"""Tokens per second of a training step's forward and backward in PyTorch, for bench_train's numbers to stand beside.

    VENV/bin/python bench/train_torch.py FOLDER DTYPE THREADS SEQS TOKENS WANTED RANK STEPS [--full]
    VENV/bin/python bench/train_torch.py --products DTYPE THREADS N,K,M ...

FOLDER: the model for transformers. LoRA of rank RANK on every linear matrix of the layers, the base frozen (--full: all
weights of the model instead); SEQS sequences of TOKENS tokens in a batch, the head computed for the last WANTED of each
alone. The first step is not counted. Prints one line, the median of the steps. --products: the best GFLOP/s of
M rows through a matrix (N, K) by torch.nn.functional.linear, a line for each."""
import resource
import statistics
import sys
import time

import torch
import transformers


class LowRank(torch.nn.Module):
    """A linear layer with scale * b a on top, as PEFT has it."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(torch.randn(rank, base.in_features, dtype=base.weight.dtype) / base.in_features**.5)
        self.b = torch.nn.Parameter(torch.zeros(base.out_features, rank, dtype=base.weight.dtype))

    def forward(self, x):
        return self.base(x) + 2.0 * torch.nn.functional.linear(torch.nn.functional.linear(x, self.a), self.b)


def add_factors(model, rank):
    model.requires_grad_(False)
    for layer in model.model.layers:
        for module in (layer.self_attn, layer.mlp):
            for name, child in list(module.named_children()):
                if isinstance(child, torch.nn.Linear):
                    setattr(module, name, LowRank(child, rank))


def products(dtype, threads, shapes):
    torch.set_num_threads(int(threads))
    for shape in shapes:
        n, k, m = map(int, shape.split(","))
        x, w = torch.rand(m, k).to(getattr(torch, dtype)), torch.rand(n, k).to(getattr(torch, dtype))
        times, start = [], time.perf_counter()
        with torch.no_grad():
            while len(times) < 5 or (len(times) < 60 and time.perf_counter() - start < 0.3):
                t = time.perf_counter()
                torch.nn.functional.linear(x, w)
                times.append(time.perf_counter() - t)
        print(f"{2 * n * k * m / min(times) / 1e9:.1f}", flush=True)


def main():
    if sys.argv[1:2] == ["--products"]:
        return products(sys.argv[2], sys.argv[3], sys.argv[4:])
    full = "--full" in sys.argv
    folder, dtype, *numbers = [a for a in sys.argv[1:] if a != "--full"]
    threads, seqs, tokens, wanted, rank, steps = map(int, numbers)
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype),
                                                              attn_implementation="sdpa")
    model.config.use_cache = False
    if not full:
        add_factors(model, rank)
    model.train()
    ids = torch.randint(50, model.config.vocab_size - 50, (seqs, tokens))
    forward, back = [], []
    for _ in range(steps + 1):
        start = time.perf_counter()
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, -wanted:])
        half = time.perf_counter()
        logits.backward(1e-4 * logits.detach())
        forward.append(half - start)
        back.append(time.perf_counter() - half)
    f, b = statistics.median(forward[1:]), statistics.median(back[1:])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    n = seqs * tokens
    print(f"PyTorch {torch.__version__} {dtype} {'full' if full else 'LoRA'}, {seqs} x {tokens}, {wanted} wanted: "
          f"{n / (f + b):.1f} tokens/s (forward {n / f:.1f}, backward {n / b:.1f}); peak {peak} MB", flush=True)


if __name__ == "__main__":
    main()
