"""The expected (Fisher) information of all variance parameters, from V itself: for a few hundred records.

F_ij = ½ tr(P V̇_i P V̇_j), with V⁻¹ in place of P for ML (Searle, Casella & McCulloch 1992, section 6.3). Unlike the
average information it knows how near V is to being singular: along the eigenvector of an eigenvalue λ of V it is
1/(2λ²), whatever y is.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.variance.spread import Spread
from remlblup.errors import NotPositiveDefiniteError
from remlblup.model.residual_effects import residual_as_effects
from remlblup.model.specification import Specification


class ExpectedInformation:
    """F(θ) of a model.

    Parameters
    ----------
    spec : Specification
    ml : whether for the full likelihood
    """

    def __init__(self, spec: Specification, ml: bool):
        self.effects, self.ml = residual_as_effects(spec), ml
        self.spreads = [Spread(design) for design in self.effects.random]
        X = spec.fixed.work
        self.X = X.toarray() if sp.issparse(X) else np.asarray(X)

    def at(self, theta: Array) -> Array:
        """F (n_parameters, n_parameters).

        Raises
        ------
        NotPositiveDefiniteError
            If V(θ) is not positive definite to working precision, or F not finite.
        """
        return self.of(self.weighted(theta, self.ml))

    @staticmethod
    def of(weighted: list[Array]) -> Array:
        """F of the P V̇_i."""
        with np.errstate(over="ignore", invalid="ignore"):
            F = np.array([[0.5 * np.sum(A * B.T) for B in weighted] for A in weighted])
        if not np.all(np.isfinite(F)):
            raise NotPositiveDefiniteError("the information is infinite here.")
        return F

    def weighted(self, theta: Array, ml: bool) -> list[Array]:
        """P V̇_i of every parameter, (n, n) each; with `ml` V⁻¹V̇_i.

        Raises
        ------
        NotPositiveDefiniteError
            If V(θ) is not positive definite to working precision.
        """
        phi = theta[self.effects.parameters.of_residual]
        V, slopes = self.effects.residual.multiply(phi, np.eye(len(self.X))), []  # zero, or known
        parts = self.effects.parameters.split_terms(theta)
        for design, spread, part in zip(self.effects.random, self.spreads, parts, strict=True):
            V += self._spread(spread, design.structure.covariance(part))
            slopes += [self._spread(spread, dot) for dot in design.structure.derivatives(part)]
        try:
            root = scipy.linalg.cho_factor(V, lower=True)
            P = scipy.linalg.cho_solve(root, np.eye(len(V)))
            if self.X.shape[1] and not ml:
                solved = P @ self.X
                P = P - solved @ np.linalg.solve(self.X.T @ solved, solved.T)
        except np.linalg.LinAlgError:
            raise NotPositiveDefiniteError("V is singular but for rounding.") from None
        # A correlation of 0 at short distances has an infinite slope.
        with np.errstate(over="ignore", invalid="ignore"):
            return [P @ slope for slope in slopes]

    def _spread(self, spread: Spread, sigma: Array) -> Array:
        """Z (Σ ⊗ K) Z'."""
        out = np.zeros((spread.n, spread.n))
        spread.add(out, slice(0, spread.n), sigma)
        return out
