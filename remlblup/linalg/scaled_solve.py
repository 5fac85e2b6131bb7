"""Small symmetric systems whose unknowns have units of their own."""

from __future__ import annotations

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs


def scaled_solve(H: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """H⁻¹ rhs, of shape (n,) or (n, k), after scaling H to a unit diagonal;
    the shortest least squares solution where H is singular."""
    if not len(rhs):
        return np.zeros_like(rhs)
    diagonal = H.diagonal()
    d = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = H * d * d[:, None]
    root, info = dpotrf(scaled, lower=1)
    right = (d * rhs.T).T
    if info == 0 and root.diagonal().min() ** 2 > 1e-12:
        solution = dpotrs(root, right, lower=1)[0]
    else:
        solution = np.linalg.lstsq(scaled, right, rcond=1e-10)[0]
    return np.asarray((d * solution.T).T)


def scaled_inverse(H: np.ndarray) -> np.ndarray:
    """The same of the identity: H⁻¹, a pseudoinverse that no units change where H is singular."""
    inverse = scaled_solve(H, np.eye(len(H)))
    return np.asarray(0.5 * (inverse + inverse.T))
