"""Where the searches of many responses ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.reml.convergence import Convergence, Criterion, criteria, explain


@dataclass(frozen=True)
class Outcome:
    """The maxima of B responses.

    Attributes
    ----------
    theta : (B, n_parameters)
    loglik : (B,)
    beta : (B, p) of the columns kept
    checks : (B, 5) values of the criteria, as `convergence.criteria` names them
    converged : (B,) whether all of them are met
    iterations : (B,)
    boundary : (B, n_parameters) components that ended on a bound
    information : (B, n_parameters, n_parameters) average information; None where nobody needs it
    """

    theta: Array
    loglik: Array
    beta: Array
    checks: Array
    converged: np.ndarray
    iterations: np.ndarray
    boundary: np.ndarray
    information: Array | None = None

    def verdict(self, k: int, tolerance: float, labels: Sequence[str]) -> Convergence:
        """That of response k, in the form of a fit's."""
        delta, change, gradient, decrement, inward = map(float, self.checks[k])
        checks: tuple[Criterion, ...] = criteria(delta, change, gradient, decrement, inward, tolerance)
        failed = [c.name for c in checks if not c.passed]
        at = tuple(label for label, on in zip(labels, self.boundary[k], strict=True) if on)
        reason = explain(not failed, (), "stall", failed)
        return Convergence(checks, reason, at, (), int(self.iterations[k]))


def limits(tolerance: float) -> Array:
    """(5,) the limits of the criteria."""
    return np.array([c.limit for c in criteria(0.0, 0.0, 0.0, 0.0, 0.0, tolerance)])


def joined(parts: Sequence[Outcome]) -> Outcome:
    """The outcomes of some responses after those of others."""
    columns = [[getattr(part, name) for part in parts] for name in Outcome.__dataclass_fields__]
    return Outcome(*(None if values[0] is None else np.concatenate(values) for values in columns))  # type: ignore[arg-type]
