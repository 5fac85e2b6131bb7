"""Biplot and latent regression of a factor-analytic term."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from remlblup.errors import ModelError, OptionError, some
from remlblup.fit.terms.factors import Factors, factors
from remlblup.plot.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.solved import Solved

NAMED = 30  # levels that are all named; of more only the outermost
OUTERMOST = 8
EFFECTS_NAMED = 25
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK)


def plot_biplot(fit: Solved, term: str, factors_drawn: tuple[int, int] = (1, 2), ax: Axes | None = None) -> Axes:
    """Effects' loadings as arrows and levels' factor scores as points, in two factors after rotation.

    The scores have variance one; arrows are stretched by a common factor, told under the title, so that both can
    be read. Long arrows that point the same way are effects in which levels rank alike (Gabriel 1971,
    *Biometrika* 58:453; Smith, Cullis & Thompson 2001).

    Parameters
    ----------
    fit : Fit or Solved
    term : an ``fa`` or ``rr`` term with two factors or more
    factors_drawn : the two factors, 1 the one with the largest share
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    found = factors(fit, term)
    if found.k < 2:
        raise ModelError(f"'{found.name}' has one factor: draw plot_latent_regression, or fit k=2 for a biplot.")
    chosen = [checked(found, f) for f in factors_drawn]
    if len(chosen) != 2 or chosen[0] == chosen[1]:
        raise OptionError(f"a biplot is over two different factors, such as (1, 2), not {factors_drawn!r}.")
    ax = axes(ax, (6.8, 5.8))
    points, arrows = found.scores[chosen].T, found.gamma[:, chosen]
    reach = np.linalg.norm(points, axis=1)
    stretch = rounded(0.95 * reach.max() / max(np.linalg.norm(arrows, axis=1).max(), 1e-300)) if reach.any() else 1.0
    ax.axhline(0.0, color=GREY, lw=0.8, zorder=1)
    ax.axvline(0.0, color=GREY, lw=0.8, zorder=1)
    ax.scatter(points[:, 0], points[:, 1], s=14, color=BLUE, alpha=0.7, linewidths=0, zorder=2)
    named = range(len(points)) if len(points) <= NAMED else np.argsort(-reach)[:OUTERMOST]
    for k in named:
        ax.annotate(shorten(found.levels[k], 14), points[k], (3, 3), textcoords="offset points", fontsize=7, color=BLUE)
    for arrow in stretch * arrows:
        ax.annotate("", arrow, (0, 0), arrowprops={"arrowstyle": "-|>", "color": VERMILION, "lw": 1.4}, zorder=3)
    name_arrows(ax, found.effects, stretch * arrows)
    ax.update_datalim(1.12 * stretch * arrows)
    ax.margins(0.07)
    ax.autoscale_view()
    ax.set_aspect("equal", adjustable="datalim")
    names = [f"factor {k + 1} ({100.0 * found.shares[k]:.1f} % of the variance)" for k in chosen]
    ax.set_xlabel(names[0])
    ax.set_ylabel(names[1])
    below = f"{len(points):,} levels: points; {len(arrows)} effects: arrows, loadings × {stretch:g}"
    title(ax, f"Biplot of {shorten(found.name, 50)}", below)
    return ax


def plot_latent_regression(
    fit: Solved, term: str, factor: int = 1, levels: Iterable[object] | None = None, ax: Axes | None = None
) -> Axes:
    """BLUPs of levels against the effects' loadings on one factor; the slope of each line is the level's score.

    Earlier factors are taken off: the points are û_i − Σ γ_ij f_j over the factors before (Cullis et al. 2014,
    *Theor. Appl. Genet.* 127:2193). What lies off a line is due to later factors and specific effects.

    Parameters
    ----------
    fit : Fit or Solved
    term : an ``fa`` or ``rr`` term
    factor : the factor, 1 the one with the largest share
    levels : seven levels at most; without, the two largest and the two smallest scores
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes
    """
    found = factors(fit, term)
    j = checked(found, factor)
    chosen = levels_chosen(found, j, levels)
    ax = axes(ax, (6.8, 4.6))
    x = found.gamma[:, j]
    left = found.blups - found.gamma[:, :j] @ found.scores[:j]
    ends = np.array([min(0.0, float(x.min())), max(0.0, float(x.max()))])
    ax.axhline(0.0, color=GREY, lw=0.8, zorder=1)
    for colour, k in zip(COLOURS, chosen, strict=False):
        slope = found.scores[j, k]
        ax.plot(ends, slope * ends, color=colour, lw=1.4)
        name = f"{shorten(found.levels[k], 20)} ({slope:+.2f})"
        ax.plot(x, left[:, k], ls="", marker="o", ms=4.5, color=colour, label=name)
    name_effects(ax, found.effects, x)
    ax.set_xlabel(f"loading on factor {j + 1} ({100.0 * found.shares[j]:.1f} % of the variance)")
    ax.set_ylabel("BLUP" if j == 0 else f"BLUP less factor{'s' if j > 1 else ''} {'1' if j == 1 else f'1 to {j}'}")
    ax.legend(frameon=False, fontsize=9, labelcolor=INK, title="level (score)", title_fontsize=9)
    title(ax, f"Latent regression of {shorten(found.name, 46)}", f"{len(x)} effects; each line is a level")
    return ax


# -- choices ---------------------------------------------------------------------------------


def checked(found: Factors, factor: object) -> int:
    """Position of a factor given as 1, 2, …"""
    if isinstance(factor, bool) or not isinstance(factor, (int, np.integer)) or not 1 <= factor <= found.k:
        raise OptionError(f"factor={factor!r}: '{found.name}' has factors 1 to {found.k}.")
    return int(factor) - 1


def levels_chosen(found: Factors, j: int, levels: Iterable[object] | None) -> list[int]:
    """Positions of the levels to draw, by falling score."""
    if levels is None:
        order = np.argsort(-found.scores[j], kind="stable")
        return list(dict.fromkeys([*order[:2].tolist(), *order[-2:].tolist()]))
    names = [str(v) for v in ([levels] if isinstance(levels, str) else levels)]
    unknown = [n for n in names if n not in found.levels]
    if unknown or not 1 <= len(names) <= len(COLOURS):
        what = f"{some(unknown)} are no levels of '{found.name}'" if unknown else f"{len(names)} levels are given"
        raise OptionError(f"levels=: {what}. Give one to {len(COLOURS)} of: {some(found.levels, 10)}.")
    return [found.levels.index(n) for n in names]


def rounded(value: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten that is not larger."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(f"{power * max(m for m in (1.0, 2.0, 5.0) if m * power <= value * (1 + 1e-12)):.6g}")


def name_arrows(ax: Axes, names: tuple[str, ...], ends: np.ndarray) -> None:
    """Names just beyond the tips of the arrows."""
    for name, (x, y) in zip(names, ends, strict=True):
        ax.annotate(
            shorten(plain(name), 18),
            (x, y),
            (6 * np.sign(x) if abs(x) > abs(y) else 0, 6 * np.sign(y)),
            textcoords="offset points",
            fontsize=8.5,
            color=VERMILION,
            fontweight="bold",
            ha="left" if x >= 0 else "right",
            va="center",
            bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5},
        )


def name_effects(ax: Axes, names: tuple[str, ...], x: np.ndarray) -> None:
    """Names of the effects upright above the axis at their x, kept apart; nothing where there are too many."""
    low, high = ax.get_ylim()
    if len(names) > EFFECTS_NAMED:
        return
    ax.set_ylim(low - 0.16 * (high - low), high)
    order = np.argsort(x, kind="stable")
    gap = 0.026 * np.ptp(ax.get_xlim())
    places = x[order].astype(float)
    for k in range(1, len(places)):
        places[k] = max(places[k], places[k - 1] + gap)
    for k, place in zip(order, places, strict=True):
        ax.text(
            place,
            0.015,
            shorten(plain(names[k]), 10),
            rotation=90,
            fontsize=7.5,
            color=GREY,
            ha="center",
            va="bottom",
            transform=ax.get_xaxis_transform(),
        )


def plain(effect: str) -> str:
    """``C1`` for ``county[C1]``."""
    return effect.partition("[")[2][:-1] if effect.endswith("]") and "[" in effect else effect
