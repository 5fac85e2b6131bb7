"""Matrices that are singular or nearly so: their eigenvalues, what to keep of them, and what to say of the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from remlblup.cached import cached_property
from remlblup.errors import RelationshipError

# A negative eigenvalue smaller than this share of the largest is rounding, of a matrix stored with few digits.
NEGATIVE = 1e-6
_EXPLAINED = 5000
_CURES = (
    "Bend it: Relationship(K, labels, bend=0.001) raises the eigenvalues that are too small; or blend it, for example "
    "0.99 K + 0.01 I (0.95 G + 0.05 A22 for genomic relationships); or drop levels that repeat others."
)


@dataclass(frozen=True)
class Spectrum:
    """The eigenvalues of a positive semidefinite K that are not zero, and their eigenvectors.

    Attributes
    ----------
    values : (rank,) ascending
    vectors : (q, rank)
    """

    values: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, labels: np.ndarray) -> Spectrum:
        """Of a symmetric matrix (q, q); eigenvalues that rounding explains are taken as zero.

        Raises
        ------
        RelationshipError
            If an eigenvalue is negative by more than rounding, with the levels that weigh most in it.
        """
        values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
        largest = float(np.abs(values).max())
        if largest <= 0.0:
            raise RelationshipError("The relationship matrix is zero: levels without variance have no effects.")
        if values[0] < -NEGATIVE * largest:
            weights = np.argsort(-np.abs(vectors[:, 0]), kind="stable")[:2]
            pair = " and ".join(repr(str(labels[k])) for k in sorted(weights))
            raise RelationshipError(
                f"The relationship matrix is not positive semidefinite: {int((values < -NEGATIVE * largest).sum())} of "
                f"its {len(values)} eigenvalues are negative, the smallest {values[0]:.4g} (the largest "
                f"{largest:.4g}); levels {pair} weigh most in it. {_CURES}"
            )
        kept = values > max(rounding(matrix), 10.0 * max(-float(values[0]), 0.0))
        return cls(values[kept], vectors[:, kept])

    @property
    def rank(self) -> int:
        return len(self.values)

    @property
    def logdet(self) -> float:
        """Log of the product of the eigenvalues."""
        return float(np.log(self.values).sum())

    @cached_property
    def root(self) -> np.ndarray:
        """L (q, rank) with K = LL'."""
        return self.vectors * np.sqrt(self.values)


def bent(matrix: np.ndarray, share: float) -> np.ndarray:
    """The matrix with its eigenvalues below `share` times their mean raised to it (Hayes & Hill 1981).

    Raises
    ------
    RelationshipError
        If `share` is not between 0 and 1, or the mean of the eigenvalues is not positive.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < share < 1.0:
        raise RelationshipError(f"bend={share!r} must be a number between 0 and 1: a share of the mean eigenvalue.")
    values, vectors = scipy.linalg.eigh(matrix, check_finite=False)
    mean = float(values.mean())
    if mean <= 0.0:
        raise RelationshipError("The diagonal of the relationship matrix is not positive: it cannot be bent.")
    out = (vectors * np.maximum(values, share * mean)) @ vectors.T
    return 0.5 * (out + out.T)


def not_positive_definite(matrix: np.ndarray | None, inverse: bool) -> RelationshipError:
    """The error for a matrix that has no Cholesky factor: how bad it is and what is usually done."""
    detail = ""
    if matrix is not None and len(matrix) <= _EXPLAINED:
        values = scipy.linalg.eigvalsh(matrix, check_finite=False)
        rank = int((values > rounding(matrix)).sum())
        detail = (
            f" ({rank} of its {len(values)} eigenvalues are positive; the smallest is {values[0]:.4g}, the "
            f"largest {values[-1]:.4g})"
        )
    what = "inverse relationship matrix" if inverse else "relationship matrix"
    cure = "Invert a matrix that has been blended or bent first." if inverse else _CURES
    return RelationshipError(f"The {what} is not positive definite{detail}. {cure}")


def rounding(matrix: np.ndarray) -> float:
    """What counts as a zero eigenvalue: numpy's matrix_rank rule, the row-sum norm standing for the largest."""
    return len(matrix) * np.finfo(float).eps * float(np.abs(matrix).sum(axis=0).max())
