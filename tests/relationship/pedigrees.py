"""Pedigrees to test on, and A from the definition of kinship, written as differently as can be."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st

# Mrode, Linear Models, table 2.1: animals 1 and 2 are founders, 4 has an unknown dam.
MRODE = {"ids": [1, 2, 3, 4, 5, 6], "sires": [None, None, 1, 1, 4, 5], "dams": [None, None, 2, None, 3, 2]}
MRODE_A = np.array(
    [
        [1.0, 0.0, 0.5, 0.5, 0.5, 0.25],
        [0.0, 1.0, 0.5, 0.0, 0.25, 0.625],
        [0.5, 0.5, 1.0, 0.25, 0.625, 0.5625],
        [0.5, 0.0, 0.25, 1.0, 0.625, 0.3125],
        [0.5, 0.25, 0.625, 0.625, 1.125, 0.6875],
        [0.25, 0.625, 0.5625, 0.3125, 0.6875, 1.125],
    ]
)


def kinship_matrix(sire, dam) -> np.ndarray:
    """A = 2f by the recursive definition of the coefficient of kinship f (Malécot 1948)."""
    sire, dam = [int(s) for s in sire], [int(d) for d in dam]

    @cache
    def f(i: int, j: int) -> float:
        if i < 0 or j < 0:
            return 0.0
        if i == j:
            return 0.5 * (1.0 + f(sire[i], dam[i]))
        young, old = max(i, j), min(i, j)
        return 0.5 * (f(sire[young], old) + f(dam[young], old))

    n = len(sire)
    return 2.0 * np.array([[f(i, j) for j in range(n)] for i in range(n)])


@st.composite
def numbered_pedigrees(draw, max_size: int = 24, selfing: bool = False):
    """Parents as numbers, older than their offspring; even animals male, odd ones female unless selfing."""
    n = draw(st.integers(1, max_size))
    sire, dam = np.full(n, -1), np.full(n, -1)
    for i in range(n):
        fathers = [-1, *(range(i) if selfing else range(0, i, 2))]
        mothers = [-1, *(range(i) if selfing else range(1, i, 2))]
        sire[i] = draw(st.sampled_from(fathers))
        dam[i] = draw(st.sampled_from(mothers))
    return sire, dam


def random_pedigree(n: int, seed: int, span: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """A larger pedigree of animals mated within a moving window, with unknown parents and inbreeding."""
    rng = np.random.default_rng(seed)
    low = np.maximum(np.arange(n) - span, 0)
    sire = (low + rng.random(n) * (np.arange(n) - low)).astype(int) // 2 * 2
    dam = (low + rng.random(n) * (np.arange(n) - low)).astype(int) // 2 * 2 + 1
    sire[(sire >= np.arange(n)) | (rng.random(n) < 0.1)] = -1
    dam[(dam >= np.arange(n)) | (rng.random(n) < 0.1)] = -1
    return sire, dam


def relabelled(sire, dam, prefix: str = "a") -> tuple[list, list, list]:
    """Numbered parents as ids, sires and dams of text, None for unknown."""
    names = [f"{prefix}{k}" for k in range(len(sire))]
    known = [*names, None]
    return names, [known[s] for s in sire], [known[d] for d in dam]


def grouped(sire, dam, groups: list[str], seed: int) -> tuple[list, list, list]:
    """The same with every unknown parent drawn from a group; each group is used if there are enough of them."""
    ids, sires, dams = relabelled(sire, dam)
    rng = np.random.default_rng(seed)
    gaps = [(column, k) for column in (sires, dams) for k, parent in enumerate(column) if parent is None]
    for number, (column, k) in enumerate(gaps):
        column[k] = groups[number] if number < len(groups) else groups[int(rng.integers(len(groups)))]
    return ids, sires, dams


def gene_drops(sire, dam, one_gene=None):
    """Every outcome of every meiosis, equally likely: arrays (n, 2) of founder genes.

    `one_gene[i]` marks animals with a gene from their dam only (males, X chromosome); both columns hold it.
    """
    from itertools import product

    n = len(sire)
    hemi = np.zeros(n, dtype=bool) if one_gene is None else np.asarray(one_gene)
    meioses = [(i, k) for i in range(n) for k, p in enumerate((sire[i], dam[i])) if p >= 0 and not (hemi[i] and k == 0)]
    for choice in product((0, 1), repeat=len(meioses)):
        drawn = dict(zip(meioses, choice, strict=True))
        genes = np.zeros((n, 2), dtype=int)
        for i in range(n):
            for k, parent in enumerate((sire[i], dam[i])):
                genes[i, k] = 1000 + 2 * i + k if parent < 0 else genes[parent, drawn.get((i, k), 0)]
            if hemi[i]:
                genes[i, 0] = genes[i, 1]
        yield genes
