"""Our log-likelihood, its score and its information at any variances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.variance.without_inverse import WithoutInverse
from remlblup.errors import ConvergenceWarning, RemlBlupError, said_elsewhere
from remlblup.linalg.scaled_solve import scaled_solve
from remlblup.mixed_model import MixedModel
from remlblup.result import Fit


@dataclass(frozen=True)
class Evaluation:
    """ℓ around a point.

    Attributes
    ----------
    theta : (n_parameters,)
    loglik : with all constants
    score : (n_parameters,) ∂ℓ/∂θ
    information : (n_parameters,) squared, the average information
    lower : (n_parameters,) bounds
    """

    theta: Array
    loglik: float
    score: Array
    information: Array
    lower: Array

    @property
    def at_bound(self) -> np.ndarray:
        """Variances of zero whose score points outward: a maximum may lie there."""
        return (self.theta <= self.lower) & (self.score <= 0.0)

    @property
    def in_std_errors(self) -> Array:
        """Score over its standard error, the root of the information: within ±.01 of zero at a maximum."""
        size = np.sqrt(np.maximum(np.diag(self.information), 0.0))
        out = np.divide(self.score, size, out=np.zeros_like(self.score), where=size > 0.0)
        return np.where(self.at_bound, 0.0, out)

    @property
    def expected_gain(self) -> float:
        """½ s'I⁻¹s over what may move: what a Newton step would gain."""
        free = ~self.at_bound & (np.diag(self.information) > 0.0)
        if not free.any():
            return 0.0
        s = self.score[free]
        return float(0.5 * s @ scaled_solve(self.information[np.ix_(free, free)], s))


def model_of(fit: Fit) -> MixedModel:
    """The model of a fit, to be evaluated and fitted again with what is already analysed."""
    model = MixedModel._of(fit.specification)
    if not isinstance(fit._equations, WithoutInverse):  # those are for a singular R alone
        model.__dict__["_equations"] = fit._equations
    return model


def of_fit(fit: Fit) -> Evaluation:
    """What a fit knows of its last iterate."""
    point = fit._optimum.point
    lower = fit.specification.parameters.lower
    return Evaluation(fit.theta.copy(), fit.loglik, point.gradient.copy(), np.array(point.information), lower)


def evaluate(model: MixedModel, theta: Array, method: str) -> Evaluation | str:
    """ℓ at θ; in words why there is none, as where V is not positive definite."""
    parameters = model.specification.parameters
    try:
        with said_elsewhere(ConvergenceWarning):
            fit = model.fit(method, fix=parameters.to_mapping(theta), constrain=False, progress=False, starts=1)
    except (RemlBlupError, np.linalg.LinAlgError) as error:
        return str(error)
    return of_fit(fit)
