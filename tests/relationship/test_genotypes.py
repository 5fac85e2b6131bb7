"""Genotypes in memory: reading, statistics, filters, selections, errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import remlblup as rb

NA = np.nan
M = np.array([[0, 1, 2, 0], [1, NA, 2, 0], [2, 1, 2, 0], [1, 1, 1, NA]])
IDS, MARKERS = ["a", "b", "c", "d"], ["m1", "m2", "m3", "m4"]


def simulated(n=60, m=90, missing=0.05, seed=3):
    rng = np.random.default_rng(seed)
    values = rng.binomial(2, rng.uniform(0.02, 0.98, m), (n, m)).astype(float)
    values[rng.random((n, m)) < missing] = np.nan
    return values


@pytest.fixture
def small():
    return rb.Genotypes.from_matrix(M, IDS, MARKERS)


def test_statistics_by_hand(small):
    assert len(small) == 4 and small.shape == (4, 4)
    assert small.allele_frequencies.to_dict() == {"m1": 0.5, "m2": 0.5, "m3": 7 / 8, "m4": 0.0}
    assert small.minor_allele_frequencies["m3"] == 1 / 8
    assert small.call_rate_markers.tolist() == [1, 0.75, 1, 0.75]
    assert small.call_rate_individuals.tolist() == [1, 0.75, 1, 0.75]
    assert small.heterozygosity.tolist() == [1 / 4, 1 / 3, 1 / 4, 1.0]
    assert small.heterozygosity_markers.tolist() == [1 / 2, 1.0, 1 / 4, 0.0]
    assert small.genotype_counts.loc["m1"].tolist() == [1, 2, 1, 0]
    assert "4 individuals x 4 markers" in repr(small)


def test_statistics_against_numpy():
    values = simulated()
    g = rb.Genotypes.from_matrix(values, ids=range(60))
    np.testing.assert_allclose(g.allele_frequencies, np.nanmean(values, axis=0) / 2, rtol=1e-14)
    np.testing.assert_allclose(g.call_rate_individuals, 1 - np.isnan(values).mean(axis=1), rtol=1e-14)
    np.testing.assert_allclose(g.heterozygosity, np.nanmean(np.where(np.isnan(values), NA, values == 1), axis=1))
    pd.testing.assert_frame_equal(
        g.to_frame(),
        pd.DataFrame(values.astype(np.float32), range(60), range(1, 91)),
        check_index_type=False,
        check_column_type=False,
    )


def test_every_way_to_give_a_matrix(small):
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame(M, index=IDS, columns=MARKERS)
    coded = np.where(np.isnan(M), 5, M).astype(int)
    with_ids = pl.DataFrame({"name": IDS, **{m: M[:, j] for j, m in enumerate(MARKERS)}}, nan_to_null=True)
    others = [
        rb.Genotypes.from_matrix(frame),
        rb.Genotypes.from_matrix(frame.reset_index(names="id")),
        rb.Genotypes.from_matrix(frame.astype("Int8")),
        rb.Genotypes.from_matrix(coded, IDS, MARKERS, missing=5),
        rb.Genotypes.from_matrix(with_ids),
    ]
    for other in others:
        assert list(other.ids) == IDS and list(other.markers) == MARKERS and not other.is_dosage
        assert other._source.values.dtype == np.int8
        pd.testing.assert_frame_equal(other.to_frame(), small.to_frame())


def test_dosages_are_float32():
    values = np.array([[0.0, 1.2], [2.0, NA], [0.5, 0.1]])
    g = rb.Genotypes.from_matrix(values, ids=[1, 2, 3])
    assert g.is_dosage and g._source.values.dtype == np.float32
    np.testing.assert_allclose(g.allele_frequencies, [2.5 / 6, 1.3 / 4], rtol=1e-7)
    assert g.genotype_counts.to_numpy().tolist() == [[2, 0, 1, 0], [1, 1, 0, 1]]


def test_selections_compose(small):
    part = small.select(ids=["d", "a", "c"], markers=["m3", "m1"]).select(ids=["c", "d"], markers=["m1"])
    assert part.to_frame().to_numpy().tolist() == [[2], [1]]
    assert list(part.ids) == ["c", "d"]
    _ = small.allele_frequencies
    assert small.select(markers=["m3"]).allele_frequencies.to_dict() == {"m3": 7 / 8}
    assert small.select(ids=["d"]).allele_frequencies.iloc[2] == 0.5
    with pytest.raises(rb.DataError, match="1 of the markers asked for are not among the genotypes: 'zz'"):
        small.select(markers=["zz"])
    with pytest.raises(rb.DataError, match="more than once: 'a'"):
        small.select(ids=["a", "a"])


def test_filters_and_their_counts():
    values = simulated(80, 120, 0.08)
    values[3, :60] = np.nan
    values[:, 5], values[:, 6] = 2, np.nan
    g = rb.Genotypes.from_matrix(values, ids=[f"i{k}" for k in range(80)])
    out = g.filter(maf=0.1, call_rate_markers=0.9, call_rate_individuals=0.8, hwe=0.05)
    rows = np.isnan(values).mean(axis=1) <= 0.2
    kept = values[rows]
    p = np.nanmean(np.delete(kept, 6, axis=1), axis=0) / 2
    p = np.insert(p, 6, np.nan)
    called = 1 - np.isnan(kept).mean(axis=0)
    hwe = rb.Genotypes.from_matrix(kept, ids=range(len(kept))).hwe_p_values().to_numpy()
    columns = (called >= 0.9) & (np.minimum(p, 1 - p) >= 0.1) & (hwe >= 0.05)
    assert list(out.ids) == [f"i{k}" for k in np.flatnonzero(rows)]
    assert list(out.markers) == list(np.flatnonzero(columns) + 1)
    report = out.filter_report.set_index("reason")
    assert report.loc["no genotypes", "failed"] == 1
    assert report.loc["monomorphic", "failed"] == np.sum((p == 0) | (p == 1)) >= 1
    assert report.loc["maf", "failed"] == np.sum(np.minimum(p, 1 - p) < 0.1)
    assert report.iloc[-1]["left"] == columns.sum()
    assert 120 - report.iloc[1:]["removed"].sum() == columns.sum()
    np.testing.assert_array_equal(out.to_frame(), kept[:, columns].astype(np.float32))


def test_filters_switched_off(small):
    out = small.filter(maf=None, call_rate_markers=None, call_rate_individuals=None, monomorphic=False)
    assert out.shape == small.shape
    assert small.filter(maf=None, call_rate_markers=None, call_rate_individuals=None).shape == (4, 3)
    with pytest.raises(rb.DataError, match=r"leave no markers: maf \(1\) of 1\. Use wider limits"):
        small.select(markers=["m3"]).filter(maf=0.2)
    with pytest.raises(rb.OptionError, match="missing='NA' must be a number"):
        rb.Genotypes.from_matrix(M, IDS, missing="NA")
    with pytest.raises(rb.OptionError, match=r"maf=0\.7 must be a number from 0 to 0\.5"):
        small.filter(maf=0.7)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([[0, 3], [1, 1]], {}, r"1 genotypes are not .* 3\.?0? \(individual x, marker 2\)"),
        ([[-1, 0], [1, 1]], {}, r"-1 \(individual x, marker 1\).*say missing=; genotypes coded -1, 0, 1"),
        ([["A", 0], [1, 1]], {}, r"A \(individual x, marker 1\)|numbers 0, 1, 2"),
        ([[0, 1], [1, 1]], {"ids": ["x", "x"]}, "individuals occur more than once: 'x'"),
        ([[0, 1], [1, 1]], {"ids": ["x"]}, "2 individuals but 1 names"),
        ([[0, 1], [1, 1]], {"markers": ["s", "s"]}, "markers occur more than once: 's'"),
        ([[0, 1], [1, 1]], {"ids": None}, "whose genotypes they are"),
        ([0, 1], {}, "matrix of individuals x markers"),
    ],
)
def test_errors_name_what_is_wrong(values, options, message):
    with pytest.raises(rb.DataError, match=message):
        rb.Genotypes.from_matrix(np.array(values, dtype=object), **{"ids": ["x", "y"], **options})


def test_a_sparse_matrix():
    values = np.array([[0, 1, 2], [2, 0, 0]])
    for kind in (sp.csr_array, sp.csc_matrix, sp.coo_array):
        g = rb.Genotypes.from_matrix(kind(values), ids=["a", "b"])
        np.testing.assert_array_equal(g.to_frame(), values)


def test_selection_by_booleans(small):
    keep = [True, False, True, True]
    expected = small.select(ids=["a", "c", "d"], markers=["m1", "m3", "m4"]).to_frame()
    by_label = pd.Series(keep, index=IDS).loc[["d", "c", "b", "a"]]
    masks = [np.array(keep), keep, pd.Series(keep), pd.array(keep, dtype="boolean"), by_label]
    for mask in masks:
        found = small.select(ids=mask, markers=np.array(keep)).to_frame()
        pd.testing.assert_frame_equal(found, expected)
    common = small.select(markers=small.minor_allele_frequencies > 0.2)
    assert common.markers.tolist() == ["m1", "m2"]
    for wrong, message in [
        ([True, False], "there are 4 individuals, but 2 booleans"),
        (pd.Series(keep, index=["a", "b", "c", "x"]), "does not hold 'd'"),
        (pd.Series([True, None, True, True], dtype="boolean"), "missing for 1"),
        ([False] * 4, "no individual"),
    ]:
        with pytest.raises(rb.DataError, match=message):
            small.select(ids=wrong)


@pytest.mark.parametrize("given", [np.zeros((3, 2)), "file.bed", None])
def test_genotypes_are_made_by_their_readers(given):
    for names in ((), (["a", "b", "c"], ["m", "n"])):
        with pytest.raises(rb.DataError, match=r"Genotypes\(\) does not take .*Genotypes.from_matrix"):
            rb.Genotypes(given, *names)
