"""Optima with a singular correlation matrix: reached, labelled,
and no higher likelihood elsewhere on a dense search."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from oracle import GeneralOracle, Part, dummies, symmetric_root

import remlblup as rb

ONE = np.ones((3, 3))
TRUTHS = {
    "one": ONE,
    "near": 0.95 * np.ones((4, 4)) + 0.05 * np.eye(4),
    "opposed": 1.5 * np.eye(3) - 0.5 * ONE,
    "wave": np.cos(0.9 * np.subtract.outer(np.arange(4), np.arange(4))),
    "slow wave": 0.98 * np.cos(0.15 * np.subtract.outer(np.arange(4), np.arange(4))) + 0.02 * np.eye(4),
    "unequal": np.outer([1.0, 0.8, 0.6, 1.2], [1.0, 0.8, 0.6, 1.2]),
}


@cache
def plots(truth: str, seed: int) -> pd.DataFrame:
    """15 varieties, two plots at each site, effects of the given covariance."""
    rng = np.random.default_rng(seed)
    sigma = TRUTHS[truth]
    t, q = len(sigma), 15
    u = rng.normal(size=(q, t)) @ symmetric_root(sigma)
    g, site = np.repeat(np.arange(q), 2 * t), np.tile(np.repeat(np.arange(t), 2), q)
    return pd.DataFrame(
        {
            "g": g,
            "site": pd.Categorical.from_codes(site, list("abcd"), ordered=True),
            "y": 1 + u[g, site] + rng.normal(0, 0.7, len(g)),
        }
    )


@cache
def fitted(keyword: str, truth: str, seed: int) -> rb.Fit:
    return rb.MixedModel(f"y ~ site + {keyword}(site | g)", plots(truth, seed)).fit()


def pairs(t: int, rho) -> np.ndarray:
    R = np.eye(t, dtype=np.result_type(rho, float))
    R[np.tril_indices(t, -1)] = rho
    return R + np.tril(R, -1).T


def lags(t: int, rho) -> np.ndarray:
    return np.r_[1.0, rho][np.abs(np.subtract.outer(np.arange(t), np.arange(t)))]


def oracle(keyword: str, truth: str, seed: int) -> GeneralOracle:
    d = plots(truth, seed)
    t = len(TRUTHS[truth])
    form = {"corg": pairs, "toep": lags}[keyword]
    codes = d["site"].cat.codes.to_numpy()
    G, sites = dummies(d["g"].to_numpy()), dummies(codes)
    n_rho = t * (t - 1) // 2 if keyword == "corg" else t - 1
    part = Part([G * sites[:, [i]] for i in range(t)], np.eye(G.shape[1]), lambda p: p[0] * form(t, p[1:]), 1 + n_rho)
    X = np.column_stack([np.ones(len(d)), sites[:, 1:]])
    return GeneralOracle(d["y"].to_numpy(), X, [part], lambda phi: phi[0] * np.eye(len(d)))


def searched(keyword: str, truth: str, seed: int, starts: int) -> float:
    """The largest ℓ in coordinates without bounds: rows of R = LL' of any length, or weights of cosines."""
    c, t = oracle(keyword, truth, seed), len(TRUTHS[truth])
    rng = np.random.default_rng(seed)
    size = t * t if keyword == "corg" else 8 * t

    def theta(z):
        if keyword == "corg":
            rows = z[:size].reshape(t, t)
            rows = rows / np.sqrt(np.sum(rows**2, axis=1))[:, None]
            rho = (rows @ rows.T)[np.tril_indices(t, -1)]
        else:
            rho = np.cos(np.outer(np.arange(1, t), z[4 * t : size])) @ (z[: 4 * t] ** 2 / np.sum(z[: 4 * t] ** 2))
        return np.r_[np.exp(z[size]), rho, np.exp(z[size + 1])]

    def negative(z):
        at = theta(z)
        slopes = np.column_stack([theta(z + 1e-30j * e).imag / 1e-30 for e in np.eye(len(z))])
        return -c.loglik(at), -(c.score(at) @ slopes)

    found = []
    for _ in range(starts):
        z = np.r_[rng.normal(size=size), rng.normal(-0.5, 0.5, 2)]
        if keyword == "toep":
            z[4 * t : size] = np.linspace(0.0, np.pi, 4 * t)
        options = {"maxiter": 300, "ftol": 1e-13, "gtol": 1e-6}
        found.append(scipy.optimize.minimize(negative, z, jac=True, method="L-BFGS-B", options=options).fun)
    return -min(found)


CASES = [(k, truth, seed) for k in ("corg", "toep") for truth in TRUTHS for seed in (0, 1, 2)]


@pytest.mark.parametrize(("keyword", "truth", "seed"), CASES)
def test_a_singular_optimum_is_converged_and_labelled(keyword, truth, seed):
    fit = fitted(keyword, truth, seed)
    assert fit.converged, str(fit.convergence)
    assert len(fit.history) < 60
    R = fit.correlation(f"{keyword}(site | g)").to_numpy()
    singular = np.linalg.eigvalsh(R)[0] < 1e-8
    components = fit.variance_components
    correlations = components["parameter"].str.startswith("cor")
    assert set(components.loc[correlations, "status"]) == {"boundary" if singular else "free"}
    assert components.loc[correlations, "std_error"].isna().all() == singular
    assert components.loc[~correlations, "std_error"].notna().all()
    assert bool(fit.convergence.boundary) == singular


def test_these_data_do_reach_the_edge():
    edge = sum(bool(fitted(*c).convergence.boundary) for c in CASES)
    assert edge > 20


@pytest.mark.parametrize(("keyword", "truth", "seed"), CASES[::4])
def test_no_search_of_the_oracle_finds_more(keyword, truth, seed):
    fit = fitted(keyword, truth, seed)
    best = searched(keyword, truth, seed, starts=3)
    assert fit.loglik >= best - 1e-6
    assert fit.loglik <= best + 1e-4  # and the search is worth its name
    assert fit.loglik == pytest.approx(oracle(keyword, truth, seed).loglik(fit.theta), abs=1e-7)


@pytest.mark.parametrize("truth", TRUTHS)
@pytest.mark.parametrize("seed", [0, 1])
def test_corgh_ends_where_us_does(truth, seed):
    d = plots(truth, seed)
    fit, us = (rb.MixedModel(f"y ~ site + {k}(site | g)", d).fit() for k in ("corgh", "us"))
    assert fit.converged and us.converged
    assert fit.loglik == pytest.approx(us.loglik, abs=1e-7)
    np.testing.assert_allclose(fit.covariance("corgh(site | g)"), us.covariance("us(site | g)"), atol=2e-4)
    assert fit.loglik == pytest.approx(
        rb.MixedModel("y ~ site + corgh(site | g)", d).loglik(
            {"corgh(site | g)": fit.covariance("corgh(site | g)").to_numpy(), "residual": fit.theta[-1]}
        ),
        abs=1e-6,
    )
    assert bool(fit.convergence.boundary) == bool(us.convergence.boundary)
    history = fit.history
    np.testing.assert_array_equal(history.iloc[-1, -len(fit.theta) :].to_numpy(float), fit.theta)
    status = dict(zip(fit.variance_components["parameter"], fit.status, strict=True))
    assert all((s == "boundary") == bool(us.convergence.boundary) for p, s in status.items() if p.startswith("cor("))


def test_standard_errors_of_corgh_are_those_of_us():
    d = plots("near", 0)
    d = d.assign(y=d["y"] + np.random.default_rng(5).normal(size=60)[d["g"] * 4 + d["site"].cat.codes])
    fit, us = (rb.MixedModel(f"y ~ site + {k}(site | g)", d).fit() for k in ("corgh", "us"))
    assert set(fit.status) == set(us.status) == {"free"}
    np.testing.assert_allclose(
        fit.correlation_errors("corgh(site | g)"), us.correlation_errors("us(site | g)"), rtol=1e-5
    )
    variances = [fit.variance_components.set_index("parameter").loc[f"var({s})", "std_error"] for s in "abcd"]
    np.testing.assert_allclose(
        variances,
        [us.variance_components.set_index("parameter").loc[f"var({s})", "std_error"] for s in "abcd"],
        rtol=1e-5,
    )


def test_corgh_takes_a_start_in_part_and_holds_what_is_held():
    d = plots("near", 1)
    model = rb.MixedModel("y ~ site + corgh(site | g)", d)
    free = model.fit()
    part = model.fit(start={"corgh(site | g)": {"cor(a, b)": 0.4}})
    assert part.history.iloc[0]["corgh(site | g): cor(a, b)"] == pytest.approx(0.4, abs=1e-12)
    assert part.loglik == pytest.approx(free.loglik, abs=1e-8)
    held = model.fit(fix={"corgh(site | g)": {"cor(a, b)": 0.3}}, max_iterations=30)  # it ends on an edge, slowly
    assert dict(zip(held.variance_components["parameter"], held.status, strict=True))["cor(a, b)"] == "fixed"
    assert held.loglik < free.loglik
    scale = model.fit(fix={"corgh(site | g)": {"var(a)": 1.0}})
    assert scale.converged, str(scale.convergence)
    assert scale.covariance("corgh(site | g)").iloc[0, 0] == 1.0


@pytest.mark.parametrize("keyword", ["corg", "toep", "corgh"])
def test_a_start_on_the_edge_leaves_it(keyword):
    d = plots("near", 0)
    d = d.assign(y=d["y"] + np.random.default_rng(5).normal(size=60)[d["g"] * 4 + d["site"].cat.codes])
    model = rb.MixedModel(f"y ~ site + {keyword}(site | g)", d)
    free = model.fit()
    assert set(free.status) == {"free"}
    fit = model.fit(start={f"{keyword}(site | g)": np.ones((4, 4))})
    assert fit.converged
    assert fit.loglik == pytest.approx(free.loglik, abs=1e-7)


def test_a_stored_fit_on_the_edge_comes_back(tmp_path):
    for keyword in ("corg", "toep", "corgh"):
        fit = fitted(keyword, "one", 0)
        fit.save(tmp_path / keyword)
        again = rb.load(tmp_path / keyword)
        assert again.status == fit.status
        np.testing.assert_allclose(again.variance_covariance, fit.variance_covariance, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("term", ["(1 + x | g)", "us(f | g)", "corgh(f | g)", "csh(f | g)"])
def test_a_matrix_that_vanishes_is_zero(term):
    """Effects of groups that are spread less than chance would: exactly nothing, on the boundary, without errors."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"g": np.repeat(np.arange(15), 8), "x": rng.standard_normal(120), "f": np.tile(["a", "b"], 60)})
    e = rng.standard_normal(120)
    cell = data.groupby(["g", "f"], sort=False).ngroup().to_numpy()
    data["y"] = e - 0.95 * (np.bincount(cell, e) / np.bincount(cell))[cell]
    table = rb.MixedModel(f"y ~ f + {term}", data).fit().variance_components
    variances = table[(table["term"] != "residual") & table["parameter"].str.startswith("var")]
    assert len(variances) == 2
    assert (variances["estimate"] == 0.0).all() and (variances["status"] == "boundary").all()
    assert variances["std_error"].isna().all()
