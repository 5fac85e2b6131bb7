"""R of a Σ over effects or places that records of one unit share: its parameters are those of Σ."""

from __future__ import annotations

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure


class OfStructure(ResidualStructure):
    """R(φ) made of the elements of Σ(φ).

    Attributes
    ----------
    structure : Σ
    """

    structure: Structure

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self.structure.names

    @cached_property
    def lower(self) -> Array:
        return self.structure.lower

    @cached_property
    def upper(self) -> Array:
        return self.structure.upper
