"""A drawing of a small pedigree: generations as rows, sires as squares, dams as circles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.errors import OptionError, RelationshipError, choose
from remlblup.keywords import known_arguments
from remlblup.plot.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, axes, shorten, title
from remlblup.relationship.pedigree.statistics import PopulationStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.relationship.pedigree.pedigree import Pedigree

#: Most animals that are drawn.
LIMIT = 150
_SWEEPS = 31  # odd: the last one goes down, so that full sibs stand together
_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)


@known_arguments
def plot_pedigree(
    ped: Pedigree, animals: Iterable | None = None, ax: Axes | None = None, *, inbreeding: str = "none"
) -> Axes:
    """Draw a small pedigree, oldest animals on top.

    Sires are squares, dams circles, animals that are neither (or, in plants, both) diamonds. Every mating has a
    point, joined to its parents above and to its offspring below.

    Parameters
    ----------
    ped : Pedigree
    animals : array-like of labels, optional
        Draw these and their ancestors only.
    ax : matplotlib Axes, optional
        Where to draw; a new figure without.
    inbreeding : {"none", "shade", "write"}
        Whether to show inbreeding coefficients: not at all, as shading, or as numbers under the animals.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    OptionError
        For more than 150 animals.
    RelationshipError
        If `ped` is no pedigree, or `animals` is empty or not in it.

    Examples
    --------
    >>> ax = rb.plot_pedigree(pedigree)
    """
    choose("inbreeding", inbreeding, ("none", "shade", "write"))
    if not isinstance(ped, PopulationStatistics):
        raise RelationshipError(
            f"plot_pedigree draws a Pedigree of animals, with sires and dams; it was given {type(ped).__name__}. Make "
            "one with Pedigree(ids, sires, dams) or Pedigree.from_frame(frame)."
        )
    part = ped if animals is None else ped.prune(animals)
    if part.size > LIMIT:
        raise OptionError(
            f"A drawing of {part.size:,} animals cannot be read; at most {LIMIT} are drawn. Name fewer animals, "
            "plot_pedigree(ped, animals=[...]), or prune first: ped.prune(animals, generations=2)."
        )
    row = display_rows(part)
    x = positions(part.sire, part.dam, row)
    widest = int(np.bincount(row).max())
    if ax is None:
        ax = axes(None, (float(np.clip(0.75 * widest, 5.0, 18.0)), float(np.clip(1.25 * (row.max() + 1), 3.0, 14.0))))
    else:
        ax = axes(ax)
    _draw_matings(ax, part, x, row)
    figure: Any = ax.figure
    width = 72.0 * figure.get_size_inches()[0] * ax.get_position().width
    side = float(np.clip(0.55 * width / (x.max() - x.min() + 1.6), 8.0, 26.0))  # of a symbol, in points
    _draw_animals(ax, part, x, row, side, inbreeding)
    ax.set_axis_off()
    ax.set_xlim(x.min() - 0.8, x.max() + 0.8)
    ax.set_ylim(-row.max() - 0.6, 0.6)
    key = {"none": "", "shade": ", shaded by inbreeding", "write": ", F under the animal"}[inbreeding]
    title(ax, f"Pedigree of {part.size} animals", f"squares: sires, circles: dams, diamonds: others{key}")
    return ax


def display_rows(ped: Pedigree) -> np.ndarray:
    """Row of every animal: its generation; founders stand one row above their oldest offspring."""
    row = ped.generation.astype(int).copy()
    oldest = np.full(ped.size, np.iinfo(np.int64).max)
    for parent in (ped.sire, ped.dam):
        np.minimum.at(oldest, parent[parent >= 0], row[parent >= 0])
    founder = (row == 0) & (oldest < np.iinfo(np.int64).max)
    row[founder] = oldest[founder] - 1
    return row


def positions(sire: np.ndarray, dam: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Horizontal places, at least 1 apart in a row: each animal near its parents, mates and offspring.

    Rows are sorted by the mean place of their relatives, down and up in turn (Sugiyama, Tagawa & Toda 1981, IEEE
    Trans SMC 11:109).
    """
    n = len(row)
    relatives: dict[str, list[list[int]]] = {"up": [[] for _ in range(n)], "down": [[] for _ in range(n)]}
    for child in range(n):
        for parent, mate in ((int(sire[child]), int(dam[child])), (int(dam[child]), int(sire[child]))):
            if parent >= 0:
                relatives["down"][child].append(parent)
                relatives["up"][parent].append(child)
                if mate >= 0 and row[mate] == row[parent]:
                    relatives["up"][parent].append(mate)
    x = np.zeros(n)
    members = [np.flatnonzero(row == r) for r in range(int(row.max()) + 1)]
    for animals in members:
        x[animals] = np.arange(animals.size) - 0.5 * (animals.size - 1)
    for sweep in range(_SWEEPS):
        way = "down" if sweep % 2 == 0 else "up"
        for animals in members if way == "down" else reversed(members):
            wanted = np.array([np.mean(x[near]) if (near := relatives[way][a]) else x[a] for a in animals])
            order = np.argsort(wanted, kind="stable")
            x[animals[order]] = _spread(wanted[order])
    return x


def _spread(wanted: np.ndarray) -> np.ndarray:
    """The places nearest to those wanted (ascending) that are at least 1 apart: isotonic regression of x_k − k."""
    blocks: list[list[float]] = []
    for k, value in enumerate(wanted):
        blocks.append([float(value) - k, 1.0])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            mean, count = blocks.pop()
            other, others = blocks[-1]
            blocks[-1] = [(mean * count + other * others) / (count + others), count + others]
    return np.concatenate([np.full(int(count), mean) for mean, count in blocks]) + np.arange(len(wanted))


def _draw_matings(ax: Axes, ped: Pedigree, x: np.ndarray, row: np.ndarray) -> None:
    """Parents to a point, the point to a bar over their offspring; colours tell neighbouring matings apart."""
    families: dict[tuple[int, int, int], list[int]] = {}
    for child in np.flatnonzero((ped.sire >= 0) | (ped.dam >= 0)).tolist():
        families.setdefault((int(row[child]), int(ped.sire[child]), int(ped.dam[child])), []).append(child)
    count: dict[int, int] = {}
    ordered = sorted(families.items(), key=lambda item: (item[0][0], float(np.mean(x[item[1]]))))
    for (level, sire, dam), children in ordered:
        k = count[level] = count.get(level, -1) + 1
        style: dict[str, Any] = {
            "color": _COLOURS[k % len(_COLOURS)],
            "lw": 1.1,
            "zorder": 1,
            "solid_capstyle": "round",
        }
        parents = list(dict.fromkeys(p for p in (sire, dam) if p >= 0))
        middle, bar = float(np.mean(x[children])), -level + 0.34 + 0.05 * (k % 3)
        top = bar + 0.14
        for parent in parents:
            ax.plot([x[parent], middle], [-row[parent], top], **style)
        ax.plot([middle, middle], [top, bar], **style)
        ax.plot([x[children].min(), x[children].max()], [bar, bar], **style)
        for child in children:
            ax.plot([x[child], x[child]], [bar, -level], **style)


def _draw_animals(ax: Axes, ped: Pedigree, x: np.ndarray, row: np.ndarray, side: float, inbreeding: str) -> None:
    is_sire, is_dam = (np.isin(np.arange(ped.size), parent[parent >= 0]) for parent in (ped.sire, ped.dam))
    colours = np.ones((ped.size, 3))
    if inbreeding == "shade":
        from matplotlib.colors import to_rgb

        weight = (ped.inbreeding / max(float(ped.inbreeding.max()), 1e-12))[:, None] * 0.75
        colours = (1.0 - weight) * colours + weight * np.array(to_rgb(SKY))
    for shape, chosen in (("s", is_sire & ~is_dam), ("o", is_dam & ~is_sire), ("D", is_sire == is_dam)):
        area = (0.72 * side if shape == "D" else side) ** 2
        ax.scatter(
            x[chosen], -row[chosen], s=area, marker=shape, c=colours[chosen], edgecolors=INK, linewidths=0.9, zorder=2
        )
    size = float(np.clip(0.36 * side, 5.0, 9.0))
    for k, label in enumerate(ped.labels):
        text = shorten(label, 10)
        inside = len(text) <= 3
        below = [] if inside else [text]
        if inside:
            ax.annotate(text, (x[k], -row[k]), ha="center", va="center", fontsize=size, color=INK, zorder=3)
        if inbreeding == "write" and ped.inbreeding[k] > 0:
            below.append(f"{ped.inbreeding[k]:.3g}")
        if below:
            ax.annotate(
                "\n".join(below),
                (x[k], -row[k]),
                (0, -0.62 * side),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=max(size - 1.0, 5.0),
                color=INK if not inside else GREY,
                zorder=3,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
            )
