"""The bordered block diagonal engine against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.dense.bordered import BorderedFactor, independent_blocks
from remlblup.linalg.factor import make_factor


def bordered(q: int, t: int, r: int, seed: int, definite: bool = True):
    """C with q blocks of t equations and a border of r, in a random order: (C, indptr, indices, groups)."""
    rng = np.random.default_rng(seed)
    n = q * t + r
    C = np.zeros((n, n))
    for k in range(q):
        block = slice(k * t, (k + 1) * t)
        C[block, block] = 1.0
        C[block, q * t :] = rng.random((1, r)) < 0.5
    C[q * t :, q * t :] = 1.0
    C = np.maximum(C, C.T) * rng.normal(size=(n, n))
    C = C + C.T
    C += np.diag(np.abs(C).sum(axis=1) + 0.1) * (1.0 if definite else np.where(np.arange(n) % 3, 1.0, -1.0))
    order = rng.permutation(n)
    group = np.concatenate([np.repeat(np.arange(q), t), np.arange(q, q + r)])[order]
    C = C[np.ix_(order, order)]
    lower = sp.csc_array(np.tril(C))
    return C, lower.indptr, lower.indices, group


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 30), st.integers(1, 3), st.integers(0, 4), st.integers(0, 10**6), st.booleans())
def test_agrees_with_dense_algebra(q, t, r, seed, definite):
    C, indptr, indices, group = bordered(q, t, r, seed, definite)
    n = len(C)
    blocks = np.argsort(group, kind="stable")[: q * t].reshape(q, t)
    factor = BorderedFactor(indptr, indices, n, blocks)
    values = np.tril(C).T[np.tril(C).T != 0]
    factor.factorize(values)
    _sign, logdet = np.linalg.slogdet(C)
    inverse = np.linalg.inv(C)
    assert factor.logdet == pytest.approx(logdet, rel=1e-12, abs=1e-10)
    assert factor.n_negative == np.sum(np.linalg.eigvalsh(C) < 0)
    columns = np.repeat(np.arange(n), np.diff(indptr))
    np.testing.assert_allclose(
        factor.inverse_on_pattern(), inverse[indices, columns], atol=1e-11 * np.abs(inverse).max()
    )
    B = np.random.default_rng(seed).normal(size=(n, 3))
    np.testing.assert_allclose(factor.solve(B), inverse @ B, rtol=1e-9, atol=1e-11 * np.abs(inverse @ B).max())
    np.testing.assert_allclose(factor.solve(B[:, 0]), inverse @ B[:, 0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("t", [1, 2])
def test_the_blocks_are_found_and_do_not_touch(t):
    C, indptr, indices, group = bordered(70, t, 5, 7)
    blocks = independent_blocks(indices, np.repeat(np.arange(len(C)), np.diff(indptr)), len(C), group)
    assert blocks.shape == (70, t)
    inside = np.zeros_like(C, dtype=bool)
    for block in blocks:
        inside[np.ix_(block, block)] = True
    chosen = np.zeros(len(C), dtype=bool)
    chosen[blocks.ravel()] = True
    assert not np.any((C != 0) & np.outer(chosen, chosen) & ~inside)
    assert isinstance(make_factor(indptr, indices, len(C), "dense", group), BorderedFactor)


def test_a_dense_matrix_has_no_blocks():
    n = 30
    rows, columns = np.tril_indices(n)
    assert independent_blocks(rows, columns, n, None) is None


@pytest.mark.parametrize("where", ["inside", "border"])
def test_a_singular_matrix_is_refused(where):
    C, indptr, indices, _ = bordered(70, 1, 3, 3)
    degree = (C != 0).sum(axis=0)
    k = int(np.argmin(degree) if where == "inside" else np.argmax(degree))
    C[k], C[:, k] = 0.0, 0.0
    columns = np.repeat(np.arange(len(C)), np.diff(indptr))
    factor = make_factor(indptr, indices, len(C), "dense")
    assert isinstance(factor, BorderedFactor)
    with pytest.raises(NotPositiveDefiniteError, match="singular"):
        factor.factorize(C[indices, columns])
