"""The dense blocks of single-step: a genomic matrix read, blended with A₂₂, tuned to its base, and inverted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.linalg

from remlblup.errors import RelationshipError, choose
from remlblup.linalg.threads import side_by_side
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.coerce import labelled_matrix
from remlblup.relationship.labels import as_frame
from remlblup.relationship.matrix import clean_labels, clean_matrix

_STRIPE = 256

TUNINGS = (0, 1, 2, 3, 4)


def means(matrix: np.ndarray) -> tuple[float, float, float]:
    """Mean of the diagonal, of the rest, and of all elements of a matrix (g, g); the rest of one element is 0."""
    g = len(matrix)
    total, diagonal = float(matrix.sum()), float(np.trace(matrix))
    return diagonal / g, (total - diagonal) / max(g * (g - 1), 1), total / g**2


def tuning(G: np.ndarray, A22: np.ndarray, method: int) -> tuple[float, float]:
    """Constants (a, b) of the tuned matrix a 11' + b G, by the numbering of BLUPF90's ``tunedG``.

    0: none. 1: mean diagonal 1 and mean off-diagonal 0. 2: both means those of A₂₂ (Chen et al. 2011, J Anim Sci
    89:2673; Christensen et al. 2012, Animal 6:1565). 3: the mean of all elements that of A₂₂, by a constant.
    4: a = mean(A₂₂) − mean(G), b = 1 − a/2, the drift between the two base populations (Powell et al. 2010, Nat Rev
    Genet 11:800; Vitezica et al. 2011, Genet Res 93:357).

    Raises
    ------
    RelationshipError
        Where the means of G cannot be brought to the wanted ones by a positive b.
    """
    choose("tune", method, TUNINGS)
    if method == 0:
        return 0.0, 1.0
    of_diagonal, of_rest, of_all = means(G)
    want_diagonal, want_rest, want_all = (1.0, 0.0, 0.0) if method == 1 else means(A22)
    if method in (3, 4):
        a = want_all - of_all
        return (a, 1.0) if method == 3 else (a, 1.0 - 0.5 * a)
    if len(G) == 1:
        return 0.0, want_diagonal / of_diagonal
    b = (want_diagonal - want_rest) / (of_diagonal - of_rest) if of_diagonal > of_rest else -1.0
    if not b > 0.0:
        raise RelationshipError(
            f"The genomic matrix cannot be tuned: its mean diagonal is {of_diagonal:.4g} and its mean off-diagonal "
            f"{of_rest:.4g}; they should become {want_diagonal:.4g} and {want_rest:.4g}. Look at the matrix, or set "
            "tune=0."
        )
    return want_diagonal - b * of_diagonal, b


def prepare(
    G: np.ndarray, A22: np.ndarray, alpha: float, beta: float, tune: int, blend_first: bool
) -> tuple[np.ndarray, tuple[float, float]]:
    """G blended (αG + βA₂₂) and tuned (a 11' + b G), in one order or the other, and (a, b)."""
    if blend_first:
        blended = _blended(G, A22, alpha, beta)
        a, b = tuning(blended, A22, tune)
        return (blended if (a, b) == (0.0, 1.0) else b * blended + a), (a, b)
    a, b = tuning(G, A22, tune)
    return _blended(G if (a, b) == (0.0, 1.0) else b * G + a, A22, alpha, beta), (a, b)


def _blended(G: np.ndarray, A22: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return G if (alpha, beta) == (1.0, 0.0) else alpha * G + beta * A22


def read_matrix(G: object) -> tuple[np.ndarray, np.ndarray]:
    """A labelled genomic matrix (g, g), which may be singular, and its labels (g,).

    Raises
    ------
    RelationshipError
        If it is none, or not square, symmetric and finite, or its labels are missing or repeated.
    """
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
    if np.shape(matrix) == (0, 0):
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
