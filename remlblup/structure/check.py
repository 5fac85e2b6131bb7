"""A quick trial of a structure that a user wrote: it finds a wrong derivative before a fit does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import OptionError, RemlBlupError
from remlblup.structure.base import Structure

EFFECTS = ("e1", "e2", "e3")
POSITIONS = np.array([0.0, 1.0, 2.5])
# Positive correlations that fall with the distance, so that no parameter is likely to be on a bound.
SIGMA = np.array([[2.0, 0.9, 0.5], [0.9, 1.5, 0.7], [0.5, 0.7, 1.2]])
STEP, TOLERANCE = 1e-6, 1e-5


def check_structure(cls: type[Structure], options: Mapping[str, object]) -> None:
    """Raise `OptionError` that says what is wrong with the structure, if anything is."""
    try:
        structure = cls(EFFECTS, POSITIONS.copy(), **options)
        mistake = _sizes(structure) or _values(structure)
    except RemlBlupError:
        raise
    except Exception as error:
        raise OptionError(
            f"the structure {cls.__name__} fails over three effects at 0, 1 and 2.5: {type(error).__name__}: {error}"
        ) from error
    if mistake:
        raise OptionError(f"the structure {cls.__name__} is not right (tried over three effects): {mistake}")


def _sizes(s: Structure) -> str:
    t, n = s.size, s.n_parameters
    if t != 3 or s.effects != EFFECTS:
        return "the constructor must hand the effects on: super().__init__(effects, positions)."
    if not n or len(set(s.names)) < n or not all(isinstance(name, str) for name in s.names):
        return f"`names` must be different texts, one for each parameter; they are {s.names!r}."
    theta = _inside(s)
    shapes = {
        "lower": (np.shape(s.lower), (n,)),
        "upper": (np.shape(s.upper), (n,)),
        "project(sigma)": (np.shape(s.project(SIGMA)), (n,)),
        "start(sigma)": (np.shape(s.start(np.diag(np.diag(SIGMA)))), (n,)),
        "covariance(theta)": (np.shape(s.covariance(theta)), (t, t)),
        "derivatives(theta)": (np.shape(s.derivatives(theta)), (n, t, t)),
    }
    for what, (found, wanted) in shapes.items():
        if found != wanted:
            return f"`{what}` must have the shape {wanted}; it has {found}."
    if np.any(s.lower > s.upper):
        return "a lower bound is above the upper bound."
    return ""


def _values(s: Structure) -> str:
    for what, theta in (("project", s.project(SIGMA)), ("start", s.start(np.diag(np.diag(SIGMA))))):
        if not np.all(np.isfinite(theta)) or np.any(theta < s.lower) or np.any(theta > s.upper):
            return f"`{what}` gives θ = {theta}, which is not within its bounds {s.lower} to {s.upper}."
    theta = _inside(s)
    sigma = s.covariance(theta)
    scale = float(np.abs(sigma).max())
    if not np.all(np.isfinite(sigma)) or not np.allclose(sigma, sigma.T, rtol=0, atol=1e-12 * scale):
        return f"`covariance` must be finite and symmetric; at θ = {theta} it is {sigma.tolist()}."
    if np.linalg.eigvalsh(sigma)[0] < -1e-9 * scale:
        return f"`covariance` must be positive semidefinite within the bounds; at θ = {theta} it is {sigma.tolist()}."
    for at in (theta, 0.9 * theta + 0.1 * s.start(np.diag(np.diag(SIGMA)))):
        wanted = s.covariance(at)
        if not np.allclose(s.covariance(s.project(wanted)), wanted, rtol=0, atol=1e-6 * scale):
            return (
                f"`project` must give back θ of a matrix of the structure: covariance(project(Σ)) is not Σ at θ = {at}."
            )
    for name, given, numeric in zip(s.names, s.derivatives(theta), _numeric(s, theta), strict=True):
        if not np.allclose(given, numeric, rtol=0, atol=TOLERANCE * max(float(np.abs(numeric).max()), 1e-3 * scale)):
            return (
                f"`derivatives` of Σ in '{name}' is {np.round(given, 6).tolist()}, but finite differences of"
                f" `covariance` give {np.round(numeric, 6).tolist()} at θ = {theta}."
            )
    factor, signs = s.factor(theta)
    fits = np.shape(factor) == (s.size, s.n_factors) and np.shape(signs) == (s.n_factors,)
    if not fits or not np.allclose((factor * signs) @ factor.T, sigma, atol=1e-9 * scale):
        return "`factor` must be Λ (t, n_factors) and signs with Σ = Λ diag(signs) Λ'."
    if not {(int(i), int(a)) for i, a in np.argwhere(factor)} <= set(s.slots):
        return "`slots` must hold every entry of Λ that may differ from zero."
    return ""


def _inside(s: Structure) -> Array:
    """θ of a typical matrix, a little away from its bounds."""
    theta, lower, upper = s.project(SIGMA), s.lower, s.upper
    margin = np.minimum(0.02 * np.maximum(np.abs(theta), 1.0), 0.25 * (upper - lower))
    return np.clip(theta, lower + margin, upper - margin)


def _numeric(s: Structure, theta: Array) -> Array:
    """∂Σ/∂θ by central differences."""
    out = []
    for i, value in enumerate(theta):
        h = np.zeros(len(theta))
        h[i] = STEP * max(abs(value), 1e-2)
        out.append((s.covariance(theta + h) - s.covariance(theta - h)) / (2.0 * h[i]))
    return np.array(out)
