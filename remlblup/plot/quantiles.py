"""Quantile plots with simultaneous bands, extremes by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.diagnostics.envelope import Envelope
from remlblup.plot.scatter import apart, label_of
from remlblup.plot.style import BLUE, GREY, INK, PALE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Names at each end, of what lies outside first; of more points than this none but those.
NAMED, MANY = 4, 5000


def draw_quantiles(ax: Axes, values: Array, names: Sequence[object], band: Envelope) -> int:
    """Ordered values against normal quantiles, with their band; returns how many lie outside."""
    from scipy import stats

    order = np.argsort(values, kind="stable")
    n, y = len(values), values[order]
    x = stats.norm.ppf((np.arange(1, n + 1) - 0.5) / n)
    outside = (y < band.lower) | (y > band.upper)
    ax.fill_between(x, band.lower, band.upper, color=PALE, lw=0, zorder=1,
                    label=f"{100 * band.level:.0f} % of {band.draws} draws from the fit lie within")  # fmt: skip
    ax.plot(x[[0, -1]], x[[0, -1]], color=GREY, lw=1, zorder=2, label="normal with variance 1")
    size = 4.5 if n <= 300 else 2.5
    ax.plot(x[~outside], y[~outside], ls="", marker="o", ms=size, color=BLUE, alpha=0.8, zorder=3, rasterized=n > MANY)
    if outside.any():
        ax.plot(x[outside], y[outside], ls="", marker="D", ms=size, color=VERMILION, zorder=4,
                label=f"{int(outside.sum())} outside")  # fmt: skip
    text = [label_of(names[k]) for k in order]
    ax.margins(x=0.08)
    for low, end in ((True, np.arange(min(n, NAMED))[::-1]), (False, np.arange(n)[-NAMED:])):
        # Below the line of points at its lower end, above it at the upper one.
        told = [k for k in end if outside[k] or (n <= MANY and (k < 2 or k >= n - 2))]
        for k, shift in zip(told, apart(ax, x[told], y[told], up=not low), strict=True):
            ax.annotate(text[k], (x[k], y[k]), (7 if low else -7, shift), textcoords="offset points",
                        ha="left" if low else "right", va="center", fontsize=7, color=INK)  # fmt: skip
    ax.set_xlabel("normal quantile")
    ax.legend(fontsize=8, labelcolor=INK, loc="upper left", framealpha=0.85, edgecolor="none")
    return int(outside.sum())
