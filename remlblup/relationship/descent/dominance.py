"""Dominance relationships: the probability that two animals share both genes of a locus by descent."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import scipy.sparse as sp

from remlblup.errors import RelationshipError
from remlblup.linalg.interrupts import interrupted_as_such
from remlblup.relationship.descent import numerator, numerator_matrix
from remlblup.relationship.given.matrix import MatrixRelationship

#: Largest pedigree for exact identity coefficients: their number grows with its fourth power.
GENERAL_LIMIT = 400
_BLOCK = 512


def noninbred(sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, F: np.ndarray) -> sp.csc_array:
    """D from the relationships of parents, for populations without inbreeding.

    d_ij = ¼ (a_{s_i s_j} a_{d_i d_j} + a_{s_i d_j} a_{d_i s_j}), 0 if a parent is unknown (Cockerham 1954, Genetics
    39:859; Mrode, Linear Models, 3rd ed., eq. 12.2). The diagonal is 1 − F, as in nadiv's makeD.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance, F : numpy.ndarray, shape (n,)
        Mendelian variances and inbreeding coefficients.

    Returns
    -------
    scipy.sparse.csc_array, shape (n, n)

    Raises
    ------
    RelationshipError
        For more than 20,000 parents.
    """
    n = len(sire)
    both = np.flatnonzero((sire >= 0) & (dam >= 0))
    parents = np.unique(np.concatenate([sire[both], dam[both]]))
    A = numerator_matrix.matrix(sire, dam, variance, parents)
    # Full sibs have the same row: one per mating.
    pairs = np.column_stack([np.searchsorted(parents, sire[both]), np.searchsorted(parents, dam[both])])
    matings, mating = np.unique(pairs, axis=0, return_inverse=True)
    mating = mating.ravel()
    father, mother = matings.T if len(matings) else np.empty((2, 0), dtype=int)
    blocks = [sp.csr_array((0, len(matings)))]
    for first in range(0, len(matings), _BLOCK):
        s, d = father[first : first + _BLOCK], mother[first : first + _BLOCK]
        same = A[np.ix_(s, father)] * A[np.ix_(d, mother)]
        blocks.append(sp.csr_array(0.25 * (same + A[np.ix_(s, mother)] * A[np.ix_(d, father)])))
    between = sp.csr_array(sp.vstack(blocks))
    spread = sp.coo_array((np.ones(both.size), (both, mating)), shape=(n, len(matings))).tocsr()
    D = sp.csr_array(spread @ between @ spread.T)
    return sp.csc_array(D + sp.diags_array(1.0 - F - D.diagonal()))


@interrupted_as_such
def general(sire: np.ndarray, dam: np.ndarray) -> np.ndarray:
    """D with inbreeding: Δ₇, the probability that neither animal is inbred and they share both genes.

    Of the nine condensed identity states (Jacquard 1974) it is the seventh that multiplies the dominance variance of
    the base in the covariance of inbred relatives (Harris 1964, Genetics 50:1319; de Boer & Hoeschele 1993, Theor
    Appl Genet 86:245); on the diagonal it is 1 − F. From generalised kinship coefficients (Karigl 1981, Ann Hum Genet
    45:299, rows 7 and 9 of his table), Δ₇ = 8 [Φ(ij, ij) − Φ(i, i, j, j)], where Φ(ij, kl) is the probability that
    genes drawn from i and j are identical and those from k and l as well, Φ(i, j, k, l) that all four are.

    Returns
    -------
    numpy.ndarray, shape (n, n)

    Raises
    ------
    RelationshipError
        For more than 400 animals.
    """
    n = len(sire)
    if n > GENERAL_LIMIT:
        raise RelationshipError(
            f"Exact dominance relationships need identity coefficients of four genes at a time; this pedigree has "
            f"{n:,} animals, and the limit is {GENERAL_LIMIT}. Prune it to the animals you need (`prune`), or use "
            'dominance(method="noninbred").'
        )
    from remlblup.relationship.descent import identity_kernels as kernels

    kinship = 0.5 * numerator.tabular(sire, dam)
    return kernels.seventh_identity(np.asarray(sire, dtype=np.int64), np.asarray(dam, dtype=np.int64), kinship)


class OfPedigree(Protocol):
    """What is asked of a pedigree here."""

    labels: np.ndarray
    sire: np.ndarray
    dam: np.ndarray
    unknown_codes: frozenset[str] | None

    @property
    def inbreeding(self) -> np.ndarray: ...
    @property
    def _true_variance(self) -> np.ndarray: ...


def dominance_relationship(pedigree: OfPedigree, method: str) -> MatrixRelationship:
    """D of a pedigree as a relationship."""
    if method == "general":
        D = general(pedigree.sire, pedigree.dam)
    else:
        D = noninbred(pedigree.sire, pedigree.dam, pedigree._true_variance, pedigree.inbreeding)
        D = D if D.nnz < 0.1 * D.shape[0] ** 2 else D.toarray()
    result = MatrixRelationship(D, pedigree.labels)
    result.unknown_codes = pedigree.unknown_codes
    return result
