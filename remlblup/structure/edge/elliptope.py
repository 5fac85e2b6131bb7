"""Coordinates of a correlation matrix near the edge of the set of all of them (the elliptope):
R = LL', rows of length 1.

L is lower triangular under pivoting, so that a singular R has zero columns at the end. Row i moves on the unit sphere
of its first i + 1 elements: l_i ← (l_i + B_i d)/|l_i + B_i d| with B_i an orthonormal basis of its tangent. With the
score matrix S = ∂ℓ/∂R and μ_i = −(SR)_ii, which takes the diagonal of R out of it,

    gradient 2 B_i'(SL)_i,    curvature of −ℓ beyond the information: −2 (S + diag μ)_ij B_i'B_j.

At a maximum S + diag μ is negative semidefinite and zero along R: minus the dual of a semidefinite programme
(Laurent & Poljak 1995, Linear Algebra Appl. 223/224:439).
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.linalg.pivoted_cholesky import pivoted_cholesky
from remlblup.structure.edge.base import SNAP, Edge, Inward


@dataclass(frozen=True, eq=False)
class Elliptope(Edge):
    """The coordinates around R (t, t).

    Attributes
    ----------
    order : (t,) effects by decreasing pivot
    L : (t, t) in that order, `rank` nonzero columns
    rank : numerical rank of R
    """

    order: np.ndarray
    L: Array
    rank: int

    @classmethod
    def at(cls, R: Array, snap: float = SNAP) -> Elliptope:
        """The coordinates around R; pivots below `snap` are zero."""
        order, L, rank = pivoted_cholesky(R, snap)
        return cls(order, L / np.linalg.norm(L, axis=1)[:, None], rank)

    def near_face(self, snap: float) -> Elliptope:
        return Elliptope.at(self._rows @ self._rows.T, snap)

    @property
    def singular(self) -> bool:
        return self.rank < len(self.L)

    @property
    def signature(self) -> Hashable:
        return self  # every point has tangents of its own

    @cached_property
    def tangents(self) -> tuple[np.ndarray, Array]:
        """Row each coordinate moves (n,), and the direction it moves it in (n, t)."""
        rows, directions = [], []
        for i in range(1, len(self.L)):
            inside = min(i + 1, self.rank)
            w = self.L[i, :inside]
            # The reflection that takes the axis p to -w: its other columns are orthogonal to w.
            p = int(np.argmax(np.abs(w)))
            h = w * (1.0 if w[p] > 0.0 else -1.0)
            h[p] += 1.0
            reflection = np.eye(inside) - 2.0 * np.outer(h, h) / (h @ h)
            basis = np.eye(i + 1, len(self.L), k=0)
            basis[:inside, :inside] = reflection
            directions += [basis[b] for b in range(i + 1) if b != p]
            rows += [i] * i
        return np.array(rows, dtype=int), np.array(directions).reshape(-1, len(self.L))

    @cached_property
    def x(self) -> Array:
        return np.zeros(len(self.tangents[0]))

    @cached_property
    def on_face(self) -> np.ndarray:
        return np.asarray(np.all(self.tangents[1][:, self.rank :] == 0.0, axis=1))

    @cached_property
    def _rows(self) -> Array:
        """L with its rows in the order of the effects."""
        rows = np.empty_like(self.L)
        rows[self.order] = self.L
        return rows

    def jacobian(self) -> Array:
        rows, directions = self.tangents
        out = np.zeros((len(rows), len(rows)))
        pairs = np.tril_indices(len(self.L), -1)
        for k, (i, m) in enumerate(zip(rows, directions, strict=True)):
            effect = self.order[i]
            change = np.zeros_like(self.L)
            change[effect] = self._rows @ m
            change[effect, effect] = 0.0
            out[:, k] = (change + change.T)[pairs]
        return out

    def _dual(self, S: Array) -> Array:
        """S + diag μ."""
        return S - np.diag(np.einsum("ij,ij->i", S, self._rows @ self._rows.T))

    def curvature(self, S: Array) -> Array:
        values, vectors = np.linalg.eigh(self._dual(S)[np.ix_(self.order, self.order)])
        negative = (vectors * np.minimum(values, 0.0)) @ vectors.T
        rows, directions = self.tangents
        return np.asarray(-2.0 * negative[np.ix_(rows, rows)] * (directions @ directions.T))

    def moved(self, step: Array) -> Array:
        L = self.L.copy()
        rows, directions = self.tangents
        np.add.at(L, rows, step[:, None] * directions)
        return self._correlations(L)

    def _correlations(self, L: Array) -> Array:
        """The correlations of rows of any length in pivot order, singular to working precision or not at all."""
        L = L / np.linalg.norm(L, axis=1)[:, None]
        rows = np.empty_like(L)
        rows[self.order] = L
        R = rows @ rows.T
        new = Elliptope.at(R)
        if new.singular:
            R = new._rows @ new._rows.T
        return np.clip(R[np.tril_indices(len(R), -1)], -1.0, 1.0)

    def inward(self, S: Array) -> Inward:
        null = np.linalg.svd(self._rows[:, : self.rank], full_matrices=True)[0][:, self.rank :]
        values, vectors = np.linalg.eigh(null.T @ self._dual(S) @ null)
        u = null @ vectors[:, -1]
        R = self._rows @ self._rows.T
        change = np.outer(u, u) - 0.5 * (u[:, None] ** 2 + u**2) * R

        def towards(amount: float) -> Array:
            return self._correlations(
                np.column_stack(
                    [
                        self.L[:, : self.rank],
                        np.sqrt(amount) * u[self.order],
                        np.zeros((len(u), len(u) - self.rank - 1)),
                    ]
                )
            )

        return Inward(float(values[-1]), change[np.tril_indices(len(u), -1)], towards)


def steepest(S: Array, sweeps: int = 500) -> Array:
    """The correlation matrix R with the largest tr(SR).

    Row by row with R = LL', L square: such a factorisation has no local maxima that are not global ones (Burer &
    Monteiro 2005, Math. Program. 103:427).
    """
    S = S - np.diag(np.diag(S))
    t = len(S)
    rows = np.linalg.cholesky(0.9 * np.eye(t) + 0.1)
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    for _ in range(sweeps):
        before = rows.copy()
        for i in range(t):
            towards = S[i] @ rows
            if (length := np.linalg.norm(towards)) > 0.0:
                rows[i] = towards / length
        if np.max(np.abs(rows - before)) < 1e-12:
            break
    return np.clip(rows @ rows.T, -1.0, 1.0)
