"""Intervals of the variance parameters: estimate ± z standard errors on a scale without bounds, and back.

log θ for what is bounded below, log((θ − a)/(b − θ)) between two bounds, which for a correlation is twice Fisher's z;
θ itself where there is no bound (covariances, loadings).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import check_share, choose, listed
from remlblup.fit.tables.functions import evaluate
from remlblup.model.parameters import Parameters

METHODS = ("log", "wald")
SCALES = {(False, False): "plain", (True, False): "log", (True, True): "logit"}


def intervals(
    components: pd.DataFrame,
    parameters: Parameters,
    theta: Array,
    covariance: Array,
    method: str,
    level: float,
    functions: Sequence[str],
    constrain: bool,
) -> pd.DataFrame:
    """See `Fit.intervals`; from the table of components, θ̂ and its covariance."""
    from scipy import stats

    choose("method", method, METHODS)
    check_share("level", level)
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    table = components[["term", "parameter", "estimate", "std_error", "status"]]
    low, high = bounds_of(parameters, constrain)
    rows = [table.assign(low=low, high=high)]
    for expression in listed("functions=", functions):
        found = evaluate(expression, parameters, theta, covariance, "", constrain)
        bounds = {"plain": (-np.inf, np.inf), "log": (0.0, np.inf), "logit": (0.0, 1.0)}[found.scale]
        row = ("function", expression, found.estimate, found.std_error, "", *bounds)
        rows.append(pd.DataFrame([row], columns=rows[0].columns))
    out = pd.concat(rows, ignore_index=True)
    estimate, error, low, high = (out[c].to_numpy(dtype=float) for c in ("estimate", "std_error", "low", "high"))
    lower, upper = wald(estimate, error, z, low, high) if method == "wald" else scaled(estimate, error, z, low, high)
    scale = [SCALES[bool(a), bool(b)] for a, b in zip(np.isfinite(low), np.isfinite(high), strict=True)]
    out = out.assign(lower=lower, upper=upper, scale="plain" if method == "wald" else scale)
    return out[["term", "parameter", "estimate", "std_error", "lower", "upper", "scale", "status"]]


def bounds_of(parameters: Parameters, constrain: bool) -> tuple[Array, Array]:
    """Bounds of θ; without constraints those of parameters that may take any sign are none."""
    low, high = parameters.lower.copy(), parameters.upper.copy()
    if not constrain:
        signed = np.concatenate([s.signed for s in (*parameters.structures, parameters.residual)])
        low[signed], high[signed] = -np.inf, np.inf
    return low, high


def wald(estimate: Array, error: Array, z: float, low: Array, high: Array) -> tuple[Array, Array]:
    """θ ± z s.e., cut at the bounds."""
    return np.maximum(estimate - z * error, low), np.minimum(estimate + z * error, high)


def scaled(estimate: Array, error: Array, z: float, low: Array, high: Array) -> tuple[Array, Array]:
    """The same of log(θ − low) or log((θ − low)/(high − θ)), turned back."""
    above, below = np.isfinite(low), np.isfinite(low) & np.isfinite(high)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        up, down = estimate - low, high - estimate
        step = z * error * np.where(below, 1.0 / up + 1.0 / down, 1.0 / up)
        grown = [up * np.exp(s * step) for s in (-1.0, 1.0)]
        # x = (θ − low)/(high − θ) turned back is θ = (low + high x)/(1 + x)
        between = [low + (high - low) / (1.0 + down / up * np.exp(-s * step)) for s in (-1.0, 1.0)]
        ends = [
            np.where(below, b, np.where(above, low + g, estimate + s * z * error))
            for b, g, s in zip(between, grown, (-1.0, 1.0), strict=True)
        ]
    return ends[0], ends[1]
