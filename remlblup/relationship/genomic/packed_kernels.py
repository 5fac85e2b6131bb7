"""W'V and W T for coded genotypes packed four markers to a byte, by tables in place of multiplications.

Four markers of an individual are one of 256 bytes. So W T, a sum over markers, takes the sum over four markers from a
table of 256 rows; and W'V first adds up the rows of V of all individuals with the same byte, and then multiplies 256
sums by codes: a quarter of the additions of a product of matrices, next to no multiplications, and nothing to decode
(the method of the "four Russians": Arlazarov, Dinic, Kronrod & Faradzhev 1970, Soviet Math Dokl 11:1209).
Four bytes, 16 markers, are looked up at a time. V and T come as panels of 16 or of 4 columns, row by row.
"""

from __future__ import annotations

from typing import Any

from remlblup.linalg.compiler import kernel
from remlblup.linalg.rows import add_four, add_scaled, add_to_four, set_sum, set_sum_of_sixteen

BYTES = 4
"""Bytes looked up at a time: an array `packed` has a multiple of so many rows."""


@kernel
def pack_counts(block, packed):
    """packed (bytes, n) ← int8 counts (n, m) of 4 markers to a byte, the first lowest; negative ones as 3."""
    n, m = block.shape
    for q in range(m // 4):
        for i in range(n):
            g, h, k, l = block[i, 4 * q], block[i, 4 * q + 1], block[i, 4 * q + 2], block[i, 4 * q + 3]
            packed[q, i] = ((g | g >> 7) & 3 | ((h | h >> 7) & 3) << 2 | ((k | k >> 7) & 3) << 4
                            | ((l | l >> 7) & 3) << 6)  # fmt: skip
    for j in range(m - m % 4, m):
        for i in range(n):
            packed[j // 4, i] |= ((block[i, j] | block[i, j] >> 7) & 3) << 2 * (j % 4)


@kernel
def pack_bed(bed, first_counted, quads):
    """quads (bytes, n/4 words), as `packed` above ← the bytes (m, n/4) of a .bed, 4 individuals of a marker to each.

    A .bed has 00 for two copies of its first allele, 10 for one, 11 for none, 01 for a missing genotype.
    A word holds 4 × 4 fields of two bits, markers in rows; two exchanges across its diagonal transpose it.
    """
    m, length = bed.shape
    for q in range((m + 3) // 4):
        for j in range(min(4, m - 4 * q)):
            for i in range(length):
                quads[q, i] |= quads.dtype.type(bed[4 * q + j, i]) << quads.dtype.type(8 * j)
        for i in range(length):
            x = quads[q, i]
            upper = ~x & 0xAAAAAAAA if first_counted else (x << 1) & 0xAAAAAAAA
            x = upper | (x ^ (x >> 1)) & 0x55555555
            y = (x ^ (x >> 6)) & 0x00CC00CC
            x ^= y ^ (y << 6)
            y = (x ^ (x >> 12)) & 0x0000F0F0
            quads[q, i] = x ^ y ^ (y << 12)


def panel_kernels(width: int) -> tuple[Any, Any]:
    """The two products for panels of so many columns."""
    size = 8 * width

    @kernel
    def clear(rows, target):
        """Rows of an array, from its first, set to zero."""
        for i in range(rows):
            for c in range(width):
                target[i, c] = 0.0

    @kernel
    def transposed_times(packed, codes, first, rows, panel, tables, pairs, T):
        """T (markers, width) += W'panel over individuals first to first + rows − 1, those of the panel."""
        v, a, p, t = panel.ctypes.data, tables.ctypes.data, pairs.ctypes.data, T.ctypes.data
        for q in range(0, packed.shape[0], BYTES):
            clear(BYTES * 256, tables)
            for i in range(rows):
                j = first + i
                add_to_four(v + size * i, a + size * packed[q, j], a + size * (256 + packed[q + 1, j]),
                            a + size * (512 + packed[q + 2, j]), a + size * (768 + packed[q + 3, j]),
                            width)  # fmt: skip
            for s in range(BYTES):
                # From 256 sums by four markers to 2 × 16 by two, and from these to the codes of one.
                for b in range(16):
                    set_sum_of_sixteen(p + size * b, a + size * (256 * s + b), 16 * size, width)
                    set_sum_of_sixteen(p + size * (16 + b), a + size * (256 * s + 16 * b), size, width)
                marker = 4 * (q + s)
                for b in range(16):
                    add_scaled(t + size * marker, codes[marker, b % 4], p + size * b, width)
                    add_scaled(t + size * (marker + 1), codes[marker + 1, b // 4], p + size * b, width)
                    add_scaled(t + size * (marker + 2), codes[marker + 2, b % 4], p + size * (16 + b), width)
                    add_scaled(t + size * (marker + 3), codes[marker + 3, b // 4], p + size * (16 + b), width)

    @kernel
    def times(packed, codes, first, rows, panel, tables, pairs, T):
        """panel (rows, width) += W T for individuals first to first + rows − 1; T (markers, width)."""
        v, a, p, t = panel.ctypes.data, tables.ctypes.data, pairs.ctypes.data, T.ctypes.data
        for q in range(0, packed.shape[0], BYTES):
            for s in range(BYTES):
                clear(32, pairs)
                marker = 4 * (q + s)
                for b in range(16):
                    add_scaled(p + size * b, codes[marker, b % 4], t + size * marker, width)
                    add_scaled(p + size * b, codes[marker + 1, b // 4], t + size * (marker + 1), width)
                    add_scaled(p + size * (16 + b), codes[marker + 2, b % 4], t + size * (marker + 2), width)
                    add_scaled(p + size * (16 + b), codes[marker + 3, b // 4], t + size * (marker + 3), width)
                for b in range(256):
                    set_sum(a + size * (256 * s + b), p + size * (b % 16), p + size * (16 + b // 16), width)
            for i in range(rows):
                j = first + i
                add_four(v + size * i, a + size * packed[q, j], a + size * (256 + packed[q + 1, j]),
                         a + size * (512 + packed[q + 2, j]), a + size * (768 + packed[q + 3, j]), width)  # fmt: skip

    return transposed_times, times


NARROW, WIDE = 4, 16
PANELS = {width: panel_kernels(width) for width in (NARROW, WIDE)}
