"""Aliased columns: known dependencies, awkward scales, and a check against exact arithmetic."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.errors import DataError
from remlblup.linalg.rank import gram
from remlblup.linalg.rank.independent import ILL_CONDITIONED, independent_columns, whiten

from .matrices import dummies

RNG = np.random.default_rng(11)
N = 600
YEAR = RNG.integers(1990, 2021, N).astype(float)
ONE = np.ones(N)


def aliased(X):
    return independent_columns(X).aliased.tolist()


def exact_aliased(X):
    """Columns that do not raise the rank, by fraction-free elimination on Python integers."""
    rows = [[int(v) for v in row] for row in X]
    found, rank = [], 0
    for j in range(X.shape[1]):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][j]), None)
        if pivot is None:
            found.append(j)
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            if rows[i][j]:
                a, b = rows[rank][j], rows[i][j]
                rows[i] = [a * v - b * w for v, w in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return found


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(1, 12),
    p=st.integers(1, 14),
    seed=st.integers(0, 2**31),
    exponent=st.integers(0, 9),
    route=st.sampled_from(["dense", "sparse", "wide"]),
)
def test_agrees_with_exact_arithmetic_whatever_the_scales(n, p, seed, exponent, route):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 2, size=(n, p))
    expected = exact_aliased(X)
    scaled = X * 10.0 ** rng.integers(-exponent, exponent + 1, p)
    with patch.object(gram, "DENSE_COLUMNS", 0 if route == "wide" else 100):
        rank = independent_columns(scaled if route == "dense" else sp.csr_array(scaled))
    assert rank.aliased.tolist() == expected
    assert sorted([*rank.kept, *rank.aliased]) == list(range(p))


def test_powers_of_year_are_kept():
    X = np.c_[ONE, YEAR, YEAR**2, YEAR**3]
    rank = independent_columns(X)
    assert rank.aliased.tolist() == []
    assert rank.pivot_ratios[3] < 1e-12  # hopeless for the Gram matrix
    assert rank.smallest_ratio < ILL_CONDITIONED
    centred = (YEAR - YEAR.mean()) / YEAR.std()
    fitted = np.polynomial.polynomial.polyfit(centred, YEAR**3, 2)
    left = YEAR**3 - np.polynomial.polynomial.polyval(centred, fitted)
    assert np.sqrt(rank.pivot_ratios[3]) == pytest.approx(np.linalg.norm(left) / np.linalg.norm(YEAR**3), rel=1e-4)


def test_combinations_of_powers_of_year_are_aliased():
    X = np.c_[ONE, YEAR, YEAR**2, 4.0 * YEAR**2 - 7.0 * YEAR + 1e4, YEAR**3, 1e-8 * YEAR**3 + 5.0, YEAR]
    assert aliased(X) == [3, 5, 6]
    assert aliased(sp.csc_array(X)) == [3, 5, 6]


def test_dummies_that_sum_to_the_intercept():
    D = dummies(RNG.integers(0, 4, N), 4)
    assert aliased(np.c_[ONE, D]) == [4]
    assert aliased(np.c_[D, ONE]) == [4]


def test_full_interaction_with_empty_cells():
    a, b = RNG.integers(0, 5, N), RNG.integers(0, 4, N)
    a[a == 2] = np.where(b[a == 2] == 3, 1, 2)  # cell (2, 3) is empty
    X = np.c_[ONE, dummies(a, 5), dummies(b, 4), dummies(a * 4 + b, 20)]
    rank = independent_columns(sp.csr_array(X))
    assert len(rank.kept) == 19
    assert 10 + 2 * 4 + 3 in rank.aliased
    assert rank.aliased.tolist() == exact_aliased(X)


def test_zero_and_repeated_columns():
    x = RNG.normal(size=N)
    rank = independent_columns(np.c_[np.zeros(N), x, 1e8 * x, np.zeros(N), -1e-8 * x, ONE])
    assert rank.kept.tolist() == [1, 5]
    assert rank.pivot_ratios[[0, 3]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("scale", [1e-300, 1e-8, 1.0, 1e8, 1e300])
def test_scale_does_not_decide(scale):
    x, noise = RNG.normal(size=N), RNG.normal(size=N)
    near = x + 1e-6 * noise
    assert aliased(np.c_[ONE, x, near * scale]) == []
    assert aliased(np.c_[ONE, x, (x + 1e-12 * noise) * scale]) == [2]


def test_the_first_of_two_dependent_columns_is_kept_after_a_nearly_dependent_one():
    # Column 4 depends on the *difference* of two nearly equal columns: a Gram matrix cannot see it.
    x, tiny = RNG.normal(size=N), RNG.normal(size=N)
    X = np.c_[ONE, x, x + 1e-8 * tiny, RNG.normal(size=N), tiny + 2.0 * x]
    rank = independent_columns(X)
    assert rank.aliased.tolist() in ([], [4])  # its residual, about 1e-8, is noise of the data themselves
    assert rank.kept.tolist()[:4] == [0, 1, 2, 3]
    clean = np.c_[ONE, x, x + 1e-5 * tiny, tiny + 2.0 * x]
    assert aliased(clean) == [3]


def test_more_columns_than_rows():
    X = RNG.normal(size=(7, 12))
    assert aliased(X) == list(range(7, 12))


def test_no_columns_and_non_finite_columns():
    assert independent_columns(np.empty((5, 0))).kept.shape == (0,)
    X = np.ones((5, 3))
    X[2, 1] = np.nan
    with pytest.raises(DataError, match=r"\[1\]"):
        independent_columns(X)
    with pytest.raises(DataError, match=r"\[1\]"):
        independent_columns(sp.csr_array(X))


def test_wide_sparse_route_gives_the_same(monkeypatch):
    a, b = RNG.integers(0, 12, N), RNG.integers(0, 9, N)
    X = sp.csr_array(
        np.c_[ONE, YEAR, YEAR**2, dummies(a, 12), dummies(b, 9), dummies(a * 9 + b, 108), YEAR**3, YEAR**2]
    )
    narrow = independent_columns(X)
    monkeypatch.setattr(gram, "DENSE_COLUMNS", 10)
    wide = independent_columns(X)
    assert wide.aliased.tolist() == narrow.aliased.tolist()
    assert 3 + 12 + 9 + 108 in wide.kept
    assert X.shape[1] - 1 in wide.aliased


def test_many_columns_cross_the_blocks_of_the_dense_factor():
    X = RNG.normal(size=(400, 200))
    for j in (5, 63, 64, 130, 199):
        X[:, j] = X[:, :5] @ RNG.normal(size=5)
    assert aliased(X) == [5, 63, 64, 130, 199]


def test_whiten_reproduces_the_fit_of_an_ill_conditioned_design():
    X = np.c_[ONE, YEAR, YEAR**2, YEAR]
    kept = independent_columns(X).kept
    X_work, T, logdet = whiten(X, kept)
    np.testing.assert_allclose(X_work.T @ X_work, np.eye(3), atol=1e-13)
    assert logdet == pytest.approx(np.linalg.slogdet(T)[1], rel=1e-12)
    truth = np.array([3.0, -2.0, 0.5])
    beta = T @ (X_work.T @ (X[:, kept] @ truth))
    np.testing.assert_allclose(X[:, kept] @ beta, X[:, kept] @ truth, rtol=1e-12)
    z = (YEAR - 2005.0) / 10.0  # log|X'X| in a basis where it can be computed directly
    direct = np.linalg.slogdet(np.c_[ONE, z, z**2].T @ np.c_[ONE, z, z**2])[1] + 6 * np.log(10.0)
    assert -2.0 * logdet == pytest.approx(direct, rel=1e-7)
