"""Random effects at new places and times: what those of the model tell of them.

With Σ over the places of the model and those asked for, u_new = Σ_no Σ_oo⁻¹ u_o + ε: the row of Z of such a record has
these weights, and its prediction the variance of ε besides (kriging; Henderson's "prediction of effects without
records").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import DataError
from remlblup.model.design import RandomDesign
from remlblup.model.effects import Levels
from remlblup.model.places import PlaceEffects
from remlblup.model.positions import positions
from remlblup.relationship.labels import match
from remlblup.structure.conditional import conditional


@dataclass(frozen=True)
class EffectRows:
    """Covariates of the effects in new records, (n, t), and the variance (n,) that none of the effects explains."""

    values: Array
    left: Array


def effect_rows(design: RandomDesign, frame: pd.DataFrame, theta: Array) -> EffectRows:
    """Covariates of the effects of a term in new records; at places and times without effects by kriging.

    Raises
    ------
    DataError
        If a level is new and Σ says nothing of it.
    """
    effects, structure, n = design.spec, design.structure, len(frame)
    if isinstance(effects, PlaceEffects):
        codes, here = effects.find(frame)
    elif isinstance(effects, Levels) and effects.positions is not None:
        codes = np.asarray(match(effects.labels, frame[effects.variable]))
        here = np.zeros((n, 0))
        if np.any(codes < 0) and structure.between(theta, np.zeros(0)) is not None:
            here = positions(frame[effects.variable], effects.variable, ranked=False)
    else:
        return EffectRows(effects.values(frame), np.zeros(n))
    new = codes < 0
    across = structure.between(theta, here[new]) if new.any() and here.size else None
    if across is None:
        return EffectRows(effects.values(frame), np.zeros(n))
    if len(design.term.groups) > 1:  # type: ignore[union-attr]
        raise DataError(f"'{design.name}' lays several factors over each other: it predicts at its own levels only.")
    values, left = np.zeros((n, design.t)), np.zeros(n)
    values[~new, codes[~new]] = 1.0
    sigma = structure.covariance(theta)
    if theta[0] > 0.0:
        values[new], left[new] = conditional(sigma, across, float(sigma[0, 0]))
    return EffectRows(values, left)
