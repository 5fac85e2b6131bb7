"""A singular R where V is positive definite is a boundary like any other; without constraints R may be negative."""

from __future__ import annotations

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.optimize
from oracle import GeneralOracle, Part, dummies

import remlblup as rb
from remlblup.reml.singular_residual import Route
from remlblup.structure.residual.exponential import Autoregressive, Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.variance_power import Power

ENGINES = ("auto", "dense", "sparse", "spectral")


def families(n: int, size: int, within: float = 0.5) -> np.ndarray:
    return np.kron(np.eye(n), within * np.ones((size, size)) + (1.0 - within) * np.eye(size))


def labelled(K: np.ndarray) -> tuple[np.ndarray, list[str]]:
    return K, [f"i{k}" for k in range(len(K))]


def animals(K: np.ndarray, **columns) -> pd.DataFrame:
    return pd.DataFrame({**columns, "id": labelled(K)[1]})


def triangle(x: np.ndarray, t: int) -> np.ndarray:
    """LL' (t, t) of the entries of L."""
    L = np.zeros((t, t))
    L[np.tril_indices(t)] = x
    return L @ L.T


def lower(sigma: np.ndarray) -> np.ndarray:
    return sigma[np.tril_indices(len(sigma))]


# -- one variance ------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e8])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_residual_variance_of_zero_is_a_boundary(engine, scale):
    K, y = families(2, 2), np.array([1.0, 1.2, 3.0, 3.3]) * scale
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", animals(K, y=y), {"K": labelled(K)}, engine=engine)
    fit = model.fit()
    assert fit.converged, fit.convergence
    assert fit.status == ("free", "boundary")
    # V = σ²K: σ² = y'Qy/(n − p) and var(σ̂²) = 2σ⁴/(n − p), Q = K⁻¹ less its regression on X.
    Ki = np.linalg.inv(K)
    Q = Ki - np.outer(Ki.sum(1), Ki.sum(0)) / Ki.sum()
    variance = y @ Q @ y / 3.0
    assert fit.theta == pytest.approx([variance, 0.0], rel=1e-9, abs=0.0)
    assert fit.variance_components["std_error"][0] == pytest.approx(variance * np.sqrt(2.0 / 3.0), rel=1e-8)
    assert np.isnan(fit.variance_components["std_error"][1])
    ll = -0.5 * (3.0 * np.log(2 * np.pi) + np.linalg.slogdet(variance * K)[1] + np.log(Ki.sum() / variance) + 3.0)
    assert fit.loglik == pytest.approx(ll, abs=1e-9)
    if scale == 1.0:
        assert fit.loglik == pytest.approx(-4.4249864, abs=1e-7)
        assert variance == pytest.approx(0.9772222, abs=1e-7)
    assert fit.fixed_effects["df"].to_numpy() == pytest.approx([3.0], rel=1e-6)
    # With no residual û is what β̂ leaves, and the fitted values are the records.
    assert fit.fitted.to_numpy() == pytest.approx(y, rel=1e-12)
    prediction = fit.predict()
    assert prediction["prediction"].to_numpy() == pytest.approx(y, rel=1e-12)
    assert prediction["std_error"].to_numpy() == pytest.approx(np.zeros(4), abs=1e-6 * scale)
    assert fit.random_effects["std_error"].to_numpy() == pytest.approx(fit.fixed_effects["std_error"].iloc[0], rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_known_variances_may_have_no_residual(engine):
    K, y = families(2, 2), np.array([1.0, 1.2, 3.0, 3.3])
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", animals(K, y=y), {"K": labelled(K)}, engine=engine)
    best = model.fit()
    held = model.fit(fix={"residual": 0.0})
    assert held.converged
    assert held.status == ("free", "fixed")
    assert held.theta == pytest.approx(best.theta, rel=1e-9)
    assert model.loglik(best.variances) == pytest.approx(best.loglik, abs=1e-10)
    assert model.fit(start=best.variances).theta == pytest.approx(best.theta, rel=1e-7)
    solved = model.solve(best.variances)
    pd.testing.assert_frame_equal(solved.random_effects, best.random_effects)
    limit = model.solve({"vm(id, K)": best.theta[0], "residual": 1e-9})
    assert solved.beta == pytest.approx(limit.beta, rel=1e-6)
    assert solved.beta_covariance == pytest.approx(limit.beta_covariance, rel=1e-6)


def test_the_way_to_v_is_a_row_of_the_history(monkeypatch):
    K, y = families(2, 2), np.array([1.0, 1.2, 3.0, 3.3])
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", animals(K, y=y), {"K": labelled(K)})
    history = model.fit().history
    at = list(history["step"]).index("to V")
    assert list(history["iteration"]) == list(range(len(history)))
    assert history["loglik"][at] == pytest.approx(history["loglik"][at - 1], abs=1e-9)
    assert list(history.columns[-2:]) == ["vm(id, K)", "residual"]
    monkeypatch.setattr("remlblup.reml.singular_residual.MOST", 3)
    fit = model.fit()
    assert not fit.converged
    assert "V of 4 records is too large" in fit.convergence.reason


def test_a_search_held_at_the_floor_of_r_has_not_converged_where_v_is_out_of_reach():
    model = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff"))
    found, route = model.fit()._optimum, Route(model._equations)
    assert found.convergence.converged
    for share, boundary, away in ((1e-9, ("residual",), True), (1e-9, (), False), (1e-2, ("residual",), False)):
        theta = np.array([found.point.theta[0], share * route.unit[0]])
        told = replace(found.convergence, boundary=boundary)
        there = replace(found, point=replace(found.point, theta=theta), convergence=told)
        route.closed = True
        assert route.out_of_reach(there) is away
        assert bool(route.judged(there, True, False).convergence) is not away
        route.closed = False
        assert not route.out_of_reach(there)


def test_where_v_is_singular_too_there_is_nothing_to_solve():
    g = np.repeat(np.arange(6), 4)
    y = np.random.default_rng(0).normal(size=6)[g]
    model = rb.MixedModel("y ~ x + (1 | g)", pd.DataFrame({"y": y, "g": g, "x": np.arange(24) % 5}))
    fit = model.fit()
    assert not fit.converged
    assert "V becomes singular" in fit.convergence.reason
    for call in (model.solve, model.loglik):
        with pytest.raises(rb.RemlBlupError, match="V is not positive definite"):
            call({"g": 1.0, "residual": 0.0})
    with pytest.raises(rb.RemlBlupError, match=r"fix= .* not positive definite"):
        model.fit(fix={"residual": 0.0})


@pytest.mark.parametrize("engine", ENGINES)
def test_v_need_be_regular_only_beside_the_fixed_effects(engine):
    # K of centred markers has the null vector 1, which is in X: K'VK is regular where V is not.
    rng = np.random.default_rng(1)
    n = 12
    M = rng.normal(size=(n, 30))
    M -= M.mean(axis=0)
    K = M @ M.T / 30
    y = 3.0 + M @ rng.normal(size=30) / np.sqrt(30)
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", animals(K, y=y), {"K": labelled(K)}, engine=engine)
    fit = model.fit()
    assert fit.converged, fit.convergence
    contrasts = scipy.linalg.null_space(np.ones((1, n)))
    inner, z = contrasts.T @ K @ contrasts, contrasts.T @ y

    def loglik(genetic: float, residual: float) -> float:
        V = genetic * inner + residual * np.eye(n - 1)
        determinants = np.linalg.slogdet(V)[1] + np.log(n)
        return -0.5 * ((n - 1) * np.log(2 * np.pi) + determinants + z @ np.linalg.solve(V, z))

    assert fit.status[1] == "boundary"
    assert fit.loglik == pytest.approx(loglik(*fit.theta), abs=1e-9)
    # Of V without residual the maximum has a closed form, and a little residual only lowers it.
    assert fit.theta == pytest.approx([z @ np.linalg.solve(inner, z) / (n - 1), 0.0], rel=1e-8)
    assert loglik(fit.theta[0], 1e-3) < fit.loglik
    near = model.solve({"vm(id, K)": fit.theta[0], "residual": 1e-7})
    assert fit.beta == pytest.approx(near.beta, rel=1e-6)
    assert fit.fitted.to_numpy() == pytest.approx(y, rel=1e-9)
    assert fit.random_effects["estimate"].to_numpy() == pytest.approx(near.random_effects["estimate"], abs=1e-5)
    assert fit.random_effects["pev"].to_numpy() == pytest.approx(near.random_effects["pev"], abs=1e-5)
    assert fit.beta_covariance == pytest.approx(near.beta_covariance, abs=1e-6)
    rows = fit.predict()["std_error"].to_numpy()
    assert rows == pytest.approx(near.predict()["std_error"].to_numpy(), abs=1e-3)


@pytest.mark.parametrize("engine", ENGINES[:3])
def test_a_term_written_in_its_factor_beside_a_singular_r(engine):
    data, K = simulated(2, 20, 0.9, 0)
    terms = "c(a, b) ~ trait + {}(trait | vm(id, K){})"
    fit = rb.MixedModel(
        terms.format("rr", ", k=1"), data, {"K": labelled(K)}, residual="us(trait | units)", engine=engine
    ).fit()
    assert fit.converged, fit.convergence
    full = rb.MixedModel(terms.format("us", ""), data, {"K": labelled(K)}, residual="us(trait | units)").fit()
    assert fit.loglik <= full.loglik + 1e-9
    assert np.linalg.matrix_rank(fit.covariance("rr(trait | vm(id, K), k=1)").to_numpy(), tol=1e-9) == 1


def test_a_trait_that_is_a_function_of_another_is_named():
    K = families(6, 5)
    rng = np.random.default_rng(0)
    a = np.linalg.cholesky(K) @ rng.normal(size=30) + rng.normal(size=30)
    data = animals(K, a=a, b=2.0 * a + 1.0)
    fit = rb.MixedModel(
        "c(a, b) ~ trait + us(trait | vm(id, K))", data, {"K": labelled(K)}, residual="us(trait | units)"
    ).fit()
    assert not fit.converged
    assert "combination of 'a', 'b'" in fit.convergence.reason
    assert "function of another" in fit.convergence.reason


def test_a_fit_with_a_singular_r_is_like_any_other(tmp_path):
    K = families(12, 5)
    rng = np.random.default_rng(1)
    y, x = np.linalg.cholesky(K) @ rng.normal(size=60), rng.normal(size=60)
    data = animals(K, y=y, x=x)
    model = rb.MixedModel("y ~ x + (1 | vm(id, K))", data, {"K": labelled(K)})
    fit = model.fit()
    assert fit.converged
    assert fit.status[-1] == "boundary"
    saved = rb.load(fit.save(tmp_path / "fit"))
    assert saved.loglik == fit.loglik
    for table in ("variance_components", "fixed_effects", "random_effects"):
        pd.testing.assert_frame_equal(getattr(saved, table), getattr(fit, table))
    for draw in (fit.plot_convergence, fit.plot_random_effects, fit.plot_residuals):
        draw()
        plt.close("all")
    assert "converged" in str(fit.summary())
    left = rb.cross_validate(fit, folds=5, seed=1)
    again = rb.cross_validate(fit, folds=5, seed=1, refit=True)
    for result in (left, again):
        assert np.isfinite(result.predictions["predicted"]).all()
    many = rb.fit_many("~ x + (1 | vm(id, K))", data, ["y"], {"K": labelled(K)})
    assert many["y"].theta == pytest.approx(fit.theta, rel=1e-7)


# -- matrices of R -----------------------------------------------------------------------------

A = [0.2, -0.3, 1.8, 0.6, 0.3, 1.0, -0.3, 0.2, 0.5, 0.4, 0.8, 0.7]
B = [-0.5, -2.4, 1.1, 1.2, -0.6, -0.5, -0.8, -0.5, -0.6, -1.1, 0.2, 0.4]


@pytest.mark.parametrize(
    ("engine", "scales"),
    [("auto", (1.0, 1.0)), ("auto", (1e3, 1e8)), *((engine, (1e-4, 1e4)) for engine in ENGINES[:3])],
)
def test_a_residual_matrix_becomes_singular(engine, scales):
    K = families(6, 2)
    data = animals(K, a=np.array(A) * scales[0], b=np.array(B) * scales[1])
    fit = rb.MixedModel(
        "c(a, b) ~ 0 + trait + us(trait | vm(id, K))",
        data,
        {"K": labelled(K)},
        residual="us(trait | units)",
        engine=engine,
    ).fit()
    assert fit.converged, fit.convergence
    d = np.diag(1.0 / np.array(scales))
    R = d @ fit.covariance("residual").to_numpy() @ d
    assert pytest.approx(np.array([[0.1041, -0.0473], [-0.0473, 0.0215]]), abs=6e-5) == R
    assert np.linalg.eigvalsh(R)[0] == pytest.approx(0.0, abs=1e-9)
    # X is one column of ones a trait: ℓ changes by (n − p)/traits log(scale) each.
    assert fit.loglik + 11.0 * np.log(scales[0] * scales[1]) == pytest.approx(-21.4786, abs=6e-5)
    assert set(fit.status[3:]) == {"boundary"}
    assert (fit.fixed_effects["df"] < 12).all()


def simulated(t: int, n: int, heritability: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng([t, n, int(100 * heritability), seed])
    K = families(n // 5, 5)
    G = heritability * (0.5 * np.eye(t) + 0.5)
    R = (1.0 - heritability) * (0.8 * np.eye(t) + 0.2)
    u = np.linalg.cholesky(K) @ rng.normal(size=(n, t)) @ np.linalg.cholesky(G).T
    y = u + rng.normal(size=(n, t)) @ np.linalg.cholesky(R).T
    return animals(K, **dict(zip("abc", y.T, strict=False))), K


@pytest.mark.parametrize(("t", "seed"), [(2, 0), (2, 1), (2, 2), (2, 3), (3, 0)])
def test_several_traits_reach_the_dense_maximum(t, seed):
    data, K = simulated(t, 20, 0.9, seed)
    fit = rb.MixedModel(
        f"c({', '.join('abc'[:t])}) ~ trait + us(trait | vm(id, K))",
        data,
        {"K": labelled(K)},
        residual="us(trait | units)",
    ).fit()
    assert fit.converged, fit.convergence
    Y = data[list("abc")[:t]].to_numpy()
    n, size = len(Y), t * (t + 1) // 2
    X = np.kron(np.ones((n, 1)), np.eye(t))
    Z = [np.kron(np.eye(n), np.eye(t)[:, [i]]) for i in range(t)]

    def matrix(x):
        out = np.zeros((t, t), dtype=np.asarray(x).dtype)
        out[np.tril_indices(t)] = x
        return out + np.tril(out, -1).T

    oracle = GeneralOracle(Y.ravel(), X, [Part(Z, K, matrix, size)], lambda phi: np.kron(np.eye(n), matrix(phi)))
    assert fit.loglik == pytest.approx(oracle.loglik(fit.theta), abs=1e-6)

    def loss(x: np.ndarray) -> float:
        theta = np.concatenate([lower(triangle(x[:size], t)), lower(triangle(x[size:], t))])
        value = oracle.loglik(theta)
        return -value if np.isfinite(value) else 1e6

    rng, best = np.random.default_rng(seed), np.inf
    for _ in range(3):
        start = np.tile(np.eye(t)[np.tril_indices(t)], 2) * 0.7 + 0.2 * rng.normal(size=2 * size)
        best = min(best, scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7}).fun)
    assert fit.loglik > -best - 1e-6


@pytest.mark.parametrize(("seed", "zeros"), [(5, 1), (6, 2)])
@pytest.mark.parametrize("engine", ENGINES[:3])
def test_one_of_several_variances_is_zero(engine, seed, zeros):
    K, n = families(12, 5), 60
    rng = np.random.default_rng(seed)
    env = np.arange(n) % 3
    y = np.linalg.cholesky(K) @ rng.normal(size=n) + np.array([0.0, 1.0, 0.4])[env] * rng.normal(size=n)
    data = animals(K, y=y, env=np.array(list("ABC"))[env])
    fit = rb.MixedModel(
        "y ~ env + (1 | vm(id, K))", data, {"K": labelled(K)}, residual="diag(env | units)", engine=engine
    ).fit()
    assert fit.converged, fit.convergence
    zero = fit.theta[1:] == 0.0
    assert zero.sum() == zeros
    assert [s == "boundary" for s in fit.status[1:]] == list(zero)
    part = Part([np.eye(n)], K, lambda x: np.array([[x[0]]]), 1)
    oracle = GeneralOracle(y, dummies(env), [part], lambda phi: np.diag(np.asarray(phi)[env]))
    score = oracle.score(fit.theta)
    assert np.all(score[1:][zero] <= 1e-6)
    # The free ones have no slope, and their standard errors are those of the average information on the face.
    free = np.concatenate([[True], ~zero])
    information = oracle.average_information(fit.theta)[np.ix_(free, free)]
    assert score[free] / np.sqrt(np.diag(information)) == pytest.approx(0.0, abs=1e-6)
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    assert fit.variance_components["std_error"].to_numpy()[free] == pytest.approx(errors, rel=1e-6)


WITHIN = [
    "ar1(t | s)",
    "exp(t | s)",
    "cs(t | s)",
    "toep(t | s)",
    "us(t | s)",
    "ar1h(t | s)",
    "csh(t | s)",
    "corgh(t | s)",
    "diag(t | units)",
    "units",
]


@pytest.mark.parametrize("residual", WITHIN)
def test_every_residual_structure_goes_to_its_edge(residual):
    # Records that follow K exactly: whatever the structure, R shrinks until it is singular or well inside.
    K, n = families(12, 5), 60
    rng = np.random.default_rng(11)
    y = np.linalg.cholesky(K) @ rng.normal(size=n)
    data = animals(K, y=y, t=np.tile([1, 2, 3, 4], 15), s=np.repeat(np.arange(15), 4))
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", data, {"K": labelled(K)}, residual=residual)
    fit = model.fit()
    assert fit.converged, fit.convergence
    # No small move inside the parameter space raises the likelihood.
    rng = np.random.default_rng(0)
    size = np.maximum(np.abs(fit.theta), 0.1)
    for _ in range(100):
        theta = fit.theta + 1e-3 * size * rng.normal(size=len(size))
        theta = np.clip(theta, model.specification.parameters.lower, model.specification.parameters.upper)
        matrices = model.specification.residual.matrices(theta[1:]).values()
        if any(np.linalg.eigvalsh(sigma)[0] < 0.0 for _, sigma in matrices):
            continue
        try:
            there = model.loglik(model.specification.parameters.to_mapping(theta))
        except rb.RemlBlupError:
            continue
        assert there <= fit.loglik + 1e-9


def test_a_field_of_perfect_correlation_beside_independent_errors():
    row, column = np.divmod(np.arange(48), 8)
    rng = np.random.default_rng(4)
    y = rng.normal(size=48) + 0.7 * (-1.0) ** column * rng.normal()
    fit = rb.MixedModel("y ~ 1", pd.DataFrame({"y": y, "r": row, "c": column}), residual="ar1(r):ar1(c) + units").fit()
    assert fit.converged, fit.convergence
    units, variance, along, across = fit.theta
    assert across == -1.0
    assert fit.status[-1] == "boundary"

    def loglik(theta):
        u, v, a, c = theta
        C = a ** np.abs(row[:, None] - row) * c ** np.abs(column[:, None] - column)
        V = v * C + u * np.eye(48)
        return GeneralOracle(y, np.ones((48, 1)), [], lambda _: V).loglik(np.zeros(1))

    best = scipy.optimize.minimize(
        lambda x: -loglik([np.exp(x[0]), np.exp(x[1]), np.tanh(x[2]), -1.0]),
        [np.log(units), np.log(variance), np.arctanh(along)],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 2000},
    )
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-6)
    assert loglik([units, variance, along, -0.999]) < fit.loglik


@pytest.mark.parametrize(
    ("residual", "phi"),
    [
        (Field(*np.divmod(np.arange(12), 4)), [1.3, 0.4, -0.7]),
        (Field(*np.divmod(np.delete(np.arange(12), [2, 7]), 4), kinds=("id", "ar1")), [1.3, 0.6]),
        (Field(np.array([0, 2, 3, 5]), None, kinds=("ar1",)), [0.8, -0.5]),
        (Exponential(np.array([0.3, 1.0, 2.5, 0.0, 4.0]), np.array([0, 0, 0, 1, 1]), np.arange(1.0, 6.0)), [2.0, 0.6]),
        (Autoregressive(np.array([0, 1, 4, 0, 3]), np.array([0, 0, 0, 1, 1])), [2.0, -0.6]),
        (Power(np.arange(1.0, 6.0), np.arange(1.0, 6.0)), [0.7, 0.4]),
    ],
)
def test_derivatives_of_a_whole_residual(residual, phi):
    n = residual.size - residual.n_filled
    phi = np.array(phi)

    def covariance(at):
        return residual.multiply(at, np.eye(residual.size, n))[:n]

    exact = residual.derivatives(phi)
    for i, step in enumerate(1e-5 * np.eye(len(phi))):
        assert exact[i] == pytest.approx((covariance(phi + step) - covariance(phi - step)) / 2e-5, abs=1e-8)


# -- without constraints -----------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_without_constraints_the_residual_may_be_negative(engine):
    r = np.random.default_rng(1)
    y = np.repeat(r.normal(0, 60**0.5, 26), 8) + r.normal(0, 40**0.5, 208)
    K = families(26, 8)
    data = animals(K, y=y, sire=np.repeat(np.arange(26), 8))
    fit = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", data, {"K": labelled(K)}, engine=engine).fit(constrain=False)
    family = rb.MixedModel("y ~ 1 + (1 | sire)", data).fit()
    assert fit.converged, fit.convergence
    # Full sibs share half of the additive variance; the other half is within families.
    assert fit.theta == pytest.approx([2 * family.theta[0], family.theta[1] - family.theta[0]], rel=1e-6)
    assert fit.loglik == pytest.approx(family.loglik, abs=1e-8)
    assert fit.theta == pytest.approx([93.864, -11.051], abs=6e-4)
    assert fit.loglik == pytest.approx(-697.4307, abs=6e-5)
    assert fit.variance_components["std_error"].notna().all()


@pytest.mark.parametrize("engine", ENGINES)
def test_without_constraints_expected_information_serves_beyond_a_singular_residual(engine):
    """The residual is among the effects there; the step of last resort found none to put among them."""
    K, y = families(2, 2), np.array([[1.0, 1.2], [3.0, 3.3]])
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, K))", animals(K, y=y.ravel()), {"K": labelled(K)}, engine=engine)
    fit = model.fit(constrain=False)
    within = np.sum((y - y.mean(1, keepdims=True)) ** 2) / 2.0
    family = (2.0 * np.var(y.mean(1), ddof=1) - within) / 2.0
    assert fit.converged, fit.convergence
    assert fit.theta == pytest.approx([2.0 * family, within - family], rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("effect", [1e-3, 1e-2, 0.1])
def test_without_constraints_the_way_to_the_edge_of_v_is_gone(engine, effect):
    e = np.random.default_rng(1).normal(size=(2, 3))
    e -= e.mean(1, keepdims=True)
    y = 10 + e + [[effect], [-effect]]
    model = rb.MixedModel("y ~ 1 + (1 | g)", pd.DataFrame({"y": y.ravel(), "g": np.repeat([0, 1], 3)}), engine=engine)
    fit = model.fit(constrain=False)
    within = np.sum(e**2) / 4.0
    between = 3.0 * np.sum((y.mean(1) - y.mean()) ** 2)
    assert fit.converged, fit.convergence
    # The analysis of variance of a balanced design.
    assert fit.theta == pytest.approx([(between - within) / 3.0, within], rel=1e-6)
    assert fit.loglik >= model.fit().loglik


@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-5])
def test_a_small_residual_is_not_said_to_vanish(size):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(10), 3)
    y = rng.normal(size=10)[g] + size * rng.normal(size=30)
    fit = rb.MixedModel("y ~ 1 + (1 | g)", pd.DataFrame({"g": g, "y": y})).fit()
    within = np.sum((y - (np.bincount(g, y) / 3)[g]) ** 2) / 20.0
    assert fit.theta[1] == pytest.approx(within, rel=1e-6)
    assert "without end" not in fit.convergence.reason
    assert "explain" not in fit.convergence.reason


def test_the_edge_of_v_ends_in_a_verdict():
    y = [0.305, -0.395, -0.195, 0.405, -0.095, 1.104, -1.596, 0.504, -0.593, 0.607, 0.211, -0.189]
    data = pd.DataFrame({"y": y, "a": [0] * 5 + [1] * 3 + [2] * 2 + [3] * 2})
    for engine in ENGINES:
        fit = rb.MixedModel("y ~ 1 + (1 | a)", data, engine=engine).fit("ML", constrain=False)
        assert not fit.converged


def test_starts_do_not_depend_on_the_unit_of_a_position():
    rng = np.random.default_rng(1)
    s = np.repeat(np.arange(10), 4)
    x = np.tile([0.0, 30.0, 60.0, 90.0], 10) + rng.integers(0, 9, 40)
    y = rng.normal(size=10)[s] + rng.normal(size=40)
    fits = [
        rb.MixedModel("y ~ 1", pd.DataFrame({"y": y, "s": s, "x": k * x}), residual="exp(x | s)").fit()
        for k in (1.0, 3.0, 100.0)
    ]
    assert all(f.converged for f in fits)
    assert [f.loglik for f in fits] == pytest.approx([-63.948741] * 3, abs=1e-6)


@pytest.mark.parametrize("unit", [1e3, 1.0, 1e-3])
def test_what_the_data_do_not_tell_has_no_standard_error_in_any_unit(unit):
    rng = np.random.default_rng(2)
    g, x = np.repeat(np.arange(15), 4), np.tile(np.arange(4.0), 15)
    y = 10 * rng.normal(size=15)[g] + 3 * rng.normal(size=15)[g] * x + rng.normal(size=60)
    data = pd.DataFrame({"y": y, "g": g, "h": g, "x": unit * x})
    fit = rb.MixedModel("y ~ x + (1 + x | g) + (1 + x | h)", data).fit()
    assert not fit.converged
    assert list(fit.variance_components["std_error"].isna()) == [True] * 6 + [False]


def test_a_small_residual_at_a_maximum_is_not_called_singular(monkeypatch):
    """A tolerance that rounding does not let be met is no sign of where R goes."""
    monkeypatch.setattr("remlblup.reml.singular_residual.MOST", 10)
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(30), 12)
    x = np.tile(np.arange(12.0), 30)
    y = 3.0 * x + 40.0 * rng.standard_normal(30)[group] + 25.0 * rng.standard_normal(30)[group] * x
    data = pd.DataFrame({"y": y + rng.standard_normal(360), "x": x, "g": group.astype(str)})
    with pytest.warns(rb.ConvergenceWarning):
        fit = rb.MixedModel("y ~ x + (1 + x | g)", data).fit(tolerance=1e-18)
    assert not fit.converged and fit.convergence.table.set_index("criterion").loc["Newton decrement", "value"] < 1e-12
    assert "becomes singular" not in fit.convergence.reason and "gradient" in fit.convergence.reason
