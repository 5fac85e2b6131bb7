"""Who stands where in a pedigree: generations and ancestors. Nothing genetic.

`sire` and `dam` are integer arrays of shape (n,), −1 for unknown.
"""

from __future__ import annotations

import itertools

import numpy as np


def parents_first(sire: np.ndarray, dam: np.ndarray) -> bool:
    """Whether every animal stands behind its parents."""
    return bool((np.maximum(sire, dam) < np.arange(len(sire))).all())


def generations(sire: np.ndarray, dam: np.ndarray) -> np.ndarray:
    """Generation of every animal: 0 for founders, else one more than its younger parent.

    Founders first, then every animal whose parents are done, one generation a round (Kahn 1962, Commun ACM
    5:558, vectorised).

    Returns
    -------
    numpy.ndarray of int32, shape (n,)
        −1 for animals on a loop and their descendants, which never come to their turn.
    """
    n = len(sire)
    offspring = np.concatenate([np.flatnonzero(sire >= 0), np.flatnonzero(dam >= 0)]).astype(np.int32)
    parent = np.concatenate([sire[sire >= 0], dam[dam >= 0]])
    offspring = offspring[np.argsort(parent, kind="stable")]
    count = np.bincount(parent, minlength=n)
    start = np.concatenate([[0], np.cumsum(count)])
    waiting = (sire >= 0).astype(np.int32) + (dam >= 0)
    generation = np.full(n, -1, dtype=np.int32)
    ready, round_number = np.flatnonzero(waiting == 0), 0
    while ready.size:
        generation[ready] = round_number
        round_number += 1
        counts = count[ready]
        ends = np.cumsum(counts)
        slots = np.arange(ends[-1]) + np.repeat(start[ready] - (ends - counts), counts)
        children = offspring[slots]
        np.subtract.at(waiting, children, 1)
        ready = np.unique(children[waiting[children] == 0])
    return generation


def ancestors(sire: np.ndarray, dam: np.ndarray, animals: np.ndarray, limit: int | None = None) -> np.ndarray:
    """Mask, shape (n,): `animals` and their ancestors, up to `limit` generations back."""
    found = np.zeros(len(sire) + 1, dtype=bool)
    found[animals] = True
    reached = np.unique(animals)
    for _ in itertools.count() if limit is None else range(limit):
        parents = np.unique(np.concatenate([sire[reached], dam[reached]]))
        parents = parents[parents >= 0]
        reached = parents if limit is not None else parents[~found[parents]]
        found[reached] = True
        if not reached.size:
            break
    return found[:-1]
