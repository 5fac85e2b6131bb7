"""Cholesky factor and inverse of a large dense matrix, tile by tile on the threads at hand.

Left-looking (Golub & Van Loan, *Matrix Computations*, 4th ed., section 4.2.9): every tile is one product of fixed
shape, summed by one thread, so the digits do not depend on the number of threads. Work is n³/3 for the factor and
2n³/3 for the inverse, as in LAPACK's potrf and potri; both overwrite the matrix.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from remlblup.arrays import chunks_of
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.contract import DEPENDENT_PIVOT
from remlblup.linalg.threads import side_by_side

TILE = 256
"""Rows and columns of a tile."""


def tiles(n: int, size: int = TILE) -> list[slice]:
    """The tiles of 0 … n."""
    return chunks_of(n, size)


class TiledCholesky:
    """L of a symmetric positive definite A (n, n), C-order, whose lower triangle is read and overwritten.

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

    def __init__(self, A: np.ndarray, least: float = DEPENDENT_PIVOT):
        self.A, self.tiles, self.least = A, tiles(len(A)), least
        self.inverted, self.whole = False, True
        # Inverses of the diagonal tiles of L: what a tile below is multiplied by, and later part of L⁻¹.
        self._inverses: list[np.ndarray] = []
        self.logdet, self.smallest_pivot = 0.0, 1.0
        for J in self.tiles:
            self._eliminate(J)

    def _eliminate(self, J: slice) -> None:
        A, done = self.A, slice(0, J.start)
        diagonal = A[J, J].diagonal().copy()
        block = A[J, J] - A[J, done] @ A[J, done].T
        L, info = scipy.linalg.lapack.dpotrf(block, lower=1, clean=1)
        roots = L.diagonal()
        left = np.min(roots**2 / diagonal) if not info and np.all(diagonal > 0.0) else 0.0
        if not left > self.least:
            raise NotPositiveDefiniteError(f"a dense matrix of order {len(A)} is not positive definite.")
        self.smallest_pivot = min(self.smallest_pivot, float(left))
        self.logdet += 2.0 * float(np.sum(np.log(roots)))
        inverse = scipy.linalg.lapack.dtrtri(L, lower=1)[0]
        self._inverses.append(inverse)
        A[J, J] = L

        def below(I: slice) -> None:
            A[I, J] = (A[I, J] - A[I, done] @ A[J, done].T) @ inverse.T

        side_by_side(below, [(I,) for I in self.tiles if I.start > J.start])

    def solve(self, B: np.ndarray) -> np.ndarray:
        """A⁻¹ B for B (n,) or (n, k)."""
        if self.inverted:
            return multiply_lower(self.A, B)
        half = scipy.linalg.solve_triangular(self.A, B, lower=True, check_finite=False)
        return scipy.linalg.solve_triangular(self.A, half, lower=True, trans="T", check_finite=False)

    def inverse(self) -> np.ndarray:
        """A⁻¹ in the lower triangle of A, which is overwritten; its diagonal tiles are whole."""
        if not self.inverted:
            self.whole = False
            self._invert_factor()
            self._multiply_factor()
            self.inverted = self.whole = True
        return self.A

    def _invert_factor(self) -> None:
        """L ← T = L⁻¹: T_ij = −L_ii⁻¹ Σ_k L_ik T_kj, a row of tiles at a time."""
        A = self.A
        for I, inverse in zip(self.tiles, self._inverses, strict=True):

            def left(J: slice, I: slice = I, inverse: np.ndarray = inverse) -> np.ndarray:
                between = slice(J.start, I.start)
                return -(inverse @ (A[I, between] @ A[between, J]))

            columns = [J for J in self.tiles if J.start < I.start]
            for J, block in zip(columns, side_by_side(left, [(J,) for J in columns]), strict=True):
                A[I, J] = block
            A[I, I] = inverse

    def _multiply_factor(self) -> None:
        """T ← T'T = A⁻¹, a row of tiles at a time: what is still to be read lies below."""
        A = self.A
        for I in self.tiles:

            def product(J: slice, I: slice = I) -> np.ndarray:
                return A[I.start :, I].T @ A[I.start :, J]

            columns = [J for J in self.tiles if J.start <= I.start]
            for J, block in zip(columns, side_by_side(product, [(J,) for J in columns]), strict=True):
                A[I, J] = block


def multiply_lower(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """A B with A (n, n) C-order and symmetric, of which the lower triangle is read; B (n,) or (n, k)."""
    columns = np.asfortranarray(B.reshape(len(B), -1))
    return scipy.linalg.blas.dsymm(1.0, A.T, columns, lower=0).reshape(B.shape)
