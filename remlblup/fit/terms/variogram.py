"""Sample variograms of residuals, over a field or along a line, beside the variogram of the fitted R.

The semi-variance of two records is ½(ê_i − ê_j)²; its average over all pairs at a displacement is the sample
variogram (Gilmour, Cullis & Verbyla 1997, *J. Agric. Biol. Environ. Stat.* 2:269; for times within subjects
Diggle, Heagerty, Liang & Zeger 2002, section 3.4). The model's is ½(R_ii + R_jj) − R_ij, averaged over the
same pairs. Residuals have less variance than the errors: they lie below by what the effects have taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, ModelError, OptionError
from remlblup.fit.terms.distance_variogram import of_places, places_variogram
from remlblup.fit.terms.field_maps import (
    FieldMap,
    Given,
    Part,
    column,
    field_maps,
    residual_parts,
    units_variance,
    whole,
)
from remlblup.model.frame import numeric_column
from remlblup.model.grouping import factorize, group_keys
from remlblup.model.positions import positions
from remlblup.model.residual_reading import ResidualTerm
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.table import STRUCTURES

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved

FEWEST = 30  # pairs behind an average; a third of the largest number where that is less
CLASSES = 60  # distinct lags kept as they are
BINS = 15  # classes of lags where there are more
LARGEST_GROUP = 4000  # records of one group that are paired; a random sample of more

Covariance = Callable[[Index, Index], Array]


# -- the parts of a fit ----------------------------------------------------------------------


def variogram(
    fit: Solved,
    trial: object = None,
    row: Given | None = None,
    col: Given | None = None,
    x: Given | None = None,
    by: Given | None = None,
    residual: Array | None = None,
) -> pd.DataFrame:
    """The sample variogram of a fit's residuals, with the model's.

    Parameters
    ----------
    fit : Fit or Solved
    trial : one of several fields (or sections of the residual); without, their pairs are pooled
    row, col : columns with positions in a field, for a model without one
    x : column with positions on a line, for a model without times
    by : column: only pairs of records with the same value are taken
    residual : (n,) other residuals to take in place of the fit's, such as those of simulated records

    Returns
    -------
    DataFrame with the displacement (``row`` and ``col``, or ``lag``), pairs, semivariance, model. Displacements
    with fewer than 30 pairs, or a third of the most there are if that is less, are left out. `model` is NaN
    where R says nothing about the displacement.

    Raises
    ------
    ModelError
        If the residual has neither field nor times and no columns are given.
    """
    if x is not None and (row is not None or col is not None):
        raise OptionError("give x= for positions on a line, or row= and col= for a field; not both.")
    if x is not None:
        return lines_variogram(fit, [line_given(fit, x, by)], residual)
    if row is not None or col is not None or any(is_field(p) for p in residual_parts(fit)):
        return field_variogram(fit, field_maps(fit, row, col, by, trial), residual)
    if by is not None:
        raise OptionError("by= goes with x=, or with row= and col=.")
    if all(of_places(part) is not None for part in residual_parts(fit)):
        return places_variogram(fit, trial, residual)
    lines = [line for line in lines_of(fit) if trial is None or line.label == str(trial)]
    if not lines:
        raise OptionError(f"trial={trial!r} is not a section of residual='{fit.specification.residual_text}'.")
    return lines_variogram(fit, lines, residual)


def is_field(part: Part) -> bool:
    """Whether it is a field of two dimensions."""
    return isinstance(part.structure, Field) and len(part.structure.extent) == 2


@dataclass(frozen=True)
class Line:
    """Records on a line, in independent groups.

    Attributes
    ----------
    label : the section
    name : name of the position
    x, group : (m,) positions and groups of the records
    records : (m,) the records among the n
    covariance : R_ij of pairs i ≠ j of the m, without the units; None where unknown
    variance : (m,) R_ii
    """

    label: str
    name: str
    x: Array
    group: Index
    records: Index
    covariance: Covariance | None
    variance: Array


def lines_of(fit: Solved) -> list[Line]:
    """Times within subjects, positions of a field of one dimension: a line for each section of the residual."""
    spec = fit.specification
    if spec.records is None:
        raise no_positions(fit)
    term = spec.residual_term
    return [line_of(fit, term, part, spec.records.frame.iloc[part.records]) for part in residual_parts(fit)]


def line_of(fit: Solved, term: ResidualTerm, part: Part, frame: pd.DataFrame) -> Line:
    """The positions of one section and R over them."""
    structure, phi, n = part.structure, part.phi, len(part.records)
    if isinstance(structure, Field):
        x = np.argsort(structure.place)[:n].astype(float)
        return Line(
            part.label, structure.labels[0], x, np.zeros(n, np.int64), part.records, power(phi, x), np.full(n, phi[0])
        )
    if not isinstance(structure, Exponential | Blocks):
        raise no_positions(fit)
    try:
        x = positions(frame[term.effect], term.effect, STRUCTURES[term.keyword].in_steps)
    except DataError:
        raise no_positions(fit) from None
    group = factorize(group_keys(term.unit, frame))[0]
    if isinstance(structure, Exponential):
        return Line(part.label, term.effect, x, group, part.records, power(phi, structure.x), np.full(n, phi[0]))
    sigma, effect = structure.structure.covariance(phi), structure.effect
    return Line(
        part.label,
        term.effect,
        x,
        group,
        part.records,
        lambda i, j: sigma[effect[i], effect[j]],
        np.diag(sigma)[effect],
    )


def power(phi: Array, x: Array) -> Covariance:
    """σ² r^|x_i − x_j|."""
    return lambda i, j: phi[0] * phi[1] ** np.abs(x[i] - x[j])


def line_given(fit: Solved, x: Given, by: Given | None) -> Line:
    """Records at the positions x, paired within the levels of `by`."""
    values = column(fit, x, "x")
    frame = values.to_frame()
    group = np.zeros(fit.n_obs, np.int64) if by is None else factorize(column(fit, by, "by"))[0]
    place, variance = numeric_column(frame, str(values.name), "position x="), independent_variance(fit)
    unknown = variance is None
    return Line(
        "",
        str(values.name),
        place,
        group,
        np.arange(fit.n_obs),
        None if unknown else lambda i, j: np.zeros(len(i)),
        np.full(fit.n_obs, np.nan) if variance is None else variance,
    )


def independent_variance(fit: Solved) -> Array | None:
    """R_ii of each record where R is diagonal, else None."""
    spec = fit.specification
    if not spec.residual.pattern.is_diagonal:
        return None
    return spec.residual.multiply(fit.theta[spec.parameters.slices[len(spec.random)]], np.ones(spec.n))


def no_positions(fit: Solved) -> ModelError:
    """What to do where the residual has no positions."""
    return ModelError(
        f"residual='{fit.specification.residual_text}' has neither rows and columns nor times: give the columns with"
        " the positions, as in row='row', col='col', or x='time' (with by='subject' for pairs within subjects)."
    )


# -- over a field ----------------------------------------------------------------------------


def field_variogram(fit: Solved, maps: Sequence[FieldMap], residual: Array | None = None) -> pd.DataFrame:
    """row, col, pairs, semivariance, model; the pairs of several fields pooled."""
    residual, independent = whole(fit) if residual is None else residual, independent_variance(fit)
    nugget = units_variance(fit)
    extent = tuple(max(m.extent[k] for m in maps) for k in (0, 1))
    pairs, total, model = np.zeros(extent), np.zeros(extent), np.zeros(extent)
    for one in maps:
        at = tuple(slice(m) for m in one.extent)
        counts, sums = grid_pairs(one.grid(residual))
        pairs[at] += counts
        total[at] += sums
        if one.part is not None:
            model[at] += counts * (field_semivariance(one.part) + nugget)
        elif independent is not None:
            model[at] += mean_of_ends(one.grid(independent)) + counts * nugget
        else:
            model[at] = np.nan
    row, col = np.nonzero(enough(pairs))
    n = pairs[row, col]
    return pd.DataFrame(
        {
            "row": row,
            "col": col,
            "pairs": n.astype(np.int64),
            "semivariance": total[row, col] / n,
            "model": model[row, col] / n,
        }
    )


def field_semivariance(part: Part) -> Array:
    """σ²(1 − r_1^|row| r_2^|col|) at every displacement of a `Field`, (rows, columns)."""
    field = part.structure
    assert isinstance(field, Field)
    shape = iter(part.phi[1:])
    falls = [
        next(shape) ** np.arange(m) if kind == "ar1" else np.eye(1, m)[0]
        for kind, m in zip(field.kinds, field.extent, strict=True)
    ]
    return part.phi[0] * (1.0 - np.outer(falls[0], falls[1] if len(falls) > 1 else np.ones(1)))


def grid_pairs(grid: Array) -> tuple[Array, Array]:
    """Numbers of pairs of cells at each displacement (|rows|, |columns|), and the sums of their ½(z_i − z_j)².

    Through Fourier transforms: Σ m_i m_j (z_i − z_j)² = 2 (m z² ⋆ m) − 2 (m z ⋆ m z), m the cells with a value.
    """
    present = ~np.isnan(grid)
    m = present.astype(float)
    z = np.where(present, grid - np.mean(grid[present]), 0.0)
    counts = np.rint(displaced(m, m))
    sums = 0.5 * (displaced(z * z, m) + displaced(m, z * z)) - displaced(z, z)
    return counts, np.where(counts > 0, np.maximum(sums, 0.0), 0.0)


def mean_of_ends(grid: Array) -> Array:
    """Σ ½(v_i + v_j) over the pairs of cells at each displacement."""
    m = (~np.isnan(grid)).astype(float)
    v = np.where(m > 0, grid, 0.0)
    return 0.5 * (displaced(v, m) + displaced(m, v))


def displaced(a: Array, b: Array) -> Array:
    """Σ a_i b_j over pairs (i, j) with j below i or right of it in one row, by (|rows|, |columns|); 0 at (0, 0)."""
    R, C = a.shape
    shape = (2 * R, 2 * C)
    full = np.fft.irfft2(np.conj(np.fft.rfft2(a, shape)) * np.fft.rfft2(b, shape), shape)
    out = full[:R, :C].copy()
    out[1:, 1:] += full[1:R, -1:-C:-1]  # columns to the left
    out[0, 0] = 0.0
    return np.asarray(out)


# -- along a line ----------------------------------------------------------------------------


def lines_variogram(fit: Solved, lines: Sequence[Line], residual: Array | None = None) -> pd.DataFrame:
    """lag, pairs, semivariance, model; the pairs of several sections pooled."""
    residual, nugget = whole(fit) if residual is None else residual, units_variance(fit)
    edges = lag_classes(lines)
    sums = np.zeros((4, len(edges) - 1))  # pairs, Σ lag, Σ semi-variance, Σ model
    for line in lines:
        e = residual[line.records]
        for i, j in pairs_within(line.group):
            lag = np.abs(line.x[i] - line.x[j])
            place = np.searchsorted(edges, lag, side="right") - 1
            known = (place >= 0) & (place < len(edges) - 1)
            i, j, lag, place = i[known], j[known], lag[known], place[known]
            model = nugget + 0.5 * (line.variance[i] + line.variance[j])
            if line.covariance is not None:
                model = model - line.covariance(i, j)
            columns = (np.ones(len(i)), lag, 0.5 * (e[i] - e[j]) ** 2, model)
            sums += [np.bincount(place, values, sums.shape[1]) for values in columns]
    kept = enough(sums[0])
    n = sums[0][kept]
    table = pd.DataFrame(
        {
            "lag": sums[1][kept] / n,
            "pairs": n.astype(np.int64),
            "semivariance": sums[2][kept] / n,
            "model": sums[3][kept] / n,
        }
    )
    table.attrs["name"] = lines[0].name
    return table


def lag_classes(lines: Sequence[Line]) -> Array:
    """Edges of the classes of lags: about each distinct lag if there are few, else of equal width."""
    positions = np.unique(np.concatenate([line.x for line in lines]))
    reach = max(float(np.max(widths(line.x, line.group))) for line in lines)
    if not reach > 0.0:
        raise ModelError("no two records to be paired differ in position: there is no lag.")
    if len(positions) <= 8 * CLASSES:
        lags = np.unique(np.abs(positions[:, None] - positions))
        lags = lags[np.append(True, np.diff(lags) > 1e-9 * reach)]
        lags = lags[lags <= reach * (1.0 + 1e-9)]
        if len(lags) <= CLASSES + 1:
            middle = 0.5 * (lags[:-1] + lags[1:])
            return np.concatenate([[-1e-9 * reach], middle, [lags[-1] * (1.0 + 1e-9)]])
    edges = np.linspace(0.0, reach, BINS + 1)
    edges[-1] *= 1.0 + 1e-9
    return edges


def widths(x: Array, group: Index) -> Array:
    """Largest less smallest x of each group."""
    top, bottom = np.full(group.max() + 1, -np.inf), np.full(group.max() + 1, np.inf)
    np.maximum.at(top, group, x)
    np.minimum.at(bottom, group, x)
    return np.where(top >= bottom, top - bottom, 0.0)


def pairs_within(group: Index) -> Iterator[tuple[Index, Index]]:
    """All pairs (i, j) of records of the same group, in batches; of a very large group those of a random sample."""
    order = np.argsort(group, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(group)))
    large = np.flatnonzero(np.diff(starts) > LARGEST_GROUP)
    if len(large):
        keep = np.ones(len(group), bool)
        rng = np.random.default_rng(0)
        for k in large:
            members = np.arange(starts[k], starts[k + 1])
            keep[rng.choice(members, len(members) - LARGEST_GROUP, replace=False)] = False
        order = order[keep]
    sorted_group = group[order]
    for step in range(1, len(order)):
        i = np.flatnonzero(sorted_group[:-step] == sorted_group[step:])
        if not len(i):
            return
        yield order[i], order[i + step]


def enough(pairs: Array) -> np.ndarray:
    """Which displacements have enough pairs for an average."""
    return pairs >= max(1.0, min(FEWEST, np.max(pairs) / 3.0))
