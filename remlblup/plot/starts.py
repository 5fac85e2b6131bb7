"""Searches from several starts: how far below the highest end each of them is, by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.fit.starts import HIGHER_END, LOWER, NO_END, NO_START, SAME, StartCheck
from remlblup.plot.style import BLUE, GREY, INK, ORANGE, VERMILION, axes, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {HIGHER_END: VERMILION, SAME: BLUE, LOWER: ORANGE, NO_END: GREY, NO_START: GREY}
LABELS = {
    HIGHER_END: "higher than the fit",
    SAME: "at the same maximum",
    LOWER: "at a lower maximum",
    NO_END: "not converged",
}


def plot_starts(check: StartCheck, ax: Axes | None = None) -> Axes:
    """ℓ still missing to the highest end, by iteration, a line per start and a thick one for the fit.

    A search that ends at the highest maximum falls to the rounding error of ℓ, one at a lower maximum stays on the
    level of what it misses.

    Parameters
    ----------
    check : StartCheck
    ax : matplotlib Axes, optional
        Where to draw; a new figure without.

    Returns
    -------
    matplotlib Axes
    """
    ax = axes(ax)
    climbs = [c for c in check.climbs if c.logliks]
    top = max([check.loglik, *(c.loglik for c in climbs)])
    floor = 1e-8 * (1.0 + abs(top))

    def missing(logliks: tuple[float, ...]) -> np.ndarray:
        return np.maximum(top - np.array(logliks), floor)

    ax.plot(missing(check.path), color=INK, lw=2.6, alpha=0.8, label="the fit", zorder=3)
    told: set[str] = set()
    for c in climbs:
        label = LABELS[c.ended] if c.ended not in told else None
        told.add(c.ended)
        left = missing(c.logliks)
        dashes = ":" if c.ended == NO_END else "-"
        ax.plot(left, color=COLOURS[c.ended], lw=1.3, ls=dashes, label=label, zorder=2)
        ax.plot(len(left) - 1, left[-1], marker="o", ms=4, color=COLOURS[c.ended], zorder=4)
    ax.set_yscale("log")
    ax.minorticks_off()
    locator: Any = ax.xaxis.get_major_locator()
    locator.set_params(integer=True)
    ax.set_xlabel("iteration")
    ax.set_ylabel("log-likelihood below the highest end")
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    count = len(check.climbs)
    starts = "start" if count == 1 else "starts"
    if check.best is not None:
        above = check.best.loglik - check.loglik
        title(ax, "A local maximum", f"start {check.best.number} of {count} ended {above:.3g} above the fit", VERMILION)
    else:
        title(ax, f"None of {count} other {starts} ended higher", f"the fit: log-likelihood {check.loglik:.4f}")
    return ax
