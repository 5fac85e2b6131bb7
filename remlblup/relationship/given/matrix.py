"""A relationship matrix the user brings: dense or sparse, as itself or as its inverse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import RelationshipError, check_switch
from remlblup.linalg.memory import Need, all_within_memory
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase, are_all, conformable
from remlblup.relationship.given.checks import check_order, clean_labels, clean_matrix
from remlblup.relationship.given.factorisations import (
    cholesky,
    diagonal_of_inverse,
    invert,
    invert_blocks,
    sparse_factor,
)
from remlblup.relationship.given.frame import labelled_matrix
from remlblup.relationship.given.spectrum import Spectrum, bent
from remlblup.relationship.labels import as_items

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

#: Largest matrix (or connected block of one) that is turned into a dense one.
DENSE_LIMIT = 5000
#: Largest dense matrix whose definiteness is tested when it is given, and not at first use.
TESTED_AT_ONCE = 2000
# A pivot of K this much smaller than the largest: K⁻¹ would lose digits that the eigenvectors keep.
NEARLY_SINGULAR = 1e-6
# Vectors of random signs whose products with K tell the mean of its diagonal.
PROBES = 8


@all_within_memory
class MatrixRelationship(RelationshipBase):
    """A relationship given as a matrix K, or as K⁻¹. Public name: `Relationship`.

    Parameters
    ----------
    matrix : numpy.ndarray, pandas.DataFrame or scipy.sparse matrix, shape (q, q)
        Symmetric (to 1e-8 of its largest entry) and positive semidefinite; K⁻¹ must be positive definite. A
        singular or nearly singular K (genomic matrices of centred genotypes, clones) is used through its
        eigenvalues that are not zero: `rank` of them.
    labels : array-like, shape (q,), optional
        Levels in the order of the rows. May be left out for a data frame labelled by its index or columns.
    inverse : bool, optional
        True if `matrix` is K⁻¹.
    bend : float, optional
        Raise the eigenvalues of K below `bend` times their mean to it: makes an indefinite matrix positive definite.

    Raises
    ------
    RelationshipError
        If a data frame names the levels in another order than `labels`, the matrix is not square, holds values that are
        not finite, is not symmetric or is indefinite (with its smallest eigenvalue and the levels behind it), or the
        labels are missing, repeated or of another number. Matrices of more than 2000 levels are tested for definiteness
        at first use.

    Examples
    --------
    >>> rb.Relationship([[1.0, 0.5], [0.5, 1.0]], ["a", "b"]).size
    2
    """

    @single_threaded
    def __init__(
        self, matrix: object, labels: Iterable | None = None, inverse: bool = False, *, bend: float | None = None
    ) -> None:
        if isinstance(matrix, pd.DataFrame):
            if labels is None:
                matrix, labels, inverse = labelled_matrix(matrix, inverse)
            else:
                check_order(matrix, labels)
                matrix = matrix.to_numpy()
        check_switch("inverse", inverse)
        self._given = clean_matrix(matrix)
        self.inverse = bool(inverse)
        self.labels = clean_labels(labels, self._given.shape[0])
        if bend is not None:
            self._given, self.inverse = bent(self.dense(), bend), False
        if self.size <= TESTED_AT_ONCE:
            _ = self.rank  # factorises, and so finds out whether it is positive semidefinite

    @property
    def given(self) -> np.ndarray | sp.csc_array:
        """The matrix as it was given: K, or K⁻¹ if `inverse`."""
        return self._given

    @cached_property
    def scale(self) -> float:
        """The power of ten nearest to the mean diagonal of K; of a given inverse, to one over its own."""
        mean = float(np.mean(self._given.diagonal()))
        return 10.0 ** round(np.log10(1.0 / mean if self.inverse else mean)) if mean > 0.0 else 1.0

    @property
    def is_sparse(self) -> bool:
        """True if K⁻¹ has few entries per row."""
        return sp.issparse(self._given) and not self.is_singular and (self.inverse or self._blocks is not None)

    @property
    def rank(self) -> int:
        """Number of eigenvalues of K in use: q, or fewer if K is singular."""
        return self.size if self._spectrum is None else self._spectrum.rank

    @property
    def known_rank(self) -> int | None:
        """The rank if K has been factorised already."""
        return self.rank if "_spectrum" in self.__dict__ else None

    @property
    def root(self) -> np.ndarray | None:
        """L (q, rank) with K = LL' where K is singular or nearly so, else None."""
        return None if self._spectrum is None else self._spectrum.root

    @cached_property
    @single_threaded
    def _spectrum(self) -> Spectrum | None:
        """Eigenvalues and eigenvectors of a K that has no inverse, or none worth having."""
        if self.inverse:
            _ = self.logdet
            return None
        dense = isinstance(self._given, np.ndarray)
        try:
            ratio = self._smallest_pivot
        except RelationshipError:
            if self.size > DENSE_LIMIT and not dense:
                raise
            ratio = 0.0
        if ratio > NEARLY_SINGULAR or (self.size > DENSE_LIMIT and not dense):
            return None
        return Spectrum.of(self._given if isinstance(self._given, np.ndarray) else self._given.toarray(), self.labels)

    @property
    def _smallest_pivot(self) -> float:
        """Smallest over largest squared pivot of K."""
        if isinstance(self._given, np.ndarray):
            pivots = np.diag(self._cholesky) ** 2
        elif self._blocks is not None:
            return self._blocks[2]
        else:
            pivots = self._lu.U.diagonal()
        return float(pivots.min() / pivots.max())

    @cached_property
    @single_threaded
    def precision(self) -> sp.csc_array:
        """K⁻¹, shape (q, q), symmetric, both triangles stored.

        Raises
        ------
        RelationshipError
            If K is singular.
        """
        if self.is_singular and self.rank < self.size:
            raise RelationshipError(
                f"The relationship matrix has rank {self.rank} of {self.size}: it has no inverse. Models use it "
                "through `root`; for the inverse itself bend it (bend=0.001) or blend it first."
            )
        return self._given_sparse if self.inverse else self._inverse_sparse

    @property
    def need(self) -> Need:
        if not isinstance(self._given, np.ndarray):
            return Need.of(24.0 * self._given.nnz, 24.0 * self._given.nnz)
        # Its Cholesky factor and its inverse, and that as a sparse matrix; the first is there if it has been tested.
        made = self.size <= TESTED_AT_ONCE
        return Need.of((20.0 if made else 28.0) * self.size**2, 20.0 * self.size**2)

    @cached_property
    @single_threaded
    def logdet(self) -> float:
        """log|K|; of a singular K, of its eigenvalues in use."""
        if not self.inverse and self.known_rank is not None and self._spectrum is not None:
            return self._spectrum.logdet
        value = self._blocks[1] if self._blocks is not None else self._factor_logdet
        return -value if self.inverse else value

    @cached_property
    @single_threaded
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (q,)."""
        if not self.inverse:
            return np.array(self._given.diagonal())
        if self._blocks is not None:
            return self._blocks[0].diagonal()
        if isinstance(self._given, np.ndarray):
            return np.diag(self._inverse_dense).copy()
        return diagonal_of_inverse(self._lu, self.size)

    @cached_property
    def sizes(self) -> np.ndarray | float:
        """The diagonal of K; where K⁻¹ is given, its mean by a few products with random signs."""
        if self.inverse:
            signs = np.random.default_rng(1).choice([-1.0, 1.0], (self.size, PROBES))
            return float(np.mean(signs * self.multiply(signs)))
        diagonal = self.diagonal
        return float(diagonal[0]) if np.ptp(diagonal) == 0.0 else diagonal

    @single_threaded
    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (q,) or (q, m)."""
        V = conformable(V, self.size)
        if not self.inverse:
            return self._given @ V
        if isinstance(self._given, np.ndarray):
            return scipy.linalg.cho_solve((self._cholesky, True), V, check_finite=False)
        return self._lu.solve(np.ascontiguousarray(V))

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Columns of K at some positions, shape (q, m)."""
        if isinstance(self._given, np.ndarray) and not self.inverse:
            return self._given[:, positions]
        return super().columns(positions)

    def among(self, positions: np.ndarray) -> np.ndarray:
        """K among the levels at some positions, as an array of shape (m, m)."""
        if sp.issparse(self._given) and len(positions) <= DENSE_LIMIT < self.size:
            return super().among(positions)
        whole = self._whole()
        return whole if are_all(positions, self.size) else whole[np.ix_(positions, positions)]

    def _whole(self) -> np.ndarray:
        """K itself where it is kept, or made of a sparse matrix."""
        if isinstance(self._given, np.ndarray):
            return self._inverse_dense if self.inverse else self._given
        if self.size > DENSE_LIMIT:
            raise RelationshipError(
                f"A dense relationship matrix of {self.size:,} levels would take "
                f"{8e-9 * self.size**2:,.1f} GB. Use `precision` (its sparse inverse) or "
                "`multiply` (products with it)."
            )
        return (self._inverse_sparse if self.inverse else self._given_sparse).toarray()

    def subset(self, animals: Iterable) -> MatrixRelationship:
        """The relationship of some levels alone, dense.

        Parameters
        ----------
        animals : array-like of labels, shape (m,)
            Each once.
        """
        animals = as_items(animals)
        return MatrixRelationship(self.dense(animals), self.labels[self.index(animals)])

    def __repr__(self) -> str:
        kind = "sparse" if sp.issparse(self._given) else "dense"
        rank = "" if self.known_rank in (None, self.size) else f", rank {self.rank:,}"
        return f"Relationship({self.size:,} levels, {kind}{', given as inverse' if self.inverse else ''}{rank})"

    # Factorisations, each made once and only if something asks for it.

    @cached_property
    def _given_sparse(self) -> sp.csc_array:
        return sp.csc_array(self._given)

    @cached_property
    def _inverse_sparse(self) -> sp.csc_array:
        return self._blocks[0] if self._blocks is not None else sp.csc_array(self._inverse_dense)

    @cached_property
    def _cholesky(self) -> np.ndarray:
        return cholesky(self._given, self.inverse)

    @cached_property
    @single_threaded
    def _inverse_dense(self) -> np.ndarray:
        if not isinstance(self._given, np.ndarray):
            if self.size > DENSE_LIMIT:
                raise RelationshipError(
                    f"This sparse matrix of {self.size:,} levels has a connected part larger than "
                    f"{DENSE_LIMIT:,}, whose inverse would be dense. Give the inverse itself (inverse=True), "
                    "a dense matrix, or a pedigree."
                )
            return invert(cholesky(self._given.toarray(), self.inverse))
        return invert(self._cholesky)

    @cached_property
    def _factor_logdet(self) -> float:
        if isinstance(self._given, np.ndarray):
            return 2.0 * float(np.log(np.diag(self._cholesky)).sum())
        return float(np.log(self._lu.U.diagonal()).sum())

    @cached_property
    def _lu(self) -> SuperLU:
        return sparse_factor(self._given, self.inverse)

    @cached_property
    def _blocks(self) -> tuple[sp.csc_array, float, float] | None:
        """Inverse and log-determinant block by block, if the sparse matrix falls into small blocks."""
        if not sp.issparse(self._given):
            return None
        return invert_blocks(self._given, self.inverse, DENSE_LIMIT)


#: The public name: ``rb.Relationship(matrix, labels=None, inverse=False)``.
Relationship = MatrixRelationship
