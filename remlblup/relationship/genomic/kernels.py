"""Loops over blocks of int8 genotypes: individuals × markers, any negative value missing."""

from __future__ import annotations

from remlblup.linalg.compiler import njit

MISSING = 3
"""Column of a missing genotype in tables over 0, 1, 2, missing."""


@njit(cache=True, nogil=True)
def decode(block, table, out):
    """out (n, k) ← the entry of table (k, 4) for each genotype of block (n, k)."""
    n, k = block.shape
    for j in range(k):
        for i in range(n):
            g = block[i, j]
            out[i, j] = table[j, MISSING if g < 0 else g]


@njit(cache=True, nogil=True)
def decode_sum(block, table, total):
    """total (n,) += the entries of table (k, 4) for the genotypes of each individual."""
    n, k = block.shape
    for j in range(k):
        for i in range(n):
            g = block[i, j]
            total[i] += table[j, MISSING if g < 0 else g]


@njit(cache=True, nogil=True)
def count(block, counts, missing, heterozygous):
    """counts (k, 4) of 0, 1, 2, missing by marker; missing and heterozygous genotypes (n,) by individual, added to."""
    n, k = block.shape
    for j in range(k):
        for i in range(n):
            g = block[i, j]
            if g < 0:
                counts[j, MISSING] += 1
                missing[i] += 1
            else:
                counts[j, g] += 1
                if g == 1:
                    heterozygous[i] += 1
