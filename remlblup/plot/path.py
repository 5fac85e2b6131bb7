"""The way of a search on a map of ℓ over two parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.errors import ModelError, OptionError, listed
from remlblup.plot.histories import LINES, History, mark_steps, tell_steps
from remlblup.plot.style import GREY, INK, VERMILION, axes, shorten_label, title
from remlblup.plot.surface import draw_map
from remlblup.plot.traces import number_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

POINTS = 31


def plot_path(searches: list[History], parameters: Any, ax: Axes | None) -> Axes:
    """Contours of ℓ with the path of each search, the bounds, and where V is not positive definite."""
    from remlblup.inference.components.surface import map_around

    fit = searches[0].fit
    assert fit is not None
    columns = fit.specification.parameters.columns
    i, j = pair_of(fit, parameters)
    a, b = columns[i], columns[j]
    paths = [(one, one.table[[a, b]].to_numpy(dtype=float)) for one in searches if {a, b} <= set(one.table.columns)]
    table = map_around(fit, i, j, POINTS, np.vstack([path for _, path in paths]))
    ax = axes(ax, (6.4, 4.6))
    draw_map(fit, table, ax)
    for number, (one, path) in enumerate(paths):
        colour, dashes = LINES[number % len(LINES)]
        ax.plot(*path.T, color=colour, ls=dashes, lw=1.4, zorder=3, label=f"{one.name}, {len(path) - 1} iterations")
        mark_steps(ax, path[:, 0], path[:, 1], one.steps, size=4 if len(path) < 40 else 2.5)
    ax.plot(fit.theta[i], fit.theta[j], marker="o", ms=7, mfc="none", mew=1.6, ls="", color=VERMILION, zorder=5,
            label="estimate" if fit.converged else "last iterate")  # fmt: skip
    tell_steps(ax, [step for one, _ in paths for step in one.steps])
    if table["loglik"].isna().any():
        ax.fill([], [], color=GREY, alpha=0.35, label="no such covariance matrices")
    ax.set_xlabel(shorten_label(a, 44))
    ax.set_ylabel(shorten_label(b, 44))
    title(ax, "The way of the search", "log-likelihood over two parameters, the others at their estimates")
    ax.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    return ax


def pair_of(fit: Estimates, parameters: Any) -> tuple[int, int]:
    """The two parameters of the map: those asked for, or the two whose estimates are most correlated.

    Raises
    ------
    OptionError
        If not two different parameters are asked for, or one is held.
    ModelError
        If fewer than two are estimated.
    """
    if parameters is None:
        found = two_free(fit)
        if found is None:
            raise ModelError("fewer than two parameters are estimated: there is no map to draw a path on.")
        return found
    asked = listed("parameters=", parameters)
    if len(asked) != 2:
        raise OptionError(f"parameters={asked!r} must be two of them for a path.")
    i, j = (number_of(fit.specification.parameters.columns, name) for name in asked)
    if i == j:
        raise OptionError(f"a path needs two parameters: {asked[0]!r} was given twice.")
    for k in (i, j):
        if fit.status[k] == "fixed":
            raise OptionError(f"'{fit.specification.parameters.columns[k]}' is held by fix=: no path leads along it.")
    return i, j


def two_free(fit: Estimates) -> tuple[int, int] | None:
    """The two estimated parameters with the strongest correlation; those the data cannot tell apart before others."""
    moving = [k for k, status in enumerate(fit.status) if status != "fixed"]
    if len(moving) < 2:
        return None
    columns = fit.specification.parameters.columns
    flat = [k for k in moving if columns[k] in fit.convergence.unidentified]
    if len(flat) > 1:
        return flat[0], flat[1]
    covariance = fit.variance_covariance
    size = np.sqrt(np.where(np.diag(covariance) > 0.0, np.diag(covariance), np.inf))
    strength = np.abs(np.nan_to_num(covariance / np.outer(size, size)))
    pairs = [(i, j) for n, i in enumerate(moving) for j in moving[n + 1 :]]
    return max(pairs, key=lambda pair: strength[pair])
