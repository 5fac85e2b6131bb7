"""The covariance of prediction errors of x'β + z'u, whatever the engine.

    var[x'(β̂ − β) + z'(û − u)] = x'Φx − a − a' + z'Gz − f'Pf,    f = ZGz,  a = x'ΦX'V⁻¹f

(Henderson 1975; Searle, Casella & McCulloch 1992, section 7.6), for several rows at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations


def prediction_covariance(equations: Equations, solution: Any, X: Array, Z: sp.csr_array, covariance: Array) -> Array:
    """(k, k) of rows X (k, p) as the user coded them, and Z (k, levels of all terms).

    Parameters
    ----------
    covariance : Φ (p, p)
    """
    spec = equations.spec
    parts = spec.parameters.split(solution.theta)
    z = Z.toarray().T
    k = z.shape[1]
    Gz, f, start = np.zeros_like(z), np.zeros((spec.n, k)), 0
    for design, theta in zip(spec.random, parts[: len(spec.random)], strict=True):
        size = design.t * design.q
        own = z[start : start + size].reshape(design.t, design.q, k)
        related = own
        if not design.is_identity:
            columns = np.moveaxis(own, 1, 0).reshape(design.q, -1)
            related = np.moveaxis(design.relationship.multiply(columns).reshape(design.q, design.t, k), 0, 1)
        g = np.tensordot(design.structure.covariance(theta), related, 1)
        Gz[start : start + size] = g.reshape(size, k)
        f += sum(column @ g[i] for i, column in enumerate(design.columns))
        start += size
    effects, projected = equations.respond(solution, f)
    T = spec.fixed.transform
    of_beta = effects[: spec.p] if T is None else T @ effects[: spec.p]
    cross = X @ of_beta
    out = X @ covariance @ X.T - cross - cross.T + z.T @ Gz - f.T @ projected
    return np.asarray(0.5 * (out + out.T))
