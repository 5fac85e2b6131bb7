"""Sums over blocks on the threads of this machine, by a tree that does not depend on them."""

from __future__ import annotations

from collections.abc import Sequence

from remlblup.arrays import Array
from remlblup.equations.stochastic.blocks import Block
from remlblup.linalg.threads import n_threads, side_by_side, single_threaded


class Threads:
    """The threads of this machine, out of core: every task holds one block and one sum."""

    @single_threaded
    def total(self, blocks: Sequence[Block], V: Array) -> Array:
        """Σ_c W_c (W_c' V); see `blocks.Workers`."""
        waiting: list[tuple[int, Array]] = []
        for first in range(0, len(blocks), n_threads()):
            for product in side_by_side(
                lambda block: block.times(V), [(b,) for b in blocks[first : first + n_threads()]]
            ):
                climb(waiting, product)
        return collapse(waiting)

    def describe(self) -> str:
        """Where products run."""
        threads = n_threads()
        return f"{threads} thread{'s' if threads > 1 else ''} of this machine"


def climb(waiting: list[tuple[int, Array]], summand: Array) -> None:
    """Add the next leaf of a binary tree: sums of 2^h leaves wait, with h, for their neighbour of the same height."""
    height = 0
    while waiting and waiting[-1][0] == height:
        summand = waiting.pop()[1] + summand
        height += 1
    waiting.append((height, summand))


def collapse(waiting: list[tuple[int, Array]]) -> Array:
    """The sum when no leaf is left, the smaller subtrees first."""
    total = waiting.pop()[1]
    while waiting:
        total = waiting.pop()[1] + total
    return total
