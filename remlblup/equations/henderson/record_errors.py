"""The diagonals of P and of I − RP by Henderson's equations.

With S = TC⁻¹T' the errors of all effects, A = R⁻¹W and rows w_i of W, a_i of A,

    P_ii = (R⁻¹)_ii − a_i'S a_i,    (I − RP)_ii = w_i'S a_i.

Where the records that R⁻¹ links to a record are linked with each other (independent residuals, blocks) both need S on
the pattern of W'R⁻¹W alone, which the selected inverse has; elsewhere (fields, autoregressions) they are solved for.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, sums
from remlblup.equations.base import columns_at_once
from remlblup.equations.henderson.errors import precision_diagonal, respond
from remlblup.equations.henderson.system import Solution, System
from remlblup.equations.record_errors import RecordErrors, by_units

# Products of two elements of W and A listed at once.
TOGETHER = 2_000_000


def record_errors(equations: System, solution: Solution) -> RecordErrors:
    """By the selected inverse, or where it has not all that is needed by solves."""
    return by_selected_inverse(equations, solution) or by_solves(equations, solution)


def by_selected_inverse(equations: System, solution: Solution) -> RecordErrors | None:
    """From S on the pattern of W'R⁻¹W; None where that is not enough."""
    n, cross = equations.spec.n, equations.cross_products
    precision = equations.residual.pattern.matrix(solution.rho)
    W = sp.csr_array(equations.W)
    A = sp.csr_array(precision[:n] @ W)
    equations.require(solution)
    inverse = equations.factor.inverse_on_pattern()
    S = equations.layout.cross_product_weights(solution.slots, inverse, len(cross.rows))
    known = Symmetric(cross.rows, cross.columns, np.where(cross.rows == cross.columns, S, 0.5 * S), W.shape[1])
    explained, leverage = known.forms(A, A), known.forms(W[:n], A)
    if explained is None or leverage is None:
        return None
    before = precision.diagonal()[:n]
    return RecordErrors(before - explained, leverage, before)


def by_solves(equations: System, solution: Solution) -> RecordErrors:
    """From P e_i and the effects that a record of 1 has."""
    n = equations.spec.n

    def projected(unit: Array) -> tuple[Array, Array]:
        effects, P = respond(equations, solution, unit)
        return P, unit - np.asarray(equations.W @ effects)[:n]

    return by_units(
        n, columns_at_once(equations.m), projected, lambda records, P: precision_diagonal(equations, solution, records)
    )


class Symmetric:
    """A symmetric matrix of which only some elements are known.

    Parameters
    ----------
    rows, columns : (nnz,) places in the lower triangle, column by column
    values : (nnz,) the elements
    m : its order
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, values: Array, m: int):
        keys = columns.astype(np.int64) * m + rows
        order = np.argsort(keys, kind="stable")
        self.keys, self.values, self.m = keys[order], values[order], m

    def forms(self, left: sp.csr_array, right: sp.csr_array) -> Array | None:
        """l_i'S r_i of every row (n,); None if an element that is needed is not known."""
        n = left.shape[0]
        length = np.diff(left.indptr).astype(np.int64), np.diff(right.indptr).astype(np.int64)
        ends = np.cumsum(length[0] * length[1])
        out, start = np.zeros(n), 0
        while start < n:
            done = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, done + TOGETHER, side="right")))
            part = self._some(left, right, np.arange(start, stop), length)
            if part is None:
                return None
            out[start:stop] = part
            start = stop
        return out

    def _some(
        self, left: sp.csr_array, right: sp.csr_array, records: np.ndarray, length: tuple[np.ndarray, np.ndarray]
    ) -> Array | None:
        """The forms of some rows, every product of two elements by itself."""
        many, across = length[0][records] * length[1][records], length[1][records]
        row = np.repeat(np.arange(len(records)), many)
        within = np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)
        i = left.indptr[records][row] + within // across[row]
        j = right.indptr[records][row] + within % across[row]
        a, b = left.indices[i].astype(np.int64), right.indices[j].astype(np.int64)
        key = np.minimum(a, b) * self.m + np.maximum(a, b)
        place = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
        if np.any(self.keys[place] != key):
            return None
        return sums(row, left.data[i] * right.data[j] * self.values[place], len(records))
