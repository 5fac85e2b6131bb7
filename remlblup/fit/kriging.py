"""The residual at new places and times: what the errors of the records tell of it.

With e_new = A e + ε, A = R_no R⁻¹, and e = y − Xβ − Zu,

    x'β + z'u + e_new = (x − X'A')'β + (z − Z'A')'u + A y + ε,

so that whatever engine predicts with rows of X and Z predicts this, with the variance of ε besides (Cressie 1993,
*Statistics for Spatial Data*, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, OptionError, some
from remlblup.linalg.memory import require
from remlblup.model.frame import require_columns
from remlblup.model.grouping import factorize, group_keys
from remlblup.model.places import coordinates
from remlblup.model.positions import positions
from remlblup.model.residual_reading import ResidualTerm
from remlblup.model.specification import Specification
from remlblup.relationship.labels import match
from remlblup.structure.conditional import conditional
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Autoregressive, Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.places import Places
from remlblup.structure.residual.sections import Sections

# R between two sets of positions, (m, r).
Between = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Told:
    """What the errors of the records tell of those of new records: A (m, n), and the variance that is left (m,)."""

    weights: sp.csr_array
    left: Array


def residual_told(spec: Specification, phi: Array, new: pd.DataFrame) -> Told:
    """A and var(ε) of new records.

    Raises
    ------
    OptionError
        If the errors of other records tell nothing.
    DataError
        If the new data lack a column that says where they lie.
    """
    residual, term = spec.residual.stands_for, spec.residual_term
    records = spec.records
    assert records is not None
    require_columns(new, [c for c in term.columns if c != "units"], "the prediction of the residual", "the new data")
    if not isinstance(residual, Sections):
        return _told(residual, phi, term, records.frame, np.arange(spec.n), new, np.arange(len(new)), spec.n)
    codes = np.asarray(match(np.array(residual.labels, dtype=object), new[term.section].astype(str)))
    if np.any(codes < 0):
        raise DataError(
            f"'{term.section}' of the new data has levels the fit had none of: {some(new[term.section][codes < 0])}."
        )
    weights, left = sp.csr_array((len(new), spec.n)), np.zeros(len(new))
    for k, (part, own, place) in enumerate(zip(residual.parts, residual.slices, residual.places, strict=True)):
        rows = np.flatnonzero(codes == k)
        if len(rows):
            at = place[: len(place) - part.n_filled]
            told = _told(part, phi[own], term, records.frame, at, new, rows, spec.n)
            weights, left = sp.csr_array(weights + told.weights), left + told.left
    return Told(weights, left)


def _told(
    residual: ResidualStructure,
    phi: Array,
    term: ResidualTerm,
    frame: pd.DataFrame,
    at: Index,
    new: pd.DataFrame,
    rows: Index,
    n: int,
) -> Told:
    """A and var(ε) of the `rows` of the new data, by the records `at` of one section."""
    old, fresh = frame.iloc[at], new.iloc[rows]
    variance, between, (here, there) = _between(residual, phi, term, old, fresh)
    if isinstance(residual, Field):
        of_old, of_new = np.zeros(len(old), np.int64), np.zeros(len(fresh), np.int64)
    else:
        of_old, levels = factorize(group_keys(term.unit, old))
        of_new = np.asarray(match(levels, group_keys(term.unit, fresh)))
    weights, left = sp.lil_array((len(new), n)), np.zeros(len(new))
    left[rows] = variance
    for k in np.unique(of_new[of_new >= 0]):
        own, wanted = np.flatnonzero(of_old == k), np.flatnonzero(of_new == k)
        require(24.0 * len(own) ** 2, f"the matrix of errors of {len(own):,} records that tell of new ones")
        if variance <= 0.0:
            continue
        part, rest = conditional(between(here[own], here[own]), between(there[wanted], here[own]), variance)
        weights[np.ix_(rows[wanted], at[own])] = part
        left[rows[wanted]] = rest
    return Told(sp.csr_array(weights), left)


def _between(
    residual: ResidualStructure, phi: Array, term: ResidualTerm, old: pd.DataFrame, new: pd.DataFrame
) -> tuple[float, Between, tuple[Array, Array]]:
    """σ², R between positions, and the positions of the records and of the new ones."""
    if isinstance(residual, Field):
        axes = [
            (positions(old[name], name, ranked=True), positions(new[name], name, ranked=True))
            for name in residual.labels
        ]
        here, there = (np.column_stack(side) for side in zip(*axes, strict=True))
        return float(phi[0]), lambda a, b: field_covariance(residual, phi, a, b), (here, there)
    if isinstance(residual, Exponential):
        ranked = isinstance(residual, Autoregressive)
        before = positions(old[term.effect], term.effect, ranked)
        after = positions(new[term.effect], term.effect, ranked)
        scale = 1.0
        if ranked and np.ptp(before) > 0.0:
            scale = float(np.ptp(residual.x) / np.ptp(before))
        both = before[:, None] * scale, after[:, None] * scale
        return float(phi[0]), lambda a, b: phi[0] * power(phi[1], np.abs(a - b.T)), both
    if isinstance(residual, Places | Blocks) and isinstance(residual.structure, Distance):
        names = term.coordinates or (term.effect,)
        found = coordinates(old, names), coordinates(new, names)
        return float(phi[0]), partial(residual.structure.covariance_between, phi), found
    raise OptionError(
        f"include= names the residual, and residual={term.text!r} has no correlation that falls with a distance: the"
        " errors of the records tell nothing of those at other places. Leave 'residual' out."
    )


def power(r: float, distance: Array) -> Array:
    """r^d.

    Raises
    ------
    DataError
        If r < 0 and d is no whole number.
    """
    if r < 0.0 and np.any(np.abs(distance - np.round(distance)) > 1e-9):
        raise DataError("a negative correlation of 'ar1' says nothing of positions between whole steps.")
    return np.asarray(
        np.where(distance == 0.0, 1.0, np.abs(r) ** distance)
        * np.where((r < 0.0) & (np.round(distance) % 2 == 1), -1.0, 1.0)
    )


def field_covariance(field: Field, phi: Array, here: Array, there: Array) -> Array:
    """σ² Π r^|difference| over the dimensions of a field; of ``id`` 1 on the same line, else 0."""
    out, shape = np.full((len(here), len(there)), phi[0]), iter(phi[1:])
    for kind, a, b in zip(field.kinds, here.T, there.T, strict=True):
        distance = np.abs(a[:, None] - b)
        out *= power(next(shape), distance) if kind == "ar1" else distance == 0.0
    return out
