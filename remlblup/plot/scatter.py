"""Points of records: by trait, or counted where they are many; a smooth through them, and names of the extremes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.arrays import Array
from remlblup.plot.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

    from remlblup.diagnostics.methods import DiagnosticMethods

MANY = 3000  # more records than this are counted in hexagons
SMOOTHED = 20  # fewer records than this get no smooth
SPAN = 0.6  # of the records, for each value of the smooth
# Records with a name, and the height of a line of it in points.
NAMED, LINE = 3, 9.0
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))
MARKERS = (("o", BLUE), ("^", ORANGE), ("s", GREEN), ("D", PURPLE), ("v", SKY), ("P", INK))


def points(ax: Axes, fit: DiagnosticMethods, x: Array, y: Array) -> None:
    """The records, a marker and a colour for each of several traits; hexagons with their numbers if they are many."""
    known = np.isfinite(x) & np.isfinite(y)
    n = int(known.sum())
    if n > MANY:
        counts = ax.hexbin(
            x[known], y[known], gridsize=60, mincnt=1, bins="log", cmap=_blues(), linewidths=0, rasterized=True
        )
        bar = ax.figure.colorbar(counts, ax=ax, pad=0.02, aspect=30)
        bar.set_label("records", fontsize=9)
        bar.outline.set_visible(False)
        return
    look = {"s": 18 if n <= 300 else 9, "alpha": 0.7 if n <= 300 else 0.45, "linewidths": 0, "rasterized": n > 1000}
    traits = traits_of(fit)
    if not 0 < len(traits) <= len(MARKERS):
        ax.scatter(x[known], y[known], color=BLUE, **look)  # type: ignore[arg-type]
        return
    for (name, of_trait), (marker, colour) in zip(traits.items(), MARKERS, strict=False):
        own = known & of_trait
        look["alpha"] = 0.7
        ax.scatter(x[own], y[own], color=colour, marker=marker, label=shorten(name, 20), **look)  # type: ignore[arg-type]
    tell(ax)


def traits_of(fit: DiagnosticMethods) -> dict[str, np.ndarray]:
    """Of a fit of several traits, which records are of each."""
    spec = fit.specification
    if not spec.responses or spec.records is None:
        return {}
    trait = spec.records.frame["trait"].astype(str).to_numpy()
    return {str(name): trait == str(name) for name in spec.responses}


def smooth_lines(ax: Axes, fit: DiagnosticMethods, x: Array, y: Array) -> None:
    """A smooth through the records; of several traits one for each, which have nothing in common but the axes."""
    traits = traits_of(fit)
    if not traits:
        return smooth_line(ax, x, y, VERMILION, "local linear smooth")
    for k, (name, own) in enumerate(traits.items()):
        if len(traits) <= len(MARKERS):
            smooth_line(ax, x[own], y[own], MARKERS[k][1], f"local linear smooth, {shorten(name, 20)}", DASHES[k])
        else:
            smooth_line(ax, x[own], y[own], VERMILION, "local linear smooth of each trait" if k == 0 else "_")


def smooth_line(ax: Axes, x: Array, y: Array, colour: str, label: str, dashes: Any = "-") -> None:
    """A robust local linear smooth (Cleveland 1979, by statsmodels), where there is enough to smooth."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < SMOOTHED or not np.ptp(x) > 1e-9 * np.ptp(y):
        return
    from matplotlib.patheffects import Normal, Stroke
    from statsmodels.nonparametric.smoothers_lowess import lowess

    with np.errstate(all="ignore"):  # ties leave a neighbourhood without a slope
        line = lowess(y, x, frac=SPAN, delta=0.01 * float(np.ptp(x)))
    line = line[np.isfinite(line[:, 1])]
    edge = [Stroke(linewidth=3.6, foreground="white"), Normal()]  # points of the same colour lie below
    ax.plot(*line.T, color=colour, ls=dashes, lw=1.8, label=label, path_effects=edge)
    tell(ax)


def tell(ax: Axes) -> None:
    """The legend, over whatever is below it."""
    ax.legend(fontsize=8, labelcolor=INK, framealpha=0.85, edgecolor="none")


def name_extremes(ax: Axes, fit: DiagnosticMethods, x: Array, y: Array) -> None:
    """The names of the records with the largest studentized residuals; of very many records none."""
    if len(x) > MANY:
        return
    size = np.abs(fit._residual_table["studentized"].to_numpy())
    known = np.flatnonzero(np.isfinite(size) & np.isfinite(y))
    named = known[np.argsort(-size[known], kind="stable")][:NAMED]
    named = named[np.argsort(y[named], kind="stable")]
    middle = 0.5 * (np.min(x) + np.max(x))
    for k, shift in zip(named, apart(ax, x[named], y[named]), strict=True):
        side, away = ("right", -5) if x[k] > middle else ("left", 5)
        ax.annotate(label_of(fit.specification.index[k]), (x[k], y[k]), (away, shift),
                    textcoords="offset points", ha=side, va="center", fontsize=7, color=INK)  # fmt: skip


def apart(ax: Axes, x: Array, y: Array, up: bool = True) -> Array:
    """Shifts in points of the names beside points, each above (or below) the one before it, so that none overlap."""
    if not len(x):
        return np.zeros(0)
    ax.autoscale_view()  # matplotlib finds the limits only when they are asked for
    sign = 1.0 if up else -1.0
    heights = sign * ax.transData.transform(np.column_stack([x, y]))[:, 1] * 72.0 / ax.figure.dpi
    at = heights.copy()
    for k in range(1, len(at)):
        at[k] = max(at[k], at[k - 1] + LINE)
    return sign * (at - heights)


def response_of(fit: DiagnosticMethods) -> str:
    """What the residuals are in units of."""
    responses = fit.specification.responses
    return f"{len(responses)} traits" if len(responses) > 1 else shorten(fit.specification.response, 30)


def label_of(name: object, limit: int = 18) -> str:
    """The label of a record; of several traits its parts beside one another."""
    return shorten(" ".join(map(str, name)) if isinstance(name, tuple) else name, limit)


def _blues() -> Colormap:
    """White to blue without the palest shades, which vanish on paper."""
    import matplotlib as mpl
    from matplotlib.colors import ListedColormap

    return ListedColormap(mpl.colormaps["Blues"](np.linspace(0.25, 1.0, 256)))
