"""Z (Σ ⊗ K) Z' of one term over the records, a block of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.model.design import RandomDesign

# From more effects on records with one effect each are found by its number.
FEW = 16


class Spread:
    """One term's part of V, its lower triangle by blocks of rows.

    Where every record has one level, with covariates a (t,) of its effects, the part of records i and j is
    a_i'Σa_j K[level i, level j], or with one of many effects each Σ[effect i, effect j] K[level i, level j]; otherwise
    Z_i K Z_j' is multiplied out.

    Parameters
    ----------
    design : RandomDesign
    """

    def __init__(self, design: RandomDesign):
        self.design = design
        self.n = design.columns[0].shape[0]
        self.single = one_effect(design) if design.t > FEW else None
        self.codes, self.loads = one_level(design) if self.single is None else (self.single.level, np.zeros((0, 0)))
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
        if self.single is not None:
            weights = self.single.among(sigma, rows, ahead)
            weights *= self._related(rows, ahead)
            out += weights
            return
        if self.codes is not None:
            weights = self.loads[rows] @ sigma @ self.loads[ahead].T
            weights *= self._related(rows, ahead)
            out += weights
            return
        for i in range(len(sigma)):
            for j in range(len(sigma)):
                if sigma[i, j] != 0.0:
                    out += sigma[i, j] * self._product(i, j, rows, ahead)

    def traces(self, P: Array, rows: slice) -> tuple[Array | slice, Array]:
        """Part of tr(P Z_i K Z_j') of a block of rows of the lower triangle of P, whose diagonal tile is whole.

        Elements left of the diagonal tile stand for two; only the symmetric part of the result has a meaning. Returns
        the effects i concerned, in their order, and (their number, t).
        """
        twice = np.where(np.arange(rows.stop) < rows.start, 2.0, 1.0)
        if self.single is not None:
            both = P * self._related(rows, slice(0, rows.stop))
            return self.single.sums(both * twice, rows)
        return slice(None), self._all_traces(P, rows, twice)

    def total(self, parts: list[tuple[Array | slice, Array]]) -> Array:
        """(t, t) sum of `traces` over the blocks."""
        out = np.zeros((self.design.t, self.design.t))
        for effects, part in parts:
            out[effects] += part
        return out

    def _all_traces(self, P: Array, rows: slice, twice: Array) -> Array:
        ahead, t = slice(0, rows.stop), self.design.t
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


@dataclass(frozen=True)
class OneEffect:
    """Records that have one effect of one level each.

    Attributes
    ----------
    code, level : (n,) number of the effect, and of its level
    load : (n,) its covariate; 0 of a record without effect
    t : number of effects
    """

    code: np.ndarray
    level: np.ndarray
    load: Array
    t: int

    def among(self, sigma: Array, rows: slice, ahead: slice) -> Array:
        """a_i a_j Σ[effect i, effect j] of two sets of records."""
        part = sigma[self.code[rows]].take(self.code[ahead], axis=1)
        part *= self.load[rows, None]
        part *= self.load[ahead]
        return np.asarray(part)

    def sums(self, P: Array, rows: slice) -> tuple[Array, Array]:
        """The effects of `rows`, each once, and (their number, t) sums of a_i a_j P_ij over the records of two effects.

        P (rows, 0 … rows.stop).
        """
        effects, place = np.unique(self.code[rows], return_inverse=True)
        wide = sp.csr_array(
            (self.load[: rows.stop], self.code[: rows.stop], np.arange(rows.stop + 1)), shape=(rows.stop, self.t)
        )
        narrow = sp.csr_array((self.load[rows], place, np.arange(len(place) + 1)), shape=(len(place), len(effects)))
        return effects, np.asarray(narrow.T @ (wide.T @ P.T).T)


def one_effect(design: RandomDesign) -> OneEffect | None:
    """The effect and level of each record; None where a record has several."""
    n, t = design.columns[0].shape[0], design.t
    code, level, load, found = np.zeros(n, np.intp), np.zeros(n, np.intp), np.zeros(n), np.zeros(n, np.int64)
    for i, Z in enumerate(design.columns):
        per_record = np.diff(Z.indptr)
        records = np.repeat(np.arange(n), per_record)
        found += per_record
        code[records], level[records], load[records] = i, Z.indices, Z.data
    return OneEffect(code, level, load, t) if found.max(initial=0) <= 1 else None


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
