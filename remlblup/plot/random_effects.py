"""Caterpillar plot: the BLUPs of a term in order, each with its prediction interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import ModelError, OptionError, some
from remlblup.fit.tables.effects import term_index
from remlblup.plot.style import BLUE, GREY, PALE, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.solved import Solved

Z95 = 1.959964
LABELLED = 40  # levels with a name and an interval each
DRAWN = 150  # levels with an interval each; a ribbon beyond
SLICES = 15, 200  # medians along the ribbon: a twentieth of the levels, within these limits
POINTS = 5000  # levels the line and the ribbon are drawn through


def plot_random_effects(
    fit: Solved, term: str | None = None, effect: str | None = None, ax: Axes | None = None
) -> Axes:
    """BLUPs û of one effect of a term in order, with 95 % prediction intervals û ± 1.96 √PEV.

    Up to 40 levels are named and up to 150 have an interval each. Beyond, the intervals are drawn as a
    ribbon whose half width is the median over neighbours in rank (15 to 200 slices).

    Parameters
    ----------
    fit : Fit or Solved
    term : str, optional
        A random term; the first one without.
    effect : str, optional
        One of the term's effects, such as ``"Days"`` in ``(1 + Days | Subject)``. Without, the first:
        one Axes shows one effect; call once per effect for panels.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ModelError
        If the model has no random term.
    VarianceError, OptionError
        If there is no such term, or no such effect in it.
    """
    table, name = _chosen(fit, term, effect)
    table = table.sort_values("estimate", kind="stable")
    n = len(table)
    rank = np.arange(1, n + 1)
    estimate = table["estimate"].to_numpy(dtype=float)
    # With a negative variance component (constrain=False) there is no PEV, and so no interval.
    half = Z95 * table["std_error"].to_numpy(dtype=float)

    ax = axes(ax, (6.4, min(max(2.2, 1.3 + 0.2 * n), 8.0) if n <= LABELLED else 4.8))
    ax.axvline(0.0, color=GREY, lw=1, zorder=2.5)
    if n <= DRAWN:
        width = 1.8 if n <= LABELLED else 0.8
        ax.hlines(rank, estimate - half, estimate + half, color=PALE if n > LABELLED else BLUE, lw=width, zorder=2)
        ax.plot(estimate, rank, ls="", marker="o", ms=5 if n <= LABELLED else 2, color=BLUE, zorder=3)
    else:
        shown = np.unique(np.linspace(0, n - 1, min(n, POINTS)).astype(int))
        width = ribbon(half)[shown]
        y, x = rank[shown], estimate[shown]
        ax.fill_betweenx(y, x - width, x + width, color=PALE, lw=0, zorder=2)
        ax.plot(x, y, color=BLUE, lw=1.8, zorder=3)
    if n <= LABELLED:
        ax.set_yticks(rank, [shorten(level, 24) for level in table["level"]])
        ax.tick_params(axis="y", length=0, labelsize=9 if n <= 25 else 7)
    else:
        ax.set_ylabel("rank of the level")
    margin = 0.6 if n <= LABELLED else 0.01 * n
    ax.set_ylim(1 - margin, n + margin)
    response = shorten(fit.specification.response, 30)
    ax.set_xlabel(f"BLUP of {shorten(name, 40)}, on the scale of {response}")
    _titles(ax, fit, table, name)
    return ax


def _chosen(fit: Solved, term: str | None, effect: str | None) -> tuple[pd.DataFrame, str]:
    """Rows of `random_effects` for one effect of one term, and the effect's name."""
    designs = fit.specification.random
    if not designs:
        raise ModelError("this model has no random term, so there are no BLUPs to plot: add one such as (1 | group).")
    design = designs[0 if term is None else term_index(fit.specification, term)]
    effects = [str(e) for e in design.structure.effects]
    if effect is None:
        effect = effects[0]
    if not isinstance(effect, str) or effect not in effects:
        raise OptionError(f"'{design.name}' has no effect {effect!r}. It has: {some(effects, 20)}.")
    table = fit.random_effects
    return table[(table["term"] == design.name) & (table["effect"].astype(str) == effect)], effect


def ribbon(half: np.ndarray) -> np.ndarray:
    """Half widths of the ribbon at every rank: medians over slices of neighbours, joined by lines."""
    rank = np.arange(len(half))
    slices = np.array_split(rank, int(np.clip(len(rank) // 20, *SLICES)))
    return np.interp(rank, [s.mean() for s in slices], [median(half[s]) for s in slices])


def median(values: np.ndarray) -> float:
    """Median of the values there are."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _titles(ax: Axes, fit: Solved, table: pd.DataFrame, name: str) -> None:
    term = str(table["term"].iloc[0])
    several = len(fit.specification.random[term_index(fit.specification, term)].structure.effects) > 1
    below = f"{len(table):,} levels"
    below += ", 95 % prediction intervals" + (" (median width of neighbours)" if len(table) > DRAWN else "")
    if table["pev"].isna().all():
        below = f"{len(table):,} levels, no intervals: the variance component is negative"
    if not table["estimate"].any() and (table["std_error"] == 0.0).all():
        below = f"{len(table):,} levels, all zero: the variance is on its boundary"
        ax.set_xlim(-1, 1)
    title(ax, shorten(term, 50) + (f": {shorten(name, 24)}" if several else ""), below)
