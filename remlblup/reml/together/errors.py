"""Standard errors of the components of many responses, as a fit gives them."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.reml.flat import SUSPECT
from remlblup.reml.space import Space
from remlblup.reml.together.outcome import Outcome


def standard_errors(out: Outcome, equations: Equations) -> Array:
    """(B, n_parameters) by the average information, NaN on a boundary; beside a singular Σ along its face.

    NaN for all components of a response where some direction has no information to speak of.

    Parameters
    ----------
    equations : of any of the responses
    """
    assert out.information is not None
    errors = np.full(out.theta.shape, np.nan)
    inside = ~out.boundary.any(axis=1)
    errors[inside] = errors_along(out.information[inside])
    space: Space | None = None
    for k in np.flatnonzero(out.converged & ~inside):
        space = Space.of(equations, np.zeros(out.theta.shape[1], dtype=bool), True) if space is None else space
        J = space.tangent(out.theta[k])
        if J.shape[1]:
            errors[k] = errors_along(out.information[k : k + 1], J)[0]
        errors[k, out.boundary[k]] = np.nan
    return errors


def errors_along(information: Array, J: Array | None = None) -> Array:
    """√diag(J (J'IJ)⁻¹ J') of information matrices (B, n, n), NaN for those that are singular; J (n, k) or all of θ."""
    J = np.eye(information.shape[1]) if J is None else J
    H = J.T @ information @ J
    with np.errstate(divide="ignore", invalid="ignore"):
        d = 1.0 / np.sqrt(np.einsum("bii->bi", H))
        scaled = H * d[:, :, None] * d[:, None, :]
    errors = np.full(information.shape[:2], np.nan)
    finite = np.isfinite(scaled).all(axis=(1, 2))
    values, vectors = np.linalg.eigh(scaled[finite])
    known = values[:, 0] > SUSPECT
    rows = np.flatnonzero(finite)[known]
    along = J @ (d[rows][:, :, None] * vectors[known] / np.sqrt(values[known])[:, None, :])
    errors[rows] = np.sqrt(np.einsum("bik,bik->bi", along, along))
    return errors
