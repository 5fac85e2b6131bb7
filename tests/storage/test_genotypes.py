"""A fit whose relationship stands in its genotypes is saved with them, K never formed, and comes back the same."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations.stochastic.engine import EXACT, VARIATES
from remlblup.relationship.genomic import relationship as unformed

pytestmark = pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning")

N, M = 61, 90
QUICK = {"progress": False, "probes": 5, "max_iterations": 2}


def frame(ids) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    animal = np.r_[rng.permutation(len(ids)), rng.integers(0, len(ids), 40)]
    return pd.DataFrame({"id": np.asarray(ids)[animal], "x": rng.normal(size=len(animal)),
                         "y": rng.normal(size=len(ids))[animal] + rng.normal(size=len(animal))})  # fmt: skip


def counts(dosages: bool = False) -> np.ndarray:
    rng = np.random.default_rng(1)
    values = rng.uniform(0, 2, (N, M)) if dosages else rng.integers(0, 3, (N, M)).astype(float)
    values[rng.random((N, M)) < 0.1] = np.nan
    return values


def genotypes_of(kind: str, tmp_path) -> rb.Genotypes:
    """Held, read from files, and some individuals and markers of a file, in another order."""
    ids = [f"a{i}" for i in range(N)]
    if kind == "held":
        return rb.Genotypes.from_matrix(counts(), ids=range(N))
    if kind == "dosages":
        return rb.Genotypes.from_matrix(counts(dosages=True), ids=ids)
    if kind == "zarr":
        pytest.importorskip("zarr")
        rb.Genotypes.from_matrix(counts(), ids=ids).to_zarr(tmp_path / "set.zarr")
        return rb.Genotypes.from_zarr(tmp_path / "set.zarr")
    pytest.importorskip("bed_reader").to_bed(tmp_path / "set.bed", counts(), properties={"iid": ids})
    G = rb.Genotypes.from_bed(tmp_path / "set.bed", counted="A2")
    return G.select(G.ids[np.random.default_rng(2).permutation(N)[:50]], G.markers[np.r_[70:83, 3, 9, 20:50]])


@pytest.mark.parametrize(
    ("kind", "method", "frequencies"),
    [
        ("held", "vanraden1", None),
        ("held", "yang", None),
        ("bed", "dominance", None),
        ("zarr", "vanraden2", "half"),
        ("dosages", "vanraden2", np.linspace(0.1, 0.9, M)),
    ],
)
def test_a_fit_by_products_comes_back_without_k(kind, method, frequencies, tmp_path, monkeypatch):
    G = genotypes_of(kind, tmp_path)
    K = rb.genomic_relationship(G, method, frequencies, formed=False)
    data = frame(G.ids)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, K))", data, {"K": K}, engine="stochastic").fit(**QUICK)
    with monkeypatch.context() as never:
        for name in ("genomic_matrix", "formed", "MatrixRelationship"):
            never.setattr(unformed, name, None)
        back = rb.load(fit.save(tmp_path / "fit"))
        for name in ("variance_components", "fixed_effects", "random_effects", "history"):
            one, two = getattr(fit, name), getattr(back, name)
            # Errors and degrees of freedom follow from the working variates, of which more was left.
            pd.testing.assert_frame_equal(one, two, rtol=10.0 * VARIATES, atol=10.0 * EXACT, obj=name)
            if "estimate" in one:
                np.testing.assert_allclose(two["estimate"], one["estimate"], rtol=0, atol=10.0 * EXACT)
        pd.testing.assert_frame_equal(back.predict(data.head()), fit.predict(data.head()), rtol=10.0 * EXACT)
        assert str(back.convergence) == str(fit.convergence)
    size = sum(file.stat().st_size for file in (tmp_path / "fit" / "relationships").glob("*.npy"))
    n, m = G.shape
    assert size == 128 + m * (4 * n if kind == "dosages" else -(-n // 4))
    # What it is made of, and K of it where another engine asks for it.
    there = back.specification.random[0].relationship
    assert there.genotypes.counted == G.counted and there.genotypes.markers.tolist() == G.markers.tolist()
    pd.testing.assert_frame_equal(there.genotypes.to_frame(), G.to_frame())
    for name in ("table", "frequencies", "diagonal", "divisor"):
        np.testing.assert_array_equal(getattr(there.coding, name), getattr(K.coding, name))
    np.testing.assert_array_equal(there.dense(), K.dense())


def test_another_engine_forms_k_of_what_was_saved(tmp_path):
    G = genotypes_of("held", tmp_path)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, G))", frame(G.ids), {"G": G}).fit()
    back = rb.load(fit.save(tmp_path / "fit"))
    assert back.loglik == pytest.approx(fit.loglik, rel=1e-13)
    pd.testing.assert_frame_equal(back.random_effects, fit.random_effects, rtol=1e-9)


@pytest.fixture
def saved(tmp_path):
    """A fit, and the folder it is saved in."""
    G = genotypes_of("held", tmp_path)
    fit = rb.MixedModel("y ~ x + (1 | vm(id, G))", frame(G.ids), {"G": G}, engine="stochastic").fit(**QUICK)
    return fit, fit.save(tmp_path / "fit")


def test_a_loaded_fit_is_saved_where_it_was_read_from_copied_and_sent(saved, tmp_path):
    fit, folder = saved
    back = rb.load(folder)
    for again in (rb.load(back.save(folder)), rb.load(back.save(tmp_path / "other")), copy.deepcopy(back),
                  pickle.loads(pickle.dumps(back)), back):  # fmt: skip
        K = again.specification.random[0].relationship
        np.testing.assert_array_equal(K.diagonal, fit.specification.random[0].relationship.diagonal)


def test_another_fit_in_the_folder_is_never_read_instead(saved):
    """Of other genotypes, of the same size."""
    _, folder = saved
    back = rb.load(folder)
    other = rb.Genotypes.from_matrix(np.random.default_rng(9).integers(0, 3, (N, M)), ids=range(N))
    rb.MixedModel("y ~ x + (1 | vm(id, G))", frame(other.ids), {"G": other}, engine="stochastic").fit(**QUICK).save(
        folder
    )
    assert len(list((folder / "relationships").iterdir())) == 2
    with pytest.raises(rb.DataError, match=r"G\.[0-9a-f]{16}\.npy cannot be read"):
        back.specification.random[0].relationship.multiply(np.ones(N))


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_has_changed_is_refused(saved, suffix):
    _, folder = saved
    (file,) = (folder / "relationships").glob(f"*{suffix}")
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(rb.StoreError, match="is not as it was saved"):
        rb.load(folder)
    file.unlink()
    with pytest.raises(rb.StoreError, match="is missing"):
        rb.load(folder)


def test_genotypes_that_cannot_be_read_leave_the_folder_as_it_was(saved, tmp_path):
    _, folder = saved
    before = sorted((file, file.read_bytes()) for file in folder.rglob("*") if file.is_file())
    G = genotypes_of("zarr", tmp_path)
    other = rb.MixedModel("y ~ x + (1 | vm(id, G))", frame(G.ids), {"G": G}, engine="stochastic").fit(**QUICK)
    (tmp_path / "set.zarr" / "genotypes_bed" / "zarr.json").unlink()
    for chunk in (tmp_path / "set.zarr" / "genotypes_bed" / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    with pytest.raises(rb.DataError, match=r"set\.zarr"):
        other.save(folder)
    assert sorted((file, file.read_bytes()) for file in folder.rglob("*") if file.is_file()) == before
