"""Heritability of the means of a trial in the definitions in use, and the effective dimensions of terms.

With G = σ²_g K over the m levels that have records, B = Z'PZ, and C = var(û − u) = G − GBG:

    components   σ²_g / (σ²_g + all else that a single record varies by)
    standard     σ²_g / (σ²_g + σ²_e/r̄), r̄ the harmonic mean of records per level
    piepho       d̄ / (d̄ + v̄_BLUE): Piepho & Möhring 2007, Genetics 177:1881, eq. 19
    cullis       1 − v̄_BLUP / d̄: Cullis, Smith & Coombes 2006, JABES 11:381
    oakey        Σλ / (m − number of λ that are zero), λ the eigenvalues of I − G⁻¹C = BG: Oakey et al. 2006,
                 TAG 113:809
    vanraden     mean of the reliabilities 1 − C_ii/G_ii

d̄, v̄_BLUE, v̄_BLUP are mean variances of a difference of two levels: before the data, of their estimates as fixed
effects, and of their predictions. With unrelated levels d̄ = 2σ²_g.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import MemoryLimitError, ModelError, choose
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables import effects as tables
from remlblup.fit.tables.shown import shown
from remlblup.reml.start import residual_variance, unit_matrices

METHODS = ("components", "standard", "cullis", "oakey", "vanraden", "piepho")
# Levels up to which their covariances are held as one matrix, and columns at a time.
LEVELS, COLUMNS = 5000, 128
# An eigenvalue below this is zero.
ZERO = 1e-7


def heritability(fit: Estimates, term: str, method: str) -> float:
    """See `Fit.heritability`."""
    choose("method", method, METHODS)
    spec = fit.specification
    k = tables.term_index(spec, term)
    design = spec.random[k]
    if design.t != 1:
        raise ModelError(
            f"'{design.name}' has {design.t} effects, each with a heritability of its own: write the ratio of"
            " components, fit.function(…), or a term of one effect."
        )
    place = spec.parameters.slices[k]
    sigma2 = float(design.structure.covariance(fit.theta[place])[0, 0])
    if sigma2 < 0.0:
        raise ModelError(f"the variance of '{design.name}' is negative: it has no heritability.")
    if sigma2 == 0.0:
        return 0.0
    if method == "components":
        return sigma2 / (sigma2 + sum(other_variances(fit, k)))
    records = np.bincount(design.columns[0].indices, minlength=design.q)
    tested = np.flatnonzero(records)
    if method == "standard":
        error = mean_residual(fit)
        return sigma2 / (sigma2 + error * float(np.mean(1.0 / records[tested])))
    if len(tested) > LEVELS:
        raise MemoryLimitError(
            f"method={method!r} holds the covariances of {len(tested):,} levels as one matrix: up to {LEVELS:,}. Take"
            " method='components' or 'standard', or the mean of fit.accuracy(term)['reliability']."
        )
    G = sigma2 * design.relationship.among(tested)
    prior = mean_difference(G)
    if method == "piepho":
        return prior / (prior + blue_difference(information(fit, k, tested, without=True), design.name))
    BG = information(fit, k, tested) @ G
    if method == "oakey":
        values = np.sort(np.linalg.eigvals(BG).real)[::-1]
        return float(values.sum() / np.count_nonzero(values > ZERO))
    C = G - G @ BG
    if method == "cullis":
        return 1.0 - mean_difference(C) / prior
    return float(np.mean(1.0 - np.diag(C) / np.diag(G)))


def other_variances(fit: Estimates, k: int) -> list[float]:
    """What else a record varies by: of every other term the mean of z'Σz, and of the residual, K_jj = 1."""
    spec = fit.specification
    out = []
    for j, (design, part) in enumerate(zip(spec.random, spec.parameters.split_terms(fit.theta), strict=True)):
        if j != k:
            out.append(float(np.sum(design.structure.covariance(part) * design.moments)))
    return [*out, mean_residual(fit)]


def mean_residual(fit: Estimates) -> float:
    """Mean variance of the errors of a record of weight 1 on average."""
    spec = fit.specification
    phi = fit.theta[spec.parameters.of_residual]
    single = spec.residual.single_variance(phi)
    return float(np.mean(spec.residual.record_variances(phi))) if single is None or np.ptp(spec.weights) else single


def information(fit: Estimates, k: int, levels: np.ndarray, without: bool = False) -> Array:
    """Z'PZ over some levels of term k, (m, m); `without` the term itself in V: what the rest tells of fixed levels."""
    equations, spec = fit._equations, fit.specification
    theta, solution = fit.theta, fit._solution
    if without:
        theta = theta.copy()
        theta[spec.parameters.slices[k]] = 0.0
        solution = equations.solve(theta)
    Z = spec.random[k].columns[0][:, levels]
    out = np.empty((len(levels), len(levels)))
    for first in range(0, len(levels), COLUMNS):
        block = slice(first, first + COLUMNS)
        projected: Any = equations.respond(solution, Z[:, block].toarray())[1]
        out[:, block] = Z.T @ projected
    return 0.5 * (out + out.T)


def mean_difference(C: Array) -> float:
    """Mean of C_ii + C_jj − 2 C_ij over all pairs."""
    m = len(C)
    return float(2.0 * (np.trace(C) - C.sum() / m) / (m - 1))


def blue_difference(A: Array, name: str) -> float:
    """Mean variance of a difference of two fixed levels, whose normal equations are A once all else is absorbed.

    Raises
    ------
    ModelError
        If some of the differences cannot be estimated.
    """
    values, vectors = np.linalg.eigh(A)
    kept = values > ZERO * values[-1]
    lost = vectors[:, ~kept]
    if np.any(np.abs(lost - lost.mean(axis=0)) > 1e-6):
        raise ModelError(
            f"as fixed effects not all levels of '{name}' can be compared (they are confounded with other fixed"
            " effects, or lie in parts without a connection): method='piepho' has no value. Take 'cullis'."
        )
    return mean_difference((vectors[:, kept] / values[kept]) @ vectors[:, kept].T)


# -- effective dimensions --------------------------------------------------------------------------


def effective_dimensions(fit: Estimates) -> pd.DataFrame:
    """See `Fit.effective_dimensions`: tr(P Z (Σ ⊗ K) Z') of every term,
    from the slopes S = −½[tr(PZKZ') − r'Kr] of ℓ."""
    spec, equations = fit.specification, fit._equations.searched  # where R is singular, V with e among the terms
    units = unit_matrices(equations, residual_variance(equations))
    found = equations.score_matrices(equations.solve(fit.theta), units, False)
    solution = found.solution
    scores = equations.term_blocks(equations.effect_scores(solution))
    solved: Sequence[Any] = equations.factor_blocks(solution.b) if solution.b is not None else [None] * len(scores)
    rows = [("fixed effects", float(spec.p), spec.p + len(fit.aliased))]
    parts = equations.spec.parameters.split_terms(solution.theta)
    for k, (design, part, r) in enumerate(zip(spec.random, parts, scores, strict=False)):
        sigma, S, of_factor = design.structure.covariance(part), found.of_sigma[k], found.of_factor[k]
        quadratic = float(np.sum(sigma * (r @ equations.relate(k, solution, r, solved[k]).T)))
        if S is not None:
            slope = float(np.sum(S * sigma))
        else:
            assert of_factor is not None
            slope = 0.5 * float(np.sum(of_factor * design.structure.factor(part)[0]))
        rows.append((design.name, quadratic - 2.0 * slope, design.t * design.q))
    left = spec.n - sum(row[1] for row in rows)
    table = pd.DataFrame([*rows, ("residual", left, spec.n)], columns=["term", "effective", "effects"]).set_index(
        "term"
    )
    return shown(table.assign(share=table["effective"] / table["effects"]), fit._note)
