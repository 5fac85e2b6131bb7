"""Which records or levels the estimates hang on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.diagnostics.influence import Influence
from remlblup.errors import ModelError
from remlblup.plot.histories import LINES
from remlblup.plot.scatter import label_of
from remlblup.plot.style import BLUE, GREY, INK, panels, shorten, shorten_label, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Cases drawn, and parameters told apart among them.
CASES, PARAMETERS = 25, 7
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def plot_influence(influence: Influence, axes: Any = None) -> np.ndarray:
    """Cook's distance of the most influential cases, and beside it how the variance parameters move without them.

    Parameters
    ----------
    influence : Influence
    axes : two Axes, one of an `Influence` without components
    """
    order = influence.table["cooks_distance"].dropna().sort_values(ascending=False, kind="stable")
    if not len(order):
        raise ModelError(
            "there is no Cook's distance to draw: the model has no fixed effects, or none that can be estimated without"
            " a case."
        )
    shown = order.index[:CASES][::-1]
    several = bool(influence.components.shape[1])
    height = max(2.6, 1.5 + 0.21 * len(shown))
    drawn = panels(axes, (1, 1 + several), (11.4 if several else 5.6, height))
    _cook(drawn[0], influence, shown, len(order))
    if several:
        _components(drawn[1], influence, shown)
    return drawn


def _places(ax: Axes, influence: Influence, shown: Any) -> np.ndarray:
    """A line for each case, with its name and how many records it has."""
    place = np.arange(len(shown))
    counts = influence.table["records"]
    of_levels = influence.what != "record"
    names = [f"{label_of(name, 22)} ({counts[name]})" if of_levels else label_of(name, 22) for name in shown]
    ax.set_yticks(place, names, fontsize=8)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.7, len(shown) - 0.3)
    return place


def _cook(ax: Axes, influence: Influence, shown: Any, count: int) -> None:
    place = _places(ax, influence, shown)
    value = influence.table["cooks_distance"][shown].to_numpy()
    ax.hlines(place, 0.0, value, color=BLUE, lw=1.6)
    ax.plot(value, place, ls="", marker="o", ms=5, color=BLUE)
    ax.set_xlim(left=0.0)
    ax.set_xlabel("Cook's distance of the fixed effects")
    kind = "records" if influence.what == "record" else f"levels of {shorten(influence.what, 24)}"
    title(ax, "Influence on the fixed effects", f"the first {len(shown)} of {count:,} {kind}"
          if count > len(shown) else f"{count:,} {kind}")  # fmt: skip


def _components(ax: Axes, influence: Influence, shown: Any) -> None:
    place = _places(ax, influence, shown)
    ax.set_yticklabels([])
    change = influence.components.loc[shown].to_numpy() / influence.component_errors.to_numpy()
    furthest = np.argsort(-np.nanmax(np.abs(np.nan_to_num(change)), axis=0), kind="stable")[:PARAMETERS]
    for rank, k in enumerate(furthest):
        colour, marker = LINES[rank % len(LINES)][0], MARKERS[rank % len(MARKERS)]
        name = shorten_label(influence.components.columns[k], 36)
        ax.plot(change[:, k], place, ls="", marker=marker, ms=4.5, color=colour, alpha=0.85, label=name)
    ax.axvline(0.0, color=GREY, lw=1, zorder=1)
    ax.set_xlabel("change without it, in standard errors")
    ax.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.01, 1.0),
              borderaxespad=0)  # fmt: skip
    title(ax, "and on the components", "by one step of Newton")
