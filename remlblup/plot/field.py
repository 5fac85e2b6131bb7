"""Maps of a field: the data, the spatial residual and the independent one, plot by plot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import OptionError, choose
from remlblup.fit.terms.field_maps import FieldMap, Given, correlated, field_maps, independent, whole
from remlblup.plot.style import GREY, INK, panels, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from remlblup.fit.solved import Solved

COLOURS = "RdBu_r"
MAPS = ("all", "data", "residual", "spatial", "independent")
TRIALS = 8  # fields drawn at once
SLIMMEST = 5.0  # a field is drawn at most so many times longer than wide
TICKS = 12  # named positions along a side at most
LONGEST = 3.6, 4.6  # inches: width and height of a map at most
BAR = 3.6  # inches: length of the colour bar at most
NAMES = {
    "data": "Data",
    "residual": "Residual",
    "spatial": "Spatial residual",
    "independent": "Independent residual",
}


def plot_field(
    fit: Solved,
    what: str = "all",
    trial: object = None,
    axes: Axes | Iterable[Axes] | None = None,
    *,
    row: Given | None = None,
    col: Given | None = None,
    by: Given | None = None,
) -> Axes | np.ndarray:
    """Heat maps over rows and columns, in one colour scale that is symmetric about zero.

    The data are drawn as deviations from the mean of the field; the spatial residual is ê of the structure in
    ``residual=``, the independent one the BLUPs of ``+ units``; the residual is their sum. Cells without a record
    are hatched. Cells are square, but for fields more than five times as long as wide. The first row is on top.

    Parameters
    ----------
    fit : Fit or Solved
    what : {"all", "data", "residual", "spatial", "independent"}
        "all": the data beside the parts of the residual that the model has.
    trial : str, optional
        One of several fields; the maps of all without.
    axes : Axes or several, optional
        Where to draw, as many as there are maps, field by field; a new figure without.
    row, col : column or (n,) array, optional
        Positions of the records, for a model without a field; its residuals are mapped.
    by : column or (n,) array, optional
        With `row` and `col`: what tells several fields apart.

    Returns
    -------
    matplotlib Axes, or an array of them where there are several maps

    Raises
    ------
    ModelError
        If the model has no field and no columns are given.
    OptionError
        If `what` or `trial` is not there to be drawn.
    """
    maps = field_maps(fit, row, col, by, trial)
    kinds = kinds_of(fit, what, spatial=row is None)
    if len(maps) > TRIALS:
        raise OptionError(f"there are {len(maps)} fields: choose one, trial={maps[0].label!r}.")
    values = {kind: values_of(fit, kind, maps) for kind in kinds}
    grids = [(one, kind, one.grid(values[kind])) for one in maps for kind in kinds]
    drawn = laid_out(axes, maps, len(kinds))
    limit = max((float(np.nanmax(np.abs(grid))) for *_, grid in grids), default=0.0) or 1.0
    for ax, (one, kind, grid) in zip(drawn, grids, strict=True):
        image = draw(ax, one, grid, limit)
        title(ax, NAMES[kind], one.label or (describe(one) if ax is drawn[0] else " "))
        for note in ax.texts:  # a long line does not push the maps apart
            note.set_in_layout(False)
    figure = drawn[0].figure
    shrink = min(0.9, BAR / figure.get_size_inches()[1])
    bar = figure.colorbar(image, ax=list(drawn), aspect=30 * shrink, pad=0.02, shrink=shrink, fraction=0.05)
    bar.set_label(shorten(fit.specification.response, 30), fontsize=9, color=INK)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    return drawn if what == "all" or len(drawn) > 1 else drawn[0]


def kinds_of(fit: Solved, what: str, spatial: bool = True) -> tuple[str, ...]:
    """The maps to draw."""
    choose("what", what, MAPS)
    has_units = independent(fit) is not None
    there = ["data"] + ["spatial"] * spatial + ["independent"] * has_units + ["residual"] * (not spatial)
    if what == "all":
        return tuple(there)
    if what == "spatial" and not spatial:
        raise OptionError("what='spatial' is the residual of a field; of this model draw what='residual'.")
    if what == "independent" and not has_units:
        raise OptionError(
            f"what='independent': residual='{fit.specification.residual_text}' has no independent part; it is added by"
            " '+ units', as in residual='ar1(row):ar1(col) + units'."
        )
    return (what,)


def values_of(fit: Solved, kind: str, maps: Sequence[FieldMap]) -> Array:
    """What is drawn of each record, (n,)."""
    if kind == "data":
        values = np.array(fit.specification.observed, dtype=float)
        for one in maps:
            values[one.records] -= values[one.records].mean()
        return values
    if kind == "independent":
        units = independent(fit)
        assert units is not None
        return units
    return correlated(fit) if kind == "spatial" else whole(fit)


# -- drawing ---------------------------------------------------------------------------------


def draw(ax: Axes, one: FieldMap, grid: Array, limit: float) -> AxesImage:
    """One map; cells without a record show the hatched ground."""
    ax.patch.set(facecolor="white", hatch="//////", edgecolor="#BBBBBB", linewidth=0)
    line = not one.names[1]
    across, down = (0, 1) if line else (1, 0)
    shown = grid.T if line else grid
    image = ax.imshow(shown, cmap=COLOURS, vmin=-limit, vmax=limit, interpolation="nearest", aspect="auto")
    if not line:
        ax.set_aspect(stretch(one.extent))
    ax.spines[:].set_visible(False)
    ax.set_xlabel(shorten(one.names[across], 30))
    ax.set_ylabel(shorten(one.names[down], 30))
    narrow = not line and 2 * one.extent[1] < one.extent[0]
    ax.set_xticks(*ticks(one.ticks[across], TICKS // 3 if narrow else TICKS))
    ax.set_yticks(*(([], []) if line else ticks(one.ticks[down], TICKS)))
    ax.tick_params(length=2, labelsize=8)
    return image


def stretch(extent: tuple[int, int]) -> float:
    """Height of a cell over its width: 1, but for fields too long to be seen whole."""
    ratio = extent[0] / extent[1]
    return float(np.clip(ratio, 1.0 / SLIMMEST, SLIMMEST)) / ratio


def ticks(names: Sequence[str], most: int) -> tuple[list[int], list[str]]:
    """Places and names of some positions: round numbers where there are many."""
    if len(names) <= most:
        places = list(range(len(names)))
    else:
        steps = (m * 10**k for k in range(9) for m in (1, 2, 5))
        step = next(s for s in steps if len(names) / s <= most)
        numbers = [int(n) if n.lstrip("-").isdigit() else k for k, n in enumerate(names)]
        places = [k for k, number in enumerate(numbers) if number % step == 0]
    return places, [shorten(names[k], 10) for k in places]


def laid_out(given: Axes | Iterable[Axes] | None, maps: Sequence[FieldMap], kinds: int) -> np.ndarray:
    """Axes for the maps of the kinds, field by field; several tall fields stand side by side, wide ones stacked."""
    rows, columns = max(m.extent[0] for m in maps), max(m.extent[1] for m in maps)
    line = not maps[0].names[1]
    tall = stretch((rows, columns)) * rows
    scale = min(LONGEST[0] / columns, LONGEST[1] / tall) * (0.6 if len(maps) > 2 else 1.0)
    width, height = (3.0, 2.0) if line else (max(1.5, columns * scale), max(1.3, tall * scale))
    across = rows > columns and not line and len(maps) > 1
    shape = (kinds, len(maps)) if across else (len(maps), kinds)
    size = (width + 0.8) * shape[1] + 1.2, (height + 1.1) * shape[0]
    drawn = panels(given, shape, size, layout="constrained" if line else "compressed")
    return drawn.reshape(shape).T.ravel() if across and given is None else drawn


def describe(one: FieldMap) -> str:
    """Extent of a field and the number of its cells without a record."""
    empty = int(np.prod(one.extent)) - len(one.records)
    size = " × ".join(str(m) for m in one.extent if m > 1)
    return f"{size} plots" + (f", {empty:,} without a record" if empty else "")
