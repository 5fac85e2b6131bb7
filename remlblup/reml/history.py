"""One row per iteration: what was done, what it gained, how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array

# Iterations of at least this many seconds also show where they went and what is left.
LONG = 1.0


@dataclass(frozen=True)
class Iteration:
    """The state after an iteration; iteration 0 is the start.

    Attributes
    ----------
    step : what led here: "start" or "moments" (both the start), "strata", "AI", "AI/2", "AI+EM", "EM", "PX-EM", …
    gradient : largest |score| over the free parameters, each in units of its standard error
    decrement : Newton decrement g'H⁻¹g
    change : largest change of a parameter relative to its size
    boundary : labels of the components on the boundary
    phases : seconds by phase of the kernel: factor, inverse, solve
    left : seconds still to go by the rate the gradient has fallen so far, NaN where that tells nothing
    """

    iteration: int
    step: str
    loglik: float
    delta: float
    gradient: float
    decrement: float
    change: float
    halvings: int
    seconds: float
    boundary: tuple[str, ...]
    theta: Array
    phases: tuple[tuple[str, float], ...] = ()
    left: float = float("nan")

    def line(self) -> str:
        """The line printed while fitting."""
        delta = f"{self.delta:+12.3e}" if np.isfinite(self.delta) else " " * 12
        change = f"{100 * self.change:9.2e}" if np.isfinite(self.change) else " " * 9
        known = np.isfinite(self.loglik)  # or the step, which may be said at length, has its place
        told = f"{self.step:<10} {self.loglik:16.6f}" if known else f"{self.step:<26}-"
        detail = ""
        if self.seconds >= LONG:
            detail = "  " + ", ".join(f"{name} {spent:.1f}" for name, spent in self.phases)
            detail += f"; about {self.left:.0f} s left" if np.isfinite(self.left) else ""
        return (
            f"{self.iteration:4d}  {told} {delta}  {self.gradient:9.2e}  {change}"
            f"  {', '.join(self.boundary) or '-':<12} {self.seconds:8.3f}{detail}"
        )


HEADER = (
    f"{'iter':>4}  {'step':<10} {'logL':>16} {'ΔlogL':>12}  {'|grad|':>9}  {'maxΔ%':>9}  {'boundary':<12} {'time':>8}"
)


def history_table(iterations: Sequence[Iteration], columns: Sequence[str]) -> pd.DataFrame:
    """The history as a DataFrame, with one column per parameter."""
    rows = {
        "iteration": [i.iteration for i in iterations],
        "step": [i.step for i in iterations],
        "loglik": [i.loglik for i in iterations],
        "delta": [i.delta for i in iterations],
        "gradient": [i.gradient for i in iterations],
        "decrement": [i.decrement for i in iterations],
        "change": [i.change for i in iterations],
        "halvings": [i.halvings for i in iterations],
        "seconds": [i.seconds for i in iterations],
        "boundary": [", ".join(i.boundary) for i in iterations],
    }
    theta = np.array([i.theta for i in iterations]).reshape(len(iterations), len(columns))
    return pd.DataFrame(rows).join(pd.DataFrame(theta, columns=list(columns)))
