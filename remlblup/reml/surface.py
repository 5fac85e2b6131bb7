"""ℓ(θ) of a model over its parameter space: values, and points with their derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.reml.likelihood import likelihood_at
from remlblup.reml.point import Point
from remlblup.reml.score import score
from remlblup.reml.space import Space


@dataclass(frozen=True)
class Surface:
    """The likelihood that a search climbs.

    Attributes
    ----------
    equations : the model
    space : where θ may lie
    ml : whether ℓ is the full likelihood
    """

    equations: Equations
    space: Space
    ml: bool

    def loglik(self, theta: Array) -> tuple[float, Any | None]:
        """ℓ and the solved equations at θ; −∞ where V is not positive definite."""
        return likelihood_at(self.equations, theta, self.ml) if self.space.feasible(theta) else (-np.inf, None)

    def point(self, theta: Array, value: float, solution: Any) -> Point:
        """Score and average information at a solution."""
        now = score(self.equations, solution, self.space.units, self.ml)
        information = self.equations.average_information(now.solution)
        return Point(theta, value, solution, now, information, self.space.charts(theta), self.space.at_bound(theta))

    def at(self, theta: Array) -> Point | None:
        """The point at θ; None where V is not positive definite."""
        value, solution = self.loglik(theta)
        return None if solution is None else self.point(theta, value, solution)
