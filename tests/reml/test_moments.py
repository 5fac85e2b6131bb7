"""Start values by moments: q and S beside dense algebra, what they are taken for; no answer depends on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.linalg.threads import single_threaded
from remlblup.reml import ladder, moments
from remlblup.reml.moments import Moments, has_moments, inside, is_worth, moment_start
from remlblup.reml.start import first_values


def pedigree(q: int, rng: np.random.Generator) -> tuple[rb.Pedigree, np.ndarray]:
    """Few sires, many dams; and a breeding value of variance one for each animal."""
    sires, first = max(2, q // 30), q // 5
    sire = np.where(np.arange(q) < first, -1, rng.integers(0, sires, q))
    dam = np.where(np.arange(q) < first, -1, rng.integers(sires, first, q))
    value = rng.normal(size=q)
    value[first:] = 0.5 * (value[sire[first:]] + value[dam[first:]]) + np.sqrt(0.5) * value[first:]
    return rb.Pedigree(np.arange(q), sire, dam, unknown=[-1]), value


def model(q: int = 60, weights: bool = False, terms: str = "(1 | vm(id, A)) + (1 | g)", scale: float = 1.0, **more):
    """Records of most animals, some twice, in unequal groups."""
    rng = np.random.default_rng(3)
    A, value = pedigree(q, rng)
    rows = np.concatenate([rng.permutation(q)[: q - q // 10], rng.integers(0, q, q // 4)])
    n = len(rows)
    data = pd.DataFrame({"id": rows, "g": np.minimum(*rng.integers(0, 2 + q // 10, (2, n)))})
    data["x"], data["w"], data["s"] = rng.normal(size=n), rng.uniform(0.3, 3.0, n), rng.integers(0, 2, n).astype(str)
    data["y"] = scale * value[rows] + 0.7 * rng.normal(size=n)[data["g"]] + data["x"] + rng.normal(size=n)
    return rb.MixedModel(f"y ~ x + {terms}", data, {"A": A}, weights="w" if weights else None, **more)


def dense(equations) -> tuple[list[np.ndarray], np.ndarray]:
    """V_i and M of scaled records."""
    spec = equations.spec
    root = np.sqrt(spec.weights)[:, None]
    X = root * np.asarray(spec.fixed.work)
    M = np.eye(spec.n) - X @ np.linalg.solve(X.T @ X, X.T)
    loads = [(root * d.columns[0].toarray(), d.relationship) for d in spec.random]
    return [*(Z @ K.dense() @ Z.T for Z, K in loads), np.eye(spec.n)], M


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("damped", [False, True])
def test_forms_and_traces_are_those_of_dense_algebra(damped, weights):
    equations = model(weights=weights)._equations
    V, M = dense(equations)
    half = first_values(equations)
    own = Moments(equations, half if damped else None)
    g = M
    if damped:
        V0 = M @ sum(t * v for t, v in zip(half, V, strict=True)) @ M
        largest = np.linalg.eigvalsh(V0)[-1]
        rho = half[0] / own.step[0]
        assert largest < rho <= moments.ABOVE * largest
        g = M - V0 / rho
    Q = g @ g
    y = np.sqrt(equations.spec.weights) * equations.spec.y
    np.testing.assert_allclose(own.forms(), [y @ Q @ v @ Q @ y for v in V], rtol=1e-9)
    # With the columns of I for z the mean over z of independent signs is a sum.
    S = sum(own.traces(z) for z in np.eye(equations.spec.n))
    np.testing.assert_allclose(S, [[np.trace(Q @ a @ Q @ b) for b in V] for a in V], rtol=1e-9)


@pytest.mark.parametrize("damped", [False, True])
def test_forms_are_what_is_expected_of_them(damped):
    """E[q] = Sθ: the sum of q over the columns of a root of V in the place of y."""
    equations = model()._equations
    V, _ = dense(equations)
    theta = np.array([0.8, 0.3, 1.7])
    own = Moments(equations, first_values(equations) if damped else None)
    root = np.linalg.cholesky(sum(t * v for t, v in zip(theta, V, strict=True)))
    columns = (equations.with_response(replace(equations.spec, y=column)) for column in root.T)
    q = sum(Moments(each, own.theta).forms() for each in columns)
    S = sum(own.traces(z) for z in np.eye(equations.spec.n))
    np.testing.assert_allclose(np.linalg.solve(S, q), theta, rtol=1e-8)


@single_threaded
def test_few_signs_are_enough_and_the_same_in_every_run():
    equations = model(6_000)._equations
    fit = model(6_000).fit()
    start = moment_start(equations)
    assert start is not None and np.array_equal(start, moment_start(model(6_000)._equations))
    assert fit.history["step"][0] == "moments" and np.array_equal(fit.history.iloc[0, -3:], start)
    assert np.all(np.abs(start - fit.theta) < 4.0 * fit.variance_components["std_error"])
    assert "PX-EM" not in set(fit.history["step"])


def test_small_models_begin_as_ever_and_sizes_decide():
    equations = model(600)._equations
    assert not has_moments(equations) and moment_start(equations) is None
    cheap = replace(equations.stats, flops=1e4, nnz_factor=1000)
    dear = replace(equations.stats, flops=1e11, nnz_factor=10**8)
    for stats, worth in ((cheap, False), (dear, True)):
        equations.stats = stats
        assert is_worth(equations, damped=True) is is_worth(equations, damped=False) is worth


def test_many_fixed_effects_cost_what_their_products_take(monkeypatch):
    """Each projection solves X'X anew: of two crossed factors that is a dense matrix."""
    equations = model()._equations
    monkeypatch.setattr(moments, "FLOP", 0.0)
    equations.stats = replace(equations.stats, nnz_factor=4 * 10**5)
    assert is_worth(equations, damped=True)
    rng = np.random.default_rng(2)
    data = pd.DataFrame(rng.integers(0, 200, (6000, 2)).astype(str), columns=["a", "b"])
    data["y"], data["g"] = rng.normal(size=6000), rng.integers(0, 50, 6000)
    crossed = rb.MixedModel("y ~ a + b + (1 | g)", data)._equations
    assert crossed.projection_work > 1e6 > 20 * equations.projection_work
    crossed.stats = equations.stats
    assert not is_worth(crossed, damped=True)


@pytest.fixture
def always(monkeypatch):
    """Moments for small models, too."""
    monkeypatch.setattr(moments, "FEW_RECORDS", 0)
    monkeypatch.setattr(moments, "SHARE", np.inf)


@pytest.mark.parametrize(
    ("terms", "more", "taken"),
    [
        ("(1 | g)", {}, True),
        ("(1 | vm(id, A))", {}, True),
        ("(1 | g:vm(id, A))", {}, True),
        ("(1 + x | g)", {}, False),
        ("(1 | g)", {"residual": "diag(s | units)"}, False),
        ("(1 | vm(id, A))", {"engine": "dense"}, True),
        ("(1 | vm(id, D))", {}, False),
    ],
)
def test_what_they_are_taken_for(always, terms, more, taken):
    equations = model(terms="(1 | g)")._equations
    A = model().specification.random[0].relationship
    data = pd.DataFrame({"y": equations.spec.y, "x": 0.1 * np.arange(equations.spec.n)})
    rng = np.random.default_rng(5)
    data["id"], data["g"] = rng.integers(0, 60, len(data)), rng.integers(0, 7, len(data))
    data["s"] = rng.integers(0, 2, len(data)).astype(str)
    dense_A = pd.DataFrame(A.dense(), index=A.labels, columns=A.labels)
    fitted = rb.MixedModel(f"y ~ x + {terms}", data, {"A": A, "D": dense_A}, **more)
    assert has_moments(fitted._equations) is taken
    assert (fitted.fit(starts=1).history["step"][0] == "moments") is taken


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0])
@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("damped", [False, True])
def test_no_answer_depends_on_them(monkeypatch, method, scale, weights, damped):
    """At a variance of zero, too."""
    plain = model(300, weights, scale=scale).fit(method, starts=1)
    monkeypatch.setattr(moments, "FEW_RECORDS", 0)
    monkeypatch.setattr(moments, "is_worth", lambda equations, how: how is damped)
    fit = model(300, weights, scale=scale).fit(method, starts=1)
    assert plain.history["step"][0] == "start" and fit.history["step"][0] == "moments"
    assert plain.converged and fit.converged
    assert list(fit.variance_components["status"]) == list(plain.variance_components["status"])
    np.testing.assert_allclose(fit.theta, plain.theta, rtol=1e-6, atol=1e-12)
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-8)


def test_values_that_are_given_are_where_a_fit_begins(always):
    one = model(300)
    start, fix = {"g": 0.4, "vm(id, A)": 1.0, "residual": 1.0}, {"g": 0.4}
    for given in ({"start": start}, {"start": {"g": 0.4}}, {"fix": fix}, {"algorithm": "ai"}, {"algorithm": "em"}):
        assert one.fit(**given, starts=1, max_iterations=500).history["step"][0] == "start"


def test_negative_moments_begin_inside_and_without_a_residual_not_at_all():
    equations = model()._equations
    half = first_values(equations)
    floor = moments.FLOOR * half
    np.testing.assert_array_equal(inside(equations, half, np.array([-3.0, 0.4, 1.0])), [floor[0], 0.4, 1.0])
    assert np.all(inside(equations, half, np.array([1e9, -1e9, 1e9])) <= [4.001 * half[0], floor[1], 2.001 * half[2]])
    assert inside(equations, half, np.array([1.0, 1.0, -0.1])) is None
    assert inside(equations, half, np.array([np.nan, 1.0, 1.0])) is None


def test_no_moments_where_the_forms_are_the_same(always):
    """Effects of one record each beside as many residuals."""
    data = pd.DataFrame({"y": np.random.default_rng(1).normal(size=50), "g": np.arange(50)})
    equations = rb.MixedModel("y ~ 1 + (1 | g)", data, engine="sparse")._equations
    assert has_moments(equations) and Moments(equations).solved(50) is None


@pytest.mark.parametrize("step", ["strata", "AI"])
def test_the_first_step_leaves_a_tenth_of_a_variance_that_would_go_to_its_bound(always, monkeypatch, step):
    if step == "AI":
        monkeypatch.setattr(ladder, "has_strata", lambda space: False)
    fit = model(200, scale=0.0).fit(starts=1)
    first, second = fit.history["vm(id, A)"][:2]
    assert fit.history["step"][1] == step and second == pytest.approx(0.1 * first, rel=1e-12)
    assert fit.converged and fit.theta[0] == 0.0
