"""Points where the score is zero and ℓ is not largest: empty columns of loadings, void correlations,
other maxima of fa."""

from __future__ import annotations

import contextlib

import numpy as np
import pandas as pd
import pytest

import remlblup as rb


def sites(seed: int, q: int, t: int = 5, k: int = 2, psi: float = 0.3, sd: float = 1.0) -> pd.DataFrame:
    """q varieties, two plots at each of t sites, k factors."""
    rng = np.random.default_rng(seed)
    gamma = rng.normal(size=(t, k))
    sigma = gamma @ gamma.T + psi * np.diag(rng.uniform(0.2, 1.0, t))
    u = rng.normal(size=(q, t)) @ np.linalg.cholesky(sigma + 1e-12 * np.eye(t)).T
    g, site = np.repeat(np.arange(q), 2 * t), np.tile(np.repeat(np.arange(t), 2), q)
    return pd.DataFrame(
        {
            "g": g,
            "site": pd.Categorical.from_codes(site, list("abcdefgh"[:t]), ordered=True),
            "y": 1 + u[g, site] + rng.normal(0, sd, len(g)),
        }
    )


@pytest.mark.parametrize("keyword", ["fa", "rr"])
@pytest.mark.parametrize("seed", [1, 3])
def test_one_factor_and_a_column_of_zeros_is_no_maximum_of_two(keyword, seed):
    d = sites(seed, 25, psi=0.3 if keyword == "fa" else 0.0)
    one, model = (rb.MixedModel(f"y ~ site + {keyword}(site | g, k={k})", d) for k in (1, 2))
    one = one.fit()
    names = [p for t, p in model.specification.parameters.pairs if t != "residual"]
    known = dict(zip(one.variance_components["parameter"], one.theta, strict=True))
    start = {f"{keyword}(site | g, k=2)": {n: known.get(n, 0.0) for n in names}, "residual": one.theta[-1]}
    fit, free = model.fit(start=start), model.fit()
    assert "escape" in set(fit.history["step"])
    assert fit.converged, str(fit.convergence)
    assert free.loglik > one.loglik + 0.1
    assert fit.loglik == pytest.approx(free.loglik, abs=1e-6)


@pytest.mark.parametrize("seed", [7, 9, 10])
def test_two_factors_where_specific_variances_go_to_zero(seed):
    """Seed 7 stalled and seed 9 took 120 iterations without the curvature of ΓΓ'; seed 10 ended at another maximum."""
    model = rb.MixedModel("y ~ site + fa(site | g, k=2)", sites(seed, 12, sd=1.5))
    fit = model.fit()
    assert fit.converged, str(fit.convergence)
    assert len(fit.history) < 40
    names = [p for t, p in model.specification.parameters.pairs if t != "residual"]
    rng = np.random.default_rng(seed)
    others = []
    for _ in range(4):
        values = {n: float(rng.uniform(0.05, 1.0) if n.startswith("specific") else rng.normal()) for n in names}
        others.append(model.fit(start={"fa(site | g, k=2)": values, "residual": 1.0}).loglik)
    assert fit.loglik >= max(others) - 1e-6


def test_a_variance_of_zero_is_tried_at_other_correlations():
    """ℓ rises from a zero variance at a correlation of one only, and the correlation stopped short of it."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        g, site = np.repeat(np.arange(20), 6), np.tile(np.repeat(np.arange(3), 2), 20)
        u = 0.25 * rng.normal(size=20)
        d = pd.DataFrame(
            {
                "g": g,
                "site": pd.Categorical.from_codes(site, list("abc"), ordered=True),
                "y": u[g] + rng.normal(size=120),
            }
        )
        model = rb.MixedModel("y ~ site + ar1(site | g)", d)
        fit = model.fit(starts=1)  # what one search does
        one = rb.MixedModel("y ~ site + (1 | g)", d).fit()  # the same with a correlation of one
        assert fit.converged, (seed, str(fit.convergence))
        assert fit.loglik >= one.loglik - 1e-7
        if fit.theta[0] == 0.0:
            assert fit.status[:2] == ("boundary", "boundary")
            assert fit.variance_components["std_error"].iloc[:2].isna().all()
        found += "escape" in set(fit.history["step"])
    assert found


@pytest.mark.parametrize(
    "term", ["csh(site | g)", "ar1(site | g)", "fa(site | g, k=1)", "corg(site | g)", "toep(site | g)"]
)
@pytest.mark.parametrize("algorithm", ["em", "px-em"])
def test_em_of_a_structure_not_linear_in_its_parameters_climbs_to_the_optimum(term, algorithm):
    model = rb.MixedModel(f"y ~ site + {term}", sites(4, 60, t=4, k=1, psi=1.0, sd=0.5))
    auto, fit = model.fit(), model.fit(algorithm=algorithm, max_iterations=200)
    assert set(auto.status) == {"free"}
    assert np.all(np.diff(fit.history["loglik"]) >= -1e-9)
    assert fit.converged, str(fit.convergence)
    assert fit.loglik == pytest.approx(auto.loglik, abs=1e-7)


def test_px_em_needs_fewer_rounds_than_em():
    rounds = {}
    model = rb.MixedModel("y ~ site + csh(site | g)", sites(4, 60, t=4, k=1, psi=1.0, sd=1.0))
    for algorithm in ("em", "px-em"):
        rounds[algorithm] = len(model.fit(algorithm=algorithm).history)
    assert rounds["px-em"] < rounds["em"]


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_effects_among_the_fixed_ones_leave_no_line_to_search(method):
    """What X leaves of Z is rounding error, which is no eigenvalue."""
    rng = np.random.default_rng(0)
    d = pd.DataFrame(
        {"y": rng.normal(12, 2, 60), "trt": np.tile(list("abc"), 20), "g": np.repeat(list("abcdefghijkl"), 5)}
    )
    with pytest.warns(rb.ConvergenceWarning) if method == "REML" else contextlib.nullcontext():
        fit = rb.MixedModel("y ~ g + g:trt + (1 | g)", d).fit(method)
    assert fit.converged == (method == "ML")
    assert method == "REML" or fit.variance_components["estimate"].iloc[0] == 0.0
