"""``gau``: c = exp(−h²)."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.distance.base import Distance


class Gaussian(Distance):
    """Σ_ij = v exp(−(d_ij/φ)²)."""

    keyword = "gau"
    half = float(np.sqrt(np.log(2.0)))

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        square = h * h
        c = np.exp(-square)
        return c, 2.0 * square * c
