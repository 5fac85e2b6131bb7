"""What slopes may err by where probes are not solved to the last digit.

What x_j leaves of P z_j, e_j, is missing in the trace of a parameter as

    z_j'V̇_i e_j ≤ (z_j'V̇_iPV̇_iz_j)^½ |e_j|_V.

The last is bounded by the conjugate gradients (`still_ahead`). P is no more than the inverse of V, and V no less than
each of its summands (as far as no K has eigenvalues below zero): for V̇ = Z(Σ̇ ⊗ K)Z' of a term

    V̇PV̇ ≤ Z(Σ̇Σ⁻¹Σ̇ ⊗ K)Z',    V̇PV̇ ≤ V̇R⁻¹V̇.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.equations.stochastic.conjugate_gradients import dots
from remlblup.equations.stochastic.probes import Probes
from remlblup.equations.stochastic.products import Products, over_records

# Eigenvalues of the correlations of Σ, relative to the largest, from which it is taken for one without an inverse.
SINGULAR = 1e-10


def unsolved(products: Products, probes: Probes, theta: Array, errors: Array) -> Array:
    """(n_parameters,) no less than the error of the slopes, −½ of the mean over probes of which `errors` (N,) are left,
    in the norm of V."""
    return np.asarray(0.5 * np.mean(np.sqrt(lengths(products, probes, theta)) * errors[:, None], axis=0))


def lengths(products: Products, probes: Probes, theta: Array) -> Array:
    """(N, n_parameters) no less than z_j'V̇_iPV̇_iz_j."""
    spec = products.spec
    *parts, phi = spec.parameters.split(theta)
    out = np.empty((len(probes), len(theta)))
    for k, C in enumerate(probes.traces(products, probes.z)):
        place, Sigma_dot = spec.parameters.slices[k], spec.random[k].structure.derivatives(parts[k])
        within = within_term(spec.random[k].structure.covariance(parts[k]), Sigma_dot, C)
        if within is None or C.shape[1] == 1:
            by_errors = beside_residual(products, probes, theta, k, Sigma_dot)
            within = by_errors if within is None else np.minimum(within, by_errors)
        out[:, place] = within
    Rz, place = spec.residual.multiply(phi, probes.z), spec.parameters.of_residual
    for i, rho_dot in zip(range(place.start, place.stop), spec.residual.jacobian(phi), strict=True):
        own = spec.residual.pattern.times(rho_dot, Rz)
        out[:, i] = dots(own, spec.residual.multiply(phi, own))
    return np.maximum(out, 0.0)


def within_term(Sigma: Array, Sigma_dot: Array, C: Array) -> Array | None:
    """(N, parameters) tr(Σ̇Σ⁻¹Σ̇ C) for C (N, t, t) = Z'z in K; None where Σ has no inverse."""
    if not np.all(np.diag(Sigma) > 0.0):
        return None
    sizes = np.sqrt(np.diag(Sigma))
    values, vectors = scipy.linalg.eigh(Sigma / np.outer(sizes, sizes))
    if values[0] <= SINGULAR * max(values[-1], 0.0):
        return None
    root = Sigma_dot @ (vectors / np.sqrt(values) / sizes[:, None])
    return np.asarray(np.einsum("iac,ibc,jab->ji", root, root, C, optimize=True))


def beside_residual(products: Products, probes: Probes, theta: Array, k: int, Sigma_dot: Array) -> Array:
    """(N, parameters) z'V̇R⁻¹V̇z of a term."""
    spec = products.spec
    design, related, phi = spec.random[k], probes.related[k], theta[spec.parameters.of_residual]
    own = products.scores(probes.z)[k] if related is None else related
    out = np.empty((len(probes), len(Sigma_dot)))
    for i, slope in enumerate(Sigma_dot):
        Vz = over_records(design, np.tensordot(slope, own, 1))
        out[:, i] = dots(Vz, spec.residual.precision(phi, Vz))
    return out
