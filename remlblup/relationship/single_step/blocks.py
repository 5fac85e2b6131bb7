"""The dense blocks of single-step: a genomic matrix read, blended with A₂₂, tuned to its base, and inverted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import NotPositiveDefiniteError, RelationshipError, some
from remlblup.linalg.dense.tiled import TiledCholesky
from remlblup.relationship.base import RelationshipBase, are_all
from remlblup.relationship.descent.base import DescentRelationship
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.tuning import means, tuning
from remlblup.relationship.given.checks import clean_labels, clean_matrix
from remlblup.relationship.given.frame import labelled_matrix
from remlblup.relationship.labels import as_frame, match
from remlblup.relationship.single_step.weights import Weights

_STRIPE = 256


def prepare(G: np.ndarray, A22: np.ndarray, weights: Weights) -> tuple[float, float]:
    """Blend G (αG + βA₂₂) and tune it (a 11' + b G), in one order or the other, in its own place; (a, b)."""
    if weights.blend_first:
        _blend(G, A22, weights.alpha, weights.beta)
    a, b = tuning(G, A22, weights.tune)
    if (a, b) != (0.0, 1.0):
        G *= b
        G += a
    if not weights.blend_first:
        _blend(G, A22, weights.alpha, weights.beta)
    return a, b


def _blend(G: np.ndarray, A22: np.ndarray, alpha: float, beta: float) -> None:
    """G ← αG + βA₂₂."""
    if (alpha, beta) != (1.0, 0.0):
        G *= alpha
        for rows in stripes(len(G)):
            G[rows] += beta * A22[rows]


def stripes(g: int) -> list[slice]:
    """0 … g in runs of rows: what is made of one of them is small beside the whole."""
    return [slice(start, min(start + _STRIPE, g)) for start in range(0, g, _STRIPE)]


def read_matrix(G: object) -> tuple[np.ndarray, np.ndarray]:
    """A labelled genomic matrix (g, g), which may be singular, in an array of its own, and its labels (g,).

    Raises
    ------
    RelationshipError
        If it is none, or not square, symmetric and finite, or its labels are missing or repeated.
    """
    if isinstance(G, Genotypes):
        raise RelationshipError(
            "SingleStep needs the genomic relationships, not the genotypes themselves. Give"
            " rb.genomic_relationship(genotypes), made with the method and allele frequencies you want; with"
            " formed=False for engine='stochastic', past the memory that they would take."
        )
    if isinstance(G, RelationshipBase):
        return np.array(G.dense()), G.labels
    if isinstance(G, pd.DataFrame) or hasattr(G, "get_column"):
        matrix, labels, inverse = labelled_matrix(as_frame(G), False)
        if inverse:
            raise RelationshipError("SingleStep needs G itself; this data frame is marked as an inverse.")
    elif isinstance(G, tuple) and len(G) == 2:
        matrix, labels = G
    else:
        raise RelationshipError(
            f"cannot take a genomic matrix from {type(G).__name__}. Give a data frame with the animals as its index "
            "and columns, a pair (matrix, labels), or a Relationship."
        )
    if getattr(matrix, "shape", None) == (0, 0):
        return np.zeros((0, 0)), clean_labels(labels, 0)
    matrix = clean_matrix(matrix)
    return (matrix if isinstance(matrix, np.ndarray) else matrix.toarray()), clean_labels(labels, matrix.shape[0])


def among(matrix: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Some rows of a matrix and their columns, in this order; the matrix itself where these are all as they stand."""
    return matrix if are_all(order, len(matrix)) else matrix[np.ix_(order, order)]


def inverted(matrix: np.ndarray, what: str, cure: str) -> tuple[np.ndarray, float]:
    """Inverse, in the place of the matrix (C-order), and log-determinant of a positive definite one.

    Raises
    ------
    RelationshipError
        Where a pivot is zero to rounding, or negative: "The `what` is not positive definite. `cure`".
    """
    norm = max(float(np.abs(matrix[rows]).sum(axis=1).max()) for rows in stripes(len(matrix)))
    singular = RelationshipError(f"The {what} is not positive definite. {cure}")
    try:
        factor = TiledCholesky(matrix, least=0.0)
    except NotPositiveDefiniteError:
        raise singular from None
    if not matrix.diagonal().min() ** 2 > len(matrix) * np.finfo(float).eps * norm:
        raise singular
    mirror(factor.inverse())
    return matrix, factor.logdet


def mirror(lower: np.ndarray) -> None:
    """Copy the lower triangle of a matrix onto the upper, in place."""
    for rows in stripes(len(lower)):
        corner = lower[rows, rows]
        corner[:] = np.tril(corner) + np.tril(corner, -1).T
        lower[rows, rows.stop :] = lower[rows.stop :, rows].T


A22_SINGULAR = (
    "relationship matrix A22 of the genotyped animals",
    "Are there clones or fully inbred lines among them? Keep one animal of each.",
)

G_SINGULAR = (
    "genomic matrix, blended and tuned,",
    "Blend it with more of A22 (alpha=0.95, beta=0.05 is usual), and look for animals genotyped twice.",
)


def combined(Gw_inverse: np.ndarray, A22_inverse: np.ndarray, tau: float, omega: float) -> np.ndarray:
    """τG_w⁻¹ − ωA₂₂⁻¹ in the place of G_w⁻¹."""
    for rows in stripes(len(Gw_inverse)):
        Gw_inverse[rows] *= tau
        Gw_inverse[rows] -= omega * A22_inverse[rows]
    return Gw_inverse


def both_inverted(A22: np.ndarray, Gw: np.ndarray) -> list[tuple[np.ndarray, float]]:
    """Inverses of A₂₂ and G_w, in their places, and log-determinants."""
    return [inverted(A22, *A22_SINGULAR), inverted(Gw, *G_SINGULAR)]


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


def differences(matrix: np.ndarray, A22: np.ndarray) -> np.ndarray:
    """Root mean square difference of every row from that of A₂₂, (g,)."""
    parts = [np.square(matrix[rows] - A22[rows]).mean(axis=1) for rows in stripes(len(matrix))]
    return np.sqrt(np.concatenate([np.zeros(0), *parts]))


def lower_block(block: np.ndarray, positions: np.ndarray, n: int) -> sp.csc_array:
    """The lower triangle of a symmetric block (g, g) at some positions (g,), ascending, of a matrix (n, n)."""
    g = len(positions)
    index = np.int32 if g * (g + 1) < 2**32 else np.int64
    counts = np.zeros(n, np.int64)
    counts[positions] = np.arange(g, 0, -1)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).astype(index)
    rows = positions.astype(index)
    indices = np.concatenate([np.zeros(0, index), *(rows[j:] for j in range(g))])
    data = np.concatenate([np.zeros(0), *(block[j, j:] for j in range(g))])
    return sp.csc_array((data, indices, indptr), shape=(n, n))


def place_genotyped(
    pedigree: RelationshipBase, genotyped: np.ndarray, drop: bool
) -> tuple[np.ndarray, np.ndarray, list]:
    """Positions of the genotyped animals in the pedigree, ascending; their rows of G; the animals left out."""
    found = match(pedigree.labels, genotyped)
    known = found >= 0
    if isinstance(pedigree, DescentRelationship) and pedigree.ramets.size:
        known |= match(pedigree.ramets, genotyped) >= 0
        found[known] = pedigree.index(genotyped[known])
    absent = np.flatnonzero(~known)
    if absent.size and absent.size == len(genotyped):
        raise RelationshipError(
            f"none of the {absent.size} genotyped animals, such as {some(genotyped[:3], 3)}, is in the pedigree of"
            f" {pedigree.size:,}, such as {some(pedigree.labels[:3], 3)}. Are the two named in the same way?"
        )
    if absent.size and not drop:
        one = absent.size == 1
        raise RelationshipError(
            f"{absent.size} genotyped animal{' is' if one else 's are'} not in the pedigree: "
            f"{some(genotyped[absent])}. Add {'it' if one else 'them'} to the pedigree (with unknown parents, if need "
            'be), or leave them out: missing="drop".'
        )
    _refuse_clones(pedigree, genotyped, found)
    kept = np.flatnonzero(found >= 0)
    order = kept[np.argsort(found[kept], kind="stable")]
    return found[order], order, genotyped[absent].tolist()


def _refuse_clones(pedigree: RelationshipBase, genotyped: np.ndarray, found: np.ndarray) -> None:
    """Raise `RelationshipError` where two genotyped animals have one place in the pedigree."""
    inside = np.flatnonzero(found >= 0)
    repeated = inside[pd.Series(found[inside]).duplicated(keep=False).to_numpy()]
    if repeated.size:
        clones = [
            f"{some(genotyped[repeated[found[repeated] == k]])} (of {pedigree.labels[k]})"
            for k in np.unique(found[repeated])
        ]
        raise RelationshipError(
            f"members of one clone are genotyped more than once: {'; '.join(clones[:5])}. They are one animal in the"
            " pedigree: keep the genotypes of one member of each clone."
        )
