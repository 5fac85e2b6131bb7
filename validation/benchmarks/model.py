"""What a benchmark fits, in words that every program's formula can be made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Random:
    """A random term: intercepts of `group`, and slopes on `slope` correlated with them; or breeding values.

    Attributes
    ----------
    group : column of the levels
    slope : column of the covariate, None for intercepts alone
    pedigree : whether the levels are animals, with the numerator relationship matrix
    """

    group: str
    slope: str | None = None
    pedigree: bool = False

    @property
    def bar(self) -> str:
        """The term as lme4 (and remlblup) write it."""
        if self.pedigree:
            return f"(1 | vm({self.group}, A))"
        return f"(1 + {self.slope} | {self.group})" if self.slope else f"(1 | {self.group})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of its components in a result, the same for every program."""
        if self.slope is None:
            return (self.group,)
        return self.group, f"{self.group}.{self.slope}", f"{self.group}.cov"


@dataclass(frozen=True)
class Model:
    """response ~ fixed + random terms."""

    response: str
    fixed: str
    random: tuple[Random, ...]

    @property
    def fixed_formula(self) -> str:
        return f"{self.response} ~ {self.fixed}"

    @property
    def formula(self) -> str:
        """In the notation of lme4; ``vm(…)`` where there is a pedigree."""
        return " + ".join([self.fixed_formula, *(term.bar for term in self.random)])

    @property
    def pedigree(self) -> bool:
        return any(term.pedigree for term in self.random)

    @property
    def crossed(self) -> bool:
        """More than one grouping factor."""
        return len({term.group for term in self.random}) > 1

    @property
    def slopes(self) -> bool:
        return any(term.slope is not None for term in self.random)


@dataclass
class Data:
    """Records, the pedigree of an animal model (``id, sire, dam``, 0 unknown),
    genomic relationships and their labels."""

    frame: pd.DataFrame
    pedigree: pd.DataFrame | None = None
    genomic: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class Case:
    """One benchmark.

    Attributes
    ----------
    name, what : for the table and the list
    model : what is fitted
    build : makes the data; not timed
    missing : says why the case cannot be run here, "" if it can
    """

    name: str
    what: str
    model: Model
    build: Callable[[], Data]
    missing: Callable[[], str] = field(default=lambda: "")
