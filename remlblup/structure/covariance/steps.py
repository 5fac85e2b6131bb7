"""Where effects lie on a line in whole steps: ``ar1``, ``ar1h`` and ``toep`` count distances so, ``exp`` does not.

Times 1, 2, 4 are at the steps 0, 1, 3: that nobody was seen at 3 leaves the distance from 2 to 4 as it is. The step is
the largest one of which all distances are multiples: of 8, 10, 14 years two years, of 0.5, 1, 2.5 hours half an hour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError
from remlblup.linalg.memory import require
from remlblup.structure.covariance.correlation import CorrelationStructure

# Distances that differ from whole steps by less than this share of the largest position are whole: decimals as stored.
ROUNDING = 1e-12
# A usual distance of more steps than this is no number of steps: its correlation per step is 1 to the last digit.
MOST_STEPS = 1e6
# Beside powers of ten, steps of the shortest distance over 1, 2, …: thirds and twelfths of a year, minutes of an hour.
FRACTIONS = 60


class InSteps(CorrelationStructure):
    """Correlations that depend on the number of steps between two effects.

    Parameters
    ----------
    effects, positions : as in `Structure`
    steps : (t,) whole numbers, optional
        Where the effects lie; 0, 1, 2, … without, the effects in their order.
    """

    ordered = True
    in_steps = True

    def __init__(self, effects: Sequence[str], positions: Array | None = None, steps: Array | None = None):
        super().__init__(effects, positions)
        self.places: Array = np.arange(float(self.size)) if steps is None else np.asarray(steps, dtype=float)

    @cached_property
    def distances(self) -> Array:
        """d, shape (t, t)."""
        require(16.0 * self.size**2, f"the matrix of '{self.keyword}' over {self.size:,} effects")
        return np.abs(self.places[:, None] - self.places)


def in_steps(x: Array) -> Array:
    """Distances of the positions x from the least one, as whole numbers of the largest step they allow.

    Raises
    ------
    ModelError
        If the distances are no multiples of one step, within reason.
    """
    extent = x - np.min(x)
    gaps = np.diff(np.unique(extent))
    gaps = gaps[gaps > ROUNDING * np.max(np.abs(x), initial=0.0)]
    if not len(gaps):
        return np.zeros(len(x))
    usual, shortest, longest = float(np.median(gaps)), float(gaps.min()), float(extent.max())
    tens = 10.0 ** np.arange(np.floor(np.log10(shortest)), np.floor(np.log10(usual / MOST_STEPS)), -1.0)
    for step in [*tens, *(shortest / np.arange(1.0, FRACTIONS + 1.0))]:
        count = np.round(longest / step)
        steps = np.round(extent * (count / longest))
        if usual * count <= MOST_STEPS * longest and np.all(
            np.abs(extent - steps * (longest / count)) <= ROUNDING * np.max(np.abs(x))
        ):
            return np.asarray(steps / np.gcd.reduce(steps.astype(np.int64)), dtype=float)
    raise ModelError(
        f"the distances between {x[0]:.12g}, {x[min(1, len(x) - 1)]:.12g}, … are not whole numbers of any step: write"
        " exp(…), which takes any distances, or round the positions."
    )
