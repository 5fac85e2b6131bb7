"""Random terms of a model given as matrices: Z of each, one or several over one K, and Σ over these."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import DataError, ModelError, RelationshipError, RemlBlupError, listed, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.linalg.well_formed import array_of, require_well_formed
from remlblup.model.design import RandomDesign
from remlblup.model.parameters import RESIDUAL
from remlblup.model.scanner import squeeze
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.coerce import coerce
from remlblup.structure.base import Structure
from remlblup.structure.table import STRUCTURES


def random_of_matrices(Z: Any, K: Any, names: Any, effects: Any, structures: Any, n: int) -> tuple[RandomDesign, ...]:
    """The random terms; each item of Z is a matrix, or a list of matrices with an effect each over one K.

    Raises
    ------
    RemlBlupError
        One of its subclasses, naming the term and what is wrong with it.
    """
    Zs = [] if Z is None else [Z] if sp.issparse(Z) or (isinstance(Z, np.ndarray) and Z.ndim == 2) else Z
    Zs = listed("Z", Zs, DataError)
    Ks = [None] * len(Zs) if K is None else [K] if is_matrix(K) else listed("K", K, DataError)
    terms = (
        [f"u{k + 1}" for k in range(len(Zs))] if names is None else list(map(str, listed("names", names, DataError)))
    )
    if not len(Zs) == len(Ks) == len(terms):
        raise DataError(f"Z, K and names must have the same length; got {len(Zs)}, {len(Ks)} and {len(terms)}.")
    if len({squeeze(t) for t in terms} - {RESIDUAL}) < len(terms):
        raise DataError(f"names must differ from each other and from 'residual'; got {terms}.")
    labels, keywords = ([None] * len(Zs) if given is None else listed(what, given, DataError)
                        for what, given in (("effects", effects), ("structures", structures)))  # fmt: skip
    if not len(labels) == len(keywords) == len(Zs):
        raise DataError(
            f"effects and structures must have one item for each of the {len(Zs)} terms, None where there is nothing"
            f" to say; got {len(labels)} and {len(keywords)}."
        )
    return tuple(
        design_of(z, k, name, own, keyword, n)
        for z, k, name, own, keyword in zip(Zs, Ks, terms, labels, keywords, strict=True)
    )


def design_of(Z: Any, K: Any, name: str, effects: Any, keyword: Any, n: int) -> RandomDesign:
    """One term: Z_i of each effect, Σ over the effects, K over the columns of every Z_i."""
    several = isinstance(Z, (list, tuple)) and len(Z) > 0 and all(is_matrix(z) for z in Z)
    matrices = list(Z) if several else [Z]
    t = len(matrices)
    titles = [f"Z of '{name}'" if t == 1 else f"Z {k} of '{name}'" for k in range(1, t + 1)]
    columns = tuple(sp.csr_array(as_matrix(z, n, title)) for z, title in zip(matrices, titles, strict=True))
    q = columns[0].shape[1]
    if any(z.shape[1] != q for z in columns):
        widths = ", ".join(str(z.shape[1]) for z in columns)
        raise DataError(
            f"the effects of '{name}' are over one K, and their Z have {widths} columns: give all the same."
        )
    relationship = relationship_of(K, q, name)
    if q < 2:
        raise ModelError(
            f"the random term '{name}' has one level only: a single effect is no sample to estimate a variance from."
        )
    for z, title in zip(columns, titles, strict=True):
        if z.nnz == 0:
            raise ModelError(f"{title} is zero: the {'term' if t == 1 else 'effect'} has no part in any record.")
        require_magnitude(z, title, DataError)
    moments = np.array([[a.multiply(b).sum() / n for b in columns] for a in columns])
    return RandomDesign(name, structure_of(keyword, effects, t, name), relationship, columns, moments)


def relationship_of(K: Any, q: int, name: str) -> RelationshipBase:
    """K over the q columns of Z; a bare matrix has its labels by position."""
    if K is None:
        return IdentityRelationship(np.arange(q))
    bare = sp.issparse(K) or isinstance(K, (np.ndarray, list))
    K = np.asarray(K) if isinstance(K, list) else K
    if bare and K.shape != (q, q):
        raise RelationshipError(f"K of '{name}' has shape {K.shape}; its Z has {q} columns: K must be {q} x {q}.")
    relationship = coerce(name, (K, np.arange(q)) if bare else K)
    if relationship.size != q:
        raise RelationshipError(f"K of '{name}' is over {relationship.size} levels, but its Z has {q} columns.")
    return relationship


def structure_of(keyword: Any, effects: Any, t: int, name: str) -> Structure:
    """Σ over the effects of a term, by its keyword; "us" of several without."""
    default = ["Intercept"] if t == 1 else [f"z{k}" for k in range(1, t + 1)]
    labels = default if effects is None else list(map(str, listed(f"effects of '{name}'", effects, DataError)))
    if len(labels) != t or len(set(labels)) < t:
        raise DataError(
            f"'{name}' has {t} Z, and needs as many names of effects that differ; got {some(labels) or 'none'}."
        )
    keyword = ("id" if t == 1 else "us") if keyword is None else keyword
    free = sorted(word for word, cls in STRUCTURES.items() if not cls.ordered and not getattr(cls, "options", ()))
    if keyword not in free:
        raise ModelError(
            f"structures: {keyword!r} of '{name}' is none of {', '.join(free)}, which need no more than names."
        )
    try:
        return STRUCTURES[keyword](tuple(labels))
    except RemlBlupError as error:
        raise type(error)(f"in '{name}': {error}") from None


def is_matrix(value: Any) -> bool:
    return sp.issparse(value) or isinstance(value, (RelationshipBase, pd.DataFrame)) or getattr(value, "ndim", 0) == 2


def as_matrix(value: Any, n: int, what: str) -> Any:
    """A dense float64 or CSC matrix with n rows; `DataError` otherwise."""
    value = value if sp.issparse(value) else array_of(value, what, DataError)
    if np.iscomplexobj(value):
        raise DataError(f"{what} is complex: take its real and imaginary parts as two matrices.")
    if sp.issparse(value):
        require_well_formed(value, what, DataError)
        if value.dtype.kind not in "biuf":
            raise DataError(f"{what} is not a numeric matrix.")
        matrix = sp.csc_array(value, dtype=np.float64)
        if not matrix.has_canonical_format:  # an element in several parts: a level twice in a record
            matrix = matrix.copy()
            matrix.sum_duplicates()
        entries = matrix.data
    else:
        try:
            matrix = entries = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"{what} is not a numeric matrix.") from None
        if matrix.ndim == 1:
            matrix = matrix[:, None]
    if matrix.ndim != 2 or matrix.shape[0] != n:
        raise DataError(f"{what} must have one row per record ({n}); its shape is {matrix.shape}.")
    if not np.all(np.isfinite(entries)):
        raise DataError(f"{what} has infinite or missing values.")
    return matrix
