"""W (W'V) of a block of coded genotypes, packed four markers to a byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from remlblup.arrays import Array

TILE = 8192
"""Individuals at a time: a panel of V stays in the cache while all markers pass over it."""
_FIELDS = np.array([3, 2, 0, 1], dtype=np.uint8)
"""0, 1, 2 copies and missing as a .bed writes them, its first allele counted."""


def packed_counts(block: np.ndarray) -> np.ndarray:
    """Bytes (b, n) of int8 counts (n, m), 4 markers each; the fields are 0, 1, 2 and 3 for a missing genotype."""
    from remlblup.relationship.genomic.packed_kernels import pack_counts

    n, m = block.shape
    packed: np.ndarray = np.zeros((_bytes(m), n), dtype=np.uint8)
    pack_counts(np.asfortranarray(block), packed)
    return packed


def packed_bed(bed: np.ndarray, first_counted: bool, rows: np.ndarray | None, n: int) -> np.ndarray:
    """The same of the bytes (m, n / 4) of a .bed, for all n individuals or for some of them."""
    from remlblup.relationship.genomic.packed_kernels import pack_bed

    quads: np.ndarray = np.zeros((_bytes(len(bed)), bed.shape[1]), dtype="<u4")
    pack_bed(bed, first_counted, quads)
    packed = quads.view(np.uint8)[:, :n]
    return np.ascontiguousarray(packed if rows is None else packed[:, rows])


def bed_bytes(block: np.ndarray) -> np.ndarray:
    """Bytes (m, n / 4) as of a .bed, of int8 counts (n, m)."""
    n, m = block.shape
    fields = np.zeros((m, 4 * -(-n // 4)), dtype=np.uint8)
    fields[:, :n] = _FIELDS[np.where(block < 0, 3, block).T]
    return fields[:, ::4] | fields[:, 1::4] << 2 | fields[:, 2::4] << 4 | fields[:, 3::4] << 6


def bed_counts(bed: np.ndarray) -> np.ndarray:
    """int8 counts (m, n), negative for missing, of such bytes (m, n / 4): up to three more of them than individuals."""
    fields = np.argsort(_FIELDS).astype(np.int8)
    fields[fields == 3] = -1
    return fields[(bed[:, :, None] >> np.arange(0, 8, 2, dtype=np.uint8)) & 3].reshape(len(bed), -1)


def _bytes(markers: int) -> int:
    """Bytes for so many markers, rounded up as the kernels take them."""
    from remlblup.relationship.genomic.packed_kernels import BYTES

    return BYTES * -(-markers // (4 * BYTES))


def packed_product(packed: np.ndarray, codes: np.ndarray, V: Array) -> Array:
    """W (W'V), (n, k), for V (n, k).

    The digits of a column depend neither on the other columns, nor on the processor.

    Parameters
    ----------
    packed : (b, n) bytes of 4 markers; b is a multiple of 4
    codes : (m, 4) code of each field, by marker
    V : (n, k)
    """
    from remlblup.relationship.genomic.packed_kernels import PANELS

    n, k = V.shape
    padded = np.zeros((4 * len(packed), 4))
    padded[: len(codes)] = codes
    out: Array = np.empty_like(V, dtype=np.float64)
    for columns, width in _panels(k):
        transposed_times, times = PANELS[width]
        tables, pairs, T = (zeros_in_lines(rows, width) for rows in (1024, 32, len(padded)))
        panel, given = zeros_in_lines(min(TILE, n), width), columns.stop - columns.start
        for first in range(0, n, TILE):
            rows = min(TILE, n - first)
            panel[:rows, :given] = V[first : first + rows, columns]
            transposed_times(packed, padded, first, rows, panel, tables, pairs, T)
        for first in range(0, n, TILE):
            rows = min(TILE, n - first)
            panel[:rows] = 0.0
            times(packed, padded, first, rows, panel, tables, pairs, T)
            out[first : first + rows, columns] = panel[:rows, :given]
    return out


def zeros_in_lines(rows: int, width: int) -> Array:
    """An array that begins with a line of the cache, so that no row of 8 numbers lies in two."""
    space = np.zeros(rows * width + 7)
    start = -space.ctypes.data // 8 % 8
    return space[start : start + rows * width].reshape(rows, width)


def _panels(k: int) -> Iterator[tuple[slice, int]]:
    """Columns taken together, and the width of the panel that takes them: 16 where no fewer narrow ones do."""
    from remlblup.relationship.genomic.packed_kernels import NARROW, WIDE

    start = 0
    while start < k:
        width = WIDE if k - start > WIDE - NARROW else NARROW
        yield slice(start, min(start + width, k)), width
        start += width
