"""Predictions at new places and times, against best linear unbiased prediction by V written out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import remlblup as rb
from distance.dense import correlation, differences, kriging
from remlblup.errors import DataError, OptionError


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(8)
    n = 50
    frame = pd.DataFrame({"x": rng.uniform(0, 10, n).round(1), "y": rng.uniform(0, 6, n).round(1)})
    return frame.assign(
        trial=rng.choice(list("ab"), n), z=rng.normal(size=n), w=rng.normal(size=n) + np.sin(frame["x"])
    )


@pytest.fixture(scope="module")
def new():
    return pd.DataFrame(
        {"x": [0.5, 4.0, 9.9, 30.0], "y": [0.5, 4.5, 3.0, -9.0], "trial": list("abab"), "z": [0.0, 1, -1, 2]}
    )


def X_of(frame):
    return np.c_[np.ones(len(frame)), frame["z"]]


def check(found, expected):
    np.testing.assert_allclose(found["prediction"], expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found["std_error"], expected[1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("keyword", ["exp", "gau", "sph", "ratio", "mat"])
def test_the_residual_at_new_places(field, new, keyword):
    nu = {"nu": 1.4} if keyword == "mat" else {}
    solved = rb.MixedModel("w ~ z", field, residual=f"{keyword}(x, y | trial) + units").solve(
        {"units": 0.4, "residual": {"variance": 1.2, "range": 3.0, **nu}}
    )

    def cov(a, b):
        same = a["trial"].to_numpy()[:, None] == b["trial"].to_numpy()
        return 1.2 * same * correlation(keyword, np.hypot(*differences(a, b, "x", "y")) / 3.0, **nu)

    V = cov(field, field) + 0.4 * np.eye(len(field))
    expected = kriging(field["w"].to_numpy(), X_of(field), V, X_of(new), cov(field, new), np.full(4, 1.2))
    check(solved.predict(new, include=["residual"]), expected)
    with_nugget = solved.predict(new, include=["residual", "units"])
    np.testing.assert_allclose(with_nugget["std_error"] ** 2, expected[1] ** 2 + 0.4, rtol=1e-8)
    # Without it, the mean alone, as before.
    np.testing.assert_allclose(solved.predict(new, include=[])["prediction"], X_of(new) @ solved.beta, rtol=1e-12)


@pytest.mark.parametrize("term", ["exp(x, y | trial)", "mat(x, y | trial, nu=1.5)", "sph(x, y | 1)"])
def test_a_random_term_at_new_places(field, new, term):
    keyword, nu = term[:3], {"nu": 1.5} if "nu" in term else {}
    solved = rb.MixedModel(f"w ~ z + {term}", field).solve({term: {"variance": 1.2, "range": 3.0}, "residual": 0.4})
    new = pd.concat([new, field.head(2)[["x", "y", "trial", "z"]]])  # and places that have records

    def cov(a, b):
        same = a["trial"].to_numpy()[:, None] == b["trial"].to_numpy() if "trial" in term else 1.0
        return 1.2 * same * correlation(keyword, np.hypot(*differences(a, b, "x", "y")) / 3.0, **nu)

    V = cov(field, field) + 0.4 * np.eye(len(field))
    expected = kriging(field["w"].to_numpy(), X_of(field), V, X_of(new), cov(field, new), np.full(len(new), 1.2))
    check(solved.predict(new), expected)


def test_a_trial_that_the_model_has_not_seen(field, new):
    solved = rb.MixedModel("w ~ z + exp(x, y | trial)", field).solve(
        {"exp(x, y | trial)": {"variance": 1.2, "range": 3.0}, "residual": 0.4}
    )
    strange = new.assign(trial="q")
    with pytest.raises(DataError, match="'q'"):
        solved.predict(strange)
    table = solved.predict(strange, new_levels="population")
    mean = solved.predict(strange, include=[])
    np.testing.assert_allclose(table["prediction"], mean["prediction"])
    np.testing.assert_allclose(table["std_error"] ** 2, mean["std_error"] ** 2 + 1.2, rtol=1e-10)


@pytest.fixture(scope="module")
def times():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 5), "t": np.tile([0, 1, 2, 4, 7], 6)})
    return frame.assign(w=rng.normal(size=30), z=rng.normal(size=30))


AT = pd.DataFrame({"g": ["a", "c", "f"], "t": [3, 6, 9], "z": [0.0, 1.0, 2.0]})


@pytest.mark.parametrize("keyword", ["ar1", "exp", "gau"])
@pytest.mark.parametrize("where", ["random", "residual"])
def test_times_between_and_after_those_seen(times, keyword, where):
    shape = {"range": 2.0} if keyword == "gau" else {"correlation": 0.7}
    text = f"{keyword}(t | g)"
    values = {"variance": 1.5, **shape}
    if where == "random":
        solved = rb.MixedModel(f"w ~ z + {text}", times).solve({text: values, "residual": 0.6})
        table, nugget = solved.predict(AT), 0.6
    else:
        solved = rb.MixedModel("w ~ z", times, residual=text).solve({"residual": values})
        table, nugget = solved.predict(AT, include=["residual"]), 0.0

    def cov(a, b):
        d = np.abs(a["t"].to_numpy()[:, None] - b["t"].to_numpy())
        same = a["g"].to_numpy()[:, None] == b["g"].to_numpy()
        return 1.5 * same * (np.exp(-((d / 2.0) ** 2)) if keyword == "gau" else 0.7**d)

    V = cov(times, times) + nugget * np.eye(30)
    check(table, kriging(times["w"].to_numpy(), X_of(times), V, X_of(AT), cov(times, AT), np.full(3, 1.5)))


def test_a_plot_of_a_field_that_was_not_harvested():
    rng = np.random.default_rng(4)
    grid = pd.DataFrame([(r, c) for r in range(6) for c in range(5)], columns=["row", "col"])
    grid = grid.assign(w=rng.normal(size=30), z=rng.normal(size=30))
    known, new = (
        grid.drop(index=[7, 13, 29]),
        grid.loc[[7, 13, 29]].assign(row=lambda f: f["row"].where(f["row"] < 5, 8)),
    )
    solved = rb.MixedModel("w ~ z", known, residual="ar1(row):ar1(col) + units").solve(
        {"units": 0.3, "residual": {"variance": 1.5, "correlation(row)": 0.7, "correlation(col)": 0.4}}
    )

    def cov(a, b):
        dr, dc = differences(a, b, "row", "col")
        return 1.5 * 0.7 ** np.abs(dr) * 0.4 ** np.abs(dc)

    V = cov(known, known) + 0.3 * np.eye(len(known))
    expected = kriging(known["w"].to_numpy(), X_of(known), V, X_of(new), cov(known, new), np.full(3, 1.5))
    check(solved.predict(new, include=["residual"]), expected)


def test_sections_and_subjects_without_records(field, new):
    model = rb.MixedModel("w ~ z", field, residual="exp(x, y) | trial + units")
    a, b = ({f"{t}: variance": v, f"{t}: range": r} for t, v, r in (("a", 1.0, 2.0), ("b", 2.0, 1.0)))
    solved = model.solve({"units": 0.3, "residual": a | b})

    def cov(one, other):
        out = np.zeros((len(one), len(other)))
        for t, v, r in (("a", 1.0, 2.0), ("b", 2.0, 1.0)):
            both = (one["trial"].to_numpy()[:, None] == t) & (other["trial"].to_numpy() == t)
            out += both * v * np.exp(-np.hypot(*differences(one, other, "x", "y")) / r)
        return out

    V = cov(field, field) + 0.3 * np.eye(len(field))
    prior = np.where(new["trial"] == "a", 1.0, 2.0)
    check(
        solved.predict(new, include=["residual"]),
        kriging(field["w"].to_numpy(), X_of(field), V, X_of(new), cov(field, new), prior),
    )
    with pytest.raises(DataError, match="'trial' of the new data has levels"):
        solved.predict(new.assign(trial="q"), include=["residual"])


def test_at_its_own_places_the_residual_is_what_the_fit_has(field):
    fit = rb.MixedModel("w ~ z", field, residual="exp(x, y) + units").fit(fix={"residual": {"range": 2.0}})
    own = fit.predict(include=["residual"])
    np.testing.assert_allclose(own["prediction"], fit.predict(field, include=["residual"])["prediction"], rtol=1e-8)
    np.testing.assert_allclose(own["std_error"], fit.predict(field, include=["residual"])["std_error"], rtol=1e-6)
    np.testing.assert_allclose(fit.predict(include=["residual", "units"])["prediction"], field["w"], rtol=1e-9)


def test_what_tells_nothing_is_refused(field, times):
    with pytest.raises(OptionError, match="residual='units' has no correlation"):
        rb.MixedModel("w ~ z", field).solve({"residual": 1.0}).predict(field, include=["residual"])
    solved = rb.MixedModel("w ~ z", field, residual="exp(x, y) + units").solve(
        {"units": 1.0, "residual": {"variance": 1.0, "range": 1.0}}
    )
    with pytest.raises(DataError, match="'y'"):
        solved.predict(field.drop(columns="y"), include=["residual"])
    with pytest.raises(DataError, match="not numbers"):
        solved.predict(field.assign(y="north"), include=["residual"])
    negative = rb.MixedModel("w ~ z", times, residual="ar1(t | g)").solve(
        {"residual": {"variance": 1, "correlation": -0.5}}
    )
    with pytest.raises(DataError, match="between whole steps"):
        negative.predict(AT.assign(t=2.5), include=["residual"])


@pytest.mark.parametrize("residual", ["exp(x, y) + units", "known(v) + units"])
def test_one_more_record_has_the_nugget(residual):
    """A prediction interval without `units` in include= left out its variance: a part of the residual."""
    rng = np.random.default_rng(5)
    data = pd.DataFrame(rng.uniform(0, 9, (30, 2)), columns=["x", "y"]).assign(v=0.7, z=rng.standard_normal(30))
    own = {} if "known" in residual else {"residual": {"variance": 0.7, "range": 3.0}}
    fit = rb.MixedModel("z ~ 1", data, residual=residual).solve({"units": 0.5} | own)
    one = pd.DataFrame({"x": [4.0], "y": [5.0], "v": [0.7]})
    for include, added in (([], 1.2), (None, 0.7)):  # the term adds its variance to the standard error itself
        found = fit.predict(one, include=include, interval="prediction").iloc[0]
        half = 0.5 * (found["upper"] - found["lower"]) / stats.norm.ppf(0.975)
        assert half**2 - found["std_error"] ** 2 == pytest.approx(added, rel=1e-9)
    if own:
        there, both = (
            fit.predict(one, include=include, interval="prediction")
            for include in (["residual"], ["residual", "units"])
        )
        np.testing.assert_allclose(there[["lower", "upper"]], both[["lower", "upper"]], rtol=1e-9)


def test_new_places_lie_on_the_globe():
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"lat": rng.uniform(40, 50, 20), "lon": rng.uniform(0, 10, 20), "z": rng.standard_normal(20)})
    term, parameters = "exp(lat, lon | 1, metric=earth)", {"variance": 1.0, "range": 300.0}
    as_term = rb.MixedModel(f"z ~ 1 + {term}", data).solve({term: parameters, "residual": 0.5})
    residual = rb.MixedModel("z ~ 1", data, residual="exp(lat, lon, metric=earth) + units")
    as_residual = residual.solve({"residual": parameters, "units": 0.5})
    for fit, include in ((as_term, [term]), (as_residual, ["residual"])):
        with pytest.raises(rb.DataError, match="'lat' goes from -95 to 45"):
            fit.predict(pd.DataFrame({"lat": [45.0, -95.0], "lon": [3.0, 4.0]}), include=include)
