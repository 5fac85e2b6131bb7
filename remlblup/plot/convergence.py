"""How a fit got to its maximum: what was left to gain, and the gradient, by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.plot.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILION, axes, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.estimates import Estimates

# Up to this many iterations each is labelled with its step; beyond, steps are told by colour.
LABELLED = 12
SMALLEST_GRADIENT = 1e-16


def plot_convergence(fit: Estimates, ax: Axes | None = None) -> Axes:
    """Log-likelihood still to be gained, and gradient, by iteration, on one logarithmic scale.

    The first line is ℓ_max − ℓ, with ℓ_max the highest log-likelihood of the history plus half the final
    Newton decrement (what another step is expected to gain); differences below the rounding error of ℓ
    are drawn at that error. The second is the gradient that the verdict is read from: the largest
    |score| in standard errors. The dashed line is its tolerance. A short history has the step of every
    iteration under its number; in a long one points are coloured by step.

    Parameters
    ----------
    fit : Fit
    ax : matplotlib Axes, optional
        Where to draw; a new figure without.

    Returns
    -------
    matplotlib Axes
    """
    ax = axes(ax)
    history = fit.history
    iteration = history["iteration"].to_numpy()
    steps = history["step"].tolist()
    loglik = history["loglik"].to_numpy()
    rounding = 4.0 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(loglik))))
    gain = np.maximum(loglik.max() + _expected_gain(fit) - loglik, rounding)
    gradient = np.maximum(history["gradient"].to_numpy(), SMALLEST_GRADIENT)

    few = len(history) <= LABELLED
    marker = "o" if few else ""
    ax.plot(iteration, gain, color=BLUE, marker=marker, ms=5, lw=1.6, label="log-likelihood still to be gained")
    ax.plot(
        iteration,
        gradient,
        color=VERMILION,
        marker="s" if few else "",
        ms=4.5,
        lw=1.6,
        label="gradient (score × standard error)",
    )
    tolerance = fit.options.tolerance
    ax.axhline(tolerance, color=GREY, ls="--", lw=1, label=f"tolerance of the gradient, {tolerance:.0e}")
    ax.set_yscale("log")
    ax.minorticks_off()
    ax.set_xlabel("iteration" + (" and its step" if few else ""))
    ax.set_ylabel("distance from the maximum")
    if few:
        ax.set_xticks(iteration, [f"{i}\n{s}" for i, s in zip(iteration, steps, strict=True)])
    else:
        _mark_steps(ax, iteration, gain, np.array(steps, dtype=object))
    ax.legend(frameon=False, fontsize=9, labelcolor=INK)
    _verdict(ax, fit)
    return ax


def _expected_gain(fit: Estimates) -> float:
    """Half the final Newton decrement; 0 where it is unknown."""
    decrement = next((c.value for c in fit.convergence.criteria if c.name == "Newton decrement"), 0.0)
    return 0.5 * decrement if np.isfinite(decrement) else 0.0


def _mark_steps(ax: Axes, iteration: np.ndarray, gain: np.ndarray, steps: np.ndarray) -> None:
    """Points on the log-likelihood line, coloured by the kind of step; the frequent kinds first."""
    kinds = sorted(set(steps) - {"start"}, key=lambda s: -int(np.sum(steps == s)))
    palette = dict(zip(kinds, (GREEN, ORANGE, PURPLE, SKY, INK), strict=False))
    for kind in kinds[:5]:
        at = steps == kind
        ax.plot(iteration[at], gain[at], ls="", marker="o", ms=4, color=palette[kind], label=f"step {kind}")
    rest = np.isin(steps, kinds[5:])
    if rest.any():
        ax.plot(iteration[rest], gain[rest], ls="", marker="x", ms=4, color=GREY, label="other steps")


def _verdict(ax: Axes, fit: Estimates) -> None:
    count = f"{fit.convergence.iterations:,} iteration" + ("" if fit.convergence.iterations == 1 else "s")
    if fit.converged:
        where = ", ".join(fit.convergence.boundary)
        title(ax, f"Converged after {count}", f"on the boundary: {where}" if where else "")
        return
    failed = [c.name for c in fit.convergence.criteria if not c.passed]
    unknown = fit.convergence.unidentified
    reason = "not met: " + ", ".join(failed) if failed else "not identified: " + ", ".join(unknown) if unknown else ""
    title(ax, f"{fit.convergence.status.upper()} after {count}", reason, VERMILION)
