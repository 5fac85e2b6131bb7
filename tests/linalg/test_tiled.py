import numpy as np
import pytest

from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.dense import tiled
from remlblup.linalg.dense.tiled import TiledCholesky, multiply_lower
from remlblup.linalg.threads import n_threads, set_threads


def positive_definite(n: int) -> np.ndarray:
    Z = np.random.default_rng(n).normal(size=(n, n + 10))
    return Z @ Z.T / n + 0.1 * np.eye(n)


@pytest.mark.parametrize("n", [1, 3, 4, 7, 40])
def test_factor_solutions_and_inverse(n, monkeypatch):
    monkeypatch.setattr(tiled, "tiles", lambda n, size=4: [slice(k, min(k + size, n)) for k in range(0, n, size)])
    A = positive_definite(n)
    B = np.random.default_rng(0).normal(size=(n, 3))
    work = A.copy()
    work[np.triu_indices(n, 1)] = np.nan  # only the lower triangle is read
    for start in range(0, n, 4):
        work[start : start + 4, start : start + 4] = A[start : start + 4, start : start + 4]
    factor = TiledCholesky(work)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-12)
    np.testing.assert_allclose(factor.solve(B), np.linalg.solve(A, B), atol=1e-11)
    inverse = factor.inverse()
    expected = np.linalg.inv(A)
    np.testing.assert_allclose(np.tril(inverse), np.tril(expected), atol=1e-11)
    np.testing.assert_allclose(factor.solve(B[:, 0]), expected @ B[:, 0], atol=1e-11)
    np.testing.assert_allclose(multiply_lower(inverse, B), expected @ B, atol=1e-11)


def test_same_digits_for_any_number_of_threads():
    A, before, found = positive_definite(700), n_threads(), []
    try:
        for threads in (1, 2, 3):
            set_threads(threads)
            factor = TiledCholesky(A.copy())
            found.append((factor.logdet, np.tril(factor.inverse())))
    finally:
        set_threads(before)
    for logdet, inverse in found[1:]:
        assert logdet == found[0][0]
        np.testing.assert_array_equal(inverse, found[0][1])


@pytest.mark.parametrize("spoil", [-1.0, 0.0, np.nan])
def test_matrices_without_a_factor(spoil):
    A = positive_definite(300)
    A[280, 280] = spoil
    with pytest.raises(NotPositiveDefiniteError, match="order 300"):
        TiledCholesky(A)
