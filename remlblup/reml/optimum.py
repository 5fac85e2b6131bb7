"""What a search is asked for, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import check_share, check_switch, choose, whole_number
from remlblup.reml.convergence import Convergence
from remlblup.reml.history import Iteration
from remlblup.reml.journal import Journal
from remlblup.reml.monte_carlo import MonteCarlo
from remlblup.reml.point import Point

METHODS = ("REML", "ML")
#: Algorithm → iterations it may take.
ALGORITHMS = {"auto": 200, "ai": 200, "em": 20_000, "px-em": 20_000}


@dataclass(frozen=True)
class Options:
    """How to fit: see `MixedModel.fit`."""

    ml: bool = False
    algorithm: str = "auto"
    constrain: bool = True
    max_iterations: int = 200
    tolerance: float = 1e-8
    seed: int = 0
    probes: int | None = None
    journal: Journal | None = field(default=None, compare=False, repr=False)

    @classmethod
    def checked(
        cls,
        method: str,
        algorithm: str,
        constrain: bool,
        max_iterations: int | None,
        tolerance: float,
        seed: int = 0,
        probes: int | None = None,
    ) -> Options:
        """As the user gives them.

        Raises
        ------
        OptionError
            If one of them is not known, or has a value it cannot take.
        """
        choose("method", method, METHODS)
        choose("algorithm", algorithm, ALGORITHMS)
        limit = ALGORITHMS[algorithm] if max_iterations is None else whole_number("max_iterations", max_iterations, 1)
        check_switch("constrain", constrain)
        check_share("tolerance", tolerance)
        seed = whole_number("seed", seed, 0)
        probes = probes if probes is None else whole_number("probes", probes, 2)
        return cls(method == "ML", algorithm, bool(constrain), limit, float(tolerance), seed, probes)


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
    monte_carlo : what probes add to the error of θ̂; None of an engine without
    fitted_on : the device the search was on, if `equations` were made again on another; else ""
    turned : the same optimum around the records, if the origin of a term's covariates is far from them
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
    monte_carlo: MonteCarlo | None = None
    fitted_on: str = ""
    turned: Turned | None = None

    @property
    def precise(self) -> Optimum:
        """The optimum in the coordinates with digits enough for derivatives of ℓ: the turned ones if there are any."""
        return self if self.turned is None else self.turned.optimum

    def own(self, directions: Array) -> Array:
        """θ or directions (n_parameters, …) of `precise` in the parameters of the model."""
        return directions if self.turned is None else self.turned.forth @ directions

    def turn(self, directions: Array) -> Array:
        """θ or directions (n_parameters, …) of the model in those of `precise`."""
        return directions if self.turned is None else self.turned.back @ directions

    def turned_slopes(self, slopes: Array) -> Array:
        """Slopes (…, n_parameters) by θ of the model as those by θ of `precise`: ∂/∂θ' = ∂/∂θ ∂θ/∂θ'."""
        return slopes if self.turned is None else slopes @ self.turned.forth


@dataclass(frozen=True)
class Turned:
    """An optimum around the records (`reml.origin`), and the way to the parameters of the model.

    Attributes
    ----------
    forth, back : (n_parameters, n_parameters) θ = forth θ' of the model, θ' = back θ of `optimum`
    """

    optimum: Optimum
    forth: Array
    back: Array
