"""Marginal means with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.errors import ModelError
from remlblup.inference.fixed.comparisons import text_of
from remlblup.inference.fixed.means import MarginalMeans
from remlblup.plot.style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, axes, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, GREY)
# How far apart the groups stand at one level, all of them together.
SPREAD = 0.3


class PlottedMeans(MarginalMeans):
    """Marginal means that draw themselves."""

    def plot(self, ax: Axes | None = None, letters: bool = False) -> Axes:
        """The means with their 95 % intervals, a line of them for each level of `by`;
        with their letters if asked for."""
        return plot_means(self, ax, letters)


def plot_means(means: MarginalMeans, ax: Axes | None = None, letters: bool = False) -> Axes:
    """Means and 95 % intervals, a line of its own for each level of the by-variables; letters above, if asked for.

    Raises
    ------
    ModelError
        If none of the means can be estimated.
    """
    table = means.table
    if table["mean"].isna().all():
        raise ModelError("none of these means can be estimated: there is nothing to draw.")
    groups = list(means._groups())
    labels = means._labels(groups[0][1])
    texts = means.letters()["letters"].to_numpy() if letters else np.full(len(table), "")
    ax = axes(ax)
    shifts = np.linspace(-SPREAD / 2, SPREAD / 2, len(groups)) if len(groups) > 1 else [0.0]
    for number, ((key, place), shift) in enumerate(zip(groups, shifts, strict=True)):
        own, colour = table.iloc[place], COLOURS[number % len(COLOURS)]
        x, y = np.arange(len(place)) + shift, own["mean"].to_numpy()
        reach = np.abs(np.vstack([y - own["lower"].to_numpy(), own["upper"].to_numpy() - y]))
        name = " ".join(map(text_of, key)) or None
        ax.errorbar(x, y, yerr=reach, fmt="o-" if len(groups) > 1 else "o", color=colour, capsize=3, lw=1, label=name)
        for a, top, text in zip(x, own["upper"], texts[place], strict=True):
            if text:
                ax.annotate(text, (a, top), (0, 4), textcoords="offset points", ha="center", fontsize=9)
    ax.set_xticks(np.arange(len(labels)), [text_of(label) for label in labels])
    names = [str(n) for n in table.index.names if n not in means._grid.by]
    ax.set_xlabel(", ".join(names))
    ax.set_ylabel(means._fit.specification.response)
    if len(groups) > 1:
        ax.legend(title=", ".join(map(str, means._grid.by)), frameon=False, fontsize=9)
    title(ax, "Marginal means", "95 % intervals")
    return ax
