"""X-linked relationships against the dropping of genes in every possible way, and by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pedigrees import gene_drops, numbered_pedigrees, relabelled

from remlblup.errors import OptionError, PedigreeError
from remlblup.relationship.pedigree.pedigree import Pedigree


def shared_genes(sire, dam, male):
    """S = ½ Σ over genes of both animals of the probability that they are identical: one gene in a male."""
    n = len(sire)
    total, count = np.zeros((n, n)), 0
    weight = np.where(male, 0.5, 1.0)  # a male's gene stands in both columns
    for genes in gene_drops(sire, dam, male):
        count += 1
        same = (genes[:, None, :, None] == genes[None, :, None, :]).sum(axis=(2, 3))
        total += 0.5 * same * weight[:, None] * weight
    return total / count


@st.composite
def sexed(draw):
    sire, dam = draw(numbered_pedigrees(max_size=9))
    return sire, dam, np.arange(len(sire)) % 2 == 0


ONLY_ONE_SEX_BREEDS = (np.array([-1, -1, -1]), np.array([-1, -1, 1]), np.array([True, False, True]))


@settings(deadline=None, max_examples=40)
@example(ONLY_ONE_SEX_BREEDS, "X")
@example(ONLY_ONE_SEX_BREEDS, "Z")
@given(sexed(), st.sampled_from(["X", "Z"]))
def test_against_gene_dropping(case, chromosome):
    sire, dam, male = case
    assume(((sire >= 0).sum() + (dam >= 0).sum()) <= 12)
    ids, sires, dams = relabelled(sire, dam)
    if chromosome == "Z":  # the other way round: the dams have one gene
        sires, dams = dams, sires
    ped = Pedigree(ids, sires, dams)
    sex = dict(zip(ids, np.where(male, "one", "two"), strict=True))
    S = ped.sex_linked(sex, heterogametic="one") if len(ids) > 1 else ped.sex_linked(sex, heterogametic=sex[ids[0]])
    at = S.index(ids)
    expected = shared_genes(sire, dam, male)
    np.testing.assert_allclose(S.dense(ids), expected, atol=1e-14)
    np.testing.assert_allclose(S.diagonal[at], np.diag(expected), atol=1e-14)
    np.testing.assert_allclose(S.inbreeding[at], np.where(male, 0.0, np.diag(expected) - 1.0), atol=1e-14)
    inverse = S.precision.toarray()[np.ix_(at, at)]
    np.testing.assert_allclose(inverse @ expected, np.eye(len(ids)), atol=1e-10 * np.abs(inverse).max())
    assert S.logdet == pytest.approx(np.linalg.slogdet(expected)[1], abs=1e-9)
    V = np.random.default_rng(1).normal(size=(len(ids), 2))
    np.testing.assert_allclose(S.multiply(V), S.dense() @ V, atol=1e-12)
    np.testing.assert_allclose(S.multiply(V[:, 0]), S.dense() @ V[:, 0], atol=1e-12)


def test_fernando_and_grossman(reference):
    """Their pedigree (nadiv's FG90): Mendelian variances ¼(1 − F_dam) (+ ½ for an unknown parent's gene)."""
    table = pd.read_csv(reference("nadiv.FG90.csv"))
    ped = Pedigree.from_frame(table[["id", "dam", "sire"]])
    S = ped.sex_linked(table.set_index("id")["sex"])
    at = S.index(table["id"])
    F = dict(zip(table["id"], S.inbreeding[at], strict=True))
    assert F == {1: 0, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0.5, 7: 0, 8: 0.5}
    # 1 and 3: unknown dam; 2: a founder; 6 is inbred, and the dam of 7 and 8.
    expected = [0.5, 1.0, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]
    np.testing.assert_allclose(S.mendelian_variance[at], expected, atol=1e-15)


def test_dosage_compensation_doubles_males():
    ped = Pedigree(["s", "d", "son", "daughter"], [None, None, "s", "s"], [None, None, "d", "d"])
    sex = {"s": "M", "d": "F", "son": "M", "daughter": "F"}
    plain, doubled = ped.sex_linked(sex), ped.sex_linked(sex, dosage="hedo")
    np.testing.assert_allclose(plain.dense()[3], [0.5, 0.5, 0.25, 1.0])  # all of the sire's gene, half of the dam's
    np.testing.assert_allclose(doubled.dense()[3], [1.0, 0.5, 0.5, 1.0])
    np.testing.assert_allclose(doubled.diagonal, [2.0, 1.0, 2.0, 1.0])
    np.testing.assert_allclose(doubled.precision.toarray() @ doubled.dense(), np.eye(4), atol=1e-14)
    for dosage in ("hori", "hoha"):
        np.testing.assert_array_equal(ped.sex_linked(sex, dosage=dosage).dense(), doubled.dense())
    # Sexes of parents are known from their role.
    np.testing.assert_array_equal(
        ped.sex_linked({"son": "M", "daughter": "F"}, heterogametic="M").dense(), plain.dense()
    )


def test_errors_name_animals():
    ped = Pedigree(["s", "d", "son"], [None, None, "s"], [None, None, "d"])
    with pytest.raises(PedigreeError, match="1 animal is among the dams but of the other sex in sex=: 'd'"):
        ped.sex_linked({"s": "M", "d": "M", "son": "F"})
    with pytest.raises(PedigreeError, match="1 animal has no sex: 'son'"):
        ped.sex_linked({"s": "M", "d": "F"})
    with pytest.raises(PedigreeError, match="more than two sexes: '1', '2', '3'"):
        ped.sex_linked([1, 2, 3])
    with pytest.raises(PedigreeError, match="heterogametic='W' is not among"):
        ped.sex_linked({"s": "M", "d": "F", "son": "M"}, heterogametic="W")
    with pytest.raises(PedigreeError, match="No sire has a sex"):
        ped.sex_linked({"son": "M"})
    with pytest.raises(PedigreeError, match="2 values for 3 animals"):
        ped.sex_linked(["M", "F"])
    with pytest.raises(OptionError, match="dosage='all'"):
        ped.sex_linked(["M", "F", "M"], dosage="all")
