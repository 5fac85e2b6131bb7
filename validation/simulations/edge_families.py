"""Hard families for the structures of G: little information, an effect without variance, correlations near one.

Bias and coverage mean little here, on and near the boundary of the parameter space; convergence and true verdicts do.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from remlblup.validation.dense import Array
from remlblup.validation.simulations.family import Family, Matrix
from remlblup.validation.simulations.genetic_families import STRUCTURES, plots
from remlblup.validation.simulations.truth import effects_of_levels, parameters, sigma

#: Number of unrelated varieties.
_LEVELS = 20


def families() -> tuple[Family, ...]:
    """Three for each structure, and four for the reduced rank."""
    out = [edge(s, kind) for s in STRUCTURES for kind in ("low", "zero", "high")]
    return (*out, edge("rr", "two_factors"))


def edge(structure: str, kind: str) -> Family:
    """20 varieties, two plots at each of three or four sites; `truth` is where to restart from, inside the space.

    "low": variances a twelfth of the residual variance; "zero": the first site has none; "high": correlations of
    0.98; "two_factors": rank two.
    """
    effects = ("A", "B", "C", "D")[: 4 if structure in ("fa", "rr", "toep") else 3]
    k = 2 if kind == "two_factors" else 1
    option = f", k={k}" if structure in ("fa", "rr") else ""
    term = f"{structure}(site | variety{option})"
    p = parameters(structure, effects, 0.08 if kind == "low" else 1.0, {"zero": 0.0, "high": 0.98}.get(kind, 0.5), k)
    define = partial(sigma, structure, effects)
    covariance = drawn(define(p), kind)

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        t = len(effects)
        g, s = np.repeat(np.arange(_LEVELS), 2 * t), np.tile(np.repeat(np.arange(t), 2), _LEVELS)
        return plots(rng, effects_of_levels(rng, covariance, _LEVELS), g, s)

    return Family(
        structure,
        f"edge_{kind}",
        f"y ~ site + {term}",
        draw,
        {term: p, "residual": {"variance": 1.0}},
        matrices=(Matrix(term, effects, define),) if option else (),
    )


def drawn(covariance: Array, kind: str) -> Array:
    """The Σ that the data are drawn from."""
    out = covariance.copy()
    if kind == "zero":
        out[0, :] = out[:, 0] = 0.0
    if kind == "high":
        s = np.sqrt(np.diag(covariance))
        out = 0.98 * np.outer(s, s) + 0.02 * np.diag(s**2)
    return out
