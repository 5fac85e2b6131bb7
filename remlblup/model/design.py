"""The design matrices: X of the fixed part, Z of each random term, as sparse or narrow dense arrays."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import DataError, FormulaError, ModelError, RelationshipError, some
from remlblup.linalg.rank import independent_columns, whiten
from remlblup.model.formula import Group, RandomTerm
from remlblup.model.frame import require_columns
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.labels import canonical, match, tidy
from remlblup.structure.base import Structure

# Up to this many records formulaic is asked for a dense X: cheaper than sparse for small models.
DENSE_RECORDS = 2000
# Below this pivot ratio the columns of X are replaced by an orthonormal basis inside the equations.
ILL_CONDITIONED = 1e-8
WIDEST_WHITENED = 200


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
    spec : formulaic's ModelSpec (None when X was given as a matrix)
    kept : positions of the kept columns among all columns of the formula
    """

    names: tuple[str, ...]
    aliased: tuple[str, ...]
    matrix: Any
    work: Any
    transform: np.ndarray | None
    logdet_transform: float
    kept: np.ndarray
    spec: Any = field(default=None, repr=False)

    @property
    def p(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class RandomDesign:
    """One random term: u_k ~ N(0, Σ(θ_k) ⊗ K_k), entering the records as Σ_i Z_i u_{k,i}.

    Attributes
    ----------
    name : the term as written
    structure : Σ over the t effects
    relationship : K over the q levels
    columns : t CSR matrices Z_i of shape (n, q)
    moments : (t, t) mean products of the effects' covariates over the records (1 for an intercept)
    term : the parsed term (None when Z was given as a matrix)
    spec : formulaic's ModelSpec of the effects (None for an intercept or a given Z)
    """

    name: str
    structure: Structure
    relationship: RelationshipBase
    columns: tuple[sp.csr_array, ...]
    moments: np.ndarray
    term: RandomTerm | None = None
    spec: Any = field(default=None, repr=False)

    @property
    def q(self) -> int:
        return self.relationship.size

    @property
    def t(self) -> int:
        return self.structure.size

    @property
    def is_identity(self) -> bool:
        return isinstance(self.relationship, IdentityRelationship)


def fixed_design(X: Any, names: list[str], spec: Any = None) -> FixedDesign:
    """Find and set aside aliased columns of X (n, P), and orthonormalise it if it is ill-conditioned."""
    if X.shape[1] == 0:
        empty = np.zeros((X.shape[0], 0))
        return FixedDesign((), (), empty, empty, None, 0.0, np.zeros(0, dtype=int), spec)
    rank = independent_columns(X)
    kept = np.asarray(rank.kept)
    matrix = X if len(kept) == X.shape[1] else X[:, kept]
    work, transform, logdet = matrix, None, 0.0
    if rank.smallest_ratio < ILL_CONDITIONED and len(kept) <= WIDEST_WHITENED:
        dense = matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)
        work, transform, logdet = whiten(dense, np.arange(dense.shape[1]))
    return FixedDesign(
        tuple(names[k] for k in kept),
        tuple(names[k] for k in rank.aliased),
        matrix, work, transform, logdet, kept, spec,
    )  # fmt: skip


def fixed_from_formula(fixed: str, frame: pd.DataFrame) -> FixedDesign:
    """X of the fixed formula, through formulaic."""
    matrix = materialize(fixed, frame, "the fixed part", sparse=len(frame) > DENSE_RECORDS)
    spec = matrix.model_spec
    X = sp.csc_array(matrix) if sp.issparse(matrix) else np.ascontiguousarray(matrix, dtype=np.float64)
    values = X.data if sp.issparse(X) else X
    if not np.all(np.isfinite(values)):
        bad = [n for k, n in enumerate(spec.column_names) if not np.all(np.isfinite(_column(X, k)))]
        raise DataError(
            f"the fixed part has infinite or undefined values in {some(bad)}: correct the rows or the transform."
        )
    return fixed_design(X, list(spec.column_names), spec)


def _column(X: Any, k: int) -> np.ndarray:
    return X[:, [k]].toarray() if sp.issparse(X) else X[:, k]


def materialize(formula: str, frame: pd.DataFrame, what: str, sparse: bool = False) -> Any:
    """formulaic's model matrix of one right-hand side; its errors become `FormulaError`."""
    from formulaic.errors import FormulaicError

    try:
        return parsed_formula(formula).get_model_matrix(
            frame, output="sparse" if sparse else "numpy", na_action="ignore"
        )
    except (FormulaicError, NotImplementedError, TypeError, AttributeError, KeyError, SyntaxError) as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        if unknown := re.search(r"name '([^']+)' is not defined", text):
            require_columns(frame, [unknown[1]], what)
        raise FormulaError(f"{what} '{formula}' cannot be evaluated: {text}") from error


@lru_cache(maxsize=256)
def parsed_formula(formula: str) -> Any:
    """formulaic's reading of a right-hand side."""
    from formulaic import Formula

    return Formula(formula)


def required_columns(formula: str, what: str, frame: pd.DataFrame) -> list[str]:
    """Names of the data columns a right-hand side needs; `FormulaError` or `DataError` if they are not there."""
    from formulaic.errors import FormulaicError

    try:
        names = sorted(map(str, parsed_formula(formula).required_variables))
    except (FormulaicError, SyntaxError) as error:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        raise FormulaError(f"{what} '{formula}' cannot be read: {text}") from error
    # formulaic does not list the columns inside poly(), bs(), scale(): find them by name.
    names = sorted({*names, *(n for n in words(formula) if n in frame.columns)})
    for name in names:
        if name not in frame.columns and re.search(rf"(?<![\w.]){re.escape(name)}\s*\(", formula):
            raise FormulaError(f"{what} '{formula}' uses the function '{name}', which is not known.")
    require_columns(frame, names, what)
    return names


def words(formula: str) -> list[str]:
    """Names and `quoted names` in a formula."""
    return [a or b for a, b in re.findall(r"`([^`]+)`|([^\W\d][\w.]*)", formula)]


def group_keys(group: Group, frame: pd.DataFrame) -> pd.Series:
    """The level of each record: the factor's own values, or 'a:b' for a combination of factors."""
    if len(group.factors) == 1:
        column = frame[group.factors[0]]
        return column if column.dtype.kind != "f" else pd.Series(tidy(column), index=frame.index)
    parts = [pd.Series(tidy(frame[f]), index=frame.index).astype(str) for f in group.factors]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + ":" + part
    if any(part.str.contains(":", regex=False).any() for part in parts):
        cells = pd.MultiIndex.from_arrays(parts).nunique()
        if cells != joined.nunique():
            raise DataError(
                f"levels of {some(group.factors)} contain ':' so that different cells read alike: rename them."
            )
    return joined


def factorize(keys: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Codes (n,) and the levels that occur, in category order or sorted."""
    if isinstance(keys.dtype, pd.CategoricalDtype):
        keys = keys.cat.remove_unused_categories()
        codes, levels = keys.cat.codes.to_numpy(), keys.cat.categories
    else:
        try:
            codes, levels = pd.factorize(keys, sort=True)
        except TypeError:  # labels of several types have no common order
            codes, levels = pd.factorize(keys.astype(str), sort=True)
    # Spellings that mean one label ("a" and "a ") are one level.
    same, first = np.unique(canonical(levels), return_index=True)
    if len(same) < len(levels):
        first = np.sort(first)
        codes = match(levels[first], levels)[codes]
        levels = levels[first]
    return codes, np.asarray(tidy(levels))


def random_design(term: RandomTerm, frame: pd.DataFrame, relationships: dict[str, RelationshipBase],
                  make_structure: Any) -> RandomDesign:  # fmt: skip
    """Z_i, Σ and K of one term of the formula.

    Raises
    ------
    RelationshipError
        If ``vm(factor, NAME)`` names no relationship, or the relationship lacks levels.
    ModelError
        If the factor has a single level.
    """
    keys = group_keys(term.group, frame)
    name = term.group.relationship
    codes, levels = factorize(keys)
    if len(levels) < 2:
        raise ModelError(
            f"the factor '{term.group.label}' of the random term '{term.name}' has one level only ({some(levels)}):"
            " its variance cannot be estimated. Drop the term or make it fixed."
        )
    if name is None:
        relationship: RelationshipBase = IdentityRelationship(levels)
    else:
        relationship = _lookup(relationships, name, term)
        try:
            codes = np.asarray(relationship.index(levels))[codes]
        except RelationshipError as error:
            raise RelationshipError(
                f"in '{term.name}' (factor '{term.group.label}', relationship '{name}'): {error}"
            ) from None
    effects, values, spec = effect_covariates(term, frame)
    columns = tuple(incidence(codes, relationship.size, values[:, i]) for i in range(len(effects)))
    return RandomDesign(term.name, make_structure(effects), relationship, columns, _moments(values), term, spec)


def _lookup(relationships: dict[str, RelationshipBase], name: str, term: RandomTerm) -> RelationshipBase:
    if name not in relationships:
        known = f" Given: {some(relationships)}." if relationships else " None was given."
        raise RelationshipError(
            f"'{term.name}' needs the relationship '{name}': pass relationships={{'{name}': Pedigree or matrix}}.{known}"
        )
    return relationships[name]


def effect_covariates(term: RandomTerm, frame: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray, Any]:
    """Names (t,) and values (n, t) of the effects in front of the bar, and formulaic's spec of them."""
    if term.effects.strip() == "1":
        return ("Intercept",), np.ones((len(frame), 1)), None
    matrix = materialize(effects_formula(term, frame), frame, f"the effects of '{term.name}'")
    values = np.asarray(matrix, dtype=np.float64)
    names = tuple(matrix.model_spec.column_names)
    if not names:
        raise FormulaError(f"the random term '{term.name}' has no effect in front of the bar.")
    if not np.all(np.isfinite(values)):
        raise DataError(f"the effects of '{term.name}' have infinite or undefined values.")
    if not np.all(np.any(values != 0, axis=0)):
        zero = [n for n, k in zip(names, np.any(values != 0, axis=0), strict=True) if not k]
        raise ModelError(f"in '{term.name}' the effect {some(zero)} is zero in every record: drop it.")
    return names, values, matrix.model_spec


def effects_formula(term: RandomTerm, frame: pd.DataFrame) -> str:
    """A named structure over a bare factor, ``diag(site | g)``, means one effect per level of it."""
    name = term.effects.strip().strip("`")
    bare_factor = name in frame.columns and frame[name].dtype.kind not in "iufc"
    return f"0 + {term.effects}" if term.named and bare_factor else term.effects


def incidence(codes: np.ndarray, q: int, values: np.ndarray) -> sp.csr_array:
    """Z (n, q) with `values` in the column of each record's level; zeros are not stored."""
    n = len(codes)
    nonzero = values != 0
    indptr = np.concatenate([[0], np.cumsum(nonzero)]).astype(np.int32)
    return sp.csr_array((values[nonzero], codes[nonzero].astype(np.int32), indptr), shape=(n, q))


def _moments(values: np.ndarray) -> np.ndarray:
    return values.T @ values / len(values)
