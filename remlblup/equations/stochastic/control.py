"""A control variate for the traces: those of M are known exactly.

M is like V and has the same parameters. What the probes say of tr(P_M Ṁ_i), beside what it is by the selected inverse
of M's equations, tells what they miss of tr(P V̇_i): by regression over the probes,

    tr(P V̇_i) ≈ mean_j a_ij − Σ_k β_ik (mean_j c_jk − t_k),    a_j = z_j'V̇_iPz_j,  c_jk = z_j'Ṁ_kP_Mz_j.

Where M is V nothing is left to err; where single-step stands by its pedigree little (Owen 2013, Monte Carlo theory,
methods and examples, section 8.9).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.stochastic.probes import Probes
from remlblup.equations.stochastic.products import Products

# Directions of the controls, of unit variance each, with less than this are none.
NOTHING = 1e-8


def exact_traces(equations: Equations, theta: Array, products: Products) -> Array:
    """(k,) t_k = tr(P_M Ṁ_k) of the parameters of M, from its score and y'P_MṀ_kP_My."""
    units = [np.diag(equations.scales.effects(k, d)) for k, d in enumerate(equations.random)]
    of = equations.score_matrices(equations.solve(theta), units, False)
    *parts, phi = equations.spec.parameters.split(theta)
    blocks = products.scores(of.solution.weighted_residual[:, None])
    out = []
    for k, (S, r, h) in enumerate(zip(of.of_sigma, blocks, products.related(blocks), strict=True)):
        assert S is not None  # of a structure that is not written in its factor
        quadratic = r[:, :, 0] @ h[:, :, 0].T
        out.append(equations.spec.random[k].structure.score(parts[k], 0.5 * (quadratic + quadratic.T) - 2.0 * S))
    residual, e = equations.residual, of.solution.residual
    own = [-(e @ residual.pattern.times(rho, e)) for rho in residual.jacobian(phi)]
    out.append(np.array(own) - 2.0 * residual.score(phi, of.moments))
    return np.concatenate(out)


def seen(products: Products, probes: Probes, theta: Array, x: Array) -> Array:
    """(N, k) z_j'Ṁ_i x_j of each probe, x = P_M z (n, N)."""
    spec = products.spec
    *parts, _ = spec.parameters.split(theta)
    out = np.empty((len(probes), len(theta)))
    for k, T in enumerate(probes.traces(products, x)):
        structure = spec.random[k].structure
        out[:, spec.parameters.slices[k]] = [structure.score(parts[k], one) for one in T]
    out[:, spec.parameters.of_residual] = probes.residual_traces(products, theta, x)
    return out


def controlled(a: Array, c: Array, t: Array) -> tuple[Array, float, int]:
    """a (N, ·) less what c (N, k), of known means t (k,), tells of its errors; by how much the variance of their mean
    is above that of N as they are, for what was fitted and for how far t is from the mean of c; how many were fitted.
    """
    away = c - c.mean(axis=0)
    size = np.sqrt(np.mean(away**2, axis=0))
    use = size > 1e-12 * (np.abs(t) + np.abs(c).max(axis=0, initial=0.0))
    if not use.any() or len(a) < 2 * np.count_nonzero(use) + 4:
        return a, 1.0, 0
    away, size = away[:, use], size[use]
    values, vectors = np.linalg.eigh(away.T @ away / np.outer(size, size) / len(a))
    kept = values > NOTHING
    directions = vectors[:, kept] / np.sqrt(values[kept]) / size[:, None]
    scores = away @ directions  # of unit variance, uncorrelated
    beta = scores.T @ (a - a.mean(axis=0)) / len(a)
    shift, freedom = (c - t)[:, use] @ directions, len(a) - 1.0
    leverage, fitted = float(np.sum(shift.mean(axis=0) ** 2)), int(np.count_nonzero(kept))
    return np.asarray(a - shift @ beta), (1.0 + leverage) * freedom / (freedom - fitted), fitted
