"""LAPACK on small matrices: what `numpy.linalg` says, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

from remlblup.linalg.pivoted_cholesky import pivoted_cholesky
from remlblup.linalg.scaled_solve import Scaled, scaled_solve
from remlblup.linalg.small import cholesky, eigensystem, eigenvalues, singular_rows, triangle, triangular_inverse


@pytest.mark.parametrize("t", [1, 2, 5])
def test_as_numpy(t):
    A = np.random.default_rng(t).normal(size=(t, 2 * t))
    A = A @ A.T
    L, (values, vectors) = cholesky(A), eigensystem(A)
    np.testing.assert_allclose(L, np.linalg.cholesky(A), atol=1e-14 * A.max())
    np.testing.assert_allclose(triangular_inverse(L) @ L, np.eye(t), atol=1e-13)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(A), rtol=1e-12)
    np.testing.assert_allclose(eigenvalues(A), values, rtol=1e-12)
    np.testing.assert_allclose(vectors * values @ vectors.T, A, rtol=1e-11, atol=1e-12 * A.max())


@pytest.mark.parametrize("shape", [(40, 3), (3, 3), (2, 5), (7, 1)])
def test_singular_values_and_their_rows(shape):
    """Of fewer rows than columns as well: behind those of the values stand the rest of V'."""
    A = np.random.default_rng(1).normal(size=shape)
    values, rows = singular_rows(A)
    np.testing.assert_allclose(values, np.linalg.svd(A)[1], rtol=1e-12)
    np.testing.assert_allclose(rows @ rows.T, np.eye(shape[1]), atol=1e-13)
    left = np.linalg.norm(A @ rows.T, axis=0)
    np.testing.assert_allclose(left, np.pad(values, (0, shape[1] - len(values))), atol=1e-13)


@pytest.mark.parametrize("A", [np.diag([1.0, 0.0]), np.array([[1.0, 2.0], [2.0, 1.0]]), np.full((2, 2), np.nan)])
def test_what_is_not_positive_definite_is_refused(A):
    with pytest.raises(np.linalg.LinAlgError, match="not positive definite"):
        cholesky(A)


def test_a_factor_with_a_zero_has_no_inverse():
    with pytest.raises(np.linalg.LinAlgError, match="zero on its diagonal"):
        triangular_inverse(np.diag([1.0, 0.0]))


def test_places_of_vech_are_shared_and_not_to_be_written():
    rows, columns = triangle(3)
    assert rows.tolist() == [0, 1, 1, 2, 2, 2] and columns.tolist() == [0, 0, 1, 0, 1, 2]
    assert triangle(3)[0] is rows
    with pytest.raises(ValueError, match="read-only"):
        rows[0] = 1


def test_a_scaled_matrix_is_singular_in_any_units():
    size = np.array([1e-9, 1.0, 1e9])
    whole = np.array([[2.0, 0.5, 0.3], [0.5, 1.0, 0.2], [0.3, 0.2, 1.0]]) * np.outer(size, size)
    alike = np.array([[1.0, 1.0, 0.3], [1.0, 1.0, 0.3], [0.3, 0.3, 1.0]]) * np.outer(size, size)
    assert Scaled.of(whole).root is not None and Scaled.of(alike).root is None
    right = whole @ np.array([1e9, 1.0, 1e-9])
    np.testing.assert_allclose(scaled_solve(whole, right), [1e9, 1.0, 1e-9], rtol=1e-12)
    assert scaled_solve(whole, np.zeros((3, 0))).shape == (3, 0)


@pytest.mark.parametrize(("t", "rank"), [(1, 1), (3, 3), (4, 2), (3, 0)])
def test_pivots_decrease_and_those_of_nothing_have_no_column(t, rank):
    A = np.random.default_rng(t).normal(size=(t, rank))
    A = A @ A.T
    order, L, found = pivoted_cholesky(A, 1e-9)
    assert found == rank and sorted(order) == list(range(t))
    np.testing.assert_allclose(L @ L.T, A[order][:, order], atol=1e-13)
    assert not np.triu(L, 1).any() and not L[:, rank:].any()
    assert (np.diff(L.diagonal()) <= 0.0).all()


@pytest.mark.parametrize("size", [0.0, 1e-20, 0.9e-9])
def test_a_matrix_below_the_least_pivot_has_no_rank(size):
    """Its first pivot, too, which LAPACK takes whatever its size."""
    order, L, rank = pivoted_cholesky(size * np.eye(3), 1e-9)
    assert rank == 0 and not L.any() and sorted(order) == [0, 1, 2]
