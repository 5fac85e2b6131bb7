"""K V by blocks of markers, against K itself."""

from __future__ import annotations

import numpy as np
import pytest

import remlblup as rb
from remlblup.equations.stochastic.blocks import genotype_blocks
from remlblup.equations.stochastic.workers import Threads
from remlblup.linalg.threads import n_threads
from remlblup.relationship.genomic.codings import coding


def genotypes(n: int = 60, m: int = 171, missing: float = 0.05, seed: int = 1) -> rb.Genotypes:
    rng = np.random.default_rng(seed)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, m), (n, m)).astype(float)
    M[rng.random((n, m)) < missing] = np.nan
    return rb.Genotypes.from_matrix(M, ids=[f"a{i}" for i in range(n)])


@pytest.mark.parametrize("method", ["vanraden1", "vanraden2", "dominance", "dominance_su"])
@pytest.mark.parametrize("size", [16, 50, 1000])
def test_the_sum_of_blocks_is_the_product_with_the_matrix(method, size):
    G = genotypes()
    K = rb.genomic_matrix(G, method).to_numpy()
    V = np.random.default_rng(2).normal(size=(60, 5))
    product = Threads().total(genotype_blocks(G, coding(G, method), size), V)
    np.testing.assert_allclose(product, K @ V, rtol=0, atol=1e-13 * np.abs(K @ V).max())


def test_the_bits_do_not_depend_on_the_threads():
    G = genotypes()
    blocks = genotype_blocks(G, coding(G, "vanraden1"), 10)
    V = np.random.default_rng(2).normal(size=(60, 3))
    before, sums = n_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            rb.set_threads(threads)
            sums.append(Threads().total(blocks, V))
    finally:
        rb.set_threads(before)
    assert all(np.array_equal(sums[0], each) for each in sums)
