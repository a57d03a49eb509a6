#!/usr/bin/env python3
"""tests/golden/refine.json: the refinement of prototypes (docs/method.md) in PyTorch with autograd and
torch.optim.AdamW: a small problem, its batches, the loss of every step, the parameters at the end.

    python3 -m venv /tmp/hf && /tmp/hf/bin/pip install torch && /tmp/hf/bin/python tools/golden_refine.py"""
import json
import math
import pathlib

import torch

torch.set_default_dtype(torch.float64)
torch.manual_seed(11)
D, K, N, BATCH, EPOCHS = 5, 3, 26, 4, 3
SETTINGS = {"rho": 0.5, "beta": 1.7, "lambda_q": 0.8, "lambda_s": 1.2, "lambda_cent": 0.05, "lambda_tr": 0.03,
            "ema": 0.9, "rate": 0.02, "decay": 0.01}


def rows(*shape):
    x = torch.randn(*shape)
    return (x / x.norm(dim=-1, keepdim=True)).float().double()


def main():
    s = SETTINGS
    samples = [{"cluster": i % K if i < 20 else 1, "asked": rows(3, D), "history": rows((i * 7) % 4, 3, D)}
               for i in range(N)]
    mean = (rows(K, D) * 0.7).float().double()
    start = {"W": torch.randn(D, 2 * D) * 0.5, "b": torch.randn(D) * 0.1, "W_q": torch.randn(D, D) * 0.3,
             "W_s": torch.randn(D, D) * 0.4}
    p = {n: torch.nn.Parameter(v.clone()) for n, v in start.items()}
    # one parameter per prototype: AdamW leaves alone what had no gradient
    A = [torch.nn.Parameter(m / m.norm()) for m in mean]
    trail = [a.detach().clone() for a in A]
    optimiser = torch.optim.AdamW(list(p.values()) + A, lr=s["rate"], weight_decay=s["decay"])

    def loss_of(batch, j):
        total = 0
        for t in batch:
            q, good, bad = t["asked"]
            v = torch.zeros(D)
            if len(t["history"]):
                q_i, diff = t["history"][:, 0], t["history"][:, 1] - t["history"][:, 2]
                o = torch.tanh(torch.cat([q_i, diff], 1) @ p["W"].T + p["b"])
                alpha = torch.softmax(o @ q / math.sqrt(D) + s["rho"] * (o @ A[j]) / math.sqrt(D), 0)
                v = alpha @ o
            z = A[j] + s["lambda_q"] * p["W_q"] @ q + s["lambda_s"] * p["W_s"] @ v
            total = total - torch.nn.functional.logsigmoid(s["beta"] * (z @ good - z @ bad))
        return (total / len(batch) + s["lambda_cent"] * (A[j] - mean[j]).square().sum()
                + s["lambda_tr"] * (A[j] - trail[j]).square().sum())

    batches, losses = [], []
    for _ in range(EPOCHS):
        for j in (2, 0, 1):
            own = [i for i in range(N) if samples[i]["cluster"] == j]
            batches += [own[i:i + BATCH] for i in range(0, len(own), BATCH)]
    for b in batches:
        j = samples[b[0]]["cluster"]
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of([samples[i] for i in b], j)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            A[j] /= A[j].norm()
            trail[j] = s["ema"] * trail[j] + (1 - s["ema"]) * A[j]
        losses.append(loss.item())

    flat = lambda t: t.detach().flatten().tolist()
    end = sum((flat(p[n]) for n in ("W", "b", "W_q", "W_s")), []) + sum((flat(a) for a in A), [])
    out = pathlib.Path(__file__).resolve().parent.parent / "tests/golden/refine.json"
    out.write_text(json.dumps({
        "d": D, "k": K, "settings": s, "mean": flat(mean),
        "start": sum((flat(start[n]) for n in ("W", "b", "W_q", "W_s")), []),
        "samples": [{"cluster": t["cluster"], "asked": flat(t["asked"]), "history": flat(t["history"])}
                    for t in samples],
        "batches": batches, "losses": losses, "end": end}, separators=(",", ":")) + "\n")
    print(out, out.stat().st_size, "bytes", len(losses), "steps, loss", losses[0], "->", losses[-1])


if __name__ == "__main__":
    main()
