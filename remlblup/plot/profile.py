"""Profiles: ζ against the value of each component, straight where the log-likelihood is a parabola."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from remlblup.inference.components.profile import Path, Profile
from remlblup.plot.style import BLUE, GREY, VERMILION, panels, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Quantiles of 95 and 99 %.
LIMITS = (1.959964, 2.575829)


class PlottedProfile(Profile):
    """A `Profile` that draws itself."""

    def plot(self, axes: Axes | Iterable[Axes] | None = None) -> np.ndarray:
        """ζ against the value, a panel for each, with the limits of 95 and 99 %."""
        columns = min(3, len(self._paths))
        rows = -(-len(self._paths) // columns)
        found = (
            panels(axes, (rows, columns), (3.4 * columns, 2.9 * rows))
            if axes is None
            else panels(axes, (1, len(self._paths)), (3.4, 2.9))
        )
        for ax, path in zip(found, self._paths, strict=False):
            draw(ax, path)
        for ax in found[len(self._paths) :]:
            ax.set_visible(False)
        return found[: len(self._paths)]


def draw(ax: Axes, path: Path) -> None:
    """One profile."""
    from scipy.interpolate import PchipInterpolator

    h = np.array([path.scaled(p.value) for p in path.places])
    zeta = np.array([p.zeta for p in path.places])
    h, kept = np.unique(h, return_index=True)
    zeta = zeta[kept]
    if len(h) > 1:
        fine = np.linspace(h[0], h[-1], 200)
        ax.plot([path.back(x) for x in fine], PchipInterpolator(h, zeta)(fine), color=BLUE)
    ax.plot([path.back(x) for x in h], zeta, "o", color=BLUE, markersize=3)
    ax.plot([path.best.value], [0.0], "o", color=VERMILION, markersize=5)
    for limit in LIMITS:
        for sign in (-1.0, 1.0):
            ax.axhline(sign * limit, color=GREY, linewidth=0.6, linestyle="--" if limit < 2.0 else ":")
    ax.set_xlabel(shorten(path.function.name, 40))
    ax.set_ylabel("ζ")
