"""Products with genomic relationships, a block of markers at a time: K V = Σ_c W_c (W_c' V).

The seam between the mathematics, which asks for sums over blocks, and where they are computed: on the threads of this
machine (`workers.Threads`) or on the user's Dask cluster (`dask_workers.DaskWorkers`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from remlblup.arrays import Array, chunks_of
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genomic.codings import Coding
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.parts import Part
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.single_step.relationship import SingleStep

MARKERS = 1024
"""Markers of a block. The digits of a sum follow from it, so that it never depends on the workers at hand."""


class Block(Protocol):
    """A summand of a product: small and picklable, loads its own data where it runs."""

    def times(self, V: Array) -> Array:
        """W_c (W_c' V), (n, k), for V (n, k): W_c the coded genotypes of its markers, such that K = Σ_c W_c W_c'."""
        ...


class Workers(Protocol):
    """Where blocks are multiplied.

    Attributes
    ----------
    threads : of each worker
    """

    @property
    def threads(self) -> list[int]: ...

    def total(self, blocks: Sequence[Block], V: Array) -> Array:
        """Σ_c W_c (W_c' V), (n, k): by a fixed tree over the numbers of the blocks, the same bits with any workers."""
        ...

    def describe(self) -> str:
        """Where products run, in words for a report."""
        ...


@dataclass(frozen=True)
class GenotypeBlock:
    """Some markers of genotypes.

    Attributes
    ----------
    part : what reads and multiplies them
    table : (markers, 4) codes of 0, 1, 2 copies and of a missing genotype, over the root of the coding's divisor
    """

    part: Part
    table: np.ndarray

    @property
    def held(self) -> bool:
        """Whether the genotypes themselves lie in it."""
        return self.part.held

    def times(self, V: Array) -> Array:
        """W (W'V); see `Block`."""
        return self.part.product(self.table, V)


def genotype_blocks(genotypes: Genotypes, coding: Coding, size: int = MARKERS) -> list[Block]:
    """Blocks whose sum of products is K V, with K = Z Z' / divisor of the coding.

    A diagonal of its own (`Coding.diagonal`, method "yang") is not in them.
    """
    table = coding.table / np.sqrt(coding.divisor)
    m = genotypes.shape[1]
    places = chunks_of(m, size)
    return [GenotypeBlock(genotypes.part(p.start, p.stop), table[p]) for p in places]


def genomic_part(relationship: RelationshipBase) -> UnformedRelationship | None:
    """What of a relationship is multiplied by blocks of markers: K of genotypes, or G of single-step."""
    if isinstance(relationship, UnformedRelationship):
        return relationship
    if isinstance(relationship, SingleStep) and relationship.by_products is not None:
        return relationship.by_products.G
    return None
