"""Residuals: against fitted values, against normal quantiles, their spread, and by what the records have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.arrays import Array
from remlblup.diagnostics.envelope import envelope, how_many, studentized_draws
from remlblup.errors import OptionError, choose
from remlblup.plot.by import plot_by
from remlblup.plot.quantiles import draw_quantiles
from remlblup.plot.scatter import name_extremes, points, response_of, smooth_lines
from remlblup.plot.style import GREY, axes, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.diagnostics.methods import DiagnosticMethods

KINDS = ("fitted", "qq", "scale", "by")
# E√|z| of a standard normal z.
EXPECTED_ROOT = 0.82217895866245855
LEVEL = 0.95


def plot_residuals(
    fit: DiagnosticMethods,
    kind: str = "fitted",
    by: Any = None,
    draws: int | None = None,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """See `Plotted.plot_residuals`."""
    choose("kind", kind, KINDS)
    if (by is None) == (kind == "by"):
        raise OptionError(
            "kind='by' needs by=: a column of the data, one value for each record, or a random term."
            if by is None
            else f"by= goes with kind='by', not with kind='{kind}'."
        )
    if kind == "qq":
        return plot_qq(fit, draws, seed, ax)
    if kind == "by":
        return plot_by(fit, by, ax)
    return plot_fitted(fit, ax) if kind == "fitted" else plot_scale(fit, ax)


def plot_fitted(fit: DiagnosticMethods, ax: Axes | None) -> Axes:
    """ê, times √weight, against Xβ̂ + Zû."""
    ax, spec = axes(ax), fit.specification
    weighted = bool(np.ptp(spec.weights) > 0.0)
    x = fit.fitted.to_numpy()
    y = fit.residuals.to_numpy() * (np.sqrt(spec.weights) if weighted else 1.0)
    points(ax, fit, x, y)
    ax.axhline(0.0, color=GREY, lw=1, zorder=1.5)
    smooth_lines(ax, fit, x, y)
    if fit._equations.knows_likelihood:  # else no residual has an error to be judged by
        name_extremes(ax, fit, x, y)
    response = response_of(fit)
    ax.set_xlabel(f"fitted value ({response})")
    ax.set_ylabel(f"residual × √weight ({response})" if weighted else f"residual ({response})")
    title(ax, "Residuals against fitted values", f"{len(x):,} records")
    return ax


def plot_scale(fit: DiagnosticMethods, ax: Axes | None) -> Axes:
    """√|studentized residual| against fitted values: level if the variances are right."""
    ax = axes(ax)
    x, studentized = fit.fitted.to_numpy(), fit._residual_table["studentized"].to_numpy()
    y = np.sqrt(np.abs(studentized))
    points(ax, fit, x, y)
    ax.axhline(EXPECTED_ROOT, color=GREY, lw=1, ls="--", zorder=1.5, label="expected of a right model")
    smooth_lines(ax, fit, x, y)
    name_extremes(ax, fit, x, y)
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(f"fitted value ({response_of(fit)})")
    ax.set_ylabel("√|studentized residual|")
    title(ax, "Spread of the residuals", f"{len(x):,} records, whitened by V")
    return ax


def plot_qq(fit: DiagnosticMethods, draws: int | None, seed: int, ax: Axes | None) -> Axes:
    """Studentized residuals against normal quantiles with a band for all of them together."""
    values: Array = fit._residual_table["studentized"].to_numpy()
    known = np.isfinite(values)
    drawn = studentized_draws(fit, how_many(draws, len(values)), seed)[known]
    band = envelope(np.sort(drawn, axis=0), LEVEL)
    ax = axes(ax)
    draw_quantiles(ax, values[known], list(fit.specification.index[known]), band)
    ax.set_ylabel("studentized residual")
    title(ax, "Quantiles of the residuals", f"{int(known.sum()):,} records, whitened by V")
    return ax
