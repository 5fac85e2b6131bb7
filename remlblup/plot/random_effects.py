"""BLUPs of a term: in order with their intervals, as a ranking with names, against normal quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.diagnostics.differences import comparison_factor
from remlblup.errors import ModelError, OptionError, choose, some
from remlblup.fit.tables.effects import term_index
from remlblup.plot.effect_quantiles import plot_effect_quantiles
from remlblup.plot.effect_units import units_of
from remlblup.plot.ends import name_ends
from remlblup.plot.style import BLUE, GREY, PALE, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.solved import Solved

KINDS, INTERVALS = ("caterpillar", "qq", "ranking"), ("prediction", "difference")
Z95 = 1.959964
LABELLED = 40  # levels with a name and an interval each
DRAWN = 150  # levels with an interval each; a ribbon beyond
SLICES = 15, 200  # medians along the ribbon: a twentieth of the levels, within these limits
POINTS = 5000  # levels the line and the ribbon are drawn through


def plot_random_effects(
    fit: Solved,
    term: str | None = None,
    effect: str | None = None,
    kind: str = "caterpillar",
    intervals: str = "prediction",
    draws: int | None = None,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """See `Plotted.plot_random_effects`."""
    choose("kind", kind, KINDS)
    choose("intervals", intervals, INTERVALS)
    table, name = _chosen(fit, term, effect)
    if kind == "qq":
        return plot_effect_quantiles(fit, str(table["term"].iloc[0]), name, draws, seed, ax)
    table = table.sort_values("estimate", kind="stable")
    term, n = str(table["term"].iloc[0]), len(table)
    # With a negative variance component (constrain=False) there is no PEV, and so no interval.
    error = table["std_error"].to_numpy(dtype=float)
    factor = Z95 if intervals == "prediction" else comparison_factor(fit, term, name, table, Z95)
    ax = axes(ax, (6.4, min(max(2.2, 1.3 + 0.2 * n), 8.0) if n <= LABELLED else 4.8))
    _ranks(ax, table, factor * error)
    if kind == "ranking":
        _ranking(ax, table)
    ax.set_xlabel(f"BLUP of {shorten(name, 40)} ({units_of(fit, term, name)})")
    _titles(ax, fit, table, name, intervals)
    return ax


def _ranks(ax: Axes, table: pd.DataFrame, half: np.ndarray) -> None:
    """û by rank, and û ± half."""
    n, estimate = len(table), table["estimate"].to_numpy(dtype=float)
    rank = np.arange(1, n + 1)
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


def _ranking(ax: Axes, table: pd.DataFrame) -> None:
    """Ranks from the highest down, and names where there is room for them."""
    n = len(table)
    if n > LABELLED:
        name_ends(ax, table["estimate"].to_numpy(dtype=float), list(table["level"]))
        places = np.unique(np.round(np.linspace(1, n, 6)).astype(int))
        ax.set_yticks(places, [f"{n + 1 - place:,}" for place in places])
        ax.set_ylabel("rank, the highest first")
        return
    ax.set_yticks(np.arange(1, n + 1), [f"{shorten(v, 22)}  {n - k}" for k, v in enumerate(table["level"])])


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


def _titles(ax: Axes, fit: Solved, table: pd.DataFrame, name: str, intervals: str) -> None:
    term = str(table["term"].iloc[0])
    several = len(fit.specification.random[term_index(fit.specification, term)].structure.effects) > 1
    below = f"{len(table):,} levels, "
    below += "95 % prediction intervals" if intervals == "prediction" else "two differ (5 %) where bars do not overlap"
    below += " (median width of neighbours)" if len(table) > DRAWN else ""
    if table["pev"].isna().all():
        known = fit._equations.knows_likelihood
        why = "the variance component is negative" if known else "engine='stochastic' has no prediction error variances"
        below = f"{len(table):,} levels, no intervals: {why}"
    if not table["estimate"].any() and (table["std_error"] == 0.0).all():
        below = f"{len(table):,} levels, all zero: the variance is on its boundary"
        ax.set_xlim(-1, 1)
    title(ax, shorten(term, 50) + (f": {shorten(name, 24)}" if several else ""), below)
