"""What an engine asks of the place where its large matrices lie, and which place a user's word stands for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from remlblup.arrays import Array
from remlblup.linalg.device.host import HOST
from remlblup.linalg.memory import Need

T = TypeVar("T")


class Inverting(Protocol):
    """A Cholesky factor that becomes the inverse in place; see `TiledCholesky`."""

    logdet: float
    smallest_pivot: float
    inverted: bool
    whole: bool

    def solve(self, B: Any) -> Any: ...
    def inverse(self) -> Any: ...


class Place(Protocol):
    """Where V lies.

    Its arrays are of the namespace `xp`, of the array API standard; slices of them are views, as those of numpy, CuPy
    and PyTorch are.

    Attributes
    ----------
    xp : the namespace
    note : what to say of the place, "" of this machine
    """

    @property
    def xp(self) -> Any: ...
    @property
    def note(self) -> str: ...

    def reserve(self, n: int) -> None:
        """Raise `MemoryLimitError` if a matrix of order n, factorised and inverted there, is too large for the place
        where it is another than this machine."""

    def need(self, n: int) -> Need:
        """Bytes that it takes of this machine's memory."""

    def watched(self) -> AbstractContextManager[None]:
        """In this context what goes wrong with the place is an error by name."""

    def wait(self) -> None:
        """Until all that it was told is done: for clocks."""

    def blocks(self, n: int) -> list[slice]:
        """Rows 0 … n in blocks that are worked with at a time."""

    def each(self, function: Callable[[slice], T], blocks: list[slice]) -> list[T]:
        """The function of every block."""

    def empty(self, n: int) -> Any:
        """A matrix (n, n), its values whatever they are."""

    def array(self, values: Array) -> Any:
        """Numbers of this machine, there."""

    def host(self, array: Any) -> Array:
        """Its numbers, here."""

    def kept(self, K: Array, n: int) -> Any | None:
        """A copy of K that stays there beside a matrix of order n; None where K is read here, a block at a time."""

    def among(self, K: Any, rows: Any, columns: Any) -> Any:
        """K [rows, columns] for numbers of rows and of columns."""

    def diagonal(self, A: Any) -> Array:
        """The diagonal of A, here."""

    def add_diagonal(self, A: Any, values: Array) -> None:
        """A + diag(values), in place."""

    def cholesky(self, A: Any, least: float) -> Inverting:
        """The factor of A, of which the lower triangle is read and overwritten."""


def placed(device: str) -> Place:
    """The place that ``device=`` names.

    Raises
    ------
    DependencyError, DeviceError
        If there is no library for a card, or no card.
    """
    if device == "cpu":
        return HOST
    from remlblup.linalg.device.card import Card
    from remlblup.linalg.device.libraries import on_hand

    return Card(on_hand())
