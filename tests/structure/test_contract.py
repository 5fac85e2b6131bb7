"""What every covariance structure must do; a new one in the tables is tested without a new test."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import differences

from remlblup.errors import ModelError, NotPositiveDefiniteError, VarianceError
from remlblup.structure.base import Structure
from remlblup.structure.cholesky import signed_cholesky
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.units import Units
from remlblup.structure.table import STRUCTURES

SIZES = [1, 2, 3, 4, 6]
POSITIONS = np.array([0.0, 1.0, 1.4, 4.0, 4.5, 7.0])

KNOWN = np.array([[2.0, 0.8, 0.1, 0.3, 0.2, 0.4], [0.8, 1.5, -0.3, 0.2, 0.1, 0.3], [0.1, -0.3, 0.9, 0.2, 0.4, 0.1],
                  [0.3, 0.2, 0.2, 1.1, 0.3, 0.2], [0.2, 0.1, 0.4, 0.3, 1.3, 0.2],
                  [0.4, 0.3, 0.1, 0.2, 0.2, 0.8]])  # fmt: skip

# Values of the options to try; every other structure takes none.
OPTIONS = {
    "fa": [{"k": 1}, {"k": 2}],
    "rr": [{"k": 1}, {"k": 2}, {"k": 3}],
    "known": [{"matrix": KNOWN}],
    "mat": [{"nu": 0.5}, {"nu": 1.7}, {}],
}
# How well project(covariance(θ)) must give θ back (an iteration for fa).
EXACT = {"fa": 1e-8, "rr": 1e-8, "mat": 1e-8}


def make(keyword: str, t: int, options: dict | None = None) -> Structure:
    options = dict(options or {})
    if "matrix" in options:
        options["matrix"] = options["matrix"][:t, :t]
    return STRUCTURES[keyword](tuple(f"e{k}" for k in range(t)), POSITIONS[:t], **options)


def cases() -> list:
    """Every structure in the table at every size and option at which it exists."""
    out = []
    for keyword in STRUCTURES:
        for options in OPTIONS.get(keyword, [{}]):
            for t in SIZES:
                try:
                    make(keyword, t, options)
                except ModelError:
                    continue
                label = "-".join([keyword, str(t), *(f"{k}{v}" for k, v in options.items() if k != "matrix")])
                out.append(pytest.param(keyword, t, options, id=label))
    return out


each = pytest.mark.parametrize(("keyword", "t", "options"), cases())
each_linear = pytest.mark.parametrize(
    ("keyword", "t", "options"), [c for c in cases() if STRUCTURES[c.values[0]].linear]
)


def positive_definite(t: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    M = rng.normal(size=(t, t))
    return M @ M.T + 0.3 * np.eye(t)


def singular_matrices(t: int) -> list[np.ndarray]:
    """Nothing, one effect without variance (first, last), correlations of ±1."""
    v = np.array([1.5, -0.7, 0.3, 1.1, -0.4, 0.6])[:t]
    first, last = positive_definite(t, 1), positive_definite(t, 2)
    first[0] = first[:, 0] = 0
    last[-1] = last[:, -1] = 0
    return [np.zeros((t, t)), first, last, np.outer(v, v)]


def inside(s: Structure, seed: int) -> np.ndarray:
    """θ anywhere inside the parameter space."""
    if s.linear:
        return s.project(positive_definite(s.size, seed))
    rng = np.random.default_rng(seed)
    start = s.start(np.diag(rng.uniform(0.5, 3.0, s.size)))
    boxed = np.isfinite(s.upper)
    drawn = start * np.exp(rng.normal(0.0, 0.4, len(start)))
    drawn[boxed] = rng.uniform(0.9 * s.lower[boxed] + 0.1 * s.upper[boxed], 0.1 * s.lower[boxed] + 0.9 * s.upper[boxed])
    share = 1.0
    while not s.feasible(start + share * (drawn - start)):
        share *= 0.8
    return start + 0.95 * share * (drawn - start)


def corners(s: Structure) -> list[np.ndarray]:
    """θ with one parameter, or all of a kind, on a bound; loadings and the like at zero."""
    if s.cone:  # its boundary is where Σ is singular, whatever θ
        return [s.project(sigma) for sigma in singular_matrices(s.size)]
    theta = inside(s, 30)
    lowest = np.where(np.isfinite(s.lower), s.lower, 0.0)
    boxed, unbounded = np.isfinite(s.upper), np.isinf(s.lower)
    changes = [(np.arange(len(theta)) == i, bound) for i in range(len(theta)) for bound in (lowest, s.upper)]
    changes += [
        (boxed, lowest),
        (boxed, s.upper),
        (~boxed, lowest),
        (unbounded, lowest),
        (~unbounded, lowest),
        (boxed | True, lowest),
    ]
    out = []
    for where, bound in changes:
        corner = np.where(where, bound, theta)
        if np.all(np.isfinite(corner)) and s.feasible(corner):
            out.append(corner)
    return out


def relative_error(found: np.ndarray, sigma: np.ndarray) -> float:
    """Largest error of an element in units of its two standard deviations."""
    size = np.sqrt(np.diag(sigma))
    return float(np.max(np.abs(found - sigma) / (np.outer(size, size) + 1e-300)))


def test_every_structure_is_tried_at_three_sizes():
    tried = [c.values[0] for c in cases()]
    assert {k for k in STRUCTURES if tried.count(k) < 3} == set()


@each
def test_the_table_key_is_the_keyword(keyword, t, options):
    s = make(keyword, t, options)
    assert s.keyword == keyword
    assert set(options) <= set(getattr(s, "options", ()))


@each
def test_names_bounds_and_sizes_agree(keyword, t, options):
    s = make(keyword, t, options)
    for theta in (inside(s, 3), s.project(positive_definite(t, 3))):
        assert s.size == t
        assert len(s.names) == len(set(s.names)) == s.n_parameters == len(theta) == len(s.lower) == len(s.upper)
        assert s.covariance(theta).shape == (t, t)
        assert s.derivatives(theta).shape == (s.n_parameters, t, t)
        assert np.all(theta >= s.lower)
        assert np.all(theta <= s.upper)
    assert np.all(s.lower < s.upper)


@each
@pytest.mark.parametrize("seed", [4, 5])
def test_covariance_of_a_projection_is_a_covariance_matrix(keyword, t, options, seed):
    s = make(keyword, t, options)
    theta = s.project(positive_definite(t, seed))
    sigma = s.covariance(theta)
    assert s.feasible(theta)
    assert np.array_equal(sigma, sigma.T)
    values = np.linalg.eigvalsh(sigma)
    if s.linear:
        assert values[0] > 0
    assert values[0] > -1e-12 * values[-1]


@each
@pytest.mark.parametrize("seed", [4, 5])
def test_covariance_is_positive_definite_inside_the_bounds(keyword, t, options, seed):
    s = make(keyword, t, options)
    theta = inside(s, seed)
    sigma = s.covariance(theta)
    assert s.feasible(theta)
    assert np.array_equal(sigma, sigma.T)
    values = np.linalg.eigvalsh(sigma)
    assert values[t - s.n_factors] > 0, "n_factors is the rank"
    assert values[0] > -1e-12 * values[-1]


@each
@pytest.mark.parametrize("seed", [4, 5])
def test_derivatives_are_those_of_the_covariance(keyword, t, options, seed):
    s = make(keyword, t, options)
    theta = inside(s, seed)
    numeric = np.moveaxis(differences(s.covariance, theta), -1, 0)
    np.testing.assert_allclose(s.derivatives(theta), numeric, rtol=1e-8, atol=1e-8)


@each
def test_derivatives_near_the_bounds(keyword, t, options):
    s = make(keyword, t, options)
    for i in range(s.n_parameters):
        theta = inside(s, 6)
        for value in (s.lower[i] + 1e-3, s.upper[i] - 1e-3, 0.0 if np.isinf(s.lower[i]) else np.inf):
            if np.isfinite(value):
                theta[i] = value
                numeric = np.moveaxis(differences(s.covariance, theta), -1, 0)
                np.testing.assert_allclose(s.derivatives(theta), numeric, rtol=1e-6, atol=1e-7)


@each
def test_steps_in_roots_are_for_the_variances_of_the_effects(keyword, t, options):
    s = make(keyword, t, options)
    assert s.roots.shape == (s.n_parameters,)
    assert s.roots.sum() in (0, t)
    assert np.all(s.lower[s.roots] == 0.0)


@each
def test_factor_derivatives_are_those_of_the_factor(keyword, t, options):
    s = make(keyword, t, options)
    theta = inside(s, 7)
    if not s.in_factor:
        assert s.n_factors == t, "a structure of reduced rank is written in its factor"
        with pytest.raises(NotImplementedError):
            s.factor_derivatives(theta)
        return
    given = s.factor_derivatives(theta)
    assert given.shape == (s.n_parameters, t, s.n_factors)
    np.testing.assert_allclose(given, np.moveaxis(differences(lambda x: s.factor(x)[0], theta), -1, 0), atol=1e-8)
    half = np.einsum("pia,ja->pij", given, s.factor(theta)[0])
    np.testing.assert_allclose(half + half.transpose(0, 2, 1), s.derivatives(theta), rtol=1e-12, atol=1e-14)


@each
@pytest.mark.parametrize("seed", [6, 7, 8])
def test_project_inverts_covariance(keyword, t, options, seed):
    s = make(keyword, t, options)
    theta, tolerance = inside(s, seed), EXACT.get(keyword, 1e-12)
    sigma = s.covariance(theta)
    np.testing.assert_allclose(s.project(sigma), theta, rtol=tolerance, atol=1e-14)
    np.testing.assert_allclose(s.parameters_of(sigma), theta, rtol=tolerance, atol=1e-14)


@each
def test_project_inverts_covariance_of_badly_scaled_effects(keyword, t, options):
    s = make(keyword, t, options)
    scale = 10.0 ** np.array([4.0, -5.0, 0.0, 2.0, -3.0, 1.0])[:t]
    theta = s.project(positive_definite(t, 11) * np.outer(scale, scale))
    sigma = s.covariance(theta)
    assert s.feasible(theta)
    assert relative_error(s.covariance(s.project(sigma)), sigma) < 1e-10


@each
def test_a_matrix_of_another_form_is_refused_by_name(keyword, t, options):
    s = make(keyword, t, options)
    M = positive_definite(t, 7)
    if np.allclose(s.covariance(s.project(M)), M):
        np.testing.assert_allclose(s.covariance(s.parameters_of(M)), M)
    else:
        with pytest.raises(VarianceError, match=keyword):
            s.parameters_of(M)


@each
def test_start_has_the_variances_asked_for_on_average(keyword, t, options):
    s = make(keyword, t, options)
    variances = np.array([2.0, 0.5, 1.25, 0.8, 3.0, 1.5])[:t]
    theta = s.start(np.diag(variances))
    sigma = s.covariance(theta)
    assert np.linalg.eigvalsh(sigma)[t - s.n_factors] > 1e-3
    assert np.trace(sigma) == pytest.approx(variances.sum(), rel=1e-12)
    assert np.all((theta > s.lower) & (theta < s.upper) | s.cone)
    assert np.all(np.abs(s.derivatives(theta)).max(axis=(1, 2)) > 1e-3), "no saddle point"


@each
@pytest.mark.parametrize("seed", [8, 9])
def test_factor_reproduces_the_covariance(keyword, t, options, seed):
    s = make(keyword, t, options)
    for theta in (inside(s, seed), s.project(positive_definite(t, seed))):
        factor, signs = s.factor(theta)
        assert factor.shape == (t, s.n_factors)
        assert signs.shape == (s.n_factors,)
        assert np.all(signs == 1)
        assert np.array_equal(factor, np.tril(factor))
        np.testing.assert_allclose(factor @ factor.T, s.covariance(theta), rtol=1e-12, atol=1e-13)


@each
def test_slots_are_where_the_factor_is_not_zero(keyword, t, options):
    s = make(keyword, t, options)
    found = set()
    for seed in range(6):
        factor, _ = s.factor(inside(s, 20 + seed))
        found |= {(int(i), int(a)) for i, a in zip(*np.nonzero(factor), strict=True)}
    assert found == set(s.slots)
    assert list(s.slots) == sorted(s.slots), "row by row"


def assert_valid_on_the_boundary(s: Structure, theta: np.ndarray) -> None:
    sigma = s.covariance(theta)
    factor, signs = s.factor(theta)
    assert np.all(np.isfinite(sigma))
    assert np.all(np.isfinite(s.derivatives(theta)))
    assert np.all(signs == 1)
    assert all((int(i), int(a)) in s.slots for i, a in zip(*np.nonzero(factor), strict=True))
    np.testing.assert_allclose(factor @ factor.T, sigma, rtol=1e-9, atol=1e-9)


@each
@pytest.mark.parametrize("which", range(4))
def test_factor_of_a_singular_covariance(keyword, t, options, which):
    s = make(keyword, t, options)
    theta = s.project(singular_matrices(t)[which])
    assert np.all((theta >= s.lower) & (theta <= s.upper))
    assert s.feasible(theta)
    assert_valid_on_the_boundary(s, theta)


@each
def test_every_bound_is_an_ordinary_point(keyword, t, options):
    s = make(keyword, t, options)
    for theta in corners(s):
        assert_valid_on_the_boundary(s, theta)
        again = s.project(s.covariance(theta))
        assert np.all((again >= s.lower) & (again <= s.upper))
        assert relative_error(s.covariance(again), s.covariance(theta)) < 1e-9


@each_linear
def test_factor_of_an_indefinite_covariance_counts_its_negative_values(keyword, t, options):
    s = make(keyword, t, options)
    M = positive_definite(t, 10) - 1.5 * np.eye(t)
    theta = s.project(M)
    sigma = s.covariance(theta)
    factor, signs = s.factor(theta)
    np.testing.assert_allclose((factor * signs) @ factor.T, sigma, rtol=1e-11, atol=1e-12)
    assert (signs < 0).sum() == (np.linalg.eigvalsh(sigma) < 0).sum()


@each_linear
def test_the_em_update_of_a_linear_structure_is_the_projection(keyword, t, options):
    """E[log p(u)] = −(q/2)(log|Σ| + tr(Σ⁻¹M)) is stationary at Σ = project(M)."""
    s = make(keyword, t, options)
    M = positive_definite(t, 12)
    inverse = np.linalg.inv(s.covariance(s.project(M)))
    score = np.einsum("pij,ji->p", s.derivatives(s.project(M)), inverse - inverse @ M @ inverse)
    np.testing.assert_allclose(score, 0, atol=1e-10)


def test_an_indefinite_matrix_without_such_a_factor_is_refused():
    with pytest.raises(NotPositiveDefiniteError, match="semidefinite"):
        signed_cholesky(np.array([[0.0, 1.0], [1.0, 2.0]]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("at", [(0, 0), (1, 0), (1, 1)])
def test_a_matrix_that_is_not_finite_is_refused(value, at):
    """Not taken as one of zeros."""
    sigma = np.eye(2)
    sigma[at] = sigma[at[::-1]] = value
    with pytest.raises(NotPositiveDefiniteError, match="not finite"):
        signed_cholesky(sigma)


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
    phi = s.start(1.7, np.full(RECORDS, 1.7))
    return s, phi, s.multiply(phi, np.eye(RECORDS))


@residual
def test_residual_sizes_agree(name):
    s, phi, R = sample(name)
    assert len(s.names) == len(s.lower) == s.n_parameters == len(phi)
    assert len(s.coefficients(phi)) == s.pattern.n_coefficients
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
    moments = s.pattern.moments(e)
    assert s.coefficients(phi) @ moments == pytest.approx(e @ s.precision(phi, e), rel=1e-13)
    best = s.maximize(phi, moments)

    def expected_loglik(at):
        return -0.5 * (s.logdet(at) + s.coefficients(at) @ moments)

    np.testing.assert_allclose(s.logdet_gradient(best) + s.jacobian(best) @ moments, 0, atol=1e-10 * RECORDS)
    for factor in (0.9, 1.1):
        assert expected_loglik(best) > expected_loglik(best * factor)


def test_units_is_the_variance_over_the_weights():
    w = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(Units(w).multiply(np.array([6.0]), np.eye(3)), np.diag([6.0, 3.0, 1.5]))
