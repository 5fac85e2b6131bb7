"""Dense parts of C that are not on its pattern: the same factor as with every entry listed."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from remlblup.linalg import threads
from remlblup.linalg.contract import DenseBlock
from remlblup.linalg.factor import make_factor
from remlblup.linalg.sparse.factor import SparseFactor

from .matrices import at_pattern, lower_pattern, pedigree_inverse


def parted(n: int, sizes: tuple[int, ...], seed: int) -> tuple[np.ndarray, list[DenseBlock]]:
    """A sparse positive definite matrix and dense blocks over some of the later places each."""
    rng = np.random.default_rng(seed)
    blocks, later = [], rng.permutation(np.arange(n // 3, n))
    for g, end in zip(sizes, np.cumsum(sizes), strict=True):
        Z = rng.normal(size=(g, g + 20)) / np.sqrt(g)
        blocks.append(DenseBlock(np.sort(later[end - g : end]), Z @ Z.T - 0.1 * np.eye(g)))
    return pedigree_inverse(n, seed).toarray() + 0.2 * np.eye(n), blocks


def whole(C: np.ndarray, blocks: list[DenseBlock], coefficients: np.ndarray) -> np.ndarray:
    C = C.copy()
    for block, coefficient in zip(blocks, coefficients, strict=True):
        C[np.ix_(block.at, block.at)] += coefficient * block.values
    return C


@pytest.mark.parametrize("coefficients", [(1.0, 1.0), (0.3, 2.0), (1.0, -20.0)])
@pytest.mark.parametrize("order", [300, 900])
def test_solution_inverse_and_determinant_are_those_of_the_whole_matrix(order, coefficients):
    C, blocks = parted(order, (order // 4, order // 6), 3)
    indptr, indices, values = lower_pattern(C)
    factor = make_factor(indptr, indices, order, "sparse", blocks=blocks)
    assert factor.stats.nnz_matrix == len(indices) + sum(block.entries for block in blocks)
    for part in (np.array([0.5, 0.5]), np.array(coefficients)):  # nothing is left of the factor before
        full = whole(C, blocks, part)
        factor.factorize(np.concatenate([values, part]))
        inverse = np.linalg.inv(full)
        _, logdet = np.linalg.slogdet(full)
        assert factor.n_negative == int((np.linalg.eigvalsh(full) < 0.0).sum())
        assert factor.logdet == pytest.approx(logdet, rel=1e-11)
        found = factor.inverse_on_pattern()
        np.testing.assert_allclose(found, at_pattern(inverse, indptr, indices), atol=1e-9 * np.abs(inverse).max())
        b = np.sin(np.arange(2.0 * order)).reshape(order, 2)
        np.testing.assert_allclose(factor.solve(b), inverse @ b, atol=1e-8 * np.abs(inverse).max())
        np.testing.assert_allclose(factor.inverse_diagonal(), np.diag(inverse), atol=1e-9 * np.abs(inverse).max())


def test_the_equations_of_a_block_go_last_and_into_one_supernode():
    C, blocks = parted(1200, (300,), 5)
    indptr, indices, _ = lower_pattern(C)
    definite = SparseFactor(indptr, indices, 1200, blocks=blocks)._definite
    assert np.diff(definite.supernodes.first)[-1] >= 300
    assert set(blocks[0].at) <= set(definite.permutation[definite.supernodes.first[-2] :])


def test_the_digits_do_not_depend_on_the_number_of_threads():
    C, blocks = parted(1500, (700,), 7)
    indptr, indices, values = lower_pattern(C)
    results = []
    try:
        for number in (1, 2, 3):
            threads.set_threads(number)
            factor = SparseFactor(indptr, indices, 1500, blocks=blocks)
            factor.factorize(np.append(values, 0.7))
            results.append((factor.logdet, factor.inverse_on_pattern(), factor.solve(np.ones(1500))))
    finally:
        threads._settings.clear()
        threads.pool.cache_clear()
    for logdet, inverse, solution in results[1:]:
        assert logdet == results[0][0]
        np.testing.assert_array_equal(inverse, results[0][1])
        np.testing.assert_array_equal(solution, results[0][2])


def test_a_block_is_held_where_it_was():
    """No entry of it is listed or copied."""
    C, blocks = parted(900, (400,), 9)
    factor = SparseFactor(*lower_pattern(C)[:2], 900, blocks=blocks)
    assert factor._definite.blocks[0].values is blocks[0].values
    assert len(factor._definite.entries.order) == sp.csc_array(np.tril(C)).nnz
