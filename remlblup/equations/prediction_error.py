"""Prediction error variances and the covariance of β̂, from C⁻¹ in factor form."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.equations.mme import MixedModelEquations, Solution
from remlblup.structure.base import Array

# Right-hand sides solved at once.
CHUNK = 128


def level_covariances(equations: MixedModelEquations, solution: Solution) -> list[Array]:
    """Per term (q, t, t): the prediction error covariance of the effects of each level.

    var(û − u) of level l is Λ C^{ll} Λ', with C^{ll} the t × t block of C⁻¹ that belongs to the
    level, read from the selected inverse (Henderson 1975: PEV is the diagonal of C⁻¹ for û).
    """
    layout = equations.layout
    equations.require(solution)
    inverse = equations.factor.inverse_on_pattern()
    columns = np.repeat(np.arange(layout.m), np.diff(layout.indptr))
    keys = columns * layout.m + layout.indices
    out, block = [], 1
    for design, (factor, _) in zip(equations.random, solution.factors, strict=True):
        level = np.arange(design.q)
        rank = design.structure.n_factors
        C = np.empty((design.q, rank, rank))
        for i in range(rank):
            for j in range(i + 1):
                rows, cols = level + layout.offsets[block + i], level + layout.offsets[block + j]
                C[:, i, j] = C[:, j, i] = inverse[np.searchsorted(keys, cols * layout.m + rows)]
        out.append(np.einsum("ia,qab,jb->qij", factor, C, factor))
        block += rank
    return out


def fixed_columns(equations: MixedModelEquations, solution: Solution) -> Iterator[tuple[slice, Array]]:
    """Columns of C⁻¹ for each fixed effect as the user coded it, in factor form: (slice, (m, k)) chunks."""
    p, T = equations.p, equations.spec.fixed.transform
    for start in range(0, p, CHUNK):
        chunk = slice(start, min(start + CHUNK, p))
        rhs = np.zeros((equations.m, chunk.stop - chunk.start))
        # β = T β_work, so the column for β_j is C⁻¹ [T' e_j; 0].
        rhs[:p] = np.eye(p)[:, chunk] if T is None else T.T[:, chunk]
        yield chunk, equations.solve_columns(solution, rhs)


def fixed_variances(equations: MixedModelEquations, solution: Solution) -> Array:
    """var(β̂_j), shape (p,): from the diagonal of the selected inverse, without a solve."""
    if equations.spec.fixed.transform is not None:
        return np.diag(fixed_covariance(equations, solution))
    equations.require(solution)
    # Row numbers ascend within a column of the lower triangle: the diagonal comes first.
    return equations.factor.inverse_on_pattern()[equations.layout.indptr[: equations.p]]


def fixed_covariance(equations: MixedModelEquations, solution: Solution) -> Array:
    """var(β̂) = (X'V⁻¹X)⁻¹, shape (p, p)."""
    p, T = equations.p, equations.spec.fixed.transform
    out = np.empty((p, p))
    for chunk, columns in fixed_columns(equations, solution):
        out[:, chunk] = columns[:p] if T is None else T @ columns[:p]
    return 0.5 * (out + out.T)


def variance_derivatives(equations: MixedModelEquations, solution: Solution) -> tuple[Array, Array]:
    """var(β̂_j), shape (p,), and its derivatives by θ, shape (p, n_parameters).

    ∂(X'V⁻¹X)⁻¹/∂θ_i = H' V̇_i H with H = V⁻¹X(X'V⁻¹X)⁻¹ = R⁻¹W C⁻¹[:, β]; for a parameter of G,
    Z'H enters with K Z'H = −Λ⁻ᵀ D C^{bβ}. The solution must have nonsingular Λ.
    """
    spec = equations.spec
    p, T = equations.p, spec.fixed.transform
    parts = spec.parameters.split(solution.theta)
    phi = parts[-1]
    rho_dot = spec.residual.jacobian(phi)
    variance, derivative = np.empty(p), np.empty((p, len(solution.theta)))
    for chunk, columns in fixed_columns(equations, solution):
        own = columns[:p] if T is None else T @ columns[:p]
        variance[chunk] = own[np.arange(chunk.start, chunk.stop), np.arange(chunk.stop - chunk.start)]
        fitted = equations.W @ equations.from_factor(columns, solution.factors)
        ZtH = equations.Wt @ spec.residual.precision(phi, fitted)
        of_effects, of_factors = equations.term_blocks(ZtH), equations.factor_blocks(-columns)
        for k, (design, r, b) in enumerate(zip(spec.random, of_effects, of_factors, strict=True)):
            h = equations.relate(k, solution, r, b)
            shape = (design.t, design.q, columns.shape[1])
            cross = np.einsum("iqc,jqc->cij", r.reshape(shape), h.reshape(shape))
            place = spec.parameters.slices[k]
            derivative[chunk, place] = np.einsum("cij,pij->cp", cross, design.structure.derivatives(parts[k]))
        moments = np.array([spec.residual.pattern.moments(v) for v in fitted.T]).T
        derivative[chunk, spec.parameters.slices[-1]] = -(rho_dot @ moments).T
    return variance, derivative


def prediction_variances(equations: MixedModelEquations, solution: Solution, rows: Array) -> Array:
    """var(w'β̂_u − w'(β, u)) for rows (k, m) over the effects of W: w* C⁻¹ w*' with w* = wT."""
    out = np.empty(rows.shape[0])
    for start in range(0, rows.shape[0], CHUNK):
        chunk = rows[start : start + CHUNK]
        dense = np.asarray(chunk.toarray() if hasattr(chunk, "toarray") else chunk)
        rhs = np.zeros((len(solution.effects), len(dense)))
        rhs[: dense.shape[1]] = dense.T  # the cells filled in have no part
        columns = equations.to_factor(rhs, solution.factors)
        out[start : start + CHUNK] = np.einsum("mc,mc->c", columns, equations.solve_columns(solution, columns))
    # Below zero by more than rounding only where Σ is indefinite (no constraints): no error exists then.
    return np.where(out >= -1e-10 * np.max(np.abs(out), initial=0.0), np.maximum(out, 0.0), np.nan)
