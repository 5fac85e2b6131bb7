"""Equations around the records, where the origin of a term's covariates is far from them: slopes on years.

Equations square the condition of Z. With intercepts at the year 0 and slopes, W'R⁻¹W has entries 10⁶ times what is to
be told apart: ℓ, errors and degrees of freedom lose as many digits. With ZP in place of Z, P (t, t) such that the
columns of ZP are uncorrelated over the records, u = (P ⊗ I)u' and Σ = PΣ'P' are the same model. It is solved there, X
less its means, and told here: θ' = vech(P⁻¹ΣP⁻ᵀ) is linear in θ, û and all slopes by θ in theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.equations.memory import Memory
from remlblup.equations.record_errors import RecordErrors
from remlblup.equations.solution import ScoreMatrices
from remlblup.linalg.contract import FactorStats
from remlblup.model.design import RandomDesign, centred
from remlblup.model.specification import Specification
from remlblup.structure.base import Structure
from remlblup.structure.covariance.unstructured import Unstructured

# Smallest eigenvalue of the correlations (about zero) of a term's effects over the records: below it their origin is
# far, or Σ is lost in rounding.
FAR, ALIKE = 1e-4, 1e-9


def far_origins(spec: Specification) -> dict[int, Array]:
    """P of the terms of a free Σ whose origin is far from the records: PP' = M⁻¹, M their mean products.

    Independent effects (`||`) are left: at an origin that far they have no Σ' with more digits.
    """
    out = {}
    for k, design in enumerate(spec.random):
        if not isinstance(design.structure, Unstructured) or design.disjoint:
            continue
        if ALIKE < design.least_correlation < FAR:
            d, values, vectors = design.products
            out[k] = np.asarray(np.linalg.cholesky(np.outer(d, d) * ((vectors / values) @ vectors.T)), np.float64)
    return out


def columns_turned(design: RandomDesign, P: Array) -> RandomDesign:
    """The term with ZP for Z."""
    turned = [sum((Z * share for Z, share in zip(design.columns, column, strict=True) if share), 0) for column in P.T]
    columns = tuple(sp.csr_array(Z) for Z in turned)
    return replace(design, columns=columns, moments=P.T @ design.moments @ P)


def congruent(structure: Structure, theta: Array, A: Array) -> Array:
    """θ of AΣA' for that of Σ."""
    return structure.project(A @ structure.covariance(theta) @ A.T)


@dataclass
class TurnedSolution:
    """V(θ) solved around the records: `near` is that solution; what else is told is of the model itself."""

    near: Any
    theta: Array
    effects: Array
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def residual(self) -> Array:
        return self.near.residual

    @property
    def weighted_residual(self) -> Array:
        return self.near.weighted_residual

    @property
    def quadratic(self) -> float:
        return self.near.quadratic

    @property
    def b(self) -> Array | None:
        """In factor form they are the same: ZΛ = ZP P⁻¹Λ."""
        return self.near.b


class TurnedEquations(Equations):
    """A model by the equations of the same model with ZP for Z.

    Parameters
    ----------
    spec : the model
    turns : P (t, t) by the number of the term
    make : the equations of a model

    Attributes
    ----------
    near : the equations of the turned model
    """

    def __init__(self, spec: Specification, turns: Mapping[int, Array], make: Callable[[Specification], Equations]):
        self.turns = dict(turns)
        self.inverses: dict[int, Array] = {k: np.asarray(np.linalg.inv(P), np.float64) for k, P in turns.items()}
        random = tuple(columns_turned(d, turns[k]) if k in turns else d for k, d in enumerate(spec.random))
        fixed = spec.fixed
        if fixed.transform is None:
            work, transform = centred(fixed.matrix)
            spec = replace(spec, fixed=replace(fixed, work=work, transform=transform))
        self._stand_on(spec, make(replace(spec, random=random)))

    def _stand_on(self, spec: Specification, near: Equations) -> None:
        self.spec, self.near = spec, near
        self.random = tuple(d.in_equations for d in spec.random)
        self.p, self.residual, self.of_effects = near.p, near.residual, near.of_effects
        self.y, self.beta_ols, self.bench = near.y, near.beta_ols, near.bench
        self.asked, self.kind = near.asked, near.kind

    @cached_property
    def W(self) -> Any:
        return self._incidence()

    @cached_property
    def Wt(self) -> Any:
        return self.W.T if isinstance(self.W, np.ndarray) else sp.csr_array(self.W.T)

    @property
    def stats(self) -> FactorStats:  # type: ignore[override]
        return self.near.stats

    @property
    def seconds(self) -> dict[str, float]:
        return self.near.seconds

    @seconds.setter
    def seconds(self, value: dict[str, float]) -> None:
        self.near.seconds = value

    @property
    def memory(self) -> Memory:
        return self.near.memory

    @property
    def m(self) -> int:
        return self.near.m

    def dense_parts(self, k: int) -> tuple[str, ...]:
        return self.near.dense_parts(k)

    def with_structures(self, structures: Mapping[int, Structure]) -> Self:
        out = super().with_structures(structures)
        out.near = self.near.with_structures(structures)
        return out

    def with_response(self, spec: Specification) -> Self:
        spec = replace(spec, fixed=self.spec.fixed)
        out = super().with_response(spec)
        out._stand_on(spec, self.near.with_response(self.near.spec.with_response(spec.y, records=spec.records)))
        return out

    def _take(self, y: Array) -> None:
        """What is set down of the response is that of `near`."""

    # -- between the model and the turned one ------------------------------------------------

    @cached_property
    def forth(self) -> Array:
        """(n_parameters, n_parameters) of θ = forth θ'."""
        return self._of_theta(self.turns)

    @cached_property
    def back(self) -> Array:
        """(n_parameters, n_parameters) of θ' = back θ."""
        return self._of_theta(self.inverses)

    def _of_theta(self, turns: Mapping[int, Array]) -> Array:
        """Of Σ ↦ AΣA' of these terms as a linear map of θ."""
        parameters = self.spec.parameters
        out = np.eye(parameters.size)
        for k, A in turns.items():
            structure, place = parameters.structures[k], parameters.slices[k]
            units = np.eye(structure.n_parameters)
            out[place, place] = np.column_stack([congruent(structure, unit, A) for unit in units])
        return out

    def theta_near(self, theta: Array) -> Array:
        """θ' of Σ' = P⁻¹ΣP⁻ᵀ; what is not given stays so."""
        return self._moved(theta, self.inverses)

    def theta_here(self, theta: Array) -> Array:
        """θ of Σ = PΣ'P'; what is not given stays so."""
        return self._moved(theta, self.turns)

    def _moved(self, theta: Array, turns: Mapping[int, Array]) -> Array:
        theta, parameters = theta.copy(), self.spec.parameters
        for k, A in turns.items():
            structure, place = parameters.structures[k], parameters.slices[k]
            if not np.isnan(theta[place]).any():
                theta[place] = congruent(structure, theta[place], A)
        return theta

    def _effects(self, v: Array) -> Array:
        """(β_work, û) of (β_work, û'), (·,) or (·, c)."""
        v = v.copy()
        for k, P in self.turns.items():
            block = v[self.of_effects[k]]
            v[self.of_effects[k]] = (P @ block.reshape(len(P), -1)).reshape(block.shape)
        return v

    # -- one solve ---------------------------------------------------------------------------

    def require(self, solution: TurnedSolution) -> None:
        self.near.require(solution.near)

    def solve(self, theta: Array, *, ml: bool = False) -> TurnedSolution:
        return self._told(theta, self.near.solve(self.theta_near(theta), ml=ml))

    def _told(self, theta: Array, near: Any) -> TurnedSolution:
        return TurnedSolution(near, theta, self._effects(near.effects))

    def log_determinant(self, solution: TurnedSolution, ml: bool) -> float:
        return self.near.log_determinant(solution.near, ml)

    def solve_again(self, theta: Array, ml: bool, found: Any, nudged: Any) -> tuple[Any, Any]:
        at, where = self.near.solve_again(self.theta_near(theta), ml, found.near, nudged.near)
        return self._told(theta, at), self._told(theta, where)

    # -- first and second derivatives --------------------------------------------------------

    def score_matrices(self, solution: TurnedSolution, units: list[Array], ml: bool) -> ScoreMatrices:
        units, inverses = list(units), self.inverses
        for k, A in inverses.items():
            units[k] = A @ units[k] @ A.T
        of = self.near.score_matrices(solution.near, units, ml)
        S = tuple(
            one if one is None or k not in inverses else inverses[k].T @ one @ inverses[k]
            for k, one in enumerate(of.of_sigma)
        )
        moved = solution if of.solution is solution.near else self._told(solution.theta, of.solution)
        return ScoreMatrices(moved, S, of.of_factor, of.moments)

    def average_information(self, solution: TurnedSolution) -> Array:
        return self.back.T @ self.near.average_information(solution.near) @ self.back

    def relate(self, k: int, solution: TurnedSolution, r: Array, b: Array | None) -> Array:
        return self._related(self.near.relate, k, solution, r, b)

    def relate_recorded(self, k: int, solution: TurnedSolution, r: Array, b: Array | None) -> Array:
        return self._related(self.near.relate_recorded, k, solution, r, b)

    def _related(self, relate: Callable, k: int, solution: TurnedSolution, r: Array, b: Array | None) -> Array:
        """(I ⊗ K) r by that of r' = P'r."""
        if k not in self.turns:
            return relate(k, solution.near, r, b)
        return self.inverses[k].T @ relate(k, solution.near, self.turns[k].T @ r, b)

    def factor_blocks(self, b: Array | None) -> Any:
        return self.near.factor_blocks(b)

    # -- errors ------------------------------------------------------------------------------

    def level_covariances(self, solution: TurnedSolution) -> list[Array]:
        found = self.near.level_covariances(solution.near)
        return [self.turns[k] @ C @ self.turns[k].T if k in self.turns else C for k, C in enumerate(found)]

    def fixed_covariance(self, solution: TurnedSolution) -> Array:
        return self.near.fixed_covariance(solution.near)

    def fixed_variances(self, solution: TurnedSolution) -> Array:
        return self.near.fixed_variances(solution.near)

    def fixed_responses(self, solution: TurnedSolution) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        return self.near.fixed_responses(solution.near)

    def fixed_products(self, solution: TurnedSolution, chunk: slice) -> tuple[Array, list[Array], Array]:
        variances, products, moments = self.near.fixed_products(solution.near, chunk)
        inverses = self.inverses
        of_terms = [inverses[k].T @ r @ inverses[k] if k in inverses else r for k, r in enumerate(products)]
        return variances, of_terms, moments

    def respond(self, solution: TurnedSolution, V: Array) -> tuple[Array, Array]:
        effects, projected = self.near.respond(solution.near, V)
        return self._effects(effects), projected

    def before_projection(self, solution: TurnedSolution, records: np.ndarray, projection: Array) -> Array:
        return self.near.before_projection(solution.near, records, projection)

    def record_errors(self, solution: TurnedSolution) -> RecordErrors:
        return self.near.record_errors(solution.near)

    def fixed_cross_covariances(self, solution: TurnedSolution, columns: np.ndarray) -> list[Array]:
        found = self.near.fixed_cross_covariances(solution.near, columns)
        return [np.tensordot(self.turns[k], C, 1) if k in self.turns else C for k, C in enumerate(found)]

    def prediction_variances(self, solution: TurnedSolution, rows: Any) -> Array:
        parts = [sp.eye_array(self.p)]
        for k, design in enumerate(self.spec.random):
            parts.append(sp.kron(self.turns.get(k, np.eye(design.t)), sp.eye_array(design.relationship.size)))
        return self.near.prediction_variances(solution.near, rows @ sp.block_diag(parts, format="csr"))
