"""Coverage of intervals of variance components, and sizes of tests of one, where the truth is known.

    python -m remlblup.validation.simulations.components [--sets 2000] [--variance 1] [--workers 2]

A one-way layout of 12 groups with 2 to 9 records, σ²_e = 1, σ²_g = 1 or as given, by REML, intervals of 95 %: profile
(it holds the truth where |ζ| of the truth is below 1.96), bootstrap (1,000 replicates; corrected ends, and by
percentiles) and log-scale Wald; then 20,000 sets with σ²_g = 0, tested at 5 %. 2,000 sets take some six minutes of CPU.
"""

from __future__ import annotations

import argparse
import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.inference.comparison.likelihood_ratio import refitted
from remlblup.inference.components.profile import profile_paths
from remlblup.inference.resampling.acceleration import accelerations
from remlblup.inference.resampling.corrected import corrected_ends

SIZES = np.array([2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 3, 5])
SHARE = "g / (g + residual)"
METHODS = ("profile", "bca", "percentile", "log")
REPLICATES = 1000
# The normal quantile of 95 %.
CUT = 1.959963984540054
# Sets drawn from one stream.
PART = 100


def drawn(rng: np.random.Generator, variance: float) -> pd.DataFrame:
    """Records of one set."""
    groups = np.repeat(np.arange(len(SIZES)), SIZES)
    u = rng.standard_normal(len(SIZES))[groups] * np.sqrt(variance)
    return pd.DataFrame({"g": groups, "y": u + rng.standard_normal(len(groups))})


def bootstrapped(fit: rb.Fit, seed: int) -> dict[str, np.ndarray]:
    """Ends (2, quantities) by corrected quantiles and by plain ones, of the same replicates."""
    theta = fit.bootstrap(REPLICATES, seed=seed, progress=False).numbers.to_numpy(dtype=float)[:, :2]
    replicates = np.column_stack([theta, theta[:, 0] / theta.sum(axis=1)])
    total = fit.theta.sum()
    own = np.append(fit.theta, fit.theta[0] / total)
    slopes = np.array([[1.0, 0.0], [0.0, 1.0], np.array([fit.theta[1], -fit.theta[0]]) / total**2])
    a, high = accelerations(fit, slopes, seed), (np.inf, np.inf, 1.0)
    corrected = [corrected_ends(x, v, b, 0.95, 0.0, h) for x, v, b, h in zip(replicates.T, own, a, high, strict=True)]
    return {
        "bca": np.array([[end.value for end in pair] for pair in corrected]).T,
        "percentile": np.quantile(replicates, [0.025, 0.975], axis=0),
    }


def limits(fit: rb.Fit, seed: int, truth: list[float]) -> dict[str, np.ndarray]:
    """Ends (2, quantities) by each method; by the profile those of ζ about that of the truth."""
    found = bootstrapped(fit, seed)
    found["log"] = fit.intervals("log", functions=[SHARE])[["lower", "upper"]].to_numpy(dtype=float).T
    paths = profile_paths(fit, functions=[SHARE])
    at = [path.at(value, fit.theta) for path, value in zip(paths, truth, strict=True)]
    # Around a truth of zero: the interval lies above it where ζ of the truth is below −1.96.
    zeta = np.array([np.nan if place is None else place.zeta for place in at])
    found["profile"] = np.array([-CUT - zeta, CUT - zeta])
    return found


def ends(part: tuple[int, int, float]) -> dict[str, np.ndarray]:
    """Ends (sets, 2, quantities) by each method of some sets, with random numbers of their own."""
    number, sets, variance = part
    rng, fit = np.random.default_rng([1, number]), None
    out = {method: np.full((sets, 2, 3), np.nan) for method in METHODS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(sets):
            d = drawn(rng, variance)
            # One model, refitted: the fit of a new one.
            fit = rb.MixedModel("y ~ 1 + (1 | g)", d).fit(progress=False) if fit is None else fit.refit(d["y"])
            try:
                found = limits(fit, PART * number + k, [variance, 1.0, variance / (variance + 1.0)])
            except rb.RemlBlupError as error:
                print(f"part {number}, set {k}: {error}", flush=True)
                continue
            for method in METHODS:
                out[method][k] = found[method]
    return out


def coverage(sets: int, variance: float, workers: int) -> pd.DataFrame:
    """Share of the intervals that hold the truth, and that lie wholly above or below it, by method and quantity."""
    truth = {"g": variance, "residual": 1.0, SHARE: variance / (variance + 1.0)}
    parts = [(k, min(PART, sets - first), variance) for k, first in enumerate(range(0, sets, PART))]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(ends, parts))
    rows = {}
    for method in METHODS:
        together = np.concatenate([part[method] for part in found])
        for k, (name, value) in enumerate(truth.items()):
            value = 0.0 if method == "profile" else value
            low, high = together[:, :, k].T
            missing = np.isnan(low) | np.isnan(high)
            rows[method, name] = {
                "covered": np.mean((low <= value) & (value <= high)),
                "above": np.mean(low > value),
                "below": np.mean(high < value),
                "missing": np.mean(missing),
                "median width": np.nan if method == "profile" else np.nanmedian(high - low),
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
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    print(coverage(given.sets, given.variance, given.workers).round(4).to_string(), flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(sizes(np.random.default_rng(1)).round(4))


if __name__ == "__main__":
    main()
