"""Intervals of components by their profiles and by replicates, in the form of those by standard errors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from remlblup.errors import ModelError, check_share, choose, listed
from remlblup.fit.errors.intervals import intervals
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.shown import shown
from remlblup.inference.components.profile import ends, profile_paths, require_profile
from remlblup.inference.resampling.bootstrap import KINDS, bootstrap, checked

METHODS = ("log", "wald", "profile", "bootstrap")


def intervals_of(
    fit: Estimates, method: str, level: float, functions: Sequence[str], n: int, seed: int, kind: str
) -> pd.DataFrame:
    """See `Fit.intervals`."""
    choose("method", method, METHODS)
    choose("kind", kind, KINDS)
    check_share("level", level)
    n, seed = checked(n, seed)
    functions, own = listed("functions=", functions), method in ("log", "wald")
    components, parameters = fit.variance_components, fit.specification.parameters
    if "total_error" in components:  # what other probes would change is an error as any other
        components = components.assign(std_error=components["total_error"])
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
        return shown(table, fit._note)
    free = np.array([s != "fixed" for s in fit.status], dtype=bool)
    asked = np.r_[free, np.ones(len(functions), dtype=bool)]
    found, note = np.full((len(table), 2), np.nan), ""
    if method == "profile":
        require_profile(fit)
        found[asked] = np.array(list(ends(profile_paths(fit, functions=functions), level))).reshape(-1, 2)
    else:
        made = bootstrap(fit, n, seed, None, None, None)
        if made.n_failed == made.done:
            raise ModelError(f"no replicate could be fitted: {made.estimates['reason'].iloc[0]}")
        asked_of = [made.only(np.flatnonzero(free)), *([made.of_functions(functions)] if functions else [])]
        parts = [b.intervals(level, kind) for b in asked_of]
        found[asked] = np.vstack([part[["lower", "upper"]].to_numpy() for part in parts])
        unconverged = made.n_converged < made.done or made.done < made.n
        note = "\n".join([*([made.note] if unconverged else []), *(p.attrs["said"] for p in parts if p.attrs["said"])])
    table = table.assign(lower=found[:, 0], upper=found[:, 1], scale=method)
    return shown(table, "\n".join(filter(None, [fit._note, note])))
