"""Dense matrices on this machine: numpy, in tiles on the threads at hand."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from remlblup.linalg.dense.tiled import TILE, TiledCholesky, tiles
from remlblup.linalg.memory import Need
from remlblup.linalg.threads import n_threads, side_by_side

T = TypeVar("T")


class Host:
    """See `Place`."""

    xp: Any = np
    note = ""

    def reserve(self, n: int) -> None:
        """Nothing: the engine asks for all it takes of this machine."""

    def need(self, n: int) -> Need:
        return Need.of(8.0 * n * n, 8.0 * n * TILE * (1.0 + 3.0 * n_threads()))

    def watched(self) -> AbstractContextManager[None]:
        return nullcontext()

    def wait(self) -> None:
        """Nothing: numpy returns when it is done."""

    def blocks(self, n: int) -> list[slice]:
        return tiles(n)

    def each(self, function: Callable[[slice], T], blocks: list[slice]) -> list[T]:
        return side_by_side(function, [(block,) for block in blocks])

    def empty(self, n: int) -> np.ndarray:
        return np.empty((n, n))

    def array(self, values: np.ndarray) -> np.ndarray:
        return values

    def host(self, array: np.ndarray) -> np.ndarray:
        return array

    def kept(self, K: np.ndarray, n: int) -> np.ndarray | None:
        return None

    def among(self, K: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return K[rows].take(columns, axis=1)

    def diagonal(self, A: np.ndarray) -> np.ndarray:
        return A.diagonal().copy()

    def add_diagonal(self, A: np.ndarray, values: np.ndarray) -> None:
        A.flat[:: len(A) + 1] += values

    def cholesky(self, A: np.ndarray, least: float) -> TiledCholesky:
        return TiledCholesky(A, least)


HOST = Host()
