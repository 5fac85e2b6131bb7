"""Contrasts between levels of a random term, with their prediction error variances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.reliability import reliability_of
from remlblup.errors import DataError, listed
from remlblup.fit.errors.estimable import estimable
from remlblup.fit.tables.effects import effect_index, term_index

_FORM = "contrasts are pairs of levels, [(a, b), …], or weights by name, {'name': {a: 1, b: -1}}"

Given = Sequence[tuple[Any, Any]] | Mapping[str, Mapping[Any, float]]


def contrasts(
    equations: Equations,
    solution: Any,
    effects: list[Array],
    term: str,
    between: Given,
    effect: str | None = None,
    nonestimable: str = "warn",
) -> pd.DataFrame:
    """See `Solved.contrasts`: k'û, var(k'û − k'u) and 1 − PEV/var(k'u), var(k'u) = σ²_ii k'Kk.

    `effects` are û of each term over the levels of its relationship, (t, q).
    """
    spec = equations.spec
    position = term_index(spec, term)
    design = spec.random[position]
    i = effect_index(design.structure.effects, effect, design.name)
    names, K = weights(between, design)
    known = estimable(spec.fixed, all_columns(spec, position, i, K), pd.Index(names), "contrast", nonestimable)
    u = effects[position][i]
    prior = float(np.diag(design.structure.covariance(spec.parameters.split(solution.theta)[position]))[i])
    start = spec.p + sum(d.t * d.q for d in spec.random[:position]) + i * design.q
    width = spec.p + spec.n_random
    fixed = sp.csr_array(fixed_part(spec, position, i, K))
    before, after = (sp.csr_array((len(K), columns)) for columns in (start - spec.p, width - start - design.q))
    rows = sp.hstack([fixed, before, sp.csr_array(K), after])
    pev = np.where(known, equations.prediction_variances(solution, sp.csr_array(rows)), np.nan)
    variance = prior * np.einsum("kq,qk->k", K, np.asarray(design.relationship.multiply(np.ascontiguousarray(K.T))))
    reliability = reliability_of(pev, variance)
    return pd.DataFrame(
        {"estimate": np.where(known, K @ u, np.nan), "std_error": np.sqrt(pev), "pev": pev, "reliability": reliability},
        index=pd.Index(names, name="contrast"),
    )


def fixed_part(spec: Any, position: int, i: int, K: Array) -> Array:
    """Coefficients (k, p) of the fixed effects of the equations: those of groups of unknown parents, if any."""
    out = np.zeros((len(K), spec.p))
    for groups in spec.groups:
        if groups.term == position:
            kept = groups.columns[i] >= 0
            out[:, groups.columns[i, kept]] = (K @ groups.fractions)[:, kept]
    return out if spec.fixed.transform is None else out @ spec.fixed.transform


def all_columns(spec: Any, position: int, i: int, K: Array) -> sp.csr_array:
    """Coefficients (k, all columns of X) of the same effects."""
    out = sp.lil_array((len(K), len(spec.fixed.columns)))
    for groups in spec.groups:
        if groups.term == position:
            out[:, groups.numbers[i]] = K @ groups.fractions
    return sp.csr_array(out)


def weights(between: Given, design: Any) -> tuple[list[str], Array]:
    """Names and coefficients (k, q) of the contrasts.

    Raises
    ------
    DataError, RelationshipError
        If there is none, a pair is no pair, or a level is not in the model.
    """
    if isinstance(between, Mapping):
        try:
            named = {str(name): list(w.items()) for name, w in between.items()}
        except AttributeError:
            raise DataError(f"{_FORM}.") from None
    else:
        given = [between] if isinstance(between, str) else listed(f"{_FORM}: between=", between, DataError)
        pairs = [tuple(pair) if isinstance(pair, (tuple, list)) else (pair,) for pair in given]
        if any(len(pair) != 2 for pair in pairs):
            raise DataError(f"{_FORM}.")
        named = {f"{a} - {b}": [(a, 1.0), (b, -1.0)] for a, b in pairs}
    if not named:
        raise DataError("no contrast was given.")
    out = np.zeros((len(named), design.q))
    for row, of_levels in zip(out, named.values(), strict=True):
        try:
            values = np.array([float(v) for _, v in of_levels])
        except (TypeError, ValueError):
            raise DataError(f"a weight is not a number: {_FORM}.") from None
        np.add.at(row, design.relationship.index([level for level, _ in of_levels]), values)
    return list(named), out
