import itertools
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pedigrees import MRODE, kinship_matrix, numbered_pedigrees, random_pedigree

from remlblup.errors import OptionError, PedigreeError, RelationshipError
from remlblup.relationship import base
from remlblup.relationship.descent import numerator, numerator_matrix
from remlblup.relationship.pedigree.pedigree import Pedigree


def test_importing_does_not_load_numba():
    code = (
        "import sys; from remlblup.relationship.pedigree.pedigree import Pedigree; p = Pedigree([1, 2], [0, 1], [0, "
        "0]);p.precision; p.logdet; p.multiply(p.diagonal); print('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_full_sib_mating():
    # Brother x sister in every generation: F = 0, 0, 1/4, 3/8, 1/2 (Falconer & Mackay, table 5.1).
    sire = np.array([-1, -1, 0, 0, 2, 2, 4, 4, 6, 6])
    dam = np.array([-1, -1, 1, 1, 3, 3, 5, 5, 7, 7])
    expected = np.repeat([0, 0, 0.25, 0.375, 0.5], 2)
    for method in ("tabular", "columns"):
        np.testing.assert_allclose(numerator.inbreeding(sire, dam, method), expected, atol=1e-15)


def test_selfing():
    # F of generation t is 1 - (1/2)^t, and its Mendelian variance half of what is left of it.
    line = Pedigree(list("abcd"), [None, *"abc"], [None, *"abc"], hermaphrodites=True)
    np.testing.assert_allclose(line.inbreeding, [0, 0.5, 0.75, 0.875])
    np.testing.assert_allclose(line.mendelian_variance, [1, 0.5, 0.25, 0.125])
    np.testing.assert_allclose(line.precision.toarray() @ line.dense(), np.eye(4), atol=1e-13)


def test_henderson_rules_by_hand():
    # Offspring of two founders: d = 1/2, so 2 on its diagonal, -1 to its parents, 1/2 between them.
    trio = Pedigree([1, 2, 3], [0, 0, 1], [0, 0, 2])
    np.testing.assert_allclose(trio.precision.toarray(), [[1.5, 0.5, -1], [0.5, 1.5, -1], [-1, -1, 2]])
    assert trio.logdet == pytest.approx(np.log(0.5))
    # One parent known: d = 3/4.
    pair = Pedigree([1, 2], [0, 1], [0, 0])
    np.testing.assert_allclose(pair.precision.toarray(), [[4 / 3, -2 / 3], [-2 / 3, 4 / 3]])


def test_precision_is_symmetric_sparse_and_sorted():
    precision = Pedigree(**MRODE).precision
    assert precision.format == "csc"
    assert precision.has_sorted_indices
    assert abs(precision - precision.T).max() == 0


@pytest.mark.parametrize("selfing", [False, True])
def test_everything_follows_from_kinship(selfing):
    @settings(deadline=None)
    @given(numbered_pedigrees(selfing=selfing))
    def check(parents):
        sire, dam = parents
        A = kinship_matrix(sire, dam)
        for method in ("tabular", "columns"):
            np.testing.assert_allclose(numerator.inbreeding(sire, dam, method), np.diag(A) - 1, atol=1e-13)
        F = np.diag(A) - 1
        d = numerator.mendelian_variance(sire, dam, F)
        inverse = numerator.inverse(sire, dam, F).toarray()
        scale = np.abs(inverse).max()
        np.testing.assert_allclose(A @ inverse, np.eye(len(A)), atol=1e-12 * scale)
        check_compiled_inverse(sire, dam, d, inverse)
        np.testing.assert_allclose(numerator_matrix.matrix(sire, dam, d), A, atol=1e-13)
        assert numerator.log_determinant(d) == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-9)
        V = np.random.default_rng(len(A)).normal(size=(len(A), 3))
        np.testing.assert_allclose(numerator.multiply(sire, dam, d, V), A @ V, atol=1e-12)
        np.testing.assert_allclose(numerator.multiply(sire, dam, d, V[:, 0]), A @ V[:, 0], atol=1e-12)

    check()


def check_compiled_inverse(sire, dam, d, inverse, gamma=None):
    """The kernel of Henderson's rules and its products, against A⁻¹ as an array."""
    with mock.patch.object(numerator, "SMALL", -1):
        lower = numerator.lower_precision(sire, dam, d, gamma)
    assert lower.has_canonical_format and (lower.indices[lower.indptr[:-1]] == np.arange(len(d))).all()
    scale = np.abs(inverse).max()
    np.testing.assert_allclose(lower.toarray(), np.tril(inverse), rtol=1e-13, atol=1e-14 * scale)
    V = np.random.default_rng(len(d)).normal(size=(len(d), 2))
    solved = numerator.precision_times(sire, dam, d, V, gamma)
    np.testing.assert_allclose(solved, inverse @ V, rtol=1e-11, atol=1e-12 * scale)


@given(numbered_pedigrees(), st.integers(0, 2**32))
def test_compiled_inverse_with_metafounders(parents, seed):
    # Two founder rows in front of the animals, their parents where one is unknown.
    g, rng = 2, np.random.default_rng(seed)
    sire, dam = (np.where(p < 0, rng.integers(g, size=len(p)), p + g) for p in parents)
    sire, dam = (np.append(np.full(g, -1), p) for p in (sire, dam))
    gamma = np.array([[0.8, 0.3], [0.3, 0.6]])
    variance = rng.uniform(0.2, 1.0, len(sire))
    T = np.linalg.inv(numerator.descent_operator(sire, dam).toarray())
    D = np.diag(variance)
    D[:g, :g] = gamma
    check_compiled_inverse(sire, dam, variance, np.linalg.inv(T @ D @ T.T), gamma)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("n", [1500, 2500])
def test_compiled_route_equals_plain_route(monkeypatch, seed, n):
    sire, dam = random_pedigree(n, seed)
    F = numerator.inbreeding(sire, dam, "tabular")
    assert F.max() > 0.2
    np.testing.assert_allclose(numerator.inbreeding(sire, dam, "columns"), F, atol=1e-13)
    # Sires and dams have equal parts: swapping them changes the pivot sex, not the answer.
    np.testing.assert_allclose(numerator.inbreeding(dam, sire, "columns"), F, atol=1e-13)
    d = numerator.mendelian_variance(sire, dam, F)
    V = np.random.default_rng(seed).normal(size=(n, 2))
    plain, kept = numerator.multiply(sire, dam, d, V), V.copy()
    some = np.array([n - 1, 0, n // 2])
    part = numerator_matrix.matrix(sire, dam, d, some)
    monkeypatch.setattr(numerator, "SMALL", 0)
    np.testing.assert_allclose(numerator.multiply(sire, dam, d, V), plain, atol=1e-11)
    np.testing.assert_allclose(numerator.multiply(sire, dam, d, V[:, 1]), plain[:, 1], atol=1e-11)
    np.testing.assert_array_equal(V, kept)
    np.testing.assert_allclose(numerator_matrix.matrix(sire, dam, d, some), part, atol=1e-13)
    np.testing.assert_allclose(numerator.inbreeding(sire, dam), F, atol=1e-13)


def test_large_pedigree_holds_together():
    sire, dam = random_pedigree(20_000, 5)
    pedigree = Pedigree(np.arange(1, 20_001), sire + 1, dam + 1)
    v = np.random.default_rng(1).normal(size=20_000)
    np.testing.assert_allclose(pedigree.precision @ pedigree.multiply(v), v, atol=1e-9)
    np.testing.assert_allclose(pedigree.precision_times(pedigree.multiply(v)), v, atol=1e-9)
    assert abs(pedigree.precision - pedigree.precision.T).max() == 0.0
    unit = np.zeros(20_000)
    unit[-1] = 1.0
    assert pedigree.multiply(unit)[-1] == pytest.approx(1 + pedigree.inbreeding[-1])


@pytest.mark.parametrize(("before", "after"), [(3, 1), (1, 3), (2, 3)])
def test_every_column_comes_once_though_the_number_of_threads_changes(monkeypatch, before, after):
    sire, dam = random_pedigree(300, 3)
    d = numerator.mendelian_variance(sire, dam, numerator.inbreeding(sire, dam))
    # Whenever it asks there is another number, as where another thread of the process sets it.
    numbers = itertools.cycle([before, after])
    monkeypatch.setattr(numerator_matrix, "n_threads", lambda: next(numbers))
    found = list(numerator_matrix.column_blocks(sire, dam, d, np.arange(300)))
    assert [first for first, _ in found] == list(range(0, 300, 16))
    A = np.hstack([block for _, block in found])
    np.testing.assert_allclose(A, kinship_matrix(sire, dam), atol=1e-12)


def test_dense_refuses_what_cannot_fit():
    n = base.DENSE_LIMIT + 1
    unknown = np.full(n, -1)
    with pytest.raises(RelationshipError, match=r"20,001 animals would take 3\.2 GB"):
        numerator_matrix.matrix(unknown, unknown, np.ones(n))
    assert numerator_matrix.matrix(unknown, unknown, np.ones(n), np.array([3, 4])).tolist() == [[1, 0], [0, 1]]


def test_completely_inbred_parents_have_no_inverse():
    generations = 60
    ids = list(range(1, generations + 1))
    line = Pedigree(ids, [0, *ids[:-1]], [0, *ids[:-1]], hermaphrodites=True)
    assert line.inbreeding[-1] == pytest.approx(1)
    for attribute in ("precision", "logdet"):
        with pytest.raises(PedigreeError, match="completely inbred"):
            getattr(line, attribute)


def test_unknown_method():
    with pytest.raises(OptionError, match="method='magic'"):
        numerator.inbreeding(np.array([-1]), np.array([-1]), "magic")
