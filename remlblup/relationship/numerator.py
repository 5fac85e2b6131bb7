"""The numerator relationship matrix A of a pedigree, its inverse, and the inbreeding coefficients.

Everything rests on A = T D T' (Henderson 1976, Biometrics 32:69): an animal's breeding value is half of each
parent's plus its Mendelian sampling deviation, so T⁻¹ = I − ½P with P the incidence of parents, and D is the
diagonal of Mendelian sampling variances.

In all functions `sire` and `dam` are integer arrays of shape (n,), −1 for unknown, parents numbered before
their offspring, as `Pedigree` holds them.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

from remlblup.errors import PedigreeError, RelationshipError, choose
from remlblup.relationship.base import conformable

# Up to this many animals the plain NumPy routes are as fast as compiled code is to load.
SMALL = 3000
# A dense A of this size takes 3.2 GB.
DENSE_LIMIT = 20_000
# Columns of A formed at a time: enough to share the walk over ancestors, few enough to stay in cache.
_COLUMNS = 16


def inbreeding(sire: np.ndarray, dam: np.ndarray, method: str = "auto") -> np.ndarray:
    """Inbreeding coefficients: F_i = ½ a(sire, dam).

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    method : {"auto", "tabular", "columns"}
        ``"tabular"`` builds A row by row (Emik & Terrill 1949, J Hered 40:51), n² memory. ``"columns"``,
        compiled, forms for one parent at a time the column of A over its own and its mates' ancestors
        (Colleau 2002, Genet Sel Evol 34:409; Sargolzaei, Iwaisaki & Colleau 2005, J Anim Breed Genet
        122:325).
        ``"auto"`` takes the first for up to 3000 animals.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    choose("method", method, ("auto", "tabular", "columns"))
    if method == "tabular" or (method == "auto" and len(sire) <= SMALL):
        return np.diag(_tabular(sire, dam)) - 1.0
    return _by_columns(np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32))


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


def mendelian_variance(sire: np.ndarray, dam: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Diagonal of D: the part of each animal's additive variance that its parents do not explain.

    d_i = 1 − ¼ Σ_p (1 + F_p) over the known parents p: ½ − ¼(F_s + F_d) with two, ¾ − ¼F_p with one and
    1 with none (Quaas 1976, Biometrics 32:949; Mrode, Linear Models, 3rd ed., section 2.3). Self-mating
    (sire = dam) needs no case of its own: ½ − ½F.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    F : numpy.ndarray, shape (n,)
        Inbreeding coefficients.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    sire, dam = np.asarray(sire), np.asarray(dam)
    variance = np.ones(len(sire))
    for parent in (sire, dam):
        known = parent >= 0
        variance[known] -= 0.25 * (1.0 + F[parent[known]])
    return variance


def inverse(sire: np.ndarray, dam: np.ndarray, F: np.ndarray) -> sp.csc_array:
    """A⁻¹ by Henderson's rules with inbreeding (Henderson 1976; Quaas 1976).

    Animal i with parents s and d adds 1/d_i times (1, −½, −½)(1, −½, −½)' to the rows and columns i, s, d.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    F : numpy.ndarray, shape (n,)

    Returns
    -------
    scipy.sparse.csc_array, shape (n, n)
        Symmetric, both triangles stored, indices sorted.

    Raises
    ------
    PedigreeError
        If a Mendelian variance is zero (both parents completely inbred), where A has no inverse.
    """
    variance = mendelian_variance(sire, dam, F)
    check_variance(variance)
    root = sp.dia_array((variance[None, :] ** -0.5, [0]), shape=(len(variance),) * 2)
    half = (root @ _descent(sire, dam)).tocsr()
    result = (half.T.tocsr() @ half).tocsc()
    result.sort_indices()
    return result


def log_determinant(variance: np.ndarray) -> float:
    """log|A| = Σ log d_i, because |T| = 1.

    Parameters
    ----------
    variance : numpy.ndarray, shape (n,)
        Mendelian variances.

    Raises
    ------
    PedigreeError
        If one of them is zero.
    """
    check_variance(variance)
    return float(np.log(variance).sum())


def multiply(sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, V: np.ndarray) -> np.ndarray:
    """A V without forming A: V ← T' V up the pedigree, D V, T V down again (Colleau 2002, eq. 5).

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance : numpy.ndarray, shape (n,)
        Mendelian variances.
    V : numpy.ndarray, shape (n,) or (n, m)

    Returns
    -------
    numpy.ndarray of the shape of V
    """
    V = conformable(V, len(sire))
    if len(sire) <= SMALL:
        solver = splu(
            _descent(sire, dam).tocsc(),
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
        up = solver.solve(np.ascontiguousarray(V), trans="T")
        return solver.solve((variance * up.T).T.copy())
    from remlblup.relationship import numerator_kernels as kernels

    result = np.array(V.reshape(len(sire), -1), dtype=float, order="C")
    kernels.multiply_in_place(np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32), variance, result)
    return result.reshape(V.shape)


def matrix(sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, subset: np.ndarray | None = None) -> np.ndarray:
    """A, or its rows and columns `subset`, as a dense array.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance : numpy.ndarray, shape (n,)
        Mendelian variances.
    subset : numpy.ndarray of int, shape (m,), optional
        Positions of the animals wanted.

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
    if wanted.size > DENSE_LIMIT:
        raise RelationshipError(
            f"A dense relationship matrix of {wanted.size:,} animals would take "
            f"{8e-9 * wanted.size**2:,.1f} GB. Ask for the animals you need (at most {DENSE_LIMIT:,}), "
            "or use the sparse inverse (`precision`) or products with A (`multiply`)."
        )
    if n <= SMALL:
        return _tabular(sire, dam)[np.ix_(wanted, wanted)]
    from remlblup.linalg.threads import side_by_side
    from remlblup.relationship import numerator_kernels as kernels

    # Only ancestors of the wanted animals matter; few columns at a time stay in cache.
    members = ancestors(sire, dam, wanted)
    number = np.full(n + 1, -1, dtype=np.int32)
    number[members] = np.arange(members.size, dtype=np.int32)
    parents = [number[np.asarray(parent)[members]] for parent in (sire, dam)]
    own, variance = number[wanted].astype(np.int64), np.ascontiguousarray(variance[members])
    result = np.empty((wanted.size, wanted.size))

    def columns(first: int) -> None:
        stop = min(first + _COLUMNS, wanted.size)
        unit = np.zeros((members.size, stop - first))
        unit[own[first:stop], np.arange(stop - first)] = 1.0
        kernels.multiply_in_place(*parents, variance, unit)
        result[first:stop] = unit[own].T

    side_by_side(columns, [(first,) for first in range(0, wanted.size, _COLUMNS)])
    return 0.5 * (result + result.T)


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


def check_variance(variance: np.ndarray) -> None:
    """Raise `PedigreeError` if A is singular, that is, if a Mendelian variance is zero to rounding."""
    none_left = int((variance <= 1e-14).sum())
    if none_left:
        raise PedigreeError(
            f"The relationship matrix is singular: {none_left} animals come from completely inbred parents "
            "(F = 1) and have no Mendelian variance. Keep one animal of each fully inbred line, or shorten "
            "the line's pedigree."
        )


def _by_columns(sire: np.ndarray, dam: np.ndarray) -> np.ndarray:
    """Order the work for the compiled kernel: pivot parents by generation, in batches."""
    from remlblup.relationship import numerator_kernels as kernels

    both = np.flatnonzero((sire >= 0) & (dam >= 0)).astype(np.int32)
    # One column of A per pivot parent: take the sex with fewer parents.
    fewer_sires = np.unique(sire[both]).size <= np.unique(dam[both]).size
    pivot, mate = (sire, dam) if fewer_sires else (dam, sire)
    generation = generations(sire, dam)
    offspring = both[np.lexsort((pivot[both], generation[pivot[both]]))]
    pivots, start = _runs(pivot[offspring])
    _, bounds = _runs(generation[pivots])
    batch_end = [
        np.append(np.arange(first + _COLUMNS, last, _COLUMNS), last)
        for first, last in itertools.pairwise(bounds.tolist())
    ]
    batches = np.concatenate([np.empty(0, dtype=np.int64), *batch_end]).astype(np.int64)
    return kernels.inbreeding_by_columns(pivot, mate, pivots, batches, offspring, start)


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value of each run of equal values, and where the runs start (with the end appended)."""
    edge = np.ones(len(values), dtype=bool)
    edge[1:] = values[1:] != values[:-1]
    start = np.flatnonzero(edge)
    return values[start], np.append(start, len(values))


def _descent(sire: np.ndarray, dam: np.ndarray) -> sp.csr_array:
    """T⁻¹ = I − ½P: row i holds 1 for the animal and −½ for each known parent (−1 under self-mating)."""
    sire, dam = np.asarray(sire), np.asarray(dam)
    own, fathered, mothered = np.arange(len(sire)), np.flatnonzero(sire >= 0), np.flatnonzero(dam >= 0)
    rows = np.concatenate([own, fathered, mothered]).astype(np.int32)
    columns = np.concatenate([own, sire[fathered], dam[mothered]]).astype(np.int32)
    values = np.full(rows.size, -0.5)
    values[: own.size] = 1.0
    return sp.coo_array((values, (rows, columns)), shape=(own.size, own.size)).tocsr()


def _tabular(sire: np.ndarray, dam: np.ndarray) -> np.ndarray:
    """A by the tabular method: an animal's row is the mean of its parents' rows."""
    n = len(sire)
    A = np.zeros((n, n))
    for i, (s, d) in enumerate(zip(np.asarray(sire).tolist(), np.asarray(dam).tolist(), strict=True)):
        A[i, i] = 1.0
        if s >= 0:
            A[i, :i] += 0.5 * A[s, :i]
        if d >= 0:
            A[i, :i] += 0.5 * A[d, :i]
        if s >= 0 and d >= 0:
            A[i, i] += 0.5 * A[s, d]
        A[:i, i] = A[i, :i]
    return A
