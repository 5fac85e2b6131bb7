"""Fits side by side: what they cost in parameters, what they gain, and a test of each against the one above it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, ModelError, OptionError
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.shown import shown
from remlblup.inference.comparison.likelihood_ratio import likelihood_ratio
from remlblup.inference.comparison.nested import columns_added, require_comparable
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.linalg.threads import single_threaded

COUNTED = (
    "AIC and BIC count the fixed effects estimated and the variance parameters not held; BIC with log of the records."
)


@within_memory
@known_arguments
@single_threaded
def compare(*fits: Estimates, null: str = "mixture", seed: int = 0) -> pd.DataFrame:
    """A row per fit, and a likelihood-ratio test of each against the one above it.

    Parameters
    ----------
    fits : two or more, of the same records and by the same method
    null, seed : as for `likelihood_ratio`

    Returns
    -------
    DataFrame by model: fixed, variance (numbers of parameters), parameters, loglik, aic, bic, verdict, statistic, df,
    p_value, test (the null, or why there is none). What AIC and BIC count stands above it.

    Raises
    ------
    DataError, ModelError
        For fits of other records or by other methods. A fit that did not converge has its row and no test.

    Examples
    --------
    >>> smaller = rb.MixedModel("Reaction ~ Days + (1 | Subject)", sleep).fit()
    >>> rb.compare(smaller, fit)["aic"].round(1).tolist()
    [1794.5, 1755.6]
    """
    if len(fits) < 2:
        raise OptionError("compare() takes two or more fits: rb.compare(fit1, fit2).")
    for other in fits[1:]:
        try:
            require_comparable(fits[0], other)
        except ModelError as error:
            if (
                all(getattr(fit, "converged", None) in (True, False) for fit in (fits[0], other))
                and fits[0].method == other.method
            ):
                continue  # its verdict stands in its row
            raise error from None
    rows = [row(fit, fits[k - 1] if k else None, null, seed) for k, fit in enumerate(fits)]
    names = [fit.formula or "from matrices" for fit in fits]
    if len(set(names)) < len(names):  # what tells them apart may be R
        names = [f"{name} [{fit.specification.residual_text}]" for name, fit in zip(names, fits, strict=True)]
    out = pd.DataFrame(rows, index=pd.Index(names, name="model"))
    return shown(out, note(fits))


def note(fits: tuple[Estimates, ...]) -> str:
    """What the criteria count, and whether they can be compared."""
    if fits[0].method == "REML":
        first = fits[0].specification
        for other in fits[1:]:
            try:
                same = columns_added(first, other.specification) == 0
            except ModelError:
                same = False
            if not same:
                return (
                    f"{COUNTED} The fixed parts differ: neither ℓ nor the criteria of these REML fits can be compared."
                )
    return COUNTED


def row(fit: Estimates, above: Estimates | None, null: str, seed: int) -> dict[str, Any]:
    """The row of a fit."""
    fixed = fit.specification.p
    out: dict[str, Any] = {
        "fixed": fixed,
        "variance": fit.n_parameters - fixed,
        "parameters": fit.n_parameters,
        "loglik": fit.loglik,
        "aic": fit.aic,
        "bic": fit.bic,
        "verdict": fit.convergence.status,
        "statistic": np.nan,
        "df": np.nan,
        "p_value": np.nan,
        "test": "",
    }
    if above is None:
        return out
    smaller, larger = sorted((above, fit), key=lambda f: f.n_parameters)
    try:
        test = likelihood_ratio(smaller, larger, null, seed)
    except (ModelError, DataError) as error:
        return out | {"test": f"none: {error}"}
    return out | {"statistic": test.statistic, "df": test.df, "p_value": test.p_value, "test": test.null}
