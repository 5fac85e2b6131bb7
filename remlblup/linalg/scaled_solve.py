"""Small symmetric systems whose unknowns have units of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

# A pivot of H, scaled to a unit diagonal, that is none.
NULL = 1e-12


def scaled_solve(H: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """H⁻¹ rhs, of shape (n,) or (n, k), after scaling H to a unit diagonal;
    the shortest least squares solution where H is singular."""
    if not rhs.size:
        return np.zeros(rhs.shape)
    if len(H) == 1 and H[0, 0] > 0.0:
        return rhs / H[0, 0]
    return Scaled.of(H).solve(rhs)


@dataclass(frozen=True)
class Scaled:
    """H scaled to a unit diagonal, and its Cholesky factor.

    Attributes
    ----------
    d : (n,) by which rows and columns are multiplied
    matrix : (n, n) dHd
    root : (n, n) L with dHd = LL'; None where H is singular
    """

    d: np.ndarray
    matrix: np.ndarray
    root: np.ndarray | None

    @classmethod
    def of(cls, H: np.ndarray) -> Scaled:
        diagonal = H.diagonal()
        if np.count_nonzero(diagonal <= 0.0):
            diagonal = np.where(diagonal > 0.0, diagonal, 1.0)
        d = 1.0 / np.sqrt(diagonal)
        matrix = H * d * d[:, None]
        root, info = dpotrf(matrix, lower=1)
        regular = info == 0 and np.count_nonzero(root.diagonal() ** 2 > NULL) == len(d)
        return cls(d, matrix, root if regular else None)

    def solve(self, rhs: np.ndarray) -> np.ndarray:
        """H⁻¹ rhs, see `scaled_solve`."""
        right = (self.d * rhs.T).T
        if self.root is not None:
            solution = dpotrs(self.root, right, lower=1)[0]
        else:
            solution = np.linalg.lstsq(self.matrix, right, rcond=1e-10)[0]
        return np.asarray((self.d * solution.T).T)


def scaled_inverse(H: np.ndarray) -> np.ndarray:
    """The same of the identity: H⁻¹, a pseudoinverse that no units change where H is singular."""
    inverse = scaled_solve(H, np.eye(len(H)))
    return np.asarray(0.5 * (inverse + inverse.T))
