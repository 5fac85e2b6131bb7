"""Z (Σ ⊗ K) Z' of one term over the records, a block of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.linalg.device.host import HOST
from remlblup.linalg.device.place import Place
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
    place : where V lies

    Attributes
    ----------
    K : the relationship among the levels with records, here; None for the identity
    resident : the same where V lies, if it is kept there
    """

    def __init__(self, design: RandomDesign, place: Place = HOST):
        self.design, self.place = design, place
        self.n = design.columns[0].shape[0]
        self.single = one_effect(design) if design.t > FEW else None
        self.codes, self.loads = one_level(design) if self.single is None else (self.single.level, np.zeros((0, 0)))
        if design.is_identity:
            self.K: Array | None = None
        else:
            used = np.unique(np.concatenate([Z.indices for Z in design.columns])) if design.q else np.zeros(0, int)
            self.K, self.used = np.ascontiguousarray(design.relationship.among(used)), used
            number = np.zeros(design.q, dtype=np.intp)
            number[used] = np.arange(len(used))
            self.codes = None if self.codes is None else number[self.codes]
            self.columns = [sp.csr_array(Z[:, used]) for Z in design.columns]
        # Records and levels in one order: K is read in place.
        self.in_order = self.codes is not None and bool(np.all(self.codes == np.arange(self.n)))
        self._lay_down()

    def _lay_down(self) -> None:
        """Bring to where V lies what is read there again and again."""
        place = self.place
        self.resident = None if self.K is None or self.codes is None else place.kept(self.K, self.n)
        self._loads = place.array(self.loads)
        self._codes = None if self.codes is None else place.array(self.codes)
        self._one, self._none = place.array(np.ones(())), place.array(np.zeros(()))

    def add(self, out: Array, rows: slice, sigma: Array) -> None:
        """out (rows, 0 … rows.stop) += the term's part of V there."""
        ahead = slice(0, rows.stop)
        if self.single is not None:
            weights = self.place.array(self.single.among(sigma, rows, ahead))
            weights *= self._related(rows, ahead)
            out += weights
            return
        if self.codes is not None:
            weights = self._loads[rows, :] @ self.place.array(sigma) @ self._loads[ahead, :].T
            weights *= self._related(rows, ahead)
            out += weights
            return
        for i in range(len(sigma)):
            for j in range(len(sigma)):
                if sigma[i, j] != 0.0:
                    out += self.place.array(sigma[i, j] * self._product(i, j, rows, ahead))

    def traces(self, P: Any, rows: slice) -> tuple[Array | slice, Array]:
        """Part of tr(P Z_i K Z_j') of a block of rows of the lower triangle of P, whose diagonal tile is whole.

        Elements left of the diagonal tile stand for two; only the symmetric part of the result has a meaning. Returns
        the effects i concerned, in their order, and (their number, t).
        """
        twice = np.where(np.arange(rows.stop) < rows.start, 2.0, 1.0)
        if self.single is not None:
            both = P * self._related(rows, slice(0, rows.stop))
            return self.single.sums(self.place.host(both) * twice, rows)
        return slice(None), self._all_traces(P, rows, twice)

    def total(self, parts: list[tuple[Array | slice, Array]]) -> Array:
        """(t, t) sum of `traces` over the blocks."""
        out = np.zeros((self.design.t, self.design.t))
        for effects, part in parts:
            out[effects] += part
        return out

    def _all_traces(self, P: Any, rows: slice, twice: Array) -> Array:
        ahead, t = slice(0, rows.stop), self.design.t
        if self.codes is not None:
            both = P * self._related(rows, ahead)
            weighted = self.place.array(twice[:, None] * self.loads[ahead])
            return self.place.host(self._loads[rows, :].T @ both @ weighted)
        out, P = np.empty((t, t)), self.place.host(P)
        for i in range(t):
            for j in range(t):
                out[i, j] = np.einsum("rc,rc,c->", P, self._product(i, j, rows, ahead), twice)
        return out

    def _related(self, rows: slice, ahead: slice) -> Any:
        """K between the levels of two sets of records, where V lies."""
        codes, place = self._codes, self.place
        assert codes is not None and self.codes is not None
        if self.K is None:
            return place.xp.where(codes[rows, None] == codes[None, ahead], self._one, self._none)
        if self.resident is not None:
            whole = self.resident
            return whole[rows, ahead] if self.in_order else place.among(whole, codes[rows], codes[ahead])
        if self.in_order:
            return place.array(self.K[rows, ahead])
        return place.array(self.K[self.codes[rows]].take(self.codes[ahead], axis=1))

    def relate(self, r: Array) -> Array:
        """(I ⊗ K) r for r (t, q·c) that is zero at levels without records, at those with records."""
        if self.resident is None:
            return self.design.relate(r)
        design = self.design
        columns = np.moveaxis(r.reshape(design.t, design.q, -1), 1, 0)
        out = np.zeros(columns.shape)
        with_records = columns[self.used].reshape(len(self.used), -1)
        product = self.place.host(self.resident @ self.place.array(with_records))
        out[self.used] = product.reshape(len(self.used), *columns.shape[1:])
        return np.moveaxis(out, 0, 1).reshape(r.shape)

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
