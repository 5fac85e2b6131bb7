"""Dense matrices on a card: an array library, its memory, and products as large as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from remlblup.errors import DeviceError, MemoryLimitError
from remlblup.linalg.dense.tiled import tiles
from remlblup.linalg.device.libraries import Library
from remlblup.linalg.device.recursive import TILE, RecursiveCholesky
from remlblup.linalg.memory import Need, gigabytes

T = TypeVar("T")

# Elements of a block of rows, and how many blocks of numbers pass beside V at a time.
BLOCK, PASSING = 2**26, 6
# Share of the free memory of a card that is taken, and what libraries take for themselves.
SHARE, WORKSPACE = 0.95, 3e8


class Card:
    """See `Place`.

    Parameters
    ----------
    library : Library
    """

    def __init__(self, library: Library):
        self.library = library

    @property
    def xp(self) -> Any:
        return self.library.xp

    @property
    def note(self) -> str:
        return self.library.name

    # -- memory ------------------------------------------------------------------------------

    def passing(self, n: int) -> float:
        """Bytes beside V and what is kept of relationships: tiles, the largest product, blocks of rows."""
        rows = self.blocks(n)[0].stop
        return 8.0 * n * (TILE + self.library.beside * n + PASSING * rows) + WORKSPACE

    def reserve(self, n: int) -> None:
        needed, free = 8.0 * n * n + self.passing(n), SHARE * self.library.free()
        if needed > free:
            raise MemoryLimitError(
                f"the covariance matrix of {n:,} records, factorised on the card, needs {gigabytes(needed)} of its"
                f" memory; {gigabytes(free)} can be taken ({self.library.name}). End what else is on the card, take"
                " fewer records, or leave device= out."
            )

    def need(self, n: int) -> Need:
        return Need.of(0.0, 2.0 * 8.0 * min(BLOCK, n * n))

    @contextmanager
    def watched(self) -> Iterator[None]:
        try:
            yield
        except self.library.exhausted as error:
            said = str(error).partition("\n")[0].rstrip(".")
            raise MemoryLimitError(
                f"the card ran out of memory ({self.library.name}): {said}. {gigabytes(self.library.free())} of it are"
                " free. End what else is on the card, take fewer records, or leave device= out."
            ) from None
        except self.library.failed as error:
            said = str(error).partition("\n")[0].rstrip(".")
            raise DeviceError(f"the card failed ({self.library.name}): {said}. Leave device= out.") from error

    def wait(self) -> None:
        self.library.wait()

    # -- arrays ------------------------------------------------------------------------------

    def blocks(self, n: int) -> list[slice]:
        """Whole tiles of the factor, so that the lower triangle of each is all there."""
        return tiles(n, max(BLOCK // max(n, 1) // TILE, 1) * TILE)

    def each(self, function: Callable[[slice], T], blocks: list[slice]) -> list[T]:
        return [function(block) for block in blocks]

    def empty(self, n: int) -> Any:
        return self.xp.empty((n, n), dtype=self.xp.float64, device=self.library.device)

    def array(self, values: np.ndarray) -> Any:
        return self.library.array(values)

    def host(self, array: Any) -> np.ndarray:
        return self.library.host(array)

    def kept(self, K: np.ndarray, n: int) -> Any | None:
        """A copy of K, where what passes beside V (n, n) has its place beside it."""
        room = SHARE * self.library.free() - self.passing(n)
        return self.array(K) if K.nbytes < room else None

    def among(self, K: Any, rows: Any, columns: Any) -> Any:
        return self.xp.take(self.xp.take(K, rows, axis=0), columns, axis=1)

    def diagonal(self, A: Any) -> np.ndarray:
        return np.array(self.host(self.xp.linalg.diagonal(A)))  # a copy, also where both are one memory

    def add_diagonal(self, A: Any, values: np.ndarray) -> None:
        for block in tiles(len(values), TILE):
            own = self.array(values[block])
            A[block, block] += self.xp.eye(len(values[block]), dtype=own.dtype, device=self.library.device) * own

    def cholesky(self, A: Any, least: float) -> RecursiveCholesky:
        return RecursiveCholesky(A, self.library, least)
