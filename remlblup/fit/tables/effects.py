"""The tables of a fit as DataFrames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.reliability import reliability_of
from remlblup.errors import DataError, ModelError, VarianceError, some
from remlblup.fit.tables.functions import covariance_matrices, joined
from remlblup.fit.tables.shown import Shown, table_of, text, text_at
from remlblup.fit.tables.student import quantile, two_sided
from remlblup.model.design import FixedDesign, RandomDesign
from remlblup.model.specification import Specification

OF_FIXED = pd.Index(["estimate", "std_error", "df", "t", "p_value", "lower", "upper"])
OF_RANDOM = pd.Index(["term", "effect", "level", "estimate", "std_error", "pev", "reliability"])


def fixed_effects(fixed: FixedDesign, beta: Array, variance: Array, df: Array, df_method: str) -> Shown:
    """Estimates with t tests on the given degrees of freedom; aliased columns are not listed."""
    with np.errstate(divide="ignore", invalid="ignore"):  # a variance of which no digit is left is missing
        se = np.sqrt(variance)
        t = beta / se
        half = quantile(0.975, df) * se
    table = Shown(
        np.array([beta, se, df, t, two_sided(t, df), beta - half, beta + half]).T,
        index=pd.Index(text(fixed.names), name="coefficient", copy=False),
        columns=OF_FIXED.view(),
        copy=False,
    )
    table.attrs["df_method"] = df_method
    return table


def random_effects(equations: Equations, solution: Any, blocks: Sequence[Array], covariances: Sequence[Array]) -> Shown:
    """One row per term, effect and level."""
    found: list[list[np.ndarray]] = []
    values: list[list[np.ndarray]] = []
    before = [0, 0, 0]  # terms, effects and levels of the terms before
    parts = equations.spec.parameters.split_terms(solution.theta)
    for design, theta, u, cov in zip(equations.spec.random, parts, blocks, covariances, strict=True):
        prior = design.structure.covariance(theta).diagonal()
        pev = cov.diagonal(0, 1, 2).T
        # Where no errors are known nothing is asked of a diagonal that it may take a factorisation to know.
        k = np.full(design.q, np.nan) if np.isnan(pev).all() else np.asarray(design.relationship.diagonal)
        variance = prior[:, None] * k[None, :]
        # Without constraints Σ may be indefinite: such effects have no distribution and no errors.
        pev = np.where((variance >= 0.0) & (pev >= -1e-9 * np.abs(variance)), np.maximum(pev, 0.0), np.nan)
        reliability = reliability_of(pev, variance)
        named = [[design.name], design.structure.effects, design.relationship.labels]
        values.append([np.asarray(of_column, dtype=object) for of_column in named])
        effect, level = np.divmod(np.arange(design.t * design.q), design.q)
        places = [start + place for start, place in zip(before, (0 * level, effect, level), strict=True)]
        before = [start + len(of_column) for start, of_column in zip(before, values[-1], strict=True)]
        found.append([*places, u.flatten(), np.sqrt(pev).ravel(), pev.ravel(), reliability.ravel()])
    if not found:
        return Shown(columns=OF_RANDOM.view())
    columns, names = (
        parts[0] if len(parts) == 1 else [np.concatenate(of_column) for of_column in zip(*parts, strict=True)]
        for parts in (found, values)
    )
    return table_of([*map(text_at, names, columns[:3]), *columns[3:]], OF_RANDOM)


def accuracy(design: RandomDesign, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of `random_effects` of one term by level, with accuracy, inbreeding and numbers of records."""
    own = table[table["term"] == design.name]
    records = records_by_level(design)
    out = own[["effect", "estimate", "pev", "reliability"]].set_axis(pd.Index(own["level"], name="level"))
    return out.assign(
        accuracy=np.sqrt(np.maximum(out["reliability"], 0.0)),
        inbreeding=np.tile(np.asarray(design.relationship.diagonal) - 1.0, design.t),
        records=np.tile(records, design.t),
    )


def records_by_level(design: RandomDesign) -> np.ndarray:
    """(q,) numbers of records that have part in each level; a record counts once, in however many effects."""
    pairs = [
        np.repeat(np.arange(Z.shape[0]), np.diff(Z.indptr)) * np.int64(design.q) + Z.indices for Z in design.columns
    ]
    distinct = pairs[0] if len(pairs) == 1 else np.unique(np.concatenate(pairs))
    return np.bincount(distinct % design.q, minlength=design.q)


def variance_components(
    spec: Specification, theta: Array, covariance: Array, status: Sequence[str], monte_carlo: Array | None = None
) -> pd.DataFrame:
    """term, parameter, estimate, std_error, z_ratio, status; no standard error unless the status is free.

    With errors by random probes, `monte_carlo` (n_parameters,), also those and the root of the sum of both squares.
    """
    free = np.array([s == "free" for s in status])
    se = np.where(free, np.sqrt(np.maximum(np.diag(covariance), 0.0)), np.nan)
    se[se == 0.0] = np.nan
    pairs, total, more = spec.parameters.pairs, se, {}
    if monte_carlo is not None:
        drawn = np.where(np.isnan(se), np.nan, monte_carlo)
        total = np.sqrt(se**2 + drawn**2)
        more = {"monte_carlo_error": drawn, "total_error": total}
    return pd.DataFrame(
        {
            "term": [term for term, _ in pairs],
            "parameter": [name for _, name in pairs],
            "estimate": theta,
            "std_error": se,
            **more,
            "z_ratio": theta / total,
            "status": list(status),
        }
    )


def term_index(spec: Specification, term: str) -> int:
    """Position of a random term, by its name or another spelling of it."""
    k = spec.parameters.index(term)
    if k == len(spec.random):
        raise VarianceError("'residual' is not a random term: its effects are fit.residuals.")
    return k


def covariance(spec: Specification, theta: Array, term: str) -> pd.DataFrame:
    """Σ of a term, labelled by its effects; of R all its matrices along the diagonal, or its variances.

    Raises
    ------
    ModelError
        If R is known, so that there is nothing to show.
    """
    tables = []
    for label, effects, sigma, _ in covariance_matrices(spec.parameters, spec.parameters.index(term), theta):
        names = [f"{label}: {e}" if label else e for e in effects]
        tables.append(pd.DataFrame(sigma, index=names, columns=names))
    if not any(len(table) for table in tables):
        raise ModelError(
            f"residual='{spec.residual_text}' is the covariance matrix of the records that was given: it"
            " has no parameter, and so no table of its effects."
        )
    return joined(tables)


def correlation(sigma: pd.DataFrame) -> pd.DataFrame:
    """Correlations of a labelled covariance matrix."""
    values = sigma.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        d = 1.0 / np.sqrt(np.diag(values))
        return pd.DataFrame(values * np.outer(d, d), index=sigma.index, columns=sigma.columns)


def logdet_crossproduct(fixed: FixedDesign) -> float:
    """log|X'X| of the columns kept."""
    if fixed.p == 0:
        return 0.0
    X = fixed.work
    gram = (X.T @ X).toarray() if sp.issparse(X) else X.T @ X
    return float(np.linalg.slogdet(gram)[1]) - 2.0 * fixed.logdet_transform


def effect_index(effects: Sequence[str], effect: str | None, term: str, error: type[Exception] = DataError) -> int:
    """Position of an effect of a term; the only one without a name.

    Raises
    ------
    DataError
        Or another `error`, if it has several effects and none is named, or none of that name.
    """
    if effect is None and len(effects) == 1:
        return 0
    if effect is None or str(effect) not in effects:
        wrong = "has several effects and needs effect=" if effect is None else f"has no effect {effect!r}"
        raise error(f"'{term}' {wrong}: it has {some(effects)}.")
    return list(effects).index(str(effect))
