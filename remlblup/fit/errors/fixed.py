"""The errors of β̂ and how they hang on the variance parameters, by solves with the factor at hand.

With H = V⁻¹X(X'V⁻¹X)⁻¹, Φ = var(β̂) = (X'V⁻¹X)⁻¹ and any direction d of θ, V̇ = Σ d_i ∂V/∂θ_i:

    ∂Φ = H'V̇H
    Φ(Q − P Φ P)Φ = (V̇H)' P (V̇H)        Q = X'V⁻¹V̇V⁻¹V̇V⁻¹X, P = −X'V⁻¹V̇V⁻¹X of Kenward & Roger (1997)
    ΦRΦ = H'V̈H                           V̈ the second derivative along d.

The directions are those in which θ̂ has one standard error and no correlation, W = var(θ̂) = DD', so that every double
sum over W is a single one over the columns of D, and V̇H has p columns for each. Nothing is larger than X.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations, columns_at_once
from remlblup.equations.memory import WITHIN_REACH
from remlblup.fit.errors.information import Information
from remlblup.structure.parametric import Parametric

# Effects from which on their pairs are not listed.
MANY = 16
# Elements of ∂Φ/∂θ, (n_parameters, p, p), that are held at most.
SLOPES = 60_000_000
# Second derivatives are differences over this share of a standard error, or of the way to the nearest bound.
STEP = 1e-3


def in_reach(equations: Equations) -> bool:
    """Whether Satterthwaite's and Kenward & Roger's degrees of freedom can be had in reasonable time and memory."""
    p = max(equations.p, 1)
    return equations.m * p <= WITHIN_REACH and equations.spec.parameters.size * p * p <= SLOPES


def limit_in_words(equations: Equations) -> str:
    """Why they cannot, where they cannot."""
    return (
        f"{equations.p:,} fixed effects with equations of order {equations.m:,} are beyond the limit of"
        f" {WITHIN_REACH:,} numbers (or {SLOPES:,} derivatives) for other degrees of freedom"
    )


class FixedErrors:
    """Φ, its derivatives, and its adjustment of Kenward & Roger.

    Parameters
    ----------
    equations : those that `solution` belongs to
    solution : solved at the estimates, with nonsingular Λ
    information : the directions θ̂ has errors in, and those it is not known in
    """

    def __init__(self, equations: Equations, solution: Any, information: Information):
        self.equations, self.solution, self.information = equations, solution, information
        self.parts = equations.spec.parameters.split(solution.theta)

    @cached_property
    def _responses(self) -> tuple[Array, Array, Array, list[Array]]:
        """Φ (p, p), H and RH (n, p), and of every term (I ⊗ K) Z'H, (t, q, p)."""
        equations = self.equations
        Phi, H, RH, related = [], [], [], []
        for _, own, h, rh, columns in equations.fixed_responses(self.solution):
            blocks = zip(equations.term_blocks(equations.Wt @ h), equations.factor_blocks(columns), strict=True)
            of_terms = [equations.relate(k, self.solution, r, b) for k, (r, b) in enumerate(blocks)]
            Phi.append(own)
            H.append(h)
            RH.append(rh)
            shapes = [(d.t, d.q, own.shape[1]) for d in equations.random]
            related.append([u.reshape(shape) for u, shape in zip(of_terms, shapes, strict=True)])
        joined = [np.concatenate(parts, axis=2) for parts in zip(*related, strict=True)]
        covariance = np.hstack(Phi)
        return 0.5 * (covariance + covariance.T), np.hstack(H), np.hstack(RH), joined

    @property
    def covariance(self) -> Array:
        """Φ."""
        return self._responses[0]

    @cached_property
    def slopes(self) -> Array:
        """∂Φ/∂θ_i = H'V̇_iH, (n_parameters, p, p)."""
        equations = self.equations
        _, H, RH, related = self._responses
        out = np.zeros((len(self.solution.theta), *self.covariance.shape))
        places = equations.spec.parameters.slices
        blocks = equations.term_blocks(equations.Wt @ H)
        for k, (design, r, h) in enumerate(zip(equations.random, blocks, related, strict=True)):
            r = r.reshape(h.shape)
            if design.t > MANY:
                changed = design.structure.changes(self.parts[k], h.reshape(design.t, -1)).reshape(-1, *h.shape)
                out[places[k]] = np.tensordot(changed, r, axes=((1, 2), (0, 1)))
                continue
            derivatives = design.structure.derivatives(self.parts[k])
            for i, j in np.argwhere(np.any(derivatives != 0.0, axis=0)):
                out[places[k]] += derivatives[:, i, j, None, None] * (r[i].T @ h[j])
        for place, rho_dot in enumerate(equations.spec.residual.jacobian(self.parts[-1]), places[-1].start):
            out[place] = -RH.T @ equations.spec.residual.pattern.times(rho_dot, RH)
        return 0.5 * (out + np.swapaxes(out, 1, 2))

    @cached_property
    def curved_slopes(self) -> Array:
        """∂Φ along the directions of one standard error of θ̂, (c, p, p)."""
        return np.tensordot(self.information.curved.T, self.slopes, 1)

    @cached_property
    def flat_slopes(self) -> Array:
        """∂Φ along the directions nothing is known of, (f, p, p)."""
        return np.tensordot(self.information.flat.T, self.slopes, 1)

    @cached_property
    def adjusted(self) -> Array:
        """Φ_A = Φ + 2 Σ_d [(V̇H)'P(V̇H) − ¼ H'V̈H] (Kenward & Roger 1997, Biometrics 53:983)."""
        total = np.zeros_like(self.covariance)
        for direction in self.information.curved.T:
            moved, bent = self._along(direction)
            total += self._projected(moved) - 0.25 * bent
        return self.covariance + (total + total.T)

    def _along(self, direction: Array) -> tuple[Array, Array]:
        """V̇H (n, p) and H'V̈H (p, p) along a direction of θ."""
        equations, residual = self.equations, self.equations.spec.residual
        _, H, RH, related = self._responses
        effects = np.zeros((equations.W.shape[1], H.shape[1]))
        bent = np.zeros_like(self.covariance)
        parts = equations.spec.parameters.split(direction)
        scores = equations.term_blocks(equations.Wt @ H)
        for k, (design, h) in enumerate(zip(equations.random, related, strict=True)):
            structure, own = design.structure, parts[k]
            first = np.tensordot(own, structure.derivatives(self.parts[k]), 1)
            effects[equations.of_effects[k]] = np.tensordot(first, h, 1).reshape(design.t * design.q, -1)
            if not structure.linear:
                second = second_derivative(structure, structure.derivatives, self.parts[k], own)
                if design.t > MANY:
                    bent += np.tensordot(scores[k].reshape(h.shape), np.tensordot(second, h, 1), axes=((0, 1), (0, 1)))
                    continue
                for i, j in np.argwhere(second != 0.0):
                    bent += second[i, j] * (scores[k].reshape(h.shape)[i].T @ h[j])
        phi, own = self.parts[-1], parts[-1]
        changed = -residual.pattern.times(own @ residual.jacobian(phi), RH)
        of_residual = residual.multiply(phi, changed)
        if not residual.signed.all():
            second = second_derivative(residual, residual.jacobian, phi, own)
            bent += 2.0 * changed.T @ of_residual - RH.T @ residual.pattern.times(second, RH)
        return (equations.W @ effects + of_residual)[: equations.spec.n], bent

    def _projected(self, F: Array) -> Array:
        """F'PF."""
        step = columns_at_once(self.equations.m)
        parts = [
            self.equations.respond(self.solution, F[:, start : start + step])[1] for start in range(0, F.shape[1], step)
        ]
        return F.T @ np.hstack(parts)


def second_derivative(of: Parametric, slopes: Callable[[Array], Array], theta: Array, direction: Array) -> Array:
    """The second derivative along `direction` of what has first derivatives `slopes` (n_parameters, …)."""
    if not np.any(direction):
        return np.zeros(slopes(theta).shape[1:])
    room = np.minimum(theta - of.lower, of.upper - theta)
    moving = direction != 0.0
    h = min(STEP, 0.1 * float(np.min(room[moving] / np.abs(direction[moving]))))
    if not h > 0.0:  # on a bound θ moves inwards only, and nothing of the second order is known there
        return np.zeros(slopes(theta).shape[1:])

    def difference(h: float) -> Array:
        ends = (np.tensordot(direction, slopes(theta + side * h * direction), 1) for side in (1.0, -1.0))
        ahead, behind = ends
        return np.asarray((ahead - behind) / (2.0 * h))

    return (4.0 * difference(0.5 * h) - difference(h)) / 3.0
