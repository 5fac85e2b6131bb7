"""Prediction error variances and the covariance of β̂, from C⁻¹ in factor form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, chunks_of
from remlblup.equations.base import CHUNK, Equations, columns_at_once, nonnegative, products_by_column
from remlblup.equations.henderson.system import Solution, System, back_substituted


def level_covariances(equations: System, solution: Solution) -> list[Array]:
    """Per term (q, t, t): the prediction error covariance of the effects of each level.

    var(û − u) of level l is Λ C^{ll} Λ', with C^{ll} the t × t block of C⁻¹ that belongs to the
    level, read from the selected inverse (Henderson 1975: PEV is the diagonal of C⁻¹ for û).
    """
    out = []
    for k, (design, (factor, _)) in enumerate(zip(equations.random, solution.factors, strict=True)):
        if design.root is None:
            out.append(of_effects(factor, equations.level_blocks(solution, k)))
        else:
            out.append(_of_singular(equations, solution, k, design.root))
    if any(d.relationship.diagonal_is_far for d in equations.random) and equations.spec.fixed.transform is None:
        fixed_variances(equations, solution)  # read while the factor is that of the solution
    offer_diagonals(equations)
    equations.factor.rest()  # tables come next, and take as much
    return out


def of_effects(factor: Array, blocks: Array) -> Array:
    """Λ C Λ' (q, t, t) for Λ (t, s) and symmetric blocks C (q, s, s): (CΛ')'Λ', two products over all levels."""
    (t, s), q = factor.shape, len(blocks)
    half = (blocks.reshape(q * s, s) @ factor.T).reshape(q, s, t)
    return np.asarray((half.swapaxes(1, 2).reshape(q * t, s) @ factor.T).reshape(q, t, t))


def offer_diagonals(equations: System) -> None:
    """The diagonal of K, which the reliabilities need, for a relationship that has no short way to it.

    Without data C is I ⊗ K⁻¹: its factor is at hand, and K needs none of its own.
    """
    layout, block = equations.layout, 1
    columns = layout.indptr[:-1]
    for design in equations.random:
        place = slice(layout.offsets[block], layout.offsets[block] + design.q)
        if design.relationship.diagonal_is_far:
            equations.at = None
            equations.factor.factorize(layout.of_precision())
            design.relationship.take_diagonal(equations.factor.inverse_on_pattern()[columns[place]])
        block += design.structure.n_factors


def _of_singular(equations: System, solution: Solution, k: int, root: Array) -> Array:
    """(q, t, t) prediction error covariances of the levels of a singular K = LL', u = (Λ ⊗ L) b, of term k."""
    q, r = root.shape
    factor, start_of_term = solution.factors[k][0], equations.of_factors[k].start
    rank = factor.shape[1]
    out = np.empty((q, len(factor), len(factor)))
    step = columns_at_once(equations.m * rank)
    for start in range(0, q, step):
        L = root[start : start + step]
        columns = np.zeros((equations.m, rank, len(L)))
        for a in range(rank):
            offset = start_of_term + a * r
            columns[offset : offset + r, a] = L.T
        solved = equations.solve_columns(solution, columns.reshape(equations.m, -1)).reshape(columns.shape)
        C = np.einsum("mal,mbl->lab", columns, solved)
        out[start : start + step] = np.einsum("ia,lab,jb->lij", factor, C, factor)
    return out


def fixed_columns(equations: System, solution: Solution) -> Iterator[tuple[slice, Array]]:
    """Columns of C⁻¹ for each fixed effect as the user coded it, in factor form: (slice, (m, k)) chunks."""
    for chunk in chunks_of(equations.p, columns_at_once(equations.m)):
        yield chunk, equations.solve_columns(solution, unit_columns(equations, chunk))


def unit_columns(equations: System, which: slice | np.ndarray) -> Array:
    """[T'e_j; 0] (m, k) of fixed effects j: β = T β_work, so that C⁻¹ makes of it the column of β̂_j."""
    p, T = equations.p, equations.spec.fixed.transform
    rows = np.eye(p)[:, which] if T is None else T.T[:, which]
    out = np.zeros((equations.m, rows.shape[1]))
    out[:p] = rows
    return out


def fixed_variances(equations: System, solution: Solution) -> Array:
    """var(β̂_j), shape (p,): from the diagonal of the selected inverse, without a solve."""
    if "fixed variances" not in solution.kept:
        if equations.spec.fixed.transform is not None:
            found = np.diag(fixed_covariance(equations, solution))
        else:
            equations.require(solution)
            # Row numbers ascend within a column of the lower triangle: the diagonal comes first.
            found = equations.factor.inverse_on_pattern()[equations.layout.indptr[: equations.p]]
        solution.kept["fixed variances"] = found
    return solution.kept["fixed variances"]


def fixed_covariance(equations: System, solution: Solution) -> Array:
    """var(β̂) = (X'V⁻¹X)⁻¹, shape (p, p)."""
    p, T = equations.p, equations.spec.fixed.transform
    out = np.empty((p, p))
    for chunk, columns in fixed_columns(equations, solution):
        out[:, chunk] = columns[:p] if T is None else T @ columns[:p]
    return 0.5 * (out + out.T)


def fixed_responses(equations: System, solution: Solution) -> Iterator[tuple[slice, Array, Array, Array, Array]]:
    """Columns of var(β̂), of H, of RH = W C⁻¹[:, β] and of −C^{bβ}: K Z'H = −Λ⁻ᵀ D C^{bβ}."""
    T, phi = equations.spec.fixed.transform, solution.theta[equations.spec.parameters.of_residual]
    for chunk, columns in fixed_columns(equations, solution):
        own = columns[: equations.p] if T is None else T @ columns[: equations.p]
        RH = equations.W @ equations.from_factor(columns, solution.factors)
        yield chunk, own, equations.spec.residual.precision(phi, RH), RH, -columns


def fixed_products(equations: System, solution: Solution, chunk: slice) -> tuple[Array, list[Array], Array]:
    """See `Equations.fixed_products`; of c = C⁻¹[T'e_j; 0] no product with the records is needed where R has one ρ.

    R H_j = WTc: so the equations of b say Λ'Z'H_j = −(D ⊗ K⁻¹) c_b, and c'Cc = var(β̂_j) less the part of the b is
    ρ (R H_j)'D R H_j.
    """
    spec, T = equations.spec, equations.spec.fixed.transform
    columns = equations.factor.solve(unit_columns(equations, chunk))
    own = columns[: equations.p] if T is None else T @ columns[: equations.p]
    variance = own[chunk].diagonal()
    by_records = len(solution.rho) > 1 or any(d.structure.in_factor for d in equations.random)
    if by_records:
        RH = equations.W @ equations.from_factor(columns, solution.factors)
        H = spec.residual.precision(solution.theta[spec.parameters.of_residual], RH)
        scores = equations.term_blocks(equations.Wt @ H)
    left, of_terms = variance.copy(), []
    for k, (design, b) in enumerate(zip(equations.random, equations.factor_blocks(columns), strict=True)):
        factor, signs = solution.factors[k]
        if design.structure.in_factor:
            of_terms.append(products_by_column(scores[k], equations.relate(k, solution, scores[k], b), len(variance)))
        else:
            inner = products_by_column(b, equations.precision_times(k, b), len(variance))
            left -= np.einsum("caa,a->c", inner, signs)
            root = back_substituted(factor, np.diag(signs))
            of_terms.append(root @ inner @ root.T)
    return variance, of_terms, spec.residual.pattern.moments(RH) if by_records else left[None] / solution.rho[0]


def respond(equations: System, solution: Solution, V: Array) -> tuple[Array, Array]:
    """BLUE and BLUP of the columns of V as records, and P V = R⁻¹(V − W C⁻¹W'R⁻¹V).

    (Searle, Casella & McCulloch 1992, section 7.6.)
    """
    spec = equations.spec
    phi = solution.theta[spec.parameters.of_residual]
    full = np.zeros((spec.residual.size, V.shape[1]))
    full[: len(V)] = V
    rhs = equations.to_factor(equations.Wt @ spec.residual.precision(phi, full), solution.factors)
    effects = equations.from_factor(equations.solve_columns(solution, rhs), solution.factors)
    projected = spec.residual.precision(phi, full - equations.W @ effects)
    return effects, projected[: len(V)]


def fixed_cross_covariances(equations: System, solution: Solution, columns: np.ndarray) -> list[Array]:
    """Λ C^{bβ} of some fixed effects: per term (t, q, c) over the levels of its relationship."""
    solved = equations.solve_columns(solution, unit_columns(equations, columns))
    effects = equations.from_factor(solved, solution.factors)
    out = []
    for design, block in zip(equations.random, equations.term_blocks(effects), strict=True):
        block = block.reshape(design.t, design.q, -1)
        out.append(block if design.root is None else np.einsum("lq,tqc->tlc", design.root, block))
    return out


def prediction_variances(equations: System, solution: Solution, rows: Any) -> Array:
    """w* C⁻¹ w*' with w* = wT, for rows w (k, p + levels of all terms)."""
    rows = rows_in_equations(equations, rows)
    out = np.empty(rows.shape[0])
    step = columns_at_once(equations.m)
    for start in range(0, rows.shape[0], step):
        chunk = rows[start : start + step]
        dense = np.asarray(chunk.toarray() if hasattr(chunk, "toarray") else chunk)
        rhs = np.zeros((len(solution.effects), len(dense)))
        rhs[: dense.shape[1]] = dense.T  # the cells filled in have no part
        columns = equations.to_factor(rhs, solution.factors)
        out[start : start + step] = np.einsum("mc,mc->c", columns, equations.solve_columns(solution, columns))
    return nonnegative(out)


def rows_in_equations(equations: Equations, rows: Any) -> Any:
    """Rows over the levels of all terms as rows over the effects of W: w'L where u = (I ⊗ L) b."""
    if all(d.root is None for d in equations.random):
        return rows
    rows, start = sp.csc_array(rows), equations.p
    parts = [rows[:, :start]]
    for user, design in zip(equations.spec.random, equations.random, strict=True):
        for _ in range(design.t):
            part = rows[:, start : start + user.q]
            parts.append(part if design.root is None else sp.csc_array(part @ design.root))
            start += user.q
    return sp.hstack(parts, format="csr")


def precision_diagonal(equations: System, solution: Solution, records: np.ndarray) -> Array:
    """R⁻¹_ii of some records."""
    spec = equations.spec
    phi, out = solution.theta[spec.parameters.of_residual], np.empty(len(records))
    for start in range(0, len(records), CHUNK):
        part = records[start : start + CHUNK]
        unit = np.zeros((spec.residual.size, len(part)))
        unit[part, np.arange(len(part))] = 1.0
        out[start : start + CHUNK] = spec.residual.precision(phi, unit)[part, np.arange(len(part))]
    return out
