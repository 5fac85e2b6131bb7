"""The design matrices: X of the fixed part, Z of each random term, as sparse or narrow dense arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array, sums
from remlblup.cached import cached_property
from remlblup.errors import DataError, some
from remlblup.linalg.magnitude import require_columns_in_range
from remlblup.linalg.rank.independent import independent_columns, whiten
from remlblup.linalg.rank.null_space import NullSpace, null_space
from remlblup.linalg.small import Products
from remlblup.model.coding import coded_matrix, model_spec, without_columns
from remlblup.model.columns import Columns
from remlblup.model.incidence import Incidence
from remlblup.model.terms import RandomTerm
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.structure.base import Structure

# Up to this many records formulaic is asked for a dense X: cheaper than sparse for small models.
DENSE_RECORDS = 2000
# Below this pivot ratio the columns of X are replaced by an orthonormal basis inside the equations.
ILL_CONDITIONED = 1e-8
WIDEST_WHITENED = 200
# In a wider X, covariates this many standard deviations from zero are centred inside the equations.
FAR, WIDEST_CENTRED = 100.0, 3000


@dataclass(frozen=True)
class FixedDesign:
    """X cut to p independent columns, in the order given.

    Attributes
    ----------
    names : names of the p columns kept
    aliased : names of the columns set aside because they depend on earlier ones
    matrix : (n, p) dense or CSC; X as the user wrote it, without the aliased columns
    work : (n, p) the columns the equations use: `matrix`, or an orthonormal basis of it
    transform : (p, p) T with work = matrix T, so β = T β_work; None if work is matrix
    logdet_transform : log|det T| (0 without transform)
    coding : formulaic's ModelSpec, or how to make it (None when X was given as a matrix)
    kept : positions of the kept columns among all columns
    columns : names of all columns: of the formula, and behind them those of groups of unknown parents
    null : the dependencies among all columns
    metric : (n,) precisions of the records by which y is freed of its mean; None for their weights
    """

    names: tuple[str, ...]
    aliased: tuple[str, ...]
    matrix: Any
    work: Any
    transform: np.ndarray | None
    logdet_transform: float
    kept: np.ndarray
    columns: tuple[str, ...]
    null: NullSpace
    coding: Any = field(default=None, repr=False)
    metric: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def spec(self) -> Any:
        """formulaic's ModelSpec; None when X was given as a matrix."""
        return model_spec(self.coding)

    @property
    def p(self) -> int:
        return len(self.names)

    @property
    def without_columns(self) -> tuple[str, ...]:
        """Terms of the formula that have no column: factors of one level beside the intercept."""
        return without_columns(self.coding)


@dataclass(frozen=True)
class RandomDesign:
    """One random term: u_k ~ N(0, Σ(θ_k) ⊗ K_k), entering the records as Σ_i Z_i u_{k,i}.

    Attributes
    ----------
    name : the term as written
    structure : Σ over the t effects
    relationship : K over the q levels
    columns : t CSR matrices Z_i of shape (n, q); an `Incidence` in small models
    moments : (t, t) mean products of the effects' covariates over the records (1 for an intercept)
    term : the parsed term (None when Z was given as a matrix, and for a smooth term)
    spec : how to make Z of new records: the `Effects` of a term, a `Smooth`; None for a given Z
    root : L (q of the levels, q) of a term as it stands in the equations where K = LL' is singular, else None
    """

    name: str
    structure: Structure
    relationship: RelationshipBase
    columns: Sequence[sp.csr_array]
    moments: np.ndarray
    term: RandomTerm | None = None
    spec: Any = field(default=None, repr=False)
    root: np.ndarray | None = field(default=None, repr=False)

    @cached_property
    def q(self) -> int:
        return self.relationship.size

    @cached_property
    def t(self) -> int:
        return self.structure.size

    @cached_property
    def is_identity(self) -> bool:
        return isinstance(self.relationship, IdentityRelationship)

    @cached_property
    def disjoint(self) -> bool:
        """Whether the effects, two or more, share no record: traits, sites, times."""
        M = self.moments
        return self.t > 1 and np.count_nonzero(M) == np.count_nonzero(M.diagonal())

    @cached_property
    def least_correlation(self) -> float:
        """Smallest eigenvalue of the correlations (about zero) of the covariates over the records; 1 if Σ is not
        free."""
        if self.t == 1 or not self.structure.cone:
            return 1.0
        return float(self.products.values[0]) if self.moments.diagonal().min() > 0.0 else 1.0

    @cached_property
    def products(self) -> Products:
        """The `moments` by their correlations."""
        return Products.of(self.moments)

    @cached_property
    def inverse_moments(self) -> np.ndarray:
        """(t, t) M⁻¹ of the `moments`."""
        return self.products.inverse()

    def level_sizes(self) -> Iterator[np.ndarray | None]:
        """For each Z_i the squares of its columns (q,); None where a record has several levels."""
        if isinstance(self.columns, Incidence):
            for load in self.columns.loads.T:
                yield sums(self.columns.codes, load * load, self.q)
            return
        for Z in self.columns:
            one = np.diff(Z.indptr).max(initial=0) <= 1
            yield sums(Z.indices, Z.data**2, self.q) if one else None

    @cached_property
    def loads(self) -> tuple[tuple[float, float], ...]:
        """For each Z_i the sum and the largest of these squares; NaN where a record has several levels."""
        none = (np.nan, np.nan)
        return tuple(none if v is None else (float(v.sum()), float(v.max())) for v in self.level_sizes())

    def predictors(self, U: Array) -> Array:
        """Z_i u_i of every effect, (n, t), for U (q, t)."""
        if isinstance(self.columns, Incidence):
            return self.columns.predictors(U)
        return np.column_stack([Z @ u for Z, u in zip(self.columns, U.T, strict=True)])

    def relate(self, r: Array) -> Array:
        """(I ⊗ K) r for r (t, q·c), without forming K."""
        if self.is_identity:
            return r
        columns = np.moveaxis(r.reshape(self.t, self.q, -1), 1, 0)
        product = self.relationship.multiply(columns.reshape(self.q, -1))
        return np.moveaxis(product.reshape(columns.shape), 0, 1).reshape(r.shape)

    @property
    def named(self) -> dict[str, RelationshipBase]:
        """The relationships that the term names, by their NAMEs; of a product those of its factors."""
        if self.term is None:
            return {}
        parts = getattr(self.relationship, "parts", (self.relationship,))
        return {k: part for g in self.term.groups for k, part in zip(g.names, parts, strict=True) if k is not None}

    @property
    def in_equations(self) -> RandomDesign:
        """The term itself, or where K = LL' has no inverse the independent effects b of u = (I ⊗ L) b."""
        root = self.relationship.root
        if root is None:
            return self
        columns = tuple(sp.csr_array(Z @ root) for Z in self.columns)
        independent = IdentityRelationship(np.arange(root.shape[1]))
        moments = self.moments * self.relationship.scale
        return replace(self, relationship=independent, columns=columns, moments=moments, root=root)


def fixed_design(X: Any, names: list[str], coding: Any = None) -> FixedDesign:
    """Find and set aside aliased columns of X (n, P), and orthonormalise it if it is ill-conditioned."""
    if X.shape[1] == 0:
        empty = np.zeros((X.shape[0], 0))
        none = null_space(np.zeros((0, 0)), np.zeros(0), len(empty))
        return FixedDesign((), (), empty, empty, None, 0.0, np.zeros(0, dtype=int), (), none, coding)
    require_columns_in_range(X, names, "the fixed part", DataError)
    rank = independent_columns(X)
    kept = np.asarray(rank.kept)
    matrix = X if len(kept) == X.shape[1] else X[:, kept]
    work, transform, logdet = matrix, None, 0.0
    if rank.smallest_ratio < ILL_CONDITIONED and len(kept) <= WIDEST_WHITENED:
        dense = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
        work, transform, logdet = whiten(dense, np.arange(dense.shape[1]))
    elif WIDEST_WHITENED < len(kept) <= WIDEST_CENTRED:
        work, transform = centred(matrix)
    return FixedDesign(
        tuple(names[k] for k in kept),
        tuple(names[k] for k in rank.aliased),
        matrix,
        work,
        transform,
        logdet,
        kept,
        tuple(names),
        rank.null,
        coding,
    )


def centred(X: Any) -> tuple[Any, np.ndarray | None]:
    """X (n, p) with its far covariates less their means, by its column of ones, and T with work = X T, |T| = 1.

    The equations square the condition of X, and a mean of many standard deviations is most of it.
    """
    columns = sp.csc_array(X)
    n, p = columns.shape
    mean = np.asarray(columns.sum(axis=0)).ravel() / n
    square = np.asarray(columns.multiply(columns).sum(axis=0)).ravel() / n
    ones = np.flatnonzero((mean == 1.0) & (square == 1.0))
    # Where the spread drowns in the rounding of the square, the covariate is farther still.
    far = np.flatnonzero(mean**2 > FAR**2 * np.maximum(square - mean**2, 0.0))
    far = np.setdiff1d(far, ones)
    if not len(ones) or not len(far):
        return X, None
    T = np.eye(p)
    T[ones[0], far] = -mean[far]
    work = X @ T if isinstance(X, np.ndarray) else sp.csc_array(columns @ sp.csc_array(T))
    if isinstance(X, np.ndarray):
        work[:, far] = X[:, far] - mean[far]
    return work, T


def fixed_from_formula(fixed: str, data: Columns, extra: tuple[list[str], list[Any]] = ([], [])) -> FixedDesign:
    """X of the fixed formula, and behind it `extra` named columns."""
    sparse = len(data) > DENSE_RECORDS
    coded = coded_matrix(fixed, data, "the fixed part", sparse)
    X, names = coded.sparse() if sparse else coded.dense(), coded.names
    values = X.data if sp.issparse(X) else X
    if not np.isfinite(values).all():
        bad = [n for k, n in enumerate(names) if not np.all(np.isfinite(_column(X, k)))]
        rows = np.any([~np.isfinite(_column(X, k).ravel()) for k in range(X.shape[1])], axis=0)
        raise DataError(
            f"the fixed part has infinite or undefined values in {some(bad)}, row(s) {some(data.frame.index[rows])}:"
            " correct the rows or the transform."
        )
    return fixed_design(extended(X, extra[1]), [*names, *extra[0]], coded.coding)


def extended(X: Any, extra: list[Any]) -> Any:
    """X with further sparse columns."""
    if not extra:
        return X
    return sp.csc_array(sp.hstack([X, *extra])) if sp.issparse(X) else np.hstack([X, *(Z.toarray() for Z in extra)])


def _column(X: Any, k: int) -> np.ndarray:
    return X[:, [k]].toarray() if sp.issparse(X) else X[:, k]


def named_relationships(random: Sequence[RandomDesign]) -> dict[str, RelationshipBase]:
    """The relationships that the terms of a model name."""
    return {name: relationship for design in random for name, relationship in design.named.items()}
