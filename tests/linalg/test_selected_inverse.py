"""The sparse engine against dense numpy, whole or in subtrees, batches and tiles, under every order of elimination."""

from __future__ import annotations

from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.linalg.sparse import factor as sparse
from remlblup.linalg.sparse import large_fronts, low_degree, ordering, schedule, symbolic
from remlblup.linalg.sparse.graphs import Adjacency, both_directions
from remlblup.linalg.sparse.ordering import Ordering
from remlblup.linalg.sparse.symbolic import (
    analyse_in_order,
    compact_graph,
    in_postorder,
    off_diagonal_entries,
    outline,
    permuted_upper,
)

from .matrices import at_pattern, dummies, lower_pattern, random_symmetric


def in_pieces() -> ExitStack:
    """Subtrees, batches and tiles in matrices of a few dozen equations."""
    stack = ExitStack()
    for module, name, value in (
        (schedule, "WORTH_CUTTING", 0.0),
        (schedule, "WORTH_SHARE", 0.01),
        (schedule, "VISITED", 1e5),
        (schedule, "LARGE_FRONT", 200.0),
        (large_fronts, "TILE", 5),
        (large_fronts, "COLUMNS", 3),
        (large_fronts, "ROWS", 7),
        (large_fronts, "LARGE_BLOCK", 4),
    ):
        stack.enter_context(patch.object(module, name, value))
    return stack


@settings(max_examples=200, deadline=None)
@given(
    n=st.integers(1, 90),
    neighbours=st.floats(0.0, 6.0),
    shift=st.floats(0.1, 10.0),
    seed=st.integers(0, 2**31),
    pieces=st.booleans(),
)
def test_selected_inverse_and_log_determinant(n, neighbours, shift, seed, pieces):
    """200 random matrices: C⁻¹ to 1e-12 of its largest element, log|C| to 1e-11."""
    C = random_symmetric(n, min(1.0, neighbours / n), seed, shift)
    indptr, indices, values = lower_pattern(C)
    with in_pieces() if pieces else ExitStack():
        factor = sparse.SparseFactor(indptr, indices, n)
        factor.factorize(values)
        found = factor.inverse_on_pattern()
    inverse = np.linalg.inv(C)
    assert np.abs(found - at_pattern(inverse, indptr, indices)).max() <= 1e-12 * np.abs(inverse).max()
    logdet = np.linalg.slogdet(C)[1]
    assert abs(factor.logdet - logdet) <= 1e-11 * max(1.0, abs(logdet))
    assert factor.n_dependent == 0


def order_of(name: str, indptr: np.ndarray, indices: np.ndarray, n: int) -> np.ndarray:
    """An order of elimination of the kind named."""
    graph = Adjacency(*both_directions(*off_diagonal_entries(indptr, indices), n))
    if name == "natural":
        return np.arange(n)
    if name == "reversed":
        return np.arange(n)[::-1].copy()
    if name == "nested dissection":
        return ordering.nested_dissection(graph)
    if name == "minimum degree":
        first, core, kept = ordering.multiple_minimum_degree(graph)
        return np.concatenate([first, kept[ordering.nested_dissection(core)]])
    if name == "low degree":
        first, kept, *_ = low_degree.eliminate_low_degree(*graph, ordering.LOW_DEGREE, np.zeros(n, np.uint64))
        return np.concatenate([first, kept])
    return np.random.default_rng(int(name.split()[-1])).permutation(n)


ORDERINGS = ["natural", "reversed", "nested dissection", "minimum degree", "low degree", "random 1", "random 2"]


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name", ORDERINGS)
def test_exactly_the_dependent_equations_under_every_ordering(name, pieces):
    """W'W of dummy columns that depend on each other: the deficiency known from the design, not computed.

    An intercept and k factors whose cells are all filled have rank 1 + Σ (levels − 1); a factor nested in another
    adds its own levels less those of the other; a level without records adds nothing.
    """
    rng = np.random.default_rng(7)
    a, b, c = np.unravel_index(np.arange(5 * 4 * 3), (5, 4, 3))
    nested = a * 3 + (b + c) % 3
    blocks = [np.ones((60, 1)), dummies(a, 5), dummies(b, 4), dummies(c, 4), dummies(nested, 15)]
    W = np.column_stack(blocks) * np.sqrt(rng.uniform(0.5, 2.0, 60))[:, None]
    full, rank = W.shape[1], 1 + 4 + 3 + 2 + 10
    many = sp.block_diag([W, W, W])  # three designs side by side
    C = sp.csc_array(many.T @ many).toarray()
    indptr, indices, values = lower_pattern(C)
    n = 3 * full
    compact = compact_graph(indptr, indices, n)
    permutation = order_of(name, indptr, indices, n)
    permutation = permutation[in_postorder(outline(permuted_upper(compact, permutation)))]
    analysed = analyse_in_order(indptr, indices, Ordering(permutation, name, "chosen by the test"), compact)
    with patch.object(sparse, "analyse", lambda *_: analysed), in_pieces() if pieces else ExitStack():
        factor = sparse.SparseFactor(indptr, indices, n)
        factor.factorize(values)
        inverse = factor.inverse_on_pattern()
    assert factor.n_dependent == 3 * (full - rank)
    assert factor.n_negative == 0
    kept = np.flatnonzero(np.diagonal(factor.solve(np.eye(n))))
    assert len(kept) == 3 * rank
    block = C[np.ix_(kept, kept)]
    assert np.linalg.matrix_rank(block) == 3 * rank
    expected = np.zeros((n, n))
    expected[np.ix_(kept, kept)] = np.linalg.inv(block)
    error = np.abs(inverse - at_pattern(expected, indptr, indices)).max() / np.abs(expected).max()
    assert error <= 1e-14 * np.linalg.cond(block)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(block)[1], abs=1e-11 * 3 * rank)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_diagonal_of_the_inverse(sign):
    """By supernodes, and by columns where C is not positive definite."""
    C = sign * random_symmetric(60, 0.05, 4, 2.0)
    indptr, indices, values = lower_pattern(C)
    factor = sparse.SparseFactor(indptr, indices, 60)
    factor.factorize(values)
    assert factor.n_negative == (60 if sign < 0 else 0)
    np.testing.assert_allclose(factor.inverse_diagonal(), np.diag(np.linalg.inv(C)), rtol=1e-10)


def test_the_rows_of_a_supernode_are_those_of_its_last_column():
    """With a clique, of which the analysis counts a star alone; forgotten they are made again as they were."""
    n = 300
    C = random_symmetric(n, 0.01, 3, 1.0)
    C[-150:, -150:] += 0.01
    C += n * np.eye(n)
    indptr, indices, _ = lower_pattern(C)
    found = symbolic.analyse(indptr, indices, n)
    assert "dense block" in found.ordering.reason
    sn = found.supernodes
    for s in range(sn.size):
        last = sn.first[s + 1] - 1
        below = found.rows[found.indptr[last] : found.indptr[last + 1]]
        own = sn.rows[sn.rows_at[s] : sn.rows_at[s + 1]]
        np.testing.assert_array_equal(own, [*range(sn.first[s], last + 1), *below])
    found.forget_supernodes()
    assert found.supernodes is not sn
    for before, again in zip(sn, found.supernodes, strict=True):
        np.testing.assert_array_equal(before, again)
