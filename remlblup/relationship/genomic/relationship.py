"""Genomic relationships for models: K formed, or left in its genotypes, K = ZZ'/k multiplied block by block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import ModelError, OptionError, check_switch
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import Need, within_memory
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase, conformable
from remlblup.relationship.genomic.codings import Coding, coding
from remlblup.relationship.genomic.decoding import coded
from remlblup.relationship.genomic.genotypes import Genotypes, as_genotypes
from remlblup.relationship.genomic.matrix import Progress, block_size, formed, genomic_matrix, row_sums
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import tidy

# Codings that begin so are of pairs of markers, and no product ZZ'.
PAIRS = "additive_by_additive"


@known_arguments
@within_memory
def genomic_relationship(
    genotypes: Genotypes | pd.DataFrame,
    method: str = "vanraden1",
    frequencies: object = None,
    *,
    block: int | None = None,
    dtype: str = "float64",
    progress: bool | Progress | None = None,
    formed: bool = True,
) -> MatrixRelationship | UnformedRelationship:
    """`genomic_matrix` as a `Relationship`, ready for ``relationships={"G": …}``.

    Parameters
    ----------
    genotypes, method, frequencies, block, dtype, progress : as of `genomic_matrix`
    formed : bool
        If False, K is left in its genotypes, which are read whenever it is multiplied with: for
        ``engine="stochastic"``, past the memory that K would take. `block`, `dtype` and `progress` are then of no use.

    Returns
    -------
    Relationship, for ``relationships={"G": …}``

    Examples
    --------
    >>> genotypes = rb.Genotypes.from_matrix([[0, 1, 2], [2, 1, 0], [1, 1, 1]], ids=["a", "b", "c"])
    >>> rb.genomic_relationship(genotypes).labels.tolist()
    ['a', 'b', 'c']
    """
    genotypes = as_genotypes(genotypes)
    check_switch("formed", formed)
    if not formed:
        return UnformedRelationship(genotypes, method, frequencies)
    G = genomic_matrix(genotypes, method, frequencies, block=block, dtype=dtype, progress=progress)
    return MatrixRelationship(G.to_numpy(), genotypes.ids)


class UnformedRelationship(RelationshipBase):
    """K of genotypes, read block by block whenever it is multiplied with.

    For ``engine="stochastic"``, which asks for products alone. Other engines take K itself: it is formed for them when
    they ask, as by `genomic_relationship`.

    Parameters
    ----------
    genotypes : Genotypes
    method, frequencies : as of `genomic_relationship`
    known : their coding, where it has been kept

    Attributes
    ----------
    coding : what each genotype counts, and k
    """

    def __init__(
        self,
        genotypes: Genotypes,
        method: str = "vanraden1",
        frequencies: object = None,
        known: Coding | None = None,
    ) -> None:
        if str(method).startswith(PAIRS):
            raise OptionError(
                f"method={method!r} is no sum over markers, which is all that products take: leave formed=False out."
            )
        self.coding: Coding = known or coding(genotypes, method, frequencies)
        self.genotypes, self.method, self.frequencies = genotypes, method, frequencies
        self.labels = tidy(genotypes.ids)

    @property
    def is_sparse(self) -> bool:
        return False

    @property
    def known_rank(self) -> int | None:
        return None

    @property
    def note(self) -> str:
        m = self.genotypes.shape[1]
        return self.described or f"{self.method} of {m:,} markers, {self.genotypes._source.where}, not formed"

    @single_threaded
    def multiply(self, V: np.ndarray) -> np.ndarray:
        """K V for V of shape (q,) or (q, m), a block of markers at a time."""
        V = conformable(V, self.size)
        out = np.zeros_like(V)
        for place, values in self.genotypes.blocks(block_size(self.genotypes, None)):
            Z = coded(values, self.coding.table[place])
            out += Z @ (Z.T @ V)
        return self.beside(out / self.coding.divisor, V)

    @single_threaded
    def drawn(self, normal: Callable[[int], np.ndarray]) -> np.ndarray:
        """Draws from N(0, K), (q, c): W/√k of independent effects of the markers, a block of them at a time.

        Parameters
        ----------
        normal : so many rows of c standard normal numbers each

        Raises
        ------
        ModelError
            If K has a diagonal of its own that is less than that of WW'/k, so that it has no such draws.
        """
        out = np.zeros((self.size, 0))
        for place, values in self.genotypes.blocks(block_size(self.genotypes, None)):
            table = self.coding.table[place]
            part = coded(values, table) @ normal(len(table))
            out = out + part if out.size else part
        out = out / np.sqrt(self.coding.divisor)
        if self.own_diagonal is None:
            return out
        if self.own_diagonal.min() < 0.0:
            raise ModelError(
                f"K by method {self.method!r} may have eigenvalues below zero, so that there are no effects to draw:"
                " use 'vanraden1'."
            )
        return out + np.sqrt(self.own_diagonal)[:, None] * normal(self.size)

    def beside(self, product: np.ndarray, V: np.ndarray) -> np.ndarray:
        """K V, of ZZ'V/k: with the diagonal of its own where there is one."""
        if self.own_diagonal is None:
            return product
        return product + (self.own_diagonal * V.T).T

    @cached_property
    def own_diagonal(self) -> np.ndarray | None:
        """What the diagonal of K has beside that of ZZ'/k, (q,); None for nothing."""
        return None if self.coding.diagonal is None else self.diagonal - self._squares

    @cached_property
    def _squares(self) -> np.ndarray:
        """The diagonal of ZZ'/k, (q,)."""
        return self._row_sums(self.coding.table**2) / self.coding.divisor

    @cached_property
    def diagonal(self) -> np.ndarray:
        """Diagonal of K, shape (q,), by one pass over the genotypes."""
        if self.coding.diagonal is None:
            return self._squares
        return 1.0 + self._row_sums(self.coding.diagonal) / self.coding.used

    def _row_sums(self, table: np.ndarray) -> np.ndarray:
        """(q,) sums over the markers of a code (m, 4) of each individual's genotypes."""
        out = np.zeros(self.size)
        for place, values in self.genotypes.blocks(block_size(self.genotypes, None)):
            out += row_sums(values, table[place])
        return out

    # -- for engines that take K itself ---------------------------------------------------------------

    @cached_property
    def formed(self) -> MatrixRelationship:
        """K itself."""
        return MatrixRelationship(self.matrix(), self.labels)

    def matrix(self) -> np.ndarray:
        """K (q, q), made anew, of which nothing is kept."""
        return formed(self.genotypes, self.method, self.frequencies)[0]

    @property
    def precision(self) -> sp.csc_array:
        return self.formed.precision

    @property
    def logdet(self) -> float:
        return self.formed.logdet

    @property
    def root(self) -> np.ndarray | None:
        return self.formed.root

    @property
    def rank(self) -> int:
        return self.formed.rank

    @property
    def need(self) -> Need:
        return self.formed.need

    def among(self, positions: np.ndarray) -> np.ndarray:
        return self.formed.among(positions)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        return self.formed.columns(positions) if "formed" in self.__dict__ else super().columns(positions)

    def __repr__(self) -> str:
        n, m = self.genotypes.shape
        return f"UnformedRelationship({n:,} levels, {self.method} of {m:,} markers)"
