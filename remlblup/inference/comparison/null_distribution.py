"""Distributions of the likelihood-ratio statistic where the smaller model lies on a boundary of the larger one.

A mixture Σ_j w_j χ²_j. Of one variance at zero w = (½, ½) (Self & Liang 1987, JASA 82:605, case 5); of a covariance
matrix that grows from k to k + 1 effects ½ χ²_k + ½ χ²_{k+1} (Stram & Lee 1994, Biometrics 50:1171, case 3); of several
variances at zero at once the weights are probabilities that a normal vector, correlated as the estimates are, falls
nearest to a face of the orthant (Self & Liang 1987, case 9; Kudô 1963), which for two and three are angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array


@dataclass(frozen=True)
class Mixture:
    """Σ_j w_j χ²_j.

    Attributes
    ----------
    weights : degrees of freedom → weight
    """

    weights: dict[int, float]

    def p_value(self, statistic: float) -> float:
        """P(LR ≥ statistic); χ²_0 is zero."""
        from scipy import stats

        if statistic <= 0.0:
            return 1.0
        return float(sum(w * stats.chi2.sf(statistic, df) for df, w in self.weights.items() if df > 0))

    def with_df(self, df: int) -> Mixture:
        """The same with `df` parameters more that are free on both sides."""
        return Mixture({k + df: w for k, w in self.weights.items()})

    def __str__(self) -> str:
        return " + ".join(f"{w:.4g} χ²({df})" for df, w in sorted(self.weights.items()))


def of_variances(covariance: Array) -> Mixture:
    """The mixture of one to three variances at zero, given the covariance of their estimates (up to a factor).

    Raises
    ------
    ValueError
        For more than three.
    """
    m = len(covariance)
    if m == 1:
        return Mixture({0: 0.5, 1: 0.5})
    if m > 3:
        raise ValueError("weights of more than three variances have no closed form")
    d = 1.0 / np.sqrt(np.diag(covariance))
    R = np.clip(covariance * np.outer(d, d), -1.0, 1.0)
    if m == 2:
        # All of the plane positive: ¼ + asin(r)/2π; none: that of the inverse, whose correlation is −r.
        both = 0.25 + np.arcsin(R[0, 1]) / (2.0 * np.pi)
        return Mixture({0: 0.5 - both, 1: 0.5, 2: both})
    angle = np.arccos
    three = 0.5 - np.sum([angle(R[0, 1]), angle(R[0, 2]), angle(R[1, 2])]) / (4.0 * np.pi)
    partial = [
        (R[i, j] - R[i, k] * R[j, k]) / np.sqrt((1 - R[i, k] ** 2) * (1 - R[j, k] ** 2))
        for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 2, 0))
    ]
    two = 0.75 - np.sum(angle(np.clip(partial, -1.0, 1.0))) / (4.0 * np.pi)
    return Mixture({0: 0.5 - two, 1: 0.5 - three, 2: two, 3: three})


# -- the exact one of a single variance --------------------------------------------------------

# Draws, and points along λ: as RLRsim takes them.
DRAWS, POINTS = 100_000, 200
# Elements of a block of draws.
BLOCK = 5_000_000


def exact_draws(values: Array, whole: Array, freedom: int, records: int, extra: int, n: int, seed: int) -> Array:
    """Draws of the (restricted) likelihood-ratio statistic of one variance beside independent residuals, (n,).

    With λ = σ²_u/σ²_e, independent squares w_s² of standard normals, and μ the eigenvalues of K^½Z'NZK^½,

        LR = sup_λ [ N log(1 + A(λ)/D(λ)) − Σ_s log(1 + λ ξ_s) ],
        A = Σ λμ_s/(1 + λμ_s) w_s²,   D = Σ w_s²/(1 + λμ_s) + Σ_{s > K} w_s²

    N = n − p and ξ = μ, of ML N = n and ξ the eigenvalues of K^½Z'ZK^½ (Crainiceanu & Ruppert 2004, JRSS B 66:165).

    Parameters
    ----------
    values : (K,) μ
    whole : ξ
    freedom : n − p of the larger model
    records : N
    extra : columns of X that only the larger model has, of ML
    """
    rng = np.random.default_rng(seed)
    scale = float(np.max(values))
    values, whole = values / scale, whole / scale
    grid = np.r_[0.0, np.exp(np.linspace(-12.0, 16.0, POINTS - 1))]
    shrunk = grid * values[:, None] / (1.0 + values[:, None] * grid)  # λμ/(1 + λμ)
    penalty = np.log1p(np.outer(whole, grid)).sum(axis=0)
    step, out = max(1, BLOCK // POINTS), np.empty(n)
    for first in range(0, n, step):
        count = min(step, n - first)
        squares = rng.standard_normal((count, len(values))) ** 2
        rest = rng.chisquare(freedom - len(values), count) if freedom > len(values) else np.zeros(count)
        total = squares.sum(axis=1) + rest
        kept = total[:, None] - squares @ shrunk
        best = np.max(records * np.log(total[:, None] / kept) - penalty, axis=1)
        more = np.log1p(rng.chisquare(extra, count) / total) if extra else 0.0
        out[first : first + count] = best + records * more
    return out
