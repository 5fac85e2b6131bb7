"""Small symmetric systems whose unknowns have units of their own."""

from __future__ import annotations

import numpy as np


def scaled_solve(H: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """H⁻¹ rhs after scaling H to a unit diagonal; the shortest least squares solution where H is singular."""
    if not len(rhs):
        return np.zeros(0)
    diagonal = np.diag(H)
    d = 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0))
    scaled = H * d * d[:, None]
    try:
        root = np.linalg.cholesky(scaled)
        if np.min(np.diag(root)) ** 2 > 1e-12:
            inverse = np.linalg.inv(root)
            return np.asarray(d * (inverse.T @ (inverse @ (d * rhs))))
    except np.linalg.LinAlgError:
        pass
    return np.asarray(d * np.linalg.lstsq(scaled, d * rhs, rcond=1e-10)[0])
