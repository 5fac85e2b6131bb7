"""Codes in place of genotypes: Z of a block, and products with it where genotypes are no whole numbers."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array, chunks_of
from remlblup.linalg.threads import side_by_side, single_threaded

_COLUMNS = 128


def coded(block: np.ndarray, table: np.ndarray, dtype: type = np.float64) -> np.ndarray:
    """Z (n, k), column-major, of a block of genotypes (n, k) by its table (k, 4)."""
    out: np.ndarray = np.empty(block.shape, dtype=dtype, order="F")
    if block.dtype == np.int8:
        from remlblup.relationship.genomic.kernels import decode

        tables: np.ndarray = np.ascontiguousarray(table, dtype=dtype)
        side_by_side(decode, [(block[:, p], tables[p], out[:, p]) for p in _parts(block.shape[1])])
    else:
        side_by_side(_interpolate, [(block[:, p], table[p], out[:, p]) for p in _parts(block.shape[1])])
    return out


def _parts(k: int) -> list[slice]:
    return chunks_of(k, _COLUMNS)


def _interpolate(block: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Dosages: the parabola through the codes of 0, 1 and 2, a straight line for additive codes."""
    x = block.astype(np.float64)
    slope, bend = table[:, 1] - table[:, 0], 0.5 * (table[:, 2] - 2.0 * table[:, 1] + table[:, 0])
    out[...] = np.where(np.isnan(x), table[:, 3], table[:, 0] + x * slope + x * (x - 1.0) * bend)


@single_threaded
def dosage_product(block: np.ndarray, table: np.ndarray, V: Array) -> Array:
    """W (W'V), (n, k), of dosages (n, m), for V (n, k): decoded a few markers at a time."""
    out: Array = np.zeros(V.shape)
    for p in _parts(block.shape[1]):
        W = np.empty((len(block), p.stop - p.start), order="F")
        _interpolate(block[:, p], table[p], W)
        out += W @ (W.T @ V)
    return out
