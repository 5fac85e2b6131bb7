"""Parts of the numerator relationship matrix as dense arrays, by products over the ancestors of the animals wanted."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.linalg.threads import n_threads, side_by_side
from remlblup.relationship.base import check_dense, symmetrise
from remlblup.relationship.descent import numerator

# Columns of A formed at a time: enough to share the walk over ancestors, few enough to stay in cache.
_COLUMNS = 16


def matrix(
    sire: np.ndarray,
    dam: np.ndarray,
    variance: np.ndarray,
    subset: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
) -> np.ndarray:
    """A, or its rows and columns `subset`, as a dense array.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance : numpy.ndarray, shape (n,)
        Mendelian variances.
    subset : numpy.ndarray of int, shape (m,), optional
        Positions of the animals wanted.
    gamma : numpy.ndarray, shape (g, g), optional

    Returns
    -------
    numpy.ndarray, shape (m, m)

    Raises
    ------
    RelationshipError
        For more than 20,000 animals, before anything is allocated.
    """
    n = len(sire)
    wanted = np.arange(n) if subset is None else np.asarray(subset)
    check_dense(wanted.size)
    if n <= numerator.SMALL:
        return numerator.tabular(sire, dam, gamma=gamma, variance=variance)[np.ix_(wanted, wanted)]
    result = np.empty((wanted.size, wanted.size))
    for first, block in column_blocks(sire, dam, variance, wanted, gamma):
        result[first : first + block.shape[1]] = block.T
    return symmetrise(result)


def column_blocks(
    sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, wanted: np.ndarray, gamma: np.ndarray | None = None
) -> Iterator[tuple[int, np.ndarray]]:
    """Rows `wanted` of the columns `wanted` of A, some at a time: (first column, array of shape (m, b)).

    Only ancestors of the wanted animals matter, and few columns at a time stay in cache.
    """
    n, g = len(sire), 0 if gamma is None else len(gamma)
    members = ancestors(sire, dam, np.concatenate([np.arange(g), wanted]))
    number = np.full(n + 1, -1, dtype=np.int32)
    number[members] = np.arange(members.size, dtype=np.int32)
    sires, dams = (number[np.asarray(parent)[members]] for parent in (sire, dam))
    own, variance = number[wanted].astype(np.int64), np.ascontiguousarray(variance[members])

    def columns(first: int) -> np.ndarray:
        stop = min(first + _COLUMNS, wanted.size)
        unit = np.zeros((members.size, stop - first))
        unit[own[first:stop], np.arange(stop - first)] = 1.0
        return numerator.multiply(sires, dams, variance, unit, gamma)[own]

    starts = np.arange(0, wanted.size, _COLUMNS).tolist()
    together = n_threads()  # which whoever reads these may set anew
    for batch in range(0, len(starts), together):
        several = starts[batch : batch + together]
        yield from zip(several, side_by_side(columns, [(first,) for first in several]), strict=True)


def ancestors(sire: np.ndarray, dam: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Positions of the wanted animals and all their ancestors, ascending."""
    marked = np.zeros(len(sire), dtype=bool)
    new = np.unique(wanted)
    while new.size:
        marked[new] = True
        parents = np.concatenate([np.asarray(sire)[new], np.asarray(dam)[new]])
        parents = np.unique(parents[parents >= 0])
        new = parents[~marked[parents]]
    return np.flatnonzero(marked)
