"""What normal variables tell of others: C K⁻¹ and what is left, the two halves of kriging."""

from __future__ import annotations

import numpy as np
import scipy.linalg

from remlblup.arrays import Array

# A pivot, or an eigenvalue beside the largest, below this share is rounding.
SINGULAR = 1e-12


def conditional(known: Array, across: Array, variance: Array | float) -> tuple[Array, Array]:
    """E[a | b] = C K⁻¹ b and var(a | b) = v − (C K⁻¹ C')_ii, for K = var(b) (r, r), singular or not, and C (m, r)."""
    diagonal = np.diag(known)
    L, info = scipy.linalg.lapack.dpotrf(known, lower=1, clean=1)
    if not info and np.all(np.diag(L) ** 2 > SINGULAR * diagonal):
        weights = scipy.linalg.cho_solve((L, True), across.T).T
    else:
        values, vectors = np.linalg.eigh(known)
        kept = values > SINGULAR * max(float(values[-1]), 0.0)
        weights = ((across @ vectors[:, kept]) / values[kept]) @ vectors[:, kept].T
    return weights, np.maximum(variance - np.einsum("mr,mr->m", weights, across), 0.0)
