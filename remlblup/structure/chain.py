"""Algebra of a Markov chain in O(n): the correlation of two records is the product of the steps between them.

With a_k the correlation of neighbours k and k + 1 of a sorted sequence, C_ij = a_i a_{i+1} … a_{j−1}
(i < j). C⁻¹ is tridiagonal (Rue & Held 2005, section 1.1), with q_k = 1 − a_k²,

    diagonal k: 1 + a_{k−1}²/q_{k−1} + a_k²/q_k,    (k + 1, k): −a_k/q_k,    |C| = Π q_k,

and a break between two sequences is a step with a = 0.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack

from remlblup.arrays import Array, Index


def chain_multiply(a: Array, v: Array) -> Array:
    """C v for steps a (n − 1,) and v (n, k): Cv = f + b − v with f_k = v_k + a_{k−1} f_{k−1} and
    b_k = v_k + a_k b_{k+1}.

    Both recursions are a substitution with the unit bidiagonal matrix that has −a below its diagonal.
    """
    if len(v) == 1 or v.shape[1] == 0:
        return np.array(v)
    band = np.vstack([np.ones(len(v)), np.append(-a, 0.0)])
    columns = np.asfortranarray(v)
    forward, _ = lapack.dtbtrs(band, columns, uplo="L", trans="N", diag="U")
    backward, _ = lapack.dtbtrs(band, columns, uplo="L", trans="T", diag="U")
    return np.asarray(forward + backward - v)


def least_correlation(gap: float) -> float:
    """What a correlation r per unit of distance is taken for at zero, to have a slope there in r^gap.

    r^gap has ∂r/∂(r^gap) = r^(1 − gap)/gap, infinite at r = 0 for a smallest gap above one, and ∂r^gap/∂r is for one
    below: their product is finite everywhere, and so are both here, where the smaller of r and r^gap is 1e-150.
    """
    return float(1e-150 ** (1.0 / max(gap, 1.0)))


def steps(r: float, gaps: Array) -> tuple[Array, Array, Array]:
    """a = r^d, q = 1 − a² and ∂a/∂r = d r^(d−1) of gaps d > 0 (integers where r < 0).

    q = −expm1(2 d log|r|) keeps its digits as r → 1. The derivative at r = 0 is that at `least_correlation`.
    """
    a = np.power(r, gaps)
    with np.errstate(divide="ignore"):
        q = -np.expm1(2.0 * gaps * np.log(abs(r)))
    slope = gaps * np.power(max(r, least_correlation(gaps.min())) if r >= 0.0 else r, gaps - 1.0)
    return a, q, slope


def log_q(a: Array, q: Array) -> Array:
    """log(1 − a²), to full relative accuracy for small a (log1p) as for a near 1 (q)."""
    small = np.abs(a) < 0.5
    return np.where(small, np.log1p(-(np.where(small, a, 0.0) ** 2)), np.log(q))


def distinct_gaps(gaps: Array, rounding: float) -> tuple[Array, Index]:
    """The distinct values of `gaps` and the index of each, those within `rounding` of their neighbour taken as one."""
    order = np.argsort(gaps)
    ascending = gaps[order]
    group = np.concatenate([[0], np.cumsum(np.diff(ascending) > rounding)])
    index: Index = np.empty(len(gaps), np.int64)
    index[order] = group
    return np.bincount(group, ascending) / np.bincount(group), index
