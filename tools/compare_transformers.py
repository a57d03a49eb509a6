#!/usr/bin/env python3
"""Compares pgenrm with Hugging Face transformers reading the same GGUF file in fp32.

    python3 -m venv /tmp/hf && /tmp/hf/bin/pip install torch transformers accelerate gguf
    /tmp/hf/bin/python tools/compare_transformers.py

On our token ids (transformers builds a wrong tokenizer for this file): log-probabilities of a text, and greedy
continuations of 20 prompts. --dtype exact and f32 compute in fp32 on the same dequantised weights as transformers does,
so their bounds are tight; bf16 and int8 round weights and activations and are reported without a bound. Ends with 1 if
a bound fails."""
import argparse
import pathlib
import sys
import tempfile

import torch
import transformers

import measure

LOGPROB_BOUND = 1e-3  # nats; fp32 sums in another order through 30 layers
DTYPES = ["exact", "f32", "bf16", "int8"]
BOUNDED = ("exact", "f32")


def open_peer(path, threads):
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers.AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name,
                                                             dtype=torch.float32).eval()


@torch.no_grad()
def peer_logprobs(peer, ids):
    """log p(ids[i] | ids[:i]) for i >= 1."""
    rows = torch.log_softmax(peer(torch.tensor([ids])).logits[0, :-1].double(), -1)
    return rows.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


@torch.no_grad()
def peer_greedy(peer, ids, n, ends):
    """Up to n ids (an end token is the last), the log-probability of each and the margin to the second best."""
    out, chosen, margins, past, new = [], [], [], None, ids
    while len(out) < n and not (out and out[-1] in ends):
        step = peer(torch.tensor([new]), past_key_values=past, use_cache=True)
        past, row = step.past_key_values, torch.log_softmax(step.logits[0, -1].double(), -1)
        best = row.topk(2)
        out.append(int(best.indices[0]))
        chosen.append(float(best.values[0]))
        margins.append(float(best.values[0] - best.values[1]))
        new = out[-1:]
    return out, chosen, margins


def strip_end(ids, ends):
    return ids[:-1] if ids and ids[-1] in ends else ids


def compare_text(program, peer, folder, n, dtype, table):
    ids, mine = program.logprobs(folder, measure.TEXT)
    if len(ids) < n:
        sys.exit(f"the text has {len(ids)} tokens, expected {n}")
    most, mean = measure.differences(mine[1:n], peer_logprobs(peer, ids[:n]))
    bounded = dtype in BOUNDED
    table.add(f"{dtype}: log-probabilities of {n} tokens, largest difference", f"{most:.6f} nats",
              f"<= {LOGPROB_BOUND}" if bounded else "", most <= LOGPROB_BOUND if bounded else None)
    table.add("  mean difference", f"{mean:.6f} nats")


def compare_greedy(program, peer, folder, n, dtype, cache, ends, table):
    equal, total, far = 0, len(measure.PROMPTS), 0.0
    for k, text in enumerate(measure.PROMPTS):
        g = program.greedy(folder, text, n)
        prompt, mine = g["prompt_tokens"], g["samples"][0]
        if tuple(prompt) not in cache:
            cache[tuple(prompt)] = peer_greedy(peer, prompt, n, ends)
        theirs, chosen, margins = cache[tuple(prompt)]
        a, b = strip_end(mine["tokens"], ends), strip_end(theirs, ends)
        if a == b:
            equal += 1
            far = max([far] + [abs(x - y) for x, y in zip(mine["logprobs"], chosen)])
            continue
        at = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
        margin = f"{margins[at]:.4f} nats" if at < len(margins) else "unknown"
        print(f"{dtype}, prompt {k} {text[:40]!r}: differs at token {at}; transformers' top-2 margin there is {margin}")
    bounded = dtype in BOUNDED
    table.add(f"{dtype}: greedy continuations equal", f"{equal} of {total} x {n} tokens", "all" if bounded else "",
              equal == total if bounded else None)
    if equal:
        table.add("  largest log-probability difference in equal ones", f"{far:.6f} nats", f"<= {LOGPROB_BOUND}"
                  if bounded else "", far <= LOGPROB_BOUND if bounded else None)


def main():
    about, _, more = __doc__.partition("\n")
    p = argparse.ArgumentParser(description=about, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_common(p)
    p.add_argument("--dtype", default=",".join(DTYPES),
                   help="our arithmetic, separated by commas (default: exact,f32,bf16,int8)")
    p.add_argument("--tokens", type=int, default=30, help="tokens of a continuation (default: 30)")
    p.add_argument("--text-tokens", type=int, default=300, help="tokens of the text (default: 300)")
    args = p.parse_args()
    dtypes = args.dtype.split(",")
    if set(dtypes) - set(DTYPES):
        p.error(f"--dtype: found {args.dtype}, expected some of {','.join(DTYPES)}")

    model = pathlib.Path(args.model) if args.model else measure.default_model()
    measure.Program(args)  # ends here if the program is missing
    peer, table, cache = open_peer(model, args.threads), measure.Table(), {}
    ends = {peer.config.eos_token_id, 0} if isinstance(peer.config.eos_token_id,
                                                       int) else set(peer.config.eos_token_id) | {0}
    print(f"{measure.machine()}\n{model.name} against transformers {transformers.__version__}, torch "
          f"{torch.__version__}, fp32\n")
    with tempfile.TemporaryDirectory(prefix="pgenrm-") as folder:
        for dtype in dtypes:
            program = measure.Program(args, dtype)
            compare_text(program, peer, folder, args.text_tokens, dtype, table)
            compare_greedy(program, peer, folder, args.tokens, dtype, cache, ends, table)
    print()
    return table.show()


if __name__ == "__main__":
    sys.exit(main())
