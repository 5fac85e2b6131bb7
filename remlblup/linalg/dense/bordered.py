"""Dense engine for a C that is block diagonal but for a border: levels of a large factor that share no equation.

    C = [ A  B' ]      D = diag(D_1 … D_q), blocks t × t,  L L' = D,  W = L⁻¹B,  E = L⁻ᵀW,
        [ B  D  ]      S = A − W'W  (the Schur complement),

    C⁻¹ = [  S⁻¹    −S⁻¹E'           ]
          [ −ES⁻¹    D⁻¹ + ES⁻¹E'    ],

so that only S needs a dense factor. Most models of a few hundred equations are like that: subjects with
their intercepts and slopes in D, everything else in the border. Where C is not positive definite, the
work goes to `DenseFactor`.
"""

from __future__ import annotations

from math import fsum

import numpy as np
from scipy.linalg.blas import dsymm, dsyrk
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from remlblup.linalg.contract import DEPENDENT_PIVOT, FactorStats, check_ready, check_values, columns_of
from remlblup.linalg.dense.full import DenseFactor

# The border may hold at most this share of the equations.
WIDEST_BORDER = 0.6


def independent_blocks(rows: np.ndarray, columns: np.ndarray, n: int, groups: np.ndarray | None) -> np.ndarray | None:
    """(q, t) equations of groups that do not touch each other, all of one size t; None if they are too few.

    A group is taken if it has fewer neighbours than any group it touches.
    """
    group = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    first, second = group[rows], group[columns]
    apart = first != second
    edges = np.unique(np.concatenate([first[apart] * n + second[apart], second[apart] * n + first[apart]]))
    m = int(group.max()) + 1
    one, other = edges // n, edges % n
    degree = np.bincount(one, minlength=m)
    size = np.bincount(group, minlength=m)
    # A level with few neighbours is one of many; among equals the number decides.
    key = degree + np.arange(m) / m
    taken = np.ones(m, dtype=bool)
    taken[one[key[one] > key[other]]] = False
    if not taken.any():
        return None
    t = int(np.bincount(size[taken], weights=size[taken].astype(float)).argmax())
    taken &= size == t
    if n - t * int(taken.sum()) > WIDEST_BORDER * n:
        return None
    order = np.argsort(group, kind="stable")
    return order[taken[group[order]]].reshape(-1, t)


class BorderedFactor:
    """Cholesky factor of a bordered block diagonal matrix.

    Implements `remlblup.linalg.contract.Factor`.

    Parameters
    ----------
    indptr, indices, n : as in `make_factor`
    blocks : (q, t) ndarray of int
        The equations of D, a row for each block (`independent_blocks`).
    """

    n_dependent = 0  # a singular C raises

    def __init__(self, indptr: np.ndarray, indices: np.ndarray, n: int, blocks: np.ndarray) -> None:
        self.n, self._pattern = n, (indptr, indices)
        self.q, self.t = blocks.shape
        self._inner = blocks.ravel()
        self._border = np.setdiff1d(np.arange(n), self._inner)
        self.r = len(self._border)
        self._places = self._places_of(np.asarray(indices), columns_of(indptr), n)
        # A, B and D of C one behind the other, and of C⁻¹; what the pattern does not hold stays zero in the first.
        self._values = np.zeros(self.r**2 + self.q * self.t * (self.r + self.t))
        self._inverse = np.empty_like(self._values)
        self._dense: DenseFactor | None = None
        self._selected: np.ndarray | None = None
        self._ready = False
        self.n_negative = 0
        inner = self.q * self.t
        self.stats = FactorStats(
            n=n,
            nnz_matrix=len(indices),
            nnz_factor=(self.r * (self.r + 1)) // 2 + inner * (self.r + self.t),
            flops=self.r**3 / 3 + inner * (self.r + self.t) ** 2,
            engine="dense",
            ordering="levels, then the border",
            ordering_reason=f"{self.q} blocks of {self.t} do not touch each other; a border of {self.r} joins them",
            memory=24.0 * len(self._values) + 16.0 * len(indices),
            kept=16.0 * len(self._values) + 8.0 * len(indices),
        )

    def _places_of(self, rows: np.ndarray, columns: np.ndarray, n: int) -> np.ndarray:
        """(nnz,) where each entry lies in `_parts`: in the lower triangles of A and of the blocks of D, or in B."""
        r, t = self.r, self.t
        in_border, place = np.zeros(n, dtype=bool), np.empty(n, np.int64)
        in_border[self._border] = True
        place[self._border], place[self._inner] = np.arange(r), np.arange(self.q * t)
        i, j = np.maximum(place[rows], place[columns]), np.minimum(place[rows], place[columns])
        inner, outer = np.where(in_border[rows], (place[columns], place[rows]), (place[rows], place[columns]))
        of_block = r * r + self.q * t * r + i * t + j % t
        both, mixed = in_border[rows] & in_border[columns], in_border[rows] != in_border[columns]
        return np.where(both, i + j * r, np.where(mixed, r * r + inner * r + outer, of_block))

    def _parts(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A (r, r) column by column as LAPACK has it, B (q·t, r) and D (q, t, t) as views."""
        r, inner = self.r, self.q * self.t
        return (
            values[: r * r].reshape(r, r).T,
            values[r * r : r * r + inner * r].reshape(inner, r),
            values[r * r + inner * r :].reshape(self.q, self.t, self.t),
        )

    def forget(self) -> None:
        """Let go of what was computed of C: other values are coming."""
        self._ready, self._selected, self._dense = False, None, None

    def factorize(self, values: np.ndarray) -> None:
        """Factorise C; by `DenseFactor` if it is not positive definite."""
        values = check_values(values, len(self._places))
        self.forget()
        self._values[self._places] = values
        if not self._eliminate(*self._parts(self._values)):
            self._dense = DenseFactor(*self._pattern, self.n)
            self._dense.factorize(values)
        self.n_negative = 0 if self._dense is None else self._dense.n_negative
        self._ready = True

    def _eliminate(self, A: np.ndarray, B: np.ndarray, D: np.ndarray) -> bool:
        """L⁻¹, W and the factor of S; False where a pivot is not positive."""
        if self.t == 1:
            d = D.ravel()
            if not d.min() > 0.0:
                return False
            diagonal = np.sqrt(d)
            self._inverse_roots = 1.0 / diagonal
        else:
            try:
                L = np.linalg.cholesky(D)
            except np.linalg.LinAlgError:
                return False
            diagonal = np.einsum("qii->qi", L)
            if not (diagonal**2 > DEPENDENT_PIVOT * np.einsum("qii->qi", D)).all():
                return False
            self._inverse_roots = np.linalg.inv(L)
        self._W = self._scaled(B)
        self._diagonal = diagonal.ravel()
        if self.r == 0:
            self._schur = np.zeros((0, 0))
            return True
        S = dsyrk(-1.0, self._W.T, beta=1.0, c=A, lower=1)
        self._schur, info = dpotrf(S, lower=1, clean=0, overwrite_a=1)
        roots = self._schur.diagonal()
        self._diagonal = np.concatenate([roots, self._diagonal])
        return info == 0 and bool((roots * roots > DEPENDENT_PIVOT * A.diagonal()).all())

    @property
    def logdet(self) -> float:
        """``log|det C|``, summed exactly."""
        check_ready(self._ready)
        if self._dense is not None:
            return self._dense.logdet
        return 2.0 * fsum(np.log(self._diagonal).tolist())

    def _scaled(self, v: np.ndarray, transposed: bool = False) -> np.ndarray:
        """L⁻¹ v, or L⁻ᵀ v, for v (q·t, k)."""
        if self.t == 1:
            return self._inverse_roots[:, None] * v
        roots = self._inverse_roots.transpose(0, 2, 1) if transposed else self._inverse_roots
        return (roots @ v.reshape(self.q, self.t, -1)).reshape(v.shape)

    def rest(self) -> None:
        """There are no workspaces."""

    def solve(self, B: np.ndarray) -> np.ndarray:
        """Solve ``C X = B``, B of shape (n,) or (n, k)."""
        check_ready(self._ready)
        if self._dense is not None:
            return self._dense.solve(B)
        columns = np.asarray(B, dtype=np.float64).reshape(self.n, -1)
        out = np.empty_like(columns)
        inner = self._scaled(columns[self._inner])
        if self.r:
            border = dpotrs(self._schur, columns[self._border] - self._W.T @ inner, lower=1)[0]
            out[self._border] = border
            inner -= self._W @ border
        out[self._inner] = self._scaled(inner, transposed=True)
        return out.reshape(np.shape(B))

    def products_of(self, B: np.ndarray) -> np.ndarray:
        """``B'C⁻¹B``, B of shape (n, k)."""
        return B.T @ self.solve(B)

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern, shape (nnz,)."""
        check_ready(self._ready)
        if self._dense is not None:
            return self._dense.inverse_on_pattern()
        if self._selected is None:
            self._invert(*self._parts(self._inverse))
            self._selected = self._inverse[self._places]
        return self._selected

    def _invert(self, A: np.ndarray, B: np.ndarray, D: np.ndarray) -> None:
        """The parts of C⁻¹, of A its lower triangle."""
        roots = self._inverse_roots
        D[:] = (roots * roots)[:, None, None] if self.t == 1 else roots.transpose(0, 2, 1) @ roots
        if self.r == 0:
            return
        A[:] = self._schur
        dpotri(A, lower=1, overwrite_c=1)
        E = self._scaled(self._W, transposed=True)
        dsymm(-1.0, A, E.T, c=B.T, lower=1, overwrite_c=1)
        if self.t == 1:
            D[:, 0, 0] -= np.einsum("ir,ir->i", B, E)
        else:
            shape = (self.q, self.t, self.r)
            D -= B.reshape(shape) @ E.reshape(shape).transpose(0, 2, 1)
