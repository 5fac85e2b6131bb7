"""The protocol of coordinates near a singular Σ, where no simple bounds keep Σ positive semidefinite.

θ itself is a poor coordinate there: the boundary is curved, and a step in θ leaves the parameter space. An `Edge`
gives coordinates x in which every step stays inside and a singular Σ is an ordinary point, where ∂θ/∂x vanishes
across its face. What it needs of ℓ is the score matrix S = ∂ℓ/∂Σ, or ∂ℓ/∂R for the correlations R alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array

# A pivot below this, in the metric of the unit matrix or of a correlation matrix, is zero: put on the boundary.
SNAP = 1e-9


@dataclass(frozen=True)
class Inward:
    """The direction off a singular face that raises ℓ fastest.

    Attributes
    ----------
    value : ∂ℓ along `change`; not positive at a maximum
    change : direction of the charted parameters
    towards : the parameters after an amount of it, inside the parameter space
    """

    value: float
    change: Array
    towards: Callable[[float], Array]


class Edge(ABC):
    """Coordinates x of the parameters that positive semidefiniteness bounds together (`Structure.charted`).

    Attributes
    ----------
    x : (n,) the coordinates of the point
    singular : whether Σ is singular there
    on_face : (n,) coordinates that move along the face of singular matrices the point lies on; all if not singular
    signature : points with equal signatures have comparable x
    """

    x: Array
    on_face: np.ndarray

    @property
    @abstractmethod
    def singular(self) -> bool: ...

    @property
    @abstractmethod
    def signature(self) -> Hashable: ...

    @abstractmethod
    def jacobian(self) -> Array:
        """∂θ/∂x of the charted parameters, (n, n)."""

    @abstractmethod
    def curvature(self, S: Array) -> Array:
        """What the bend of θ(x) adds to the curvature of −ℓ, kept convex: (n, n), from the score matrix S (t, t)."""

    @abstractmethod
    def moved(self, step: Array) -> Array:
        """The charted parameters at x + step; what is singular to working precision exactly so."""

    @abstractmethod
    def inward(self, S: Array) -> Inward:
        """The best direction off the face, given the score matrix S (t, t)."""

    def near_face(self, snap: float) -> Edge:
        """The coordinates around the singular matrix of which this one is within `snap`;
        themselves if there is none."""
        return self

    def best(self, gradient: Array, information: Array) -> Array | None:
        """The charted parameters at the maximum of a quadratic model over the whole set, all of its faces included.

        For coordinates that are themselves singular where faces meet; None where x is good everywhere.
        """
        return None


class Reordered(Edge):
    """The coordinates of another edge for the same parameters in another order.

    Parameters
    ----------
    edge : the coordinates
    order : (n,) where each parameter stands among those of `edge`
    """

    def __init__(self, edge: Edge, order: np.ndarray):
        self.edge, self.order = edge, order
        self.x, self.on_face = edge.x, edge.on_face

    @property
    def singular(self) -> bool:
        return self.edge.singular

    @property
    def signature(self) -> Hashable:
        return self.edge.signature

    def jacobian(self) -> Array:
        return self.edge.jacobian()[self.order]

    def curvature(self, S: Array) -> Array:
        return self.edge.curvature(S)

    def moved(self, step: Array) -> Array:
        return self.edge.moved(step)[self.order]

    def inward(self, S: Array) -> Inward:
        best = self.edge.inward(S)
        return Inward(best.value, best.change[self.order], lambda amount: best.towards(amount)[self.order])

    def near_face(self, snap: float) -> Edge:
        return Reordered(self.edge.near_face(snap), self.order)

    def best(self, gradient: Array, information: Array) -> Array | None:
        place = np.argsort(self.order)
        best = self.edge.best(gradient[place], information[np.ix_(place, place)])
        return None if best is None else best[self.order]
