"""Which subtrees of the elimination tree are worked on side by side.

The tree is cut into disjoint subtrees of bounded work and the few supernodes above them. Subtrees
share nothing, so threads may take them in any order; what they hand to the top is added there in
postorder. The cut depends on the matrix alone: the digits are the same for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from remlblup.linalg.supernodes import Supernodes

# A subtree has between these shares of the work; a matrix of less work than WORTH_CUTTING, or whose subtrees
# hold less than WORTH_SHARE of it (long chains with many twigs, as in pedigrees with few sires), is not cut.
SMALLEST_SHARE, LARGEST_SHARE = 0.002, 0.06
WORTH_CUTTING, WORTH_SHARE = 2e7, 0.3


@dataclass(frozen=True, eq=False)
class Schedule:
    """Subtrees as runs of supernodes in postorder.

    Attributes
    ----------
    start, stop : (k,) each subtree is start … stop − 1, its root last
    order : the subtrees by falling work
    enter : (s,) stop of the subtree that starts at a supernode, 0 elsewhere
    leave : (s,) 1 + start of the subtree whose root a supernode is, 0 elsewhere
    pending_at : (s + 1,) place of the rows-below block of each root between the two phases
    """

    start: np.ndarray
    stop: np.ndarray
    order: np.ndarray
    enter: np.ndarray
    leave: np.ndarray
    pending_at: np.ndarray


def cut(sn: Supernodes) -> Schedule:
    """Cut the tree of supernodes into subtrees of bounded work."""
    width, height = np.diff(sn.first), np.diff(sn.rows_at)
    below = height - width
    work = width * (height.astype(np.float64) ** 2) + 200.0
    total, size = subtree_sums(sn.parent, work)
    everything = work.sum()
    above = np.where(sn.parent >= 0, total[sn.parent], np.inf)
    least, most = SMALLEST_SHARE * everything, LARGEST_SHARE * everything
    roots = np.flatnonzero((total >= least) & (total <= most) & (above > most))
    if everything < WORTH_CUTTING or total[roots].sum() < WORTH_SHARE * everything:
        roots = roots[:0]
    start, stop = roots - size[roots] + 1, roots + 1
    enter, leave = np.zeros(sn.count, np.int64), np.zeros(sn.count, np.int64)
    enter[start], leave[roots] = stop, start + 1
    held = np.zeros(sn.count, np.int64)
    held[roots] = below[roots] ** 2
    pending_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(held)])
    return Schedule(start, stop, np.argsort(-total[roots], kind="stable"), enter, leave, pending_at)


@njit("Tuple((float64[::1], int64[::1]))(int32[::1], float64[::1])", cache=True)
def subtree_sums(parent, work):
    """Work and number of supernodes in the subtree below and including each one."""
    total, size = work.copy(), np.ones(len(parent), np.int64)
    for s in range(len(parent)):
        if parent[s] >= 0:
            total[parent[s]] += total[s]
            size[parent[s]] += size[s]
    return total, size
