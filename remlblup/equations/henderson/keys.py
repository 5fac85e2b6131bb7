"""Keys of the entries of C, column × m + row: which there are, and where each stands among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from remlblup.model.design import RandomDesign


def distinct(keys: Iterable[np.ndarray], compiled: bool) -> np.ndarray:
    """The distinct keys, ascending; as `numpy.unique`, of which the order is taken in place.

    Compiled, every list, which mostly comes in order, is merged with those before it that are no longer.
    """
    if compiled:
        from remlblup.linalg.sparse import stages

        lists = [np.zeros(0, np.int64)]
        for part in keys:
            lists.append(part if stages.is_ascending(part) else np.sort(part))
            while len(lists) > 1 and len(lists[-2]) <= len(lists[-1]):
                lists.append(merged(lists.pop(), lists.pop()))
        while len(lists) > 1:
            lists.append(merged(lists.pop(), lists.pop()))
        return lists[0]
    found = np.concatenate(list(keys))
    found.sort()
    new = np.empty(len(found), dtype=bool)
    new[:1] = True
    np.not_equal(found[1:], found[:-1], out=new[1:])
    return found[new]


def merged(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The distinct keys of two ascending lists, ascending."""
    from remlblup.linalg.sparse import stages

    both = np.empty(len(first) + len(second), np.int64)
    return both[: stages.merge(first, second, both)]


def places(found: np.ndarray, keys: np.ndarray, compiled: bool) -> np.ndarray:
    """Where the keys stand among those found, in the shortest integers that will do."""
    kind = np.int32 if len(found) < 2**31 else np.int64
    if not compiled:
        return np.searchsorted(found, keys).astype(kind)
    from remlblup.linalg.sparse import stages

    at = np.empty(len(keys), kind)
    stages.places_among(found, keys, at)
    return at


def level_keys(random: Sequence[RandomDesign], offsets: np.ndarray, m: int) -> np.ndarray:
    """Keys of the entries that join the factors of one level (for PEV):
    term by term, the second of factor a with b < a."""
    keys = [np.zeros(0, np.int64)]
    block = 1
    for design in random:
        level = np.arange(design.q, dtype=np.int64)
        for a in range(design.structure.n_factors):
            keys += [(level + offsets[block + b]) * m + level + offsets[block + a] for b in range(a)]
        block += design.structure.n_factors
    return np.concatenate(keys)
