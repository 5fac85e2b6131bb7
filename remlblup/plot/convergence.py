"""How a fit got to its maximum: what was left to gain, and the gradient, by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import choose
from remlblup.plot.histories import LINES, History, comparable, expected_gain, histories, mark_steps
from remlblup.plot.path import plot_path, two_free
from remlblup.plot.style import BLUE, GREY, INK, VERMILION, axes, panels, room_for_legend, title
from remlblup.plot.traces import plot_traces

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

KINDS = ("criteria", "components", "path", "all")
# Up to this many iterations each is labelled with its step; beyond, steps are told by markers.
LABELLED = 12
SMALLEST_GRADIENT = 1e-16


def plot_convergence(
    fit: Estimates, kind: str = "criteria", compare: Any = None, parameters: Any = None, ax: Any = None
) -> Axes | np.ndarray:
    """See `Plotted.plot_convergence`."""
    choose("kind", kind, KINDS)
    drawn = draw(fit, kind, compare, parameters, ax)
    if kind in ("criteria", "all"):
        room_for_legend(drawn[0] if isinstance(drawn, np.ndarray) else drawn)
    return drawn


def draw(fit: Estimates, kind: str, compare: Any, parameters: Any, ax: Any) -> Axes | np.ndarray:
    """What is asked for, in one Axes or several."""
    known = fit._equations.knows_likelihood
    if not known and compare is None and kind in ("criteria", "all"):
        if kind == "criteria":
            return plot_steps(fit, axes(ax))
        two = panels(ax, (2, 1), (7.2, 8.0))
        plot_steps(fit, two[0])
        plot_traces(histories(fit, None), None, two[1])
        return two
    searches = histories(fit, compare)
    if kind == "criteria":
        return plot_criteria(searches, ax)
    if kind == "components":
        return plot_traces(searches, parameters, ax)
    if kind == "path":
        return plot_path(searches, parameters, ax)
    with_path = parameters is not None or two_free(fit) is not None
    drawn = panels(ax, (2 + with_path, 1), (7.2, 4.0 * (2 + with_path)))
    plot_criteria(searches, drawn[0])
    plot_traces(searches, None, drawn[1])
    if with_path:
        plot_path(searches, parameters, drawn[2])
    return drawn


def plot_criteria(searches: list[History], ax: Axes | None) -> Axes:
    """Log-likelihood still to be gained, of one search with its gradient, on one logarithmic scale."""
    ax = axes(ax)
    fit = searches[0].fit
    assert fit is not None
    floor = max(rounding_of(one.loglik) for one in searches)
    if len(searches) == 1:
        _one(ax, searches[0], floor)
    else:
        _several(ax, searches, floor)
    ax.set_yscale("log")
    ax.minorticks_off()
    low = min(0.3 * floor, ax.get_ylim()[0])
    ax.axhspan(low, floor, color=GREY, alpha=0.18, lw=0, zorder=0, label="within rounding of the log-likelihood")
    ax.set_ylim(bottom=low)
    ax.set_ylabel("distance from the maximum" if len(searches) == 1 else "log-likelihood still to be gained")
    ax.legend(fontsize=8, labelcolor=INK, framealpha=0.85, edgecolor="none")
    _verdict(ax, fit, "" if len(searches) == 1 else searches[0].name)
    return ax


def plot_steps(fit: Estimates, ax: Axes) -> Axes:
    """The next step of a search that knows no ℓ, in standard errors, with its limit."""
    rows = fit.history
    iteration, limit = rows["iteration"].to_numpy(), fit.convergence.criteria[0].limit
    step = np.maximum(np.sqrt(rows["decrement"].to_numpy()), SMALLEST_GRADIENT)
    ax.plot(iteration, step, color=BLUE, lw=1.6, marker="o", ms=5, label="next step, in standard errors")
    ax.axhline(limit, color=GREY, ls=":", lw=1.2, label=f"limit, {limit:.0e}")
    ax.set_yscale("log")
    ax.set_xticks(iteration, [f"{i:.0f}\n{s}" for i, s in zip(iteration, rows["step"], strict=True)])
    ax.set_xlabel("iteration and its step")
    ax.set_ylabel("√(s'A⁻¹s)")
    ax.legend(fontsize=8, labelcolor=INK, framealpha=0.85, edgecolor="none")
    _verdict(ax, fit)
    return ax


def rounding_of(loglik: Array) -> float:
    """Rounding error of a log-likelihood: differences below it are drawn at it."""
    return 4.0 * float(np.finfo(float).eps) * max(1.0, float(np.nanmax(np.abs(loglik))))


def gain_of(one: History, searches: list[History], floor: float) -> Array:
    """ℓ_max − ℓ by iteration, ℓ_max the highest of the searches that it can be compared with, and what is expected."""
    tops = [
        np.nanmax(other.loglik) + expected_gain(other.fit)
        for other in searches
        if other is one or comparable(one, other)
    ]
    return np.maximum(max(tops) - one.loglik, floor)


def _one(ax: Axes, search: History, floor: float) -> None:
    """A single search: what is left to gain, the gradient and its tolerance."""
    fit, iteration = search.fit, search.iteration
    assert fit is not None
    gain = gain_of(search, [search], floor)
    gradient = np.maximum(search.table["gradient"].to_numpy(), SMALLEST_GRADIENT)
    few = len(iteration) <= LABELLED
    marks: list[dict[str, Any]] = [{"marker": "o", "ms": 5}, {"marker": "s", "ms": 4.5}] if few else [{}, {}]
    ax.plot(iteration, gain, color=BLUE, lw=1.6, label="log-likelihood still to be gained", **marks[0])
    ax.plot(
        iteration, gradient, color=VERMILION, ls="--", lw=1.4, label="gradient (score × standard error)", **marks[1]
    )
    tolerance = fit.options.tolerance
    ax.axhline(tolerance, color=GREY, ls=":", lw=1.2, label=f"tolerance of the gradient, {tolerance:.0e}")
    ax.set_xlabel("iteration" + (" and its step" if few else ""))
    if few:
        ax.set_xticks(iteration, [f"{i:.0f}\n{s}" for i, s in zip(iteration, search.steps, strict=True)])
        if len(iteration) > 8:
            ax.tick_params(axis="x", labelsize=7)
    else:
        mark_steps(ax, iteration, gain, search.steps, told=True)


def _several(ax: Axes, searches: list[History], floor: float) -> None:
    """Searches side by side: what is left to gain."""
    first = searches[0]
    for number, one in enumerate(searches):
        colour, dashes = LINES[number % len(LINES)]
        own = "" if number == 0 or comparable(first, one) else ", from its own highest"
        gain = gain_of(one, searches, floor)
        ax.plot(one.iteration, gain, color=colour, ls=dashes, lw=1.7, label=f"{one.name}{own}")
        ax.plot(one.iteration[-1], gain[-1], marker="o", ms=5, color=colour, zorder=4)
    longest = max(float(one.iteration[-1]) for one in searches)
    shortest = min(float(one.iteration[-1]) for one in searches)
    if longest > 20.0 * max(shortest, 1.0):
        ax.set_xscale("symlog", linthresh=max(10.0, shortest))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.set_xlim(left=0.0)
    ax.set_xlabel("iteration")


def _verdict(ax: Axes, fit: Estimates, name: str = "") -> None:
    count = f"{fit.convergence.iterations:,} iteration" + ("" if fit.convergence.iterations == 1 else "s")
    first = f"{name}: " if name else ""
    if fit.converged:
        where = shortened(fit.convergence.boundary)
        title(ax, f"{first}{'converged' if name else 'Converged'} after {count}",
              f"on the boundary: {where}" if where else "")  # fmt: skip
        return
    failed = [c.name for c in fit.convergence.criteria if not c.passed]
    unknown = fit.convergence.unidentified
    reason = "not met: " + ", ".join(failed) if failed else "not identified: " + shortened(unknown) if unknown else ""
    title(ax, f"{first}{fit.convergence.status.upper()} after {count}", reason, VERMILION)


def shortened(names: tuple[str, ...], limit: int = 70) -> str:
    """Names in a line of a figure: as many as fit, and how many more."""
    text = ", ".join(names)
    if len(text) <= limit:
        return text
    kept = [name for k, name in enumerate(names) if len(", ".join(names[: k + 1])) <= limit - 12]
    return f"{', '.join(kept)} and {len(names) - len(kept)} more" if kept else f"{len(names)} parameters"
