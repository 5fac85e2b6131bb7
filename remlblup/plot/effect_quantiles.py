"""BLUPs of a term against normal quantiles, each over the standard deviation that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.diagnostics.envelope import effect_draws, envelope, how_many
from remlblup.errors import ModelError
from remlblup.fit.tables.effects import term_index
from remlblup.plot.quantiles import draw_quantiles
from remlblup.plot.style import axes, shorten, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.solved import Solved

LEVEL = 0.95
# A BLUP with less than this share of its variance says nothing of its level.
LEAST = 1e-6


def plot_effect_quantiles(fit: Solved, term: str, effect: str, draws: int | None, seed: int, ax: Axes | None) -> Axes:
    """û/√var(û), var(û) = σ²K_ll − PEV, with the band of draws from the fitted model.

    (Lange & Ryan 1989, *Ann. Stat.* 17:624.) Levels whose BLUP is zero whatever the records are left out.

    Raises
    ------
    ModelError
        If there are fewer than three others.
    """
    spec, equations, solution = fit.specification, fit._equations, fit._solution
    k = term_index(spec, term)
    design = spec.random[k]
    i = [str(e) for e in design.structure.effects].index(effect)
    sigma = design.structure.covariance(spec.parameters.split(fit.theta)[k])
    prior = float(sigma[i, i]) * np.asarray(design.relationship.diagonal)
    errors = equations.level_covariances(solution)[k] if spec.groups else fit._level_covariances[k]
    variance = prior - errors[:, i, i]
    known = np.flatnonzero(variance > LEAST * np.max(prior, initial=0.0))
    if len(known) < 3:
        raise ModelError(
            f"fewer than three levels of '{term}' have a BLUP of {effect!r} that can be other than zero: its variance"
            " is zero, or there are no records to tell them apart."
        )
    size = np.sqrt(variance[known])
    values = equations.level_effects(solution)[k][i][known] / size
    drawn = effect_draws(fit, k, i, how_many(draws, design.q), seed)[known] / size[:, None]
    ax = axes(ax)
    draw_quantiles(ax, values, [design.relationship.labels[level] for level in known],
                   envelope(np.sort(drawn, axis=0), LEVEL))  # fmt: skip
    several = f": {shorten(effect, 24)}" if design.t > 1 else ""
    ax.set_ylabel(f"BLUP of {shorten(effect, 30)} / its standard deviation")
    title(ax, f"Quantiles of {shorten(term, 44)}{several}", f"{len(known):,} levels")
    return ax
