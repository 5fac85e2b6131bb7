"""Products with genomic relationships, a block of markers at a time: K V = Σ_c W_c (W_c' V).

The seam between the mathematics, which asks for sums over blocks, and where they are computed: on the threads of this
machine (`workers.Threads`) or on the user's Dask cluster (`dask.DaskWorkers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.genomic.codings import Coding, coded
from remlblup.relationship.genomic.genotypes import Genotypes

MARKERS = 1024
"""Markers of a block. The digits of a sum follow from it, so that it never depends on the workers at hand."""


class Block(Protocol):
    """A summand of a product: small and picklable, loads its own data where it runs."""

    def times(self, V: Array) -> Array:
        """W_c (W_c' V), (n, k), for V (n, k): W_c the coded genotypes of its markers, such that K = Σ_c W_c W_c'."""
        ...


class Workers(Protocol):
    """Where blocks are multiplied."""

    def total(self, blocks: Sequence[Block], V: Array) -> Array:
        """Σ_c W_c (W_c' V), (n, k): by a fixed tree over the numbers of the blocks, the same bits with any workers."""
        ...

    def describe(self) -> str:
        """Where products run, in words for a report."""
        ...


@dataclass(frozen=True)
class GenotypeBlock:
    """Markers start to stop − 1 of genotypes in memory.

    Attributes
    ----------
    genotypes : all of them
    start, stop : markers of this block
    table : (stop − start, 4) codes of 0, 1, 2 copies and of a missing genotype, over the root of the coding's divisor
    """

    genotypes: Genotypes
    start: int
    stop: int
    table: np.ndarray

    @single_threaded
    def times(self, V: Array) -> Array:
        """W (W' V); see `Block`."""
        W = coded(self.genotypes.block(self.start, self.stop), self.table)
        return W @ (W.T @ V)


def genotype_blocks(genotypes: Genotypes, coding: Coding, size: int = MARKERS) -> list[Block]:
    """Blocks whose sum of products is K V, with K = Z Z' / divisor of the coding.

    A diagonal of its own (`Coding.diagonal`, method "yang") is not in them.
    """
    table = coding.table / np.sqrt(coding.divisor)
    m = genotypes.shape[1]
    places = [slice(start, min(start + size, m)) for start in range(0, m, size)]
    return [GenotypeBlock(genotypes, p.start, p.stop, table[p]) for p in places]
