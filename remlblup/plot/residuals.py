"""Residuals against fitted values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.plot.style import BLUE, GREY, VERMILION, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from remlblup.fit.solved import Solved

POINTS = 3000  # more records than this are counted in hexagons
SMOOTHED = 20  # fewer records than this get no smooth
SPAN = 0.5


def plot_residuals(fit: Solved, ax: Axes | None = None) -> Axes:
    """Residuals ê = y − Xβ̂ − Zû against fitted values Xβ̂ + Zû, with a line at zero and a local linear smooth.

    With weights the residuals are multiplied by √w, so that their spread should be even. Above 3,000
    records their density is shown in hexagons. BLUPs are shrunken, so part of every u stays in ê: where
    there are few records per level, a rising smooth is what a correct model gives.

    Parameters
    ----------
    fit : Fit or Solved
    ax : matplotlib Axes, optional
        Where to draw; a new figure without.

    Returns
    -------
    matplotlib Axes
    """
    ax = axes(ax)
    spec = fit.specification
    weighted = bool(np.ptp(spec.weights) > 0.0)
    x = fit.fitted.to_numpy()
    y = fit.residuals.to_numpy() * (np.sqrt(spec.weights) if weighted else 1.0)
    n = len(x)
    if n > POINTS:
        counts = ax.hexbin(x, y, gridsize=60, mincnt=1, bins="log", cmap=_blues(), linewidths=0, rasterized=True)
        bar = ax.figure.colorbar(counts, ax=ax, pad=0.02, aspect=30)
        bar.set_label("records", fontsize=9)
        bar.outline.set_visible(False)
    else:
        size = 18 if n <= 300 else 9
        ax.scatter(x, y, s=size, color=BLUE, alpha=0.7 if n <= 300 else 0.45, linewidths=0, rasterized=n > 1000)
    ax.axhline(0.0, color=GREY, lw=1, zorder=1.5)
    if n >= SMOOTHED and np.ptp(x) > 1e-9 * np.ptp(y):
        ax.plot(*smooth(x, y), color=VERMILION, lw=1.8, label="local linear smooth")
        ax.legend(frameon=False, fontsize=9)
    response = shorten(spec.response, 30)
    ax.set_xlabel(f"fitted value ({response})")
    ax.set_ylabel(f"residual × √weight ({response})" if weighted else f"residual ({response})")
    title(ax, "Residuals against fitted values", f"{n:,} records")
    return ax


def _blues() -> Colormap:
    """White to blue without the palest shades, which vanish on paper."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    return ListedColormap(mpl.colormaps["Blues"](np.linspace(0.25, 1.0, 256)))


def smooth(x: np.ndarray, y: np.ndarray, points: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """Local linear fit with tricube weights over the nearest half of the data, at quantiles of x.

    Returns
    -------
    (points,) places and (points,) values
    """
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    k = max(10, int(np.ceil(SPAN * len(x))))
    grid = np.unique(np.quantile(x, np.linspace(0.0, 1.0, points)))
    values = np.empty(len(grid))
    for j, centre in enumerate(grid):
        first = int(np.clip(np.searchsorted(x, centre) - k // 2, 0, len(x) - k))
        near, there = x[first : first + k] - centre, y[first : first + k]
        reach = np.abs(near).max()
        w = (1.0 - np.abs(near / reach) ** 3) ** 3 + 1e-12 if reach > 0.0 else np.ones(k)
        mean = np.average(near, weights=w)
        spread = np.average((near - mean) ** 2, weights=w)
        slope = np.average((near - mean) * there, weights=w) / spread if spread > 0.0 else 0.0
        values[j] = np.average(there, weights=w) - slope * mean
    return grid, values
