"""The direction in which ℓ is flat, or flattest: how ℓ and the components change along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError
from remlblup.reml.flat import displaced, loglik

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Points on each side, and how far to go: of a flat direction until the variances have changed by about that of y, of
# another so many standard errors.
POINTS, REACH = 20, 3.0
# A step that leaves the parameter space is shortened so often, each time to this part.
SHORTER, PART = 12, 0.7
# A parameter takes part in a direction if it moves by this share of what the one that moves most does.
SHARE = 0.1
# Parameters told in words.
TOLD = 5


@dataclass(frozen=True)
class Direction:
    """A direction of the parameter space through the estimates: `fit.flat_direction()`.

    Attributes
    ----------
    table : a row per step: step, loglik, below (the fit's ℓ less it), and every parameter
    change : by parameter, what a step of 1 changes; parameters that do not move left out
    scaled : the same in standard errors of each parameter given the others, in its natural size where it has none
    flat : whether ℓ is the same along it; if not, it is the direction that the data say least about
    """

    table: pd.DataFrame
    change: pd.Series
    scaled: pd.Series
    flat: bool

    @property
    def verdict(self) -> str:
        """In words: what moves together, how far, and what ℓ does."""
        first, last = self.table.iloc[0], self.table.iloc[-1]
        order = self.scaled.abs().sort_values(ascending=False, kind="stable").index
        moves = [f"'{name}' goes from {first[name]:.4g} to {last[name]:.4g}" for name in order[:TOLD]]
        if len(order) > TOLD:
            moves.append(f"and {len(order) - TOLD} more move")
        together = " while ".join([moves[0], ", ".join(moves[1:])] if len(moves) > 1 else moves)
        fall = float(self.table["below"].max())
        if self.flat:
            return f"The likelihood is the same along this line: {together}, and it changes by {fall:.1g} at most."
        return f"Of all directions the data say least about this one: {together}; ℓ falls by {fall:.3g} at most."

    def __str__(self) -> str:
        return self.verdict

    def __repr__(self) -> str:
        return f"<Direction: {self.verdict}>"


def flat_direction(fit: Estimates) -> Direction:
    """See `DiagnosticMethods.flat_direction`."""
    known, searched = fit._information, fit._optimum.searched
    is_flat = known.flat.shape[1] > 0
    if not is_flat and not known.curved.shape[1]:
        raise ModelError("no parameter of this fit is free to move: there is no direction to look along.")
    # Eigenvectors come by ascending information: the first is the one with least.
    along, reach = (known.flat[:, 0], 1.0) if is_flat else (known.curved[:, 0], REACH)
    # Positive in the first that moves most: of two that move alike the last bit does not decide.
    along = along * np.sign(along[np.argmax(np.abs(along) > 0.999 * np.abs(along).max())])
    steps = within(fit, along, reach)
    points = [displaced(searched.spec.parameters, fit._optimum.point, step * along) for step in steps]
    heights = np.array([loglik(searched, fit._optimum.point, theta) for theta in points])
    columns = list(fit.specification.parameters.columns)
    table = pd.DataFrame({"step": steps, "loglik": np.where(np.isfinite(heights), heights, np.nan)})
    table["below"] = fit.loglik - table["loglik"]
    table = table.join(pd.DataFrame(points, columns=columns))
    errors = np.ones(len(along)) if known.errors is None else np.asarray(known.errors, dtype=float)
    moved = along / np.where(errors > 0.0, errors, 1.0)
    moving = np.abs(moved) > SHARE * np.abs(moved).max()
    names = pd.Index([c for c, m in zip(columns, moving, strict=True) if m], name="parameter")
    change, scaled = (pd.Series(values[moving], index=names) for values in (along, moved))
    return Direction(table, change.rename("change"), scaled.rename("scaled"), is_flat)


def within(fit: Estimates, along: Array, reach: float) -> Array:
    """Steps to both sides, as far as the parameter space goes, zero among them."""
    searched, point = fit._optimum.searched, fit._optimum.point
    parameters = searched.spec.parameters
    ends = []
    for side in (-1.0, 1.0):
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(side * along > 0.0, parameters.upper - point.theta, parameters.lower - point.theta)
            far = np.where(along == 0.0, np.inf, room / (side * along))
        step = side * min(reach, float(np.min(far[far >= 0.0], initial=np.inf)))
        for _ in range(SHORTER):
            there = loglik(searched, point, displaced(parameters, point, step * along))
            if np.isfinite(there):
                break
            step *= PART
        else:
            step = 0.0
        ends.append(step)
    low, high = ends
    return np.unique(np.concatenate([np.linspace(low, 0.0, POINTS + 1), np.linspace(0.0, high, POINTS + 1)]))
