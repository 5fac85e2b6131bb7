"""Results that are objects: statsmodels' `MixedLMResults`."""

from __future__ import annotations

from typing import Any

import numpy as np

from remlblup.crosschecking.results import COMPONENTS, FIXED, RANDOM, Results, component, matrix_components, table

#: Numbers in memory have no last digit printed.
PRECISION = 1e-15


def is_statsmodels(other: Any) -> bool:
    """Whether an object is what statsmodels' `MixedLM.fit` returns, without statsmodels being imported."""
    return all(hasattr(other, name) for name in ("cov_re", "vcomp", "scale", "fe_params", "llf"))


def read_statsmodels(result: Any) -> Results:
    """Components (not divided by the scale), fixed effects and BLUPs of a `MixedLMResults`."""
    import statsmodels

    model = result.model
    rows: list[tuple] = []
    names = _effects(model)
    if names:
        sigma = np.atleast_2d(np.asarray(result.cov_re, dtype=float))
        rows += matrix_components("group", sigma, PRECISION * np.abs(sigma), effects=names)
    variances = np.atleast_1d(np.asarray(result.vcomp, dtype=float)) if model.k_vc else np.zeros(0)
    for name, value in zip(model.exog_vc.names if model.k_vc else (), variances, strict=True):
        rows.append(component(str(name), float(value), PRECISION * abs(float(value))))
    rows.append(component("residual", float(result.scale), PRECISION * float(result.scale)))
    k = int(result.k_fe)
    bse = np.asarray(result.bse_fe, dtype=float)
    fixed = [
        (str(name), float(value), float(error), PRECISION * abs(float(value)))
        for name, value, error in zip(result.fe_params.index[:k], result.fe_params, bse, strict=True)
    ]
    return Results(
        "statsmodels",
        statsmodels.__version__,
        method="REML" if model.reml else "ML",
        components=table(rows, COMPONENTS),
        fixed_effects=table(fixed, FIXED),
        random_effects=table(_blups(result, names), RANDOM),
        loglik=float(result.llf),
        loglik_rounding=1e-9,
        n_obs=int(model.nobs),
        notes=() if getattr(result, "converged", True) else ("statsmodels says that it has not converged",),
    )


def _effects(model: Any) -> list[str]:
    """Names of the correlated effects; statsmodels calls the intercept by the grouping factor."""
    if not model.k_re:
        return []
    constant = np.ptp(np.asarray(model.exog_re), axis=0) == 0.0
    return ["Intercept" if c else str(n) for c, n in zip(constant, model.data.exog_re_names, strict=True)]


def _blups(result: Any, names: list[str]) -> list[tuple]:
    """BLUPs by group; none where statsmodels cannot give them, as with a singular covariance."""
    try:
        by_group = result.random_effects
    except (ValueError, np.linalg.LinAlgError):
        return []
    rows = []
    for group, values in by_group.items():
        for name, value in zip(names, values.iloc[: len(names)], strict=True):
            rows.append(("group", name, str(group), float(value), np.nan, PRECISION * abs(float(value))))
        for label, value in values.iloc[len(names) :].items():
            term, level = _place(str(label), str(group), len(by_group) > 1)
            rows.append((term, "", level, float(value), np.nan, PRECISION * abs(float(value))))
    return rows


def _place(label: str, group: str, several: bool) -> tuple[str, str]:
    """Component and level of an effect such as ``cask[C(cask)[a]]``."""
    term, _, rest = label.partition("[")
    level = rest.rsplit("[", 1)[-1].rstrip("]").removeprefix("T.") if "[" in rest else group
    return term, f"{group}:{level}" if several and level != group else level
