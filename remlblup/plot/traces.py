"""Every component by iteration, in standard errors from where it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import OptionError, listed, some
from remlblup.model.formula import squeeze
from remlblup.plot.histories import LINES, History, mark_steps, tell_steps
from remlblup.plot.style import GREY, INK, axes, shorten_label, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

# Components drawn in colour and named, those that came furthest; the others are thin and grey.
NAMED = 7
# Distances below this share of a standard error are drawn on a linear scale.
LINEAR = 1e-2


def plot_traces(searches: list[History], parameters: Any, ax: Axes | None) -> Axes:
    """(θ_i − θ̂_i) / standard error by iteration, the kind of step at every point of the first search."""
    fit = searches[0].fit
    assert fit is not None
    chosen = chosen_parameters(fit, parameters)
    ax = axes(ax, (7.2, 4.4))
    sizes = sizes_of(fit)
    traces = {k: trace(searches[0], fit, k, sizes) for k in chosen}
    order = sorted(traces, key=lambda k: -float(np.nanmax(np.abs(traces[k]))))
    first = searches[0]
    for rank, k in enumerate(order):
        named = rank < NAMED
        colour, dashes = LINES[rank % len(LINES)] if named else (GREY, "-")
        name = shorten_label(fit.specification.parameters.columns[k], 34) if named else None
        ax.plot(
            first.iteration, traces[k], color=colour, ls=dashes, lw=1.6 if named else 0.7, label=name, zorder=3 - rank
        )
        if rank < 2 or len(order) <= NAMED:
            mark_steps(ax, first.iteration, traces[k], first.steps, size=4)
        for other in searches[1:]:
            if fit.specification.parameters.columns[k] in other.table:
                ax.plot(other.iteration, trace(other, fit, k, sizes), color=colour, ls=dashes, lw=0.9, alpha=0.7)
    if len(order) > NAMED:
        ax.plot([], [], color=GREY, lw=0.7, label=f"{len(order) - NAMED} more that moved less")
    for other in searches[1:]:
        ax.plot([], [], color=INK, lw=0.9, alpha=0.7, label=f"thin: {other.name}")
    tell_steps(ax, first.steps)
    ax.axhline(0.0, color=GREY, lw=1, zorder=1)
    ax.set_yscale("symlog", linthresh=LINEAR)
    reach = max(float(np.nanmax(np.abs(values))) for values in traces.values())
    if reach <= LINEAR:
        ax.set_ylim(-LINEAR, LINEAR)
    ax.minorticks_off()
    if len(first.iteration) == 1:
        ax.set_xlim(-0.5, 0.5)
        ax.set_xticks([0])
    else:
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(integer=True)
    ax.set_xlabel("iteration")
    ax.set_ylabel("distance from its end, in standard errors")
    ax.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0)
    below = "of one without a standard error in its own size" if any_unknown(fit, chosen) else ""
    title(ax, "Components by iteration", below)
    return ax


def chosen_parameters(fit: Estimates, parameters: Any) -> list[int]:
    """Numbers of the parameters to draw: those asked for, or all that are not held.

    Raises
    ------
    OptionError
        If there is no such parameter, or none that is estimated.
    """
    columns = fit.specification.parameters.columns
    if parameters is not None:
        return [number_of(columns, name) for name in listed("parameters=", parameters)]
    free = [k for k, status in enumerate(fit.status) if status != "fixed"]
    if not free:
        raise OptionError("every parameter is held by fix=: there are no traces to draw.")
    return free


def number_of(columns: tuple[str, ...], name: object) -> int:
    """Number of a parameter by its label."""
    labels = {squeeze(label): k for k, label in enumerate(columns)}
    k = labels.get(squeeze(name)) if isinstance(name, str) else None
    if k is None:
        raise OptionError(f"{name!r} is not a parameter of this model. It has {some(columns, 20)}.")
    return k


def sizes_of(fit: Estimates) -> Array:
    """(n_parameters,) the standard error of each parameter; where it has none, that given the others or its size."""
    error = np.sqrt(np.diag(fit.variance_covariance))
    given_others = np.asarray(fit._information.errors, dtype=float)
    largest = fit.history[list(fit.specification.parameters.columns)].abs().max().to_numpy()
    for other in (given_others, largest, np.ones(len(error))):
        error = np.where(np.isfinite(error) & (error > 0.0), error, other)
    return error


def any_unknown(fit: Estimates, chosen: list[int]) -> bool:
    """Whether one of the parameters drawn has no standard error."""
    variance = np.diag(fit.variance_covariance)[chosen]
    return bool(np.any(~(variance > 0.0)))


def trace(search: History, fit: Estimates, k: int, sizes: Array) -> Array:
    """Distances from the end of the first search."""
    values = search.table[fit.specification.parameters.columns[k]].to_numpy(dtype=float)
    return np.asarray((values - fit.theta[k]) / sizes[k])
