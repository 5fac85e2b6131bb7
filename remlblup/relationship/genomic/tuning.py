"""Blending a genomic relationship with another, and tuning it to the pedigree's: each a choice of its own.

The functions of plain arrays, `blended` and `tuned`, hold the formulas; `blend` and `tune` take labelled matrices.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.errors import OptionError, RelationshipError, choose, count, some
from remlblup.keywords import known_arguments
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.given.frame import labelled_matrix
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import match, tidy
from remlblup.relationship.pedigree.pedigree import Pedigree

TUNINGS = (0, 1, 2, 3, 4)
Means = tuple[float, float, float]
"""Of the diagonal, of the rest, and of all elements."""


@known_arguments
def blend(K: object, other: object = "identity", weight: float = 0.05) -> pd.DataFrame | MatrixRelationship:
    """(1 − weight) K + weight · other: a genomic relationship that is positive definite, or holds polygenic effects.

    Parameters
    ----------
    K : DataFrame or Relationship, shape (n, n)
        Labelled, as from `genomic_matrix`.
    other : "identity", Pedigree, Relationship or DataFrame
        A pedigree gives A22, the relationships of K's individuals (VanRaden 2008: 0.95 G + 0.05 A22, the
        AlphaBeta of BLUPF90).
    weight : float
        From 0, which leaves K as it is, to 1.

    Returns
    -------
    DataFrame or Relationship, as K.

    Raises
    ------
    RelationshipError
        If `other` does not hold the individuals of K (of a matrix: exactly these).
    OptionError
        If `weight` is not a number from 0 to 1.

    Examples
    --------
    >>> G = pd.DataFrame([[1.1, 1.1], [1.1, 1.1]], index=["a", "b"], columns=["a", "b"])
    >>> rb.blend(G, "identity", 0.1).round(2).to_numpy().tolist()
    [[1.09, 0.99], [0.99, 1.09]]
    """
    if isinstance(weight, bool) or not isinstance(weight, (int, float, np.number)) or not 0.0 <= weight <= 1.0:
        raise OptionError(f"weight={weight!r} must be a number from 0 to 1.")
    matrix, labels = unpack(K)
    return pack(K, blended(matrix, _of_individuals(other, labels), 1.0 - float(weight), float(weight)), labels)


@known_arguments
def tune(K: object, other: object, method: int = 2) -> pd.DataFrame | MatrixRelationship:
    """a + b K, with a and b from the relationships of the pedigree: brings G to the base population of A22.

    Parameters
    ----------
    K : DataFrame or Relationship, shape (n, n)
    other : Pedigree, Relationship or DataFrame
        Where A22 comes from.
    method : {0, 1, 2, 3, 4}
        As ``OPTION tunedG`` of BLUPF90, with d and o the means of the diagonal and off the diagonal, and ¯ that
        of all elements:

        - 0: K as it is.
        - 1: d = 1 and o = 0.
        - 2 (default): d and o those of A22 (Chen et al. 2011, J Anim Sci 89:2673), or, what gives the same a and b,
          d and ¯ (Christensen et al. 2012, Animal 6:1565).
        - 3: ¯ that of A22, by a alone (Vitezica et al. 2011, Genet Res 93:357).
        - 4: a = ¯A22 − ¯K = 2 F_ST, b = 1 − a/2 (Powell et al. 2010, Nat Rev Genet 11:800; Vitezica et al. 2011).

    Returns
    -------
    DataFrame or Relationship, as K; ``attrs`` of a DataFrame hold ``tuned_a`` and ``tuned_b``.

    Raises
    ------
    RelationshipError
        If `other` does not hold the individuals of K, or diagonal and off-diagonal of K have the same mean.

    Examples
    --------
    >>> G = pd.DataFrame([[0.8, 0.1], [0.1, 0.9]], index=[7, 8], columns=[7, 8])
    >>> rb.tune(G, pedigree).shape
    (2, 2)
    """
    _check_method(method)
    matrix, labels = unpack(K)
    A22 = np.eye(1) if method in (0, 1) else _of_individuals(other, labels)
    a, b = tuning(matrix, A22, method)
    out = pack(K, a + b * matrix, labels)
    if isinstance(out, pd.DataFrame):
        out.attrs.update(tuned_a=a, tuned_b=b)
    return out


def blended(G: np.ndarray, A22: np.ndarray, alpha: float = 0.95, beta: float = 0.05) -> np.ndarray:
    """alpha G + beta A22; G itself for 1 and 0."""
    return G if (alpha, beta) == (1.0, 0.0) else alpha * G + beta * A22


def tuned(G: np.ndarray, A22: np.ndarray, method: int = 2) -> np.ndarray:
    """a + b G with `tuning`'s a and b."""
    a, b = tuning(G, A22, method)
    return a + b * G


def tuning(G: np.ndarray, A22: np.ndarray, method: int = 2) -> tuple[float, float]:
    """a and b of a + b G; see `tune`.

    Raises
    ------
    RelationshipError
        Where the means of G cannot be brought to the wanted ones by a positive b.
    """
    _check_method(method)
    return tuning_of_means(means(G), (1.0, 0.0, 0.0) if method in (0, 1) else means(A22), len(G), method)


def tuning_of_means(of_G: Means, of_A22: Means, size: int, method: int = 2) -> tuple[float, float]:
    """The same from the `means` of matrices of some size."""
    _check_method(method)
    if method == 0:
        return 0.0, 1.0
    diagonal, off, all_of_it = of_G
    want_diagonal, want_off, want_all = (1.0, 0.0, 0.0) if method == 1 else of_A22
    if method in (3, 4):
        a = want_all - all_of_it
        return a, 1.0 if method == 3 else 1.0 - 0.5 * a
    if size == 1:
        return 0.0, want_diagonal / diagonal
    b = (want_diagonal - want_off) / (diagonal - off) if diagonal - off > 1e-12 * abs(diagonal) else -1.0
    if not b > 0.0:
        raise RelationshipError(
            f"The genomic matrix cannot be tuned: its mean diagonal is {diagonal:.4g} and its mean off-diagonal "
            f"{off:.4g}; they should become {want_diagonal:.4g} and {want_off:.4g}. Look at the matrix, or leave it "
            "as it is (tunedG 0)."
        )
    return want_off - b * off, b


def _check_method(method: object) -> None:
    if isinstance(method, bool) or not isinstance(method, (int, np.integer, str)) or method not in TUNINGS:
        raise OptionError(
            f"tuning {method!r} is not known. Choose one of 0, 1, 2, 3, 4: see the documentation of tune."
        )


def means(K: np.ndarray) -> Means:
    """Means of the diagonal, of the rest, and of all elements of a matrix (n, n); the rest of one element is 0."""
    return means_of_sums(float(np.trace(K)), float(K.sum()), len(K))


def means_of_sums(trace: float, total: float, n: int) -> Means:
    """The same from the sums of the diagonal and of all elements."""
    return trace / n, (total - trace) / max(n * (n - 1), 1), total / n**2


def unpack(K: object) -> tuple[np.ndarray, np.ndarray]:
    """A labelled matrix as values and labels."""
    if isinstance(K, RelationshipBase):
        return K.dense(), np.asarray(K.labels)
    if isinstance(K, pd.DataFrame):
        matrix, labels, inverse = labelled_matrix(K, False)
        if inverse:
            raise RelationshipError("this data frame is marked as an inverse: a relationship matrix itself is needed.")
        return np.asarray(matrix, dtype=float), tidy(labels)
    raise RelationshipError(
        f"a labelled matrix is needed, a DataFrame as of genomic_matrix or a Relationship, not {type(K).__name__}."
    )


def pack(like: object, matrix: np.ndarray, labels: np.ndarray) -> pd.DataFrame | MatrixRelationship:
    """The result in the form of what was given."""
    if isinstance(like, RelationshipBase):
        return MatrixRelationship(matrix, labels)
    out = pd.DataFrame(matrix, index=labels, columns=labels, copy=False)
    out.attrs.update(getattr(like, "attrs", {}))
    return out


def _of_individuals(other: object, labels: np.ndarray) -> np.ndarray:
    """The relationships of these individuals, in their order."""
    if isinstance(other, str):
        choose("other", other, ("identity",))
        return np.eye(len(labels))
    if isinstance(other, Pedigree):
        return other.dense(labels)
    matrix, own = unpack(other)
    place, back = match(own, labels), match(labels, own)
    if (place < 0).any():
        raise RelationshipError(
            f"of K, {count(int((place < 0).sum()), 'individual', 'is', 'are')} not in the other matrix:"
            f" {some(labels[place < 0])}."
        )
    if (back < 0).any():
        raise RelationshipError(
            f"of the other matrix, {count(int((back < 0).sum()), 'individual', 'is', 'are')} not in K:"
            f" {some(own[back < 0])}. Select those of K first, in case the two are not of the same population."
        )
    return matrix[np.ix_(place, place)]
