"""Where the pieces of the coefficient matrix lie: C(θ) in two linear stages on fixed patterns.

With u = (Λ ⊗ I) b and b ~ N(0, D ⊗ K), D = diag(signs), the mixed model equations in
(β, b) are the *factor form*

    C = [ X'R⁻¹X      X'R⁻¹ZΛ              ]
        [ Λ'Z'R⁻¹X    Λ'Z'R⁻¹ZΛ + D ⊗ K⁻¹ ]

which never divides by a variance: a zero variance or a correlation of ±1 is an ordinary
point. The first stage is M = W'R⁻¹W (`remlblup.equations.henderson.cross_products`). A *slot* is one entry
(i, a) of Λ of one term, and slot 0 the constant 1 that stands for X. The second stage adds each
element of M, times the product λ_s λ_s' of two slots of its effects, at the columns of these slots.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from remlblup.arrays import Array, sums
from remlblup.cached import cached_property
from remlblup.equations.henderson.cross_products import CrossProducts
from remlblup.equations.henderson.keys import distinct, level_keys, places
from remlblup.equations.henderson.precision import factor_blocks, placed_precision, precision_entries, precision_parts
from remlblup.linalg.contract import DenseBlock
from remlblup.linalg.factor import DENSE_LIMIT, engine_of
from remlblup.linalg.memory import Need, require
from remlblup.model.design import RandomDesign

# Slots of one effect from which memory is counted before the second stage; bytes of a list and of an entry of it.
WIDE, BYTES = 50, (600.0, 60.0)


class Slot(NamedTuple):
    """Entry (i, a) of Λ_k; `source` and `target` are the column blocks of effect i in W and of factor a in C.

    The term is −1 for X and for the cells the residual structure fills in, whose coefficient is 1.
    """

    term: int
    i: int
    a: int
    source: int
    target: int


@dataclass(frozen=True)
class Layout:
    """The lower triangle of C on one pattern (CSC), and how M and K⁻¹ enter it.

    Attributes
    ----------
    m : order of C, p + Σ_k s_k q_k + filled cells; X first, then the factors term by term
    offsets : first column in C of each block: X, each factor of each term, the filled cells
    slots : the slots, slot 0 being X
    pairs : (n_pairs, 2) pairs of slots s <= s' with coefficient λ_s λ_s'
    indptr, indices : lower triangle of the pattern
    c_at, m_at, pair : one entry per term of the second stage: C[c_at] += M[m_at] λ_s λ_s'
    precision, precision_at : entries of I ⊗ K⁻¹, less the blocks, and their places on the pattern
    twice : (nnz,) 1 on the diagonal, 2 below: the weight of an entry in ⟨C⁻¹, B⟩
    level_at : place on the pattern of the entries that join the factors of one level, term by term, see `level_keys`
    groups : (m,) number of the node of each equation in the ordering: one per level with all its factors; None where
        no term has more than one
    blocks : the dense part of the K⁻¹ of each factor of a term, where it is not on the pattern
    block_signs : (n_blocks,) number of the sign of each
    """

    m: int
    offsets: np.ndarray
    slots: tuple[Slot, ...]
    pairs: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    c_at: np.ndarray
    m_at: np.ndarray
    pair: np.ndarray
    precision: Array
    precision_at: np.ndarray | slice
    twice: np.ndarray
    level_at: np.ndarray
    groups: np.ndarray | None
    blocks: tuple[DenseBlock, ...] = ()
    block_signs: tuple[int, ...] = ()

    @property
    def nnz(self) -> int:
        return len(self.indices)

    @property
    def need(self) -> Need:
        """The layout itself, and what passes while its keys are sorted."""
        listed, nnz = float(len(self.c_at)), float(self.nnz)
        kept = 10.0 * listed + 5.0 * nnz + 24.0 * self.m + float(self.precision.nbytes)
        if not isinstance(self.precision_at, slice):
            kept += float(self.precision_at.nbytes)
        return Need.of(kept, 25.0 * (listed + nnz))

    @property
    def need_of_values(self) -> float:
        """What passes while C is assembled: its values, and W'R⁻¹W where R has several variances."""
        return 8.0 * (self.nnz + len(self.c_at))

    def assemble(self, M: tuple[float, Array], slots: Array, signs: Array) -> Array:
        """Values of C on the pattern, from M = W'R⁻¹W (`CrossProducts.scaled`), the slots λ and the signs D, then the
        sign of each block."""
        coefficients = self.coefficients(slots)
        if self.m > DENSE_LIMIT:
            from remlblup.linalg.sparse import stages

            values = np.zeros(self.nnz)
            stages.add_products(self.c_at, self.m_at, self.pair, *M, coefficients, values)
        else:
            values = sums(self.c_at, (M[0] * M[1])[self.m_at] * coefficients[self.pair], self.nnz)
        self._add_precision(values, signs)
        return self.with_blocks(values, signs)

    def of_precision(self) -> Array:
        """C without data, whose equations that K⁻¹ has no part in are those of an identity matrix."""
        values, signs = np.zeros(self.nnz), np.ones(len(self.offsets))
        self._add_precision(values, signs)
        diagonal = self.indptr[:-1]
        values[diagonal[values[diagonal] == 0.0]] = 1.0
        return self.with_blocks(values, signs)

    def with_blocks(self, values: Array, signs: Array) -> Array:
        """Values on the pattern, and the coefficients of the blocks."""
        return np.concatenate([values, signs[list(self.block_signs)]]) if self.blocks else values

    def _add_precision(self, values: Array, signs: Array) -> None:
        """values += D ⊗ K⁻¹; hardly ever is a sign negative. A block of columns has one sign."""
        precision = self.precision
        if np.count_nonzero(signs < 0.0):
            widths = np.diff(self.offsets)
            of_column = np.repeat(np.concatenate([[1.0], signs, np.ones(len(widths) - 1 - len(signs))]), widths)
            # Where X has been left out, so have its columns.
            precision = precision * np.repeat(of_column[-self.m :], np.diff(self.indptr))[self.precision_at]
        if isinstance(self.precision_at, slice):
            values[self.precision_at] += precision
        else:
            from remlblup.linalg.sparse import stages

            stages.add_at(self.precision_at, precision, values)

    def coefficients(self, slots: Array) -> Array:
        """λ_s λ_s' of every pair."""
        return slots[self.pairs[:, 0]] * slots[self.pairs[:, 1]]

    def slot_traces(self, M: tuple[float, Array], inverse: Array) -> Array:
        """T (n_slots, n_slots) symmetric with λ'Tλ = ⟨C⁻¹, T'W'R⁻¹WT⟩, so that ∂log|C|/∂λ = 2Tλ."""
        if self.m > DENSE_LIMIT:
            from remlblup.linalg.sparse import stages

            t: Array = np.zeros(len(self.pairs) + 1)
            stages.pair_traces(self.c_at, self.m_at, self.pair, *M, self.twice, inverse, t)
        else:
            t = sums(self.pair, (M[0] * M[1])[self.m_at] * (self.twice * inverse)[self.c_at], len(self.pairs) + 1)
        number, share = self._square
        return np.asarray(share * t[number])

    @cached_property
    def _square(self) -> tuple[np.ndarray, Array]:
        """(n_slots, n_slots) number of the pair at each place of T, behind the last where there is none; its share."""
        n, pairs = len(self.slots), len(self.pairs)
        number = np.full((n, n), pairs)
        number[self.pairs[:, 0], self.pairs[:, 1]] = number[self.pairs[:, 1], self.pairs[:, 0]] = np.arange(pairs)
        return number, np.where(np.eye(n, dtype=bool), 1.0, 0.5)

    def cross_product_weights(self, slots: Array, inverse: Array, nnz: int) -> Array:
        """∂log|C|/∂M for the `nnz` elements of M, at any slots λ."""
        weights = self.twice[self.c_at] * inverse[self.c_at]
        return sums(self.m_at, weights * self.coefficients(slots)[self.pair], nnz)

    def without_fixed(self, p: int) -> Layout:
        """The layout of the random block alone (Z-part of C), for the ML log-determinant."""
        columns = np.repeat(np.arange(self.m), np.diff(self.indptr))
        keep = columns >= p
        place = np.cumsum(keep) - 1
        in_c, listed = keep[self.c_at], None if isinstance(self.precision_at, slice) else self.precision_at
        return replace(
            self,
            m=self.m - p,
            indices=self.indices[keep] - p,
            twice=self.twice[keep],
            indptr=np.concatenate([[0], np.cumsum(np.diff(self.indptr)[p:])]),
            c_at=place[self.c_at[in_c]],
            m_at=self.m_at[in_c],
            pair=self.pair[in_c],
            precision=self.precision[keep] if listed is None else self.precision,
            precision_at=self.precision_at if listed is None else place[listed].astype(listed.dtype),
            level_at=place[self.level_at],
            groups=None if self.groups is None else self.groups[p:] - p,
            blocks=tuple(block.moved(-p) for block in self.blocks),
        )


def slots_of(random: Sequence[RandomDesign], n_filled: int = 0) -> tuple[Slot, ...]:
    """Slot 0 for X, the nonzero entries of each Λ_k, and one for the filled cells if there are any."""
    slots = [Slot(-1, 0, 0, 0, 0)]
    source = target = 1
    for k, design in enumerate(random):
        slots += [Slot(k, i, a, source + i, target + a) for i, a in design.structure.slots]
        source += design.t
        target += design.structure.n_factors
    return (*slots, Slot(-1, 0, 0, source, target)) if n_filled else tuple(slots)


def block_offsets(p: int, sizes: Sequence[tuple[int, int]], n_filled: int) -> np.ndarray:
    """First column of each block: X, `count` blocks of q columns per term, the filled cells, the end."""
    widths = [p] + [q for count, q in sizes for _ in range(count)] + ([n_filled] if n_filled else [])
    return np.array(list(itertools.accumulate(widths, initial=0)), np.int64)


def build_layout(
    M: CrossProducts, p: int, random: Sequence[RandomDesign], n_filled: int = 0, engine: str = "dense"
) -> Layout:
    """Lay out C for the pattern of M, the slots of Λ and the K⁻¹ of every term, for an engine of its factor."""
    sources = block_offsets(p, [(d.t, d.q) for d in random], n_filled)
    offsets = block_offsets(p, [(d.structure.n_factors, d.q) for d in random], n_filled)
    slots = slots_of(random, n_filled)
    m = int(offsets[-1])
    check_products(M, slots, sources)
    pair_of: dict[tuple[int, int], int] = {}
    parts, numbers = [], []
    for s, s2, keys, m_at in slot_products(M, slots, sources, offsets, m):
        number = pair_of.setdefault((min(s, s2), max(s, s2)), len(pair_of))
        parts.append((keys, m_at))
        numbers.append(number)
    pair = np.array(numbers, np.int16 if len(slots) < 180 else np.int32).repeat([len(at) for _, at in parts])
    sparse = engine_of(engine, m) == "sparse"  # which loads the compiler for its factor in any case
    lists, listed = zip(*parts, strict=True)
    m_at, lists = np.concatenate(listed), lists if sparse else (np.concatenate(lists),)
    del parts, listed
    of_levels, diagonal = level_keys(random, offsets, m), np.arange(m, dtype=np.int64) * (m + 1)
    lower, dense = precision_parts(random, sparse)
    # Of a dense relationship there are many millions of keys: they are sorted in place, and none is kept.
    of_precision = (k for k, _ in precision_entries(random, lower, offsets, m))
    found = distinct(itertools.chain(lists, of_precision, [of_levels, diagonal]), sparse)
    precision, precision_at = placed_precision(found, random, lower, offsets, m, sparse)
    c_at, level_at = np.concatenate([places(found, k, sparse) for k in lists]), places(found, of_levels, sparse)
    del lists
    indptr = np.full(m + 1, len(found), np.int64)
    indptr[:-1] = places(found, diagonal, sparse)
    indices = np.remainder(found, m, out=found).astype(np.int32 if m < 2**31 else np.int64)
    twice = np.full(len(indices), 2, np.int8)
    twice[indptr[:-1]] = 1  # the diagonal comes first in its column
    return Layout(
        m,
        offsets,
        slots,
        np.array(list(pair_of), np.int64).reshape(-1, 2),
        indptr,
        indices,
        c_at,
        m_at.astype(np.int32 if len(M.rows) < 2**31 else np.int64),
        pair,
        precision,
        precision_at,
        twice,
        level_at,
        level_groups(p, random, n_filled),
        *factor_blocks(random, dense, offsets),
    )


def least_need(M: CrossProducts, random: Sequence[RandomDesign]) -> float:
    """Bytes that C, its layout and a factor without fill take at the least, before anything of them is made."""
    effects = float(sum(d.structure.n_factors * d.q for d in random))
    entries = max(float(len(M.rows)), effects)
    return 10.0 * len(M.rows) + 37.0 * entries + 100.0 * effects


def check_products(M: CrossProducts, slots: Sequence[Slot], sources: np.ndarray) -> None:
    """Refuse a second stage that does not fit into memory: a list for each pair of slots, an item for each entry."""
    if len(slots) < WIDE:
        return
    width = np.bincount([slot.source for slot in slots], minlength=len(sources) - 1).astype(float)
    if width.max() < WIDE:
        return
    lists = entries = 0.0
    for i, j, at in source_blocks(M, sources):
        lists += width[i] * width[j]
        entries += width[i] * width[j] * len(at)
    require(
        BYTES[0] * lists + BYTES[1] * entries,
        f"the system of a term with {width.max():,.0f} effects",
        "or round its effects to fewer values; a correlation along a line belongs into residual=, where it is sparse.",
    )


def level_groups(p: int, random: Sequence[RandomDesign], n_filled: int) -> np.ndarray | None:
    """Node of each equation, the factors of one level together."""
    if all(d.structure.n_factors == 1 for d in random):
        return None
    groups, start = [np.arange(p)], p
    for design in random:
        groups += [np.arange(start, start + design.q)] * design.structure.n_factors
        start += design.q
    return np.concatenate([*groups, np.arange(start, start + n_filled)])


def slot_products(
    M: CrossProducts, slots: Sequence[Slot], sources: np.ndarray, offsets: np.ndarray, m: int
) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Yield (s, s', keys, m_at): the entries of the lower triangle of C with coefficient λ_s λ_s'.

    An element of M beside the diagonal stands for two. Both fall on one place of the diagonal of C where its
    effects share a level and a factor: such an entry is listed twice.
    """
    by_source: dict[int, list[tuple[int, Slot]]] = {}
    for s, slot in enumerate(slots):
        by_source.setdefault(slot.source, []).append((s, slot))
    first_source, first = sources.tolist(), offsets.tolist()
    for i, j, at in source_blocks(M, sources):
        row, column = M.rows[at] - first_source[i], M.columns[at] - first_source[j]
        # Keys but for where the two factors begin in C: row below column, column below row, the larger below.
        below = folded = keys_of(column, row, m)
        folded_at = at
        if i != j or len(by_source.get(i, ())) > 1:
            above = keys_of(row, column, m)
        if i == j:
            beside = row != column
        else:
            same = row == column
            folded = np.minimum(below, above)
            folded, folded_at = np.concatenate([folded, folded[same]]), np.concatenate([at, at[same]])
        for s, one in by_source.get(i, ()):
            for s2, other in by_source.get(j, ()):
                a, b = first[one.target], first[other.target]
                if one.target == other.target:
                    yield s, s2, folded + a * (m + 1), folded_at
                elif one.target > other.target:
                    yield s, s2, below + (b * m + a), at
                elif i == j:  # λ_s λ_s' of an element on the diagonal of M has been listed
                    yield s, s2, above[beside] + (a * m + b), at[beside]
                else:
                    yield s, s2, above + (a * m + b), at


def keys_of(column: np.ndarray, row: np.ndarray, m: int) -> np.ndarray:
    """Keys of places of C, column × m + row, whatever numpy makes of 32 bits times m."""
    return np.multiply(column, m, dtype=np.int64) + row


def source_blocks(M: CrossProducts, sources: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """(i, j, positions in M) for every pair of column blocks of W with elements in M, i >= j."""
    n_blocks = len(sources) - 1
    block_of = np.arange(n_blocks, dtype=np.uint16).repeat(sources[1:] - sources[:-1])
    code = block_of[M.rows].astype(np.uint16 if n_blocks < 256 else np.int64)
    code = code * n_blocks + block_of[M.columns]
    if n_blocks < 256:
        code = code.astype(np.uint16)  # sixteen bits are sorted by counting
    order = code.argsort(kind="stable")
    code = code[order]
    starts = [0, *((code[1:] != code[:-1]).nonzero()[0] + 1).tolist(), len(order)]
    for start, stop in itertools.pairwise(starts if len(order) else ()):
        i, j = divmod(int(code[start]), n_blocks)
        yield i, j, order[start:stop]
