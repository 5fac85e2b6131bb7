"""Their components beside ours, in standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.plot.style import BLUE, GREY, INK, ORANGE, VERMILION, axes, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.crosschecking.judge.verdict import Found

#: Reasons drawn, the nearest ones.
SHOWN = 4


def plot_crosscheck(found: Found, words: str, ax: Any = None) -> Axes:
    """See `CrossCheck.plot`; `words` is the verdict."""
    ax = axes(ax)
    fit = found.fit
    error = np.sqrt(np.maximum(np.diag(fit.variance_covariance), 0.0))
    scale = np.where(np.isfinite(error) & (error > 0.0), error, np.maximum(np.abs(fit.theta), 1e-300))
    names = fit.specification.parameters.columns
    place = np.arange(len(names), dtype=float)
    ax.axvline(0.0, color=BLUE, lw=1.4, label="ours")
    tried = sorted((t for t in found.tried if t.theta is not None), key=lambda t: t.distance)[:SHOWN]
    away = np.abs(found.theirs.theta - fit.theta) / scale
    seen = away[np.isfinite(away) & (away > 0.0)]
    for k, one in enumerate(tried):
        assert one.theta is not None
        ax.plot((one.theta - fit.theta) / scale, place + 0.12 * (k + 1), ls="", marker="s^vD"[k], ms=5, mfc="none",
                mec=ORANGE, label=f"{one.reason}: {one.detail}"[:70])  # fmt: skip
    ax.plot((found.theirs.theta - fit.theta) / scale, place, ls="", marker="o", ms=6, color=VERMILION,
            label=found.results.program)  # fmt: skip
    ax.set_yticks(place, list(names))
    ax.set_ylim(len(names) - 0.2, -0.5)
    ax.set_xlabel("difference from ours, in standard errors")
    ax.set_xscale("symlog", linthresh=float(np.clip(seen.min() if len(seen) else 1.0, 1e-3, 1.0)))
    ax.grid(axis="x", color=GREY, alpha=0.3, lw=0.6)
    ax.legend(loc="upper left", bbox_to_anchor=(0.0, -0.22), fontsize=8, labelcolor=INK, frameon=False)
    first, _, rest = words.partition(": ")
    title(ax, first[:60], rest.split(". ")[0][:80])
    return ax
