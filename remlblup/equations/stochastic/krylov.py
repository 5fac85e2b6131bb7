"""Columns of P b for every pair of variances of one relationship, by one Lanczos recurrence each.

With G = ZKZ', residuals of variances σ²_e D and N = P at G = 0, σ²_e = 1, let q_k = N r_k of the Lanczos vectors r_k,
which are orthonormal in N,

    β_k r_{k+1} = G q_k − α_k r_k − β_{k−1} r_{k−1},    r_1 = b/|b|_N,

up to columns of X. As D q_k is r_k but for these, (σ²_g G + σ²_e D) Q = R (σ²_g T + σ²_e I) + (what is next), T the
tridiagonal of α and β, so that Q does not depend on the variances (shift invariance: Frommer & Maass 1999, SIAM J Sci
Comput 20:1831):

    P b ≈ Q c,    c = (σ²_g T + σ²_e I)⁻¹ e_1 |b|_N,    |what is left|_N = σ²_g β_k |c_k|.

The iterates are those of conjugate gradients preconditioned by N. Products with G are needed for new vectors alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.equations.stochastic.conjugate_gradients import NOTHING, Operator, Projector, dots, still_ahead
from remlblup.errors import NotPositiveDefiniteError


@dataclass(frozen=True)
class Weights:
    """Of the vectors of a recurrence at a pair of variances.

    Attributes
    ----------
    c : (k, columns) zero from where a column was done
    left : (columns,) |what is left|_N over |b|_N
    error : (columns,) no less than |Pb − Qc| in the norm of V
    """

    c: Array
    left: Array
    error: Array


class Krylov:
    """The recurrence of some columns, advanced together as far as any pair of variances has asked for.

    Parameters
    ----------
    times : G
    project : N, with what of its argument is free of X
    B : (n, c)

    Attributes
    ----------
    size : (c,) |b|_N, zero of a column that X explains
    vectors : q_k, (n, c) each
    diagonal, beside : α_k and β_k, (c,) each
    """

    def __init__(self, times: Operator, project: Projector, B: Array):
        self.times, self.project = times, project
        free = project(B)[1]  # what X takes away may be all but rounding
        q, r = project(free)
        there = dots(r, r) > NOTHING**2 * dots(B, B)
        self.size = np.sqrt(np.where(there, np.maximum(dots(r, q), 0.0), 0.0))
        self.vectors = [q * inverse(self.size)]
        self.diagonal: list[Array] = []
        self.beside: list[Array] = []
        self._now, self._before = r * inverse(self.size), np.zeros_like(r)

    def extend(self) -> None:
        """Another step: a product with G."""
        q, r = self.vectors[-1], self._now
        new = self.times(q)
        alpha = dots(q, new)
        new -= alpha * r
        if self.beside:
            new -= self.beside[-1] * self._before
        q, new = self.project(new)
        beta = np.sqrt(np.maximum(dots(q, new), 0.0))
        self.diagonal.append(alpha)
        self.beside.append(beta)
        self.vectors.append(q * inverse(beta))
        self._before, self._now = r, new * inverse(beta)

    def weights(self, genetic: float, residual: float, enough: float | Array, most: int) -> Weights | None:
        """c at σ²_g and σ²_e, of the first vectors that leave less than `enough` of each column; None if `most` do not.

        They do not depend on what has been asked for before.

        Raises
        ------
        NotPositiveDefiniteError
            If V is not positive definite among the vectors.
        """
        going, left, error = self.size > 0.0, np.zeros(len(self.size)), np.zeros(len(self.size))
        ahead = np.full(len(self.size), 1.0 / residual if residual > 0.0 else np.inf)  # V is no less than σ²_e D
        pivots: list[Array] = []
        forward: list[Array] = []
        factors: list[Array] = []
        z, factor, pivot = self.size, np.zeros(len(self.size)), np.zeros(len(self.size))
        while going.any():
            k = len(pivots)
            if k == most:
                return None
            if k == len(self.diagonal):
                self.extend()
            pivot = genetic * self.diagonal[k] + residual - factor**2 * pivot
            if not np.all(pivot[going] > 0.0):
                raise NotPositiveDefiniteError("V is not positive definite at these variances.")
            pivot = np.where(going, pivot, 1.0)  # of a column that is done: nothing is added
            z = np.where(going, -factor * z if k else z, 0.0)
            pivots.append(pivot)
            forward.append(z)
            factors.append(np.where(going, factor, 0.0))
            factor = genetic * self.beside[k] / pivot
            ahead = still_ahead(ahead, 1.0 / pivot, factor**2, residual)
            left[going] = (np.abs(factor * z) * inverse(self.size))[going]
            error[going] = np.sqrt(ahead[going]) * np.abs(factor * z)[going]
            going = going & (left > enough)
        return Weights(backward(pivots, forward, factors, len(self.size)), left, error)

    def combined(self, c: Array) -> Array:
        """Q c of the first columns, as many as c (k, m) has, (n, m)."""
        out = np.zeros((len(self.vectors[0]), c.shape[1]))
        for q, weight in zip(self.vectors, c, strict=False):
            out += weight * q[:, : c.shape[1]]
        return out

    def again(self, c: Array, genetic: float, residual: float, enough: Array, most: int) -> Weights | None:
        """Of one column, c (k,) at these variances: weights of PGPb and of PDPb, (more than k, 2), of which less than
        `enough` is left; None if `most` vectors do not. GQc has a part beyond the first k."""
        for k in range(len(c) + 1, most + 1):
            while len(self.diagonal) < k:
                self.extend()
            alpha, beta = (np.array([row[0] for row in rows[:k]]) for rows in (self.diagonal, self.beside))
            padded = np.append(c, np.zeros(k - len(c)))
            Tc = alpha * padded
            Tc[:-1] += beta[:-1] * padded[1:]
            Tc[1:] += beta[:-1] * padded[:-1]
            right = np.column_stack([Tc, padded])
            w = scipy.linalg.solveh_banded(np.vstack([genetic * alpha + residual, genetic * beta]), right, lower=True)
            left = genetic * beta[-1] * np.abs(w[-1]) * inverse(np.linalg.norm(right, axis=0))  # of nothing, nothing
            if np.all(left <= enough):
                return Weights(w, left, np.full(2, np.nan))
        return None

    def once_more(self, c: Array, genetic: float, residual: float) -> Array:
        """Weights of P D P b of the columns of c (k, m) at these variances, among the same vectors."""
        k, m = c.shape
        alpha, beta = (np.array([row[:m] for row in rows[:k]]).reshape(k, m) for rows in (self.diagonal, self.beside))
        if k < 2:  # LAPACK takes no band of one row for two
            return c / (genetic * alpha + residual)
        bands = np.stack([genetic * alpha + residual, genetic * beta])
        return np.column_stack([scipy.linalg.solveh_banded(bands[:, :, j], c[:, j], lower=True) for j in range(m)])


def backward(pivots: list[Array], forward: list[Array], factors: list[Array], columns: int) -> Array:
    """c (k, columns) from LDL' of the tridiagonals and L⁻¹e_1|b|."""
    c = np.zeros((len(pivots), columns))
    for k in reversed(range(len(pivots))):
        c[k] = forward[k] / pivots[k]
        if k + 1 < len(pivots):
            c[k] -= factors[k + 1] * c[k + 1]
    return c


def inverse(size: Array) -> Array:
    """1/size, zero where it is zero."""
    return np.asarray(np.divide(1.0, size, out=np.zeros_like(size), where=size > 0.0))
