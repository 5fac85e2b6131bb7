"""Coordinates for a covariance matrix near the edge of its cone: Σ = L L' with L lower triangular.

Where a step in Σ itself would leave the cone of positive semidefinite matrices, the step is taken
in L instead: every L gives a valid Σ, and a singular Σ is a point with zero columns. With the
score matrix S = ∂ℓ/∂Σ, the gradient in L is 2 S L, and the curvature of −ℓ gains −2 S ⊗ I. Its
positive part (from the negative part of S, which keeps it convex) is what makes Newton steps converge where Σ becomes
singular (a correlation of ±1, a zero variance).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.linalg.pivoted_cholesky import pivoted_cholesky
from remlblup.linalg.small import eigensystem, triangle, triangular_inverse
from remlblup.structure.edge.base import SNAP, Edge, Inward


@dataclass(frozen=True)
class Chart(Edge):
    """Pivoted Cholesky coordinates of Σ in the metric of its unit matrix U = FF': F⁻¹ΣF⁻ᵀ = LL'.

    U is what Σ would be if the term explained all of y (`start.unit_matrices`); in its metric neither the
    scale nor the origin of a covariate plays a part.

    Attributes
    ----------
    root : (t, t) F, lower triangular
    order : (t,) effects by decreasing pivot, so that zero columns come last
    L : (t, t) lower triangular in that order; rank nonzero columns
    rank : numerical rank of Σ
    """

    root: Array
    order: np.ndarray
    L: Array
    rank: int

    @classmethod
    def at(cls, sigma: Array, root: Array, snap: float = SNAP, inverse: Array | None = None) -> Chart:
        """The chart around Σ (t, t) in the metric of FF', F⁻¹ the `inverse`; pivots below `snap` are zero."""
        return cls(root, *pivoted_cholesky(in_metric(sigma, root, inverse), snap))

    def near_face(self, snap: float) -> Chart:
        return Chart.at(self.sigma(), self.root, snap)

    @property
    def slots(self) -> tuple[Index, Index]:
        """Free entries (i, a) of L, in pivot order."""
        return triangle(len(self.order))

    @property
    def x(self) -> Array:  # type: ignore[override]
        return np.asarray(self.L[self.slots])

    @property
    def on_face(self) -> np.ndarray:  # type: ignore[override]
        return np.asarray(self.slots[1] < self.rank)

    @property
    def singular(self) -> bool:
        return self.rank < len(self.order)

    @property
    def signature(self) -> Hashable:
        return tuple(self.order), self.rank

    def moved(self, step: Array) -> Array:
        """vech(Σ) at L + step."""
        return snapped(self.sigma(step), self.root)[self.slots]

    def sigma(self, step: Array | None = None) -> Array:
        """Σ at L, or at L + step with step given per slot."""
        L = self.L.copy()
        if step is not None:
            L[self.slots] += step
        rows = np.empty_like(L)
        rows[self.order] = L
        rows = self.root @ rows
        return rows @ rows.T

    def jacobian(self) -> Array:
        """∂vech(Σ)/∂L: (t(t+1)/2, n_slots), vech row by row."""
        columns = np.empty_like(self.L)
        columns[self.order] = self.L
        columns = self.root @ columns
        slot, a = i, j = self.slots
        moved, beside = self.root[:, self.order[slot]], columns[:, a]  # Σ + f c' + c f' for a change of an entry of L
        return np.asarray(moved[i] * beside[j] + moved[j] * beside[i])

    def curvature(self, S: Array) -> Array:
        """−2 S₋ ⊗ I over the slots, S₋ the negative part of the scaled score matrix."""
        scaled = (self.root.T @ S @ self.root)[np.ix_(self.order, self.order)]
        values, vectors = eigensystem(scaled)
        negative = (vectors * np.minimum(values, 0.0)) @ vectors.T
        i, a = self.slots
        return np.where(a[:, None] == a, -2.0 * negative[i[:, None], i], 0.0)

    def inward(self, S: Array) -> Inward:
        """Largest eigenvalue of the scaled score on the null space of Σ, and its direction vech(vv').

        At a maximum on the boundary it is not positive: no direction into the cone raises ℓ.
        """
        scaled = self.root.T @ S @ self.root
        rows = np.empty_like(self.L)
        rows[self.order] = self.L
        left, _, _ = np.linalg.svd(rows[:, : self.rank], full_matrices=True) if self.rank else (np.eye(len(rows)), 0, 0)
        null = left[:, self.rank :]
        values, vectors = np.linalg.eigh(null.T @ scaled @ null)
        direction = self.root @ (null @ vectors[:, -1])
        change, here = np.outer(direction, direction)[self.slots], self.sigma()[self.slots]
        return Inward(float(values[-1]), change, lambda amount: here + amount * change)


def in_metric(sigma: Array, root: Array, inverse: Array | None = None) -> Array:
    """F⁻¹ Σ F⁻ᵀ."""
    inverse = triangular_inverse(root) if inverse is None else inverse
    return np.asarray(inverse @ sigma @ inverse.T)


def snapped(sigma: Array, root: Array) -> Array:
    """Σ with pivots that are zero to working precision set to exactly zero."""
    chart = Chart.at(sigma, root)
    return sigma if chart.rank == len(root) else chart.sigma()
