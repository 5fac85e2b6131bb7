"""Where times lie: numbers, dates and ordered categories at their lags, in every structure along a line;
text nowhere."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

import remlblup as rb
from remlblup.errors import DataError, ModelError, RemlBlupError
from remlblup.structure.covariance.steps import in_steps

TIMES = np.array([1, 2, 4])
# By the process: an exponential correlation at the true distances, and by hand from a dense evaluation (`maximum`).
AT_THE_LAGS, BY_RANK = -36.935419, -35.776


def series(times=TIMES, subjects: int = 12) -> pd.DataFrame:
    """Records of an autoregression at uneven times, rounded to one digit."""
    root = np.linalg.cholesky(0.8 ** np.abs(np.subtract.outer(times, times)))
    y = np.round(np.random.default_rng(1).normal(size=(subjects, len(times))) @ root.T, 1)
    subject = np.repeat(np.arange(subjects), len(times))
    return pd.DataFrame({"y": y.ravel(), "t": np.tile(times, subjects), "g": subject})


def dense(d: pd.DataFrame, V: np.ndarray) -> float:
    """REML log-likelihood of y ~ 1 at V."""
    y, X = d["y"].to_numpy(), np.ones((len(d), 1))
    W = np.linalg.inv(V)
    information = X.T @ W @ X
    P = W - W @ X @ np.linalg.inv(information) @ X.T @ W
    logdets = np.linalg.slogdet(V)[1] + np.linalg.slogdet(information)[1]
    return -0.5 * ((len(y) - 1) * np.log(2 * np.pi) + logdets + y @ P @ y)


def correlation(d: pd.DataFrame, x: np.ndarray, r: float) -> np.ndarray:
    g = d["g"].to_numpy()
    return np.equal.outer(g, g) * r ** np.abs(np.subtract.outer(x, x))


def maximum(d: pd.DataFrame, x: np.ndarray) -> float:
    found = minimize(
        lambda p: -dense(d, p[0] * correlation(d, x, p[1])),
        [1.0, 0.8],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10},
    )
    return -found.fun


FORMS = {
    "integers": lambda t: t,
    "floats": lambda t: t.astype(float),
    "nullable": lambda t: t.astype("Int64"),
    "tenths": lambda t: t / 10,
    "thirds": lambda t: t / 3,
    "single precision": lambda t: (t / 4).astype("float32"),
    "decimals": lambda t: t.map(lambda v: Decimal(v) / 10),
    "calendar years": lambda t: t + 2000,
    "an offset": lambda t: t / 10 + 1e6,
    "small": lambda t: t * 1e-9,
    "large": lambda t: t * 7.3e6,
    "numbers as text": lambda t: (8 + t).astype(str),  # '10' and '12' before '9' as text
    "numbers as categories": lambda t: (8 + t).astype(str).astype("category"),
    "ordered categories": lambda t: pd.Categorical.from_codes(t - 1, ["first", "b", "a", "last"], ordered=True),
    "ordered numbers": lambda t: pd.Categorical.from_codes(t - 1, [7, 1, 3, 30], ordered=True),
    "dates": lambda t: pd.Timestamp("2024-02-28") + pd.to_timedelta(t, unit="D"),
    "hours": lambda t: pd.Timestamp("2024-03-30 20:00", tz="Europe/Berlin") + pd.to_timedelta(t, unit="h"),
    "spans": lambda t: pd.to_timedelta(t, unit="h"),
}


@pytest.fixture(params=FORMS)
def told(request) -> pd.DataFrame:
    """The same times in another form."""
    d = series()
    return d.assign(t=FORMS[request.param](d["t"]))


def test_the_maximum_of_the_oracle():
    d = series()
    assert maximum(d, d["t"].to_numpy()) == pytest.approx(AT_THE_LAGS, abs=1e-6)
    assert maximum(d, d["t"].map({1: 0, 2: 1, 4: 2}).to_numpy()) == pytest.approx(BY_RANK, abs=1e-3)


def test_times_in_any_form_are_at_their_lags_in_a_residual(told, tmp_path):
    fit = rb.MixedModel("y ~ 1", told, residual="ar1(t | g)").fit()
    assert fit.converged
    assert fit.loglik == pytest.approx(AT_THE_LAGS, abs=1e-6)
    assert fit.function("residual[correlation]").estimate == pytest.approx(0.92808285, abs=1e-6)
    assert fit.variogram()["model"].notna().all()
    fit.save(tmp_path / "fit")
    again = rb.load(tmp_path / "fit")
    assert again.loglik == fit.loglik
    np.testing.assert_array_equal(again.predict(told)["prediction"], fit.predict(told)["prediction"])


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_times_in_any_form_are_at_their_lags_in_a_term(told, engine, tmp_path):
    model = rb.MixedModel("y ~ 1 + ar1(t | g)", told, engine=engine)
    solved = model.solve({"ar1(t | g)": {"variance": 1.3, "correlation": 0.7}, "residual": 0.4})
    d = series()
    V = 1.3 * correlation(d, d["t"].to_numpy(), 0.7) + 0.4 * np.eye(len(d))
    assert solved.loglik == pytest.approx(dense(d, V), abs=1e-9)
    np.testing.assert_allclose(solved.predict(told)["prediction"], solved.fitted, rtol=1e-10)
    assert solved.covariance("ar1(t | g)").iloc[0, 2] == pytest.approx(1.3 * 0.7**3)


@pytest.mark.parametrize(
    "times",
    [
        [1, 2, 4],
        [8, 10, 12, 14],
        [0, 1, 2, 5, 9],
        [3, 6, 10, 15],
        [0.5, 1.0, 2.5, 4.0],
        [1.0, 2.5, 4.1],
        [0, 30, 61, 91, 183],
    ],
)
@pytest.mark.parametrize("place", ["residual", "term"])
def test_a_positive_autoregression_is_exponential(times, place):
    """`exp` knows the distances by another route; only the unit of the correlation differs."""
    times = np.array(times)
    d = series(times / np.diff(times).min(), 60).assign(t=np.tile(times, 60))
    steps = in_steps(times.astype(float))
    if place == "term":
        d["y"] += np.random.default_rng(8).normal(0, 0.7, len(d))
    fits = {}
    for word in ("ar1", "exp"):
        term, residual = (f" + {word}(t | g)", "units") if place == "term" else ("", f"{word}(t | g)")
        fits[word] = rb.MixedModel(f"y ~ 1{term}", d, residual=residual).fit()
        assert fits[word].converged, str(fits[word].convergence)
    ar1, exp = fits["ar1"], fits["exp"]
    assert ar1.loglik == pytest.approx(exp.loglik, abs=1e-7)
    r = {
        word: fit.variance_components.query("parameter == 'correlation'")["estimate"].item()
        for word, fit in fits.items()
    }
    assert r["ar1"] == pytest.approx(r["exp"] ** (np.ptp(times) / steps.max()), rel=1e-4)


@pytest.mark.parametrize("place", ["residual", "term"])
def test_a_level_without_records_is_a_gap_in_a_field_and_over_times_alike(place):
    """One series is a field of one dimension, whose missing plots are filled in."""
    rng = np.random.default_rng(3)
    t = np.setdiff1d(np.arange(1, 61), [4, 5, 17, 40])
    d = pd.DataFrame({"y": rng.normal(size=len(t)), "t": t, "g": "one"})
    e = np.zeros(61)
    for k in range(1, 61):
        e[k] = 0.6 * e[k - 1] + rng.normal()
    d["y"] += e[d["t"]]
    named = d.assign(t=pd.Categorical.from_codes(d["t"], [f"week{k}" for k in range(61)], ordered=True))
    field = rb.MixedModel("y ~ 1", d, residual="ar1(t) + units").fit()
    for data in (d, named):
        formula, residual = ("y ~ 1 + ar1(t | g)", "units") if place == "term" else ("y ~ 1", "ar1(t | g) + units")
        fit = rb.MixedModel(formula, data, residual=residual).fit()
        assert fit.converged and field.converged
        assert fit.loglik == pytest.approx(field.loglik, abs=1e-7)


def test_a_negative_correlation_at_gaps():
    """(−r)^d, d = 1, 2 and 3 steps."""
    rng = np.random.default_rng(5)
    sigma = (-0.7) ** np.abs(np.subtract.outer(TIMES, TIMES))
    d = series(subjects=40).assign(y=(rng.normal(size=(40, 3)) @ np.linalg.cholesky(sigma).T).ravel())
    fit = rb.MixedModel("y ~ 1", d, residual="ar1(t | g)").fit()
    assert fit.converged
    r = fit.theta[1]
    assert r < -0.5
    best = minimize(
        lambda p: -dense(d, p[0] * correlation(d, d["t"].to_numpy(float), p[1])),
        [1.0, -0.5],
        method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-10},
    )
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-7)


@pytest.mark.parametrize("place", ["residual", "term"])
def test_toep_has_a_correlation_for_each_lag(place):
    """Lags 1, 2 and 3 differ: at 1, 2, 4 `toep` is `corg`."""
    d = series()
    found = {}
    for word in ("toep", "corg"):
        term, residual = (f" + {word}(t | g)", "units") if place == "term" else ("", f"{word}(t | g)")
        found[word] = rb.MixedModel(f"y ~ 1{term}", d, residual=residual).fit()
        assert found[word].converged, str(found[word].convergence)
    assert found["toep"].loglik == pytest.approx(found["corg"].loglik, abs=1e-7)
    R = found["toep"].correlation("residual" if place == "residual" else "toep(t | g)").to_numpy()
    parameters = found["toep"].variance_components.set_index("parameter")["estimate"]
    assert [parameters[f"correlation({k})"] for k in (1, 3, 2)] == pytest.approx([R[0, 1], R[0, 2], R[1, 2]])


def test_toep_takes_equal_lags_as_one():
    spec = rb.MixedModel("y ~ 1 + toep(t | g)", series(np.array([2, 3, 4, 6, 10]))).specification
    assert spec.random[0].structure.names == ("variance", *(f"correlation({k})" for k in (1, 2, 3, 4, 6, 7, 8)))
    theta = np.array([2.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    sigma = spec.random[0].structure.covariance(theta)
    lag = {0: 1.0, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 6: 0.5, 7: 0.4, 8: 0.3}
    t = np.array([2, 3, 4, 6, 10])
    np.testing.assert_allclose(sigma, 2.0 * np.vectorize(lag.get)(np.abs(np.subtract.outer(t, t))))
    np.testing.assert_allclose(spec.random[0].structure.project(sigma), theta)


def test_the_step_is_that_of_the_whole_data_in_every_section():
    """Trial b has the even times alone: its correlation is per unit of time too."""
    d = series(np.arange(6), 16)
    d["trial"] = np.where(d["g"] < 8, "a", "b")
    d = d[(d["trial"] == "a") | (d["t"] % 2 == 0)]
    spec = rb.MixedModel("y ~ trial", d, residual="ar1(t | g) | trial").specification
    R = spec.residual.multiply(np.array([1.0, 0.5, 1.0, 0.5]), np.eye(len(d)))
    np.testing.assert_allclose(R, correlation(d, d["t"].to_numpy(), 0.5), atol=1e-14)


# -- what has no place ---------------------------------------------------------------------------

WEEKS = series().assign(t=lambda d: "week" + (7 + d["t"]).astype(str))
ALONG = ["ar1", "ar1h", "toep", "exp"]


@pytest.mark.parametrize("word", ALONG)
@pytest.mark.parametrize("form", ["text", "categories"])
def test_text_without_an_order_is_refused_and_the_way_out_works(word, form):
    d = WEEKS if form == "text" else WEEKS.assign(t=WEEKS["t"].astype("category"))
    for formula, residual, error in (
        (f"y ~ 1 + {word}(t | g)", "units", ModelError),
        ("y ~ 1", f"{word}(t | g)", DataError),
    ):
        with pytest.raises(error, match=r"'t' holds text.*'week11'.*numeric") as raised:
            rb.MixedModel(formula, d, residual=residual)
        assert f"{word}(t | g)" in str(raised.value)
        levels = [f"week{k}" for k in range(8, 12)]
        ordered = d.assign(t=pd.Categorical(d["t"].astype(str), categories=levels, ordered=True))
        if word == "exp":  # an order has no distances
            ordered = d.assign(t=series()["t"])
        else:
            assert "ordered=True" in str(raised.value)
        rb.MixedModel(formula, ordered, residual=residual)


def test_a_field_over_categories_without_an_order_is_refused():
    d = WEEKS.groupby("t", as_index=False).first().assign(t=lambda d: d["t"].astype("category"))
    with pytest.raises(DataError, match=r"'t' holds text.*ordered=True"):
        rb.MixedModel("y ~ 1", d, residual="ar1(t)")


@pytest.mark.parametrize("word", ["ar1", "ar1h", "toep"])
@pytest.mark.parametrize("place", ["residual", "term"])
def test_times_without_a_common_step_are_refused_with_exp_named(word, place):
    d = series(np.array([1.0, 2.0, 2.0 + np.pi]))
    term, residual = (f" + {word}(t | g)", "units") if place == "term" else ("", f"{word}(t | g)")
    with pytest.raises(RemlBlupError, match=r"not whole numbers of any step.*exp\(…\)"):
        rb.MixedModel(f"y ~ 1{term}", d, residual=residual)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (lambda t: t.where(t < 4, np.inf), "'t' are infinite"),
        (lambda t: t.astype(str).where(t < 4, "2.0"), "'2', '2.0' of 't' are one position"),
    ],
)
def test_positions_that_are_none(values, message):
    with pytest.raises(RemlBlupError, match=message):
        rb.MixedModel("y ~ 1 + ar1(t | g)", series().assign(t=lambda d: values(d["t"])))


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 86400.0, 1e12])
@pytest.mark.parametrize(
    ("x", "steps"),
    [
        ([1, 2, 4], [0, 1, 3]),
        ([8, 10, 14], [0, 1, 3]),
        ([14, 8, 10], [3, 0, 1]),
        ([0.1, 0.4, 0.7], [0, 1, 2]),
        ([1 / 12, 3 / 12, 6 / 12], [0, 2, 5]),
        ([0, 7 / 60, 18 / 60], [0, 7, 18]),
        ([3.0, 3.0], [0, 0]),
        ([0, 1, 250_001], [0, 1, 250_001]),
    ],
)
def test_whole_steps_in_any_unit(x, steps, scale):
    assert in_steps(scale * np.array(x, dtype=float)).tolist() == steps


@pytest.mark.parametrize("x", [[0, 1, np.e], [0, 1, 1 + 1e-9], np.random.default_rng(0).uniform(size=50)])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_no_whole_steps(x, scale):
    with pytest.raises(ModelError, match="exp"):
        in_steps(scale * np.array(x))
