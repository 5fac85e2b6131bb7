"""Small symmetric systems whose unknowns have units of their own."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs


def scaled_solve(H: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """H⁻¹ rhs after scaling H to a unit diagonal; the shortest least squares solution where H is singular."""
    if not len(rhs):
        return np.zeros(0)
    diagonal = H.diagonal()
    d = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = H * d * d[:, None]
    root, info = dpotrf(scaled, lower=1)
    if info == 0 and root.diagonal().min() ** 2 > 1e-12:
        return np.asarray(d * dpotrs(root, d * rhs, lower=1)[0])
    return np.asarray(d * np.linalg.lstsq(scaled, d * rhs, rcond=1e-10)[0])
