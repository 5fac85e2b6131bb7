"""Predictions for the data of the fit and for new records, with standard errors against the dense oracle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from equations.models import animals, case, field

import remlblup as rb


def fitted(name: str):
    c = case(name)
    return c, c.model.solve(c.mapping(c.points[0]))


@pytest.mark.parametrize("name", ["id", "crossed", "us2", "site", "vm", "vm_us", "two_us", "wide"])
def test_the_data_of_the_fit_give_the_fitted_values(name):
    c, solved = fitted(name)
    frame = c.model.specification.records.frame
    own, again = solved.predict(), solved.predict(frame)
    assert list(own.columns) == ["prediction", "std_error"]
    np.testing.assert_allclose(own["prediction"], solved.fitted, rtol=1e-11)
    pd.testing.assert_frame_equal(own, again, rtol=1e-9)
    assert own.index.equals(frame.index)


@pytest.mark.parametrize("name", ["id", "crossed", "us2", "us3", "site", "vm", "vm_us", "two_us", "wide"])
def test_standard_errors_against_the_oracle(name):
    c, solved = fitted(name)
    error = c.oracle.joint_error(c.points[0])
    W = np.hstack([c.oracle.X, *[z for t in c.oracle.terms for z in t.Z]])
    np.testing.assert_allclose(solved.predict()["std_error"], np.sqrt(np.einsum("ni,ij,nj->n", W, error, W)), rtol=1e-8)


def test_include_chooses_the_terms():
    c, solved = fitted("crossed")
    theta = c.points[0]
    fixed = c.oracle.X @ c.oracle.beta(theta)
    G, H = c.oracle.terms
    u, v = c.oracle.u(0, theta)[0], c.oracle.u(1, theta)[0]
    predict = lambda include: solved.predict(include=include)["prediction"].to_numpy()  # noqa: E731
    np.testing.assert_allclose(predict([]), fixed, rtol=1e-10)
    np.testing.assert_allclose(predict(["g"]), fixed + G.Z[0] @ u, rtol=1e-10)
    np.testing.assert_allclose(predict("h"), fixed + H.Z[0] @ v, rtol=1e-10)
    np.testing.assert_allclose(predict(["(1 | h)", "g"]), predict(None), rtol=1e-12)
    cov = c.oracle.beta_covariance(theta)
    se = solved.predict(include=[])["std_error"]
    np.testing.assert_allclose(se, np.sqrt(np.einsum("ni,ij,nj->n", c.oracle.X, cov, c.oracle.X)), rtol=1e-9)
    with pytest.raises(rb.VarianceError, match=r"'site'"):
        solved.predict(include=["site"])
    with pytest.raises(rb.DataError, match=r"include="):
        solved.predict(include=3)


def test_excluded_terms_need_no_columns():
    _, solved = fitted("crossed")
    new = field(11)[["x", "g"]]
    np.testing.assert_allclose(
        solved.predict(new, include=["g"])["prediction"], solved.predict(include=["g"])["prediction"]
    )
    with pytest.raises(rb.DataError, match=r"'h'"):
        solved.predict(new)


def test_new_levels_of_a_random_factor():
    c, solved = fitted("us2")
    theta = c.points[0]
    new = pd.DataFrame({"x": [0.5, 0.5, -1.0], "g": ["g1", "gnew", "other"]}, index=["a", "b", "c"])
    with pytest.raises(rb.DataError, match=r"'1 \+ x \| g'.*'gnew', 'other'"):
        solved.predict(new)
    out = solved.predict(new, new_levels="population")
    assert list(out.index) == ["a", "b", "c"]
    beta, cov, sigma = c.oracle.beta(theta), c.oracle.beta_covariance(theta), c.oracle.sigma(0, theta)
    for row, x in (("b", 0.5), ("c", -1.0)):
        z = np.array([1, x])
        assert out["prediction"][row] == pytest.approx(z @ beta, rel=1e-10)
        assert out["std_error"][row] == pytest.approx(np.sqrt(z @ (cov + sigma) @ z), rel=1e-10)
    known = solved.predict(new.iloc[:1])
    assert out["prediction"]["a"] == pytest.approx(known["prediction"]["a"], rel=1e-13)
    assert out["std_error"]["a"] == pytest.approx(known["std_error"]["a"], rel=1e-12)


def test_animals_without_records_are_predicted():
    c, solved = fitted("vm")
    ids = animals(5)[3]
    recorded = set(c.model.specification.records.frame["animal"])
    unseen = next(k for k in range(len(ids) - 1, 0, -1) if ids[k] not in recorded)
    new = pd.DataFrame({"x": [0.0], "animal": [ids[unseen]]})
    out = solved.predict(new, include=["animal"])
    theta = c.points[0]
    assert out["prediction"][0] == pytest.approx(c.oracle.beta(theta)[0] + c.oracle.u(0, theta)[0, unseen], rel=1e-9)


def test_new_levels_of_a_fixed_factor_are_refused():
    _, solved = fitted("wide")
    new = field(11).assign(site=lambda d: d["site"].where(d.index != 4, "d"))
    with pytest.raises(rb.DataError, match=r"'site'.*'d'"):
        solved.predict(new)


@pytest.mark.parametrize(
    "term", ["C(site)", "C(site, contr.sum)", "C(site, contr.treatment('c'))", "site:x", "x * C(site)"]
)
def test_new_levels_of_a_coded_fixed_factor_are_refused(term):
    fit = rb.MixedModel(f"y ~ {term} + (1 | g)", field(11)).fit()
    with pytest.raises(rb.DataError, match=r"site.*'d'"):
        fit.predict(field(11).head(3).assign(site="d"))


def test_a_subset_of_the_levels_keeps_the_coding():
    _, solved = fitted("wide")
    d = field(11)
    d = d[d["site"] == "c"]
    np.testing.assert_allclose(solved.predict(d)["prediction"], solved.fitted.loc[d.index], rtol=1e-11)


@pytest.mark.parametrize(
    "formula", ["y ~ poly(x, 2) + (1 | g)", "y ~ bs(x, df=4) + (1 | g)", "y ~ scale(x) + (poly(x, 2) || g)"]
)
def test_stateful_transforms_remember_the_data_of_the_fit(formula):
    d = field(11)
    solved = rb.MixedModel(formula, d).fit()
    part = d.iloc[[3, 10, 11]]
    np.testing.assert_allclose(solved.predict(part)["prediction"], solved.fitted.loc[part.index], rtol=1e-9)


def test_aliased_columns_and_ill_conditioned_covariates():
    rng = np.random.default_rng(1)
    d = pd.DataFrame({"year": np.repeat(np.arange(1990.0, 2010), 3), "g": np.tile(["a", "b", "c"], 20)})
    d["y"], d["twice"] = rng.normal(size=60), 2 * d["year"]
    fit = rb.MixedModel("y ~ year + twice + I(year**2) + (1 | g)", d).fit()
    assert fit.aliased == ("twice",)
    np.testing.assert_allclose(fit.predict(d)["prediction"], fit.fitted, rtol=1e-6, atol=1e-8)


def test_missing_values_and_columns_in_new_data():
    _, solved = fitted("crossed")
    new = field(11).head(4)
    new.loc[2, "x"] = np.nan
    with pytest.raises(rb.DataError, match=r"missing.*2"):
        solved.predict(new)
    with pytest.raises(rb.DataError, match=r"'x'"):
        solved.predict(new.drop(columns="x"))


def test_without_standard_errors():
    _, solved = fitted("id")
    assert list(solved.predict(se=False).columns) == ["prediction"]


def test_a_model_from_matrices_has_no_new_data():
    c = case("id")
    model = rb.MixedModel.from_matrices(c.oracle.y, c.oracle.X, [c.oracle.terms[0].Z[0]])
    solved = model.solve({"u1": 1.7, "residual": 1.2})
    np.testing.assert_allclose(solved.predict()["prediction"], solved.fitted)
    with pytest.raises(rb.DataError, match=r"matrices"):
        solved.predict(pd.DataFrame({"x": [1.0]}))


def test_new_data_as_a_mapping():
    _, solved = fitted("us2")
    out = solved.predict({"x": [0.5], "g": ["g1"]})
    assert out["prediction"][0] == pytest.approx(
        solved.predict(pd.DataFrame({"x": [0.5], "g": ["g1"]}))["prediction"][0]
    )


def crossed_factors() -> pd.DataFrame:
    rng = np.random.default_rng(12)
    d = pd.DataFrame(
        {
            "gen": np.tile(list("ABCD"), 18),
            "env": np.repeat(list("pqr"), 24),
            "yr": np.tile([1, 1, 1, 1, 2, 2, 2, 2], 9),
            "x": rng.normal(size=72),
        }
    )
    cell = d.groupby(["gen", "env", "yr"]).ngroup().to_numpy()
    return d.assign(
        y=rng.normal(size=72) + rng.normal(size=24)[cell], z=rng.normal(size=72) + rng.normal(size=24)[cell]
    )


ORDERS = [
    ("y ~ x + (1 | gen:env)", "gen:env", ["env:gen", "gen:env", "env : gen", "(1 | env:gen)", "1 | env:gen"]),
    ("y ~ x + (1 | env:yr:gen)", "env:yr:gen", ["gen:yr:env", "yr:gen:env", "gen:env:yr", "(1|yr:env:gen)"]),
    ("y ~ x + (1 | env/gen)", "env:gen", ["gen:env"]),
    ("y ~ x + (1 + x || gen:env)", "1 + x || gen:env", ["1 + x || env:gen", "(1+x||env:gen)", "env:gen"]),
    ("y ~ x + diag(yr | gen:env)", "diag(yr | gen:env)", ["diag(yr | env:gen)", "env:gen", "(diag(yr|env:gen))"]),
    ("y ~ x + diag(yr:env | gen)", "diag(yr:env | gen)", ["diag(env:yr | gen)", "gen"]),
    ("c(y, z) ~ trait + (1 | trait:gen)", "trait:gen", ["gen:trait", "(1 | gen:trait)"]),
    ("c(y, z) ~ trait + us(trait | env:gen)", "us(trait | env:gen)", ["us(trait | gen:env)", "gen:env"]),
]


@pytest.mark.parametrize("formula, name, others", ORDERS)
def test_the_order_of_crossed_factors_does_not_matter_in_a_name(formula, name, others):
    model = rb.MixedModel(formula, crossed_factors())
    values = {
        t: 1.0 if s.n_parameters == 1 else np.eye(s.size)
        for t, s in zip(model.specification.parameters.terms, model.specification.parameters.structures, strict=True)
    }
    solved = model.solve(values | {"residual": 1.0})
    expected = solved.predict(include=[name])
    assert not expected["prediction"].equals(solved.predict(include=[])["prediction"])
    for other in others:
        pd.testing.assert_frame_equal(solved.predict(include=[other]), expected)
        pd.testing.assert_frame_equal(solved.blup(other), solved.blup(name))
        k = model.specification.parameters.index(name)
        own = model.specification.parameters.terms[k]
        renamed = {other if t == own else t: v for t, v in values.items()}
        assert model.loglik(renamed | {"residual": 1.0}) == solved.loglik


def test_two_terms_that_differ_in_the_order_of_their_factors_keep_their_names():
    parameters = rb.MixedModel("y ~ 1 + (1 | gen:env) + (1 | env:gen)", crossed_factors()).specification.parameters
    assert (parameters.index("gen:env"), parameters.index("env:gen")) == (0, 1)


def test_functions_know_every_order():
    fit = rb.MixedModel("y ~ x + (1 | gen:env)", crossed_factors()).fit()
    assert float(fit.function("env:gen / (env:gen + residual)")) == float(
        fit.function("gen:env / (gen:env + residual)")
    )
