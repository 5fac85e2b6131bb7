"""The likelihood at its best where a function of θ has a given value, by sequential quadratic programming.

Coordinates x in which all of the parameter space can be walked over: θ itself within its bounds, and of a free
covariance matrix the entries of Λ, Σ = ΛΛ', where singular matrices are ordinary points. Slopes are those of the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import ModelError, NotPositiveDefiniteError, VarianceError
from remlblup.fit.estimates import Estimates
from remlblup.inference.quantities import Function
from remlblup.inference.resampling.refit import equations_of, held_values
from remlblup.reml.loop import Loop
from remlblup.reml.optimum import Options
from remlblup.reml.score import score
from remlblup.reml.singular_residual import maximize
from remlblup.reml.surface import Surface

# A covariance matrix of less than this share of its unit in some direction is lifted so far to start from: Λ has no
# slope at zero.
LIFTED = 1e-3
# A slope of ℓ along the constraint, per standard error, at which it counts as maximised: half its square is left.
SETTLED = 1e-5
# −ℓ, above that of the fit, where V is not positive definite.
NOWHERE = 1e4


class Constrained:
    """Maxima of ℓ for given values of one function.

    Parameters
    ----------
    fit : at the maximum of ℓ
    """

    def __init__(self, fit: Estimates):
        self.fit, self.held = fit, held_values(fit)
        self.options: Options = replace(fit.options, journal=None)
        self.model = equations_of(fit)
        # Where R is singular at the estimates, V itself, which does not divide by it.
        self.equations = self.model if fit._equations.searched is fit._equations else fit._equations.searched
        self.surface: Surface = Loop(self.equations, self.options, fit.theta, self.held).surface
        space, parameters = self.surface.space, self.equations.spec.parameters
        self.cones = [
            (k, place)
            for k, (structure, place) in enumerate(zip(parameters.structures, parameters.of_terms, strict=True))
            if structure.cone and structure.size > 1 and self.options.constrain and np.isnan(self.held[place]).all()
        ]
        self.free = np.isnan(self.held)
        self.lower, self.upper = space.lower.copy(), space.upper.copy()
        self.scale = np.asarray(fit._information.errors, dtype=float).copy()
        self.scale = np.where(np.isfinite(self.scale) & (self.scale > 0.0), self.scale, space.sizes)
        for k, place in self.cones:
            root = self.equations.spec.random[k].structure.covariance(self.fit.theta[place])
            size = np.sqrt(np.maximum(np.diag(root), LIFTED * np.diag(space.units[k])))
            rows, _ = np.tril_indices(len(size))
            self.scale[place], self.lower[place], self.upper[place] = 0.3 * size[rows], -np.inf, np.inf

    # -- coordinates -------------------------------------------------------------------------

    def coordinates(self, theta: Array) -> Array:
        """x of θ, a singular Σ lifted."""
        x = theta.copy()
        for k, place in self.cones:
            sigma = self.equations.spec.random[k].structure.covariance(theta[place])
            unit = self.surface.space.units[k]
            root = np.linalg.cholesky(unit)
            inverse = np.linalg.inv(root)
            if np.linalg.eigvalsh(inverse @ sigma @ inverse.T)[0] < LIFTED:
                sigma = sigma + LIFTED * unit
            x[place] = np.linalg.cholesky(sigma)[np.tril_indices(len(sigma))]
        return x

    def factor(self, x: Array, k: int, place: slice) -> Array:
        L = np.zeros((self.equations.spec.random[k].t,) * 2)
        L[np.tril_indices(len(L))] = x[place]
        return L

    def parameters(self, x: Array) -> Array:
        """θ of x."""
        theta = x.copy()
        for k, place in self.cones:
            L = self.factor(x, k, place)
            theta[place] = (L @ L.T)[np.tril_indices(len(L))]
        return theta

    def slopes(self, x: Array, gradient: Array) -> Array:
        """∂/∂x of what has the slopes `gradient` by θ."""
        out = gradient.copy()
        for k, place in self.cones:
            L = self.factor(x, k, place)
            low = np.tril_indices(len(L))
            S = np.zeros_like(L)
            S[low] = gradient[place]
            out[place] = ((S + S.T) @ L)[low]
        return out

    # -- the maximum -------------------------------------------------------------------------

    def loglik(self, theta: Array) -> tuple[float, Array]:
        """ℓ and its slopes at θ."""
        value, solution = self.surface.loglik(theta)
        if solution is None:
            return -np.inf, np.zeros(len(theta))
        return value, score(self.equations, solution, self.surface.space.units, self.surface.ml).gradient

    def maximum(self, function: Function, value: float, start: Array) -> tuple[float, Array] | None:
        """ℓ and θ where the function has the value; None where it cannot have it."""
        x, top = self.coordinates(start), self.fit.loglik
        free, scale = self.free, self.scale[self.free]
        unit = max(float(np.linalg.norm(self.slopes(x, function.at(start)[1])[free] * scale)), 1e-300)

        def whole(z: Array) -> Array:
            full = x.copy()
            full[free] = z * scale
            return full

        def objective(z: Array) -> tuple[float, Array]:
            at = whole(z)
            found, gradient = self.loglik(self.parameters(at))
            if not np.isfinite(found):
                return NOWHERE, np.zeros(len(z))
            return top - found, -self.slopes(at, gradient)[free] * scale

        def constraint(z: Array) -> float:
            there = function.at(self.parameters(whole(z)))[0]
            return (there - value) / unit if np.isfinite(there) else NOWHERE

        def constraint_slopes(z: Array) -> Array:
            at = whole(z)
            return self.slopes(at, function.at(self.parameters(at))[1])[free] * scale / unit

        z, best = self.inside(x[free] / scale), None
        for _ in range(3):
            z, reached, left, off = self.solved(z, objective, constraint, constraint_slopes)
            if off > 1e-6 or reached >= NOWHERE:
                break
            if left < SETTLED and (best is None or reached < best[0]):
                best = (reached, z)
                break
            if best is not None and reached > best[0] - 1e-8:
                best = (reached, z) if reached < best[0] else best
                break
            best = reached, z
        if best is None:
            return None
        return top - best[0], self.parameters(whole(best[1]))

    def inside(self, z: Array) -> Array:
        free = self.free
        return np.clip(z, self.lower[free] / self.scale[free], self.upper[free] / self.scale[free])

    def solved(
        self, z: Array, objective: Callable, constraint: Callable, slopes: Callable
    ) -> tuple[Array, float, float, float]:
        """After one run of SLSQP (Kraft 1988): z, the objective, its slope along the constraint where z may move, and
        the distance from the constraint."""
        from scipy.optimize import minimize

        free = self.free
        low, high = self.lower[free] / self.scale[free], self.upper[free] / self.scale[free]
        found = minimize(
            objective,
            z,
            jac=True,
            method="SLSQP",
            bounds=list(zip(low, high, strict=True)),
            options={"ftol": 1e-11, "maxiter": 150},
            constraints=[{"type": "eq", "fun": constraint, "jac": slopes}],
        )
        z = self.inside(found.x)
        value, downhill = objective(z)
        across, away = slopes(z), np.ones(len(z), dtype=bool)
        for _ in range(2):  # what is pressed against its bound moves no more, and has no part in the multiplier
            size = float(across[away] @ across[away])
            left = downhill - (float(across[away] @ downhill[away]) / size if size > 0.0 else 0.0) * across
            away = ~(((z <= low) & (left > 0.0)) | ((z >= high) & (left < 0.0)))
        return z, float(value), float(np.linalg.norm(left[away])), abs(float(constraint(z)))

    def at_bound(self, index: int, value: float) -> tuple[float, Array] | None:
        """ℓ and θ with parameter `index` held on its bound, by the search of a fit."""
        fixed = self.held.copy()
        fixed[index] = value
        start = np.where(self.fit._optimum.boundary, np.nan, self.fit.theta)
        try:
            end = maximize(self.model, self.options, start, fixed)
        except (NotPositiveDefiniteError, ModelError, VarianceError, np.linalg.LinAlgError):
            return None
        return end.point.loglik, end.point.theta
