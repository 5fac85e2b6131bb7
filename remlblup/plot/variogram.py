"""Sample variograms of residuals with the variogram of the fitted R."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.diagnostics.envelope import envelope, how_many, residual_draws
from remlblup.errors import OptionError, check_switch, choose
from remlblup.fit.terms.field_maps import Given
from remlblup.fit.terms.variogram import variogram
from remlblup.plot.style import BLUE, GREY, INK, PALE, VERMILION, panels, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.solved import Solved

KINDS = ("profile", "surface")


def plot_variogram(
    fit: Solved,
    kind: str | None = None,
    trial: object = None,
    axes: Axes | Iterable[Axes] | None = None,
    *,
    row: Given | None = None,
    col: Given | None = None,
    x: Given | None = None,
    by: Given | None = None,
    bands: bool = False,
    draws: int = 199,
    seed: int = 0,
) -> Axes | np.ndarray:
    """Average ½(ê_i − ê_j)² of pairs of residuals against their displacement, and what the model says of it.

    For a field two profiles, along rows and along columns, or the surface over both displacements (Gilmour,
    Cullis & Verbyla 1997, *J. Agric. Biol. Environ. Stat.* 2:269); for times within subjects, places, or positions
    `x`, one curve against the lag. Points are larger the more pairs they average; displacements with fewer than 30
    pairs, or a third of the most there are, are left out. With ``+ units`` the residual has the independent
    part in it. Residuals vary less than errors, so points lie somewhat below a correct model's line: `bands` show
    where they lie.

    Parameters
    ----------
    fit : Fit or Solved
    kind : {"profile", "surface"}, optional
        For a field; "profile" without.
    trial : str, optional
        One of several fields; their pairs are pooled without.
    axes : Axes or two of them, optional
        Two for a profile, one 3-D Axes for a surface, else one; a new figure without.
    row, col, x, by : column or (n,) array, optional
        Positions for a model without field or times; `by`: pairs are made within its levels only.
    bands : bool
        Whether to draw the band that the whole variogram lies in for 95 % of the records drawn from the fitted model
        (the variances are not estimated again); not for a surface.
    draws : number of them
    seed : of the draws

    Returns
    -------
    matplotlib Axes, or an array of two

    Raises
    ------
    ModelError
        If the model has neither field nor times and no positions are given.
    """
    if kind is not None:
        choose("kind", kind, KINDS)
    check_switch("bands", bands)
    if bands and kind == "surface":
        raise OptionError("bands=True is for profiles: a surface has no room for them.")
    table = variogram(fit, trial, row, col, x, by)
    if bands:
        table = table.assign(
            **banded(fit, partial(variogram, fit, trial, row, col, x, by), how_many(draws, fit.n_obs), seed)
        )
    response = shorten(fit.specification.response, 30)
    if "lag" in table:
        if kind == "surface":
            raise OptionError("kind='surface' is for a field; this variogram is over one lag.")
        ax = panels(axes, (1, 1), (6.4, 4.2))[0]
        profile(ax, table["lag"], table)
        label(
            ax,
            f"{'distance' if ', ' in table.attrs['name'] else 'lag'} in {shorten(table.attrs['name'], 30)}",
            response,
        )
        title(ax, "Variogram of residuals", f"{table['pairs'].sum():,} pairs")
        return ax
    names = names_of(fit, row, col)
    if kind == "surface":
        return surface(fit, table, names, axes)
    drawn = panels(axes, (1, 2), (9.6, 4.2))
    for ax, along, across, name in zip(drawn, ("row", "col"), ("col", "row"), names, strict=True):
        part = table[table[across] == 0]
        profile(ax, part[along], part)
        label(ax, f"displacement in {shorten(name, 30)}", response)
        title(ax, f"Variogram along {shorten(name, 20)}", f"{part['pairs'].sum():,} pairs")
    top = max(ax.get_ylim()[1] for ax in drawn)
    for ax in drawn:
        ax.set_ylim(0.0, top)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return drawn


def banded(fit: Solved, made: Callable[..., pd.DataFrame], draws: int, seed: int) -> dict[str, np.ndarray]:
    """The lower and upper end of the band at every displacement."""
    residuals = residual_draws(fit, draws, seed)
    values = [made(residual=e)["semivariance"].to_numpy() for e in residuals.T]
    band = envelope(np.column_stack(values), 0.95)
    return {"lower": np.maximum(band.lower, 0.0), "upper": band.upper}


def names_of(fit: Solved, row: Given | None, col: Given | None) -> tuple[str, str]:
    """Names of the two dimensions."""
    from remlblup.fit.terms.field_maps import column, fields_of

    if row is None or col is None:
        return fields_of(fit)[0].names
    return str(column(fit, row, "row").name), str(column(fit, col, "col").name)


def profile(ax: Axes, lag: pd.Series, table: pd.DataFrame) -> None:
    """Points with areas by their numbers of pairs, and the model's line."""
    size = 12.0 + 70.0 * table["pairs"] / max(1, table["pairs"].max())
    ax.scatter(lag, table["semivariance"], s=size, color=BLUE, linewidths=0, alpha=0.85, zorder=3, label="residuals")
    if "upper" in table:
        ax.fill_between(
            lag, table["lower"], table["upper"], color=PALE, lw=0, zorder=1, label="95 % of draws from the fit"
        )
    if table["model"].notna().any():
        ax.plot(lag, table["model"], color=VERMILION, lw=1.8, label="model", zorder=2)
    if len(table):
        ax.set_ylim(0.0, 1.1 * float(np.nanmax(table.filter(items=["semivariance", "model", "upper"]).to_numpy())))
        ax.set_xlim(0.0, 1.06 * float(lag.max()))
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left" if "upper" in table else "lower right")


def label(ax: Axes, below: str, response: str) -> None:
    ax.set_xlabel(below)
    ax.set_ylabel(f"semi-variance ({response}²)")


def surface(fit: Solved, table: pd.DataFrame, names: tuple[str, str], axes: Any) -> Axes:
    """The sample variogram over both displacements, and the model's as a wire frame."""
    if axes is None:
        import matplotlib.pyplot as plt

        axes = plt.figure(figsize=(7.2, 5.6)).add_subplot(projection="3d")
    if not hasattr(axes, "plot_surface"):
        raise OptionError("kind='surface' needs one 3-D Axes: fig.add_subplot(projection='3d').")
    cells = table.pivot(index="row", columns="col", values=["semivariance", "model"])
    sample, model = (cells[name].to_numpy(copy=True) for name in ("semivariance", "model"))
    if cells.index[0] == 0 and cells["model"].columns[0] == 0:  # no displacement, no difference
        sample[0, 0] = model[0, 0] = 0.0
    X, Y = np.meshgrid(cells["model"].columns.to_numpy(float), cells.index.to_numpy(float))
    axes.plot_surface(X, Y, sample, cmap="Blues", vmin=-0.5 * np.nanmax(sample), edgecolor="white", lw=0.3, alpha=0.9)
    if np.isfinite(model).any():
        axes.plot_wireframe(X, Y, model, color=VERMILION, lw=0.7, rcount=12, ccount=12, label="model")
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")
    axes.set_xlabel(f"displacement in {shorten(names[1], 20)}")
    axes.set_ylabel(f"displacement in {shorten(names[0], 20)}")
    axes.set_zlabel("semi-variance")
    axes.set_xlim(0.0, X.max())
    axes.set_ylim(0.0, Y.max())
    axes.set_zlim(0.0, None)
    axes.set_box_aspect((4, 4, 3), zoom=1.1)
    axes.view_init(elev=22, azim=-125)
    axes.tick_params(color=GREY, labelcolor=INK, labelsize=8)
    axes.set_title("Sample variogram of residuals", loc="left", fontsize=11, fontweight="bold", color=INK)
    return axes
