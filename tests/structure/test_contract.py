"""What every covariance structure must do; a new one in the tables is tested without a new test."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import differences

from remlblup.errors import NotPositiveDefiniteError, VarianceError
from remlblup.structure.base import ResidualStructure, signed_cholesky
from remlblup.structure.table import RESIDUALS, STRUCTURES
from remlblup.structure.units import Units

SIZES = [1, 2, 3]


def make(keyword: str, t: int):
    return STRUCTURES[keyword](tuple(f"e{k}" for k in range(t)))


def positive_definite(t: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(t, t))
    return M @ M.T + 0.3 * np.eye(t)


def singular_matrices(t: int) -> list[np.ndarray]:
    """Nothing, one effect without variance (first, last), correlations of ±1."""
    v = np.array([1.5, -0.7, 0.3])[:t]
    first, last = positive_definite(t, 1), positive_definite(t, 2)
    first[0] = first[:, 0] = 0
    last[-1] = last[:, -1] = 0
    return [np.zeros((t, t)), first, last, np.outer(v, v)]


each = pytest.mark.parametrize(("keyword", "t"), [(k, t) for k in STRUCTURES for t in SIZES])


@each
def test_the_table_key_is_the_keyword(keyword, t):
    assert make(keyword, t).keyword == keyword


@each
def test_names_bounds_and_sizes_agree(keyword, t):
    s = make(keyword, t)
    theta = s.project(positive_definite(t, 3))
    assert s.size == t
    assert len(s.names) == len(set(s.names)) == s.n_parameters == len(theta) == len(s.lower)
    assert s.covariance(theta).shape == (t, t)
    assert s.derivatives(theta).shape == (s.n_parameters, t, t)
    assert np.all(theta >= s.lower)


@each
@pytest.mark.parametrize("seed", [4, 5])
def test_covariance_of_a_projection_is_positive_definite(keyword, t, seed):
    s = make(keyword, t)
    sigma = s.covariance(s.project(positive_definite(t, seed)))
    assert np.array_equal(sigma, sigma.T)
    assert np.linalg.eigvalsh(sigma)[0] > 0


@each
@pytest.mark.parametrize("seed", [4, 5])
def test_derivatives_are_those_of_the_covariance(keyword, t, seed):
    s = make(keyword, t)
    theta = s.project(positive_definite(t, seed))
    numeric = np.moveaxis(differences(s.covariance, theta), -1, 0)
    np.testing.assert_allclose(s.derivatives(theta), numeric, rtol=1e-8, atol=1e-8)


@each
def test_project_inverts_covariance(keyword, t):
    s = make(keyword, t)
    theta = s.project(positive_definite(t, 6))
    np.testing.assert_allclose(s.project(s.covariance(theta)), theta, rtol=1e-12)
    np.testing.assert_allclose(s.parameters_of(s.covariance(theta)), theta, rtol=1e-12)


@each
def test_a_matrix_of_another_form_is_refused_by_name(keyword, t):
    s = make(keyword, t)
    M = positive_definite(t, 7)
    if np.allclose(s.covariance(s.project(M)), M):
        np.testing.assert_allclose(s.covariance(s.parameters_of(M)), M)
    else:
        with pytest.raises(VarianceError, match=keyword):
            s.parameters_of(M)


@each
def test_start_has_the_variances_asked_for_on_average(keyword, t):
    s = make(keyword, t)
    variances = np.array([2.0, 0.5, 1.25])[:t]
    sigma = s.covariance(s.start(np.diag(variances)))
    assert np.linalg.eigvalsh(sigma)[0] > 0
    assert np.trace(sigma) == pytest.approx(variances.sum(), rel=1e-12)


@each
@pytest.mark.parametrize("seed", [8, 9])
def test_factor_reproduces_the_covariance(keyword, t, seed):
    s = make(keyword, t)
    theta = s.project(positive_definite(t, seed))
    factor, signs = s.factor(theta)
    assert np.all(signs == 1)
    assert np.array_equal(factor, np.tril(factor))
    np.testing.assert_allclose(factor @ factor.T, s.covariance(theta), rtol=1e-12, atol=1e-14)


@each
def test_slots_are_where_the_factor_is_not_zero(keyword, t):
    s = make(keyword, t)
    found = set()
    for seed in range(6):
        factor, _ = s.factor(s.project(positive_definite(t, 20 + seed)))
        found |= {(int(i), int(a)) for i, a in zip(*np.nonzero(factor), strict=True)}
    assert found == set(s.slots)
    assert list(s.slots) == sorted(s.slots), "row by row"


@each
@pytest.mark.parametrize("which", range(4))
def test_factor_of_a_singular_covariance(keyword, t, which):
    s = make(keyword, t)
    theta = s.project(singular_matrices(t)[which])
    factor, signs = s.factor(theta)
    assert np.all(signs == 1)
    assert all((int(i), int(a)) in s.slots for i, a in zip(*np.nonzero(factor), strict=True))
    np.testing.assert_allclose(factor @ factor.T, s.covariance(theta), rtol=1e-9, atol=1e-9)


@each
def test_factor_of_an_indefinite_covariance_counts_its_negative_values(keyword, t):
    s = make(keyword, t)
    M = positive_definite(t, 10) - 1.5 * np.eye(t)
    theta = s.project(M)
    sigma = s.covariance(theta)
    factor, signs = s.factor(theta)
    np.testing.assert_allclose((factor * signs) @ factor.T, sigma, rtol=1e-11, atol=1e-12)
    assert (signs < 0).sum() == (np.linalg.eigvalsh(sigma) < 0).sum()


def test_an_indefinite_matrix_without_such_a_factor_is_refused():
    with pytest.raises(NotPositiveDefiniteError, match="semidefinite"):
        signed_cholesky(np.array([[0.0, 1.0], [1.0, 2.0]]))


# -- structures of R ---------------------------------------------------------------------------

RECORDS = 7
SAMPLES = {
    "units": lambda rng: Units(np.ones(RECORDS)),
    "units, weighted": lambda rng: Units(rng.uniform(0.3, 4, RECORDS)),
}
residual = pytest.mark.parametrize("name", SAMPLES)


def sample(name: str) -> tuple[ResidualStructure, np.ndarray, np.ndarray]:
    """The structure, φ, and R(φ) as a matrix."""
    s = SAMPLES[name](np.random.default_rng(3))
    phi = s.start(1.7)
    return s, phi, s.multiply(phi, np.eye(RECORDS))


def test_every_residual_structure_is_sampled():
    assert {name.split(",")[0] for name in SAMPLES} == set(RESIDUALS)


@residual
def test_residual_sizes_agree(name):
    s, phi, R = sample(name)
    assert len(s.names) == len(s.lower) == s.n_parameters == len(phi)
    assert len(s.coefficients(phi)) == len(s.bases)
    assert np.all(phi > s.lower)
    np.testing.assert_allclose(R, R.T)


@residual
def test_precision_is_the_inverse_of_multiply(name):
    s, phi, R = sample(name)
    np.testing.assert_allclose(s.precision(phi, R), np.eye(RECORDS), atol=1e-13)
    v = np.random.default_rng(1).normal(size=RECORDS)
    np.testing.assert_allclose(s.multiply(phi, v), R @ v, rtol=1e-13)
    np.testing.assert_allclose(s.multiply(phi, s.precision(phi, v)), v, rtol=1e-13)


@residual
def test_residual_jacobian_and_log_determinant(name):
    s, phi, R = sample(name)
    assert s.logdet(phi) == pytest.approx(np.linalg.slogdet(R)[1], rel=1e-13)
    np.testing.assert_allclose(s.jacobian(phi).T, differences(s.coefficients, phi), rtol=1e-8)
    np.testing.assert_allclose(s.logdet_gradient(phi), differences(s.logdet, phi), rtol=1e-8)


@residual
def test_complete_data_information_by_its_definition(name):
    s, phi, R = sample(name)
    dot = np.moveaxis(differences(lambda p: s.multiply(p, np.eye(RECORDS)), phi), -1, 0)
    solved = np.linalg.solve(R, dot)
    expected = 0.5 * np.einsum("iab,jba->ij", solved, solved)
    np.testing.assert_allclose(s.information(phi), expected, rtol=1e-7)


@residual
def test_maximize_is_the_m_step(name):
    s, phi, _ = sample(name)
    e = np.random.default_rng(2).normal(size=RECORDS)
    moments = np.array([e @ (D * e if D.ndim == 1 else D @ e) for D in s.bases])
    best = s.maximize(phi, moments)

    def expected_loglik(at):
        return -0.5 * (s.logdet(at) + s.coefficients(at) @ moments)

    np.testing.assert_allclose(s.logdet_gradient(best) + s.jacobian(best) @ moments, 0, atol=1e-10 * RECORDS)
    for factor in (0.9, 1.1):
        assert expected_loglik(best) > expected_loglik(best * factor)


def test_units_is_the_variance_over_the_weights():
    w = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(Units(w).multiply(np.array([6.0]), np.eye(3)), np.diag([6.0, 3.0, 1.5]))
