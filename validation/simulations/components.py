"""Coverage of intervals of variance components, and sizes of tests of one, where the truth is known.

    python -m remlblup.validation.simulations.components [--sets 400]

A one-way layout of 12 groups with 2 to 9 records, σ²_g = σ²_e = 1: profile, bootstrap (1,000 replicates, percentiles)
and log-scale Wald intervals of 95 % by REML; then 20,000 sets with σ²_g = 0, tested at 5 %.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.inference.comparison.likelihood_ratio import refitted

SIZES = np.array([2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 3, 5])
SHARE = "g / (g + residual)"
TRUTH = {"g": 1.0, "residual": 1.0, SHARE: 0.5}


def drawn(rng: np.random.Generator, variance: float) -> pd.DataFrame:
    """Records of one set."""
    groups = np.repeat(np.arange(len(SIZES)), SIZES)
    u = rng.standard_normal(len(SIZES))[groups] * np.sqrt(variance)
    return pd.DataFrame({"g": groups, "y": u + rng.standard_normal(len(groups))})


def coverage(sets: int, rng: np.random.Generator) -> pd.DataFrame:
    """Share of the intervals that hold the truth, by method and quantity."""
    hits: dict[str, list[list[bool]]] = {method: [] for method in ("profile", "bootstrap", "log")}
    for _ in range(sets):
        fit = rb.MixedModel("y ~ 1 + (1 | g)", drawn(rng, 1.0)).fit(progress=False)
        for method, found in hits.items():
            table = fit.intervals(method, functions=[SHARE])
            held = zip(TRUTH.values(), table["lower"], table["upper"], strict=True)
            found.append([bool(low <= truth <= high) for truth, low, high in held])
    return pd.DataFrame({m: np.mean(f, axis=0) for m, f in hits.items()}, index=list(TRUTH)).T


def sizes(rng: np.random.Generator, sets: int = 20_000) -> pd.Series:
    """Share of rejections at 5 % by each null distribution, where the variance is zero."""
    from scipy import stats

    d = drawn(rng, 0.0)
    small = rb.MixedModel("y ~ 1", d).fit(progress=False)
    large = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(progress=False)
    statistics = refitted(small, large, 1, sets, None)
    exact = rb.likelihood_ratio(small, large, "simulate", seed=5).draws
    assert exact is not None
    tail = stats.chi2.sf(statistics, 1)
    return pd.Series({"mixture": np.mean(0.5 * tail <= 0.05), "chi2": np.mean(tail <= 0.05),
                      "exact": np.mean(statistics >= np.quantile(exact, 0.95))})  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=400)
    sets = parser.parse_args().sets
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(coverage(sets, rng).round(3))
        print(sizes(rng).round(4))


if __name__ == "__main__":
    main()
