"""``lin``: c = 1 − h up to the range, and nothing beyond it."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.structure.distance.base import Distance


class Linear(Distance):
    """Σ_ij = v (1 − d_ij/φ) where d_ij < φ, else 0; of one coordinate: in two it is no covariance."""

    keyword = "lin"
    half = 0.5
    most_coordinates = 1
    has_kinks = True

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        return np.maximum(1.0 - h, 0.0), np.where(h < 1.0, h, 0.0)
