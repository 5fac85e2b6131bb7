"""``sph``: c = 1 − 3h/2 + h³/2 up to the range, and nothing beyond it."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.distance.base import Distance


class Spherical(Distance):
    """Σ_ij = v (1 − 3/2 d_ij/φ + 1/2 (d_ij/φ)³) where d_ij < φ, else 0; in up to three coordinates."""

    keyword = "sph"
    half = 0.34729635533386066  # 1 − 3h/2 + h³/2 = 1/2: h = 2 sin(π/18)
    on_earth = True
    most_coordinates = 3
    has_kinks = True

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        h = np.minimum(h, 1.0)
        return 1.0 - 1.5 * h + 0.5 * h**3, 1.5 * (h - h**3)
