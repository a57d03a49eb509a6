"""Writes tests/golden/calibration.json: outcomes, and what scikit-learn's isotonic regression and SciPy's optimiser
make of them. Run: python tools/golden_calibration.py (needs scikit-learn and SciPy)."""
import json
import pathlib

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

QUERIES = 41


def isotonic(kind, x, y, at):
    mirror = 1 - x if kind == "probability" else -x
    both_x, both_y = np.concatenate([x, mirror]), np.concatenate([y, 1 - y])
    fit = IsotonicRegression(out_of_bounds="clip").fit(both_x, both_y)
    return fit.predict(at)


def temperature(kind, x, y):
    z = logit(np.clip(x, 1e-9, 1 - 1e-9)) if kind == "probability" else x

    def loss(log_t):
        p = z / np.exp(log_t)
        return np.sum(np.logaddexp(0, p) - y * p)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(1e-3), np.log(1e3)), method="bounded",
                                        options={"xatol": 1e-12}).x))


def case(name, kind, n, sharpness, rng, ties):
    true = rng.uniform(0.02, 0.98, n)
    y = (rng.uniform(size=n) < true).astype(float)
    y[rng.uniform(size=n) < ties] = 0.5
    z = logit(true) * sharpness
    x = expit(z) if kind == "probability" else z
    x = np.round(x, 3)  # equal x occur
    if kind == "probability":
        x = np.clip(x, 0.001, 0.999)
    at = np.linspace(0, 1, QUERIES) if kind == "probability" else np.linspace(-12, 12, QUERIES)
    least = 1 / (n + 2)
    return {"name": name, "input": kind, "x": x.tolist(), "y": y.tolist(), "at": at.tolist(),
            "isotonic": np.clip(isotonic(kind, x, y, at), least, 1 - least).tolist(),
            "temperature": temperature(kind, x, y)}


def main():
    rng = np.random.default_rng(7)
    cases = [case("overconfident", "probability", 120, 2.5, rng, 0.0),
             case("underconfident", "probability", 80, 0.5, rng, 0.1),
             case("differences", "difference", 100, 1.7, rng, 0.05)]
    out = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "calibration.json"
    out.write_text(json.dumps({"cases": cases}) + "\n")


if __name__ == "__main__":
    main()
