"""Equations that do not divide by R: V itself, with the residual among the effects.

Where R is singular, or without constraints negative, V may be positive definite all the same. Then ℓ, its score and its
information are those of the model whose residual is a random term (`remlblup.model.residual_effects`), and the tables
are those of the model itself, at the same V.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.computation import Computation
from remlblup.equations.memory import Memory
from remlblup.equations.solution import ScoreMatrices
from remlblup.equations.variance.engine import VarianceEquations, VarianceSolution
from remlblup.equations.variance.projection import Projection
from remlblup.errors import NotPositiveDefiniteError
from remlblup.model.residual_effects import residual_as_effects
from remlblup.model.specification import Specification

# With no R to keep it positive definite, V of which less than this is left of a pivot is singular but for rounding.
SINGULAR_V = 1e-9


def with_residual_effects(spec: Specification, asked: Computation) -> VarianceEquations:
    """The equations of the model with its residual among the random terms.

    Raises
    ------
    MemoryLimitError, ModelError
        If V does not fit into memory, or R as one matrix is too large.
    """
    reason = "the residual covariance matrix has no " + ("sparse inverse" if spec.residual.dense else "inverse")
    return VarianceEquations(residual_as_effects(spec), reason, SINGULAR_V, beside_fixed=True, device=asked.device)


class WithoutInverse(Projection):
    """The model's own equations and tables at any R, by the V of `effects`.

    Parameters
    ----------
    spec : Specification
    effects : the equations of the same model with its residual among the random terms
    asked : of the model
    """

    kind = "V with the residual among the effects"

    def __init__(self, spec: Specification, effects: VarianceEquations, asked: Computation):
        self.effects_of_all, self.asked = effects, asked
        super().__init__(spec, spec.random)
        self.bench, self.stats, self.X = effects.bench, effects.stats, effects.X

    def with_response(self, spec: Specification) -> Self:
        out = super().with_response(spec)
        effects = self.effects_of_all
        out.effects_of_all = effects.with_response(effects.spec.with_response(spec.y, records=spec.records))
        out.bench = out.effects_of_all.bench
        return out

    @property
    def n_filled(self) -> int:
        return 0

    @property
    def searched(self) -> VarianceEquations:
        return self.effects_of_all

    @property
    def memory(self) -> Memory:
        return self.effects_of_all.memory

    def solve(self, theta: Array, *, ml: bool = False) -> VarianceSolution:
        try:
            found = self.effects_of_all.solve(theta, ml=ml)
        except NotPositiveDefiniteError:
            raise NotPositiveDefiniteError(
                "V is not positive definite at these variances: R has no inverse, and the random effects do not make up"
                " for it in every record. Give R a positive variance."
            ) from None
        return replace(found, residual=self.times_residual(theta, found.weighted_residual), equations=self)

    def score_matrices(self, solution: VarianceSolution, units: list[Array], ml: bool) -> ScoreMatrices:
        raise TypeError("without an inverse of R there is no score: it is that of `searched`")

    def require(self, solution: VarianceSolution) -> None:
        self.effects_of_all.require(solution)

    def solve_columns(self, solution: VarianceSolution, columns: Array) -> Array:
        return self.effects_of_all.solve_columns(solution, columns)

    def times_residual(self, theta: Array, v: Array) -> Array:
        """R v = Σ_r Z_r (Σ_r ⊗ I) Z_r'v over the effects of the residual."""
        spec, first = self.effects_of_all.spec, len(self.random)
        columns = v.reshape(len(v), -1)
        out = spec.residual.multiply(theta[spec.parameters.of_residual], columns)  # zero, or known
        for design, part in zip(spec.random[first:], spec.parameters.split(theta)[first:-1], strict=True):
            Z = sp.hstack(design.columns, format="csr")
            scores = (Z.T @ columns).reshape(design.t, -1)
            out += Z @ (design.structure.covariance(part) @ scores).reshape(design.t * design.q, -1)
        return out.reshape(v.shape)
