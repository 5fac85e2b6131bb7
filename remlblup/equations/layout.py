"""Where the pieces of the coefficient matrix lie: C(θ) = Σ_j c_j(θ) B_j on one fixed pattern.

With u = (Λ ⊗ I) b and b ~ N(0, D ⊗ K), D = diag(signs), the mixed model equations in
(β, b) are the *factor form*

    C = [ X'R⁻¹X      X'R⁻¹ZΛ              ]
        [ Λ'Z'R⁻¹X    Λ'Z'R⁻¹ZΛ + D ⊗ K⁻¹ ]

which never divides by a variance: a zero variance or a correlation of ±1 is an ordinary
point. A *slot* is one entry (i, a) of Λ of one term, and slot 0 the constant 1 that stands
for X. Let λ be the vector of all slots and R⁻¹ = Σ_r ρ_r D_r. Then every coefficient but
those of D ⊗ K⁻¹ is a product ρ_r λ_s λ_s', and its base is the block Z_i'D_r Z_j of the two
slots' effects, moved to the columns of the two slots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from remlblup.model.design import RandomDesign


@dataclass(frozen=True)
class Slot:
    """Entry (i, a) of Λ_k; `source` and `target` are the column blocks of effect i and factor a."""

    term: int
    i: int
    a: int
    source: int
    target: int


@dataclass(frozen=True)
class Layout:
    """The bases of C on the lower triangle of one common pattern (CSC).

    Attributes
    ----------
    m : order of C, p + Σ_k t_k q_k; X first, then the effects term by term
    offsets : (n_blocks + 1,) first column of each block: X, then each effect of each term
    slots : the slots, slot 0 being X
    products : (n_products, 3) rows (r, s, s'), s <= s': coefficient ρ_r λ_s λ_s'
    n_signs : number of bases D ⊗ K⁻¹, one per term and factor column; their coefficients are the signs
    indptr, indices : lower triangle of the pattern
    bases : (nnz, n_products + n_signs) CSR, column j holds B_j on the pattern
    twice : (nnz,) 1 on the diagonal, 2 below: the weight of an entry in ⟨C⁻¹, B⟩
    """

    m: int
    offsets: np.ndarray
    slots: tuple[Slot, ...]
    products: np.ndarray
    n_signs: int
    indptr: np.ndarray
    indices: np.ndarray
    bases: sp.csr_array
    twice: np.ndarray

    def without_fixed(self, p: int) -> Layout:
        """The layout of the random block alone (Z-part of C), for the ML log-determinant."""
        columns = np.repeat(np.arange(self.m), np.diff(self.indptr))
        keep = columns >= p
        indptr = np.concatenate([[0], np.cumsum(np.diff(self.indptr)[p:])])
        return Layout(self.m - p, self.offsets, self.slots, self.products, self.n_signs, indptr,
                      self.indices[keep] - p, self.bases[keep], self.twice[keep])  # fmt: skip


def slots_of(random: Sequence[RandomDesign]) -> tuple[Slot, ...]:
    """Slot 0 for X, then the nonzero entries of each Λ_k."""
    slots = [Slot(-1, 0, 0, 0, 0)]
    block = 1
    for k, design in enumerate(random):
        slots += [Slot(k, i, a, block + i, block + a) for i, a in design.structure.slots]
        block += design.t
    return tuple(slots)


def block_offsets(p: int, random: Sequence[RandomDesign]) -> np.ndarray:
    """First column of each block in C: X, then one block of q columns per effect."""
    sizes = [p] + [d.q for d in random for _ in range(d.t)]
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def build_layout(W: sp.csr_array, p: int, random: Sequence[RandomDesign], residual_bases: Sequence) -> Layout:
    """Lay out all bases of C for W = [X Z_1 …] and the bases D_r of R⁻¹."""
    offsets = block_offsets(p, random)
    slots = slots_of(random)
    m = int(offsets[-1])
    products: list[tuple[int, int, int]] = []
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for r, D in enumerate(residual_bases):
        blocks = crossproduct_blocks(W, D, offsets)
        for s, s2, part in product_bases(blocks, slots, offsets):
            products.append((r, s, s2))
            parts.append(part)
    signs = list(precision_bases(random, offsets))
    parts += signs
    basis = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
    rows, columns, values = (np.concatenate([part[k] for part in parts]) for k in range(3))
    extra_rows, extra_columns = level_blocks(random, offsets, m)
    key = np.concatenate([columns * m + rows, extra_columns * m + extra_rows])
    pattern, position = np.unique(key, return_inverse=True)
    at = position[: len(rows)]
    bases = sp.csr_array((values, (at, basis)), shape=(len(pattern), len(parts)))
    pattern_columns, indices = pattern // m, pattern % m
    indptr = np.concatenate([[0], np.cumsum(np.bincount(pattern_columns, minlength=m))])
    twice = np.where(pattern_columns == indices, 1.0, 2.0)
    return Layout(m, offsets, slots, np.array(products, dtype=np.int64).reshape(-1, 3), len(signs),
                  indptr, indices, bases, twice)  # fmt: skip


Blocks = dict[tuple[int, int], tuple[np.ndarray, np.ndarray, np.ndarray]]


def crossproduct_blocks(W: sp.csr_array, D: np.ndarray | sp.sparray, offsets: np.ndarray) -> Blocks:
    """W'DW cut into its blocks: (source, source') → local rows, local columns, values."""
    weighted = sp.csr_array((W.data * np.repeat(D, np.diff(W.indptr)), W.indices, W.indptr), shape=W.shape) \
        if getattr(D, "ndim", 2) == 1 else D @ W  # fmt: skip
    product = (W.T @ weighted).tocoo()
    rows, columns = product.row.astype(np.int64), product.col.astype(np.int64)
    n_blocks = len(offsets) - 1
    block_of = np.repeat(np.arange(n_blocks), np.diff(offsets))
    pair = block_of[rows] * n_blocks + block_of[columns]
    order = np.argsort(pair, kind="stable")
    present, starts = np.unique(pair[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    blocks: Blocks = {}
    for code, start, end in zip(present, starts, ends, strict=True):
        i, j = divmod(int(code), n_blocks)
        take = order[start:end]
        blocks[i, j] = (rows[take] - offsets[i], columns[take] - offsets[j], product.data[take])
    return blocks


def product_bases(blocks: Blocks, slots: Sequence[Slot], offsets: np.ndarray) -> Iterator:
    """Each pair of slots s <= s' whose block is not empty, as entries of the lower triangle of C.

    The base of s < s' is E(s, s') + E(s', s); where both lie in the same block of columns the
    diagonal entries therefore count twice.
    """
    for s, one in enumerate(slots):
        for s2 in range(s, len(slots)):
            other = slots[s2]
            block = blocks.get((one.source, other.source))
            if block is None:
                continue
            rows = block[0] + offsets[one.target]
            columns = block[1] + offsets[other.target]
            values = block[2]
            if s == s2:
                lower = rows >= columns
                yield s, s2, (rows[lower], columns[lower], values[lower])
            else:
                doubled = np.where(rows == columns, 2.0 * values, values)
                yield s, s2, (np.maximum(rows, columns), np.minimum(rows, columns), doubled)


def precision_bases(random: Sequence[RandomDesign], offsets: np.ndarray) -> Iterator:
    """I ⊗ K⁻¹ of each term, one base per factor column, as entries of the lower triangle of C."""
    block = 1
    for design in random:
        if design.is_identity:
            rows = columns = np.arange(design.q, dtype=np.int64)
            values = np.ones(design.q)
        else:
            lower = sp.tril(design.relationship.precision, format="coo")
            rows, columns, values = lower.row.astype(np.int64), lower.col.astype(np.int64), lower.data
        for _ in range(design.t):
            yield rows + offsets[block], columns + offsets[block], values
            block += 1


def level_blocks(random: Sequence[RandomDesign], offsets: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Pattern entries that join the effects of one level (for PEV), and the whole diagonal."""
    rows, columns = [np.arange(m, dtype=np.int64)], [np.arange(m, dtype=np.int64)]
    block = 1
    for design in random:
        level = np.arange(design.q, dtype=np.int64)
        for i in range(design.t):
            for j in range(i):
                rows.append(level + offsets[block + i])
                columns.append(level + offsets[block + j])
        block += design.t
    return np.concatenate(rows), np.concatenate(columns)
