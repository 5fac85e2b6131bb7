"""K V by blocks of markers, against K itself."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup as rb
from remlblup.equations.stochastic.blocks import genotype_blocks
from remlblup.equations.stochastic.forecast import pass_seconds, worker_memory
from remlblup.equations.stochastic.workers import Threads, tree_sum
from remlblup.linalg.threads import n_threads
from remlblup.relationship.genomic.codings import coding
from remlblup.relationship.genomic.packed import TILE


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


def test_genotypes_of_a_bed_are_multiplied_as_they_are_read(tmp_path):
    """Individuals and markers chosen from it, in another order, of either allele, which 61 fill no whole bytes with."""
    bed_reader = pytest.importorskip("bed_reader")
    rng = np.random.default_rng(5)
    M = rng.integers(0, 3, (61, 83)).astype(float)
    M[rng.random(M.shape) < 0.1] = np.nan
    bed_reader.to_bed(tmp_path / "set.bed", M, properties={"iid": [f"a{i}" for i in range(61)]})
    V = rng.normal(size=(61, 2))
    for counted in ("A1", "A2"):
        G = rb.Genotypes.from_bed(tmp_path / "set.bed", counted=counted)
        rows, columns = rng.permutation(61)[:50], np.r_[70:83, 3, 9, 20:50]
        for chosen in (G, G.select(G.ids[rows]), G.select(markers=G.markers[columns]), G._take(rows, columns)):
            K = rb.genomic_matrix(chosen, "dominance").to_numpy()
            code, v = coding(chosen, "dominance"), V[: len(chosen)]
            product = Threads().total(genotype_blocks(chosen, code, 25), v)
            np.testing.assert_allclose(product, K @ v, rtol=0, atol=1e-13 * np.abs(K @ v).max())
            held = rb.Genotypes.from_matrix(chosen.to_frame())
            assert np.array_equal(product, Threads().total(genotype_blocks(held, code, 25), v))


def test_dosages(tmp_path):
    rng = np.random.default_rng(5)
    G = rb.Genotypes.from_matrix(rng.uniform(0, 2, (40, 300)), ids=range(40))
    K, V = rb.genomic_matrix(G, "vanraden2").to_numpy(), rng.normal(size=(40, 3))
    product = Threads().total(genotype_blocks(G, coding(G, "vanraden2"), 128), V)
    np.testing.assert_allclose(product, K @ V, rtol=0, atol=1e-13 * np.abs(K @ V).max())


@pytest.mark.parametrize("n", [9, 300, TILE + 5])
def test_a_column_has_the_same_bits_beside_any_others(n):
    """The digits follow from the genotypes and the column: not from other columns, the panel or the order in memory."""
    G = genotypes(n, 45)
    blocks = genotype_blocks(G, coding(G, "vanraden2"))
    V = np.random.default_rng(3).normal(size=(n, 37))
    product = Threads().total(blocks, V)
    for columns in (slice(0, 1), slice(5, 12), slice(12, 37), slice(36, 37)):
        assert np.array_equal(product[:, columns], Threads().total(blocks, np.asfortranarray(V[:, columns])))


def test_a_bed_that_has_changed_is_named(tmp_path):
    bed_reader = pytest.importorskip("bed_reader")
    bed_reader.to_bed(tmp_path / "set.bed", np.random.default_rng(0).integers(0, 3, (20, 30)).astype(float))
    G = rb.Genotypes.from_bed(tmp_path / "set.bed")
    blocks = genotype_blocks(G, coding(G, "vanraden1"))
    with open(tmp_path / "set.bed", "ab") as file:
        file.write(b"0")
    with pytest.raises(rb.DataError, match="another file there, or has been written anew"):
        Threads().total(blocks, np.ones((20, 1)))
    (tmp_path / "set.bed").unlink()
    with pytest.raises(rb.DataError, match="every worker must see the file under this path"):
        Threads().total(blocks, np.ones((20, 1)))


def test_what_a_pass_and_a_worker_take():
    """10,000 individuals, 20,000 markers: .2 s for 16 columns; of 100, 8 MB of V, 5 times that and 2.56 MB a thread."""
    assert pass_seconds([(10_000, 20_000)], 16, 1) == pytest.approx(0.2)
    assert pass_seconds([(10_000, 20_000), (10_000, 20_000)], 100, 7) == pytest.approx(0.4)
    assert worker_memory(10_000, 100, 2) == pytest.approx(8e6 + 2 * (40e6 + 2.56e6))
    G = genotypes()
    data = pd.DataFrame({"id": G.ids, "y": np.arange(60.0) ** 0.5})
    said = str(rb.MixedModel("y ~ 1 + (1 | vm(id, G))", data, {"G": G}, engine="stochastic").describe())
    assert re.search(r"products with genotypes on \d+ threads? of this machine: .* s a pass of 16 columns", said)


def test_chosen_individuals_are_sent_once_for_all_blocks(tmp_path):
    pytest.importorskip("zarr")
    genotypes(4000, 40).to_zarr(tmp_path / "set.zarr")
    G = rb.Genotypes.from_zarr(tmp_path / "set.zarr")
    chosen = G.select(G.ids[np.random.default_rng(1).permutation(4000)[:3000]])
    sizes = [len(pickle.dumps(genotype_blocks(each, coding(each, "vanraden1"), 4))) for each in (G, chosen)]
    assert sizes[1] - sizes[0] < 8 * 3000 + 1000
    again = pickle.loads(pickle.dumps(genotype_blocks(chosen, coding(chosen, "vanraden1"), 4)))
    assert len({id(block.part.rows) for block in again}) == 1


@given(leaves=st.integers(1, 40), height=st.integers(0, 4))
def test_the_tree_does_not_depend_on_how_it_is_shared_out(leaves, height):
    """Sums of floating point numbers that differ in any other order."""
    values = np.random.default_rng(leaves).normal(size=(leaves, 64)) * 10.0 ** np.arange(-8, 8).repeat(4)
    whole = tree_sum(iter(values.copy()))
    size = 2**height
    shared = tree_sum(tree_sum(iter(values[k : k + size].copy())) for k in range(0, leaves, size))
    assert np.array_equal(whole, shared)
    np.testing.assert_allclose(whole, values.sum(axis=0), rtol=1e-9, atol=1e-9)
