"""What the engine of products knows at a θ: the solution, and slopes of ℓ by probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import StochasticError


@dataclass
class StochasticSolution:
    """V(θ) solved for y by conjugate gradients.

    Attributes
    ----------
    theta : (n_parameters,)
    beta : (p,) of the response free of its mean, for X as `FixedDesign.work`
    residual : (n,) ê = R Py
    weighted_residual : (n,) Py
    related : K Z'Py of each term, (t, q)
    quadratic : y'Py
    left : what was left of y, relative to it
    kept : what has been computed from it, its `Slopes` among it
    """

    theta: Array
    beta: Array
    residual: Array
    weighted_residual: Array
    related: list[Array]
    quadratic: float
    left: float
    equations: Any = field(repr=False)
    b: None = None
    kept: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def effects(self) -> Array:
        return self.equations.effects(self)

    @cached_property
    def _of_fixed(self) -> tuple[Array, Array]:
        return self.equations.generalised(self)

    @property
    def covariance(self) -> Array:
        """(p, p) (X'V⁻¹X)⁻¹."""
        return self._of_fixed[0]

    @property
    def solved_X(self) -> Array:
        """(n, p) V⁻¹X."""
        return self._of_fixed[1]

    @property
    def added(self) -> Array:
        return np.zeros(self.equations.p)

    @property
    def logdet(self) -> float:
        raise StochasticError(NO_LIKELIHOOD)

    logdet_fixed = logdet


@dataclass(frozen=True)
class Slopes:
    """First derivatives of ℓ by probes.

    Attributes
    ----------
    gradient : (n_parameters,) their mean over the probes
    by_probe : (N, n_parameters) what each alone would say
    of_sigma : ∂ℓ/∂Σ (t, t) of each term
    unsolved : (n_parameters,) what the gradient may err by as the probes are not solved to the last digit
    inflated : by how much their mean varies more than that of so many independent ones (`controlled`)
    fitted : numbers fitted to them for that
    """

    gradient: Array
    by_probe: Array
    of_sigma: tuple[Array, ...]
    unsolved: Array
    inflated: float = 1.0
    fitted: int = 0

    @cached_property
    def covariance(self) -> Array:
        """Of the mean, (n_parameters, n_parameters): S/N, S that of one probe, and what is not solved.

        S is an estimate of as many degrees of freedom as there are probes less numbers fitted. So that two of its roots
        hold the mean as often as two of those of S itself, it is as much larger as a quantile of Student's t.
        """
        away = self.by_probe - self.by_probe.mean(axis=0)
        n = len(away)
        S = self.inflated * (away.T @ away) / max(n - 1, 1)
        sampled = (student(max(n - 1 - self.fitted, 1)) / student(np.inf)) ** 2 * S / n
        return np.asarray(sampled + np.diag(self.unsolved**2))


def student(freedom: float) -> float:
    """What a standardised mean is within 95 times in 100."""
    return float(stdtrit(freedom, 0.975))


NO_LIKELIHOOD = (
    "engine='stochastic' knows slopes of the log-likelihood and not its value, which takes a factorisation of V: there"
    " is no AIC, BIC or likelihood ratio test. Compare estimates with their standard errors, or fit a part of the data"
    " with engine='dense' or 'sparse'."
)
