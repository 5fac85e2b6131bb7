"""``ratio``: the rational quadratic, c = 1/(1 + h²)."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.distance.base import Distance


class RationalQuadratic(Distance):
    """Σ_ij = v / (1 + (d_ij/φ)²)."""

    keyword = "ratio"
    half = 1.0

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        square = h * h
        c = 1.0 / (1.0 + square)
        return c, np.asarray(2.0 * (square * c) * c)  # 1 − c of a small h would be rounding
