"""Genotypes in Zarr stores."""

from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

import remlblup as rb
from remlblup.equations.stochastic.blocks import genotype_blocks
from remlblup.equations.stochastic.workers import Threads
from remlblup.relationship.genomic.codings import coding

zarr = pytest.importorskip("zarr")


def genotypes(dosage: bool = False, n: int = 61, m: int = 83) -> rb.Genotypes:
    rng = np.random.default_rng(5)
    M = rng.uniform(0, 2, (n, m)).astype(np.float32) if dosage else rng.integers(0, 3, (n, m)).astype(float)
    M[rng.random(M.shape) < 0.1] = np.nan
    return rb.Genotypes.from_matrix(M, ids=[f"é{i}" for i in range(n)], markers=[f"m{j}" for j in range(m)])


@pytest.mark.parametrize("dosage", [False, True])
def test_what_was_written_is_read_and_multiplied_alike(tmp_path, dosage):
    given = genotypes(dosage)
    given.to_zarr(tmp_path / "set.zarr")
    stored = rb.Genotypes.from_zarr(tmp_path / "set.zarr")
    assert stored.to_frame().equals(given.to_frame())
    assert stored.counted == given.counted and "set.zarr" in repr(stored)
    rng = np.random.default_rng(2)
    rows, columns, V = rng.permutation(61)[:50], np.r_[70:83, 3, 9, 20:50], rng.normal(size=(61, 3))
    for r, c in ((None, None), (rows, None), (None, columns), (rows, columns)):
        one, other = given._take(r, c), stored._take(r, c)
        v = V[: len(one)]
        code = coding(one, "vanraden2")
        products = [Threads().total(genotype_blocks(G, code, 20), v) for G in (one, other)]
        assert np.array_equal(*products)


def test_genotypes_of_vcf_zarr(tmp_path):
    """Alleles (markers, individuals, ploidy): −1 is missing, and so is a genotype that is missing in part."""
    alleles = np.random.default_rng(0).integers(-1, 2, (30, 9, 2)).astype(np.int8)
    group = zarr.open_group(tmp_path / "vcf.zarr", mode="w")
    group.create_array("call_genotype", data=alleles, chunks=(10, 4, 2), fill_value=-2)
    group.create_array("sample_id", data=np.array([f"a{i}" for i in range(9)], dtype=np.dtypes.StringDType()))
    group.create_array("variant_id", data=np.array([f"v{i}" for i in range(30)], dtype=np.dtypes.StringDType()))
    frame = rb.Genotypes.from_zarr(tmp_path / "vcf.zarr").to_frame().to_numpy()
    expected = np.where((alleles < 0).any(axis=2), np.nan, alleles.sum(axis=2)).T
    np.testing.assert_array_equal(frame, expected)


def test_a_missing_chunk_is_named_at_once_and_later(tmp_path):
    genotypes(m=3000).to_zarr(tmp_path / "set.zarr")
    stored = rb.Genotypes.from_zarr(tmp_path / "set.zarr")
    code = coding(stored, "vanraden1")
    (tmp_path / "set.zarr" / "genotypes_bed" / "c" / "1" / "0").unlink()
    with pytest.raises(rb.DataError, match="1 of the 3 chunks of /genotypes_bed are missing"):
        Threads().total(genotype_blocks(stored, code), np.ones((61, 1)))
    with pytest.raises(rb.DataError, match="1 of the 3 chunks of /genotypes_bed are missing"):
        rb.Genotypes.from_zarr(tmp_path / "set.zarr")


def test_a_chunk_that_is_damaged_or_a_store_that_has_gone(tmp_path):
    genotypes(True).to_zarr(tmp_path / "set.zarr")
    stored = rb.Genotypes.from_zarr(tmp_path / "set.zarr")
    blocks = genotype_blocks(stored, coding(stored, "vanraden1"))
    (tmp_path / "set.zarr" / "dosages" / "c" / "0" / "0").write_bytes(b"nothing of that kind")
    with pytest.raises(rb.DataError, match=r"set\.zarr cannot be read on"):
        Threads().total(blocks, np.ones((61, 1)))
    shutil.rmtree(tmp_path / "set.zarr")
    with pytest.raises(rb.DataError, match=r"is not there any more.*Put it back"):
        Threads().total(blocks, np.ones((61, 1)))


def test_what_is_no_store_of_genotypes(tmp_path):
    with pytest.raises(rb.DataError, match="not a Zarr store"):
        rb.Genotypes.from_zarr(tmp_path / "none.zarr")
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array("x", shape=3, dtype="int8")
    with pytest.raises(rb.DataError, match=r"holds no genotypes.*Its arrays: x"):
        rb.Genotypes.from_zarr(tmp_path / "other.zarr")
    with pytest.raises(rb.DataError, match="is there already"):
        genotypes().to_zarr(tmp_path / "other.zarr")
    with pytest.raises(rb.DataError, match="cannot be written"):
        (tmp_path / "file").write_text("x")
        genotypes().to_zarr(tmp_path / "file" / "set.zarr")


def test_without_zarr(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(rb.DependencyError, match=r'pip install "remlblup\[distributed\]"'):
        rb.Genotypes.from_zarr(tmp_path)
