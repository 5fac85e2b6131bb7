"""A direction of the parameter space: ℓ along it, and what moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.diagnostics.direction import Direction
from remlblup.plot.style import BLUE, GREY, INK, VERMILION, panels, shorten_label, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Parameters with a bar: those that move most.
NAMED = 10


def plot_direction(direction: Direction, axes: Any = None) -> np.ndarray:
    """ℓ less its value at the estimates along the direction, and beside it the components."""
    bars = min(len(direction.scaled), NAMED)
    drawn = panels(axes, (1, 2), (9.6, max(4.0, 1.5 + 0.36 * bars)))
    _loglik(drawn[0], direction)
    _components(drawn[1], direction)
    return drawn


def _loglik(ax: Axes, direction: Direction) -> None:
    table = direction.table
    ax.plot(table["step"], -table["below"], color=BLUE, lw=2.0, label="log-likelihood")
    if not direction.flat:
        ax.plot(
            table["step"], -0.5 * table["step"] ** 2, color=GREY, ls="--", lw=1.2, label="what the information expects"
        )
    ax.axhline(-1.92, color=VERMILION, ls=":", lw=1.2, label="−1.92: end of a 95 % interval")
    ax.axvline(0.0, color=GREY, lw=1, zorder=1)
    low = min(float((-table["below"]).min()), -0.5 * float((table["step"] ** 2).max()) if not direction.flat else 0.0)
    ax.set_ylim(1.08 * min(low, -2.4), 0.3)
    ax.set_xlabel("step" if direction.flat else "step, in standard errors")
    ax.set_ylabel("log-likelihood less its value at the estimates")
    ax.legend(frameon=False, fontsize=8, labelcolor=INK, loc="lower center")
    if direction.flat:
        title(ax, "The likelihood is flat", f"it changes by {table['below'].abs().max():.1g} at most", VERMILION)
    else:
        title(ax, "The direction with least information", f"ℓ falls by {table['below'].max():.3g} at most")


def _components(ax: Axes, direction: Direction) -> None:
    """Bars of what a step changes, with where each component comes from and goes to."""
    table = direction.table
    order = direction.scaled.abs().sort_values().index[-NAMED:]
    scaled = direction.scaled[order].to_numpy()
    place = np.arange(len(order))
    colours = [BLUE if value > 0.0 else VERMILION for value in scaled]
    bars = ax.barh(place, scaled, color=colours, height=0.55, zorder=2)
    for bar, value in zip(bars, scaled, strict=True):
        bar.set_hatch("" if value > 0.0 else "///")
        bar.set_edgecolor("white")
    ax.set_yticks(place, [shorten_label(name, 32) for name in order], fontsize=8)
    for y, name, end in zip(place, order, scaled, strict=True):
        values = table[name].to_numpy(dtype=float)
        side, away = ("left", 4) if end > 0.0 else ("right", -4)
        text = f"{values[0]:,.4g} → {values[-1]:,.4g}"
        ax.annotate(text, (end, y), (away, 0), textcoords="offset points", va="center", ha=side, fontsize=8, color=INK)
    ax.axvline(0.0, color=GREY, lw=1, zorder=3)
    ax.set_ylim(-0.6, len(order) - 0.2)
    low, high = min(0.0, float(scaled.min())), max(0.0, float(scaled.max()))
    room = 0.45 * (high - low)  # for the numbers at the ends of the bars
    ax.set_xlim(low - room if low < 0.0 else 0.0, high + room if high > 0.0 else 0.0)
    ax.set_xlabel("change per step, in its standard error")
    left_out = len(direction.scaled) - len(order)
    below = "none of these is told from the others" if direction.flat and len(order) > 1 else ""
    title(ax, "What moves together", f"{left_out} more move less" if left_out else below)
