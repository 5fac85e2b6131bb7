"""What a search tries next: the steps of an algorithm, best first, until one raises ℓ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.variance.expected_information import ExpectedInformation
from remlblup.errors import NotPositiveDefiniteError
from remlblup.reml.ascent import Ascent
from remlblup.reml.em import complete_information, em_update, px_em_update
from remlblup.reml.observed import observed
from remlblup.reml.point import Point
from remlblup.reml.step import across, inside, near_faces, propose, release
from remlblup.reml.strata import has_strata, in_strata
from remlblup.reml.surface import Surface

# Steps tried in turn until one raises ℓ: (name, weight of the EM information, of the diagonal of AI, fraction).
# A negative weight stands for the expected information in place of the average one.
LADDERS = {
    "auto": (
        ("AI", 0.0, 0.0, 1.0), ("AI/2", 0.0, 0.0, 0.5), ("AI+EM", 0.3, 0.0, 1.0), ("AI+3EM", 3.0, 0.0, 1.0),
        ("AI+D/1000", 0.0, 0.001, 1.0), ("AI+D/30", 0.0, 0.03, 1.0), ("AI+D", 0.0, 1.0, 1.0),
        ("AI/16", 0.0, 0.0, 1 / 16), ("EM", np.inf, 0.0, 1.0), ("EM/8", np.inf, 0.0, 1 / 8), ("AI+99D", 0.0, 99.0, 1.0),
    ),
    "ai": tuple((f"AI/{2**k}" if k else "AI", 0.0, 0.0, 0.5**k) for k in range(12)),
    # Without constraints a step may end far outside of where V is positive definite; the expected information sees it.
    "free": (
        ("AI", 0.0, 0.0, 1.0), ("AI/2", 0.0, 0.0, 0.5), ("AI/4", 0.0, 0.0, 0.25),
        *((f"F/{2**k}" if k else "F", -1.0, 0.0, 0.5**k) for k in range(8)),
        *((f"AI/{2**k}", 0.0, 0.0, 0.5**k) for k in (*range(3, 12), *range(14, 42, 3))),
    ),
}  # fmt: skip
# Parts of a Newton step by the observed information.
PARTS = 1.0, 0.25, 0.0625
# The share of a variance that a first step leaves where it would go to the bound: from far away that says little.
SHORT = 0.1
# Up to this many records the expected information is worth its price.
FEW_RECORDS = 600


class Strategy(Protocol):
    """An algorithm."""

    def proposals(self, point: Point) -> Iterator[tuple[str, Array]]:
        """Names and θ of what to try from a point."""
        ...


def strategy(surface: Surface, ascent: Ascent, algorithm: str, begins: str) -> Strategy:
    """The algorithm of that name; the search `begins` at a "given" θ, by "moments" or else far away, at a "start"."""
    if algorithm in ("em", "px-em"):
        return ExpectationMaximization(surface, expanded=algorithm == "px-em")
    return Automatic(surface, ascent, begins) if algorithm == "auto" else Ladder(surface, ascent, algorithm)


class ExpectationMaximization:
    """EM rounds, with the parameters expanded or not."""

    def __init__(self, surface: Surface, expanded: bool):
        self.surface, self.expanded = surface, expanded

    def proposals(self, point: Point) -> Iterator[tuple[str, Array]]:
        equations, space = self.surface.equations, self.surface.space
        update = px_em_update if self.expanded else em_update
        yield ("PX-EM" if self.expanded else "EM"), update(equations, point.score, space.held, space.units)


class Ladder:
    """Newton steps by average, expected and complete information, whole and in part."""

    def __init__(self, surface: Surface, ascent: Ascent, name: str):
        self.surface, self.ascent = surface, ascent
        # EM keeps variances positive: without constraints it is no help, and creeps where one should change sign.
        self.rungs = LADDERS[name if surface.space.constrain else "free"]

    def proposals(self, point: Point) -> Iterator[tuple[str, Array]]:
        space, reluctant = self.surface.space, self.ascent.reluctant
        complete: Array | None = None
        expected: Array | None = None
        for name, weight, damping, fraction in self.rungs:
            if weight < 0.0:
                expected = self.expected(point.theta) if expected is None else expected
                if len(expected):
                    yield name, propose(space, point, expected, fraction, reluctant)
                continue
            if weight and complete is None:
                complete = complete_information(self.surface.equations, point.theta, space.units, point.information)
            information = point.information
            if weight:
                assert complete is not None
                information = complete if np.isinf(weight) else information + weight * complete
            if damping:  # Levenberg: where a direction has next to no information
                information = information + damping * np.diag(np.diag(information))
            known = self.ascent.secant.last if weight == damping == 0.0 else None
            yield name, propose(space, point, information, fraction, reluctant, known)

    def expected(self, theta: Array) -> Array:
        """The expected information at θ; empty where it costs too much, or V is singular but for rounding."""
        if self.surface.equations.spec.n > FEW_RECORDS:
            return np.zeros((0, 0))
        try:
            return self._expected.at(theta)
        except NotPositiveDefiniteError:
            return np.zeros((0, 0))

    @cached_property
    def _expected(self) -> ExpectedInformation:
        return ExpectedInformation(self.surface.equations.spec, self.surface.ml)


class Automatic(Ladder):
    """The ladder with what is better than a plain step before it, and what is left to try after it."""

    def __init__(self, surface: Surface, ascent: Ascent, begins: str):
        super().__init__(surface, ascent, "auto")
        self.begins = begins

    def proposals(self, point: Point) -> Iterator[tuple[str, Array]]:
        yield from self.before(point)
        yield from super().proposals(point)
        yield from self.after(point)

    def before(self, point: Point) -> Iterator[tuple[str, Array]]:
        """The step by strata, a first round of EM, the way to another face, off a face, and the secant step."""
        equations, space, reluctant = self.surface.equations, self.surface.space, self.ascent.reluctant
        first = self.begins if len(self.ascent.rows) == 1 else ""
        if not self.ascent.creeps():
            yield from self.by_strata(point, SHORT if first in ("start", "moments") else 0.0)
        if first == "moments":
            theta = propose(space, point, point.information, 1.0, reluctant, self.ascent.secant.last)
            yield "AI", np.where(np.isfinite(space.box[0]), np.maximum(theta, SHORT * point.theta), theta)
        if first == "start" and len(space.held) > 1:
            updated = px_em_update(equations, point.score, space.held, space.units)
            yield "EM" if equations.expansion is None else "PX-EM", updated
        face = across(space, point, point.information, reluctant)
        if face is not None:
            yield "face", face
        for released in release(space, point, point.charts, 1e-6):
            yield "release", released
        if self.ascent.creeps():
            yield from self.newton(point)
        learnt = self.ascent.secant.corrected()
        if learnt is not None:
            yield "AI+QN", propose(space, point, point.information, 1.0, reluctant, learnt)

    def by_strata(self, point: Point, least: float) -> Iterator[tuple[str, Array]]:
        """The step in the precisions of the strata, if it stays inside the parameter space;
        no variance falls below its share `least`."""
        space, secant = self.surface.space, self.ascent.secant
        if point.charts or not has_strata(space) or secant.last is None or not np.count_nonzero(secant.last.free):
            return
        learnt = secant.corrected()
        theta = in_strata(space, point.theta, secant.last, (learnt or secant.last).direction(), least)
        if theta is not None and inside(space, point.theta, theta):
            yield ("strata" if learnt is None else "strata+QN"), theta

    def after(self, point: Point) -> Iterator[tuple[str, Array]]:
        """Off a face that is near, and Newton's own step."""
        space = self.surface.space
        for released in release(space, point, near_faces(space, point), 1e-6):
            yield "release", released
        if not self.ascent.creeps():  # else it was tried before all others
            yield from self.newton(point)

    def newton(self, point: Point) -> Iterator[tuple[str, Array]]:
        """Steps by the observed information."""
        model = observed(self.surface, point)
        for fraction in PARTS if model is not None else ():
            yield (
                "Newton",
                propose(self.surface.space, point, point.information, fraction, self.ascent.reluctant, model),
            )
