"""Upper tails of the studentized range, a few by SciPy and many at once.

With R(w) the probability that k standard normals lie within w of each other, and s² = χ²_ν/ν,

    1 − R(w) = k ∫ φ(z) [Φ(z)ᵏ⁻¹ − (Φ(z) − Φ(z − w))ᵏ⁻¹] dz,    P(Q > q) = ∫ f(s) [1 − R(qs)] ds

(Tukey 1953), the inner integral tabulated once for all q and ν: SciPy takes some 20 ms for each.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array

# Tails that are left to SciPy.
FEW = 60
# Points of the two integrals and of the table between them; the range of s that is left out has this probability.
INNER, OUTER, TABLE, LEFT_OUT = 400, 160, 4000, 1e-15


def studentized_tails(q: Array, k: int, df: Array) -> Array:
    """P(range of k > q) of each q (r,) at its degrees of freedom."""
    from scipy import stats

    if len(q) <= FEW:
        tails = [stats.studentized_range.sf(a, k, d) for a, d in zip(q, df, strict=True)]
        return np.clip(np.array(tails, dtype=float), 0.0, 1.0)
    return by_quadrature(q, k, df)


def by_quadrature(q: Array, k: int, df: Array) -> Array:
    """The same by two Gauss–Legendre rules."""
    from scipy import interpolate, stats

    x, weight = np.polynomial.legendre.leggauss(OUTER)
    finite = np.isfinite(df)
    nu = np.where(finite, df, 1.0)
    # In log s the density falls off on both sides, however few degrees of freedom there are.
    low = 0.5 * np.log(stats.chi2.ppf(LEFT_OUT, nu) / nu)
    high = 0.5 * np.log(stats.chi2.isf(LEFT_OUT, nu) / nu)
    t = 0.5 * (low + high)[:, None] + 0.5 * (high - low)[:, None] * x
    s = np.exp(t)
    density = 2.0 * nu[:, None] * s**2 * stats.chi2.pdf(nu[:, None] * s**2, nu[:, None])
    density = density * weight * 0.5 * (high - low)[:, None]
    s[~finite], density[~finite] = 1.0, 1.0 / OUTER
    w = q[:, None] * s
    # The table is finest where the tail changes most; beyond 40 it is zero.
    grid = np.linspace(0.0, min(float(np.max(w)), 40.0), TABLE)
    table = interpolate.CubicSpline(grid, range_tail(grid, k))
    return np.clip(np.sum(density * np.where(w <= grid[-1], table(np.minimum(w, grid[-1])), 0.0), axis=1), 0.0, 1.0)


def range_tail(w: Array, k: int) -> Array:
    """1 − R(w)."""
    from scipy import special

    x, weight = np.polynomial.legendre.leggauss(INNER)
    z = 9.5 * x  # the density of the largest of k is nothing beyond
    density = 9.5 * weight * np.exp(-0.5 * z**2) / np.sqrt(2.0 * np.pi)
    log_all = special.log_ndtr(z)
    out = np.empty(len(w))
    for start in range(0, len(w), 500):
        chunk = slice(start, start + 500)
        below = special.log_ndtr(z[None, :] - w[chunk, None]) - log_all
        with np.errstate(divide="ignore"):
            inside = (k - 1.0) * np.log1p(-np.exp(np.minimum(below, 0.0)))
        out[chunk] = -k * np.expm1(inside) @ (density * np.exp((k - 1.0) * log_all))
    return out
