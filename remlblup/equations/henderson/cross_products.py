"""W'R⁻¹W = Σ_r ρ_r W'D_rW on one fixed pattern: the first of the two linear stages of C(θ)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.linalg.contract import columns_of, lower_triangle
from remlblup.linalg.factor import DENSE_LIMIT
from remlblup.linalg.memory import Need
from remlblup.structure.residual.pattern import Pattern

# Up to this many coefficients each W'D_rW is one sparse product; beyond, all products are listed at once.
FEW_COEFFICIENTS = 64
# W'R⁻¹W of so few elements is multiplied as a dense matrix.
DENSE_ELEMENTS = 20_000


@dataclass(frozen=True)
class CrossProducts:
    """The lower triangle of W'R⁻¹W.

    Attributes
    ----------
    rows : (nnz,) of the entries, column by column
    starts : (m + 1,) where each column begins
    bases : (nnz, n_coefficients) CSR, column r holds W'D_rW; or its values (nnz,) if there is one coefficient
    whole : (m, m) both triangles of one W'DW of few elements, if it was made; else None
    """

    rows: np.ndarray
    starts: np.ndarray
    bases: sp.csr_array | Array
    whole: Array | None = None

    @cached_property
    def columns(self) -> np.ndarray:
        """(nnz,) of the entries; made again where they have been forgotten."""
        return columns_of(self.starts, self.rows.dtype.type)

    def forget_columns(self) -> None:
        """Let go of the columns, which the starts tell."""
        self.__dict__.pop("columns", None)

    @property
    def need(self) -> Need:
        """W'D_rW of every r, and what passes while its entries are listed and sorted."""
        few = isinstance(self.bases, np.ndarray)
        entries = len(self.rows) if isinstance(self.bases, np.ndarray) else self.bases.nnz
        return Need.of(
            float(self.rows.nbytes + self.starts.nbytes) + (8.0 if few else 16.0) * entries,
            (30.0 if few else 90.0) * entries,
        )

    def values(self, rho: Array) -> Array:
        """W'R⁻¹W at the coefficients ρ, (nnz,)."""
        scale, M = self.scaled(rho)
        return scale * M

    def scaled(self, rho: Array) -> tuple[float, Array]:
        """The same as a number and what it multiplies: of one coefficient there is a vector already."""
        return (rho[0], self.bases) if isinstance(self.bases, np.ndarray) else (1.0, self.bases @ rho)

    def traces(self, weights: Array) -> Array:
        """Σ over the entries of weights · W'D_rW, for every r."""
        return np.array([weights @ self.bases]) if isinstance(self.bases, np.ndarray) else self.bases.T @ weights

    def times(self, rho: Array, B: Array) -> Array:
        """W'R⁻¹W B for B (m, k)."""
        m = len(B)
        if self.whole is not None:
            return rho[0] * (self.whole @ B)
        if m * m <= DENSE_ELEMENTS:
            M = np.zeros((m, m))
            M[self.rows, self.columns] = M[self.columns, self.rows] = self.values(rho)
            return M @ B
        if m > DENSE_LIMIT:
            from remlblup.linalg.sparse import stages

            out = np.zeros(B.shape)
            stages.add_symmetric(self.rows, self.starts, *self.scaled(rho), np.ascontiguousarray(B), out)
            return out
        lower = sp.csc_array(sp.coo_array((self.values(rho), (self.rows, self.columns)), shape=(m, m)))
        return np.asarray(lower @ B + lower.T @ B - lower.diagonal()[:, None] * B)


def cross_products(W: sp.csr_array | Array, pattern: Pattern, transposed: sp.sparray | None = None) -> CrossProducts:
    """Lay out W'D_rW (W is (n, m)) for the D_r of R⁻¹; compiled functions are given W' as well, `transposed`."""
    m = W.shape[1]
    if pattern.n_coefficients == 1 and pattern.is_diagonal and isinstance(W, np.ndarray):
        filled = (W != 0.0).astype(np.float32)
        columns, rows = (filled.T @ filled > 0.0).nonzero()
        below = rows >= columns
        columns, rows = columns[below], rows[below]
        whole, starts = W.T @ (pattern.value[:, None] * W), np.searchsorted(columns, np.arange(m + 1))
        return CrossProducts(rows, starts, whole[rows, columns], whole if m * m <= DENSE_ELEMENTS else None)
    W = sp.csr_array(W)
    if pattern.n_coefficients == 1 and pattern.is_diagonal and transposed is not None:
        from remlblup.linalg.sparse.cross import lower_product

        W.sort_indices()
        starts, rows, values = lower_product(W, sp.csr_array(transposed), pattern.value)
        return CrossProducts(rows, starts.astype(np.int32 if len(rows) < 2**31 else np.int64), values)
    if pattern.n_coefficients == 1 and pattern.is_diagonal:
        product = one_product(W, pattern.rows, pattern.rows, pattern.value)
        return CrossProducts(product.indices, product.indptr, product.data)
    parts = [by_coefficient, listed][pattern.n_coefficients > FEW_COEFFICIENTS](W, pattern)
    keys, coefficient, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    found, position = np.unique(keys, return_inverse=True)
    bases = sp.csr_array((values, (position, coefficient)), shape=(len(found), pattern.n_coefficients))
    return CrossProducts(found % m, np.searchsorted(found, m * np.arange(m + 1, dtype=np.int64)), bases)


def one_product(W: sp.csr_array, rows: np.ndarray, columns: np.ndarray, value: Array) -> sp.csc_array:
    """Lower triangle of W'DW in sorted CSC, for the entries of the lower triangle of one D."""
    diagonal = rows == columns
    left, right = (
        (W, W)
        if len(rows) == W.shape[0] and np.all(diagonal) and np.all(rows == np.arange(len(rows)))
        else (W[rows], W[columns])
    )
    scaled = sp.csr_array(
        (right.data * np.repeat(value, np.diff(right.indptr)), right.indices, right.indptr), shape=right.shape
    )
    if np.all(diagonal):
        product = left.T @ scaled
    else:
        half = sp.diags_array(np.where(diagonal, 0.5, 1.0)) @ scaled
        product = left.T @ half
        product = product + product.T
    lower = lower_triangle(sp.csc_array(product))
    lower.sort_indices()
    return lower


def by_coefficient(W: sp.csr_array, pattern: Pattern) -> list[tuple[Array, Array, Array]]:
    """(key, coefficient, value) of the entries, a sparse product for each coefficient."""
    m = W.shape[1]
    order = np.argsort(pattern.coefficient, kind="stable")
    starts = np.searchsorted(pattern.coefficient[order], np.arange(pattern.n_coefficients + 1))
    parts = []
    for r in range(pattern.n_coefficients):
        take = order[starts[r] : starts[r + 1]]
        product = one_product(W, pattern.rows[take], pattern.columns[take], pattern.value[take])
        columns = np.repeat(np.arange(m), np.diff(product.indptr))
        parts.append((columns * m + product.indices, np.full(product.nnz, r), product.data))
    return parts


def listed(W: sp.csr_array, pattern: Pattern) -> list[tuple[Array, Array, Array]]:
    """(key, coefficient, value) of the entries, every product of two elements of W by itself."""
    m = W.shape[1]
    length = np.diff(W.indptr)
    many_left, many_right = length[pattern.rows], length[pattern.columns]
    entry = np.repeat(np.arange(len(pattern.rows)), many_left * many_right)
    within = np.arange(len(entry)) - np.repeat(
        np.cumsum(many_left * many_right) - many_left * many_right, many_left * many_right
    )
    left = W.indptr[pattern.rows[entry]] + within // many_right[entry]
    right = W.indptr[pattern.columns[entry]] + within % many_right[entry]
    i, j = W.indices[left].astype(np.int64), W.indices[right].astype(np.int64)
    value = pattern.value[entry] * W.data[left] * W.data[right]
    below = pattern.rows[entry] != pattern.columns[entry]
    # An entry beside the diagonal of D stands for two: w_i w_j' + w_j w_i', twice the same where i = j.
    value = np.where(below & (i == j), 2.0 * value, value)
    keep = below | (i >= j)
    key = np.minimum(i, j) * m + np.maximum(i, j)
    return [(key[keep], pattern.coefficient[entry][keep], value[keep])]
