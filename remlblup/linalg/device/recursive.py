"""Cholesky factor and inverse of a large dense matrix in place, by halves: all but tiles on the diagonal are products.

    [A₁₁    ]   [L₁₁    ] [L₁₁' L₂₁']
    [A₂₁ A₂₂] = [L₂₁ L₂₂] [     L₂₂'],   L₂₁ = A₂₁ L₁₁⁻ᵀ,   A₂₂ − L₂₁L₂₁' = L₂₂L₂₂',

and T = L⁻¹ has T₂₁ = −T₂₂ L₂₁ T₁₁, A⁻¹ = T'T (Golub & Van Loan, *Matrix Computations*, 4th ed., section 4.2; Elmroth,
Gustavson, Jonsson & Kågström 2004, *SIAM Review* 46:3–45). Work is n³/3 for the factor and 2n³/3 for the inverse, in
products as large as there can be, which a card does best; the largest is an eighth of A. What is asked of the library
is the array API standard, but for the factor of a tile, which must raise where there is none, and its inverse.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.arrays import chunks_of
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import DEPENDENT_PIVOT
from remlblup.linalg.device.libraries import Library

TILE = 1024
"""Rows and columns of a tile on the diagonal."""


class RecursiveCholesky:
    """L of a symmetric positive definite A (n, n), an array of the library, whose lower triangle is overwritten.

    Parameters
    ----------
    least : share of its diagonal element that must be left of a pivot

    Attributes
    ----------
    logdet : log|A|
    smallest_pivot : as a share of its diagonal element
    whole : False while `inverse` overwrites L, and after it was broken off

    Raises
    ------
    NotPositiveDefiniteError
        If a pivot is not positive, or lost all its digits.
    """

    def __init__(self, A: Any, library: Library, least: float = DEPENDENT_PIVOT, tile: int | None = None):
        self.A, self.library, self.tile, self.least = A, library, tile or TILE, least
        self.n = A.shape[0]
        self.inverted, self.whole = False, True
        self.logdet, self.smallest_pivot = 0.0, 1.0
        # Inverses of the tiles of L on the diagonal, by their first row.
        self._inverses: dict[int, Any] = {}
        self._diagonal = np.array(library.host(library.xp.linalg.diagonal(A)))  # a copy, also where both are one memory
        self._factorise(0, self.n)

    def solve(self, B: Any) -> Any:
        """A⁻¹ B for B (n, k)."""
        if self.inverted:
            return self.A @ B
        A, tiles = self.A, chunks_of(self.n, self.tile)
        out = self.library.xp.asarray(B, copy=True)
        for J in tiles:  # L h = B
            left = out[J, :] - A[J, : J.start] @ out[: J.start, :] if J.start else out[J, :]
            out[J, :] = self._inverses[J.start] @ left
        for J in reversed(tiles):  # L' x = h
            left = out[J, :] - A[J.stop :, J].T @ out[J.stop :, :] if J.stop < self.n else out[J, :]
            out[J, :] = self._inverses[J.start].T @ left
        return out

    def inverse(self) -> Any:
        """A⁻¹ in the place of A, both triangles."""
        if not self.inverted:
            self.whole = False
            self._invert(0, self.n)
            self._multiply(0, self.n)
            self._mirror(0, self.n)
            self.inverted = self.whole = True
        return self.A

    def _middle(self, i: int, j: int) -> int | None:
        """Where i … j is cut in two, a whole number of tiles from i; None where it is one tile."""
        tiles = -(-(j - i) // self.tile)
        return None if tiles < 2 else i + tiles // 2 * self.tile

    # -- A = LL' -----------------------------------------------------------------------------

    def _factorise(self, i: int, j: int) -> None:
        m = self._middle(i, j)
        if m is None:
            self._eliminate(slice(i, j))
            return
        self._factorise(i, m)
        self._divide(slice(m, j), i, m)
        self._subtract(m, j, slice(i, m))
        self._factorise(m, j)

    def _eliminate(self, J: slice) -> None:
        """L of a tile, and its inverse."""
        xp = self.library.xp
        lower = xp.tril(self.A[J, J])
        diagonal = self._diagonal[J]
        try:
            L = self.library.factor(lower + xp.tril(lower, k=-1).T)
            roots = self.library.host(xp.linalg.diagonal(L))
        except self.library.indefinite:
            roots = np.zeros(len(diagonal))
        left = np.min(roots**2 / diagonal) if np.all(diagonal > 0.0) else 0.0
        if not left > self.least:
            raise NotPositiveDefiniteError(f"a dense matrix of order {self.n} is not positive definite.")
        self.smallest_pivot = min(self.smallest_pivot, float(left))
        self.logdet += 2.0 * float(np.sum(np.log(roots)))
        self._inverses[J.start] = self.library.lower_inverse(L)
        self.A[J, J] = L

    def _divide(self, rows: slice, i: int, j: int) -> None:
        """B ← B L⁻ᵀ for B = A[rows, i:j] and L of i … j."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[rows, i:j] = A[rows, i:j] @ self._inverses[i].T
            return
        self._divide(rows, i, m)
        A[rows, m:j] -= A[rows, i:m] @ A[m:j, i:m].T
        self._divide(rows, m, j)

    def _subtract(self, i: int, j: int, done: slice) -> None:
        """A[i:j, i:j] − FF' for F = A[i:j, done], its lower triangle."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[i:j, i:j] -= A[i:j, done] @ A[i:j, done].T
            return
        self._subtract(i, m, done)
        A[m:j, i:m] -= A[m:j, done] @ A[i:m, done].T
        self._subtract(m, j, done)

    # -- L → T = L⁻¹ -------------------------------------------------------------------------

    def _invert(self, i: int, j: int) -> None:
        m = self._middle(i, j)
        if m is None:
            self.A[i:j, i:j] = self._inverses[i]
            return
        self._invert(i, m)
        self._invert(m, j)
        self._times(slice(m, j), i, m)
        self._less(m, j, slice(i, m))

    def _times(self, rows: slice, i: int, j: int) -> None:
        """B ← B T for B = A[rows, i:j] and T of i … j."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[rows, i:j] = A[rows, i:j] @ self._inverses[i]
            return
        self._times(rows, i, m)
        A[rows, i:m] += A[rows, m:j] @ A[m:j, i:m]
        self._times(rows, m, j)

    def _less(self, i: int, j: int, columns: slice) -> None:
        """B ← −T B for B = A[i:j, columns] and T of i … j."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[i:j, columns] = -(self._inverses[i] @ A[i:j, columns])
            return
        self._less(m, j, columns)
        A[m:j, columns] -= A[m:j, i:m] @ A[i:m, columns]
        self._less(i, m, columns)

    # -- T → T'T -----------------------------------------------------------------------------

    def _multiply(self, i: int, j: int) -> None:
        """T'T in place of T of i … j."""
        m = self._middle(i, j)
        if m is None:
            T = self._inverses[i]
            self.A[i:j, i:j] = T.T @ T
            return
        self._multiply(i, m)
        self._add(i, m, slice(m, j))
        self._transposed_times(m, j, slice(i, m))
        self._multiply(m, j)

    def _add(self, i: int, j: int, rows: slice) -> None:
        """A[i:j, i:j] + F'F for F = A[rows, i:j], its lower triangle."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[i:j, i:j] += A[rows, i:j].T @ A[rows, i:j]
            return
        self._add(i, m, rows)
        A[m:j, i:m] += A[rows, m:j].T @ A[rows, i:m]
        self._add(m, j, rows)

    def _transposed_times(self, i: int, j: int, columns: slice) -> None:
        """B ← T'B for B = A[i:j, columns] and T of i … j."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            A[i:j, columns] = self._inverses[i].T @ A[i:j, columns]
            return
        self._transposed_times(i, m, columns)
        A[i:m, columns] += A[m:j, i:m].T @ A[m:j, columns]
        self._transposed_times(m, j, columns)

    def _mirror(self, i: int, j: int) -> None:
        """The upper triangle from the lower one."""
        A, m = self.A, self._middle(i, j)
        if m is None:
            return  # a tile is whole
        self._mirror(i, m)
        A[i:m, m:j] = A[m:j, i:m].T
        self._mirror(m, j)
