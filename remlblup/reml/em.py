"""EM and parameter-expanded EM rounds, and the information an EM step uses.

EM (Dempster, Laird & Rubin 1977): Σ ← (U'K⁻¹U + T)/q with U the BLUPs and T_ij = tr(K⁻¹C^{ij}).
By the score matrix S = ½ Σ⁻¹[U'K⁻¹U + T − qΣ]Σ⁻¹ this is Σ ← Σ + (2/q) Σ S Σ: a Newton step with
the complete-data information in place of the average information. The residual variance is
E[e'e | y]/n (Mrode's section 17 takes y'ê/(n−r) instead and so prints other first rounds; both
have the same fixed point).

PX-EM (Liu, Rubin & Wu 1998; Foulley & van Dyk 2000) regresses y on the columns of Z b̂ as well:
with the model written as y = Xβ + Σ_s λ_s Z_s b_s + e, the expanded parameters are the slots λ
of Λ themselves, so that Σ ← Λ_new Σ_b Λ_new' with Σ_b the EM update of var(b).

A structure that is not linear in θ has no closed M step: one scoring step on the expected complete-data
likelihood takes its place (a generalised EM, which the loop checks like any other step). One written in Λ itself
(reduced rank) takes the regression on Z b̂ for its update, in both algorithms.
"""

from __future__ import annotations

import numpy as np

from remlblup.equations.base import Equations
from remlblup.equations.mme import MixedModelEquations
from remlblup.linalg.scaled import scaled_solve
from remlblup.model.design import RandomDesign
from remlblup.reml.score import Score
from remlblup.structure.base import Array, ResidualStructure, Structure


def complete_information(equations: Equations, theta: Array, units: list[Array], average: Array) -> Array:
    """Information on θ if u and e were observed: ½ q tr(Σ⁻¹Σ̇_iΣ⁻¹Σ̇_j) and that of R; block diagonal.

    A structure written in Λ itself has none that is finite: the diagonal of the `average` information serves.
    """
    spec = equations.spec
    out = np.zeros((len(theta), len(theta)))
    parts = spec.parameters.split(theta)
    for k, design in enumerate(equations.random):
        place = spec.parameters.slices[k]
        if design.structure.in_factor:
            out[place, place] = np.diag(np.diag(average[place, place]))
        else:
            out[place, place] = observed_information(design.structure, design.q, parts[k], units[k])
    place = spec.parameters.slices[-1]
    out[place, place] = spec.residual.information(parts[-1])
    return out


def observed_information(structure: Structure, q: int, theta: Array, unit: Array) -> Array:
    """½ q tr(Σ⁻¹Σ̇_iΣ⁻¹Σ̇_j): information on θ of q observed vectors u ~ N(0, Σ)."""
    # A singular Σ has infinite information across its face: a small ridge keeps it finite.
    ridge = structure.covariance(theta) + 1e-8 * unit
    solved = np.linalg.solve(ridge, structure.derivatives(theta))
    return np.asarray(0.5 * q * np.einsum("pij,qji->pq", solved, solved))


def within_bounds(structure: Structure | ResidualStructure, theta: Array) -> Array:
    """θ moved onto the bounds it exceeds."""
    return np.clip(theta, structure.lower, structure.upper)


def em_update(equations: Equations, now: Score, held: Array, units: list[Array]) -> Array:
    """θ after one EM round; `held` parameters keep their value."""
    spec, theta = equations.spec, now.solution.theta
    new = theta.copy()
    parts = spec.parameters.split(theta)
    in_factor = [d.structure.in_factor for d in equations.random]
    slots = None
    if any(in_factor):
        assert isinstance(equations, MixedModelEquations)
        slots, _ = regressed_slots(equations, now, in_factor)
    for k, (design, place) in enumerate(zip(equations.random, spec.parameters.slices, strict=False)):
        structure, sigma = design.structure, design.structure.covariance(parts[k])
        if slots is not None and structure.in_factor:
            assert isinstance(equations, MixedModelEquations)
            factor = factor_of_slots(equations, k, slots)
            new[place] = structure.project(factor @ factor.T)
        elif structure.linear and (not held[place].any() or structure.n_parameters == 1):
            new[place] = structure.project(sigma + (2.0 / design.q) * sigma @ now.matrices[k] @ sigma)
        else:
            new[place] = scored(design, parts[k], now.gradient[place], held[place], units[k])
    place = spec.parameters.slices[-1]
    new[place] = maximized(spec.residual, parts[-1], now.moments, held[place])
    new[held] = theta[held]
    return new


def scored(design: RandomDesign, theta: Array, gradient: Array, held: Array, unit: Array) -> Array:
    """θ of one term after a scoring step of the complete-data likelihood in what is not `held`."""
    free = ~held
    information = observed_information(design.structure, design.q, theta, unit)
    new = theta.copy()
    new[free] += scaled_solve(information[np.ix_(free, free)], gradient[free])
    return within_bounds(design.structure, new)


def maximized(residual: ResidualStructure, phi: Array, moments: Array, held: Array) -> Array:
    """The M step of R, half-way back to φ where a scoring step overshoots."""
    free = ~held
    if free.all():
        new = residual.maximize(phi, moments)
    else:
        new = phi.copy()
        new[free] += scaled_solve(residual.information(phi)[np.ix_(free, free)], residual.score(phi, moments)[free])
    for _ in range(30):
        inside = np.all(new > residual.lower) and np.all(new < residual.upper)
        if inside and residual.feasible(new):
            break
        new = 0.5 * (phi + new)
    return new


def px_em_update(equations: Equations, now: Score, held: Array, units: list[Array]) -> Array:
    """θ after one PX-EM round; of a term in part `held`, and of one not linear in θ, the EM round."""
    if not isinstance(equations, MixedModelEquations):
        return em_update(equations, now, held, units)
    spec, solution = equations.spec, now.solution
    slots, residual = regressed_slots(equations, now, [True] * len(spec.random))
    new = solution.theta.copy()
    for k, (design, place) in enumerate(zip(equations.random, spec.parameters.slices, strict=False)):
        if design.structure.in_factor or (design.structure.linear and not held[place].any()):
            new[place] = expanded(equations, now, k, slots)
        elif not held[place].all():
            new[place] = scored(design, solution.theta[place], now.gradient[place], held[place], units[k])
            for s, slot in enumerate(equations.layout.slots):
                slots[s] = solution.slots[s] if slot.term == k else slots[s]
    moments = spec.residual.pattern.moments(residual) + equations.residual_traces(solution, slots, ml=now.ml)
    place = spec.parameters.slices[-1]
    new[place] = maximized(spec.residual, solution.theta[place], moments, held[place])
    new[held] = solution.theta[held]
    return new


def regressed_slots(equations: MixedModelEquations, now: Score, terms: list[bool]) -> tuple[Array, Array]:
    """Slots λ of the chosen terms regressed anew, E[‖y − Xβ − Σ λ_s Z_s b_s‖² | y] least; and the ê they leave."""
    solution = now.solution
    targets = np.array([s for s, slot in enumerate(equations.layout.slots) if slot.term >= 0 and terms[slot.term]], int)
    columns = slot_columns(equations, now, targets)
    T, _ = equations.slot_traces(solution, ml=now.ml)
    # The fitted part Σ λ_s Z_s b̂_s is added back to ê: what the slots regress on.
    fitted = columns @ solution.slots[targets]
    weighted = equations.spec.residual.precision(solution.theta[equations.spec.parameters.slices[-1]], columns)
    others = np.setdiff1d(np.arange(len(solution.slots)), targets)
    normal = columns.T @ weighted + T[np.ix_(targets, targets)]
    rhs = weighted.T @ (solution.residual + fitted) - T[np.ix_(targets, others)] @ solution.slots[others]
    slots = solution.slots.copy()
    slots[targets] = np.linalg.lstsq(normal, rhs, rcond=None)[0]
    return slots, solution.residual + fitted - columns @ slots[targets]


def slot_columns(equations: MixedModelEquations, now: Score, targets: np.ndarray) -> Array:
    """The vectors Z_i b̂_a that the slots of Λ multiply, (n, n_targets), zero for the cells filled in."""
    columns = np.zeros((len(equations.y), len(targets)))
    blocks = equations.factor_blocks(now.solution.b)
    for position, s in enumerate(targets):
        slot = equations.layout.slots[s]
        Z = equations.random[slot.term].columns[slot.i]
        columns[: Z.shape[0], position] = Z @ blocks[slot.term][slot.a]
    return columns


def factor_of_slots(equations: MixedModelEquations, k: int, slots: Array) -> Array:
    """Λ of term k with the given slots."""
    structure = equations.random[k].structure
    factor = np.zeros((structure.size, structure.n_factors))
    for value, slot in zip(slots, equations.layout.slots, strict=True):
        if slot.term == k:
            factor[slot.i, slot.a] = value
    return factor


def expanded(equations: MixedModelEquations, now: Score, k: int, slots: Array) -> Array:
    """θ of Λ_new Σ_b Λ_new' of term k, with Σ_b = I + (2/q) Λ'SΛ the EM update of var(b)."""
    design = equations.random[k]
    factor, new = now.solution.factors[k][0], factor_of_slots(equations, k, slots)
    if design.structure.in_factor:
        return design.structure.project(new @ new.T)
    inner = np.eye(design.t) + (2.0 / design.q) * factor.T @ now.matrices[k] @ factor
    return design.structure.project(new @ inner @ new.T)
