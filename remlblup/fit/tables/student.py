"""Student's t on any degrees of freedom, infinite and missing ones included, without the weight of `scipy.stats`."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from remlblup.arrays import Array


def two_sided(t: Array, df: Array) -> Array:
    """P(|T| ≥ |t|)."""
    return np.asarray(2.0 * np.where(np.isinf(df), ndtr(-np.abs(t)), stdtr(df, -np.abs(t))))


def quantile(probability: float, df: Array) -> Array:
    """t with P(T ≤ t) = `probability`."""
    return np.where(np.isinf(df), ndtri(probability), stdtrit(df, probability))
