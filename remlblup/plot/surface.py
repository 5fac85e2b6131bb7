"""ℓ over two parameters, with the path that the search took."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.fit.errors.intervals import bounds_of
from remlblup.plot.style import BLUE, GREY, INK, VERMILION, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

# Regions of both parameters together whose edges are drawn.
SHARES = (0.5, 0.8, 0.95, 0.99)
# Falls of ℓ beyond them that have a contour.
FURTHER = (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)
SHADES = ("#7FB2DB", "#A9CBE7", "#CBDFF1", "#E6F0F8")


def plot_surface(fit: Estimates, table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Contours of 2(ℓ̂ − ℓ) at the quantiles of χ² on 2 degrees of freedom, the estimate, the iterations, the bounds."""
    a, b = table.columns[:2]
    ax = axes(ax, (5.6, 4.4))
    draw_map(fit, table, ax)
    path = fit.history[[a, b]].to_numpy(float)
    ax.plot(*path.T, "-o", color=BLUE, markersize=3, linewidth=1.0, label=f"{len(path) - 1} iterations")
    ax.plot(*path[-1], "o", color=VERMILION, markersize=6, label="estimate")
    ax.set_xlabel(shorten(str(a), 40))
    ax.set_ylabel(shorten(str(b), 40))
    rest = "the others at their best" if table.attrs.get("others") == "best" else "the others at their estimates"
    title(ax, "Log-likelihood", rest)
    ax.legend(loc="best", fontsize=7, frameon=False)
    return ax


def draw_map(fit: Estimates, table: pd.DataFrame, ax: Axes) -> None:
    """The regions of 50 to 99 %, contours below them where there is more to see, and the bounds."""
    from scipy import stats

    a, b = table.columns[:2]
    grid = table.pivot(index=b, columns=a, values="below")
    x, y, fall = grid.columns.to_numpy(float), grid.index.to_numpy(float), 2.0 * grid.to_numpy(float)
    levels = stats.chi2.ppf(SHARES, 2)
    filled = np.ma.masked_invalid(fall)
    ax.contourf(x, y, filled, levels=[min(0.0, float(filled.min())) - 1e-9, *levels], colors=SHADES)
    lines = ax.contour(x, y, filled, levels=levels, colors=INK, linewidths=0.7)
    ax.clabel(
        lines, fmt={level: f"{100 * share:.0f} %" for level, share in zip(levels, SHARES, strict=True)}, fontsize=7
    )
    further = [2.0 * step for step in FURTHER if step < float(filled.max()) / 2.0]
    if further:
        rest = ax.contour(x, y, filled, levels=further, colors=GREY, linewidths=0.5)
        ax.clabel(rest, fmt={level: f"ℓ − {level / 2:,.0f}" for level in further}, levels=further[:3], fontsize=6)
    beyond(fit, ax, (a, b), (x, y), ~np.isfinite(fall))
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.margins(0.02)


def beyond(
    fit: Estimates, ax: Axes, names: tuple[str, str], lines: tuple[np.ndarray, np.ndarray], none: np.ndarray
) -> None:
    """Bounds that are in sight, and where V is not positive definite."""
    parameters = fit.specification.parameters
    low, high = bounds_of(parameters, fit.options.constrain)
    for name, values, draw in zip(names, lines, (ax.axvline, ax.axhline), strict=True):
        k = parameters.columns.index(name)
        for bound in (low[k], high[k]):
            if values[0] <= bound <= values[-1]:
                draw(bound, color=INK, linewidth=2.0)
    if none.any():
        ax.contourf(*lines, none.astype(float), levels=[0.5, 1.5], colors=[GREY], alpha=0.35)
