"""How far the variance parameters move when records are left out, by one step of Newton from the estimates.

With P₍ₕ₎ = P − PE_h P_hh⁻¹ E_h'P for the records that stay, B_i = E_h'P V̇_i P E_h and f_i = V̇_i P y, score and average
information of the records that stay are at the estimates exactly

    s₍ₕ₎ᵢ = s_i + ½ [tr(P_hh⁻¹B_i) − 2 δ'(Pf_i)_h + δ'B_iδ],
    AI₍ₕ₎ᵢⱼ = ½ f₍ₕ₎ᵢ'P₍ₕ₎f₍ₕ₎ⱼ,    f₍ₕ₎ᵢ = V̇_i P₍ₕ₎y = f_i − V̇_i P E_h δ,

and AI₍ₕ₎⁻¹ s₍ₕ₎ is the step along the directions θ̂ can move in (Pregibon 1981, *Ann. Stat.* 9:705; for variance
components Christensen, Pearson & Johnson 1992, *Technometrics* 34:38). For ML the trace is of
(V⁻¹)_hh⁻¹ E_h'V⁻¹V̇_iV⁻¹E_h. Of variances, and of covariance matrices that are free, it is taken in their inverse, where
it is exact for a variance by itself: σ²₍ₕ₎ = y'Py₍ₕ₎/(n − |h| − p), whatever has been left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.equations.base import CHUNK
from remlblup.equations.slopes import slope_times
from remlblup.fit.errors.intervals import bounds_of

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# A covariance matrix with an eigenvalue of less than this share of its largest has no inverse to step in.
SINGULAR = 1e-8

# Numbers held at once for the slopes of some columns.
NUMBERS = 20_000_000

# Of one case: its records h, P E_h, P_hh, δ and CX'V⁻¹E_h.
Case = tuple[np.ndarray, Array, Array, Array, Array]


class OneStep:
    """Steps of θ from the estimates of a fit."""

    def __init__(self, fit: Estimates):
        self.optimum, optimum = fit._optimum, fit._optimum.precise
        self.fit, self.equations, self.point = fit, optimum.searched, optimum.point
        self.J = fit._precise_information.curved
        n = fit.specification.n
        Py = fit._solution.weighted_residual[:n]
        self.f = self.slopes(Py[:, None])[:, :, 0].T  # (n, n_parameters)
        self.Pf = self.project(self.f)
        self.low, self.high = bounds_of(fit.specification.parameters, fit.options.constrain)
        self.H = self._regressions() if fit.options.ml else None

    def slopes(self, v: Array) -> Array:
        """V̇_i v of every variance parameter, (n_parameters, n, c)."""
        theta = self.point.theta
        return slope_times(self.equations, theta, np.eye(len(theta)), v)

    def project(self, V: Array) -> Array:
        """P V, some columns at a time."""
        equations, solution = self.fit._equations, self.fit._solution
        parts = [equations.respond(solution, V[:, k : k + CHUNK])[1] for k in range(0, V.shape[1], CHUNK)]
        return np.hstack(parts) if parts else V

    def _regressions(self) -> Array:
        """V⁻¹XC (n, p)."""
        n = self.fit.specification.n
        parts = [H[:n] for _, _, H, _, _ in self.fit._equations.fixed_responses(self.fit._solution)]
        return np.hstack(parts) if parts else np.zeros((n, 0))

    def without(self, cases: Sequence[Case], root: Any) -> Array:
        """θ without each case less θ̂, (cases, n_parameters)."""
        return np.array([self.step(*known) for known in self.reduced(cases, root)])

    def reduced(self, cases: Sequence[Case], root: Any) -> list[tuple[Array, Array]]:
        """Score and average information by θ of `Optimum.precise` at θ̂, of the records that stay, for each case."""
        scores, variates = [], []
        for (h, PE, A, delta, beta), V_dot_PE in zip(cases, self._slopes_of([case[1] for case in cases]), strict=True):
            B = np.tensordot(V_dot_PE, PE, ([1], [0])).swapaxes(1, 2)
            inverse = np.linalg.inv(A)
            traces = np.tensordot(B, inverse.T, 2) if self.H is None else self._of_ml(PE, A, beta, root)
            quadratic = -2.0 * delta @ self.Pf[h] + B @ delta @ delta
            scores.append(self.point.gradient + 0.5 * (traces + quadratic))
            variates.append(self.f - (V_dot_PE @ delta).T)
        projected, count = self.project(np.hstack(variates)), self.f.shape[1]
        informations = []
        for number, (h, _, A, _, _) in enumerate(cases):
            G = projected[:, number * count : (number + 1) * count]
            informations.append(0.5 * (variates[number].T @ G - G[h].T @ np.linalg.solve(A, G[h])))
        return list(zip(scores, informations, strict=True))

    def _slopes_of(self, columns: Sequence[Array]) -> Iterator[Array]:
        """V̇_i v (n_parameters, n, c) of each v (n, c), made for several at once."""
        most = max(1, NUMBERS // max(self.f.size, 1))
        group: list[Array] = []
        for v in columns:
            if group and sum(w.shape[1] for w in [*group, v]) > most:
                yield from self._apart(group)
                group = []
            group.append(v)
        yield from self._apart(group)

    def _apart(self, group: list[Array]) -> list[Array]:
        ends = np.cumsum([v.shape[1] for v in group])[:-1]
        return np.split(self.slopes(np.hstack(group)), ends, axis=2)

    def _of_ml(self, PE: Array, A: Array, beta: Array, root: Any) -> Array:
        """tr[(V⁻¹)_hh⁻¹ E_h'V⁻¹V̇_iV⁻¹E_h] for all i."""
        solved = scipy.linalg.cho_solve(root, beta) if root is not None else beta
        assert self.H is not None
        inverse_columns = PE + self.H @ solved
        B = np.tensordot(self.slopes(inverse_columns), inverse_columns, ([1], [0])).swapaxes(1, 2)
        return np.tensordot(B, np.linalg.inv(A + beta.T @ solved).T, 2)

    def step(self, score: Array, information: Array) -> Array:
        """The step along the directions θ̂ can move in, no further than the bounds; NaN where it is not determined."""
        if not self.J.shape[1]:
            return np.zeros(len(score))
        inner = self.J.T @ information @ self.J
        try:
            step = self.J @ scipy.linalg.solve(0.5 * (inner + inner.T), self.J.T @ score, assume_a="pos")
        except np.linalg.LinAlgError:
            return np.full(len(score), np.nan)
        theta = self.fit.theta if self.optimum.turned is None else self.optimum.own(self.point.theta)
        return np.asarray(np.clip(self.optimum.own(self.taken(step)), self.low, self.high) - theta)

    def taken(self, step: Array) -> Array:
        """θ̂ + step, variances and free covariance matrices by their inverse."""
        parameters, theta = self.equations.spec.parameters, self.point.theta
        structures = zip((*parameters.structures, parameters.residual), parameters.slices, strict=True)
        parts = [moved(structure, theta[place], step[place]) for structure, place in structures]
        return np.concatenate(parts)


def moved(structure: Any, theta: Array, step: Array) -> Array:
    """θ + step of one structure, of R by its sections, variances and a free covariance matrix by their inverse."""
    if hasattr(structure, "slices") and hasattr(structure, "parts"):
        pieces = zip(structure.parts, structure.slices, strict=True)
        return np.concatenate([moved(part, theta[own], step[own]) for part, own in pieces])
    within = getattr(structure, "structure", structure)  # Σ of the blocks of R
    if getattr(within, "cone", False) and within.size > 1:
        return inverse_step(within, theta, step)
    own = np.flatnonzero(structure.variances & (theta > 0.0))
    out = theta + step
    out[own] = theta[own] * grown(step[own] / theta[own])
    return out


def grown(x: Array) -> Array:
    """1/(1 − x), the inverse of what 1 − x has fallen to; beyond x = ½ along its tangent."""
    return np.where(x < 0.5, 1.0 / (1.0 - np.minimum(x, 0.5)), 2.0 + 4.0 * (x - 0.5))


def inverse_step(structure: Any, theta: Array, step: Array) -> Array:
    """The same of a covariance matrix, by the eigenvalues of Σ^-½ Δ Σ^-½; θ + step where Σ is singular."""
    sigma = structure.covariance(theta)
    d = np.sqrt(np.maximum(np.diag(sigma), 0.0))  # of correlations: effects have units of their own
    if not d.min() > 0.0:
        return np.asarray(theta + step)
    values, vectors = np.linalg.eigh(sigma / np.outer(d, d))
    if not values[0] > SINGULAR * values[-1]:
        return np.asarray(theta + step)
    root = d[:, None] * vectors * np.sqrt(values)
    inverse = vectors / np.sqrt(values) / d[:, None]
    x, turned = np.linalg.eigh(inverse.T @ structure.covariance(step) @ inverse)
    half = root @ turned
    return np.asarray(structure.project((half * grown(x)) @ half.T))
