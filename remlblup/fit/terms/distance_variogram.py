"""The sample variogram of residuals by distance, beside that of a fitted `exp(x, y)`, `sph(x, y | trial)`, …"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array, Index
from remlblup.errors import OptionError
from remlblup.fit.terms.field_maps import Part, residual_parts, units_variance, whole
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.places import Places

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved

# Classes of distances, up to which share of the largest, and records that are paired at most.
CLASSES, REACH, MOST = 20, 0.6, 2000


@dataclass(frozen=True)
class OfPlaces:
    """The records of one section.

    Attributes
    ----------
    part : its records and parameters
    structure : Σ over the places
    place, unit : (m,) of each record
    """

    part: Part
    structure: Distance
    place: Index
    unit: Index


def of_places(part: Part) -> OfPlaces | None:
    """The places of a section; None where its records have none."""
    R = part.structure
    if isinstance(R, Places):
        return OfPlaces(part, R.structure, R.place, R.unit)
    if not isinstance(R, Blocks) or not isinstance(R.structure, Distance):
        return None
    unit = np.empty(len(part.records), np.int64)
    for k, stack in enumerate(R.stacks):
        unit[stack.records] = np.arange(len(stack.records))[:, None] + k * len(unit)
    return OfPlaces(part, R.structure, R.effect, unit)


def places_variogram(fit: Solved, trial: object = None, residual: Array | None = None) -> pd.DataFrame:
    """lag, pairs, semivariance, model, over classes of distance; the pairs of several sections pooled.

    Raises
    ------
    OptionError
        If there is no such section.
    """
    found = (of_places(part) for part in residual_parts(fit) if trial is None or part.label == str(trial))
    parts = [one for one in found if one is not None]
    if not parts:
        raise OptionError(f"trial={trial!r} is not a section of residual='{fit.specification.residual_text}'.")
    residual, nugget = whole(fit) if residual is None else residual, units_variance(fit)
    reach = max(float(one.structure.usual[3]) for one in parts)
    edges = np.linspace(0.0, REACH * reach * (1.0 + 1e-9), CLASSES + 1)
    sums = np.zeros((4, CLASSES))
    for one in parts:
        structure, place, phi = one.structure, one.place, one.part.phi
        e = residual[one.part.records]
        i, j = pairs_of(one.unit)
        lag = structure.metric.distances(structure.places, structure.places)[place[i], place[j]]
        model = nugget + phi[0] - structure.covariance(phi)[place[i], place[j]]
        at = np.searchsorted(edges, lag, side="right") - 1
        known = at < CLASSES
        columns = (np.ones(len(i)), lag, 0.5 * (e[i] - e[j]) ** 2, model)
        sums += [np.bincount(at[known], values[known], CLASSES) for values in columns]
    kept = sums[0] >= max(1.0, min(30.0, np.max(sums[0]) / 3.0))
    n = sums[0][kept]
    table = pd.DataFrame(
        {
            "lag": sums[1][kept] / n,
            "pairs": n.astype(np.int64),
            "semivariance": sums[2][kept] / n,
            "model": sums[3][kept] / n,
        }
    )
    table.attrs["name"] = ", ".join(parts[0].structure.metric.coordinates)
    return table


def pairs_of(unit: Index) -> tuple[Index, Index]:
    """Pairs of records of one unit; of very many records those of a random sample."""
    n = len(unit)
    chosen = np.arange(n) if n <= MOST else np.sort(np.random.default_rng(0).choice(n, MOST, replace=False))
    i, j = np.triu_indices(len(chosen), 1)
    i, j = chosen[i], chosen[j]
    together = unit[i] == unit[j]
    return i[together], j[together]
