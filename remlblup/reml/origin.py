"""Searches around the records, where the origin of a term's covariates is far from them: slopes on years.

Σ of intercepts and slopes at the year 0 is the same model as Σ' at the centre, Σ = PΣ'P' with ZP in place of Z. But it
has entries 10⁶ times what is to be told apart, and too few digits for a search: the information is singular to
rounding, and steps and decrement lose the direction in which ℓ still rises. The search is made in Σ'
(`remlblup.equations.turned`); θ is brought back from where it ends. What is made of derivatives of ℓ (information,
errors, degrees of freedom) stays there, and its directions are brought back: vech(PΣ'P') is linear in vech(Σ').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.turned import TurnedEquations
from remlblup.reml.history import Iteration
from remlblup.reml.loop import Watch
from remlblup.reml.optimum import Optimum, Options, Turned
from remlblup.reml.space import Space, labels
from remlblup.reml.surface import Surface

Search = Callable[..., Optimum]


@dataclass(frozen=True)
class Centred:
    """A model whose terms with a far origin can be searched in Σ': nothing of Σ is held, or all of it."""

    equations: TurnedEquations
    constrain: bool

    @classmethod
    def of(cls, equations: Equations, constrain: bool, held: np.ndarray) -> Centred | None:
        """None where no origin is far, or Σ is `held` (n_parameters,) in part."""
        if not isinstance(equations, TurnedEquations):
            return None
        places = [equations.spec.parameters.slices[k] for k in equations.turns]
        whole = all(held[place].all() or not held[place].any() for place in places)
        return cls(equations, constrain) if whole else None

    def maximize(
        self,
        search: Search,
        options: Options,
        start: Array,
        fixed: Array,
        report: Callable[[Iteration], None] | None,
        watch: Watch | None,
    ) -> Optimum:
        """The end of a `search` of the turned model, in the parameters of the model itself."""
        equations = self.equations
        rows: list[Iteration] = []

        def note(row: Iteration) -> None:
            rows.append(replace(row, theta=self.told(row.theta, fixed)))
            if report is not None:
                report(rows[-1])

        def watched(theta: Array) -> str | None:
            return None if watch is None else watch(self.told(theta, fixed))

        near = [equations.theta_near(values) for values in (start, fixed)]
        return self.returned(search(equations.near, options, *near, note, watched), fixed, rows)

    def told(self, theta: Array, fixed: Array) -> Array:
        """θ of the model; what is held is what was given."""
        return np.where(np.isnan(fixed), self.equations.theta_here(theta), fixed)

    def returned(self, found: Optimum, fixed: Array, rows: Sequence[Iteration]) -> Optimum:
        """The optimum of the turned model as one of the model itself, with these rows of its history."""
        own, forth, back = self.equations, self.equations.forth, self.equations.back
        theta, ml = self.told(found.point.theta, fixed), found.point.score.ml
        space = Space.of(own, found.held, self.constrain)
        solution = own.solve(theta, ml=ml)
        point = Surface(own, space, ml).point(theta, found.point.loglik, solution)
        now = replace(point.score, gradient=back.T @ found.point.gradient)
        information = back.T @ found.point.information @ back
        point = replace(point, score=now, information=information, on_bound=found.point.on_bound)
        verdict = replace(found.convergence, boundary=labels(space, found.boundary))
        return Optimum(
            point,
            solution,
            verdict,
            tuple(rows),
            found.boundary,
            found.held,
            space.tangent(theta),
            own,
            own,
            turned=Turned(found, forth, back),
        )
