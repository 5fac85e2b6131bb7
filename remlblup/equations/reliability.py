"""Reliabilities from prediction error variances."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array

# Reliabilities this far below zero, or a thousandth of it above, are rounding of PEV: there is nothing to rely on.
ROUNDING = 1e-9


def reliability_of(pev: Array, variance: Array) -> Array:
    """1 − PEV/var(u), missing where var(u) is not positive.

    Zero where it differs from zero by rounding alone; one that is negative by more stays so, as of an inbred animal
    beside groups of unknown parents, or of what was approximated.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        reliability = np.where(variance > 0.0, 1.0 - pev / variance, np.nan)
        return np.where((reliability > -ROUNDING) & (reliability < 1e-3 * ROUNDING), 0.0, reliability)
