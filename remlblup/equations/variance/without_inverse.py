"""Equations that do not divide by R: V itself, with the residual among the effects.

Where R is singular, or without constraints negative, V may be positive definite all the same. Then ℓ, its score and its
information are those of the model whose residual is a random term (`remlblup.model.residual_effects`), and the tables
are those of the model itself, at the same V.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.variance.engine import VarianceEquations, VarianceSolution
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.dense.tiled import TiledCholesky
from remlblup.model.residual_effects import residual_as_effects
from remlblup.model.specification import Specification

# With no R to keep it positive definite, V of which less than this is left of a pivot is singular but for rounding.
SINGULAR_V = 1e-9


def with_residual_effects(spec: Specification) -> VarianceEquations:
    """The equations of the model with its residual among the random terms.

    Raises
    ------
    MemoryLimitError, ModelError
        If V does not fit into memory, or R as one matrix is too large.
    """
    reason = "the residual covariance matrix has no inverse"
    return VarianceEquations(residual_as_effects(spec), reason, SINGULAR_V, beside_fixed=True)


class WithoutInverse(VarianceEquations):
    """The model's own equations and tables at any R, by the V of `effects`.

    Parameters
    ----------
    spec : Specification
    effects : the equations of the same model with its residual among the random terms
    engine : as asked for
    """

    def __init__(self, spec: Specification, effects: VarianceEquations, engine: str):
        self.effects_of_all, self.engine = effects, engine
        Equations.__init__(self, spec, spec.random)
        self.lock = effects.lock
        self.stats, self.X = self.effects_of_all.stats, self.effects_of_all.X
        self.spreads = self.effects_of_all.spreads[: len(spec.random)]

    @property
    def n_filled(self) -> int:
        return 0

    @property
    def factor(self) -> TiledCholesky | None:  # type: ignore[override]
        """V, factorised."""
        return self.effects_of_all.factor

    def solve(self, theta: Array, *, ml: bool = False) -> VarianceSolution:
        try:
            found = self.effects_of_all.solve(theta, ml=ml)
        except NotPositiveDefiniteError:
            raise NotPositiveDefiniteError(
                "V is not positive definite at these variances: R has no inverse, and the random effects do not make up"
                " for it in every record. Give R a positive variance."
            ) from None
        self.at = replace(found, residual=self.times_residual(theta, found.weighted_residual), equations=self)
        return self.at

    def require(self, solution: VarianceSolution) -> None:
        at = self.effects_of_all.at
        if at is None or not np.array_equal(at.theta, solution.theta) or not self._holds(solution):
            self.effects_of_all.solve(solution.theta, ml=solution.ml)
        if solution.inverted and self.factor is not None:
            self.factor.inverse()

    def times_residual(self, theta: Array, v: Array) -> Array:
        """R v = Σ_r Z_r (Σ_r ⊗ I) Z_r'v over the effects of the residual."""
        spec, first = self.effects_of_all.spec, len(self.random)
        columns = v.reshape(len(v), -1)
        out = np.zeros_like(columns)
        for design, part in zip(spec.random[first:], spec.parameters.split(theta)[first:-1], strict=True):
            Z = sp.hstack(design.columns, format="csr")
            scores = (Z.T @ columns).reshape(design.t, -1)
            out += Z @ (design.structure.covariance(part) @ scores).reshape(design.t * design.q, -1)
        return out.reshape(v.shape)
