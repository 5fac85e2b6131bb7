"""What the reason of a fit that did not converge claims, checked against ℓ by definition."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.optimize

from remlblup import Fit
from remlblup.validation.dense import Array
from remlblup.validation.verdicts.oracle import SINGULAR, Oracle, Peak

#: ℓ is flat along components if it can be held within this of its value while they move by MOVED of their size.
LEVEL, MOVED = 1e-4, 0.2
#: Halvings of that where the components end before; −ℓ of where they have ended.
SHORTER, NOWHERE = 6, 1e9


def untrue(oracle: Oracle, fit: Fit, peak: Peak) -> tuple[bool, str] | None:
    """(whether the reason is untrue, what was found); None where it claims nothing that can be checked."""
    c = fit.convergence
    theta = np.asarray(fit.theta, float)
    if c.unidentified:
        which = [fit.specification.parameters.columns.index(n) for n in c.unidentified]
        loss, where = flatness(oracle, theta, which), ""
        if loss <= LEVEL and peak.loglik > fit.loglik + LEVEL and not peak.unbounded:  # flat where it stopped alone?
            loss, where = flatness(oracle, peak.theta, which), "at the maximum, "
        names = ", ".join(c.unidentified[:4]) + (" …" if len(c.unidentified) > 4 else "")
        return loss > LEVEL, f"{where}along {names} ℓ loses {loss:.2g}"
    if "without end" in c.reason:
        so = peak.unbounded or peak.far or rises_outward(oracle, fit, peak)
        return not so, "" if so else f"ℓ has a maximum (smallest eigenvalue of K'VK {peak.least:.1g})"
    if c.collapsed or "explain every record" in c.reason:
        return (
            not peak.singular,
            "" if peak.singular else f"V is positive definite at the maximum (smallest eigenvalue {peak.smallest:.1g})",
        )
    if "R is singular" in c.reason:
        R = oracle.terms(peak.theta)[-1]
        d = np.sqrt(np.maximum(np.diag(R), 1e-300))
        least = float(np.linalg.eigvalsh(R / np.outer(d, d))[0]) if np.all(np.diag(R) > 0) else 0.0
        return least > 1e-4, f"smallest eigenvalue of R at the maximum, unit diagonal: {least:.1g}"
    return None


def rises_outward(oracle: Oracle, fit: Fit, peak: Peak) -> bool:
    """Whether ℓ of a field is higher still further out: a variance some times as large, 1 − ρ as much smaller."""
    names, own = fit.specification.parameters.columns, fit.specification.parameters.of_residual
    for times in (4.0, 16.0, 64.0):
        theta = peak.theta.copy()
        for i in range(own.start, len(theta)):
            if names[i].endswith("variance"):
                theta[i] *= times
            elif "correlation" in names[i] and theta[i] > 0.99:
                theta[i] = 1.0 - (1.0 - theta[i]) / times
        if oracle.loglik(theta) > peak.loglik + 1e-9:
            return True
    return False


def flatness(oracle: Oracle, theta: Array, which: Sequence[int]) -> float:
    """How much ℓ must lose when one of the components moves and the others of them follow as they like.

    Along the direction with the least information, either way: the component that moves most in it is held at its new
    value, so that a ridge may bend.
    """
    which = list(which)
    size = sizes(oracle, theta)[which]
    here = oracle.loglik(theta)
    # Where the fit stopped may not be a maximum along them: measure from the best that the named components can do.
    _, start = along(oracle, theta, which, size, np.zeros(len(which)), None)
    here = max(here, -_value(oracle, theta, which, size, start))
    at = theta.copy()
    at[which] += size * start
    least = np.inf
    for unit in directions(oracle, at, which, size):
        least = min(least, lost(oracle, theta, which, size, start, here, unit))
        if least <= LEVEL:
            break
    return least


def directions(oracle: Oracle, at: Array, which: Sequence[int], size: Array) -> list[Array]:
    """The one with the least information, and each component by itself.

    In a corner of the space, where some can go one way alone, there is no information to take one from.
    """
    units = list(np.eye(len(which)))
    with np.errstate(all="ignore"):
        information = oracle.information(at, which, size)
    if not np.all(np.isfinite(information)):
        return units
    first = np.linalg.eigh(information)[1][:, 0]
    return [first / abs(first[int(np.argmax(np.abs(first)))]), *units]


def lost(
    oracle: Oracle, theta: Array, which: Sequence[int], size: Array, start: Array, here: float, unit: Array
) -> float:
    """The loss of ℓ over a step along `unit`, the component that moves most held there, the others following."""
    i = int(np.argmax(np.abs(unit)))
    # Where the components end before that, as far as they go: along a curve the loss grows with the square of the way.
    for moved in MOVED * 0.5 ** np.arange(SHORTER):
        losses = [here - along(oracle, theta, which, size, start + sign * moved * unit, i)[0] for sign in (1.0, -1.0)]
        if min(losses) < NOWHERE:
            return float(max(min(losses), 0.0) * (MOVED / moved) ** 2)
    return np.inf


def sizes(oracle: Oracle, theta: Array) -> Array:
    """A typical size of each component: its own, or that of its unit."""
    unit = np.abs(oracle.theta(np.ones(oracle.size)))
    return np.maximum(np.abs(theta), np.where(unit > 0.0, 0.1 * unit, 0.1))


def _value(oracle: Oracle, theta: Array, which: Sequence[int], size: Array, z: Array) -> float:
    at = theta.copy()
    at[list(which)] += size * z
    value = -np.inf if not within(oracle, at) else oracle.loglik(at)
    return -value if np.isfinite(value) else 10.0 * NOWHERE


def along(
    oracle: Oracle, theta: Array, which: Sequence[int], size: Array, z: Array, held: int | None
) -> tuple[float, Array]:
    """The largest ℓ over the components but the one held, from z."""
    free = [i for i in range(len(which)) if i != held]
    if not free:
        return -_value(oracle, theta, which, size, z), z

    def minus(part: Array) -> float:
        full = z.copy()
        full[free] = part
        return _value(oracle, theta, which, size, full)

    x, options = z[free], {"maxfev": 150 * len(free), "xatol": 1e-8, "fatol": 1e-9}
    for _ in range(2):  # again from where it ended: its simplex may have grown thin in a corner
        found = scipy.optimize.minimize(minus, x, method="Nelder-Mead", options=options)
        x = found.x
    out = z.copy()
    out[free] = x
    return -float(found.fun), out


def within(oracle: Oracle, theta: Array) -> bool:
    """Whether every Σ is positive semidefinite and finite (they may be anything without constraints)."""
    for part, piece in zip(oracle.parts, np.split(theta, oracle.theta_cuts[:-1]), strict=True):
        bounded = "w" not in part.shape.kinds
        with np.errstate(all="ignore"):
            sigma = part.shape.matrix(piece)
        if not np.all(np.isfinite(sigma)):
            return False
        d = np.diag(sigma)
        if bounded:
            if np.any(d < 0.0):
                return False
            s = np.sqrt(np.maximum(d, 1e-300))
            if np.linalg.eigvalsh(sigma / np.outer(s, s))[0] < -SINGULAR:
                return False
    return True
