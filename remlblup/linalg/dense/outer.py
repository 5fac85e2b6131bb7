"""Sums of Z Z' over blocks of columns, in tiles of rows: the digits do not depend on the number of threads."""

from __future__ import annotations

import numpy as np

from remlblup.linalg.memory import require
from remlblup.linalg.threads import side_by_side

TILE = 512
"""Rows of a tile: fixed, for the order of summation inside a product follows from its shape."""


class OuterSum:
    """Σ_b Z_b Z_b', accumulated in float64.

    Every tile of the lower triangle is a matrix product of one BLAS thread; the tiles are shared among the
    threads at hand. Call it with one BLAS thread (`threads.single_threaded`).

    Parameters
    ----------
    n : int
        Rows of every Z.

    Attributes
    ----------
    total : ndarray, shape (n, n)
        The sum so far; its lower triangle until `finish`.
    """

    def __init__(self, n: int) -> None:
        require(8.0 * n * n, f"A relationship matrix of {n:,} individuals")
        self.total = np.zeros((n, n))
        self._rows = [slice(start, min(start + TILE, n)) for start in range(0, n, TILE)]

    def add(self, Z: np.ndarray) -> None:
        """Add Z Z' for Z (n, k), of float64 or float32; a block in float32 is multiplied in float32."""
        side_by_side(self._add_tile, [(Z, i, j) for k, i in enumerate(self._rows) for j in self._rows[: k + 1]])

    def finish(self) -> np.ndarray:
        """The sum with both triangles."""
        for k, i in enumerate(self._rows):
            for j in self._rows[:k]:
                self.total[j, i] = self.total[i, j].T
        return self.total

    def _add_tile(self, Z: np.ndarray, i: slice, j: slice) -> None:
        self.total[i, j] += Z[i] @ Z[j].T
