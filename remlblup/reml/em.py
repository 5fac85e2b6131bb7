"""EM and parameter-expanded EM rounds, and the information an EM step uses.

EM (Dempster, Laird & Rubin 1977): Σ ← (U'K⁻¹U + T)/q with U the BLUPs and T_ij = tr(K⁻¹C^{ij}).
By the score matrix S = ½ Σ⁻¹[U'K⁻¹U + T − qΣ]Σ⁻¹ this is Σ ← Σ + (2/q) Σ S Σ: a Newton step with
the complete-data information in place of the average information. The residual variance is
E[e'e | y]/n (Mrode's section 17 takes y'ê/(n−r) instead and so prints other first rounds; both
have the same fixed point).

PX-EM (Liu, Rubin & Wu 1998; Foulley & van Dyk 2000) regresses y on the columns of Z b̂ as well:
with the model written as y = Xβ + Σ_s λ_s Z_s b_s + e, the expanded parameters are the slots λ
of Λ themselves, so that Σ ← Λ_new Σ_b Λ_new' with Σ_b the EM update of var(b).
"""

from __future__ import annotations

import numpy as np

from remlblup.equations.mme import MixedModelEquations
from remlblup.reml.score import Score
from remlblup.structure.base import Array


def complete_information(equations: MixedModelEquations, theta: Array, units: list[Array]) -> Array:
    """Information on θ if u and e were observed: ½ q tr(Σ⁻¹Σ̇_iΣ⁻¹Σ̇_j) and that of R; block diagonal."""
    spec = equations.spec
    out = np.zeros((len(theta), len(theta)))
    parts = spec.parameters.split(theta)
    for k, design in enumerate(spec.random):
        sigma = design.structure.covariance(parts[k])
        # A singular Σ has infinite information across its face: a small ridge keeps it finite.
        ridge = sigma + 1e-8 * units[k]
        solved = np.linalg.solve(ridge, design.structure.derivatives(parts[k]))
        block = 0.5 * design.q * np.einsum("pij,qji->pq", solved, solved)
        out[spec.parameters.slices[k], spec.parameters.slices[k]] = block
    place = spec.parameters.slices[-1]
    out[place, place] = spec.residual.information(parts[-1])
    return out


def em_update(equations: MixedModelEquations, now: Score, held: Array) -> Array:
    """θ after one EM round; `held` parameters keep their value."""
    spec, theta = equations.spec, now.solution.theta
    new = theta.copy()
    parts = spec.parameters.split(theta)
    for k, design in enumerate(spec.random):
        sigma = design.structure.covariance(parts[k])
        new[spec.parameters.slices[k]] = design.structure.project(
            sigma + (2.0 / design.q) * sigma @ now.matrices[k] @ sigma
        )
    new[spec.parameters.slices[-1]] = spec.residual.maximize(parts[-1], now.moments)
    new[held] = theta[held]
    return new


def px_em_update(equations: MixedModelEquations, now: Score, held: Array) -> Array:
    """θ after one PX-EM round; terms with a `held` parameter are expanded but keep that parameter."""
    spec, solution = equations.spec, now.solution
    T = solution.traces
    assert T is not None
    targets, columns = _slot_columns(equations, now)
    phi = solution.theta[spec.parameters.slices[-1]]
    weighted = spec.residual.precision(phi, columns)
    traces = np.einsum("r,rst->st", solution.rho, T)
    # The fitted part Σ λ_s Z_s b̂_s is added back to ê: what the expanded slots regress on.
    fitted = columns @ solution.slots[targets]
    normal = columns.T @ weighted + traces[np.ix_(targets, targets)]
    rhs = weighted.T @ (solution.residual + fitted) - traces[targets, 0]
    slots = solution.slots.copy()
    slots[targets] = np.linalg.lstsq(normal, rhs, rcond=None)[0]
    new = solution.theta.copy()
    for k, place in enumerate(spec.parameters.slices[:-1]):
        new[place] = _expanded(equations, now, k, slots)
    residual = solution.residual + fitted - columns @ slots[targets]
    moments = [
        residual @ (D * residual if D.ndim == 1 else D @ residual) + slots @ T[r] @ slots
        for r, D in enumerate(spec.residual.bases)
    ]
    new[spec.parameters.slices[-1]] = spec.residual.maximize(phi, np.array(moments))
    new[held] = solution.theta[held]
    return new


def _slot_columns(equations: MixedModelEquations, now: Score) -> tuple[np.ndarray, Array]:
    """Positions of the slots of Λ and the n-vectors Z_i b̂_a they multiply."""
    slots = equations.layout.slots
    columns = np.zeros((equations.spec.n, len(slots) - 1))
    blocks = equations.term_blocks(now.solution.b)
    for position, slot in enumerate(slots[1:]):
        Z = equations.random[slot.term].columns[slot.i]
        columns[:, position] = Z @ blocks[slot.term][slot.a]
    return np.arange(1, len(slots)), columns


def _expanded(equations: MixedModelEquations, now: Score, k: int, slots: Array) -> Array:
    """Λ_new Σ_b Λ_new' of term k, with Σ_b = I + (2/q) Λ'SΛ the EM update of var(b)."""
    design = equations.random[k]
    factor = now.solution.factors[k][0]
    expanded = np.zeros_like(factor)
    for value, slot in zip(slots[1:], equations.layout.slots[1:], strict=True):
        if slot.term == k:
            expanded[slot.i, slot.a] = value
    inner = np.eye(design.t) + (2.0 / design.q) * factor.T @ now.matrices[k] @ factor
    return design.structure.project(expanded @ inner @ expanded.T)
