"""A damaged folder gives the same fit or a named error, never another fit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.validation.saving.damage import damage, outcome, small_fit, state

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture(scope="module")
def fits(tmp_path_factory):
    """A folder, the folder of another fit of the same model, and what the first one says."""
    folder = tmp_path_factory.mktemp("fits")
    one, two = small_fit(2), small_fit(3)
    one.save(folder / "one")
    two.save(folder / "two")
    return folder / "one", folder / "two", state(rb.load(folder / "one"))


@pytest.mark.parametrize("batch", range(6))
def test_damaged_folders(fits, tmp_path, batch):
    """25 seeds a batch: truncation, other digits, other files, other types, other shapes of JSON, links, …"""
    original, other, expected = fits
    seen = []
    for seed in range(25 * batch, 25 * batch + 25):
        folder = shutil.copytree(original, tmp_path / str(seed))
        how = damage(folder, other, np.random.default_rng(seed))
        got = outcome(folder, expected)
        assert got in ("same", "refused"), f"seed {seed}: {how}: {got}"
        seen.append(got)
    assert seen.count("refused") > 10  # the damage is one


@pytest.mark.parametrize("name", ["formula", "matrices"])
def test_folders_of_earlier_versions_load(name):
    """Written by version 0.1.0 of before there were checksums; figures from its report."""
    fit = rb.load(EARLIER / name)
    expected = {"formula": (-45.3003, [1.2430, 0.3351, 0.6144]), "matrices": (-47.9063, [1.2028, 0.5379, 0.6166])}[name]
    assert fit.loglik == pytest.approx(expected[0], abs=6e-5)
    np.testing.assert_allclose(fit.theta, expected[1], atol=6e-5)
    assert fit.converged and fit._equations.W.shape[0] == 32


@pytest.mark.parametrize("batch", range(2))
@pytest.mark.parametrize("name", ["formula", "matrices"])
def test_damaged_folders_of_earlier_versions(tmp_path, name, batch):
    """Without checksums the verdict's words cannot be proven, but nothing crashes and no other fit is told."""
    other = {"formula": "matrices", "matrices": "formula"}[name]
    for seed in range(25 * batch, 25 * batch + 25):
        folder = shutil.copytree(EARLIER / name, tmp_path / str(seed))
        how = damage(folder, EARLIER / other, np.random.default_rng(seed))
        got = outcome(folder, "")
        assert got in ("loads and differs", "refused"), f"seed {seed}: {how}: {got}"
        if got != "refused":
            assert rb.load(folder).loglik == pytest.approx(rb.load(EARLIER / name).loglik, abs=1e-5), how


def test_the_data_of_one_fit_and_the_estimates_of_another_are_refused(fits, tmp_path):
    """Also where no checksum says so."""
    one, two, _ = fits
    folder = shutil.copytree(one, tmp_path / "mixed")
    shutil.copy(two / "data.csv", folder / "data.csv")
    with pytest.raises(rb.StoreError, match=r"data\.csv is not as it was saved"):
        rb.load(folder)
    old = shutil.copytree(EARLIER / "formula", tmp_path / "old")
    data = pd.read_csv(old / "data.csv")
    data.loc[5, "y"] += 0.01
    data.to_csv(old / "data.csv", index=False)
    with pytest.raises(rb.StoreError, match="not of one fit"):
        rb.load(old)


def test_a_table_beside_the_fit_must_be_its_own_unless_one_does_not_care(fits, tmp_path):
    one, two, expected = fits
    folder = shutil.copytree(one, tmp_path / "fit")
    shutil.copy(two / "random_effects.csv", folder / "random_effects.csv")
    with pytest.raises(rb.StoreError, match=r"random_effects\.csv is not as it was saved.*verify=False"):
        rb.load(folder)
    assert state(rb.load(folder, verify=False)) == expected
    (folder / "random_effects.csv").unlink()
    assert state(rb.load(folder)) == expected
    with pytest.raises(rb.OptionError, match="verify"):
        rb.load(folder, verify="no")


@pytest.mark.parametrize(
    "name", ["../secret.csv", "/etc/hostname", "relationships/../../x.csv", ".hidden", "a/b.csv", "", 3]
)
def test_only_files_inside_the_folder_are_opened(tmp_path, name):
    from remlblup.storage.verified import SavedFolder

    folder = shutil.copytree(EARLIER / "formula", tmp_path / "fit")
    (tmp_path / "secret.csv").write_text("id,sire,dam\n", encoding="utf-8")
    with pytest.raises(rb.StoreError, match="not one inside its folder"):
        SavedFolder(folder).read(name)


def test_links_and_pipes_are_not_followed(tmp_path):
    import os

    folder = shutil.copytree(EARLIER / "formula", tmp_path / "fit")
    shutil.move(folder / "data.csv", tmp_path / "data.csv")
    (folder / "data.csv").symlink_to(tmp_path / "data.csv")
    with pytest.raises(rb.StoreError, match="not opened"):
        rb.load(folder)
    (folder / "data.csv").unlink()
    os.mkfifo(folder / "data.csv")
    with pytest.raises(rb.StoreError, match="not opened"):
        rb.load(folder)
