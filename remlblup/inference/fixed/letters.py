"""Compact letter display: means that share a letter do not differ.

Insert and absorb (Piepho 2004, J. Comput. Graph. Stat. 13:456): one column of all means to begin with; a pair that
differs splits every column that holds both; columns within others go.
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array


def letters(means: Array, differ: np.ndarray) -> list[str]:
    """Letters of each mean, "a" with the highest.

    Parameters
    ----------
    differ : (k, k) True where two means differ
    """
    columns: list[frozenset[int]] = [frozenset(range(len(means)))]
    for i, j in zip(*np.nonzero(np.triu(differ, 1)), strict=True):
        split: list[frozenset[int]] = []
        for column in columns:
            split += [column - {i}, column - {j}] if i in column and j in column else [column]
        distinct = list(dict.fromkeys(split))
        columns = [c for c in distinct if not any(c < other for other in distinct)]
    # By the highest mean in each, then the next.
    columns.sort(key=lambda c: sorted(-means[i] for i in c))
    return ["".join(_letter(k) for k, c in enumerate(columns) if i in c) for i in range(len(means))]


def _letter(k: int) -> str:
    """a … z, A … Z, then a1, b1 …"""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    round_, place = divmod(k, len(alphabet))
    return alphabet[place] + (str(round_) if round_ else "")
