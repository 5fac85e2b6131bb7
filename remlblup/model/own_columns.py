"""Columns of X for records of variances far apart: each on records of one size where the span of X allows it.

With milk in kg and fat in g, precisions of records may differ by 10¹². The column of an intercept that both traits
share has then nothing of milk in X'R⁻¹X but in its last digits, and its mean is what is left of a difference. The
same span has columns on milk alone, whatever the coding was (treatments, sums, interactions), and these keep theirs.

Within a class of records, those of one variance, many columns of X are alike but for a factor: they are
one *atom*. X = B S, with the columns of B the atoms and S (atoms, p) small blocks, one for the columns that share
atoms. Each block is brought to reduced echelon form with the most precise pivots first, which gives zeros and not
small differences. What is nearly dependent even so, as polynomials over sites, becomes orthonormal in R⁻¹.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array, Index
from remlblup.linalg.rank.independent import ILL_CONDITIONED, independent_columns
from remlblup.model.design import WIDEST_CENTRED, WIDEST_WHITENED, FixedDesign

# Variances of records that differ by a larger factor cost digits: as many as the factor has.
FAR_APART = 1e4
# Records of one variance are a class; where there are more variances, those without a gap of this factor between.
MOST, GAP = 64, 2.0
# Columns are alike if they agree to this, relative to their length.
ALIKE = 1e-12


def on_own_records(fixed: FixedDesign, variances: Array) -> FixedDesign:
    """The same X with other columns inside the equations, if variances of records (n,) are far apart."""
    if fixed.p < 1 or not variances.max() > FAR_APART * variances.min():
        return fixed
    fixed = replace(fixed, metric=1.0 / variances)
    codes = classes(variances)
    if fixed.p == 1 or not shared(fixed.work, codes).any():
        return fixed
    if fixed.p <= WIDEST_CENTRED:
        fixed = separated(fixed, codes, variances)
    if fixed.p <= WIDEST_WHITENED and shared(fixed.work, codes).any():
        fixed = whitened(fixed, variances)
    return fixed


def classes(variances: Array) -> Index:
    """(n,) numbers of classes of records, most precise first."""
    values, place = np.unique(variances, return_inverse=True)
    number = np.arange(len(values))
    if len(values) > MOST:
        number = np.concatenate([[0], np.cumsum(values[1:] > GAP * values[:-1])])
    return np.asarray(number[place.ravel()], dtype=np.int64)


def indicator(codes: Index) -> sp.csr_array:
    """(classes, n), with a one at the class of each record."""
    n = len(codes)
    return sp.csr_array((np.ones(n), (codes, np.arange(n))), shape=(codes.max() + 1, n))


def shared(X: Any, codes: Index) -> np.ndarray:
    """Which columns have values in several classes."""
    sizes = indicator(codes) @ abs(sp.csr_array(X))
    return np.asarray((sizes.toarray() > 0.0).sum(axis=0) > 1)


def separated(fixed: FixedDesign, codes: Index, variances: Array) -> FixedDesign:
    """Columns on fewer classes, as far as the atoms of X allow it."""
    X = sp.csc_array(fixed.work)
    found = atoms(X, codes)
    if found is None:
        return fixed
    B, S = found
    weight = np.sqrt(np.asarray(sp.csc_array(B.multiply(B)).T @ (1.0 / variances)))
    reduced, T = echelon(S.toarray(), weight, shared(X, codes))
    work = sp.csc_array(B @ sp.csc_array(reduced))
    return changed(fixed, work if sp.issparse(fixed.work) else work.toarray(), T)


def atoms(X: sp.csc_array, codes: Index) -> tuple[sp.csc_array, sp.csc_array] | None:
    """B (n, atoms) and S (atoms, p) with X = B S; None where rounding spoils it."""
    one, rng = indicator(codes), np.random.default_rng(0)
    lengths = np.sqrt((one @ X.multiply(X)).toarray())
    probes = [sp.csr_array(one.multiply(rng.standard_normal(len(codes)))) @ X for _ in range(2)]
    first, second = (np.divide(P.toarray(), lengths, out=np.zeros_like(lengths), where=lengths > 0.0) for P in probes)
    signed = np.where(first < 0.0, -lengths, lengths)
    sign = np.where(first < 0.0, -1.0, 1.0)
    at, of, number, columns = members(sign * first, sign * second, lengths > 0.0)
    values = signed[at[number], columns] / signed[at[number], of[number]]
    values = np.where(np.abs(np.abs(values) - 1.0) < ALIKE, np.sign(values), values)
    S = sp.csc_array((values, (number, columns)), shape=(len(of), X.shape[1]))
    whole = X[:, of].tocoo()
    rows, places = whole.coords
    own = codes[rows] == at[places]
    B = sp.csc_array((whole.data[own], (rows[own], places[own])), shape=whole.shape)
    return (B, S) if abs(B @ S - X).max() <= ALIKE * abs(X).max() else None


def members(first: Array, second: Array, present: np.ndarray) -> tuple[Index, Index, Index, Index]:
    """Class and first column of each atom, and the atom and the column of each member, from two products with random
    vectors (classes, p) of columns of length one: those of one atom have the same."""
    owners: list[tuple[int, int]] = []
    number: list[int] = []
    columns: list[int] = []
    for g, own in enumerate(present):
        some = np.flatnonzero(own)
        some = some[np.argsort(first[g, some], kind="stable")]
        a, b = first[g, some], second[g, some]
        new = np.concatenate([[True], np.maximum(np.abs(np.diff(a)), np.abs(np.diff(b))) >= ALIKE])[: len(some)]
        number.extend((len(owners) - 1 + np.cumsum(new)).tolist())
        columns.extend(some.tolist())
        owners.extend((g, j) for j in some[new].tolist())
    at, of = np.array(owners, dtype=np.int64).T
    return at, of, np.array(number), np.array(columns)


def echelon(S: Array, weight: Array, mixed: np.ndarray) -> tuple[Array, Array]:
    """S T and T (p, p) in reduced echelon form by blocks, heaviest pivots first; blocks without mixed columns stay."""
    from scipy.sparse.csgraph import connected_components  # a heavy import

    a, p = S.shape
    rows, columns = np.nonzero(S)
    graph = sp.coo_array((np.ones(len(rows)), (rows, a + columns)), shape=(a + p, a + p))
    component = connected_components(graph, directed=False)[1]
    reduced, T = S.copy(), np.eye(p)
    for c in np.unique(component[a:][mixed]):
        rows, columns = np.flatnonzero(component[:a] == c), np.flatnonzero(component[a:] == c)
        if len(columns) > 1:
            block = eliminated(S[np.ix_(rows, columns)], weight[rows])
            reduced[np.ix_(rows, columns)], T[np.ix_(columns, columns)] = block
    return reduced, T


def eliminated(block: Array, weight: Array) -> tuple[Array, Array]:
    """block T (a, k), one at the pivot of each column and zero there in the others, and T (k, k)."""
    k = block.shape[1]
    left, T = block.copy(), np.eye(k)
    free = np.ones(k, dtype=bool)
    for _ in range(k):
        sizes = np.abs(left) * weight[:, None] * free
        row, column = np.unravel_index(np.argmax(sizes), sizes.shape)
        T[:, column] /= left[row, column]
        left[:, column] /= left[row, column]
        factors = left[row].copy()
        factors[column] = 0.0
        T -= np.outer(T[:, column], factors)
        change = np.outer(left[:, column], factors)
        equal = np.abs(left - change) <= 1e-13 * np.abs(change)
        left = np.where(equal, 0.0, left - change)
        left[row, column] = 1.0
        free[column] = False
    return left, T


def whitened(fixed: FixedDesign, variances: Array) -> FixedDesign:
    """Columns orthonormal in R⁻¹, where those there are nearly dependent in it."""
    root = 1.0 / np.sqrt(variances)
    X = fixed.work
    weighted = sp.csc_array(sp.csc_array(X).multiply(root[:, None])) if sp.issparse(X) else root[:, None] * X
    rank = independent_columns(weighted)
    if len(rank.kept) == fixed.p and rank.smallest_ratio >= ILL_CONDITIONED:
        return fixed
    dense = weighted.toarray() if sp.issparse(weighted) else weighted
    lengths = np.sqrt(np.einsum("ij,ij->j", dense, dense))
    # Rows sorted and columns pivoted: each row keeps its own digits (Cox & Higham 1998).
    order = np.argsort(-np.abs(dense).max(axis=1), kind="stable")
    R, pivots = scipy.linalg.qr(dense[order] / lengths, mode="r", pivoting=True)
    T = np.zeros((fixed.p, fixed.p))
    T[pivots] = scipy.linalg.solve_triangular(R[: fixed.p], np.eye(fixed.p))
    T /= lengths[:, None]
    return changed(fixed, np.asarray(X @ T), T)


def changed(fixed: FixedDesign, work: Any, T: Array) -> FixedDesign:
    """The same X with the columns `work` = (those before) T."""
    logdet = fixed.logdet_transform + float(np.linalg.slogdet(T)[1])
    whole = T if fixed.transform is None else fixed.transform @ T
    return replace(fixed, work=work, transform=whole, logdet_transform=logdet)
