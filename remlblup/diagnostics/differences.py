"""Intervals of BLUPs that are read in pairs: two levels differ where theirs do not overlap."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import ModelError

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved

# Levels of which all pairs are looked at, evenly by rank.
LEVELS = 40


def comparison_factor(fit: Solved, term: str, effect: str, table: pd.DataFrame, z: float) -> float:
    """c such that û_i ± c √PEV_i of two levels just touch where they differ by z standard errors, on average.

    c = z Σ SED_ij / Σ (√PEV_i + √PEV_j) over pairs, SED² the prediction error variance of the difference (after
    Goldstein & Healy 1995, *J. R. Stat. Soc. A* 158:175, whose levels are independent and c = z/√2 for equal errors).

    Parameters
    ----------
    table : of `random_effects`, for one effect of one term, by rank

    Raises
    ------
    ModelError
        If no two levels can be compared.
    """
    table = table[table["std_error"] > 0.0]
    some = table.iloc[np.unique(np.linspace(0, len(table) - 1, min(LEVELS, len(table))).astype(int))]
    pairs = list(combinations(some["level"], 2))
    if not pairs:
        raise ModelError(f"'{term}' has no two levels with a prediction error to compare.")
    difference = fit.contrasts(term, pairs, effect, nonestimable="nan")["std_error"].to_numpy()
    error = some["std_error"].to_numpy()
    first, second = (np.array(part) for part in zip(*combinations(range(len(some)), 2), strict=True))
    own = error[first] + error[second]
    known = np.isfinite(difference)
    if not known.any():
        raise ModelError(f"no difference of two levels of '{term}' can be estimated.")
    return float(z * difference[known].sum() / own[known].sum())
