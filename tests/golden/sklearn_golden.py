#!/usr/bin/env python3
"""Fits of scikit-learn's LogisticRegression for tests/parity/probe.rs: `python sklearn_golden.py FILE.json`."""
import json
import sys

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression


def objective(x, y, classes, coef, intercept, c):
    """The sum of the losses and the penalty, divided by the number of examples."""
    logits = x @ coef.T + intercept
    if classes == 2:
        logits = np.concatenate([np.zeros_like(logits), logits], 1)
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    return float((log_sum - logits[np.arange(len(y)), y]).mean() + 0.5 / c / len(y) * (coef**2).sum())


def main():
    cases = []
    for seed, (n, d, classes, c, spread) in enumerate([(60, 5, 2, 1.0, 1), (80, 6, 4, 0.05, 1), (90, 4, 3, 100.0, 1), (70, 7, 3, 2.0, 30), (40, 3, 2, 1e-3, 1)]):
        rng = np.random.default_rng(seed)
        y = rng.integers(0, classes, n)
        x = (rng.normal(size=(n, d)) + rng.normal(size=(classes, d))[y]) * np.linspace(1, spread, d) + 3
        fit = LogisticRegression(C=c, tol=1e-12, max_iter=100000).fit(x, y)
        # Newton's method goes on where L-BFGS stops at rounding.
        exact = LogisticRegression(C=c, tol=1e-14, max_iter=10000, solver="newton-cg").fit(x, y)
        value = min(objective(x, y, classes, f.coef_, f.intercept_, c) for f in (fit, exact))
        cases.append(dict(x=x.tolist(), y=y.tolist(), classes=classes, c=c, coef=exact.coef_.tolist(), intercept=exact.intercept_.tolist(), objective=value))
    with open(sys.argv[1], "w") as f:
        json.dump(dict(sklearn=sklearn.__version__, cases=cases), f)


if __name__ == "__main__":
    main()
