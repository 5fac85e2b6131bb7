"""When two sets of components are the same: to the digits printed, or within a share of a standard error."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array

#: Programs stop when the likelihood does: at this share of a standard error ℓ is within 1e-5 of its maximum.
SHARE = 0.005


def distance(theirs: Array, ours: Array, unit: Array, std_error: Array, share: float = SHARE) -> float:
    """The largest difference over what is allowed: 1 or less is agreement."""
    known = ~np.isnan(theirs)
    if not known.any():
        return np.inf
    allowed = allowance(ours, unit, std_error, share)
    return float(np.max(np.abs(theirs - ours)[known] / allowed[known]))


def allowance(ours: Array, unit: Array, std_error: Array, share: float = SHARE) -> Array:
    """A unit of the last digit printed, or a share of a standard error where that is more."""
    of_error = share * np.where(np.isfinite(std_error), std_error, 0.0)
    return np.maximum(np.maximum(unit, of_error), 1e-7 * np.maximum(np.abs(ours), 1e-300))


def digits(a: float, b: float) -> float:
    """Digits in which two numbers agree, 15 for all."""
    if not (np.isfinite(a) and np.isfinite(b)):
        return np.nan
    size = max(abs(a), abs(b))
    if a == b or size == 0.0:
        return 15.0
    return float(np.clip(-np.log10(abs(a - b) / size), 0.0, 15.0))
