"""Ignored inbreeding, parts of A and their inverses, pruning, sires and maternal grandsires, order of rows."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pedigrees import MRODE, MRODE_A, kinship_matrix, numbered_pedigrees, random_pedigree, relabelled

from remlblup.errors import OptionError, PedigreeError, RelationshipError
from remlblup.relationship.descent import numerator
from remlblup.relationship.pedigree.pedigree import Pedigree


def henderson_without_inbreeding(sire, dam):
    """A⁻¹ by the rules as they are written (Henderson 1976), F = 0: 2, 4/3 or 1 times the outer product."""
    inverse = np.zeros((len(sire), len(sire)))
    for i, (s, d) in enumerate(zip(sire, dam, strict=True)):
        known = [p for p in (s, d) if p >= 0]
        weight = [1.0, 4.0 / 3.0, 2.0][len(known)]
        for a, ca in [(i, 1.0)] + [(p, -0.5) for p in known]:
            for b, cb in [(i, 1.0)] + [(p, -0.5) for p in known]:
                inverse[a, b] += weight * ca * cb
    return inverse


@settings(deadline=None)
@given(numbered_pedigrees(selfing=True))
def test_ignoring_inbreeding_is_coherent(parents):
    ids, sires, dams = relabelled(*parents)
    ped = Pedigree(ids, sires, dams, hermaphrodites=True, ignore_inbreeding=True)
    inverse = henderson_without_inbreeding(ped.sire, ped.dam)
    np.testing.assert_allclose(ped.precision.toarray(), inverse, atol=1e-12)
    K = np.linalg.inv(inverse)
    np.testing.assert_allclose(ped.dense(), K, atol=1e-9)
    np.testing.assert_allclose(ped.diagonal, np.diag(K), atol=1e-9)
    assert ped.logdet == pytest.approx(-np.linalg.slogdet(inverse)[1], abs=1e-9)
    V = np.random.default_rng(1).normal(size=(len(K), 2))
    np.testing.assert_allclose(ped.multiply(V), K @ V, atol=1e-9)
    A = kinship_matrix(ped.sire, ped.dam)
    np.testing.assert_allclose(ped.inbreeding, np.diag(A) - 1.0, atol=1e-13)  # F itself is not ignored


def test_ignoring_inbreeding_on_mrode():
    """Animals 5 and 6 have F = 1/8; only 6 has an inbred parent (5), so that only its contribution changes."""
    with_F, without = Pedigree(**MRODE), Pedigree(**MRODE, ignore_inbreeding=True)
    gap = with_F.precision.toarray() - without.precision.toarray()
    z = np.array([0, -0.5, 0, 0, -0.5, 1])
    np.testing.assert_allclose(gap, (1 / (0.5 - 0.125 / 4) - 2) * np.outer(z, z), atol=1e-14)
    assert without.diagonal.tolist() == [1, 1, 1, 1, 1.125, 1.15625]


def test_dominance_and_statistics_do_not_ignore_it():
    plain, without = Pedigree(**MRODE), Pedigree(**MRODE, ignore_inbreeding=True)
    np.testing.assert_array_equal(without.dominance().dense(), plain.dominance().dense())
    everyone = [1, 2, 3, 4, 5, 6]
    pd.testing.assert_series_equal(without.effective_size(everyone), plain.effective_size(everyone))


def test_compiled_diagonal_without_inbreeding(monkeypatch):
    sire, dam = random_pedigree(1200, 2)
    ped = [Pedigree(np.arange(1200), sire, dam, unknown=[-1], ignore_inbreeding=True) for _ in range(2)]
    plain = np.diag(ped[0].dense())
    np.testing.assert_allclose(ped[0].diagonal, plain, atol=1e-12)
    monkeypatch.setattr(numerator, "SMALL", 0)
    np.testing.assert_allclose(ped[1].diagonal, plain, atol=1e-12)


@settings(deadline=None)
@given(numbered_pedigrees(max_size=16), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(parents, random):
    rows = list(zip(*relabelled(*parents), strict=True))
    first = Pedigree(*zip(*rows, strict=True))
    random.shuffle(rows)
    second = Pedigree(*zip(*rows, strict=True))
    names = first.labels
    at = second.index(names)
    np.testing.assert_allclose(second.dense(names), first.dense(names), atol=1e-14)
    np.testing.assert_allclose(second.precision.toarray()[np.ix_(at, at)], first.precision.toarray(), atol=1e-12)
    np.testing.assert_allclose(second.inbreeding[at], first.inbreeding, atol=1e-14)


@settings(deadline=None)
@given(numbered_pedigrees(max_size=20), st.data())
def test_parts_of_A_and_their_inverses(parents, data):
    ids, sires, dams = relabelled(*parents)
    ped = Pedigree(ids, sires, dams)
    chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    at = ped.index(chosen)
    A = kinship_matrix(ped.sire, ped.dam)[np.ix_(at, at)]
    np.testing.assert_allclose(ped.subset(chosen).dense(), A, atol=1e-13)
    assert ped.subset(chosen).labels.tolist() == chosen
    np.testing.assert_allclose(ped.sparse(chosen).toarray(), A, atol=1e-13)
    inverse = ped.inverse_subset(chosen)
    np.testing.assert_allclose(A @ inverse, np.eye(len(A)), atol=1e-10 * np.abs(inverse).max())
    assert (inverse == inverse.T).all()


def test_both_ways_to_invert_a_part():
    sire, dam = random_pedigree(400, 3, span=60)
    ped = Pedigree(np.arange(400), sire, dam, unknown=[-1])
    A = kinship_matrix(sire, dam)
    for chosen in (np.arange(390, 400), np.arange(100, 400), np.arange(400)):  # Cholesky, absorption, A⁻¹ itself
        inverse = ped.inverse_subset(chosen)
        np.testing.assert_allclose(
            inverse, np.linalg.inv(A[np.ix_(chosen, chosen)]), rtol=0, atol=1e-8 * abs(inverse).max()
        )
    with pytest.raises(RelationshipError, match="more than once: 3"):
        ped.inverse_subset([3, 5, 3])


def test_sparse_refuses_what_is_dense(monkeypatch):
    from remlblup.relationship.descent import base as descent

    monkeypatch.setattr(descent, "SPARSE_LIMIT", 10)
    with pytest.raises(RelationshipError, match="it is not sparse"):
        Pedigree(**MRODE).sparse()


@settings(deadline=None)
@given(numbered_pedigrees(max_size=20), st.data())
def test_pruning_keeps_relationships(parents, data):
    ids, sires, dams = relabelled(*parents)
    ped = Pedigree(ids, sires, dams)
    chosen = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
    for drop in (False, True):
        short = ped.prune(chosen, drop_uninformative=drop)
        assert set(chosen) <= set(short.labels) <= set(ped.labels)
        np.testing.assert_allclose(short.dense(), ped.dense(short.labels), atol=1e-13)
        np.testing.assert_allclose(short.inbreeding, ped.inbreeding[ped.index(short.labels)], atol=1e-13)
    assert ped.prune(ids).labels.tolist() == ped.labels.tolist()


def test_pruning_by_hand():
    ped = Pedigree(**MRODE)
    assert ped.prune([3]).labels.tolist() == [1, 2, 3]
    assert ped.prune([3], drop_uninformative=True).labels.tolist() == [3]
    assert ped.prune([3, 4], drop_uninformative=True).labels.tolist() == [1, 3, 4]
    near = ped.prune([5], generations=1)
    assert near.labels.tolist() == [3, 4, 5]
    assert near.founders.tolist() == [3, 4]
    assert ped.prune([5], generations=0).labels.tolist() == [5]
    assert ped.prune([6, 5], generations=1).labels.tolist() == [2, 3, 4, 5, 6]
    with pytest.raises(OptionError, match="generations=-1"):
        ped.prune([5], generations=-1)
    grouped = Pedigree(["a", "b"], ["g", "a"], ["g", "g"], groups=["g"])
    assert grouped.prune(["b"]).groups.tolist() == ["g"]
    with pytest.raises(PedigreeError, match=r"1 animal would lose a parent .*'b'"):
        grouped.prune(["b"], generations=0)


@settings(deadline=None)
@given(numbered_pedigrees(max_size=12, selfing=True), st.booleans())
def test_sires_and_maternal_grandsires(parents, ignore):
    sire, grandsire = parents
    n = len(sire)
    # The same with a dam of its own for every bull.
    wide_sire, wide_dam, place = [], [], []
    for s, m in zip(sire, grandsire, strict=True):
        if m >= 0:
            wide_sire.append(place[m])
            wide_dam.append(-1)
        wide_sire.append(place[s] if s >= 0 else -1)
        wide_dam.append(len(wide_dam) - 1 if m >= 0 else -1)
        place.append(len(wide_sire) - 1)
    if ignore:
        K = np.linalg.inv(henderson_without_inbreeding(wide_sire, wide_dam))[np.ix_(place, place)]
    else:
        K = kinship_matrix(wide_sire, wide_dam)[np.ix_(place, place)]
    ids, sires, grandsires = relabelled(sire, grandsire)
    bulls = Pedigree.from_maternal_grandsires(ids[::-1], sires[::-1], grandsires[::-1], ignore_inbreeding=ignore)
    at = bulls.index(ids)
    np.testing.assert_allclose(bulls.dense(ids), K, atol=1e-9)
    np.testing.assert_allclose(bulls.diagonal[at], np.diag(K), atol=1e-9)
    inverse = bulls.precision.toarray()[np.ix_(at, at)]
    np.testing.assert_allclose(inverse @ K, np.eye(n), atol=1e-9 * np.abs(inverse).max())
    assert bulls.logdet == pytest.approx(np.linalg.slogdet(K)[1], abs=1e-8)
    V = np.random.default_rng(1).normal(size=(n, 2))
    np.testing.assert_allclose(bulls.multiply(V)[at], K @ V[at], atol=1e-9)


def test_rules_for_maternal_grandsires():
    """d = 11/16, ¾, 15/16 and 1 (Henderson 1975; Mrode, 3rd ed., section 2.5)."""
    bulls = Pedigree.from_maternal_grandsires(["a", "b", "c", "d"], [None, None, "a", "a"], [None, "a", "b", None])
    assert dict(zip(bulls.labels, bulls.mendelian_variance, strict=True)) == {
        "a": 1,
        "b": 15 / 16,
        "c": 11 / 16,
        "d": 3 / 4,
    }
    c = dict(zip(bulls.labels, bulls.inbreeding, strict=True))["c"]
    assert c == pytest.approx(0.25 * 0.25)  # ¼ a(a, b), a(a, b) = ¼
    with pytest.raises(PedigreeError, match="loop"):
        Pedigree.from_maternal_grandsires(["a", "b"], ["b", None], [None, "a"])
    with pytest.raises(PedigreeError, match="its own parent: 'a'"):
        Pedigree.from_maternal_grandsires(["a"], [None], ["a"])


def test_wray_1990(reference):
    """nadiv's Wray90: F by the definition of kinship, A⁻¹ its inverse."""
    ped = Pedigree.from_frame(pd.read_csv(reference("nadiv.Wray90.pedigree.csv")))
    A = kinship_matrix(ped.sire, ped.dam)
    np.testing.assert_allclose(ped.dense(), A, atol=1e-15)
    np.testing.assert_allclose(ped.precision.toarray(), np.linalg.inv(A), atol=1e-10)


def test_nadiv_subset(reference):
    answer = json.loads(reference("nadiv.Mrode9.relationship.json").read_text())
    ped = Pedigree.from_frame(pd.read_csv(reference("nadiv.Mrode9.pedigree.csv")))
    part = [2, 5, 7, 9]
    inverse = np.linalg.inv(np.array(answer["A"])[np.ix_(part, part)])
    np.testing.assert_allclose(ped.inverse_subset([answer["ids"][k] for k in part]), inverse, atol=1e-12)


def test_singular_matrix_names_its_animals():
    ped = Pedigree(
        list("abcd"), [None, "a", "b", "c"], [None, "a", "b", "c"], hermaphrodites=True, selfing=[60, 0, 0, 0]
    )
    with pytest.raises(PedigreeError, match=r"3 animals .* no Mendelian variance: 'b', 'c', 'd'"):
        ped.inverse_subset(["d"])


def test_mrode_values_are_those_of_the_book():
    np.testing.assert_allclose(Pedigree(**MRODE).subset([5, 6]).dense(), MRODE_A[4:, 4:], atol=1e-15)


def test_pruning_to_nobody():
    with pytest.raises(PedigreeError, match="animals= is empty"):
        Pedigree(**MRODE).prune([])


def test_bulls_are_no_pedigree_of_animals():
    bulls = Pedigree.from_maternal_grandsires(["b"], ["a"], ["c"])
    for name in ("prune", "inverse_subset", "dominance", "statistics"):
        with pytest.raises(RelationshipError, match=f"has no {name}: it is the relationship of bulls"):
            getattr(bulls, name)
        assert not hasattr(bulls, name)
    with pytest.raises(PedigreeError, match=r"-9 is a parent in 3 of 3 rows"):
        Pedigree.from_maternal_grandsires([1, 2, 3], [-9, -9, 1], [-9, -9, -9])
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = bulls.colour
