"""K⁻¹ in C: the entries on its pattern, the dense parts beside it, and where both stand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.henderson.keys import places
from remlblup.linalg.contract import DenseBlock
from remlblup.model.design import RandomDesign

# The dense part of a K⁻¹ stays out of the pattern where it has so many levels, and this share of the entries of K⁻¹.
SMALLEST_BLOCK, BLOCK_SHARE = 100, 0.25


def precision_parts(
    random: Sequence[RandomDesign], apart: bool
) -> tuple[list[sp.csc_array | None], list[DenseBlock | None]]:
    """K⁻¹ of each term: its lower triangle (None for I), and its dense part if that is to stay apart."""
    sparse: list[sp.csc_array | None] = [None] * len(random)
    dense: list[DenseBlock | None] = [None] * len(random)
    for k, design in enumerate(random):
        if design.is_identity:
            continue
        lower, block = design.relationship.precision_parts if apart else (design.relationship.lower_precision, None)
        if block is not None and not is_large(block, lower.nnz):
            lower, block = design.relationship.lower_precision, None
        sparse[k], dense[k] = lower, block
    return sparse, dense


def is_large(block: DenseBlock, nnz: int) -> bool:
    """Whether a dense part is large enough to stay off the pattern, beside so many entries on it."""
    return len(block.at) >= SMALLEST_BLOCK and block.entries >= BLOCK_SHARE * (nnz + block.entries)


def factor_blocks(
    random: Sequence[RandomDesign], dense: Sequence[DenseBlock | None], offsets: np.ndarray
) -> tuple[tuple[DenseBlock, ...], tuple[int, ...]]:
    """The dense part of K⁻¹ at the equations of each factor of a term, and the numbers of their signs."""
    of_factor = [block for design, block in zip(random, dense, strict=True) for _ in range(design.structure.n_factors)]
    found = [(block.moved(int(offsets[1 + k])), k) for k, block in enumerate(of_factor) if block is not None]
    return tuple(block for block, _ in found), tuple(k for _, k in found)


def precision_entries(
    random: Sequence[RandomDesign], inverses: Sequence[sp.csc_array | None], offsets: np.ndarray, m: int
) -> Iterator[tuple[Array, Array]]:
    """Keys in C and values of the lower triangle of I ⊗ K⁻¹, a factor of a term at a time."""
    block = 1
    for design, lower in zip(random, inverses, strict=True):
        keys = np.arange(design.q, dtype=np.int64) * (m if lower is not None else m + 1)
        value = np.ones(design.q) if lower is None else lower.data
        if lower is not None:
            keys = np.repeat(keys, np.diff(lower.indptr))
            keys += lower.indices
        for _ in range(design.structure.n_factors):
            yield keys + offsets[block] * (m + 1), value
            block += 1


def placed_precision(
    found: np.ndarray,
    random: Sequence[RandomDesign],
    inverses: Sequence[sp.csc_array | None],
    offsets: np.ndarray,
    m: int,
    sparse: bool,
) -> tuple[Array, np.ndarray | slice]:
    """I ⊗ K⁻¹ and its places among the keys found: listed, or as a vector over all of them where that is shorter.

    The entries of one factor are those of the relationship itself.
    """
    entries = precision_entries(random, inverses, offsets, m)
    factors = [(d.q if K is None else K.nnz, d.structure.n_factors) for d, K in zip(random, inverses, strict=True)]
    one, number = sum(n for _, n in factors) == 1, sum(size * n for size, n in factors)
    if sparse and number and (one or 12 * number < 8 * len(found)):
        listed = [(places(found, k, sparse), value) for k, value in entries]
        at, values = zip(*listed, strict=True)
        return (values[0], at[0]) if one else (np.concatenate(values), np.concatenate(at))
    precision = np.zeros(len(found))
    for k, value in entries:
        precision[places(found, k, sparse)] = value
    return precision, slice(None)
