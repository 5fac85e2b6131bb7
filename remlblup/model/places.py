"""Terms and residuals over places: ``exp(x, y | trial)``, from coordinates to Σ over the distinct places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, FormulaError, ModelError, OptionError, count, some
from remlblup.linalg.memory import require
from remlblup.model.columns import Columns
from remlblup.model.design import RandomDesign
from remlblup.model.given import Given
from remlblup.model.positions import positions
from remlblup.model.products import levels_of
from remlblup.model.terms import Options, RandomTerm
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.places import Places
from remlblup.structure.table import DISTANCES

# Records that V can be held of, and places beyond which there is no other way to work with a term.
MOST_RECORDS, FEW_PLACES = 20_000, 300
# Places up to which R is made of one small matrix for each unit.
SMALL = 50


@dataclass(frozen=True)
class PlaceEffects:
    """An effect for each distinct place, in the order of their coordinates.

    Attributes
    ----------
    coordinates : names of the d columns
    positions : (t, d)
    """

    coordinates: tuple[str, ...]
    positions: Array
    steps: Array | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"({', '.join(map(_short, place))})" for place in self.positions)

    def find(self, frame: pd.DataFrame) -> tuple[Index, Array]:
        """The number of each record's place, −1 of a place without records in the data of the fit; its coordinates."""
        here = coordinates(frame, self.coordinates)
        known = {place.tobytes(): k for k, place in enumerate(self.positions)}
        return np.array([known.get(place.tobytes(), -1) for place in here], np.int64), here

    def values(self, frame: pd.DataFrame) -> Array:
        """Covariates of the effects, (n, t): 1 of the record's place; none of another."""
        codes, _ = self.find(frame)
        values = np.zeros((len(frame), len(self.positions)))
        values[codes >= 0, codes[codes >= 0]] = 1.0
        return values


def _short(value: float) -> str:
    text = f"{value:.10g}"
    return text if float(text) == value else repr(float(value))


def coordinates(frame: pd.DataFrame, names: Sequence[str]) -> Array:
    """(n, d) where the records lie.

    Raises
    ------
    DataError
        If a coordinate is not a finite number.
    """
    # − 0.0 and 0.0 are one place.
    return np.column_stack([positions(frame[name], name, ranked=False) for name in names]) + 0.0


def places_of(frame: pd.DataFrame, names: Sequence[str], what: str) -> tuple[PlaceEffects, Index]:
    """The distinct places, and the number of each record's.

    Raises
    ------
    ModelError
        If all records lie at one place.
    OptionError
        If V of the records is too large and nothing else will do.
    """
    here = coordinates(frame, names)
    places, codes = np.unique(here, axis=0, return_inverse=True)
    if len(places) == 1:
        raise ModelError(
            f"{what}: all records lie at one place ({', '.join(map(_short, places[0]))}), so that nothing shows how a"
            " correlation falls with the distance: leave the structure out, or correct the coordinates."
        )
    check_records(len(frame), len(places), names, what)
    return PlaceEffects(tuple(names), places), codes.ravel()


def check_records(n: int, t: int, names: Sequence[str], what: str) -> None:
    """Refuse more records than V can be held of."""
    if n <= MOST_RECORDS or t <= FEW_PLACES:
        return
    grid = f"residual='ar1({names[0]}):ar1({names[-1]})'" if len(names) == 2 else f"'ar1({names[0]} | g)'"
    smooth = f"pspline({', '.join(names)})" if len(names) == 2 else f"spl({names[0]})"
    raise OptionError(
        f"{what}: {n:,} records at {t:,} places. Distances make the covariance matrix of the records dense, of"
        f" {8e-9 * n * n:,.1f} GB and n³ flops an iteration: at most {MOST_RECORDS:,} records. On a grid write {grid},"
        f" whose inverse is sparse; anywhere a smooth surface, {smooth}."
    )


def places_design(term: RandomTerm, data: Columns, given: Given) -> RandomDesign:
    """Z, Σ over the places and K of ``exp(x, y | g)``."""
    if term.more:
        raise FormulaError(f"'{term.name}': places within one factor, not within several that are added up.")
    if term.group.weights or term.group.coefficient != 1.0:
        raise FormulaError(f"'{term.name}': the factor of effects at places takes no weight.")
    frame = data.frame
    relationship, (levels,) = levels_of(term, data, given)
    effects, place = places_of(frame, term.coordinates, f"'{term.name}'")
    n, t = len(frame), len(effects.positions)
    require(8.0 * (4.0 * t * t + 0.5 * n * t), f"'{term.name}' over {t:,} places", "or fewer places.")
    structure = over_places(term.structure, effects, term.options, f"in '{term.name}'")
    columns = []
    order = np.argsort(place, kind="stable")
    ends = np.searchsorted(place[order], np.arange(t + 1))
    for k in range(t):
        own = order[ends[k] : ends[k + 1]]
        columns.append(sp.csr_array((np.ones(len(own)), (own, levels[own])), shape=(n, relationship.size)))
    moments = np.diag(np.bincount(place, minlength=t) / n)
    return RandomDesign(term.name, structure, relationship, tuple(columns), moments, term, effects)


def over_places(keyword: str, effects: PlaceEffects, options: Options, what: str = "") -> Distance:
    """Σ over places; errors say which term they are about."""
    try:
        return DISTANCES[keyword](effects.names, effects.positions, effects.coordinates, **dict(options))
    except (ModelError, OptionError, DataError) as error:
        raise type(error)(f"{what}: {error}" if what else str(error)) from None


def residual_over_places(
    keyword: str, names: Sequence[str], options: Options, frame: pd.DataFrame, unit: Index, nugget: bool
) -> ResidualStructure:
    """R over places within units; with a `nugget` beside it several records may lie at one place.

    Raises
    ------
    DataError
        If two records of a unit lie at one place and nothing tells them apart.
    """
    effects, place = places_of(frame, names, f"'{keyword}'")
    twice = pd.DataFrame({"unit": unit, "place": place}).duplicated(keep=False).to_numpy()
    if twice.any() and not nugget:
        first = np.flatnonzero(twice)[0]
        same = frame.index[(unit == unit[first]) & (place == place[first])]
        raise DataError(
            f"{count(int(twice.sum()), 'record', 'lies', 'lie')} at places where others lie too,"
            f" such as row(s) {some(same)} at {effects.names[place[first]]}: their errors would be one and the same."
            " Add '+ units', errors of their own (a nugget), or correct the coordinates."
        )
    structure = over_places(keyword, effects, options)
    if not twice.any() and structure.size <= SMALL and len(np.unique(unit)) > 1:
        return Blocks(structure, unit, place)
    return Places(structure, unit, place)
