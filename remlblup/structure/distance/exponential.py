"""``exp`` of places: c = exp(−h)."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.distance.base import Distance


class Exponential(Distance):
    """Σ_ij = v exp(−d_ij/φ)."""

    keyword = "exp"
    half = float(np.log(2.0))
    on_earth = True

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        c = np.exp(-h)
        return c, h * c
