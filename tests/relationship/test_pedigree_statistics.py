"""Depth, completeness and effective sizes, by hand and on regular mating."""

import numpy as np
import pandas as pd
import pytest
from pedigrees import MRODE, kinship_matrix, random_pedigree

from remlblup.errors import OptionError, PedigreeError
from remlblup.relationship.pedigree.pedigree import Pedigree
from remlblup.relationship.pedigree.statistics import founder_shares

# Brother x sister in every generation: F = 0, 0, 1/4, 3/8, 1/2 (Falconer & Mackay, table 5.1).
FULL_SIBS = Pedigree(list("abcdefghij"), [None, None, *"aacceegg"], [None, None, *"bbddffhh"])


def test_statistics():
    table = Pedigree(**MRODE).statistics()
    expected = {
        "animals": 6,
        "founders": 2,
        "one_parent_known": 1,
        "sires": 3,
        "dams": 2,
        "without_offspring": 1,
        "full_sib_families": 3,
        "generations": 3,
        "inbred": 2,
        "inbred_share": 1 / 3,
        "mean_inbreeding": 1 / 24,
        "mean_inbreeding_of_inbred": 0.125,
        "maximum_inbreeding": 0.125,
    }
    for name, value in expected.items():
        assert table[name] == pytest.approx(value), name
    # t = 0, 0, 1, ½, 1 + (1 + ½)/2, 1 + (1¾ + 0)/2
    assert table["equivalent_generations"] == pytest.approx((1 + 0.5 + 1.75 + 1.875) / 6)


def test_statistics_by_group():
    by_generation = FULL_SIBS.statistics("generation")
    assert by_generation["animals"].tolist() == [2] * 5
    np.testing.assert_allclose(by_generation["mean_inbreeding"], [0, 0, 0.25, 0.375, 0.5])
    np.testing.assert_allclose(by_generation["equivalent_generations"], range(5))
    assert by_generation["sires"].tolist() == [0, 1, 1, 1, 1]
    by_year = FULL_SIBS.statistics(pd.Series([2001] * 4 + [2002] * 6, FULL_SIBS.labels, name="year")[::-1])
    assert by_year.index.name == "year"
    assert by_year.loc[2002, "mean_inbreeding"] == pytest.approx((0.25 + 0.375 + 0.5) / 3)
    with pytest.raises(OptionError, match="each of the 10 animals"):
        FULL_SIBS.statistics([1, 2])


def test_completeness_by_hand():
    # x: sire with both parents known, dam with its sire known.
    ped = Pedigree(["x", "s", "d"], ["s", "ss", "ds"], ["d", "sd", None])
    row = ped.completeness(depth=2).loc["x"]
    assert row["known_1"] == 1
    assert row["known_2"] == 0.75
    paternal, maternal = 1.0, 0.75  # means of 1, 1 and 1, ½
    assert row["index"] == pytest.approx(2 * paternal * maternal / (paternal + maternal))
    assert (row["maximum_generations"], row["complete_generations"]) == (2, 1)
    assert row["equivalent_generations"] == pytest.approx(1.75)
    assert ped.completeness(depth=1).loc[["x", "d", "s"], "index"].tolist() == [1, 0, 1]
    assert ped.completeness(3).loc["d", ["known_1", "known_2", "known_3"]].tolist() == [0.5, 0, 0]
    with pytest.raises(OptionError, match="depth=0"):
        ped.completeness(0)


def test_effective_size_of_full_sib_mating():
    result = FULL_SIBS.effective_size()
    assert result["animals"] == 2
    rate = 1 - 0.5 ** (1 / 3)  # F = ½ after four equivalent generations
    assert result["increase_in_inbreeding"] == pytest.approx(rate)
    assert result["effective_size"] == pytest.approx(1 / (2 * rate))
    assert result["effective_size_std_error"] == pytest.approx(0, abs=1e-12)
    assert result["effective_founders"] == pytest.approx(2)
    assert result["effective_ancestors"] == pytest.approx(2)
    A = FULL_SIBS.dense(["i", "j"])
    assert result["founder_genome_equivalents"] == pytest.approx(1 / A.mean())
    all_of_them = FULL_SIBS.effective_size(FULL_SIBS.labels)
    depth, F = np.repeat(np.arange(5), 2), np.repeat([0, 0, 0.25, 0.375, 0.5], 2)
    slope = np.polyfit(depth, np.log(1 - F), 1)[0]
    assert all_of_them["effective_size_regression"] == pytest.approx(1 / (2 * (1 - np.exp(slope))))
    rates = 1 - (1 - F[4:]) ** (1 / (depth[4:] - 1))
    size = 1 / (2 * rates.mean())
    assert all_of_them["effective_size"] == pytest.approx(size)
    error = 2 * size**2 * rates.std(ddof=1) / np.sqrt(6)
    assert all_of_them["effective_size_std_error"] == pytest.approx(error)
    with pytest.raises(PedigreeError, match="animals= is empty"):
        FULL_SIBS.effective_size([])


def test_a_bottleneck_counts_for_ancestors():
    """Eight founders, all genes through one couple: f_e = 8, f_a = 2 (Boichard et al. 1997, their figure 1's point)."""
    ids, sires, dams = list("abcdefgh"), [None] * 8, [None] * 8
    rows = [("p", "a", "b"), ("q", "c", "d"), ("r", "e", "f"), ("s", "g", "h"), ("S", "p", "q"), ("D", "r", "s")]
    rows += [(f"k{i}", "S", "D") for i in range(5)]
    for one, sire, dam in rows:
        ids.append(one), sires.append(sire), dams.append(dam)
    result = Pedigree(ids, sires, dams).effective_size()
    assert result["animals"] == 5
    assert result["effective_founders"] == pytest.approx(8)
    assert result["effective_ancestors"] == pytest.approx(2)
    assert result["effective_size"] == np.inf  # no inbreeding yet


def test_founder_shares_on_a_larger_pedigree():
    sire, dam = random_pedigree(300, 5, span=40)
    weight = np.zeros(300)
    weight[-50:] = 1 / 50
    shares = founder_shares(sire, dam, weight)
    assert shares.sum() == pytest.approx(1.0)
    founders = np.flatnonzero((sire < 0) & (dam < 0))
    A = kinship_matrix(sire, dam)  # a founder's share in an animal is its relationship to it
    np.testing.assert_allclose(shares[: founders.size], A[founders] @ weight, atol=1e-12)
    result = Pedigree(np.arange(300), sire, dam, unknown=[-1]).effective_size(np.arange(250, 300))
    assert result["effective_founders"] == pytest.approx(1 / np.sum(shares**2))
    assert result["effective_ancestors"] <= result["effective_founders"] + 1e-9
    assert result["founder_genome_equivalents"] == pytest.approx(1 / (weight @ A @ weight))


def test_an_ancestor_taken_explains_part_of_its_offspring():
    """Three sons of one sire: he explains ¼, their own dams another 1/12 each, the mates of the sons 1/6 each."""
    rows = [(f"s{i}", "top", f"d{i}") for i in range(3)] + [(f"k{i}", f"s{i}", f"m{i}") for i in range(3)]
    result = Pedigree(*zip(*rows, strict=True)).effective_size()
    assert result["effective_ancestors"] == pytest.approx(1 / (1 / 16 + 3 / 36 + 3 / 144))


def test_ancestors_explain_everything():
    from remlblup.relationship.pedigree.statistics import ancestor_shares

    sire, dam = random_pedigree(300, 7, span=40)
    for reference in (np.arange(250, 300), np.arange(300)):
        weight = np.zeros(300)
        weight[reference] = 1 / reference.size
        shares = ancestor_shares(sire, dam, weight)
        assert shares.sum() == pytest.approx(1.0, abs=1e-9)
        assert shares.min() > 0
    unrelated = Pedigree(list("abcd"), [None] * 4, [None] * 4).effective_size()
    assert unrelated["effective_ancestors"] == unrelated["effective_founders"] == 4


def test_groups_by_label():
    years = pd.Series([2001] * 4 + [2002] * 6, FULL_SIBS.labels, name="year")
    expected = FULL_SIBS.statistics(years.to_numpy())
    for given in (years[::-1], years.to_dict(), pd.concat([years, pd.Series([1999], ["elsewhere"])])):
        np.testing.assert_array_equal(FULL_SIBS.statistics(given), expected)
    with pytest.raises(OptionError, match="no value for 1 animal: 'j'"):
        FULL_SIBS.statistics(years[:-1])
    with pytest.raises(OptionError, match="no value for 10 animals"):
        FULL_SIBS.statistics(years.reset_index(drop=True))


def test_effective_size_of_selfed_lines():
    ped = Pedigree(["a", "b", "x", "y"], [None, None, "a", "a"], [None, None, "b", "b"], selfing=[0, 0, 4, 4])
    with pytest.raises(PedigreeError, match="generations of selfing"):
        ped.effective_size()
