"""Which engine works with a model, by predicted flops: the choice, its reason, and what an engine cannot do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from remlblup.equations.base import Equations
from remlblup.equations.computation import AUTO, Computation
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.turned import TurnedEquations, far_origins
from remlblup.errors import MemoryLimitError, OptionError, choose
from remlblup.linalg.factor import DENSE_LIMIT
from remlblup.model.design import RandomDesign
from remlblup.model.places import FEW_PLACES
from remlblup.model.specification import Specification
from remlblup.structure.base import Structure
from remlblup.structure.distance.base import Distance

# Flops, in units of a cube: V inverted once an iteration, for some twelve;
# a tridiagonal reduction runs at a quarter of the rate.
ITERATIONS, EIGEN = 12.0, 5.0
# Weights up to so far apart are no burden to a recurrence that does not know the variances.
SPREAD = 4.0


# Up to this many effects the products of a term's effects are listed in no time; flops in the time one takes.
FEW_EFFECTS, PRODUCT = 50, 2e4
# Said where there is too little memory.
BY_PRODUCTS = (
    "engine='stochastic' works by products, without a factorisation: its estimates have a Monte Carlo error, which it"
    " prints, and no log-likelihood."
)
# Up to this many records any way is quick.
FEW_RECORDS = 400


def make_equations(spec: Specification, asked: Computation = AUTO) -> Equations:
    """The equations of a model in the engine asked for, or in the one with the fewest flops.

    Raises
    ------
    OptionError
        If the engine cannot work with this model, with what it can do.
    MemoryLimitError
        If they do not fit into memory, with the engine that may do without them.
    """
    check_engine(spec, asked)
    try:
        return _turned(spec, asked, partial(_made, asked=asked))
    except MemoryLimitError as error:
        if asked.engine == "stochastic" or not_stochastic(spec):
            raise
        said = str(error)
    raise MemoryLimitError(f"{said} {BY_PRODUCTS}")


def _turned(spec: Specification, asked: Computation, make: Callable[[Specification], Equations]) -> Equations:
    """The equations that `make` makes, around the records where the origin of a term's covariates is far from them."""
    turns = {} if asked.engine == "stochastic" or spec.residual.dense else far_origins(spec)
    return TurnedEquations(spec, turns, make) if turns else make(spec)


def _made(spec: Specification, asked: Computation) -> Equations:
    engine = asked.engine
    if engine == "stochastic":
        return _stochastic(spec, asked)
    if spec.residual.dense:
        return _without_inverse(spec, asked)
    if asked.device != "cpu":
        return _variance(spec, "asked for", asked.device)
    if engine == "spectral":
        return _spectral(spec, "asked for")
    if engine == "auto" and (reason := wide_reason(spec)):
        return _variance(spec, reason)
    if engine == "auto" and has_dense_residual(spec):
        return _variance(spec, "R⁻¹ is known and has no zeros to keep")
    if engine == "sparse" or not dense_terms(spec):
        return MixedModelEquations(spec, engine)
    n, m = float(spec.n), float(spec.p + spec.n_random)
    if engine == "auto" and m <= DENSE_LIMIT and not any_singular(spec):
        return MixedModelEquations(spec, "dense")
    # Of the equations at least the dense blocks; what the sparse terms add is known once they are ordered.
    costs = {"equations": ITERATIONS * float(dense_order(spec)) ** 3}
    if not not_variance(spec):
        costs["V"] = ITERATIONS * n**3
    if engine == "auto" and not not_spectral(spec):
        costs["spectral"] = EIGEN * n**3
    in_equations = partial(MixedModelEquations, spec, "dense" if engine == "dense" or m <= DENSE_LIMIT else "sparse")
    equations: Equations | None = None
    if min(costs, key=lambda name: costs[name]) == "equations" and len(costs) > 1:
        equations = in_equations()
        costs["equations"] = 3.0 * ITERATIONS * equations.stats.flops
    best = min(costs, key=lambda name: (costs[name], name))
    others = ", ".join(f"{name} {cost:.2g}" for name, cost in costs.items() if name != best)
    reason = f"{costs[best]:.2g} flops against {others}" if others else "the only way to work with this model"
    if best != "equations":
        return _spectral(spec, reason) if best == "spectral" else _variance(spec, reason)
    equations = equations or in_equations()
    equations.stats = replace(
        equations.stats, ordering_reason=f"{equations.stats.ordering_reason}; equations: {reason}"
    )
    return equations


def equations_of_kind(spec: Specification, asked: Computation, kind: str | None) -> Equations:
    """The equations of a fit that was made before, whatever `make_equations` would take;
    without its kind what that takes."""
    if kind is None:
        return make_equations(spec, asked)
    return _turned(spec, asked, partial(_of_kind, asked=asked, kind=kind))


def _of_kind(spec: Specification, asked: Computation, kind: str) -> Equations:
    from remlblup.equations.variance.without_inverse import WithoutInverse

    if kind == MixedModelEquations.kind:
        return MixedModelEquations(spec, asked.engine)
    if kind == WithoutInverse.kind:
        return _without_inverse(spec, asked)
    choose("equations", kind, ("V", "spectral", "stochastic"))
    check_engine(spec, asked)
    if kind == "stochastic":
        return _stochastic(spec, asked)
    reason = "taken when the model was fitted"
    return _variance(spec, reason, asked.device) if kind == "V" else _spectral(spec, reason)


def wide_reason(spec: Specification) -> str | None:
    """Why V is less work than listing the products of the many effects of a term; None if it is more."""
    if dense_terms(spec) or not_variance(spec):
        return None
    lists = 0.0
    for design in spec.random:
        if design.t > FEW_EFFECTS:
            width = slots_by_row(design.structure)
            lists += float(width @ ((design.moments != 0.0) @ width))
    cost = ITERATIONS * float(spec.n) ** 3
    return f"{cost:.2g} flops against {lists:.2g} products of effects" if lists * PRODUCT > cost else None


def slots_by_row(structure: Structure) -> np.ndarray:
    """Entries of Λ in each of its t rows; of the lower triangle without listing them."""
    if type(structure).slots is Structure.slots:
        return np.minimum(np.arange(1.0, structure.size + 1.0), structure.n_factors)
    return np.bincount([i for i, _ in structure.slots], minlength=structure.size).astype(float)


def has_dense_residual(spec: Specification) -> bool:
    """Whether R⁻¹ is known and fills the equations of as many effects as records: V is a third of the work."""
    full = 4 * len(spec.residual.pattern.rows) > spec.n**2
    many = min(spec.n, 2 * spec.n_random) > FEW_RECORDS and 2 * spec.n_random > spec.n
    return full and many and not spec.residual.n_parameters and not not_variance(spec)


def check_engine(spec: Specification, asked: Computation) -> None:
    """Raise `OptionError` if the engine asked for cannot work with this model."""
    engine = asked.engine
    if engine == "sparse" and spec.residual.dense:
        raise OptionError(
            f"engine='sparse' needs a sparse inverse of R, and that of residual={spec.residual_text!r} is dense: leave"
            " engine= out."
        )
    wide = [d for d in spec.random if isinstance(d.structure, Distance) and d.t > FEW_PLACES]
    if engine == "sparse" and wide:
        raise OptionError(
            f"engine='sparse' lists the products of the effects of '{wide[0].name}', and {wide[0].t:,} places are too"
            f" many for that (at most {FEW_PLACES}): leave engine= out, or write engine='dense'."
        )
    if engine == "stochastic" and (why := not_stochastic(spec)):
        raise OptionError(f"engine='stochastic' works with V by products, and {why}: choose another engine.")
    if asked.device != "cpu" and (why := not_variance(spec)):
        raise OptionError(f"device={asked.device!r} works with V itself, and {why}: leave device= out.")
    if engine == "spectral" and (why := not_spectral(spec)):
        raise OptionError(
            f"engine='spectral' needs one relationship beside independent residuals: {why}. Use engine='auto'."
        )


def dense_order(spec: Specification) -> int:
    """Order of the dense blocks of the equations: X and the effects of dense relationships."""
    return spec.p + sum(d.t * d.q for d in dense_terms(spec))


def dense_terms(spec: Specification) -> list[RandomDesign]:
    """The terms over a relationship whose inverse is dense."""
    return [d for d in spec.random if not d.is_identity and not d.relationship.is_sparse]


def any_singular(spec: Specification) -> bool:
    """Whether a term has a relationship without an inverse."""
    return any(d.relationship.is_singular for d in spec.random)


def not_variance(spec: Specification) -> str | None:
    """Why V itself is no way to work with the model; None if it is."""
    written = [d.name for d in spec.random if d.structure.in_factor]
    if written:
        return f"'{written[0]}' is written in its factor"
    return "the residual structure fills in empty cells" if spec.residual.n_filled else None


def not_spectral(spec: Specification) -> str | None:
    """Why V cannot be made diagonal once for all; None if it can."""
    if len(spec.random) != 1:
        return f"there are {len(spec.random)} random terms"
    if spec.random[0].t != 1:
        return f"'{spec.random[0].name}' has {spec.random[0].t} effects"
    return None if spec.residual.keyword == "units" else f"the residual is '{spec.residual_text}'"


def not_stochastic(spec: Specification) -> str | None:
    """Why V cannot be multiplied with record by record; None if it can."""
    if spec.residual.dense:
        return f"the inverse of residual={spec.residual_text!r} is dense"
    return not_variance(spec)


def worth_sharing(spec: Specification, responses: int) -> bool:
    """Whether one spectral reduction for many responses is less work than each on its own."""
    if not_spectral(spec) or not dense_terms(spec):
        return False
    smaller = min(float(spec.n), float(spec.p + spec.n_random))
    return EIGEN * float(spec.n) ** 3 < ITERATIONS * responses * smaller**3


def shared_basis(spec: Specification, basis: Any = None) -> tuple[Equations, Any]:
    """Spectral equations on a decomposition made for another response, and that decomposition."""
    from remlblup.equations.variance.spectral import Basis, SpectralEquations

    basis = Basis.of(spec.random[0], spec.weights).formed() if basis is None else basis
    return SpectralEquations(spec, "the reduction serves several responses", basis), basis


def _without_inverse(spec: Specification, asked: Computation) -> Equations:
    from remlblup.equations.variance.without_inverse import WithoutInverse, with_residual_effects

    return WithoutInverse(spec, with_residual_effects(spec, asked), asked)


def _variance(spec: Specification, reason: str, device: str = "cpu") -> Equations:
    from remlblup.equations.variance.engine import VarianceEquations

    return VarianceEquations(spec, reason, device=device)


def _stochastic(spec: Specification, asked: Computation) -> Equations:
    from remlblup.equations.stochastic.engine import StochasticEquations
    from remlblup.equations.stochastic.one_relationship import OneRelationship

    # A single-step relationship, and weights far apart, are solved sooner with a preconditioner, anew at each θ.
    one = not not_spectral(spec) and dense_terms(spec) and spec.random[0].relationship.plainer is None
    one = one and float(np.max(spec.weights, initial=1.0)) <= SPREAD * float(np.min(spec.weights, initial=np.inf))
    return OneRelationship(spec, asked) if one else StochasticEquations(spec, asked)


def _spectral(spec: Specification, reason: str) -> Equations:
    from remlblup.equations.variance.spectral import SpectralEquations

    return SpectralEquations(spec, reason)
