"""EM and parameter-expanded EM rounds, and the information an EM step uses.

EM (Dempster, Laird & Rubin 1977): Σ ← (U'K⁻¹U + T)/q with U the BLUPs and T_ij = tr(K⁻¹C^{ij}).
By the score matrix S = ½ Σ⁻¹[U'K⁻¹U + T − qΣ]Σ⁻¹ this is Σ ← Σ + (2/q) Σ S Σ: a Newton step with
the complete-data information in place of the average information. The residual variance is
E[e'e | y]/n (Mrode's section 17 takes y'ê/(n−r) instead and so prints other first rounds; both
have the same fixed point).

PX-EM (Liu, Rubin & Wu 1998; Foulley & van Dyk 2000) regresses y on the columns of Z b̂ as well:
with the model written as y = Xβ + Σ_s λ_s Z_s b_s + e, the expanded parameters are the slots λ
of Λ themselves, so that Σ ← Λ_new Σ_b Λ_new' with Σ_b the EM update of var(b).

A structure that is not linear in θ has no closed M step: scoring steps that raise the expected complete-data
likelihood take its place (a generalised EM, whose rounds do not lower ℓ either), and PX-EM expands it by one scale
factor, Λ ← αΛ. One written in Λ itself (reduced rank) takes the regression on Z b̂ for its update, in both algorithms.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.linalg.scaled_solve import scaled_inverse, scaled_solve
from remlblup.model.design import RandomDesign
from remlblup.reml.score import Score
from remlblup.structure.base import Structure
from remlblup.structure.residual.base import ResidualStructure

# Scoring steps of one M step, and halvings of each.
STEPS, HALVINGS = 20, 30
# Above this many effects the M step is one in the scale of Σ alone.
LARGE = 150


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
    place = spec.parameters.of_residual
    out[place, place] = spec.residual.information(parts[-1])
    return out


def observed_information(structure: Structure, q: int, theta: Array, unit: Array) -> Array:
    """½ q tr(Σ⁻¹Σ̇_iΣ⁻¹Σ̇_j): information on θ of q observed vectors u ~ N(0, Σ)."""
    # A singular Σ has infinite information across its face: a small ridge keeps it finite.
    ridge, derivatives = structure.covariance(theta) + 1e-8 * unit, structure.derivatives(theta)
    try:
        solved = np.linalg.solve(ridge, derivatives)
    except np.linalg.LinAlgError:  # covariates so alike that the ridge is lost in rounding
        solved = scaled_inverse(ridge) @ derivatives
    return np.asarray(0.5 * q * np.einsum("pij,qji->pq", solved, solved))


def within_bounds(structure: Structure | ResidualStructure, theta: Array) -> Array:
    """θ moved onto the bounds it exceeds."""
    return np.clip(theta, structure.lower, structure.upper)


def em_update(equations: Equations, now: Score, held: np.ndarray, units: list[Array]) -> Array:
    """θ after one EM round; `held` parameters keep their value."""
    spec, theta = equations.spec, now.solution.theta
    new = theta.copy()
    parts = spec.parameters.split(theta)
    in_factor = [d.structure.in_factor for d in equations.random]
    expansion, slots = equations.expansion, np.zeros(0)
    if any(in_factor):
        assert expansion is not None
        slots, _ = expansion.regressed(now.solution, now.ml, ["free" if f else "" for f in in_factor])
    for k, (design, place) in enumerate(zip(equations.random, spec.parameters.of_terms, strict=True)):
        structure, sigma = design.structure, design.structure.covariance(parts[k])
        if structure.in_factor:
            assert expansion is not None
            factor = expansion.factor(k, slots)
            new[place] = structure.project(factor @ factor.T)
        elif structure.linear and (not held[place].any() or structure.n_parameters == 1):
            new[place] = structure.project(sigma + (2.0 / design.q) * sigma @ now.of_sigma[k] @ sigma)
        else:
            new[place] = scored(design, parts[k], now.of_sigma[k], held[place], units[k])
    place = spec.parameters.of_residual
    new[place] = maximized(spec.residual, parts[-1], now.moments, held[place])
    new[held] = theta[held]
    return new


def scored(design: RandomDesign, theta: Array, S: Array, held: np.ndarray, unit: Array) -> Array:
    """θ of one term after scoring steps in what is not `held`, none of which lowers the complete-data likelihood.

    With M = Σ + (2/q) Σ S Σ = E[U'K⁻¹U | y]/q that likelihood is −½ q [log|Σ(θ)| + tr(Σ(θ)⁻¹ M)]; a singular Σ, which
    stays so, is kept off zero by a small ridge (and its maximum is off by as much).
    """
    structure, q = design.structure, design.q
    if structure.size > LARGE and (scaled := rescaled(design, theta, S, held)) is not None:
        return scaled
    sigma, size = structure.covariance(theta), np.sqrt(np.diag(unit))
    singular = np.linalg.eigvalsh(sigma / np.outer(size, size))[0] < 1e-6
    ridge = 1e-8 * unit if singular else np.zeros_like(unit)
    moments = sigma + (2.0 / q) * sigma @ S @ sigma + ridge

    def value(at: Array) -> float:
        if not structure.feasible(at):
            return -np.inf
        try:
            root = np.linalg.cholesky(structure.covariance(at) + ridge)
        except np.linalg.LinAlgError:
            return -np.inf
        half = np.linalg.solve(root, np.linalg.solve(root, moments).T)
        return -q * float(np.sum(np.log(np.diag(root))) + 0.5 * np.trace(half))

    here = value(theta)
    for _ in range(STEPS):
        inverse = np.linalg.inv(structure.covariance(theta) + ridge)
        left = inverse @ (moments - structure.covariance(theta) - ridge) @ inverse
        gradient = 0.5 * q * np.einsum("ij,pij->p", left, structure.derivatives(theta))
        information = observed_information(structure, q, theta, unit)
        outward = np.where(gradient < 0.0, theta <= structure.lower, theta >= structure.upper)
        free = ~held & ~outward & (np.diag(information) > 0.0)
        step = np.zeros(len(theta))
        step[free] = scaled_solve(information[np.ix_(free, free)], gradient[free])
        for fraction in 0.5 ** np.arange(HALVINGS):
            new = within_bounds(structure, theta + fraction * step)
            if (there := value(new)) >= here - 1e-13 * (q + abs(here)):
                break
        else:
            return theta
        gain, theta, here = there - here, new, there
        if gain < 1e-10 * q:
            break
    return theta


def rescaled(design: RandomDesign, theta: Array, S: Array, held: np.ndarray) -> Array | None:
    """θ of Σ times the factor that maximises the complete-data likelihood, 1 + 2 tr(SΣ)/(qt): no inverse of a large Σ.

    None for a structure that does not say, or one held in part.
    """
    if held.any():
        return None
    sigma = design.structure.covariance(theta)
    factor = 1.0 + 2.0 * float(np.vdot(S, sigma)) / (design.q * design.t)
    return design.structure.scaled(theta, max(factor, 0.0))


def maximized(residual: ResidualStructure, phi: Array, moments: Array, held: np.ndarray) -> Array:
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


def px_em_update(equations: Equations, now: Score, held: np.ndarray, units: list[Array]) -> Array:
    """θ after one PX-EM round; of a term in part `held` the EM round."""
    expansion = equations.expansion
    if expansion is None:
        return em_update(equations, now, held, units)
    spec, solution = equations.spec, now.solution
    parts = spec.parameters.split_terms(solution.theta)
    how = [
        expandable(d.structure, part, held[place])
        for d, part, place in zip(equations.random, parts, spec.parameters.of_terms, strict=True)
    ]
    slots, residual = expansion.regressed(solution, now.ml, how)
    new = solution.theta.copy()
    for k, (design, place) in enumerate(zip(equations.random, spec.parameters.of_terms, strict=True)):
        if how[k] == "free":
            new[place] = expanded(design, now, k, expansion.factor(k, slots))
        elif not held[place].all():
            new[place] = scored(design, parts[k], now.of_sigma[k], held[place], units[k])
            if how[k] == "scaled":
                before, after = solution.factors[k][0], expansion.factor(k, slots)
                scale = float(np.sum(before * after) / np.sum(before**2))
                new[place] = design.structure.scaled(new[place], scale**2)
    moments = expansion.moments(solution, now.ml, slots, residual)
    place = spec.parameters.of_residual
    new[place] = maximized(spec.residual, solution.theta[place], moments, held[place])
    new[held] = solution.theta[held]
    return new


def expandable(structure: Structure, theta: Array, held: np.ndarray) -> str:
    """What PX-EM expands a term by: every slot of Λ ("free"), one factor for all ("scaled"), or nothing ("")."""
    if structure.in_factor:
        return "free"
    if held.any():
        return ""
    if structure.linear:
        return "free"
    return "scaled" if structure.scaled(theta, 1.0) is not None and np.any(structure.covariance(theta)) else ""


def expanded(design: RandomDesign, now: Score, k: int, new: Array) -> Array:
    """θ of Λ_new Σ_b Λ_new' of term k, with Σ_b = I + (2/q) Λ'SΛ the EM update of var(b)."""
    factor = now.solution.factors[k][0]
    if design.structure.in_factor:
        return design.structure.project(new @ new.T)
    inner = np.eye(design.t) + (2.0 / design.q) * factor.T @ now.of_sigma[k] @ factor
    return design.structure.project(new @ inner @ new.T)
