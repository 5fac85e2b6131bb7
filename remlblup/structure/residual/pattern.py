"""R⁻¹ = Σ_r ρ_r D_r: the fixed matrices D_r held together as one list of entries."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, Index, sums
from remlblup.cached import cached_property


class Pattern:
    """Entries of the lower triangle of R⁻¹: the entry at (row, column) is value · ρ[coefficient].

    Several entries may fall on one place: they add up. So any number of coefficients, one for all
    records or one for each, costs what its entries cost.

    Parameters
    ----------
    n : int
        Order of R.
    rows, columns : (nnz,) int arrays, rows >= columns
    coefficient : (nnz,) int array
        Which ρ each entry belongs to.
    value : (nnz,) array
    n_coefficients : int
    """

    def __init__(self, n: int, rows: Index, columns: Index, coefficient: Index, value: Array, n_coefficients: int):
        self.n, self.n_coefficients = n, n_coefficients
        self.rows, self.columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        self.coefficient = np.asarray(coefficient, np.int64)
        self.value = np.asarray(value, np.float64)

    @classmethod
    def diagonal(cls, coefficient: Index, value: Array, n_coefficients: int) -> Pattern:
        """A diagonal R⁻¹: one entry per record."""
        index = np.arange(len(value))
        out = cls(len(value), index, index, coefficient, value, n_coefficients)
        out.__dict__["is_diagonal"] = True
        return out

    @cached_property
    def is_diagonal(self) -> bool:
        """Whether R⁻¹ is diagonal, with one entry per record in their order."""
        return (
            len(self.rows) == self.n
            and bool(np.all(self.rows == self.columns))
            and bool(np.all(self.rows == np.arange(self.n)))
        )

    @cached_property
    def _twice(self) -> Array:
        """Weight of an entry in v'D_r v."""
        return self.value * np.where(self.rows == self.columns, 1.0, 2.0)

    @cached_property
    def traces(self) -> Array:
        """tr D_r of every r, (n_coefficients,)."""
        diagonal = self.rows == self.columns
        return sums(self.coefficient[diagonal], self.value[diagonal], self.n_coefficients)

    def entries(self, rho: Array) -> Array:
        """Values of the entries at coefficients ρ, shape (nnz,)."""
        return self.value * (rho[0] if self.n_coefficients == 1 else rho[self.coefficient])

    @cached_property
    def _layout(self) -> tuple[Index, Index, Index, Index]:
        """Both triangles by rows (CSR): row pointers, columns, and the entry and the place of each contribution."""
        below = np.flatnonzero(self.rows != self.columns)
        rows = np.concatenate([self.rows, self.columns[below]])
        columns = np.concatenate([self.columns, self.rows[below]])
        key = rows * self.n + columns
        order = np.argsort(key)
        new = np.diff(key[order], prepend=-1) != 0
        first = order[new]
        pointers = np.concatenate([[0], np.cumsum(np.bincount(rows[first], minlength=self.n))])
        entry = np.concatenate([np.arange(len(self.rows)), below])[order]
        return pointers, columns[first], entry, np.cumsum(new) - 1

    def matrix(self, rho: Array) -> sp.csr_array:
        """Σ_r ρ_r D_r, both triangles, shape (n, n)."""
        pointers, columns, entry, place = self._layout
        data = np.bincount(place, self.entries(rho)[entry], len(columns))
        return sp.csr_array((data, columns, pointers), shape=(self.n, self.n))

    def times(self, rho: Array, v: Array) -> Array:
        """Σ_r ρ_r D_r v for v of shape (n,) or (n, k)."""
        if self.is_diagonal:
            entries = self.entries(rho)
            return np.asarray(v * (entries if v.ndim == 1 else entries[:, None]))
        return np.asarray(self.matrix(rho) @ v)

    def moments(self, v: Array) -> Array:
        """v'D_r v of every r: (n_coefficients,) for v (n,), (n_coefficients, k) for the columns of v (n, k)."""
        if self.n_coefficients == 1 and self.is_diagonal:
            if v.ndim == 1:
                return np.asarray(self.value @ (v * v))[None]
            return np.asarray(np.einsum("i,ik,ik->k", self.value, v, v))[None]
        if v.ndim == 2:
            return np.column_stack([np.zeros((self.n_coefficients, 0)), *map(self.moments, v.T)])
        weights = self.value * v * v if self.is_diagonal else self._twice * v[self.rows] * v[self.columns]
        return np.asarray(np.bincount(self.coefficient, weights, self.n_coefficients), np.float64)
