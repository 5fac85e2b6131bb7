"""Both engines against dense numpy, on the same matrices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.errors import NotPositiveDefiniteError, OptionError
from remlblup.linalg.factor import DENSE_LIMIT, make_factor

from .matrices import animal_model, at_pattern, dummies, lower_pattern, pedigree_inverse, random_symmetric

ENGINES = ("dense", "sparse")


def factor_of(C, engine):
    indptr, indices, values = lower_pattern(C)
    factor = make_factor(indptr, indices, C.shape[0], engine)
    factor.factorize(values)
    return factor, indptr, indices


def relative_error(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), density=st.floats(0, 0.6), seed=st.integers(0, 2**31))
def test_positive_definite_agrees_with_dense_numpy(engine, n, density, seed):
    C = random_symmetric(n, density, seed)
    factor, indptr, indices = factor_of(C, engine)
    inverse = np.linalg.inv(C)
    assert relative_error(factor.inverse_on_pattern(), at_pattern(inverse, indptr, indices)) <= 1e-12
    assert abs(factor.logdet - np.linalg.slogdet(C)[1]) <= 1e-11 * max(1, n)
    assert (factor.n_negative, factor.n_dependent) == (0, 0)
    B = np.random.default_rng(seed).normal(size=(n, 3))
    assert relative_error(factor.solve(B), inverse @ B) <= 1e-11
    assert relative_error(factor.products_of(B), B.T @ inverse @ B) <= 1e-11


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=60, deadline=None)
@given(n=st.integers(2, 40), density=st.floats(0, 0.5), seed=st.integers(0, 2**31))
def test_inertia_of_an_indefinite_matrix(engine, n, density, seed):
    # Strictly dominant rows with mixed signs: indefinite, and no leading submatrix is singular.
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], n)
    C = random_symmetric(n, density, seed)
    C[np.diag_indices(n)] *= signs
    factor, indptr, indices = factor_of(C, engine)
    assert factor.n_negative == (np.linalg.eigvalsh(C) < 0).sum()
    assert abs(factor.logdet - np.linalg.slogdet(C)[1]) <= 1e-11 * n
    inverse = np.linalg.inv(C)
    assert relative_error(factor.inverse_on_pattern(), at_pattern(inverse, indptr, indices)) <= 1e-11
    b = np.arange(1.0, n + 1)
    assert abs(factor.products_of(b[:, None])[0, 0] - b @ inverse @ b) <= 1e-11 * np.abs(b) @ np.abs(inverse) @ b
    assert relative_error(factor.solve(b), inverse @ b) <= 1e-11


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("decades", [6, 24, 60])
@pytest.mark.parametrize("seed", range(4))
def test_units_of_the_equations_do_not_matter_to_an_indefinite_matrix(engine, decades, seed):
    """D C D, D = 10^u: as fixed effects in the units of a large y beside random ones without units."""
    n = 12
    rng = np.random.default_rng(seed)
    C = random_symmetric(n, 0.5, seed)
    C[np.diag_indices(n)] *= rng.choice([-1.0, 1.0], n)
    C[0, 0], C[1, 1] = abs(C[0, 0]), -abs(C[1, 1])
    units = 10.0 ** np.round(rng.uniform(-0.5, 0.5, n) * decades)
    plain, scaled = factor_of(C, engine)[0], factor_of(C * np.outer(units, units), engine)[0]
    assert scaled.n_negative == plain.n_negative
    assert scaled.logdet == pytest.approx(plain.logdet + 2.0 * np.log(units).sum(), rel=1e-10, abs=1e-9)
    b = rng.normal(size=n)
    assert relative_error(units * scaled.solve(units * b), plain.solve(b)) <= 1e-9


@settings(max_examples=40, deadline=None)
@given(records=st.integers(1, 40), n_factors=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_the_sparse_engine_finds_exactly_the_deficiency(records, n_factors, seed):
    """Normal equations of crossed factors and an intercept: levels without records, confounded levels."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(1, 9, n_factors)
    half = np.column_stack([np.ones(records)] + [dummies(rng.integers(0, q, records), q) for q in levels])
    half *= np.sqrt(rng.uniform(0.5, 2.0, records))[:, None]
    n = half.shape[1]
    C = half.T @ half
    factor, indptr, indices = factor_of(C, "sparse")
    assert factor.n_dependent == n - np.linalg.matrix_rank(half)
    # What is left is the inverse of the independent equations, zero elsewhere.
    solution = factor.solve(np.eye(n))
    inside = np.flatnonzero(np.diagonal(solution))
    assert len(inside) == n - factor.n_dependent
    assert np.count_nonzero(np.delete(solution, inside, axis=0)) == 0
    if len(inside):
        cond = np.linalg.cond(C[np.ix_(inside, inside)])
        expected = np.zeros((n, n))
        expected[np.ix_(inside, inside)] = np.linalg.inv(C[np.ix_(inside, inside)])
        found = factor.inverse_on_pattern()
        assert relative_error(found, at_pattern(expected, indptr, indices)) <= 1e-13 * max(cond, 10)


def test_dependent_fixed_effects_of_an_animal_model():
    C = animal_model(600, seed=3)
    factor, *_ = factor_of(C, "sparse")
    assert (factor.n_dependent, factor.n_negative) == (1, 0)
    dense = C.toarray()
    eigenvalues = np.linalg.eigvalsh(dense)
    assert (eigenvalues < 1e-9).sum() == 1
    dropped = int(np.flatnonzero(factor.solve(np.ones(C.shape[0])) == 0)[0])
    rest = np.delete(np.arange(C.shape[0]), dropped)
    assert factor.logdet == pytest.approx(np.linalg.slogdet(dense[np.ix_(rest, rest)])[1], abs=1e-9)


def test_engines_agree_on_an_animal_model():
    C = animal_model(700, seed=5)[1:, 1:]
    sparse, _, indices = factor_of(C, "sparse")
    dense, *_ = factor_of(C, "dense")
    assert sparse.logdet == pytest.approx(dense.logdet, rel=1e-13)
    assert relative_error(sparse.inverse_on_pattern(), dense.inverse_on_pattern()) <= 1e-11
    assert sparse.stats.nnz_factor < dense.stats.nnz_factor / 5
    assert (sparse.stats.engine, dense.stats.engine) == ENGINES[::-1]
    assert sparse.stats.nnz_matrix == len(indices)


@pytest.mark.parametrize("engine", ENGINES)
def test_order_one(engine):
    factor, *_ = factor_of(np.array([[4.0]]), engine)
    assert factor.inverse_on_pattern().tolist() == [0.25]
    assert factor.logdet == pytest.approx(np.log(4.0), rel=1e-15)
    assert factor.solve(np.array([2.0])).tolist() == [0.5]


@pytest.mark.parametrize("engine", ENGINES)
def test_disconnected_blocks_are_inverted_one_by_one(engine):
    blocks = [random_symmetric(n, 0.9, n) for n in (1, 2, 5, 1, 3, 2)]
    factor, indptr, indices = factor_of(sp.block_diag(blocks), engine)
    inverse = sp.block_diag([np.linalg.inv(block) for block in blocks]).toarray()
    assert relative_error(factor.inverse_on_pattern(), at_pattern(inverse, indptr, indices)) <= 1e-13
    if engine == "sparse":
        assert factor.stats.nnz_factor == sum(len(block) * (len(block) + 1) // 2 for block in blocks)


def test_random_slopes_with_dense_fixed_effects_make_no_fill():
    """Subjects of two equations each, all of which touch three fixed effects."""
    rng = np.random.default_rng(1)
    subjects, order = 400, 803
    C = np.zeros((order, order))
    for s in range(subjects):
        here = [0, 1, 2, 3 + 2 * s, 4 + 2 * s]
        rows = rng.normal(size=(5, 5))
        C[np.ix_(here, here)] += rows.T @ rows
    C += np.eye(order)
    factor, indptr, indices = factor_of(C, "sparse")
    assert factor.stats.nnz_factor == len(indices)
    inverse = np.linalg.inv(C)
    assert relative_error(factor.inverse_on_pattern(), at_pattern(inverse, indptr, indices)) <= 1e-11


def test_a_column_that_touches_all_the_others_goes_last():
    n = 900
    C = np.eye(n) * 3.0
    C[0, :] = C[:, 0] = 1.0
    C[0, 0] = n
    factor, indptr, indices = factor_of(C, "sparse")
    assert factor.stats.nnz_factor == len(indices)
    assert relative_error(factor.inverse_on_pattern(), at_pattern(np.linalg.inv(C), indptr, indices)) <= 1e-13


def test_a_chain_makes_little_fill():
    n = 2000  # AR1: the precision is tridiagonal
    C = sp.diags_array([np.full(n - 1, -0.7), np.full(n, 1.8), np.full(n - 1, -0.7)], offsets=[-1, 0, 1])
    factor, indptr, indices = factor_of(C, "sparse")
    assert factor.stats.nnz_factor < 4 * n
    inverse = np.linalg.inv(C.toarray())
    assert relative_error(factor.inverse_on_pattern(), at_pattern(inverse, indptr, indices)) <= 1e-12


def test_traits_of_an_animal_are_ordered_together():
    """Order-4 blocks on a pedigree: 16 entries of L for each one of the single-trait factor."""
    A_inverse = pedigree_inverse(1500, seed=2)
    single, *_ = factor_of(A_inverse, "sparse")
    four, *_ = factor_of(sp.kron(A_inverse, np.eye(4) + 0.5), "sparse")
    off_diagonal = single.stats.nnz_factor - 1500
    assert four.stats.nnz_factor <= 1.3 * (16 * off_diagonal + 10 * 1500)
    assert four.logdet == pytest.approx(4 * single.logdet + 1500 * np.linalg.slogdet(np.eye(4) + 0.5)[1], rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 50), seed=st.integers(0, 2**31))
def test_renumbering_the_equations_renumbers_the_results(n, seed):
    C = random_symmetric(n, 0.2, seed)
    order = np.random.default_rng(seed).permutation(n)
    plain, *_ = factor_of(C, "sparse")
    shuffled, *_ = factor_of(C[np.ix_(order, order)], "sparse")
    assert shuffled.logdet == pytest.approx(plain.logdet, rel=1e-12, abs=1e-12)
    b = np.arange(1.0, n + 1)
    assert relative_error(shuffled.solve(b[order]), plain.solve(b)[order]) <= 1e-12


@pytest.mark.parametrize("engine", ENGINES)
def test_refactorise_with_other_values(engine):
    C = random_symmetric(30, 0.3, 7)
    indptr, indices, values = lower_pattern(C)
    factor = make_factor(indptr, indices, 30, engine)
    factor.factorize(values)
    first = factor.inverse_on_pattern()
    kept = first.copy()
    negative = random_symmetric(30, 0.0, 8)  # diagonal, on the pattern of C
    negative[5, 5] *= -1
    factor.factorize(at_pattern(negative, indptr, indices))
    assert factor.n_negative == 1
    expected = at_pattern(np.linalg.inv(negative), indptr, indices)
    assert relative_error(factor.inverse_on_pattern(), expected) <= 1e-14
    factor.factorize(values)
    assert factor.n_negative == 0
    np.testing.assert_array_equal(factor.inverse_on_pattern(), kept)
    np.testing.assert_array_equal(first, kept)  # results handed out are never overwritten


@pytest.mark.parametrize("engine", ENGINES)
def test_right_hand_sides_keep_their_shape_and_values(engine):
    C = random_symmetric(12, 0.4, 9)
    factor, *_ = factor_of(C, engine)
    B = np.asfortranarray(np.random.default_rng(0).normal(size=(12, 4)))
    before = B.copy()
    together = factor.solve(B)
    assert together.shape == (12, 4)
    assert factor.solve(B[:, 0]).shape == (12,)
    np.testing.assert_allclose(together[:, 2], factor.solve(B[:, 2]), rtol=1e-13)
    np.testing.assert_array_equal(B, before)


@pytest.mark.parametrize("columns", [1, 2, 40])
def test_columns_of_the_inverse_by_solves(columns):
    """Unit columns, zero up to their entry, with one supernode of columns enough for BLAS below some of few."""
    C = np.zeros((420, 420))
    C[:250, :250] = random_symmetric(250, 0.9, 3)
    C[250:, 250:] = random_symmetric(170, 0.01, 4)
    C[260:270, :20] = 0.01
    C[:20, 260:270] = 0.01
    C[np.diag_indices(420)] += 1.0
    factor, *_ = factor_of(C, "sparse")
    which = np.random.default_rng(1).permutation(420)[:columns]
    assert relative_error(factor.solve(np.eye(420)[:, which]), np.linalg.inv(C)[:, which]) <= 1e-12


def test_the_dense_engine_refuses_a_singular_matrix():
    C = np.ones((3, 3))
    with pytest.raises(NotPositiveDefiniteError, match="singular"):
        factor_of(C, "dense")
    indefinite_singular = np.diag([1.0, -1.0, 0.0])
    with pytest.raises(NotPositiveDefiniteError, match="singular"):
        factor_of(indefinite_singular, "dense")


def test_the_dense_engine_pivots_where_the_sparse_one_must_stop():
    C = np.array([[0.0, 1.0], [1.0, 0.0]])
    factor, *_ = factor_of(C, "dense")
    assert factor.n_negative == 1
    assert factor.logdet == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(NotPositiveDefiniteError, match="breaks down"):
        factor_of(C, "sparse")


@pytest.mark.parametrize("engine", ENGINES)
def test_values_that_are_not_numbers_are_refused(engine):
    C = random_symmetric(40, 0.4, 3)
    indptr, indices, values = lower_pattern(C)
    factor = make_factor(indptr, indices, 40, engine)
    for bad in (np.nan, np.inf):
        broken = values.copy()
        broken[17] = bad
        with pytest.raises(NotPositiveDefiniteError, match="not numbers"):
            factor.factorize(broken)
        with pytest.raises(RuntimeError, match="factorize"):
            factor.solve(np.ones(40))


@pytest.mark.parametrize("engine", ENGINES)
def test_scale_of_the_equations_does_not_matter(engine):
    C = random_symmetric(20, 0.4, 4)
    scale = 10.0 ** np.random.default_rng(2).integers(-9, 9, 20)
    factor, indptr, indices = factor_of(C * scale * scale[:, None], engine)
    assert factor.n_dependent == 0
    expected = at_pattern(np.linalg.inv(C) / scale / scale[:, None], indptr, indices)
    np.testing.assert_allclose(factor.inverse_on_pattern(), expected, rtol=1e-9, atol=0)


def test_auto_chooses_by_order():
    for n, engine in ((1, "dense"), (DENSE_LIMIT, "dense"), (DENSE_LIMIT + 1, "sparse")):
        assert make_factor(np.arange(n + 1), np.arange(n), n).stats.engine == engine


def test_malformed_patterns_are_refused():
    with pytest.raises(OptionError, match="engine"):
        make_factor(np.array([0, 1]), np.array([0]), 1, engine="lu")
    with pytest.raises(OptionError, match="diagonal"):
        make_factor(np.array([0, 1, 2]), np.array([1, 1]), 2)
    with pytest.raises(OptionError, match="ascend"):
        make_factor(np.array([0, 3, 4, 5]), np.array([0, 2, 1, 1, 2]), 3)
    with pytest.raises(OptionError, match="values"):
        make_factor(np.array([0, 1]), np.array([0]), 1).factorize(np.ones(2))


def test_small_problems_do_not_load_the_compiler():
    script = (
        "import sys, numpy as np\n"
        "from remlblup.linalg.factor import make_factor\n"
        "from remlblup.linalg.rank.independent import independent_columns\n"
        "make_factor(np.arange(6), np.arange(5), 5).factorize(np.ones(5))\n"
        "independent_columns(np.ones((4, 3)))\n"
        "assert not {'numba', 'pymetis'} & set(sys.modules), 'compiler loaded'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
