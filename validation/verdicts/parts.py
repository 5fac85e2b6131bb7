"""What the random small models are put together of: layouts, covariates, terms and independent residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.validation.dense import Array
from remlblup.validation.verdicts import shapes
from remlblup.validation.verdicts.oracle import Part
from remlblup.validation.verdicts.problems import (
    incidence,
    products,
    same,
)


def grid(rng: np.random.Generator, q: int, t: int, most: int = 1) -> tuple[Array, Array]:
    """Levels and effects of an incomplete two-way layout with 1 … `most` records a cell; every one of both is seen."""
    g, e = (a.ravel() for a in np.indices((q, t)))
    times = rng.integers(1, most + 1)
    g, e = np.repeat(g, times), np.repeat(e, times)
    if rng.random() < 0.5:
        keep = rng.random(len(g)) > 0.25
        if len(set(g[keep])) == q and len(set(e[keep])) == t and keep.sum() > t + 3:
            g, e = g[keep], e[keep]
    return g, e


def unit_of(y: Array, X: Array) -> float:
    """The standard deviation left by least squares."""
    r = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    return float(np.sqrt(np.mean(r**2))) or 1.0


def positions(rng: np.random.Generator, t: int) -> Array:
    return np.sort(rng.choice(np.arange(1, 3 * t), t, replace=False)).astype(float)


def covariate(rng: np.random.Generator, n: int) -> Array:
    return np.round(rng.normal(size=n), 2) * float(10.0 ** int(rng.choice([0, 0, 0, 5, -5])))


def group_term(values: pd.Series, name: str, unit: float, constrain: bool = True) -> Part:
    """(1 | g)."""
    kernel = same(pd.factorize(values)[0])
    return Part(f"(1 | {name})", make_id(unit, constrain), products(np.ones((len(values), 1)), kernel))


def make_id(unit: float, constrain: bool = True) -> shapes.Shape:
    return shapes.make("id", [unit], constrain=constrain)


def independent(
    rng: np.random.Generator,
    rows: pd.DataFrame,
    by: str,
    unit: float,
    constrain: bool = True,
    weights: Array | None = None,
) -> tuple[Part, str]:
    """Independent residuals of one variance, or at times of one for each level of a factor."""
    w = np.ones(len(rows)) if weights is None else weights
    if rng.random() < 0.7:
        return Part("residual", shapes.records(unit, w, constrain)), "units"
    levels = sorted(set(rows[by]))
    W = incidence([levels.index(v) for v in rows[by]], len(levels)) / np.sqrt(w)[:, None]
    shape = shapes.make("diag", np.full(len(levels), unit), constrain=constrain)
    return Part("residual", shape, products(W, np.eye(len(rows)))), f"diag({by} | units)"
