"""An iterate with everything the next step needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.reml.score import Score
from remlblup.structure.edge.base import Edge


@dataclass(frozen=True)
class Point:
    """An iterate with everything the next step needs.

    Attributes
    ----------
    score, information : first derivatives and average information at θ
    charts : coordinates of each term whose Σ is singular at θ
    on_bound : (n_parameters,) components on a simple bound (`Space.at_bound`)
    """

    theta: Array
    loglik: float
    solution: Any
    score: Score
    information: Array
    charts: dict[int, Edge]
    on_bound: np.ndarray

    @property
    def gradient(self) -> Array:
        return self.score.gradient

    def change_from(self, other: Point, moving: np.ndarray) -> float:
        """Largest |Δθ_i| of the moving parameters over max(|θ_i|, 1/√AI_ii)."""
        curvature = self.information.diagonal()
        error = 1.0 / np.sqrt(np.where(curvature > 0.0, curvature, 1e300))
        size = np.maximum(np.abs(self.theta), error)
        return float((np.abs(self.theta - other.theta) / size)[moving].max(initial=0.0))
