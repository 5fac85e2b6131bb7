"""Selfing generations and clones."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pedigrees import kinship_matrix, numbered_pedigrees, relabelled

from remlblup.errors import PedigreeError, RelationshipError
from remlblup.relationship.pedigree.pedigree import Pedigree


def with_intermediates(sire, dam, selfing):
    """Numbered parents with a row for every selfed plant in between, and the places of the animals."""
    place, fathers, mothers = [], [], []
    for s, d, k in zip(sire, dam, selfing, strict=True):
        fathers.append(place[s] if s >= 0 else -1)
        mothers.append(place[d] if d >= 0 else -1)
        for _ in range(int(k)):
            fathers.append(len(fathers) - 1)
            mothers.append(len(mothers) - 1)
        place.append(len(fathers) - 1)
    return np.array(fathers), np.array(mothers), np.array(place)


@settings(deadline=None)
@given(numbered_pedigrees(max_size=10, selfing=True), st.lists(st.integers(0, 4), min_size=10, max_size=10))
def test_selfing_is_a_chain_of_selfed_plants(parents, selfing):
    sire, dam = parents
    selfing = selfing[: len(sire)]
    A = kinship_matrix(*(pieces := with_intermediates(sire, dam, selfing))[:2])[np.ix_(pieces[2], pieces[2])]
    ids, sires, dams = relabelled(sire, dam)
    ped = Pedigree(ids[::-1], sires[::-1], dams[::-1], hermaphrodites=True, selfing=selfing[::-1])
    at = ped.index(ids)
    np.testing.assert_allclose(ped.dense(ids), A, atol=1e-12)
    np.testing.assert_allclose(ped.inbreeding[at], np.diag(A) - 1.0, atol=1e-12)
    inverse = ped.precision.toarray()[np.ix_(at, at)]
    np.testing.assert_allclose(A @ inverse, np.eye(len(A)), atol=1e-10 * np.abs(inverse).max())
    assert ped.logdet == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-8)


def test_lines_by_hand():
    # A founder selfed 3 times: F = 7/8. An F4 line of two such founders: F⁰ = 0, F = 1 − 1/8.
    ped = Pedigree(
        ["p", "q", "f1", "line", "dh"],
        [None, None, "p", "p", "p"],
        [None, None, "q", "q", "q"],
        selfing=[3, 3, 0, 3, np.inf],
        hermaphrodites=True,
    )
    np.testing.assert_allclose(ped.inbreeding, [7 / 8, 7 / 8, 0, 7 / 8, 1])
    # Between p and q: d = 1 + F − ¼(a_pp + a_qq) − ½ a_pq.
    np.testing.assert_allclose(ped.mendelian_variance, [15 / 8, 15 / 8, 1 / 16, 15 / 16, 17 / 16])
    np.testing.assert_allclose(ped.dense(["p", "line"]), [[15 / 8, 15 / 16], [15 / 16, 15 / 8]])


def test_inbreeding_of_founders_as_a_fraction():
    table = pd.DataFrame(
        {"id": ["p", "q", "x"], "sire": [None, None, "p"], "dam": [None, None, "q"], "gen": [0.5, None, 1]}
    )
    ped = Pedigree.from_frame(table, selfing="gen", hermaphrodites=True)
    np.testing.assert_allclose(ped.inbreeding, [0.5, 0, 0.5])
    with pytest.raises(PedigreeError, match="1 animal has a fraction: 'x'"):
        Pedigree.from_frame(table.assign(gen=[0, 0, 0.5]), selfing="gen")
    with pytest.raises(PedigreeError, match=r"no number of generations \(row 1, 2"):
        Pedigree.from_frame(table.assign(gen=[0, -1, "S2"]), selfing="gen")
    with pytest.raises(PedigreeError, match="no column 'fgen'"):
        Pedigree.from_frame(table, selfing="fgen")
    with pytest.raises(PedigreeError, match="Use one of the two"):
        Pedigree.from_frame(table, selfing="gen", ignore_inbreeding=True)


def test_offspring_of_doubled_haploids_have_no_variance():
    ped = Pedigree(["p", "q", "f1"], [None, None, "p"], [None, None, "q"], selfing=[np.inf, np.inf, 0])
    with pytest.raises(PedigreeError, match="no Mendelian variance: 'f1'"):
        _ = ped.precision


CLONES = {
    "ids": ["tree", "ramet1", "ramet2", "child", "other"],
    "sires": ["s", None, "s", "ramet1", "ramet2"],
    "dams": ["d", "d", None, "mate", "mate"],
}


def test_ramets_share_the_row_of_their_ortet():
    ped = Pedigree(**CLONES, clones={"ramet1": "tree", "ramet2": "ramet1"})
    single = Pedigree(["tree", "child", "other"], ["s", "tree", "tree"], ["d", "mate", "mate"])
    assert sorted(ped.labels) == sorted(single.labels)
    np.testing.assert_allclose(ped.dense(single.labels), single.dense(), atol=1e-15)
    assert len(set(ped.index(["tree", "ramet1", "ramet2"]))) == 1
    assert ped.labels[ped.index(["ramet2"])[0]] == "tree"
    np.testing.assert_allclose(ped.dense(["ramet1", "ramet2"]), np.ones((2, 2)))
    with pytest.raises(RelationshipError, match="1 level is not in the relationship: 'ramet9'"):
        ped.index(["ramet1", "ramet9"])
    short = ped.prune(["child"])
    assert short.labels[short.index(["ramet2"])[0]] == "tree"


def test_clones_by_column_and_unlisted_ortets():
    table = pd.DataFrame(
        {"id": ["r1", "r2", "x"], "sire": [None, "s", None], "dam": ["d", None, None], "ortet": ["o", "o", ""]}
    )
    ped = Pedigree.from_frame(table, clones="ortet")
    assert sorted(ped.labels) == ["d", "o", "s", "x"]
    np.testing.assert_allclose(ped.dense(["r1", "s", "d", "x"])[0], [1.0, 0.5, 0.5, 0.0])


def test_clone_errors_name_animals():
    with pytest.raises(PedigreeError, match=r"differ in their sire: 'tree', 'r'"):
        Pedigree(["tree", "r"], ["a", "b"], [None, None], clones={"r": "tree"})
    with pytest.raises(PedigreeError, match=r"circle: 'a', 'b' are ramets of each other"):
        Pedigree(["a", "b"], [None] * 2, [None] * 2, clones={"a": "b", "b": "a"})
    with pytest.raises(PedigreeError, match="not in the pedigree: 'z'"):
        Pedigree(["a"], [None], [None], clones={"z": "a"})
    with pytest.raises(PedigreeError, match="ortets in clones= are not in the pedigree: 'ooo'"):
        Pedigree(["r"], [None], [None], clones={"r": "ooo"})
    with pytest.raises(PedigreeError, match="differ in their number of selfings"):
        Pedigree(["a", "b"], [None] * 2, [None] * 2, clones={"b": "a"}, selfing=[1, 2])


def test_values_per_row_are_checked():
    with pytest.raises(PedigreeError, match="selfing= holds 2 values; it needs one for each of the 3 rows"):
        Pedigree(list("abc"), [None] * 3, [None] * 3, selfing=[1, 2])
    with pytest.raises(PedigreeError, match="clones= holds 4 values"):
        Pedigree(list("abc"), [None] * 3, [None] * 3, clones=["x"] * 4)
    with pytest.raises(PedigreeError, match="more than once with different values of selfing=: 'a'"):
        Pedigree(list("aab"), [None] * 3, [None] * 3, selfing=[1, 2, 2])
    assert Pedigree(list("aab"), [None] * 3, [None] * 3, selfing=[1, 1, 2]).inbreeding.tolist() == [0.5, 0.75]


def test_find_ramets_and_absent_levels():
    ped = Pedigree(**CLONES, clones={"ramet1": "tree", "ramet2": "tree"})
    tree = ped.labels.tolist().index("tree")
    assert ped.find(["ramet2", "z", "tree", None]).tolist() == [tree, -1, tree, -1]
    sex = {"s": "M", "tree": "F", "child": "F"}
    dams = Pedigree(["tree", "r", "child"], ["s", None, "s"], ["d", None, "r"], clones={"r": "tree"})
    S = dams.sex_linked(sex)
    np.testing.assert_array_equal(S.dense(["r", "child"]), S.dense(["tree", "child"]))
