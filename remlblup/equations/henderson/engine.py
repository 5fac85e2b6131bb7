"""Henderson's mixed model equations as an engine: log-likelihood, traces, information and errors, read from the factor.

With the system in factor form (`remlblup.equations.henderson.system`),

    log|V| + log|X'V⁻¹X| = log|R| + Σ_k t_k log|K_k| + log|C|.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.henderson import errors
from remlblup.equations.henderson.layout import Layout
from remlblup.equations.henderson.system import Solution, System, signs_of


class MixedModelEquations(System):
    """The equations as an engine: what the loop and the tables ask of a model."""

    def assembled(self, solution: Solution) -> Array:
        """Values of C at a solution, on the pattern of the layout."""
        return self.layout.assemble(
            self.cross_products.values(solution.rho), solution.slots, signs_of(solution.factors)
        )

    def log_determinant(self, solution: Solution, ml: bool) -> float:
        """log|V| + log|X'V⁻¹X|, of ML log|V|, from log|C| in factor form."""
        known = self.residual.logdet(solution.theta[self.spec.parameters.slices[-1]]) + self.log_k
        if not ml:
            return known + solution.logdet - 2.0 * self.spec.fixed.logdet_transform
        if solution.logdet_random is None:
            solution.logdet_random = self.solve(solution.theta, ml=True, factors=solution.factors).logdet_random
        return known + solution.logdet_random  # type: ignore[operator]

    def products(self, solution: Solution, variates: Array, weighted: Array) -> Array:
        """F'PF = F'R⁻¹F − F'R⁻¹W C⁻¹W'R⁻¹F."""
        columns = self.to_factor(self.Wt @ weighted, solution.factors)
        return variates.T @ weighted - columns.T @ self.solve_columns(solution, columns)

    # -- errors: see `errors` ------------------------------------------------------------------

    def level_covariances(self, solution: Solution) -> list[Array]:
        return errors.level_covariances(self, solution)

    def fixed_covariance(self, solution: Solution) -> Array:
        return errors.fixed_covariance(self, solution)

    def fixed_variances(self, solution: Solution) -> Array:
        return errors.fixed_variances(self, solution)

    def fixed_responses(self, solution: Solution) -> Iterator[tuple[slice, Array, Array, Array, Array | None]]:
        return errors.fixed_responses(self, solution)

    def respond(self, solution: Solution, V: Array) -> tuple[Array, Array]:
        return errors.respond(self, solution, V)

    def fixed_cross_covariances(self, solution: Solution, columns: np.ndarray) -> list[Array]:
        return errors.fixed_cross_covariances(self, solution, columns)

    def prediction_variances(self, solution: Solution, rows: Array) -> Array:
        return errors.prediction_variances(self, solution, rows)

    # -- what the score and the EM rounds need -------------------------------------------------

    def slot_traces(self, solution: Solution, *, ml: bool = False) -> tuple[Array, Array]:
        """T (n_slots, n_slots) with ∂log|C|/∂λ = 2Tλ, and τ_r = ∂log|C|/∂ρ_r = tr(C⁻¹ W'D_r W) in factor form.

        Read from the selected inverse of C (REML) or of its random block (ML), where slot 0
        (X) then has no part.
        """
        if solution.traces is None:
            layout, inverse = self._inverse(solution, ml)
            if inverse is None:
                solution.traces = np.zeros((1, 1)), np.zeros(len(solution.rho))
            else:
                T = layout.slot_traces(self.cross_products.values(solution.rho), inverse)
                # A single ρ multiplies the whole of T'W'R⁻¹WT.
                solution.traces = T, self.residual_traces(solution, solution.slots, ml=ml) \
                    if len(solution.rho) > 1 else np.array([solution.slots @ T @ solution.slots]) / solution.rho  # fmt: skip
        return solution.traces

    def residual_traces(self, solution: Solution, slots: Array, *, ml: bool = False) -> Array:
        """tr(C⁻¹ T'W'D_r W T) of every r, with C at the solution and T at any slots λ."""
        layout, inverse = self._inverse(solution, ml)
        if inverse is None:
            return np.zeros(len(solution.rho))
        weights = layout.cross_product_weights(slots, inverse, len(self.cross_products.rows))
        return self.cross_products.traces(weights)

    def _inverse(self, solution: Solution, ml: bool) -> tuple[Layout, Array | None]:
        """C⁻¹ on its pattern, or that of its random block (None if there is none), with its layout."""
        self.require(solution)
        if ml and self.m == self.p:
            return self.layout, None
        layout, factor = self.random_system if ml else (self.layout, self.factor)
        started = time.perf_counter()
        inverse = factor.inverse_on_pattern()
        self._spent("inverse", started)
        return layout, inverse
