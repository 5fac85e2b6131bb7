"""Each structure against its formula written out, and what it refuses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.optimize

from remlblup.errors import ModelError, OptionError, VarianceError
from remlblup.structure.covariance.factor_analytic import specific_shares
from remlblup.structure.table import DISTANCES, STRUCTURES

ABC = ("a", "b", "c")
X = np.array([0.0, 1.0, 2.5])


def make(keyword, effects=ABC, positions=X, **options):
    return STRUCTURES[keyword](effects, positions[: len(effects)], **options)


@pytest.mark.parametrize(
    ("keyword", "theta", "sigma"),
    [
        ("cs", [2.0, -0.25], [[2, -0.5, -0.5], [-0.5, 2, -0.5], [-0.5, -0.5, 2]]),
        ("csh", [1, 4, 9, 0.5], [[1, 1, 1.5], [1, 4, 3], [1.5, 3, 9]]),
        ("corh", [1, 4, 9, 0.5], [[1, 1, 1.5], [1, 4, 3], [1.5, 3, 9]]),
        ("ar1", [2, -0.5], [[2, -1, 0.5], [-1, 2, -1], [0.5, -1, 2]]),
        ("ar1h", [1, 4, 9, 0.5], [[1, 1, 0.75], [1, 4, 3], [0.75, 3, 9]]),
        ("exp", [2, 0.25], [[2, 0.5, 0.0625], [0.5, 2, 0.25], [0.0625, 0.25, 2]]),
        ("toep", [2, 0.5, -0.25], [[2, 1, -0.5], [1, 2, 1], [-0.5, 1, 2]]),
        ("corg", [2, 0.5, -0.25, 0.1], [[2, 1, -0.5], [1, 2, 0.2], [-0.5, 0.2, 2]]),
        ("corgh", [1, 4, 9, 0.5, -0.5, 0.25], [[1, 1, -1.5], [1, 4, 1.5], [-1.5, 1.5, 9]]),
    ],
)
def test_the_formula_in_numbers(keyword, theta, sigma):
    s = make(keyword)
    np.testing.assert_allclose(s.covariance(np.array(theta, dtype=float)), sigma, rtol=1e-14)
    np.testing.assert_allclose(s.parameters_of(np.array(sigma, dtype=float)), theta, rtol=1e-12)


@pytest.mark.parametrize(
    ("keyword", "options", "names"),
    [
        ("cs", {}, "variance; correlation"),
        ("csh", {}, "var(a); var(b); var(c); correlation"),
        ("ar1", {}, "variance; correlation"),
        ("ar1h", {}, "var(a); var(b); var(c); correlation"),
        ("exp", {}, "variance; correlation"),
        ("toep", {}, "variance; correlation(1); correlation(2)"),
        ("corg", {}, "variance; cor(a, b); cor(a, c); cor(b, c)"),
        ("corgh", {}, "var(a); var(b); var(c); cor(a, b); cor(a, c); cor(b, c)"),
        ("fa", {}, "specific(a); specific(b); specific(c); loading 1(a); loading 1(b); loading 1(c)"),
        ("rr", {"k": 2}, "loading 1(a); loading 1(b); loading 1(c); loading 2(b); loading 2(c)"),
        ("known", {"matrix": np.eye(3)}, "scale"),
    ],
)
def test_names_of_the_parameters(keyword, options, names):
    assert "; ".join(make(keyword, **options).names) == names


def test_which_structures_take_the_effects_in_order():
    assert {k for k, cls in STRUCTURES.items() if cls.ordered} == {"ar1", "ar1h", "exp", "toep"} | set(DISTANCES)


def test_the_least_correlation_of_compound_symmetry_is_singular():
    s = make("cs")
    assert s.lower[1] == -0.5
    np.testing.assert_allclose(np.linalg.eigvalsh(s.covariance(np.array([2.0, -0.5]))), [0, 3, 3], atol=1e-14)


@pytest.mark.parametrize("keyword", ["cs", "csh", "corh", "ar1", "ar1h", "exp"])
def test_a_correlation_needs_two_effects(keyword):
    with pytest.raises(ModelError, match=rf"'{keyword}'.*one effect.*\(1 \| g\)"):
        make(keyword, ("a",))


@pytest.mark.parametrize("keyword", ["toep", "corg", "corgh"])
def test_one_effect_without_correlations_is_a_variance(keyword):
    s = make(keyword, ("a",))
    assert s.n_parameters == 1
    np.testing.assert_allclose(s.covariance(np.array([2.5])), [[2.5]])


@pytest.mark.parametrize(
    ("keyword", "theta"),
    [("toep", [1, 0.9, -0.9]), ("corg", [1, 0.9, 0.9, -0.9]), ("corgh", [1, 2, 3, -0.9, -0.9, -0.9])],
)
def test_correlations_that_cannot_exist_together_are_not_feasible(keyword, theta):
    s, theta = make(keyword), np.array(theta, dtype=float)
    assert np.all((theta >= s.lower) & (theta <= s.upper))
    assert not s.feasible(theta)
    assert s.feasible(s.project(s.covariance(theta)))
    with pytest.raises(VarianceError, match=keyword):
        s.parameters_of(s.covariance(theta))


def test_derivative_at_a_zero_variance_is_large_and_finite():
    s = make("csh")
    d = s.derivatives(np.array([0.0, 4.0, 9.0, 0.5]))
    assert np.all(np.isfinite(d))
    assert d[0, 0, 1] > 1e6
    assert d[0, 0, 0] == 1
    np.testing.assert_allclose(d[1, 1, 2], 0.5 * 3 / (2 * 2))


def test_a_missing_variance_leaves_the_other_correlations_known():
    s = make("ar1h", tuple("abcd"), np.arange(4.0))
    for zero in range(4):
        v = np.array([1.0, 2.0, 3.0, 4.0])
        v[zero] = 0.0
        sigma = s.covariance(np.r_[v, -0.6])
        np.testing.assert_allclose(s.project(sigma), np.r_[v, -0.6], rtol=1e-12)


# -- exp ---------------------------------------------------------------------------------------


def test_exp_without_positions_says_what_to_write():
    with pytest.raises(ModelError, match=r"exp\(time \| g\).*ar1"):
        STRUCTURES["exp"](ABC)


@pytest.mark.parametrize("positions", [[0.0, 1.0], [0.0, 1.0, 1.0], [0.0, np.nan, 1.0]])
def test_exp_needs_distinct_finite_positions(positions):
    with pytest.raises(ModelError, match="position"):
        STRUCTURES["exp"](ABC, np.array(positions))


def test_exp_at_even_steps_is_ar1():
    theta = np.array([2.0, 0.4])
    steps = np.arange(3.0)
    np.testing.assert_allclose(make("exp", positions=steps).covariance(theta), make("ar1").covariance(theta))


@pytest.mark.parametrize("unit", [1e-7, 1e9])
def test_exp_refuses_positions_whose_correlation_at_distance_one_cannot_be_told(unit):
    with pytest.raises(ModelError, match="another unit"):
        make("exp", positions=X * unit)


@pytest.mark.parametrize("unit", [0.01, 1.0, 365.0])
def test_exp_starts_at_the_same_correlations_in_any_unit_of_time(unit):
    s = make("exp", positions=X * unit)
    np.testing.assert_allclose(s.covariance(s.start(np.eye(3))), make("exp").covariance(make("exp").start(np.eye(3))))


# -- factors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", ["fa", "rr"])
@pytest.mark.parametrize("k", [0, -1, 1.0, "2", True, None])
def test_the_number_of_factors_is_a_whole_number(keyword, k):
    with pytest.raises(OptionError, match="whole number"):
        make(keyword, k=k)


def test_more_factors_than_effects_are_refused():
    with pytest.raises(ModelError, match="at most 3"):
        make("rr", k=4)


@pytest.mark.parametrize(
    ("t", "k", "advice"), [(1, 1, "3 effects"), (2, 1, "3 effects"), (4, 2, "k=1 or less"), (8, 5, "k=4 or less")]
)
def test_a_factor_model_with_too_many_parameters_is_refused(t, k, advice):
    with pytest.raises(ModelError, match=advice):
        STRUCTURES["fa"](tuple(f"e{i}" for i in range(t)), k=k)


def test_reduced_rank_of_full_rank_is_any_covariance_matrix():
    M = np.array([[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 0.5]])
    s = make("rr", k=3)
    np.testing.assert_allclose(s.covariance(s.project(M)), M, rtol=1e-12)
    np.testing.assert_allclose(s.loadings(s.project(M)), np.linalg.cholesky(M), rtol=1e-10)


def test_loadings_and_specific_variances_make_up_the_matrix():
    s = STRUCTURES["fa"](tuple("abcde"), k=2)
    theta = s.start(np.diag([1.0, 2.0, 3.0, 4.0, 5.0]))
    gamma = s.loadings(theta)
    assert gamma.shape == (5, 2)
    assert gamma[0, 1] == 0
    np.testing.assert_allclose(gamma @ gamma.T + np.diag(s.specific(theta)), s.covariance(theta), rtol=1e-14)
    np.testing.assert_allclose(s.specific(theta), 0.4 * np.arange(1, 6))


@pytest.mark.parametrize("heywood", [False, True])
@pytest.mark.parametrize(("t", "k"), [(3, 1), (5, 2), (6, 3), (9, 3)])
def test_factor_models_are_recovered_from_their_matrix(t, k, heywood):
    s = STRUCTURES["fa"](tuple(f"e{i}" for i in range(t)), k=k)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        psi, gamma = rng.uniform(0.05, 2.0, t), rng.normal(size=(t, k))
        psi[rng.integers(t)] *= not heywood
        scale = 10.0 ** rng.uniform(-3, 3, t)
        sigma = (gamma @ gamma.T + np.diag(psi)) * np.outer(scale, scale)
        found = s.covariance(s.project(sigma))
        np.testing.assert_allclose((found - sigma) / np.outer(scale, scale), 0, atol=1e-11)
        first = s.loadings(s.project(sigma)).diagonal()
        assert np.all(first >= 0)


@pytest.mark.parametrize("seed", range(5))
def test_the_projection_on_a_factor_model_is_least_squares(seed):
    """Against a general optimiser with many starts, on a matrix that no factor model fits."""
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(5, 7))
    C = np.corrcoef(M)

    def left_over(psi):
        values = np.linalg.eigvalsh(C - np.diag(psi))
        values[-1] = min(values[-1], 0.0)
        return 0.5 * values @ values

    best = min(
        scipy.optimize.minimize(left_over, rng.uniform(0.1, 0.9, 5), bounds=[(0, 1)] * 5, tol=1e-14).fun
        for _ in range(8)
    )
    psi = specific_shares(C, 1)
    assert np.all((psi >= 0) & (psi <= 1))
    assert left_over(psi) <= best * (1 + 1e-8)


# -- known -------------------------------------------------------------------------------------

S = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.2], [0.1, -0.2, 3.0]])


def test_known_is_scaled_only():
    s = make("known", matrix=S)
    np.testing.assert_allclose(s.covariance(np.array([0.7])), 0.7 * S)
    np.testing.assert_allclose(s.parameters_of(1.3 * S), [1.3])


@pytest.mark.parametrize("labels", ["abc", ["x[a]", "x[b]", "x[c]"]])
def test_known_takes_a_labelled_matrix_in_any_order(labels):
    effects = tuple(f"x[{e}]" for e in "abc")
    frame = pd.DataFrame(S, index=list(labels), columns=list(labels))
    mixed = frame.iloc[[2, 0, 1], [1, 2, 0]]
    np.testing.assert_array_equal(make("known", effects, matrix=mixed).matrix, S)
    np.testing.assert_array_equal(make("known", effects, matrix=pd.DataFrame(S)).matrix, S)


def test_known_of_a_singular_matrix():
    v = np.array([1.0, -2.0, 0.5])
    s = make("known", matrix=np.outer(v, v))
    assert s.slots == ((0, 0), (1, 0), (2, 0))
    factor, signs = s.factor(np.array([4.0]))
    np.testing.assert_allclose(factor @ factor.T, 4 * np.outer(v, v))
    assert np.all(signs == 1)
    np.testing.assert_allclose(s.project(2.5 * np.outer(v, v)), [2.5])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (None, "matrix=S"),
        (np.eye(2), "3 x 3"),
        (np.ones(3), "shape"),
        (S + np.triu(np.ones((3, 3)), 1), "symmetric"),
        (S - 2 * np.eye(3), "semidefinite"),
        (np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1.0]]), "semidefinite"),
        (np.zeros((3, 3)), "not zero"),
        (np.where(np.eye(3) > 0, np.nan, 0), "missing"),
        (pd.DataFrame(S, index=list("abd"), columns=list("abd")), "labels"),
        (pd.DataFrame(S, index=list("abb"), columns=list("abb")), "labels"),
    ],
)
def test_known_refuses_what_is_no_covariance_matrix_of_its_effects(matrix, message):
    with pytest.raises(OptionError, match=message):
        make("known", matrix=matrix)
