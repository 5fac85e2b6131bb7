"""Sums over blocks on the threads of this machine, by a tree that does not depend on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from remlblup.arrays import Array
from remlblup.equations.stochastic.blocks import Block
from remlblup.linalg.threads import n_threads, side_by_side


class Threads:
    """The threads of this machine, out of core: every task holds a block at a time, and a few sums."""

    def total(self, blocks: Sequence[Block], V: Array) -> Array:
        """Σ_c W_c (W_c' V); see `blocks.Workers`."""
        height = subtree_height(len(blocks), n_threads())
        parts = [(blocks[first : first + 2**height], V) for first in range(0, len(blocks), 2**height)]
        return tree_sum(side_by_side(subtree, parts))

    @property
    def threads(self) -> list[int]:
        """See `blocks.Workers`."""
        return [n_threads()]

    def describe(self) -> str:
        """Where products run."""
        threads = n_threads()
        return f"{threads} thread{'s' if threads > 1 else ''} of this machine"


def subtree_height(leaves: int, threads: int) -> int:
    """Height of the subtrees that are tasks: of the highest that still leave four tasks a thread."""
    return max(0, (leaves // (4 * threads)).bit_length() - 1)


def subtree(blocks: Sequence[Block], V: Array) -> Array:
    """The sum of the products of some blocks."""
    return tree_sum(block.times(V) for block in blocks)


def tree_sum(summands: Iterable[Array]) -> Array:
    """The sum by a binary tree over the summands as they come; they are overwritten.

    Subtrees of 2^h summands first: of these the same sum whether each comes as its summands or as one.
    """
    waiting: list[tuple[int, Array]] = []  # height and sum of the subtrees that are full
    for summand in summands:
        height = 0
        while waiting and waiting[-1][0] == height:
            summand = add(waiting.pop()[1], summand)
            height += 1
        waiting.append((height, summand))
    total = waiting.pop()[1]
    while waiting:
        total = add(waiting.pop()[1], total)
    return total


def add(left: Array, right: Array) -> Array:
    """left + right, in the place of left."""
    left += right
    return left
