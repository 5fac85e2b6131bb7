"""What a search is asked for, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.reml.convergence import Convergence
from remlblup.reml.history import Iteration
from remlblup.reml.journal import Journal
from remlblup.reml.point import Point


@dataclass(frozen=True)
class Options:
    """How to fit: see `MixedModel.fit`."""

    ml: bool = False
    algorithm: str = "auto"
    constrain: bool = True
    max_iterations: int = 200
    tolerance: float = 1e-8
    journal: Journal | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Optimum:
    """Where the loop ended.

    Attributes
    ----------
    point : the last iterate (its `score.solution` is nudged where Σ is singular)
    solution : the equations solved at exactly θ
    convergence : the verdict
    iterations : the history
    boundary : (n_parameters,) True for components on the boundary
    held : (n_parameters,) True for components fixed by the user
    tangent : (n_parameters, k) directions the information is inverted in (`Space.tangent`)
    equations : those that `solution` belongs to, which the tables are made from
    searched : those that `point` belongs to: others where R is singular
    """

    point: Point
    solution: Any
    convergence: Convergence
    iterations: tuple[Iteration, ...]
    boundary: np.ndarray
    held: np.ndarray
    tangent: Array
    equations: Equations
    searched: Equations
