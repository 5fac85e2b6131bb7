"""The dense blocks of single-step: a genomic matrix read, blended with A₂₂, tuned to its base, and inverted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg

from remlblup.errors import RelationshipError
from remlblup.linalg.threads import side_by_side
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.coerce import labelled_matrix
from remlblup.relationship.genomic_tuning import blended, means, tuning
from remlblup.relationship.genotypes import Genotypes
from remlblup.relationship.labels import as_frame
from remlblup.relationship.matrix import clean_labels, clean_matrix

_STRIPE = 256


def prepare(
    G: np.ndarray, A22: np.ndarray, alpha: float, beta: float, tune: int, blend_first: bool
) -> tuple[np.ndarray, tuple[float, float]]:
    """G blended (αG + βA₂₂) and tuned (a 11' + b G), in one order or the other, and (a, b)."""
    if blend_first:
        mixed = blended(G, A22, alpha, beta)
        a, b = tuning(mixed, A22, tune)
        return (mixed if (a, b) == (0.0, 1.0) else b * mixed + a), (a, b)
    a, b = tuning(G, A22, tune)
    return blended(G if (a, b) == (0.0, 1.0) else b * G + a, A22, alpha, beta), (a, b)


def read_matrix(G: object) -> tuple[np.ndarray, np.ndarray]:
    """A labelled genomic matrix (g, g), which may be singular, and its labels (g,).

    Raises
    ------
    RelationshipError
        If it is none, or not square, symmetric and finite, or its labels are missing or repeated.
    """
    if isinstance(G, Genotypes):
        raise RelationshipError(
            "SingleStep needs the genomic relationships, not the genotypes themselves. Give"
            " rb.genomic_relationship(genotypes), made with the method and allele frequencies you want."
        )
    if isinstance(G, RelationshipBase):
        return G.dense(), G.labels
    if isinstance(G, pd.DataFrame) or hasattr(G, "get_column"):
        matrix, labels, inverse = labelled_matrix(as_frame(G), False)
        if inverse:
            raise RelationshipError("SingleStep needs G itself; this data frame is marked as an inverse.")
    elif isinstance(G, tuple) and len(G) == 2:
        matrix, labels = G
    else:
        raise RelationshipError(
            f"cannot take a genomic matrix from {type(G).__name__}. Give a data frame with the animals as its index and "
            "columns, a pair (matrix, labels), or a Relationship."
        )
    if getattr(matrix, "shape", None) == (0, 0):
        return np.zeros((0, 0)), clean_labels(labels, 0)
    matrix = clean_matrix(matrix)
    return (matrix if isinstance(matrix, np.ndarray) else matrix.toarray()), clean_labels(labels, matrix.shape[0])


def inverted(matrix: np.ndarray, what: str, cure: str) -> tuple[np.ndarray, float]:
    """Inverse and log-determinant of a positive definite matrix (LAPACK potrf and potri).

    Raises
    ------
    RelationshipError
        Where a pivot is zero to rounding, or negative: "The `what` is not positive definite. `cure`".
    """
    # Symmetric: its transpose is in the order of LAPACK, without a copy of another kind.
    factor, info = scipy.linalg.lapack.dpotrf(matrix.T, lower=1, clean=0)
    pivots = np.diag(factor)
    if info or not pivots.min() ** 2 > len(matrix) * np.finfo(float).eps * np.abs(matrix).sum(axis=0).max():
        raise RelationshipError(f"The {what} is not positive definite. {cure}")
    log_determinant = 2.0 * float(np.log(pivots).sum())
    inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)
    mirror(inverse)
    return inverse, log_determinant


def mirror(lower: np.ndarray) -> None:
    """Copy the lower triangle of a matrix onto the upper, in place."""
    for start in range(0, len(lower), _STRIPE):
        stop = min(start + _STRIPE, len(lower))
        corner = lower[start:stop, start:stop]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T


def both_inverted(A22: np.ndarray, Gw: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Inverses and log-determinants of A₂₂ and G_w, side by side."""
    return side_by_side(inverted, [
        (A22, "relationship matrix A22 of the genotyped animals",
         "Are there clones or fully inbred lines among them? Keep one animal of each."),
        (Gw, "genomic matrix, blended and tuned,",
         "Blend it with more of A22 (alpha=0.95, beta=0.05 is usual), and look for animals genotyped twice."),
    ])  # fmt: skip


def likeness(matrix: np.ndarray, A22: np.ndarray) -> list[float]:
    """Means of the diagonal and of the rest; correlation and regression of the rest on that of A₂₂."""
    if len(matrix) < 2:
        return [float(np.trace(matrix)) if len(matrix) else np.nan, np.nan, np.nan, np.nan]
    of_diagonal, of_rest, _ = means(matrix)
    of_a_diagonal, of_a_rest, _ = means(A22)

    def moment(one: np.ndarray, other: np.ndarray, mean: float) -> float:
        """Central second moment of the off-diagonal elements."""
        whole = float(np.vdot(one, other) - np.vdot(np.diag(one), np.diag(other)))
        return whole / (len(one) * (len(one) - 1)) - mean

    of_both = moment(matrix, A22, of_rest * of_a_rest)
    of_own, of_a = moment(matrix, matrix, of_rest**2), moment(A22, A22, of_a_rest**2)
    if min(of_own, of_a) <= 1e-14 * max(of_diagonal, of_a_diagonal) ** 2:  # all the same, but for rounding
        return [of_diagonal, of_rest, np.nan, np.nan]
    return [of_diagonal, of_rest, of_both / np.sqrt(of_own * of_a), of_both / of_a]
