"""Z (Σ ⊗ K) Z' of one term over the records, a block of rows at a time."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.model.design import RandomDesign


class Spread:
    """One term's part of V, its lower triangle by blocks of rows.

    Where every record has one level, with covariates a (t,) of its effects, the part of records i and j is
    a_i'Σa_j K[level i, level j]; otherwise Z_i K Z_j' is multiplied out.

    Parameters
    ----------
    design : RandomDesign
    """

    def __init__(self, design: RandomDesign):
        self.design = design
        self.n = design.columns[0].shape[0]
        self.codes, self.loads = one_level(design)
        if design.is_identity:
            self.K: Array | None = None
        else:
            used = np.unique(np.concatenate([Z.indices for Z in design.columns])) if design.q else np.zeros(0, int)
            self.K = np.ascontiguousarray(design.relationship.among(used))
            place = np.zeros(design.q, dtype=np.intp)
            place[used] = np.arange(len(used))
            self.codes = None if self.codes is None else place[self.codes]
            self.columns = [sp.csr_array(Z[:, used]) for Z in design.columns]
        # Records and levels in one order: K is read in place.
        self.in_order = self.codes is not None and bool(np.all(self.codes == np.arange(self.n)))

    def add(self, out: Array, rows: slice, sigma: Array) -> None:
        """out (rows, 0 … rows.stop) += the term's part of V there."""
        ahead = slice(0, rows.stop)
        if self.codes is not None:
            weights = self.loads[rows] @ sigma @ self.loads[ahead].T
            weights *= self._related(rows, ahead)
            out += weights
            return
        for i in range(len(sigma)):
            for j in range(len(sigma)):
                if sigma[i, j] != 0.0:
                    out += sigma[i, j] * self._product(i, j, rows, ahead)

    def traces(self, P: Array, rows: slice) -> Array:
        """(t, t) part of tr(P Z_i K Z_j') of a block of rows of the lower triangle of P, whose diagonal tile is whole.

        Elements left of the diagonal tile stand for two; only the symmetric part of the result has a meaning.
        """
        ahead, t = slice(0, rows.stop), self.design.t
        twice = np.where(np.arange(rows.stop) < rows.start, 2.0, 1.0)
        if self.codes is not None:
            both = P * self._related(rows, ahead)
            return self.loads[rows].T @ both @ (twice[:, None] * self.loads[ahead])
        out = np.empty((t, t))
        for i in range(t):
            for j in range(t):
                out[i, j] = np.einsum("rc,rc,c->", P, self._product(i, j, rows, ahead), twice)
        return out

    def _related(self, rows: slice, ahead: slice) -> Array:
        """K between the levels of two sets of records."""
        if self.K is None:
            assert self.codes is not None
            return (self.codes[rows, None] == self.codes[None, ahead]).astype(float)
        if self.in_order:
            return self.K[rows, ahead]
        assert self.codes is not None
        return self.K[self.codes[rows]].take(self.codes[ahead], axis=1)

    def _product(self, i: int, j: int, rows: slice, ahead: slice) -> Array:
        """Z_i K Z_j' of two sets of records."""
        if self.K is None:
            Z = self.design.columns
            return (Z[i][rows] @ Z[j][ahead].T).toarray()
        return np.asarray((self.columns[j][ahead] @ (self.columns[i][rows] @ self.K).T).T)


def one_level(design: RandomDesign) -> tuple[np.ndarray | None, Array]:
    """The level of each record and its covariates (n, t); None where a record has several levels."""
    n, t = design.columns[0].shape[0], design.t
    codes, loads = np.full(n, -1), np.zeros((n, t))
    for i, Z in enumerate(design.columns):
        per_record = np.diff(Z.indptr)
        if np.any(per_record > 1):
            return None, loads
        records = np.flatnonzero(per_record)
        if np.any((codes[records] >= 0) & (codes[records] != Z.indices)):
            return None, loads
        codes[records], loads[records, i] = Z.indices, Z.data
    return np.maximum(codes, 0), loads


def spread_bytes(design: RandomDesign) -> float:
    """Bytes that a term's `Spread` takes for its relationship among the levels with records;
    none where it reads K itself."""
    if design.is_identity:
        return 0.0
    given = getattr(design.relationship, "given", None)
    used = float(np.unique(np.concatenate([Z.indices for Z in design.columns])).size) if design.q else 0.0
    if isinstance(given, np.ndarray) and used == design.q and not getattr(design.relationship, "inverse", False):
        return 0.0
    return 8.0 * used**2
