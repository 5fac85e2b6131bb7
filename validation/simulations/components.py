"""Coverage of intervals of variance components, and sizes of tests of one, where the truth is known.

    python -m remlblup.validation.simulations.components [--sets 2000] [--variance 1]

A one-way layout of 12 groups with 2 to 9 records, σ²_e = 1, σ²_g = 1 or as given: profile, bootstrap (1,000 replicates,
corrected ends, and the same by percentiles) and log-scale Wald intervals of 95 % by REML; then 20,000 sets with
σ²_g = 0, tested at 5 %. 2,000 sets take a quarter of an hour.
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
METHODS = ("profile", "bca", "percentile", "log")
REPLICATES = 1000


def drawn(rng: np.random.Generator, variance: float) -> pd.DataFrame:
    """Records of one set."""
    groups = np.repeat(np.arange(len(SIZES)), SIZES)
    u = rng.standard_normal(len(SIZES))[groups] * np.sqrt(variance)
    return pd.DataFrame({"g": groups, "y": u + rng.standard_normal(len(groups))})


def limits(fit: rb.Fit, seed: int) -> dict[str, np.ndarray]:
    """Ends (2, quantities) by each method; both kinds of bootstrap from the same replicates."""
    made = fit.bootstrap(REPLICATES, seed=seed, progress=False)
    parts = made.only(np.arange(2)), made.of_functions([SHARE])
    tables = {k: pd.concat([b.intervals(kind=k) for b in parts]) for k in ("bca", "percentile")}
    tables |= {method: fit.intervals(method, functions=[SHARE]) for method in ("profile", "log")}
    return {method: tables[method][["lower", "upper"]].to_numpy(dtype=float).T for method in METHODS}


def coverage(sets: int, variance: float, rng: np.random.Generator) -> pd.DataFrame:
    """Share of the intervals that hold the truth, and that lie wholly above or below it, by method and quantity."""
    truth = pd.Series({"g": variance, "residual": 1.0, SHARE: variance / (variance + 1.0)})
    ends = {method: np.empty((sets, 2, len(truth))) for method in METHODS}
    model: rb.Fit | None = None
    for k in range(sets):
        d = drawn(rng, variance)
        # One model, refitted: the fit of a new one.
        fit = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(progress=False) if model is None else model.refit(d["y"])
        model = model or fit
        for method, found in limits(fit, k).items():
            ends[method][k] = found
    rows = {}
    for method, found in ends.items():
        for name, value, low, high in zip(truth.index, truth, found[:, 0].T, found[:, 1].T, strict=True):
            above, below = np.mean(low > value), np.mean(high < value)
            missing = np.mean(np.isnan(low) | np.isnan(high))
            rows[method, name] = {
                "covered": 1.0 - above - below - missing,
                "above": above,
                "below": below,
                "missing": missing,
                "median width": np.nanmedian(high - low),
            }
    return pd.DataFrame(rows).T


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
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--variance", type=float, default=1.0, help="of the groups")
    given = parser.parse_args()
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(coverage(given.sets, given.variance, rng).round(4).to_string())
        print(sizes(rng).round(4))


if __name__ == "__main__":
    main()
