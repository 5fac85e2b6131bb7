"""The same model for another response: its matrices, its order of elimination and its reductions serve again."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.choice import make_equations
from remlblup.fit.estimates import Estimates
from remlblup.model.other_response import read_response, with_response
from remlblup.model.specification import Specification
from remlblup.reml.convergence import say_unconverged
from remlblup.reml.searches import search_of

F = TypeVar("F", bound=Estimates)


def held_values(fit: Estimates) -> Array:
    """(n_parameters,) values held by fix=, NaN elsewhere."""
    return np.where(fit._optimum.held, fit.theta, np.nan)


def equations_of(fit: Estimates) -> Equations:
    """The equations of the model a fit is of, as a search begins with."""
    equations = fit._equations
    own = equations.searched is equations or fit.specification.residual.dense
    return equations if own else make_equations(fit.specification, equations.asked)


def responded(equations: Equations, spec: Specification, ml: bool) -> Equations:
    """The equations for another response; what both share is made before."""
    if ml and spec.random:
        _ = getattr(equations, "random_system", None)
    return equations.with_response(spec)


def refit(fit: F, y: Any) -> F:
    """See `Fit.refit`."""
    spec = with_response(fit.specification, read_response(fit.specification, y))
    equations = responded(equations_of(fit), spec, fit.options.ml)
    optimum = search_of(equations, fit.options, held_values(fit)).highest(np.full(len(fit.theta), np.nan))
    say_unconverged(optimum.convergence)
    return type(fit)(optimum, fit.options)
