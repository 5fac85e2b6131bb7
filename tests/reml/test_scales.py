"""One scale per variance: what a term competes with, not the variance of all records, decides what is little of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml.start import residual_variance, start_values, unit_matrices
from remlblup.structure.table import STRUCTURES
from remlblup.validation.verdicts.scales import scale_problem

KEYWORDS = ("id", "diag", "us", "cs", "csh", "ar1", "ar1h", "toep", "corg", "corgh", "fa", "rr", "exp")
OF_TIMES = ("ar1", "ar1h", "toep", "exp")
LN10 = np.log(10.0)


def term(keyword: str, group: str) -> str:
    option = ", k=1" if keyword in ("fa", "rr") else ""
    return f"{keyword}({'time' if keyword in OF_TIMES else 't'} | {group}{option})"


def records(seed: int, n: int = 60, q: int = 8, t: int = 3) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Three times within eight related groups, residuals of sd 1 and 30, slopes,
    weights over six orders of magnitude."""
    rng = np.random.default_rng(seed)
    g, e, f, x = rng.integers(0, q, n), rng.integers(0, t, n), rng.integers(0, 2, n), rng.normal(size=n)
    u, b = rng.normal(0, 0.8, (q, t)), rng.normal(0, 0.5, q)
    y = u[g, e] + b[g] * x + rng.normal(size=n) * np.where(f == 0, 1.0, 30.0)
    labels = [f"g{i}" for i in range(q)]
    K = 0.5 * np.eye(q) + 0.5 * (np.arange(q)[:, None] // 2 == np.arange(q) // 2)
    d = pd.DataFrame(
        {
            "y": y,
            "g": [labels[i] for i in g],
            "t": [f"t{i}" for i in e],
            "time": e + 1.0,
            "f": [f"f{i}" for i in f],
            "x": x,
            "w": 10.0 ** rng.integers(-3, 4, n),
        }
    )
    return d, pd.DataFrame(K, index=labels, columns=labels)


def same_fit(fit: rb.Fit, reference: rb.Fit, shift: float = 0.0) -> None:
    assert fit.converged == reference.converged, str(fit.convergence)
    assert fit.status == reference.status
    assert fit.loglik == pytest.approx(reference.loglik + shift, abs=2e-6)


# -- residual variances far apart --------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_a_term_that_lives_on_the_precise_records_is_found_from_one_start(engine):
    rng = np.random.default_rng(73)
    n = rng.integers(30, 60)
    g, t, f = rng.integers(0, 8, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    y = rng.normal(0, 0.8, (8, 3))[g, t] + rng.normal(size=n) * np.where(f == 0, 1000, 1)
    d = pd.DataFrame({"y": y, "g": g.astype(str), "t": t, "f": f.astype(str)})
    model = rb.MixedModel("y ~ f + ar1(t | g)", d, residual="diag(f | units)", engine=engine)
    fit = model.fit()
    assert fit.converged
    # From there the climb is to (1.83, −.19) whatever the scale of start values and thresholds.
    start = {"ar1(t | g)": {"variance": 0.5, "correlation": -0.9}, "residual": [1e6, 1.0]}
    assert fit.loglik == pytest.approx(model.fit(start=start).loglik, abs=1e-7)
    assert fit.loglik == pytest.approx(-254.8795197, abs=1e-6)


@pytest.mark.parametrize("keyword", ["us", "cs", "ar1", "toep", "corgh", "exp"])
def test_the_highest_point_of_a_dense_search_beside_a_ratio_of_ten_thousand(keyword):
    problem = scale_problem(keyword, 10_000.0, 0)
    fit = problem.model().fit(problem.method)
    assert fit.converged, str(fit.convergence)
    here = problem.oracle.coordinates(np.asarray(fit.theta, float))
    peak = problem.oracle.maximum(np.random.default_rng(1), 4, [here])
    assert fit.loglik >= peak.loglik - 1e-6


@pytest.mark.parametrize("fixed", ["1", "f", "x"])
def test_start_values_of_precise_records_are_not_those_of_the_others(fixed):
    """A mean of imprecise records is none of the precise ones:
    their squares about it would be a million times too large."""
    rng = np.random.default_rng(3)
    f, g, x = rng.integers(0, 2, 60), rng.integers(0, 10, 60), rng.normal(size=60)
    y = 5.0 + rng.normal(size=60) * np.where(f == 0, 1e4, 1.0)
    d = pd.DataFrame({"y": y, "f": f.astype(str), "g": g.astype(str), "x": x})
    equations = rb.MixedModel(f"y ~ {fixed} + (1 | g)", d, residual="diag(f | units)")._equations
    assert 2 * start_values(equations, residual_variance(equations), np.full(3, np.nan), np.zeros(3, bool))[1:] == (
        pytest.approx([1e8, 1.0], rel=0.8)
    )
    unit = unit_matrices(equations, residual_variance(equations))[0][0, 0]
    assert 1.0 < unit < 6.0


# -- units of the data -------------------------------------------------------------------------


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_units_of_the_response_and_of_the_relationship_change_nothing(keyword):
    d, K = records(1)
    formula, odd = f"y ~ 1 + {term(keyword, 'vm(g, K)')}", KEYWORDS.index(keyword) % 2
    options = {"residual": ("units", "diag(f | units)")[odd], "engine": ("dense", "sparse")[odd]}
    reference = rb.MixedModel(formula, d, {"K": K}, **options).fit()
    for k in (-8, 8):
        other = rb.MixedModel(formula, d.assign(y=d["y"] * 10.0**k), {"K": K}, **options).fit()
        same_fit(other, reference, -(len(d) - 1) * k * LN10)
    for k in (-8, 5):
        same_fit(rb.MixedModel(formula, d, {"K": K * 10.0**k}, **options).fit(), reference)


@pytest.mark.parametrize("given", ["K", "inverse", "singular"])
@pytest.mark.parametrize("k", [-8, 8])
def test_units_of_a_relationship_in_any_form(given, k):
    d, K = records(2)
    if given == "singular":
        half = np.random.default_rng(1).normal(size=(len(K), 4))
        K = pd.DataFrame(half @ half.T, K.index, K.columns)
    fits = []
    for c in (1.0, 10.0**k):
        matrix = np.linalg.inv(K) / c if given == "inverse" else K.to_numpy() * c
        R = rb.Relationship(matrix, labels=K.index, inverse=given == "inverse")
        fits.append(rb.MixedModel("y ~ 1 + (1 | vm(g, R))", d, {"R": R}, residual="diag(f | units)").fit())
    same_fit(fits[1], fits[0])


@pytest.mark.parametrize("keyword", ["us", "diag", "csh", "corgh", "rr"])
@pytest.mark.parametrize("residual", ["units", "diag(f | units)"])
def test_units_of_a_covariate_with_random_slopes(keyword, residual):
    d, _ = records(3)
    formula = f"y ~ 1 + {keyword}(1 + x | g{', k=1' if keyword == 'rr' else ''})"
    reference = rb.MixedModel(formula, d, residual=residual).fit()
    for k in (-8, -5, 5, 8):
        same_fit(rb.MixedModel(formula, d.assign(x=d["x"] * 10.0**k), residual=residual).fit(), reference)


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_units_of_weights_over_six_orders_of_magnitude(keyword):
    d, _ = records(4)
    formula, residual = f"y ~ 1 + {term(keyword, 'g')}", ("units", "diag(f | units)")[KEYWORDS.index(keyword) % 2]
    reference = rb.MixedModel(formula, d, residual=residual, weights="w").fit()
    for k in (-8, 8):
        same_fit(rb.MixedModel(formula, d.assign(w=d["w"] * 10.0**k), residual=residual, weights="w").fit(), reference)


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("keyword", ["us", "diag", "csh", "corgh", "rr"])
def test_units_of_one_trait(keyword, engine):
    rng, q = np.random.default_rng(5), 30
    A = 0.5 * np.eye(q) + 0.5 * (np.arange(q)[:, None] // 3 == np.arange(q) // 3)
    labels = [f"a{i}" for i in range(q)]
    Y = np.linalg.cholesky(A) @ rng.normal(size=(q, 2)) @ np.array([[1, 0.6], [0, 0.8]]) + rng.normal(size=(q, 2))
    d, K = pd.DataFrame({"a": labels, "p": Y[:, 0], "s": Y[:, 1]}), pd.DataFrame(A, labels, labels)
    formula = f"c(p, s) ~ 0 + trait + {keyword}(trait | vm(a, K){', k=1' if keyword == 'rr' else ''})"
    residual = f"{'us' if keyword == 'rr' else keyword}(trait | units)"
    reference = rb.MixedModel(formula, d, {"K": K}, residual=residual, engine=engine).fit()
    for k in (-8, 6):
        other = rb.MixedModel(formula, d.assign(s=d["s"] * 10.0**k), {"K": K}, residual=residual, engine=engine).fit()
        same_fit(other, reference, -(q - 1) * k * LN10)


# -- the way up from a variance of zero --------------------------------------------------------


@pytest.mark.parametrize("keyword", ["cs", "ar1", "toep", "corg", "exp", "csh", "ar1h"])
@pytest.mark.parametrize("seed", range(3))
def test_no_correlation_rises_faster_from_a_variance_of_zero_than_the_one_taken(keyword, seed):
    rng = np.random.default_rng(seed)
    structure = STRUCTURES[keyword](["a", "b", "c", "d"], np.array([1.0, 2.0, 4.0, 7.0]) if keyword == "exp" else None)
    S = rng.normal(size=(4, 4))
    S, scale = S + S.T, 10.0 ** rng.uniform(-2, 2, 4)
    theta = structure.start(np.eye(4))
    theta[structure.variances] = 0.0
    lifted = structure.lifted(theta, S, scale, np.ones(len(theta), bool))
    if not np.any(lifted[structure.variances]):
        pytest.skip("no direction rises")
    size = np.linalg.norm(np.sqrt(np.diag(structure.covariance(lifted))) / scale)
    mine = np.sum(S * structure.covariance(lifted)) / size**2
    most, tried = -np.inf, 0
    alike = np.count_nonzero(structure.variances) == 1
    while tried < 300:
        other = lifted.copy()
        bounded = np.isfinite(structure.upper)
        other[bounded] = rng.uniform(structure.lower[bounded], structure.upper[bounded])
        other[~bounded] = 1.0 if alike else (scale * np.abs(rng.normal(size=4)) * rng.integers(0, 2, 4)) ** 2
        sigma = structure.covariance(other)
        if not structure.feasible(other) or not sigma.any():
            continue
        tried += 1
        most = max(most, np.sum(S * sigma) / np.sum(np.diag(sigma) / scale**2))
    assert mine >= most - 1e-4 * abs(most)


def test_the_other_sign_of_a_correlation_is_tried_where_the_variance_between_is_zero():
    """With no variance at the second time r and −r are the same Σ, but only from r does ℓ rise with that variance."""
    rng = np.random.default_rng(2)
    q, t = 40, 3
    L = np.linalg.cholesky(0.9 ** np.abs(np.subtract.outer(np.arange(3.0), np.arange(3.0))))
    g, time = np.repeat(np.arange(q), t), np.tile(np.arange(t), q)
    d = pd.DataFrame({"g": g.astype(str), "time": time, "y": (rng.normal(size=(q, t)) @ L.T * [2, 0.5, 2]).ravel()})
    d["y"] += rng.normal(size=q * t)
    model = rb.MixedModel("y ~ 1 + ar1h(time | g)", d)
    free = model.fit()
    names = list(free.variance_components["parameter"][:-1])
    start = dict(zip(names, [4.0, 0.0, 4.0, -0.9], strict=True))
    fit = model.fit(start={"ar1h(time | g)": start, "residual": 1.0})
    assert fit.converged
    assert fit.loglik == pytest.approx(free.loglik, abs=1e-6)
    assert free.theta[-2] > 0.5


@pytest.mark.parametrize(("ratio", "number"), [(10.0, 1), (100.0, 1)])
def test_two_factors_of_which_one_vanishes_end_where_one_does(ratio, number):
    """Beside a column of loadings near zero the average information is out by orders of magnitude:
    differences of the score are not."""
    problem = scale_problem("rr", ratio, number)
    assert "k=2" in problem.formula
    two = problem.model().fit(problem.method)
    one = rb.MixedModel(problem.formula.replace("k=2", "k=1"), problem.data, residual=problem.residual).fit(
        problem.method
    )
    assert two.converged, str(two.convergence)
    assert two.loglik >= one.loglik - 1e-7
