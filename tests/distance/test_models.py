"""Models with covariances by distance: against V written out, against nlme, and as their verdicts tell."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from oracle import differences as slopes_of

import remlblup as rb
from distance.dense import correlation, differences, loglik

OF_TWO = ["exp", "gau", "sph", "ratio", "mat"]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    n = 60
    frame = pd.DataFrame({"x": rng.uniform(0, 10, n), "y": rng.uniform(0, 6, n), "trial": rng.choice(list("abc"), n)})
    frame.loc[n - 6 :, ["x", "y", "trial"]] = frame.loc[:5, ["x", "y", "trial"]].to_numpy()  # places with two records
    frame = frame.astype({"x": float, "y": float})
    return frame.assign(z=rng.normal(size=n), w=rng.normal(size=n) + np.sin(frame["x"]) + np.cos(frame["y"]))


def together(frame, group):
    return 1.0 if group == "1" else frame["trial"].to_numpy()[:, None] == frame["trial"].to_numpy()


def design(frame):
    return np.c_[np.ones(len(frame)), frame["z"]]


@pytest.mark.parametrize("keyword", OF_TWO)
@pytest.mark.parametrize("group", ["1", "trial"])
def test_residual_and_random_term_are_the_matrix_written_out(data, keyword, group):
    nu = {"nu": 0.8} if keyword == "mat" else {}
    parameters = {"variance": 1.3, "range": 2.2, **nu}
    R = correlation(keyword, np.hypot(*differences(data, data, "x", "y")) / 2.2, **nu) * together(data, group)
    expected = loglik(data["w"].to_numpy(), design(data), 0.5 * np.eye(len(data)) + 1.3 * R)
    bar = "" if group == "1" else f" | {group}"
    model = rb.MixedModel("w ~ z", data, residual=f"{keyword}(x, y{bar}) + units")
    assert model.loglik({"units": 0.5, "residual": parameters}) == pytest.approx(expected, abs=1e-9)
    term = f"{keyword}(x, y | {group})"
    model = rb.MixedModel(f"w ~ z + {term}", data)
    assert model.loglik({term: parameters, "residual": 0.5}) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "parameters", [{"range(x)": 2.0, "range(y)": 1.1}, {"range": 2.0, "ratio": 0.4, "angle": 30.0}]
)
def test_anisotropy_is_the_matrix_written_out(data, parameters):
    dx, dy = differences(data, data, "x", "y")
    if "angle" in parameters:
        cos, sin = np.cos(np.pi / 6.0), np.sin(np.pi / 6.0)
        metric, h = "angle", np.hypot(cos * dx + sin * dy, (cos * dy - sin * dx) / 0.4) / 2.0
    else:
        metric, h = "each", np.hypot(dx / 2.0, dy / 1.1)
    expected = loglik(data["w"].to_numpy(), design(data), 0.5 * np.eye(len(data)) + 1.3 * correlation("sph", h))
    model = rb.MixedModel("w ~ z", data, residual=f"sph(x, y, metric={metric}) + units")
    assert model.loglik({"units": 0.5, "residual": {"variance": 1.3, **parameters}}) == pytest.approx(
        expected, abs=1e-9
    )


@pytest.mark.parametrize("residual", ["exp(x, y) | trial + units", "gau(x | trial) + units", "lin(x) + units"])
def test_other_forms_of_the_residual_are_the_matrix_written_out(data, residual):
    dx, dy = differences(data, data, "x", "y")
    same, n = together(data, "trial"), len(data)
    if residual.startswith("exp"):
        values = {
            f"{t}: {name}": v for k, t in enumerate("abc") for name, v in (("variance", 1 + k), ("range", 2 - k / 2))
        }
        each = np.array([values[f"{t}: variance"] for t in data["trial"]])
        R = same * each * np.exp(-np.hypot(dx, dy) / np.array([values[f"{t}: range"] for t in data["trial"]]))
    else:
        values = {"variance": 1.3, "range": 2.0}
        R = 1.3 * (same * np.exp(-((dx / 2.0) ** 2)) if "gau" in residual else np.maximum(1.0 - np.abs(dx) / 2.0, 0.0))
    model = rb.MixedModel("w ~ z", data, residual=residual)
    expected = loglik(data["w"].to_numpy(), design(data), 0.5 * np.eye(n) + R)
    assert model.loglik({"units": 0.5, "residual": values}) == pytest.approx(expected, abs=1e-9)


def test_small_units_are_worked_with_as_blocks():
    """Σ over few places within many subjects is inverted subject by subject; the same R either way."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 4), "x": np.tile([0.0, 1, 0, 1], 12)})
    frame = frame.assign(y=np.tile([0.0, 0, 2, 2], 12), w=rng.normal(size=48))
    model = rb.MixedModel("w ~ 1", frame, residual="sph(x, y | g)")
    assert model.describe().stats.engine != "dense" or type(model.specification.residual).__name__ == "Blocks"
    R = correlation("sph", np.hypot(*differences(frame, frame, "x", "y")) / 2.5)
    R = 1.3 * R * (frame["g"].to_numpy()[:, None] == frame["g"].to_numpy())
    expected = loglik(frame["w"].to_numpy(), np.ones((48, 1)), R)
    assert model.loglik({"residual": {"variance": 1.3, "range": 2.5}}) == pytest.approx(expected, abs=1e-9)
    assert type(model.specification.residual).__name__ == "Blocks"


@pytest.mark.parametrize(
    "residual",
    ["exp(x, y) + units", "mat(x, y) + units", "gau(x, y, metric=angle) + units", "sph(x, y) | trial + units"],
)
def test_the_score_is_the_slope_of_the_likelihood(data, residual):
    model = rb.MixedModel("w ~ z", data, residual=residual)
    equations = model._equations.searched
    from remlblup.reml.likelihood import log_likelihood
    from remlblup.reml.score import score
    from remlblup.reml.start import unit_matrices

    theta = np.concatenate([[0.4], model.specification.residual.start(1.1, np.ones(len(data)))])
    numeric = slopes_of(lambda at: log_likelihood(equations, equations.solve(at), False), theta, 1e-5)
    found = score(equations, equations.solve(theta), unit_matrices(equations, 1.0))
    np.testing.assert_allclose(found.gradient, numeric, rtol=1e-5, atol=1e-7)


# -- against nlme ------------------------------------------------------------------------------

# gls(yield ~ variety - 1, Wheat2, corr = cor…(form = ~ latitude + longitude, nugget = …)), nlme 3.1-162: logLik, range,
# nugget as a share of σ², σ.
NLME = {
    "exp(latitude, longitude)": (-549.18310564375133, 5.0906333707487157, 0.0, 7.8045903852210303),
    "gau(latitude, longitude)": (-591.30892444715494, 1.4596264070819198, 0.0, 7.3449587502693019),
    "ratio(latitude, longitude)": (-566.26065282326545, 1.5082616308987213, 0.0, 6.7218675915230959),
    "gau(latitude, longitude) + units": (-533.550856860892, 10.700576549638178, 0.261421131624423, 7.6647179811370),
    "ratio(latitude, longitude) + units": (-532.638888179039, 13.461335973250513, 0.193580174546222, 8.84683365425156),
}  # fmt: skip


@pytest.mark.parametrize("residual", NLME)
def test_wheat_as_nlme_fits_it(residual):
    value, span, nugget, sigma = NLME[residual]
    fit = rb.MixedModel("yield ~ variety - 1", rb.datasets.load("wheat2"), residual=residual).fit()
    assert fit.converged
    assert fit.loglik == pytest.approx(value, abs=1e-6)
    found = fit.variances
    assert found["residual"]["range"] == pytest.approx(span, rel=1e-5)
    assert found["residual"]["variance"] == pytest.approx((1.0 - nugget) * sigma**2, rel=1e-5)
    if nugget:
        assert found["units"] == pytest.approx(nugget * sigma**2, rel=1e-5)


@pytest.mark.parametrize("keyword", ["exp", "sph"])
def test_where_nlme_runs_off_the_likelihood_is_the_same(keyword):
    """nlme ends at ranges of 2e7 (exp) and 57,773.8 (sph) with ℓ = −533.418502, which it calls converged.

    The likelihood of the exponential has no maximum, that of the spherical function only a local one; ours is the same
    there.
    """
    model = rb.MixedModel(
        "yield ~ variety - 1", rb.datasets.load("wheat2"), residual=f"{keyword}(latitude, longitude) + units"
    )
    span, nugget, sigma = (20617222.943326186, 2.6802321469973662e-07, 6669.3411571279257)
    expected = -533.41850230024443
    if keyword == "sph":
        span, nugget, sigma, expected = (
            57773.82115087183,
            1.4345184359564896e-04,
            288.28164312934763,
            -533.41850209186555,
        )
    at = {"units": nugget * sigma**2, "residual": {"variance": (1 - nugget) * sigma**2, "range": span}}
    assert model.loglik(at) == pytest.approx(expected, abs=2e-5)  # V there has a condition of 1e10
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        fit = model.fit()
    if keyword == "exp":
        assert not fit.converged
        assert "times the extent of the places, and its variance with it" in fit.convergence.reason
        assert any("NOT CONVERGED" in str(w.message) for w in said)
    else:
        assert fit.converged
        assert "several maxima" in fit.convergence.reason


def test_with_the_range_held_the_rest_is_nlmes():
    """corExp(c(20, .2), nugget = TRUE, fixed range): the profile of ℓ, against V written out."""
    wheat = rb.datasets.load("wheat2")
    model = rb.MixedModel("yield ~ variety - 1", wheat, residual="exp(latitude, longitude) + units")
    fit = model.fit(fix={"residual": {"range": 20.0}})
    assert fit.converged
    assert fit.variances["residual"]["range"] == 20.0
    h = np.hypot(*differences(wheat, wheat, "latitude", "longitude")) / 20.0
    X = pd.get_dummies(wheat["variety"]).to_numpy(float)
    v, u = fit.variances["residual"]["variance"], fit.variances["units"]

    def value(at):
        return loglik(wheat["yield"].to_numpy(), X, at[0] * np.exp(-h) + at[1] * np.eye(len(wheat)))

    assert fit.loglik == pytest.approx(value([v, u]), abs=1e-8)
    np.testing.assert_allclose(slopes_of(value, np.array([v, u]), 1e-4), 0.0, atol=1e-5)


@pytest.mark.parametrize("extents", [50.0, 2000.0])
def test_a_range_held_far_beyond_the_places_has_not_run_off(data, extents):
    span = extents * float(np.hypot(np.ptp(data["x"]), np.ptp(data["y"])))
    model = rb.MixedModel("w ~ z", data, residual="exp(x, y) + units")
    fit = model.fit(fix={"residual": {"range": span}})
    assert fit.converged
    assert "times the extent" not in fit.convergence.reason
    at = {"units": fit.variances["units"], "residual": {**fit.variances["residual"]}}
    for factor in (0.99, 1.01):
        at["residual"]["variance"] = factor * fit.variances["residual"]["variance"]
        assert model.loglik(at) < fit.loglik


@pytest.mark.parametrize("start", [None, {"residual": {"range": 8.0}}])
def test_a_step_to_a_range_far_beyond_the_places_is_taken_back(start):
    """Without a mean the level of the records tells of the variance: ℓ has a maximum, which long steps overshoot."""
    rng = np.random.default_rng(1012)
    n = 30
    a = np.sort(rng.uniform(0.0, 1.0, n))
    span, nugget = 10.0 ** rng.uniform(0.3, 1.5) * np.ptp(a), 10.0 ** rng.uniform(-6.0, -1.0)
    h = np.abs(a[:, None] - a) / span
    y = np.linalg.cholesky(span * np.exp(-h) + nugget * np.eye(n)) @ rng.normal(size=n)
    frame = pd.DataFrame({"a": a, "y": y, "c": rng.normal(size=n)})
    model = rb.MixedModel("y ~ 0 + c", frame, residual="exp(a | 1) + units")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = model.fit(start=start, starts=1)
        nearer, farther = (
            model.fit(fix={"residual": {"range": k * fit.variances["residual"]["range"]}}, starts=1).loglik
            for k in (0.8, 1.25)
        )
    assert fit.converged, fit.convergence.reason
    assert fit.loglik > max(nearer, farther)


def test_a_row_given_twice_has_no_maximum():
    """Two records at one place that are equal: ℓ rises without end as the nugget falls, and the verdict says that."""
    rng = np.random.default_rng(7)
    plots = pd.DataFrame({"x": rng.uniform(0, 100, 60), "y": rng.uniform(0, 60, 60)})
    plots["z"] = rng.standard_normal(60) + np.sin(plots["x"] / 15)
    twice = pd.concat([plots, plots.head(3)], ignore_index=True)
    with pytest.warns(rb.ConvergenceWarning):
        fit = rb.MixedModel("z ~ 1", twice, residual="exp(x, y) + units").fit(starts=1)
    assert not fit.converged
    assert "variances go to zero: units" in str(fit.convergence)


@pytest.mark.parametrize("keyword", ["exp", "mat"])
def test_a_range_of_zero_is_zero_on_its_bound(data, keyword):
    """Without correlation the model is that of independent errors, and nothing depends on a smoothness."""
    rng = np.random.default_rng(0)
    frame = data.iloc[:40].assign(w=rng.normal(size=40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = rb.MixedModel("w ~ z", frame, residual=f"{keyword}(x, y)").fit(fix={"residual": {"range": 0.0}}, starts=1)
    independent = rb.MixedModel("w ~ z", frame).fit()
    assert fit.loglik == pytest.approx(independent.loglik, abs=1e-9)


def test_a_search_that_ends_without_correlation_says_boundary():
    rng = np.random.default_rng(0)
    n = 40
    frame = pd.DataFrame({"x": rng.uniform(0, 10, n), "z": rng.uniform(0, 10, n), "y": rng.normal(size=n)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = rb.MixedModel("y ~ 1", frame, residual="exp(x, z)").fit(starts=1)
    assert fit.loglik == pytest.approx(rb.MixedModel("y ~ 1", frame).fit().loglik, abs=1e-9)
    table = fit.variance_components.set_index("parameter")
    assert table.estimate["range"] == 0.0
    assert table.status["range"] == "boundary"
