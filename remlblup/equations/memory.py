"""What a model takes of memory from its equations to its last table, phase by phase.

Figures are bytes above what the process holds once the model is made. They count arrays: what the libraries take
for themselves, and the compiled functions, are apart (`COMPILED`).
"""

from __future__ import annotations

from dataclasses import dataclass

from remlblup.linalg.memory import Need

COMPILED = 150e6
"""numba, LLVM and the compiled functions of the sparse factor, once in a process."""

WITHIN_REACH = 20_000_000
"""Elements of the columns of C⁻¹ for all fixed effects up to which they are computed for the degrees of freedom."""

ALLOCATOR = 1.05
"""What the allocator holds beside the arrays: pieces between them that are free and not given back
(`python -m remlblup.validation.memory` tells how near that is)."""


@dataclass(frozen=True)
class Memory:
    """Bytes by phase; what a phase leaves is there in those after it.

    Attributes
    ----------
    built : the equations
    iterated : the loop
    summarised : the tables of `summary`
    effects : the table of random effects, with prediction error variances
    """

    built: Need
    iterated: Need
    summarised: Need
    effects: Need

    @property
    def fit(self) -> float:
        """The most that `fit` takes."""
        return ALLOCATOR * self.built.then(self.iterated).peak

    @property
    def all(self) -> float:
        """The most that `fit`, `summary` and `random_effects` take."""
        return ALLOCATOR * self.built.then(self.iterated).then(self.summarised).then(self.effects).peak

    @property
    def ahead(self) -> float:
        """The most beside the factor itself, once that is all that is still to be made."""
        return ALLOCATOR * self.iterated.then(self.summarised).then(self.effects).peak
