"""ℓ over two parameters around the estimates: the others where they are, or each time at their best."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError, NotPositiveDefiniteError, OptionError, choose
from remlblup.fit.errors.intervals import bounds_of
from remlblup.fit.estimates import Estimates
from remlblup.inference.components.constrained import Constrained
from remlblup.inference.components.profile import require_profile
from remlblup.inference.quantities import free_parameter
from remlblup.inference.resampling.simulate import whole_number
from remlblup.reml.singular_residual import maximize

OTHERS = ("held", "best")
# Standard errors on either side of an estimate that are shown.
REACH = 3.0


def surface(fit: Estimates, a: str, b: str, points: int, others: str) -> pd.DataFrame:
    """See `ComponentMethods.surface`."""
    choose("others", others, OTHERS)
    points = whole_number("points", points, 3)
    require_profile(fit)
    i, j = (free_parameter(fit, name) for name in (a, b))
    if i == j:
        raise OptionError(f"a surface needs two parameters: '{a}' was given twice.")
    along = Constrained(fit)
    x, y = (values_of(fit, along, k, points) for k in (i, j))
    logliks = [at(fit, along, {i: u, j: v}, others) for u in x for v in y]
    columns = fit.specification.parameters.columns
    table = pd.DataFrame({columns[i]: np.repeat(x, len(y)), columns[j]: np.tile(y, len(x)), "loglik": logliks})
    table["below"] = fit.loglik - table["loglik"]
    table.attrs["others"] = others
    return table


def values_of(fit: Estimates, along: Constrained, k: int, points: int) -> Array:
    """Values of one parameter: `REACH` standard errors to both sides, within its bounds, the estimate among them."""
    low, high = (float(bound[k]) for bound in bounds_of(fit.specification.parameters, fit.options.constrain))
    error, here = float(np.sqrt(fit.variance_covariance[k, k])), float(fit.theta[k])
    size = REACH * (error if np.isfinite(error) and error > 0.0 else float(along.scale[k]))
    ends = max(here - size, low), min(here + size, high)
    values = np.linspace(*ends, points)
    values[np.argmin(np.abs(values - here))] = here
    return values


def at(fit: Estimates, along: Constrained, given: dict[int, float], others: str) -> float:
    """ℓ with two parameters given; NaN where V is not positive definite."""
    numbers, values = list(given), list(given.values())
    theta = fit.theta.copy()
    theta[numbers] = values
    if others == "held" or np.array_equal(theta, fit.theta):
        value = along.surface.loglik(theta)[0]
        return value if np.isfinite(value) else np.nan
    fixed = along.held.copy()
    fixed[numbers] = values
    start = np.where(np.isnan(fixed), fit.theta, np.nan)
    try:
        return float(maximize(along.equations, along.options, start, fixed).point.loglik)
    except (NotPositiveDefiniteError, ModelError, np.linalg.LinAlgError):
        return np.nan
