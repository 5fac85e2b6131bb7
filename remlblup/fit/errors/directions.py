"""Coordinates of the parameters around an optimum, and the observed and expected information in them.

θ̂ moves along the tangent of its space: freely, or along the face of singular matrices that it lies on, where the
coordinates are those of the face and ℓ bends with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.errors import ModelError, NotPositiveDefiniteError, OptionError
from remlblup.fit.errors.expected import RECORDS as BY_SOLVES
from remlblup.fit.errors.expected import expected_by_solves
from remlblup.fit.errors.information import Information
from remlblup.reml.optimum import Optimum
from remlblup.reml.score import score
from remlblup.reml.space import Space, bounds
from remlblup.reml.start import residual_variance, unit_matrices

CHOICES = ("average", "observed", "expected")
# Records up to which the expected information is computed from V itself: a few matrices of that order are multiplied.
RECORDS = 1200
# Differences of the score over this share of a standard error, and at most this share of the way to a bound.
STEP, ROOM = 4e-3, 0.2


def information_of(optimum: Optimum, ml: bool, constrain: bool, average: Information, kind: str) -> Information:
    """The errors of θ̂ by one of the three informations, in the directions that the average one has any in.

    Raises
    ------
    ModelError
        If the observed information is not positive definite.
    OptionError
        If the expected one is out of reach.
    """
    if kind == "average" or not average.curved.shape[1]:
        return average
    around = Around(optimum, ml, constrain, average)
    matrix = around.observed if kind == "observed" else around.expected
    values, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
    if not values[0] > 0.0:
        raise ModelError(
            f"the {kind} information is not positive definite at these estimates: ask for information='average'."
        )
    return replace(average, curved=average.curved @ (vectors / np.sqrt(values)))


def coordinates_along(tangent: Array, along: Array) -> Array:
    """x with tangent x = along; parameters have units of their own, and so do the coordinates."""
    rows = np.max(np.abs(tangent), axis=1, initial=0.0)
    rows[rows == 0.0] = 1.0
    scaled = tangent / rows[:, None]
    columns = np.linalg.norm(scaled, axis=0)
    columns[columns == 0.0] = 1.0
    return np.linalg.lstsq(scaled / columns, along / rows[:, None], rcond=None)[0] / columns[:, None]


class Around:
    """ℓ near an optimum, in units of one standard error by the average information.

    Parameters
    ----------
    ml, constrain : the options of the fit
    average : the directions `curved` (n_parameters, c) that are looked along
    """

    def __init__(self, optimum: Optimum, ml: bool, constrain: bool, average: Information):
        self.optimum, self.ml, self.curved = optimum, ml, average.curved
        self.equations, self.theta = optimum.searched, optimum.point.theta
        parameters = self.equations.spec.parameters
        units = unit_matrices(self.equations, residual_variance(self.equations))
        lower, upper = bounds(parameters, constrain, np.zeros(parameters.residual.n_parameters))
        self.space = Space(self.equations, optimum.held, lower, upper, units, constrain)
        # The coordinates of the tangent that make up each direction.
        self.steps: Any = coordinates_along(optimum.tangent, self.curved)

    def moved(self, step: Array) -> Array:
        """θ at a step in the coordinates of the tangent."""
        theta, space = self.theta.copy(), self.space
        undefined = space.undefined(self.theta)
        charts = [(k, place) for k, place in space.cones if not undefined[place].all()]
        edges = [space.chart(k, self.theta) for k, _ in charts]
        last = len(step) - sum(int(edge.on_face.sum()) for edge in edges)
        theta += self.optimum.tangent[:, :last] @ step[:last]
        for (_, place), edge in zip(charts, edges, strict=True):
            own = np.zeros(len(edge.x))
            width = int(edge.on_face.sum())
            own[edge.on_face] = step[last : last + width]
            theta[place], last = edge.moved(own), last + width
        return theta

    def gradient(self, theta: Array) -> Array:
        """∂ℓ/∂θ."""
        solution = self.equations.solve(theta, ml=self.ml)
        return score(self.equations, solution, self.space.units, self.ml).gradient

    @cached_property
    def observed(self) -> Array:
        """−∂²ℓ along pairs of directions, (c, c): differences of the score, and of a face how it bends."""
        count = self.curved.shape[1]
        out = np.empty((count, count))
        for a in range(count):
            out[a] = -self.difference(a, self.gradient) @ self.curved
        return 0.5 * (out + out.T) - self._bend

    def difference(self, a: int, of: Callable[[Array], Array]) -> Array:
        """The slope of `of`(θ) along direction a."""
        h = self._step(a)
        ends = {s: of(self.moved(s * h * self.steps[:, a])) for s in (-2, -1, 1, 2)}
        return np.asarray((8.0 * (ends[1] - ends[-1]) - (ends[2] - ends[-2])) / (12.0 * h))

    @property
    def _bend(self) -> Array:
        """Σ_i ∂ℓ/∂θ_i ∂²θ_i: nothing where the score is zero."""
        g, count = self.optimum.point.gradient, self.curved.shape[1]
        singular = any(self.space.chart(k, self.theta).singular for k, _ in self.space.cones)
        out = np.zeros((count, count))
        if not singular:
            return out
        h = 1e-3

        def at(a: int, b: int, s: float, t: float) -> float:
            return float(g @ self.moved(h * (s * self.steps[:, a] + t * self.steps[:, b])))

        for a in range(count):
            for b in range(a + 1):
                mixed = at(a, b, 1, 1) - at(a, b, 1, -1) - at(a, b, -1, 1) + at(a, b, -1, -1)
                out[a, b] = out[b, a] = mixed / (4.0 * h * h)
        return out

    def _step(self, a: int) -> float:
        """How far to go along a direction: a share of a standard error, and never near a bound."""
        low, high = self.space.box
        away, direction = np.minimum(self.theta - low, high - self.theta), np.abs(self.curved[:, a])
        moving = direction > 0.0
        return min(STEP, ROOM * float(np.min(away[moving] / direction[moving], initial=np.inf)))

    @property
    def expected(self) -> Array:
        """E(−∂²ℓ) along pairs of directions, (c, c).

        From V itself for few records; else, where V is linear in θ, as twice the average information less the observed
        one (the average information is their mean: Gilmour, Thompson & Cullis 1995); else by a solve for each record.
        """
        spec = self.equations.spec
        if spec.n <= RECORDS:
            try:
                F = ExpectedInformation(spec, self.ml).at(self.theta)
            except NotPositiveDefiniteError as error:
                raise ModelError(f"there is no expected information here: {error}") from None
            return self.curved.T @ F @ self.curved
        structures = [d.structure for d in spec.random]
        linear = all(s.linear for s in structures) and bool(spec.residual.signed.all())
        if linear and not any(self.space.chart(k, self.theta).singular for k, _ in self.space.cones):
            average = 0.5 * (self.optimum.point.information + self.optimum.point.information.T)
            return 2.0 * self.curved.T @ average @ self.curved - self.observed
        if spec.n <= BY_SOLVES:
            return expected_by_solves(self.equations, self.theta, self.curved, self.ml)
        raise OptionError(
            f"information='expected' is out of reach for {spec.n:,} records with a covariance matrix that is not"
            f" linear in its parameters or singular: it takes a solve for each record (at most {BY_SOLVES:,})."
            " In reach are information='average' and 'observed'."
        )
