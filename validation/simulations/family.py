"""What a simulated family is: how a data set is drawn, the model to fit, the truth,
and the quantities that are judged."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from remlblup import MixedModel
from remlblup.validation.dense import Array

#: A random generator → the data.
Draw = Callable[[np.random.Generator], pd.DataFrame]
#: term → parameter → value, as `start=` takes it.
Values = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Matrix:
    """Σ of a term whose parameters have no meaning of their own (loadings): its elements are judged instead.

    Attributes
    ----------
    term : in the formula
    effects : names of the rows
    sigma : parameters of the term → Σ
    """

    term: str
    effects: tuple[str, ...]
    sigma: Callable[[Mapping[str, float]], Array]


@dataclass(frozen=True)
class Family:
    """Data sets drawn from one model.

    Attributes
    ----------
    structure : the structure that is tried, for `--structure`
    design : the rest of the name
    formula, residual : the model fitted, which is the one that the data are drawn from
    draw : a random generator → the data
    truth : of every parameter
    relationships : as `MixedModel` takes them
    matrices : terms judged by the elements of Σ
    """

    structure: str
    design: str
    formula: str
    draw: Draw
    truth: Values
    residual: str = "units"
    relationships: Mapping[str, object] = field(default_factory=dict)
    matrices: tuple[Matrix, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.structure}.{self.design}"

    def quantities(self, values: Values) -> dict[str, float]:
        """What is judged, at given values of the parameters: the parameters, or the elements of Σ."""
        by_term = {m.term: m for m in self.matrices}
        out: dict[str, float] = {}
        for term, parameters in values.items():
            if term not in by_term:
                out |= {f"{term} {name}": value for name, value in parameters.items()}
                continue
            matrix = by_term[term]
            sigma = matrix.sigma(parameters)
            for i, a in enumerate(matrix.effects):
                out |= {f"{term} Σ({b}, {a})": float(sigma[i, j]) for j, b in enumerate(matrix.effects[: i + 1])}
        return out


def generator(family: Family, replicate: int) -> np.random.Generator:
    """The random numbers of one replicate: the same on every machine, others for every family and replicate."""
    return np.random.Generator(np.random.PCG64([zlib.crc32(family.name.encode()), replicate]))


def case_of(family: Family, replicate: int) -> tuple[MixedModel, pd.DataFrame]:
    """Model and data of one replicate."""
    data = family.draw(generator(family, replicate))
    return MixedModel(family.formula, data, dict(family.relationships) or None, family.residual), data
