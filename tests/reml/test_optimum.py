"""Where fits end: the zero of the oracle's score inside, the Karush-Kuhn-Tucker conditions on the boundary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from equations.models import NAMES, animals, case
from oracle import Oracle, Term, dummies

import remlblup as rb
from remlblup import datasets

METHODS = pytest.mark.parametrize("method", ["REML", "ML"])


def newton_decrement(c, theta, ml: bool, free) -> float:
    """g'H⁻¹g of the oracle over the free components: twice what another step could gain."""
    g = c.oracle.score(theta, ml)[free]
    H = c.oracle.average_information(theta)[np.ix_(free, free)]
    return float(g @ np.linalg.solve(H, g))


@pytest.mark.parametrize("name", ["us2", "vm", "wide"])
def test_both_engines_end_at_one_optimum(name):
    spec = case(name).model.specification
    options = {"weights": spec.records.weights, "relationships": {"A": animals(5)[1]}}
    one, other = (
        rb.MixedModel(spec.formula.text, spec.records.frame, engine=e, **options).fit() for e in ("dense", "sparse")
    )
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-7, atol=1e-9)
    assert one.loglik == pytest.approx(other.loglik, rel=1e-12)
    pd.testing.assert_frame_equal(one.random_effects, other.random_effects, rtol=1e-6, atol=1e-8)


@METHODS
@pytest.mark.parametrize("name", NAMES)
def test_a_converged_fit_is_a_stationary_point_of_the_oracle(name, method):
    c = case(name)
    fit = c.model.fit(method=method)
    assert fit.converged, str(fit.convergence)
    ml = method == "ML"
    assert fit.loglik == pytest.approx(c.oracle.loglik(fit.theta, ml), rel=1e-11)
    free = np.array([s == "free" for s in fit.status])
    assert newton_decrement(c, fit.theta, ml, free) < 1e-10
    information = c.oracle.average_information(fit.theta)
    if free.all():
        table = fit.variance_components
        np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(np.linalg.inv(information))), rtol=1e-6)
    for k, term in enumerate(c.oracle.terms):
        assert_outward(c, fit.theta, ml, k, term)


def assert_outward(c, theta, ml: bool, k: int, term: Term) -> None:
    """No direction into the cone raises ℓ: S = ∂ℓ/∂Σ is negative semidefinite on the null space of Σ."""
    start = sum(len(t.bases()) for t in c.oracle.terms[:k])
    g = c.oracle.score(theta, ml)[start : start + len(term.bases())]
    S = np.zeros((term.t, term.t))
    if term.kind == "us":
        S[np.tril_indices(term.t)] = g
        S = (S + S.T) / 2
    else:
        S = np.diag(np.broadcast_to(g, term.t))
    size = np.sqrt(np.diag(c.oracle.average_information(theta)))[start : start + len(g)].max()
    values, vectors = np.linalg.eigh(c.oracle.sigma(k, theta))
    null = vectors[:, values < 1e-7 * max(values[-1], 1e-3)]
    if null.shape[1]:
        assert np.linalg.eigvalsh(null.T @ S @ null)[-1] <= 1e-5 * size


def simulated(seed: int):
    """Random slopes on 15 groups; Σ and sizes differ by seed."""
    rng = np.random.default_rng(seed)
    q = 15
    sizes = rng.integers(2, 7, q)
    g = np.repeat(np.arange(q), sizes)
    x = rng.normal(size=len(g))
    L = np.tril(rng.normal(size=(2, 2)))
    u = rng.normal(size=(q, 2)) @ L.T
    y = 1 + 0.5 * x + u[g, 0] + u[g, 1] * x + rng.normal(0, rng.uniform(0.5, 2), len(g))
    G = dummies(g)
    X = np.column_stack([np.ones_like(x), x])
    model = rb.MixedModel("y ~ x + (1 + x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    return model, Oracle(y, X, [Term([G, G * x[:, None]], np.eye(q), "us")])


STARTS = [
    None,
    {"1 + x | g": np.diag([50.0, 0.01]), "residual": 0.2},
    {"1 + x | g": [[1.0, 0.95], [0.95, 1.0]], "residual": 9.0},
]


@METHODS
@pytest.mark.parametrize("seed", range(5))
def test_all_algorithms_and_starts_reach_one_optimum(seed, method):
    model, _ = simulated(seed)
    fits = [model.fit(method=method, start=start) for start in STARTS]
    assert all(f.converged for f in fits)
    best = max(f.loglik for f in fits)
    assert min(f.loglik for f in fits) > best - 1e-7
    for f in fits[1:]:
        np.testing.assert_allclose(f.theta, fits[0].theta, rtol=1e-4, atol=1e-5 * fits[0].theta.max())
    px = model.fit(method=method, algorithm="px-em", max_iterations=150)
    assert px.loglik <= best + 1e-8
    assert px.loglik > best - 0.02
    assert (np.diff(px.history["loglik"]) >= -1e-9 * abs(best)).all()
    if "boundary" not in fits[0].status:
        ai = model.fit(method=method, algorithm="ai")
        assert ai.converged
        assert ai.loglik == pytest.approx(best, abs=1e-8)


@pytest.mark.parametrize("algorithm", ["em", "px-em"])
@pytest.mark.parametrize("name", ["id", "us2", "vm"])
def test_em_never_lowers_the_likelihood(name, algorithm):
    fit = case(name).model.fit(algorithm=algorithm, max_iterations=60)
    assert (np.diff(fit.history["loglik"]) >= -1e-10).all()
    assert set(fit.history["step"][1:]) == {algorithm.upper()}


@pytest.mark.parametrize("name", ["id", "us2"])
def test_px_em_is_faster_than_em(name):
    reached = {a: case(name).model.fit(algorithm=a, max_iterations=8).loglik for a in ("em", "px-em")}
    assert reached["px-em"] > reached["em"]


# -- boundaries --------------------------------------------------------------------------------


@METHODS
def test_dyestuff2_is_zero_and_says_so(method):
    d = datasets.load("dyestuff2")
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", d).fit(method=method)
    assert fit.converged
    assert fit.convergence.boundary == ("Batch",)
    assert fit.status == ("boundary", "free")
    assert fit.theta[0] == 0.0
    expected = {"REML": (-80.914138906144, 13.806309627586), "ML": (-81.436518326913, 13.346099306667)}[method]
    assert fit.loglik == pytest.approx(expected[0], abs=1e-9)  # lme4 1.1.31
    assert fit.theta[1] == pytest.approx(expected[1], rel=1e-7)
    row = fit.variance_components.iloc[0]
    assert row["status"] == "boundary"
    assert np.isnan(row["std_error"])
    assert np.isnan(row["z_ratio"])
    assert (fit.random_effects["estimate"] == 0).all()
    codes = np.unique(d["Batch"], return_inverse=True)[1]
    oracle = Oracle(d["Yield"].to_numpy(), np.ones((30, 1)), [Term([dummies(codes)], np.eye(6))])
    assert oracle.score(fit.theta, method == "ML")[0] < 0  # outward


def boundary_model(seed: int, slope: float, correlation: float, q: int = 6):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(q), 5)
    x = np.tile(np.arange(5.0) - 2, q)
    a = rng.normal(size=q)
    b = slope * (correlation * a + np.sqrt(1 - correlation**2) * rng.normal(size=q))
    y = 3 + a[g] + b[g] * x + rng.normal(0, 0.7, len(g))
    G = dummies(g)
    model = rb.MixedModel("y ~ x + (1 + x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    return model, Oracle(y, np.column_stack([np.ones_like(x), x]), [Term([G, G * x[:, None]], np.eye(q), "us")])


def cholesky_optimum(oracle: Oracle, ml: bool) -> float:
    """The largest ℓ over positive semidefinite Σ = LL' and σ², from several starts, by quasi-Newton on L."""

    def negative(z):
        L = np.array([[z[0], 0], [z[1], z[2]]])
        S = L @ L.T
        return -oracle.loglik([S[0, 0], S[1, 0], S[1, 1], np.exp(z[3])], ml)

    starts = [[1, 0, 1, 0], [0.5, 0.5, 0.1, -1], [0.5, -0.5, 0.1, -1], [1, 0.2, 0, 0]]
    return -min(scipy.optimize.minimize(negative, s, method="BFGS", options={"gtol": 1e-7}).fun for s in starts)


@METHODS
@pytest.mark.parametrize(
    ("seed", "slope", "correlation"), [(1, 0.4, 1.0), (2, 0.4, -1.0), (3, 0.3, 0.95), (5, 0.5, 1.0)]
)
def test_correlation_of_one(seed, slope, correlation, method):
    model, oracle = boundary_model(seed, slope, correlation)
    fit = model.fit(method=method)
    assert fit.converged, str(fit.convergence)
    ml = method == "ML"
    assert fit.loglik == pytest.approx(cholesky_optimum(oracle, ml), abs=1e-6)
    sigma = fit.covariance("g").to_numpy()
    assert np.linalg.eigvalsh(sigma)[0] >= -1e-10
    on_edge = abs(fit.correlation("g").iloc[0, 1]) > 1 - 1e-6
    assert on_edge == (fit.status[:3] == ("boundary",) * 3)
    if on_edge:
        assert any("g" in b for b in fit.convergence.boundary)
        _, vectors = np.linalg.eigh(sigma)
        g = oracle.score(fit.theta, ml)
        S = np.array([[g[0], g[1] / 2], [g[1] / 2, g[2]]])
        assert vectors[:, 0] @ S @ vectors[:, 0] <= 1e-5


def test_these_seeds_do_reach_the_edge():
    edges = [
        abs(boundary_model(s, sl, c)[0].fit().correlation("g").iloc[0, 1]) > 1 - 1e-6
        for s, sl, c in [(1, 0.4, 1.0), (2, 0.4, -1.0), (5, 0.5, 1.0)]
    ]
    assert any(edges)


@METHODS
@pytest.mark.parametrize("seed", [1, 2, 4])
def test_zero_slope_variance_inside_us(seed, method):
    model, oracle = boundary_model(seed, 0.0, 0.0, q=8)
    fit = model.fit(method=method)
    assert fit.converged, str(fit.convergence)
    assert fit.loglik == pytest.approx(cholesky_optimum(oracle, method == "ML"), abs=1e-6)
    best = max(model.fit(method=method, start=s).loglik for s in STARTS)
    assert fit.loglik == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(("seed", "slope", "correlation"), [(3, 0.3, 0.95), (2, 0.4, 1.0), (8, 0.3, 0.95)])
@pytest.mark.parametrize("algorithm", ["auto", "ai"])
def test_a_natural_step_that_leaves_the_cone_is_taken_otherwise(seed, slope, correlation, algorithm):
    model, oracle = boundary_model(seed, slope, correlation)
    theta = np.array([0.6, 0.0, 0.3, 1.2])
    step = theta + np.linalg.solve(oracle.average_information(theta), oracle.score(theta))
    assert np.linalg.eigvalsh([[step[0], step[1]], [step[1], step[2]]])[0] < 0
    fit = model.fit(algorithm=algorithm, start={"g": np.diag(theta[[0, 2]]), "residual": theta[3]})
    assert fit.converged, str(fit.convergence)
    assert fit.loglik == pytest.approx(cholesky_optimum(oracle, False), abs=1e-6)
    for s in fit.history.iloc[:, -4:].to_numpy(dtype=float):
        assert np.linalg.eigvalsh([[s[0], s[1]], [s[1], s[2]]])[0] > -1e-10 * s[0]


@METHODS
@pytest.mark.parametrize("seed", [0, 2])
def test_a_matrix_of_rank_one(seed, method):
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(5), 8)
    x, z = rng.normal(size=(2, len(g)))
    u = rng.normal(size=(5, 1)) @ rng.normal(size=(1, 3))
    y = u[g, 0] + u[g, 1] * x + u[g, 2] * z + rng.normal(0, 0.8, len(g))
    G, X = dummies(g), np.column_stack([np.ones_like(x), x, z])
    oracle = Oracle(y, X, [Term([G, G * x[:, None], G * z[:, None]], np.eye(5), "us")])
    model = rb.MixedModel("y ~ x + z + (1 + x + z | g)", pd.DataFrame({"y": y, "x": x, "z": z, "g": g}))
    fit = model.fit(method=method)
    ml, triangle = method == "ML", np.tril_indices(3)

    def negative(v):
        L = np.zeros((3, 3))
        L[triangle] = v[:6]
        return -oracle.loglik([*(L @ L.T)[triangle], np.exp(v[6])], ml)

    starts = [[1, 0, 1, 0, 0, 1, 0], [1, -0.5, 0.2, 0.5, 0, 0.2, -0.5]]
    best = -min(scipy.optimize.minimize(negative, s, method="BFGS", options={"gtol": 1e-5}).fun for s in starts)
    assert fit.converged
    assert fit.status[:6] == ("boundary",) * 6
    assert fit.loglik == pytest.approx(best, abs=1e-6)
    assert np.linalg.eigvalsh(fit.covariance("g"))[0] > -1e-10


@pytest.mark.parametrize("held", [{"var(x)": 0.0}, {"var(x)": 0.3}])
def test_a_matrix_held_in_part_stays_positive_semidefinite(held):
    fit = case("us2").model.fit(fix={"g": held})
    assert np.linalg.eigvalsh(fit.covariance("g"))[0] >= -1e-10
    assert fit.converged


def test_a_matrix_held_in_part_at_its_edge_is_not_called_converged():
    fit = case("us2").model.fit(fix={"g": {"var(x)": 1e-4}})
    assert np.linalg.eigvalsh(fit.covariance("g"))[0] >= -1e-10
    assert not fit.converged
    assert "held in part" in fit.convergence.reason


# -- without constraints -----------------------------------------------------------------------


def negative_correlation(within: float):
    """Pairs that differ more within than the pairs differ between: a negative intraclass correlation."""
    rng = np.random.default_rng(3)
    q = 20
    g = np.repeat(np.arange(q), 2)
    y = 10 + np.tile([1.0, -1.0], q) * rng.normal(0, within, q)[g] + rng.normal(0, 0.5, 2 * q)
    model = rb.MixedModel("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": g}))
    return model, Oracle(y, np.ones((2 * q, 1)), [Term([dummies(g)], np.eye(q))])


@pytest.mark.parametrize("within", [0.35, 1.5])
@METHODS
def test_unconstrained_components_may_be_negative(method, within):
    model, oracle = negative_correlation(within)
    ml = method == "ML"
    kept, free = (model.fit(method=method, constrain=c) for c in (True, False))
    assert kept.theta[0] == 0
    assert kept.status[0] == "boundary"
    assert free.converged
    assert free.theta[0] < 0
    assert free.status == ("free", "free")
    assert free.convergence.boundary == ()
    assert free.loglik > kept.loglik + 0.1
    best = scipy.optimize.minimize(
        lambda t: -oracle.loglik(t, ml) if np.isfinite(oracle.loglik(t, ml)) else 1e10,
        [-0.1, 2.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000},
    )
    assert free.loglik == pytest.approx(-best.fun, abs=1e-9)
    np.testing.assert_allclose(free.theta, best.x, rtol=1e-5)
    np.testing.assert_allclose(oracle.score(free.theta, ml), 0, atol=1e-5)


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_an_unconstrained_matrix_may_be_indefinite(seed):
    model, oracle = boundary_model(seed, 0.0, 0.0, q=8)
    kept, free = (model.fit(constrain=c) for c in (True, False))
    assert free.converged
    assert free.status == ("free",) * 4
    assert free.loglik >= kept.loglik - 1e-9
    if np.linalg.eigvalsh(free.covariance("g"))[0] < 0:
        assert free.loglik > kept.loglik + 1e-6
    assert free.loglik == pytest.approx(oracle.loglik(free.theta), rel=1e-11)
    size = np.sqrt(np.diag(oracle.expected_information(free.theta)))
    np.testing.assert_allclose(oracle.score(free.theta) / size, 0, atol=1e-6)


def test_unconstrained_is_the_same_where_the_optimum_is_inside():
    kept, free = (case("us2").model.fit(constrain=c) for c in (True, False))
    assert free.converged
    np.testing.assert_allclose(free.theta, kept.theta, rtol=1e-5)


def test_far_covariate_beside_many_fixed_effects():
    """The same model with the covariate as given and centred: the equations must not lose its digits."""
    rng = np.random.default_rng(1)
    n = 900
    z, g, c = rng.normal(size=n), rng.integers(0, 60, n), rng.permutation(np.resize(np.arange(230), n))
    d = pd.DataFrame({"far": 1e6 + z, "near": z, "g": g.astype(str), "c": c.astype(str)})
    d["y"] = rng.normal(size=60)[g] + rng.normal(size=n) + z
    fits = [rb.MixedModel(f"y ~ {x} + c + (1 | g)", d).fit() for x in ("far", "near")]
    assert fits[0].loglik == pytest.approx(fits[1].loglik, abs=1e-8)
    errors = [f.fixed_effects["std_error"][x] for f, x in zip(fits, ("far", "near"), strict=True)]
    assert errors[0] == pytest.approx(errors[1], rel=1e-9)
    intercept = fits[1].fixed_effects["estimate"]["Intercept"] - 1e6 * fits[1].fixed_effects["estimate"]["near"]
    assert fits[0].fixed_effects["estimate"]["Intercept"] == pytest.approx(intercept, rel=1e-9)


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("structure", ["corgh", "us", "csh"])
def test_px_em_beside_residuals_of_groups(structure, method):
    """Equations restated for EM share one factor with the model's own, that of ML too."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": rng.integers(0, 15, 120), "f": rng.integers(0, 2, 120), "k": rng.integers(0, 2, 120)})
    data["y"] = rng.standard_normal((15, 2))[data["g"], data["f"]] + rng.standard_normal(120)
    data = data.assign(f=data["f"].astype(str), k=data["k"].astype(str))
    model = rb.MixedModel(f"y ~ f + {structure}(f | g)", data, residual="diag(k | units)")
    slow = model.fit(method=method, algorithm="px-em")
    assert slow.converged and abs(slow.loglik - model.fit(method=method).loglik) < 1e-8
    assert np.isfinite(slow.random_effects["std_error"]).all()
