"""The numerator relationship matrix A of a pedigree, its inverse, and the inbreeding coefficients.

Everything rests on A = T D T' (Henderson 1976, Biometrics 32:69): an animal's breeding value is half of each
parent's plus its Mendelian sampling deviation, so T⁻¹ = I − ½P with P the incidence of parents, and D is the
diagonal of Mendelian sampling variances.

In all functions `sire` and `dam` are integer arrays of shape (n,), −1 for unknown, parents numbered before
their offspring, as `Pedigree` holds them. Two things widen the rule, both optional:

- `left`, shape (n,): the heterozygosity left in animal i after generations of selfing that follow its cross,
  2^−k after k of them. F_i = 1 − left_i (1 − F⁰_i), where F⁰ = ½ a(sire, dam) is that of the cross itself.
- `gamma`, shape (g, g): the first g animals are metafounders with these relationships (Legarra et al. 2015,
  Genetics 200:455), so that D = blockdiag(Γ, d).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.errors import PedigreeError, choose, count
from remlblup.linalg.interrupts import interrupted_as_such
from remlblup.relationship.base import conformable

# Up to this many animals the plain NumPy routes are as fast as compiled code is to load.
SMALL = 3000
# A Mendelian variance below this is zero to rounding.
NO_VARIANCE = 1e-14


def inbreeding(
    sire: np.ndarray,
    dam: np.ndarray,
    method: str = "auto",
    *,
    left: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
) -> np.ndarray:
    """Inbreeding coefficients: F_i = ½ a(sire, dam), or 1 − left_i (1 − ½ a(sire, dam)) after selfing.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    method : {"auto", "tabular", "columns"}
        As for `parental_kinship`.
    left : numpy.ndarray, shape (n,), optional
    gamma : numpy.ndarray, shape (g, g), optional
        See the head of the module. A metafounder's F is γ − 1.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    return after_selfing(parental_kinship(sire, dam, method, left=left, gamma=gamma), left, gamma)


def after_selfing(kinship: np.ndarray, left: np.ndarray | None, gamma: np.ndarray | None = None) -> np.ndarray:
    """Inbreeding from that of the cross, shape (n,): 1 − left (1 − F⁰); γ − 1 for metafounders. It may be `kinship`."""
    F = kinship if left is None else 1.0 - left * (1.0 - kinship)
    if gamma is not None:
        F = F.copy()
        F[: len(gamma)] = np.diag(gamma) - 1.0
    return F


def parental_kinship(
    sire: np.ndarray,
    dam: np.ndarray,
    method: str = "auto",
    *,
    left: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> np.ndarray:
    """½ a(sire, dam) of every animal: the inbreeding of the cross; 0 where a parent is unknown.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    method : {"auto", "tabular", "columns"}
        ``"tabular"`` builds A row by row (Emik & Terrill 1949, J Hered 40:51), n² memory. ``"columns"``,
        compiled, forms for one parent at a time the column of A over its own and its mates' ancestors
        (Colleau 2002, Genet Sel Evol 34:409; Sargolzaei, Iwaisaki & Colleau 2005, J Anim Breed Genet
        122:325).
        ``"auto"`` takes the first for up to 3000 animals.
    left, gamma : numpy.ndarray, optional
        See the head of the module.
    variance : numpy.ndarray, shape (n,), optional
        Mendelian variances to take as they are, instead of those that follow from inbreeding.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    choose("method", method, ("auto", "tabular", "columns"))
    sire, dam = np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32)
    if method == "columns" or (method == "auto" and len(sire) > SMALL):
        return _by_columns(sire, dam, left, gamma, variance)
    A = tabular(sire, dam, left, gamma, variance)
    return np.where((sire >= 0) & (dam >= 0), 0.5 * A[sire, dam], 0.0)


def mendelian_variance(sire: np.ndarray, dam: np.ndarray, F: np.ndarray, gain: np.ndarray | float = 0.0) -> np.ndarray:
    """Diagonal of D: the part of each animal's additive variance that its parents do not explain.

    d_i = 1 − ¼ Σ_p (1 + F_p) over the known parents p: ½ − ¼(F_s + F_d) with two, ¾ − ¼F_p with one and
    1 with none (Quaas 1976, Biometrics 32:949; Mrode, Linear Models, 3rd ed., section 2.3). Self-mating
    (sire = dam) needs no case of its own: ½ − ½F.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    F : numpy.ndarray, shape (n,)
        Inbreeding coefficients.
    gain : numpy.ndarray, shape (n,), optional
        What selfing after the cross adds: F_i − F⁰_i = (1 − left_i)(1 − F⁰_i), because Var(u_i) = 1 + F_i while
        the parents' part stays that of the cross.

    Returns
    -------
    numpy.ndarray, shape (n,)
    """
    sire, dam = np.asarray(sire), np.asarray(dam)
    variance = np.ones(len(sire))
    for parent in (sire, dam):
        known = parent >= 0
        variance[known] -= 0.25 * (1.0 + F[parent[known]])
    return variance + gain


def inverse(sire: np.ndarray, dam: np.ndarray, F: np.ndarray) -> sp.csc_array:
    """A⁻¹ by Henderson's rules with inbreeding `F` of shape (n,). See `precision`."""
    return precision(sire, dam, mendelian_variance(sire, dam, F))


def precision(sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, gamma: np.ndarray | None = None) -> sp.csc_array:
    """A⁻¹, symmetric, both triangles stored, indices sorted. See `lower_precision`."""
    lower = lower_precision(sire, dam, variance, gamma)
    return sp.csc_array(lower + sp.tril(lower, -1).T)


def lower_precision(
    sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, gamma: np.ndarray | None = None
) -> sp.csc_array:
    """Lower triangle of A⁻¹ by Henderson's rules (Henderson 1976; Quaas 1976).

    Animal i with parents s and d adds 1/d_i times (1, −½, −½)(1, −½, −½)' to the rows and columns i, s, d;
    metafounders add Γ⁻¹.

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance : numpy.ndarray, shape (n,)
        Mendelian variances; those of metafounders are not used.
    gamma : numpy.ndarray, shape (g, g), optional

    Returns
    -------
    scipy.sparse.csc_array, shape (n, n)
        Indices sorted, the diagonal first in its column.

    Raises
    ------
    PedigreeError
        If a Mendelian variance is zero (both parents completely inbred), where A has no inverse.
    """
    n, g = len(variance), 0 if gamma is None else len(gamma)
    check_variance(variance[g:])
    weight = 1.0 / variance
    weight[:g] = 0.0
    if n <= SMALL:
        descent = descent_operator(sire, dam)
        weighted = descent.copy()
        weighted.data *= np.repeat(weight, np.diff(descent.indptr))
        result = sp.csc_array(sp.tril(descent.T @ weighted, format="csc"))
    else:
        from remlblup.relationship.descent import numerator_kernels as kernels

        parents = np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32)
        indptr, indices, data = kernels.lower_precision(*parents, weight)
        # Two kinds of integers would both be copied into the longer one.
        short = indptr.astype(np.int32) if len(indices) < 2**31 else indptr
        result = sp.csc_array((data, indices, short), shape=(n, n))
    if gamma is not None:
        corner = sp.coo_array(np.tril(np.linalg.inv(gamma)))
        result = sp.csc_array(result + sp.coo_array((corner.data, (corner.row, corner.col)), shape=(n, n)))
    result.sort_indices()
    return result


def precision_times(
    sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, V: np.ndarray, gamma: np.ndarray | None = None
) -> np.ndarray:
    """A⁻¹ V without forming A⁻¹: T⁻ᵀ D⁻¹ T⁻¹ V, compiled, of a V of shape (n, m) as floats."""
    from remlblup.relationship.descent import numerator_kernels as kernels

    g = 0 if gamma is None else len(gamma)
    sire, dam = np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32)
    result = np.array(V, order="C")
    kernels.deviations_in_place(sire, dam, result)
    founders = result[:g].copy()
    result /= variance[:, None]
    if gamma is not None:
        result[:g] = np.linalg.solve(gamma, founders)
    kernels.from_offspring_in_place(sire, dam, result)
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


def multiply(
    sire: np.ndarray, dam: np.ndarray, variance: np.ndarray, V: np.ndarray, gamma: np.ndarray | None = None
) -> np.ndarray:
    """A V without forming A: V ← T' V up the pedigree, D V, T V down again (Colleau 2002, eq. 5).

    Parameters
    ----------
    sire, dam : numpy.ndarray of int, shape (n,)
    variance : numpy.ndarray, shape (n,)
        Mendelian variances.
    V : numpy.ndarray, shape (n,) or (n, m)
    gamma : numpy.ndarray, shape (g, g), optional

    Returns
    -------
    numpy.ndarray of the shape of V
    """
    V = conformable(V, len(sire))
    result = pass_up(sire, dam, V.reshape(len(sire), -1))
    g = 0 if gamma is None else len(gamma)
    founders = result[:g].copy()
    result *= variance[:, None]
    if gamma is not None:
        result[:g] = gamma @ founders
    return pass_down(sire, dam, result).reshape(V.shape)


def pass_up(sire: np.ndarray, dam: np.ndarray, V: np.ndarray) -> np.ndarray:
    """T' V, V of shape (n, m): every animal, youngest first, hands half of its row to each parent."""
    return _pass(sire, dam, V, up=True)


def pass_down(sire: np.ndarray, dam: np.ndarray, V: np.ndarray) -> np.ndarray:
    """T V, V of shape (n, m): every animal, oldest first, receives half of each parent's row."""
    return _pass(sire, dam, V, up=False)


def _pass(sire: np.ndarray, dam: np.ndarray, V: np.ndarray, up: bool) -> np.ndarray:
    if len(sire) <= SMALL:
        from scipy.sparse.linalg import splu  # a heavy import

        operator = descent_operator(sire, dam).tocsc()
        options = {"permc_spec": "NATURAL", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        return splu(operator, **options).solve(np.array(V, dtype=float, order="C"), trans="T" if up else "N")
    from remlblup.relationship.descent import numerator_kernels as kernels

    result = np.array(V, dtype=float, order="C")
    move = kernels.up_in_place if up else kernels.down_in_place
    move(np.asarray(sire, dtype=np.int32), np.asarray(dam, dtype=np.int32), result)
    return result


def check_variance(variance: np.ndarray) -> None:
    """Raise `PedigreeError` if A is singular, that is, if a Mendelian variance is zero to rounding."""
    none_left = int((variance <= NO_VARIANCE).sum())
    if none_left:
        raise PedigreeError(
            f"The relationship matrix is singular: "
            f"{count(none_left, 'animal', 'comes', 'come')} from completely inbred parents "
            "(F = 1) with no Mendelian variance. Keep one animal of each fully inbred line, or shorten "
            "the line's pedigree."
        )


def tabular(
    sire: np.ndarray,
    dam: np.ndarray,
    left: np.ndarray | None = None,
    gamma: np.ndarray | None = None,
    variance: np.ndarray | None = None,
) -> np.ndarray:
    """A by the tabular method: an animal's row is the mean of its parents' rows, shape (n, n)."""
    n, g = len(sire), 0 if gamma is None else len(gamma)
    A = np.zeros((n, n))
    A[:g, :g] = gamma if gamma is not None else 0.0
    for i, (s, d) in enumerate(zip(np.asarray(sire).tolist(), np.asarray(dam).tolist(), strict=True)):
        if i < g:
            continue
        for parent in (s, d):
            if parent >= 0:
                A[i, :i] += 0.5 * A[parent, :i]
        A[:i, i] = A[i, :i]
        kinship = 0.5 * A[s, d] if s >= 0 and d >= 0 else 0.0
        if variance is not None:
            A[i, i] = variance[i] + kinship + sum(0.25 * A[p, p] for p in (s, d) if p >= 0)
        else:
            A[i, i] = 1.0 + kinship if left is None else 2.0 - left[i] * (1.0 - kinship)
    return A


@interrupted_as_such
def _by_columns(
    sire: np.ndarray,
    dam: np.ndarray,
    left: np.ndarray | None,
    gamma: np.ndarray | None,
    variance: np.ndarray | None,
) -> np.ndarray:
    """Lay out the work for the compiled kernel: parents in a table of their own, offspring by pivot parent."""
    from remlblup.relationship.descent import numerator_kernels as kernels

    n, g = len(sire), 0 if gamma is None else len(gamma)
    is_parent = np.zeros(n + 1, dtype=bool)
    is_parent[sire] = is_parent[dam] = is_parent[:g] = True
    parents = np.flatnonzero(is_parent[:n])
    position = np.full(n + 1, -1, dtype=np.int32)
    position[parents] = np.arange(parents.size, dtype=np.int32)
    both = np.flatnonzero((sire >= 0) & (dam >= 0)).astype(np.int32)
    # One column of A per pivot parent: take the sex with fewer parents.
    fewer_sires = np.unique(sire[both]).size <= np.unique(dam[both]).size
    pivot, mate = (sire, dam) if fewer_sires else (dam, sire)
    offspring = both[np.argsort(pivot[both], kind="stable")]
    pivots, start = _runs(position[pivot[offspring]])

    node = np.zeros(parents.size, dtype=kernels.NODE)
    node["sire"], node["dam"] = position[sire[parents]], position[dam[parents]]
    own = np.ones(parents.size) if left is None else 2.0 - left[parents]
    node["total"] = own
    if gamma is not None:
        node["total"][:g] = np.diag(gamma)
    return kernels.parental_kinship(
        node,
        own if variance is None else variance[parents],
        pivots,
        start,
        offspring,
        position[mate[offspring]],
        position[:n],
        np.empty(0) if left is None else np.asarray(left, dtype=float),
        np.empty((0, 0)) if gamma is None else np.ascontiguousarray(gamma, dtype=float),
        variance is not None,
    )


def _runs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The value of each run of equal values, and where the runs start (with the end appended)."""
    edge = np.ones(len(values), dtype=bool)
    edge[1:] = values[1:] != values[:-1]
    start = np.flatnonzero(edge)
    return values[start], np.append(start, len(values))


def descent_operator(sire: np.ndarray, dam: np.ndarray) -> sp.csr_array:
    """T⁻¹ = I − ½P: row i holds 1 for the animal and −½ for each known parent (−1 under self-mating)."""
    sire, dam = np.asarray(sire), np.asarray(dam)
    own, fathered, mothered = np.arange(len(sire)), np.flatnonzero(sire >= 0), np.flatnonzero(dam >= 0)
    rows = np.concatenate([own, fathered, mothered]).astype(np.int32)
    columns = np.concatenate([own, sire[fathered], dam[mothered]]).astype(np.int32)
    values = np.full(rows.size, -0.5)
    values[: own.size] = 1.0
    return sp.coo_array((values, (rows, columns)), shape=(own.size, own.size)).tocsr()
