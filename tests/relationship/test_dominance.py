"""Dominance relationships against nadiv, by hand, and by dropping genes in every possible way."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from pedigrees import gene_drops, numbered_pedigrees, relabelled

from remlblup.errors import OptionError, PedigreeError, RelationshipError
from remlblup.relationship.pedigree.pedigree import Pedigree


def seventh_state(sire, dam):
    """Δ₇ by counting the outcomes of all meioses in which neither animal is inbred and both genes are shared."""
    n = len(sire)
    total, count = np.zeros((n, n)), 0
    for genes in gene_drops(sire, dam):
        count += 1
        outbred = genes[:, 0] != genes[:, 1]
        pairs = np.sort(genes, axis=1)
        total += (pairs[:, None, :] == pairs[None, :, :]).all(axis=2) & outbred[:, None] & outbred[None, :]
    return total / count


@pytest.mark.parametrize("case", ["Mrode2", "Mrode3", "Mrode9"])
def test_against_nadiv(reference, case):
    answer = json.loads(reference(f"nadiv.{case}.relationship.json").read_text())
    ped = Pedigree.from_frame(pd.read_csv(reference(f"nadiv.{case}.pedigree.csv")))
    D = ped.dominance()
    at = D.index(answer["ids"])
    np.testing.assert_allclose(D.dense()[np.ix_(at, at)], answer["D"], atol=1e-12)
    np.testing.assert_allclose(D.precision.toarray() @ D.dense(), np.eye(D.size), atol=1e-12)


def test_relatives_by_hand():
    """Full sibs ¼, double first cousins 1/16, half sibs and parent and offspring 0 (Falconer & Mackay, table 9.3)."""
    ids = ["a", "b", "c", "d", "x", "y", "u", "v", "k1", "k2", "h"]
    sires = [None] * 4 + ["a", "a", "c", "c", "x", "v", "a"]
    dams = [None] * 4 + ["b", "b", "d", "d", "u", "y", None]
    ped = Pedigree(ids, sires, dams)
    for method in ("noninbred", "general"):
        D = ped.dominance(method)
        table = pd.DataFrame(D.dense(), D.labels, D.labels)
        assert table.loc["x", "y"] == 0.25
        assert table.loc["k1", "k2"] == 0.0625
        assert table.loc["x", "h"] == table.loc["a", "x"] == 0
        assert (np.diag(table) == 1).all()


@settings(deadline=None, max_examples=40)
@given(numbered_pedigrees(max_size=8, selfing=True))
def test_general_against_gene_dropping(parents):
    sire, dam = parents
    assume(((sire >= 0).sum() + (dam >= 0).sum()) <= 12)
    ids, sires, dams = relabelled(sire, dam)
    ped = Pedigree(ids, sires, dams, hermaphrodites=True)
    expected = seventh_state(ped.sire, ped.dam)
    np.testing.assert_allclose(np.diag(expected), 1.0 - ped.inbreeding, atol=1e-14)
    assume(np.linalg.eigvalsh(expected)[0] > 1e-8)
    np.testing.assert_allclose(ped.dominance("general").dense(), expected, atol=1e-14)


@settings(deadline=None, max_examples=40)
@given(numbered_pedigrees(max_size=14))
def test_both_methods_agree_without_inbreeding(parents):
    ids, sires, dams = relabelled(*parents)
    ped = Pedigree(ids, sires, dams)
    assume((ped.inbreeding == 0).all())
    np.testing.assert_allclose(ped.dominance().dense(), ped.dominance("general").dense(), atol=1e-13)


def test_large_sparse_dominance(reference):
    table = pd.read_csv(reference("nadiv.warcolak.csv"))
    ped = Pedigree(table["ID"], table["Sire"], table["Dam"])
    D = ped.dominance()
    assert D.is_sparse
    v = np.random.default_rng(1).normal(size=D.size)
    np.testing.assert_allclose(D.precision @ D.multiply(v), v, atol=1e-10)
    rows = ped.index(table["ID"][2000:2005])
    part = D.multiply(np.eye(D.size)[:, rows])
    A = ped.dense()
    both = np.flatnonzero((ped.sire >= 0) & (ped.dam >= 0))
    s, d = ped.sire[both], ped.dam[both]
    for k, i in enumerate(rows):
        expected = 0.25 * (A[ped.sire[i], s] * A[ped.dam[i], d] + A[ped.sire[i], d] * A[ped.dam[i], s])
        expected[both == i] = 1.0 - ped.inbreeding[i]
        np.testing.assert_allclose(part[both, k], expected, atol=1e-14)
        assert np.count_nonzero(part[:, k]) > 1


def test_refusals():
    ped = Pedigree(range(1, 402), [0] * 401, [0] * 401)
    with pytest.raises(RelationshipError, match=r"401 animals, and the limit is 400.*prune"):
        ped.dominance("general")
    with pytest.raises(OptionError, match="method='exact'"):
        ped.dominance("exact")
    with pytest.raises(PedigreeError, match="rows of their own"):
        Pedigree(["a"], [None], [None], selfing=[2]).dominance()
