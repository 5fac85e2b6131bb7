"""Henderson's mixed model equations as an engine: log-likelihood, traces, information and errors, read from the factor.

With the system in factor form (`remlblup.equations.henderson.system`),

    log|V| + log|X'V⁻¹X| = log|R| + Σ_k t_k log|K_k| + log|C|.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.henderson import errors, information, moments, score
from remlblup.equations.henderson.expansion import SlotExpansion
from remlblup.equations.henderson.record_errors import record_errors
from remlblup.equations.henderson.system import Solution, System, signs_of
from remlblup.equations.record_errors import RecordErrors
from remlblup.equations.solution import ScoreMatrices


class MixedModelEquations(System):
    """The equations as an engine: what the loop and the tables ask of a model."""

    kind = "equations"

    def assembled(self, solution: Solution) -> Array:
        """Values of C at a solution, on the pattern of the layout, then the coefficients of its blocks."""
        return self.layout.assemble(
            self.cross_products.scaled(solution.rho), solution.slots, signs_of(solution.factors)
        )

    def log_determinant(self, solution: Solution, ml: bool) -> float:
        """log|V| + log|X'V⁻¹X|, of ML log|V|, from log|C| in factor form."""
        known = self.residual.logdet(solution.theta[self.spec.parameters.of_residual]) + self.log_k
        if not ml:
            return known + solution.logdet - 2.0 * self.spec.fixed.logdet_transform
        if solution.logdet_random is None:
            self.require(solution, ml=True)
        return known + solution.logdet_random  # type: ignore[operator]

    def average_information(self, solution: Solution) -> Array:
        return information.average_information(self, solution)

    def score_matrices(self, solution: Solution, units: list[Array], ml: bool) -> ScoreMatrices:
        return score.score_matrices(self, solution, units, ml)

    @cached_property
    def moment_expectations(self) -> Array | None:
        whole = self.cross_products.whole
        return None if whole is None or self.n_filled else moments.expectations(self, whole)

    def moment_forms(self) -> Array:
        return moments.forms(self)

    @cached_property
    def expansion(self) -> SlotExpansion:
        return SlotExpansion(self)

    # -- errors: see `errors` ------------------------------------------------------------------

    def level_covariances(self, solution: Solution) -> list[Array]:
        return errors.level_covariances(self, solution)

    def fixed_covariance(self, solution: Solution) -> Array:
        return errors.fixed_covariance(self, solution)

    def fixed_variances(self, solution: Solution) -> Array:
        return errors.fixed_variances(self, solution)

    def fixed_responses(self, solution: Solution) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        return errors.fixed_responses(self, solution)

    def fixed_products(self, solution: Solution, chunk: slice) -> tuple[Array, list[Array], Array]:
        return errors.fixed_products(self, solution, chunk)

    def respond(self, solution: Solution, V: Array) -> tuple[Array, Array]:
        return errors.respond(self, solution, V)

    def fixed_cross_covariances(self, solution: Solution, columns: np.ndarray) -> list[Array]:
        return errors.fixed_cross_covariances(self, solution, columns)

    def before_projection(self, solution: Solution, records: np.ndarray, projection: Array) -> Array:
        """The diagonal of R⁻¹."""
        return errors.precision_diagonal(self, solution, records)

    def record_errors(self, solution: Solution) -> RecordErrors:
        return record_errors(self, solution)

    def prediction_variances(self, solution: Solution, rows: Array) -> Array:
        return errors.prediction_variances(self, solution, rows)
