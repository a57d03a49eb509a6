#!/usr/bin/env python3
"""tests/golden/kmeans.json: k-means by scikit-learn from given centres, and singular values by numpy, on small sets.

    python3 -m venv /tmp/sk && /tmp/sk/bin/pip install numpy scikit-learn && /tmp/sk/bin/python tools/golden_kmeans.py
With --table: prints inertias of scikit-learn and of `bench_kmeans` (built; its rows come through a file) from the same
centres."""
import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np
from sklearn.cluster import KMeans

ROOT = pathlib.Path(__file__).resolve().parent.parent


def blobs(rng, n, d, k, spread):
    centres = rng.normal(size=(k, d))
    return (centres[rng.integers(k, size=n)] + spread * rng.normal(size=(n, d))).astype(np.float32)


def lloyd(x, starts):
    k = KMeans(len(starts), init=starts.astype(np.float64), n_init=1, tol=0, max_iter=300, algorithm="lloyd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return k.fit(x.astype(np.float64))


def case(name, x, starts):
    k = lloyd(x, starts)
    return {"name": name, "n": len(x), "d": x.shape[1], "k": len(starts), "x": [round(float(v), 9) for v in x.ravel()],
            "starts": [float(v) for v in starts.ravel()], "inertia": float(k.inertia_), "labels": k.labels_.tolist()}


def small():
    rng = np.random.default_rng(6)
    x = np.round(blobs(rng, 120, 5, 4, 0.6), 3)
    cases = [case("blobs", x, x[:4])]
    cases.append(case("offset", (x[:60] + np.float32(1000)).astype(np.float32),
                      (x[:3] + np.float32(1000)).astype(np.float32)))
    twice = np.repeat(np.round(blobs(rng, 12, 3, 3, 0.5), 3), 4, axis=0)
    cases.append(case("duplicates", twice, twice[[0, 4, 8]]))
    tiny = np.round(blobs(rng, 9, 3, 3, 0.5), 3)
    cases.append(case("k = n", tiny, tiny))
    far = x[:4].copy()
    far[3] = 50
    cases.append(case("a start without rows", x, far))
    shapes = []
    for n, d in ((120, 5), (6, 8)):
        m = x[:n] if d == 5 else np.round(blobs(rng, n, d, 2, 0.3), 3)
        s = np.linalg.svd(m.astype(np.float64) - m.astype(np.float64).mean(0), compute_uv=False)
        shapes.append({"n": n, "d": d, "x": [round(float(v), 9) for v in m.ravel()], "values": s.tolist()})
    out = ROOT / "tests/golden/kmeans.json"
    out.write_text(json.dumps({"cases": cases, "singular": shapes}, separators=(",", ":")) + "\n")
    print(out, out.stat().st_size, "bytes")


def table():
    rng = np.random.default_rng(7)
    print("| rows | columns | k | ours | scikit-learn | difference | repaired | ours, s | scikit-learn, s |")
    print("|---|---|---|---|---|---|---|---|---|")
    import time
    for name, n, d, k, true_k, spread in (("blobs", 20000, 32, 50, 50, 0.3), ("blobs, wide", 20000, 384, 50, 20, 1.0),
                                          ("noise", 20000, 16, 100, 1, 1.0), ("on the sphere", 5000, 384, 50, 10, 1.0),
                                          ("paper's size", 20000, 1024, 50, 30, 1.0)):
        x = blobs(rng, n, d, true_k, spread)
        if name == "on the sphere":
            x /= np.linalg.norm(x, axis=1, keepdims=True)
        starts = x[rng.choice(n, k, replace=False)]
        np.concatenate([x, starts]).tofile("/tmp/kmeans.f32")
        began = time.time()
        theirs = lloyd(x, starts)
        t = time.time() - began
        ours = json.loads(subprocess.check_output([str(ROOT / "build/bench_kmeans"), "/tmp/kmeans.f32", str(n), str(d),
                                                   str(k)]))
        print(f"| {name}: {n} | {d} | {k} | {ours['inertia']:.9g} | {theirs.inertia_:.9g} | "
              f"{ours['inertia'] / theirs.inertia_ - 1:+.1e} "
              f"| {ours['repaired']} | {ours['seconds']:.2f} ({ours['passes']} passes) | {t:.2f} ({theirs.n_iter_}) |",
              flush=True)


if __name__ == "__main__":
    table() if "--table" in sys.argv else small()
