"""Studentized residuals by what the records have in common: a group, a covariate, the predicted part of a term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import OptionError, VarianceError, some
from remlblup.fit.tables.effects import term_index
from remlblup.fit.terms.field_maps import column
from remlblup.plot.ends import name_ends
from remlblup.plot.scatter import name_extremes, points, response_of, smooth_lines
from remlblup.plot.style import BLUE, GREY, PALE, VERMILION, axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.diagnostics.methods import DiagnosticMethods

# Numbers with more distinct values than this are a covariate, else groups.
FEW_VALUES = 12
# Groups with a name each; of more some at both ends.
NAMED = 40


def plot_by(fit: DiagnosticMethods, by: Any, ax: Axes | None) -> Axes:
    """Studentized residuals by a column, one value for each record, or against Zû of a random term."""
    residual = fit._residual_table["studentized"].to_numpy()
    term = term_asked_for(fit, by)
    if term is not None:
        name, x = term
        return against(fit, x, residual, f"predicted part of {shorten(name, 36)} ({response_of(fit)})", ax)
    values = column(fit, by, "by")
    factors = {f for d in fit.specification.random if d.term for group in d.term.groups for f in group.factors}
    numbers = pd.api.types.is_numeric_dtype(values.dtype) and values.name not in factors
    if numbers and values.nunique() > FEW_VALUES:
        return against(fit, values.to_numpy(dtype=float), residual, shorten(values.name, 40), ax)
    return in_groups(values, residual, ax)


def term_asked_for(fit: DiagnosticMethods, by: Any) -> tuple[str, Array] | None:
    """Name and Z_k û_k (n,) of a random term, if that is what is asked for: a name that is no column of the data.

    Raises
    ------
    OptionError
        For a text that is neither a column of the data nor a random term.
    """
    records = fit.specification.records
    own = [] if records is None else [c for c in records.frame.columns if c != "units"]
    if not isinstance(by, str) or by in own:
        return None
    try:
        design = fit.specification.random[k := term_index(fit.specification, by)]
    except VarianceError:
        terms = [d.name for d in fit.specification.random]
        raise OptionError(
            f"by={by!r} is neither a column of the data that the fit has kept ({some(own, 20) or 'there are none'})"
            f" nor a random term ({some(terms) or 'there are none'})."
        ) from None
    return design.name, np.asarray(sum(Z @ u for Z, u in zip(design.columns, fit._level_effects[k], strict=True)))


def against(fit: DiagnosticMethods, x: Array, y: Array, label: str, ax: Axes | None) -> Axes:
    """Points and a smooth."""
    ax = axes(ax)
    points(ax, fit, x, y)
    ax.axhline(0.0, color=GREY, lw=1, zorder=1.5)
    smooth_lines(ax, fit, x, y)
    name_extremes(ax, fit, x, y)
    ax.set_xlabel(label)
    ax.set_ylabel("studentized residual")
    title(ax, "Residuals by " + shorten(label.partition(" (")[0], 44), f"{len(x):,} records, whitened by V")
    return ax


def in_groups(values: pd.Series, residual: Array, ax: Axes | None) -> Axes:
    """A box and its records for each group, by their medians where they have no order; of many names at both ends."""
    frame = pd.DataFrame({"group": values.to_numpy(), "residual": residual}).dropna()
    parts = {name: part.to_numpy() for name, part in frame.groupby("group", observed=True)["residual"]}
    ordered = isinstance(values.dtype, pd.CategoricalDtype) and bool(values.cat.ordered)
    ordered |= pd.api.types.is_numeric_dtype(values.dtype)
    names = list(parts) if ordered else sorted(parts, key=lambda name: float(np.median(parts[name])))
    count = len(names)
    few = count <= NAMED
    ax = axes(ax, (6.8, min(max(2.4, 1.4 + 0.22 * count), 8.5) if few else 5.2))
    place = np.arange(1, count + 1)
    quartiles = np.array([np.quantile(parts[name], [0.25, 0.5, 0.75]) for name in names])
    ax.axvline(0.0, color=GREY, lw=1, zorder=1)
    ax.hlines(place, quartiles[:, 0], quartiles[:, 2], color=PALE, lw=9 if count <= 25 else 5 if few else 1.5, zorder=2)
    if few:
        jitter = np.random.default_rng(0)
        for y, name in zip(place, names, strict=True):
            spread = jitter.uniform(-0.16, 0.16, len(parts[name]))
            ax.plot(parts[name], y + spread, ls="", marker="o", ms=2.5, color=BLUE, alpha=0.6, zorder=3)
        ax.plot(
            quartiles[:, 1], place, ls="", marker="|", ms=11 if count <= 25 else 6, mew=2, color=VERMILION, zorder=4
        )
        ax.set_yticks(place, [f"{shorten(name, 24)} ({len(parts[name])})" for name in names])
        ax.tick_params(axis="y", length=0, labelsize=9 if count <= 25 else 7)
    else:
        ax.plot(quartiles[:, 1], place, color=VERMILION, lw=1.6, zorder=4)
        name_ends(ax, quartiles[:, 1], names)
        ax.set_ylabel("groups in their order" if ordered else "groups by their medians")
    ax.set_ylim(0.3 if few else 1 - 0.02 * count, count + (0.7 if few else 0.02 * count))
    ax.set_xlabel("studentized residual")
    below = f"{count:,} groups: median, quartiles" + (", records" if few else "")
    title(ax, f"Residuals by {shorten(values.name, 40)}", below)
    return ax
