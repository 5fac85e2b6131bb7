"""How often a profile interval of 95 % holds the truth, by the likelihood-ratio statistic of many sets at once.

    python -m remlblup.validation.simulations.profile_statistic [--sets 100000] [--variance 1]

The one-way layout of `components`. With the eigenvalues d of Z'NZ the restricted likelihood of (σ²_g, σ²_e) is that of
independent squares Q_i ~ (σ²_g d_i + σ²_e) χ²_1 and R ~ σ²_e χ²_m, so that no record is drawn and no model is fitted:
a check of `components` by other means, and free of the error of 2,000 sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.validation.simulations.components import CUT, SHARE, SIZES

# Points of a grid along the logarithm of a parameter, and halvings around the best of them.
POINTS, ROUNDS, REACH = 60, 45, 8.0


def eigenvalues() -> tuple[Array, int]:
    """Those of Z'NZ that are not zero, and the degrees of freedom that are left to the residual."""
    groups = np.repeat(np.arange(len(SIZES)), SIZES)
    Z = np.eye(len(SIZES))[groups]
    d = np.linalg.eigvalsh(Z.T @ (Z - Z.mean(axis=0)))[1:]
    return d, len(groups) - 1 - len(d)


def highest(f: Callable[[Array], Array], sets: int) -> Array:
    """Maximum over x of f(eˣ), element by element: a grid, then golden sections."""
    grid = np.linspace(-REACH, REACH, POINTS)
    best = np.argmax([f(np.full(sets, np.exp(x))) for x in grid], axis=0)
    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, POINTS - 1)]
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    for _ in range(ROUNDS):
        a, b = high - golden * (high - low), low + golden * (high - low)
        left = f(np.exp(a)) > f(np.exp(b))
        low, high = np.where(left, low, a), np.where(left, b, high)
    return f(np.exp(0.5 * (low + high)))


def coverage(sets: int, variance: float, seed: int) -> pd.DataFrame:
    """Share of the sets whose likelihood ratio at the truth is below the quantile of χ²(1), and its mean."""
    d, m = eigenvalues()
    rng = np.random.default_rng(seed)
    Q, R = rng.chisquare(1, (sets, len(d))) * (variance * d + 1.0), rng.chisquare(m, sets)
    N = len(d) + m

    def loglik(group: Array, residual: Array) -> Array:
        v = group[:, None] * d + residual[:, None]
        return -0.5 * (np.log(v).sum(axis=1) + (Q / v).sum(axis=1) + m * np.log(residual) + R / residual)

    def of_ratio(ratio: Array) -> Array:
        v = 1.0 + ratio[:, None] * d
        return -0.5 * (np.log(v).sum(axis=1) + N * np.log(((Q / v).sum(axis=1) + R) / N) + N)

    one, none = np.ones(sets), np.zeros(sets)
    top = np.maximum(highest(of_ratio, sets), of_ratio(none))
    held = {
        "g": highest(lambda residual: loglik(variance * one, residual), sets),
        "residual": np.maximum(highest(lambda group: loglik(group, one), sets), loglik(none, one)),
        SHARE: of_ratio(variance * one),
    }
    ratio = {name: 2.0 * (top - value) for name, value in held.items()}
    return pd.DataFrame({n: {"covered": np.mean(w <= CUT**2), "mean ratio": w.mean()} for n, w in ratio.items()}).T


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sets", type=int, default=100_000)
    parser.add_argument("--variance", type=float, default=1.0, help="of the groups")
    given = parser.parse_args()
    parts = [coverage(min(10_000, given.sets - k), given.variance, k) for k in range(0, given.sets, 10_000)]
    print((sum(parts) / len(parts)).round(4).to_string())  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
