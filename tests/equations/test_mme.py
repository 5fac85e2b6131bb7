"""Henderson's equations in factor form against the dense oracle: β̂, û, PEV, y'Py, log-likelihoods."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from oracle import Term

import remlblup as rb
from equations.models import NAMES, POINTS, animals, case, field
from remlblup.equations.fixed_errors import variance_derivatives
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.henderson.errors import level_covariances
from remlblup.linalg.least_squares import least_squares

CLOSE = {"rtol": 1e-9, "atol": 1e-9}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize(("name", "k"), POINTS)
def test_log_likelihood(name, k, method):
    c = case(name)
    expected = c.oracle.loglik(c.points[k], ml=method == "ML")
    assert c.model.loglik(c.mapping(c.points[k]), method=method) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "k"), POINTS)
def test_fixed_effects_and_their_covariance(name, k):
    c, theta = case(name), case(name).points[k]
    solved = c.model.solve(c.mapping(theta))
    np.testing.assert_allclose(solved.beta, c.oracle.beta(theta), **CLOSE)
    np.testing.assert_allclose(solved.beta_covariance, c.oracle.beta_covariance(theta), **CLOSE)
    table = solved.fixed_effects
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(c.oracle.beta_covariance(theta))), **CLOSE)


@pytest.mark.parametrize(("name", "k"), POINTS)
def test_random_effects_pev_and_reliability(name, k):
    c, theta = case(name), case(name).points[k]
    table = c.model.solve(c.mapping(theta)).random_effects
    at = 0
    for j, term in enumerate(c.oracle.terms):
        q = len(term.K)
        rows = table.iloc[at : at + term.t * q]
        assert set(rows["term"]) == {c.names[j]}
        order = _by_position(c, j, rows["level"].to_numpy()[:q])
        u = c.oracle.u(j, theta)[:, order].ravel()
        pev = np.diag(c.oracle.pev(j, theta)).reshape(term.t, q)[:, order].ravel()
        prior = np.outer(np.diag(c.oracle.sigma(j, theta)), np.diag(term.K))[:, order].ravel()
        np.testing.assert_allclose(rows["estimate"], u, **CLOSE)
        np.testing.assert_allclose(rows["pev"], pev, **CLOSE)
        np.testing.assert_allclose(rows["std_error"], np.sqrt(pev), **CLOSE)
        np.testing.assert_allclose(rows["reliability"], 1 - pev / prior, rtol=1e-7, atol=1e-9)
        at += term.t * q
    assert at == len(table)


def _by_position(c, j, labels) -> np.ndarray:
    """Which column of the oracle's Z each label of the package's table is."""
    if "vm(" not in c.names[j]:
        return np.arange(len(labels))  # both sort the levels
    row = {label: k for k, label in enumerate(animals(5)[3])}
    return np.array([row[label] for label in labels])


@pytest.mark.parametrize("name", ["us2", "us3", "vm_us", "two_us"])
def test_prediction_error_covariances_within_a_level(name):
    c, theta = case(name), case(name).points[0]
    equations = c.model._equations
    found = level_covariances(equations, equations.solve(theta))
    for j, term in enumerate(c.oracle.terms):
        q = len(term.K)
        full = c.oracle.pev(j, theta).reshape(term.t, q, term.t, q)
        order = _by_position(c, j, c.model.specification.random[j].relationship.labels)
        expected = np.stack([full[:, l, :, l] for l in order])
        np.testing.assert_allclose(found[j], expected, **CLOSE)


@pytest.mark.parametrize(("name", "k"), POINTS)
def test_quadratic_form_and_residuals(name, k):
    c, theta = case(name), case(name).points[k]
    equations = c.model._equations
    solution = equations.solve(theta)
    assert solution.quadratic == pytest.approx(c.oracle.quadratic(theta), rel=1e-9)
    P = c.oracle.projection(theta)[2]
    np.testing.assert_allclose(solution.weighted_residual, P @ c.oracle.y, **CLOSE)
    residuals = c.model.solve(c.mapping(theta)).residuals
    w = np.ones(len(c.oracle.y)) if c.oracle.weights is None else c.oracle.weights
    np.testing.assert_allclose(residuals, theta[-1] / w * (P @ c.oracle.y), **CLOSE)


@pytest.mark.parametrize("name", NAMES)
def test_engines_agree(name):
    c = case(name)
    theta = c.points[0]
    dense, sparse = (MixedModelEquations(c.model.specification, e) for e in ("dense", "sparse"))
    assert type(dense.factor) is not type(sparse.factor)
    one, other = dense.solve(theta, ml=True), sparse.solve(theta, ml=True)
    assert one.logdet == pytest.approx(other.logdet, rel=1e-12)
    assert one.logdet_random == pytest.approx(other.logdet_random, rel=1e-12)
    np.testing.assert_allclose(one.effects, other.effects, **CLOSE)
    for a, b in zip(level_covariances(dense, one), level_covariances(sparse, other), strict=True):
        np.testing.assert_allclose(a, b, **CLOSE)
    for ml in (False, True):
        for a, b in zip(_traces(dense, theta, ml), _traces(sparse, theta, ml), strict=True):
            np.testing.assert_allclose(a, b, **CLOSE)


def _traces(equations, theta, ml: bool):
    return equations.slot_traces(equations.solve(theta, ml=ml), ml=ml)


@pytest.mark.parametrize("engine", ["dense", "sparse"])
@pytest.mark.parametrize("solved", [False, True], ids=["solved for REML", "solved for ML"])
@pytest.mark.parametrize("first", [False, True], ids=["REML first", "ML first"])
def test_traces_of_both_likelihoods_at_one_solution(engine, solved, first):
    """Once the traces that were asked for first came back for the other likelihood as well."""
    equations, theta = MixedModelEquations(case("us2").model.specification, engine), case("us2").points[0]
    expected = {ml: _traces(equations, theta, ml) for ml in (False, True)}
    assert not np.allclose(expected[False][1], expected[True][1])
    solution = equations.solve(theta, ml=solved)
    for ml in (first, not first):
        for found, right in zip(equations.slot_traces(solution, ml=ml), expected[ml], strict=True):
            np.testing.assert_allclose(found, right, **CLOSE)


@pytest.mark.parametrize("name", ["id", "us2", "vm", "wide"])
def test_derivatives_of_the_variances_of_the_fixed_effects(name):
    c, theta = case(name), case(name).points[0]
    equations = c.model._equations
    variance, derivative = variance_derivatives(equations, equations.solve(theta))
    inverse, cov, _ = c.oracle.projection(theta)
    H = inverse @ c.oracle.X @ cov
    expected = np.array([np.diag(H.T @ D @ H) for D in c.oracle.derivatives]).T
    np.testing.assert_allclose(variance, np.diag(cov), **CLOSE)
    np.testing.assert_allclose(derivative, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("residual", ["units", "diag(sex | units)"])
@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_derivatives_for_more_fixed_effects_than_are_looked_at_at_once(engine, residual):
    """75 groups, random intercepts and slopes with a relationship: chunks of columns, against dense algebra."""
    rng, n, q = np.random.default_rng(5), 300, 20
    data = pd.DataFrame({"group": np.arange(n) % 75, "g": rng.integers(q, size=n), "x": rng.normal(size=n)})
    data["sex"], data["y"] = np.where(rng.random(n) < 0.5, "f", "m"), rng.normal(size=n)
    root = rng.normal(size=(q, q))
    K = root @ root.T / q + np.eye(q)
    model = rb.MixedModel(
        "y ~ C(group) + (1 + x | vm(g, K))", data, relationships={"K": (K, range(q))}, residual=residual, engine=engine
    )
    theta = np.array([2.0, 0.4, 1.0, 1.5, 0.7][: model._equations.spec.parameters.size])
    Z = np.eye(q)[data["g"]]
    term = Term([Z, Z * data["x"].to_numpy()[:, None]], K, "us")
    X = np.column_stack([np.ones(n), np.eye(75)[data["group"]][:, 1:]])
    of_residual = [np.eye(n)] if residual == "units" else [np.diag(1.0 * (data["sex"] == sex)) for sex in "fm"]
    V_dot = [term.spread(basis) for basis in term.bases()] + of_residual
    inverse = np.linalg.inv(sum(v * D for v, D in zip(theta, V_dot, strict=True)))
    covariance = np.linalg.inv(X.T @ inverse @ X)
    H = inverse @ X @ covariance
    variance, derivative = variance_derivatives(model._equations, model._equations.solve(theta))
    np.testing.assert_allclose(variance, np.diag(covariance), **CLOSE)
    expected = np.array([np.einsum("ij,ij->j", H, D @ H) for D in V_dot]).T
    np.testing.assert_allclose(derivative, expected, rtol=1e-8, atol=1e-10)


def test_a_solution_made_earlier_is_still_right_after_another():
    c = case("us2")
    equations = MixedModelEquations(c.model.specification)
    first = equations.solve(c.points[0])
    equations.solve(c.points[1], ml=True)
    expected = np.stack([c.oracle.pev(0, c.points[0]).reshape(2, 9, 2, 9)[:, l, :, l] for l in range(9)])
    np.testing.assert_allclose(level_covariances(equations, first)[0], expected, **CLOSE)


@pytest.mark.parametrize("sigma", [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 1, 1], [2, -2, 2]])
def test_a_singular_covariance_matrix_is_an_ordinary_point(sigma):
    c = case("us2")
    theta = np.array([*sigma, 1.3], dtype=float)
    solved = c.model.solve(c.mapping(theta))
    for method in ("REML", "ML"):
        assert c.model.loglik(c.mapping(theta), method=method) == pytest.approx(
            c.oracle.loglik(theta, method == "ML"), rel=1e-12
        )
    np.testing.assert_allclose(solved.beta, c.oracle.beta(theta), **CLOSE)
    np.testing.assert_allclose(solved.blup(c.names[0]).to_numpy().T, c.oracle.u(0, theta), **CLOSE)
    np.testing.assert_allclose(solved.random_effects["pev"], np.diag(c.oracle.pev(0, theta)), **CLOSE)


@pytest.mark.parametrize("theta", [[-0.12, 1.2], [-0.1, 3.0]])
def test_negative_components_where_v_is_positive_definite(theta):
    c = case("id")
    assert np.isfinite(c.oracle.loglik(theta))
    for method in ("REML", "ML"):
        expected = c.oracle.loglik(theta, method == "ML")
        assert c.model.loglik({"g": theta[0], "residual": theta[1]}, method=method) == pytest.approx(
            expected, rel=1e-12
        )


def test_indefinite_sigma_with_positive_definite_v():
    c = case("us2")
    theta = np.array([1.0, 0.35, 0.1, 1.3])
    assert np.linalg.eigvalsh(c.oracle.sigma(0, theta))[0] < 0
    assert c.model.loglik(c.mapping(theta)) == pytest.approx(c.oracle.loglik(theta), rel=1e-12)


def test_v_that_is_not_positive_definite_is_refused():
    with pytest.raises(rb.NotPositiveDefiniteError, match="positive definite"):
        case("id").model.loglik({"g": -3.0, "residual": 1.0})


# -- invariances ---------------------------------------------------------------------------------

FORMULA, AT = "y ~ x + (1 + x | g) + (1 | h)", {"1 + x | g": [[1.8, 0.4], [0.4, 0.6]], "h": 0.7, "residual": 1.3}


def test_a_huge_mean_costs_no_digits():
    d = field(11)
    noise = d["y"] - d["y"].mean()
    near = rb.MixedModel(FORMULA, d.assign(y=noise)).solve(AT)
    y = 1e9 + noise
    far = rb.MixedModel(FORMULA, d.assign(y=y)).solve(AT)
    lost = np.abs((y - 1e9) - noise).max()  # what adding 1e9 took from the data themselves
    assert lost < 1e-6
    np.testing.assert_allclose(far.random_effects["estimate"], near.random_effects["estimate"], atol=20 * lost)
    np.testing.assert_allclose(far.residuals, near.residuals, atol=20 * lost)
    np.testing.assert_allclose(far.beta - [1e9, 0], near.beta, atol=20 * lost)
    assert far.loglik == pytest.approx(near.loglik, abs=200 * lost)


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20, 1e-6, 1e6])
def test_rescaling_y_rescales_everything(scale):
    d = field(11)
    one = rb.MixedModel(FORMULA, d).solve(AT)
    at = {k: np.asarray(v) * scale**2 for k, v in AT.items()}
    other = rb.MixedModel(FORMULA, d.assign(y=d["y"] * scale)).solve(at)
    np.testing.assert_allclose(other.beta / scale, one.beta, rtol=1e-11)
    np.testing.assert_allclose(other.random_effects["estimate"] / scale, one.random_effects["estimate"], rtol=1e-9)
    np.testing.assert_allclose(other.random_effects["pev"] / scale**2, one.random_effects["pev"], rtol=1e-10)
    np.testing.assert_allclose(other.random_effects["reliability"], one.random_effects["reliability"], rtol=1e-8)
    expected = one.loglik - one.df_residual * np.log(scale)
    assert other.loglik == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["us2", "vm"])
def test_the_order_of_the_rows_does_not_matter(name):
    c = case(name)
    spec = c.model.specification
    frame = spec.records.frame
    shuffled = frame.sample(frac=1, random_state=3)
    options = {"weights": spec.records.weights}
    if name == "vm":
        options["relationships"] = {"A": animals(5)[1]}
    one = c.model.solve(c.mapping(c.points[0]))
    other = rb.MixedModel(spec.formula.text, shuffled, **options).solve(c.mapping(c.points[0]))
    assert other.loglik == pytest.approx(one.loglik, rel=1e-13)
    pd.testing.assert_frame_equal(one.random_effects, other.random_effects, rtol=1e-10, atol=1e-12)
    pd.testing.assert_series_equal(one.fitted, other.fitted.loc[one.fitted.index], rtol=1e-10)


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_from_matrices_is_the_same_model(engine):
    c, theta = case("vm"), case("vm").points[0]
    terms = c.oracle.terms
    model = rb.MixedModel.from_matrices(
        c.oracle.y,
        c.oracle.X,
        [t.Z[0] for t in terms],
        [terms[0].K, None],
        ["a", "dam"],
        weights=c.oracle.weights,
        fixed_names=["mean", "x"],
        engine=engine,
    )
    solved = model.solve({"a": theta[0], "dam": theta[1], "residual": theta[2]})
    assert solved.loglik == pytest.approx(c.oracle.loglik(theta), rel=1e-12)
    np.testing.assert_allclose(solved.blup("a").to_numpy().T, c.oracle.u(0, theta), **CLOSE)
    assert list(solved.fixed_effects.index) == ["mean", "x"]


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_a_matrix_with_a_level_twice_in_a_record_is_that_of_the_sum(engine):
    rng, n, q = np.random.default_rng(5), 300, 70
    levels = rng.integers(0, q, (n, 2))
    levels[::3, 1] = levels[::3, 0]
    twice = sp.csr_array((np.ones(2 * n), levels.ravel(), np.arange(0, 2 * n + 1, 2)), shape=(n, q))
    y = twice @ rng.standard_normal(q) + rng.standard_normal(n)
    one, other = (
        rb.MixedModel.from_matrices(y, np.ones((n, 1)), [Z], engine=engine).loglik({"u1": 1.5, "residual": 0.7})
        for Z in (twice, twice.toarray())
    )
    assert one == pytest.approx(other, rel=1e-12)
    assert twice.nnz == 2 * n  # what was given is left as it was


def test_the_likelihood_in_the_other_conventions():
    c, theta = case("wide"), case("wide").points[0]
    n, p = c.oracle.X.shape
    ll = c.oracle.loglik(theta)
    solved = c.model.solve(c.mapping(theta))
    assert solved.loglik_asreml == pytest.approx(ll + 0.5 * (n - p) * np.log(2 * np.pi), rel=1e-12)
    assert solved.loglik_nlme == pytest.approx(ll + 0.5 * np.linalg.slogdet(c.oracle.X.T @ c.oracle.X)[1], rel=1e-12)
    ml = c.model.solve(c.mapping(theta), method="ML")
    assert ml.loglik_nlme == ml.loglik == pytest.approx(c.oracle.loglik(theta, ml=True), rel=1e-12)
    assert ml.loglik_asreml == pytest.approx(ml.loglik + 0.5 * n * np.log(2 * np.pi), rel=1e-12)


@pytest.mark.parametrize("k", [None, 3])
def test_least_squares_of_any_rank(k):
    """By QR where X has full rank; the shortest of all where it has not, or has fewer rows than columns."""
    rng = np.random.default_rng(2)
    v = rng.normal(size=8) if k is None else rng.normal(size=(8, k))
    X = rng.normal(size=(8, 3))
    np.testing.assert_allclose(least_squares(X, v), np.linalg.solve(X.T @ X, X.T @ v), rtol=1e-10)
    for singular in (
        X[:, [0, 1, 0]],
        np.column_stack([X[:, 0], X[:, 0] * (1 + 1e-15), X[:, 1]]),
        rng.normal(size=(8, 9)),
    ):
        np.testing.assert_allclose(least_squares(singular, v), np.linalg.pinv(singular) @ v, rtol=1e-6, atol=1e-9)


def test_what_a_large_model_does_without_leaves_the_digits(monkeypatch):
    """W' is not held by rows, and the information comes before the inverse."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": rng.integers(90, size=700), "h": rng.integers(40, size=700), "x": rng.normal(size=700)})
    frame["y"] = rng.normal(size=90)[frame["g"]] + rng.normal(size=40)[frame["h"]] * frame["x"] + rng.normal(size=700)

    def fitted():
        fit = rb.MixedModel("y ~ x + (x | g) + (1 | h)", frame, engine="sparse").fit()
        return fit.loglik, fit.random_effects, fit.variance_components

    expected = fitted()
    monkeypatch.setattr("remlblup.linalg.row_blocks.HELD", 0)
    monkeypatch.setattr("remlblup.equations.henderson.score.LARGE", 0)
    loglik, effects, components = fitted()
    assert loglik == expected[0]
    pd.testing.assert_frame_equal(effects, expected[1], check_exact=True)
    pd.testing.assert_frame_equal(components, expected[2], check_exact=True)
