"""The (RE)ML likelihood from its definition: V as a dense matrix, by NumPy alone. Slow,
and shares no code with the package."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class DenseModel:
    """y ~ N(Xβ, V(θ)).

    Attributes
    ----------
    y : (n,) records
    X : (n, p) of full rank
    covariance : θ → V (n, n)
    """

    y: Array
    X: Array
    covariance: Callable[[Array], Array]

    def loglik(self, theta: Array, ml: bool = False) -> float:
        """ℓ = −½[(n−p) log 2π + log|V| + log|X'V⁻¹X| + y'Py]; ML without log|X'V⁻¹X| and with n.
        −∞ where V is not positive definite."""
        parts = self._solved(theta)
        if parts is None:
            return -np.inf
        logdet, information, _, quadratic = parts
        n, p = self.X.shape
        if ml:
            return -0.5 * (n * _LOG_2PI + logdet + quadratic)
        return -0.5 * ((n - p) * _LOG_2PI + logdet + np.linalg.slogdet(information)[1] + quadratic)

    def fixed(self, theta: Array) -> tuple[Array, Array]:
        """β̂ = (X'V⁻¹X)⁻¹X'V⁻¹y and √diag (X'V⁻¹X)⁻¹."""
        parts = self._solved(theta)
        if parts is None:
            raise ValueError("V is not positive definite")
        _, information, beta, _ = parts
        return beta, np.sqrt(np.diag(np.linalg.inv(information)))

    def _solved(self, theta: Array) -> tuple[float, Array, Array, float] | None:
        """log|V|, X'V⁻¹X, β̂ and (y − Xβ̂)'V⁻¹(y − Xβ̂), from the Cholesky factor of V."""
        try:
            L = np.linalg.cholesky(self.covariance(np.asarray(theta, float)))
        except np.linalg.LinAlgError:
            return None
        white = scipy.linalg.solve_triangular(L, np.column_stack([self.X, self.y]), lower=True, check_finite=False)
        X, y = white[:, :-1], white[:, -1]
        information = X.T @ X
        beta = np.linalg.solve(information, X.T @ y)
        r = y - X @ beta
        return 2.0 * float(np.log(np.diag(L)).sum()), information, beta, float(r @ r)

    def gradient(self, theta: Array, steps: Array, ml: bool = False) -> Array:
        """∂ℓ/∂θ by central differences of two widths, extrapolated."""
        return gradient(lambda t: self.loglik(t, ml), theta, steps)


def gradient(function: Callable[[Array], float], theta: Array, steps: Array) -> Array:
    """∂f/∂θ from central differences at steps h and h/2: (4 D(h/2) − D(h))/3, with an error of h⁴."""
    theta = np.asarray(theta, float)
    out = np.empty(len(theta))
    for i, h in enumerate(steps):
        unit = np.eye(1, len(theta), i)[0]
        wide, near = ((function(theta + w * unit) - function(theta - w * unit)) / (2.0 * w) for w in (h, 0.5 * h))
        out[i] = (4.0 * near - wide) / 3.0
    return out
