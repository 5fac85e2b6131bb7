"""Intervals of components by their profiles and by replicates, in the form of those by standard errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from remlblup.errors import ModelError, choose, listed
from remlblup.fit.errors.intervals import intervals
from remlblup.fit.estimates import Estimates
from remlblup.inference.components.constrained import expression_function
from remlblup.inference.components.profile import ends, profile_paths, require_profile
from remlblup.inference.resampling.bootstrap import bootstrap, check_level

METHODS = ("log", "wald", "profile", "bootstrap")


def intervals_of(
    fit: Estimates, method: str, level: float, functions: Sequence[str], n: int, seed: int
) -> pd.DataFrame:
    """See `Fit.intervals`."""
    choose("method", method, METHODS)
    check_level(level)
    functions, own = listed("functions=", functions), method in ("log", "wald")
    components, parameters = fit.variance_components, fit.specification.parameters
    table = intervals(
        components,
        parameters,
        fit.theta,
        fit.variance_covariance,
        method if own else "wald",
        level,
        functions,
        fit.options.constrain,
    )
    if own:
        return table
    free = np.array([s != "fixed" for s in fit.status])
    asked = np.r_[free, np.ones(len(functions), dtype=bool)]
    found = np.full((len(table), 2), np.nan)
    if method == "profile":
        require_profile(fit)
        found[asked] = list(ends(profile_paths(fit, functions=functions), level))
    else:
        names = [c for c, own in zip(parameters.columns, free, strict=True) if own]
        made = bootstrap(fit, n, seed, None, None, None)
        if functions:
            theta = made.numbers.iloc[:, : parameters.size].to_numpy()
            found[len(free) :] = of_functions(fit, functions, theta, level)
        found[: len(free)][free] = made.intervals(level).loc[names, ["lower", "upper"]].to_numpy()
        if made.n_failed == made.done:
            raise ModelError(f"no replicate could be fitted: {made.estimates['reason'].iloc[0]}")
    return table.assign(lower=found[:, 0], upper=found[:, 1], scale=method)


def of_functions(fit: Estimates, functions: Sequence[str], theta: np.ndarray, level: float) -> np.ndarray:
    """Quantiles of functions of the replicates θ (n, n_parameters), (k, 2)."""
    made = [expression_function(fit, f) for f in functions]
    values = np.array([[f.at(t)[0] for f in made] for t in theta if np.isfinite(t).all()])
    return np.nanquantile(values, [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0).T
