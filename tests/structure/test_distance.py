"""Covariances by distance over two coordinates: values by their definitions, derivatives by differences."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import differences
from scipy.integrate import quad

from remlblup.errors import DataError, ModelError, OptionError
from remlblup.structure.distance.matern import by_smoothness, matern
from remlblup.structure.table import DISTANCES

PLACES = np.array([[0.0, 0.0], [1.0, 0.2], [2.5, 1.0], [0.4, 3.0], [3.0, 3.5], [1.7, 2.2], [4.0, 0.1]])
CITIES = np.array([[52.5, 13.4], [48.9, 2.35], [40.7, -74.0], [-33.9, 151.2], [35.7, 139.7], [1.35, 103.8]])
OF_TWO = sorted(set(DISTANCES) - {"lin"})
ON_EARTH = ["exp", "sph", "mat"]
THETA = {"isotropic": [2.0], "each": [1.3, 2.4], "angle": [2.0, 0.6, 25.0], "earth": [3000.0]}


def make(keyword, metric="isotropic", **options):
    places = CITIES if metric == "earth" else PLACES
    return DISTANCES[keyword](tuple(f"p{k}" for k in range(len(places))), places, ("x", "y"), metric, **options)


def theta_of(s, variance=1.7):
    shape = [0.4 if s.metric.keyword == "earth" else 1.2] * len(s.shape_names)
    return np.array([variance, *THETA[s.metric.keyword], *shape])


CASES = [(k, m) for k in OF_TWO for m in ("isotropic", "each", "angle")] + [(k, "earth") for k in ON_EARTH]
each = pytest.mark.parametrize(("keyword", "metric"), CASES)


@each
def test_derivatives_are_those_of_the_covariance(keyword, metric):
    s = make(keyword, metric)
    theta = theta_of(s)
    numeric = np.moveaxis(differences(s.covariance, theta), -1, 0)
    np.testing.assert_allclose(s.derivatives(theta), numeric, rtol=1e-7, atol=1e-8)
    S = np.random.default_rng(1).normal(size=(s.size, s.size))
    S = S + S.T
    np.testing.assert_allclose(s.score(theta, S), np.tensordot(s.derivatives(theta), S, 2), rtol=1e-13)
    np.testing.assert_allclose(s.changes(theta, S[:, :2]), s.derivatives(theta) @ S[:, :2], rtol=1e-13)


@each
def test_it_is_a_covariance_within_its_bounds(keyword, metric):
    s = make(keyword, metric)
    for power in (-2.0, 0.0, 2.0):
        theta = theta_of(s)
        theta[1] *= 10.0**power
        sigma = s.covariance(theta)
        assert np.array_equal(sigma, sigma.T)
        assert np.all(np.diag(sigma) == theta[0])
        assert np.linalg.eigvalsh(sigma)[0] > -1e-12 * theta[0]
    assert len(s.names) == len(s.lower) == len(s.upper) == len(s.powers) == len(s.sizes(1.0)) == s.n_parameters


@each
def test_project_finds_the_parameters_again(keyword, metric):
    s = make(keyword, metric)
    theta = theta_of(s)
    np.testing.assert_allclose(s.covariance(s.project(s.covariance(theta))), s.covariance(theta), atol=1e-9)


def correlation(keyword, h):
    return {
        "exp": np.exp(-h),
        "gau": np.exp(-(h**2)),
        "ratio": 1.0 / (1.0 + h**2),
        "sph": 1.0 - 1.5 * h + 0.5 * h**3 if h < 1.0 else 0.0,
    }[keyword]


@pytest.mark.parametrize("keyword", ["exp", "gau", "ratio", "sph"])
def test_values_by_the_definitions(keyword):
    dx, dy = PLACES[5] - PLACES[1]
    turned = np.deg2rad(25.0)
    along, across = np.cos(turned) * dx + np.sin(turned) * dy, np.cos(turned) * dy - np.sin(turned) * dx
    h = {
        "isotropic": np.hypot(dx, dy) / 2.0,
        "each": np.hypot(dx / 1.3, dy / 2.4),
        "angle": np.hypot(along, across / 0.6) / 2.0,
    }
    for metric, distance in h.items():
        s = make(keyword, metric)
        assert s.covariance(theta_of(s))[5, 1] == pytest.approx(1.7 * correlation(keyword, distance), rel=1e-14)
    s = DISTANCES[keyword](("a", "b"), np.array([0.0, s.half]))
    assert s.covariance(np.array([1.0, 1.0]))[0, 1] == pytest.approx(0.5, abs=1e-12)


def test_distances_on_the_globe_are_those_of_the_atlas():
    """Berlin to Paris 878 km, to New York 6,385 km, to Sydney 16,090 km (great circles, within half a percent)."""
    d = make("exp", "earth").metric.distances(CITIES, CITIES)[0]
    np.testing.assert_allclose(d[[1, 2, 3]], [878.0, 6385.0, 16090.0], rtol=5e-3)


def test_matern_of_one_half_is_exponential_and_a_large_smoothness_gaussian():
    h = np.linspace(0.0, 4.0, 60)
    np.testing.assert_allclose(matern(h, 0.5)[0], np.exp(-h), rtol=1e-13)
    np.testing.assert_allclose(matern(h, 1.5)[0], (1 + np.sqrt(3) * h) * np.exp(-np.sqrt(3) * h), rtol=1e-12)
    root = np.sqrt(5) * h
    np.testing.assert_allclose(matern(h, 2.5)[0], (1 + root + root**2 / 3) * np.exp(-root), rtol=1e-12)
    gaussian, errors = np.exp(-0.5 * h**2), []
    for nu in (20.0, 100.0, 1e3, 1e5):
        errors.append(np.max(np.abs(matern(h, nu)[0] - gaussian)))
        assert errors[-1] < 0.5 / nu
    assert errors == sorted(errors, reverse=True)


def integral(function, x):
    """Over t from 0 to where nothing is left of exp(−x cosh t)."""
    return quad(function, 0, 12, (x,), epsabs=0, epsrel=1e-12, limit=400)[0]


@pytest.mark.parametrize("nu", [0.05, 0.5, 1.0, 2.7, 19.0])
def test_the_derivative_by_smoothness_is_that_of_the_integral(nu):
    """K_ν(x) = ∫ exp(−x cosh t) cosh(νt) dt, so that ∂K/∂ν has sinh(νt) t (DLMF 10.32.9)."""
    from scipy.special import gammaln, psi

    for h in (0.05, 0.6, 1.9):
        x = np.sqrt(2.0 * nu) * h
        K = integral(lambda t, x: np.exp(-x * np.cosh(t)) * np.cosh(nu * t), x)
        dK = integral(lambda t, x: t * np.exp(-x * np.cosh(t)) * np.sinh(nu * t), x)
        Kx = -integral(lambda t, x: np.cosh(t) * np.exp(-x * np.cosh(t)) * np.cosh(nu * t), x)
        c = np.exp((1.0 - nu) * np.log(2.0) - gammaln(nu) + nu * np.log(x)) * K
        by_nu = c * (-np.log(2.0) - psi(nu) + np.log(x) + dK / K + 0.5 + Kx / K * x / (2.0 * nu))
        assert matern(np.array([h]), nu)[0][0] == pytest.approx(c, rel=1e-11)
        assert by_smoothness(np.array([h]), nu)[0] == pytest.approx(by_nu, rel=1e-8, abs=1e-11)


def test_what_is_no_covariance_is_refused_by_name():
    names = tuple("abcdefg")
    with pytest.raises(OptionError, match=r"'lin'.*at most 1 coordinate"):
        DISTANCES["lin"](names, PLACES)
    with pytest.raises(OptionError, match="'gau' is no covariance of great-circle"):
        DISTANCES["gau"](names, PLACES, ("x", "y"), "earth")
    with pytest.raises(OptionError, match=r"nu above 0\.5"):
        DISTANCES["mat"](names, PLACES, ("x", "y"), "earth", nu=1.5)
    with pytest.raises(OptionError, match="metric=flat is not known"):
        DISTANCES["exp"](names, PLACES, ("x", "y"), "flat")
    with pytest.raises(OptionError, match="nu='smooth'"):
        DISTANCES["mat"](names, PLACES, ("x", "y"), nu="smooth")
    with pytest.raises(DataError, match="latitudes between -90 and 90"):
        DISTANCES["exp"](names, 100.0 * PLACES, ("x", "y"), "earth")
    with pytest.raises(ModelError, match="'y' has one value only"):
        DISTANCES["exp"](names, np.c_[PLACES[:, 0], np.ones(7)], ("x", "y"), "each")
    with pytest.raises(ModelError, match="all places lie on one line"):
        DISTANCES["exp"](names, np.c_[np.arange(7.0), 2 * np.arange(7.0)], ("x", "y"), "angle")
    with pytest.raises(ModelError, match="no two the same"):
        DISTANCES["exp"](("a", "b"), np.zeros((2, 2)))


def test_a_range_of_zero_leaves_no_slope_by_smoothness():
    """Far away c is zero whatever ν: with what a range and a smoothness of zero leave, nothing is to be certified."""
    for nu in (1e-300, 1e-12, 1e-6, 0.1):
        h = np.array([1e3 / np.sqrt(nu)]) if nu > 1e-12 else np.array([1e60])
        assert matern(h, max(nu, 1e-12))[0] == pytest.approx(0.0, abs=1e-300)
        assert by_smoothness(h, max(nu, 1e-12)) == pytest.approx(0.0, abs=1e-300)


@pytest.mark.parametrize(
    ("keyword", "power", "factor"), [("exp", 1, 1.0), ("gau", 2, 2.0), ("sph", 1, 1.5), ("ratio", 2, 2.0)]
)
def test_the_slope_within_a_long_range_has_all_its_digits(keyword, power, factor):
    """−h c'(h) = k a h^k + … of c = 1 − a h^k + …, also where 1 − c has lost them."""
    structure = DISTANCES[keyword](["a", "b", "c"], np.array([[0.0], [1.0], [3.0]]), ("x",))
    h = np.array([1e-6, 1e-7])
    np.testing.assert_allclose(structure.falling(h, np.zeros(0))[1], factor * h**power, rtol=3e-6)
