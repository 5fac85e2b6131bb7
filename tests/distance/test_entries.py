"""What every entry does with places: tables, files, the command line, replicates; and what is refused by name."""

from __future__ import annotations

import json
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from distance.dense import correlation, differences
from remlblup.cli import main
from remlblup.errors import DataError, FormulaError, ModelError, OptionError

TERM = "ratio(latitude, longitude | 1)"
RESIDUAL = "ratio(latitude, longitude) + units"


@pytest.fixture(scope="module")
def wheat():
    return rb.datasets.load("wheat2").iloc[:112].reset_index(drop=True)


@pytest.fixture(scope="module")
def as_residual(wheat):
    return rb.MixedModel("yield ~ Block", wheat, residual=RESIDUAL).fit()


@pytest.fixture(scope="module")
def as_term(wheat):
    return rb.MixedModel(f"yield ~ Block + {TERM}", wheat).fit()


def test_errors_and_effects_of_places_are_one_model(as_residual, as_term):
    assert as_residual.converged
    assert as_term.converged
    assert as_residual.loglik == pytest.approx(as_term.loglik, abs=1e-8)
    a, b = as_residual.variances, as_term.variances
    np.testing.assert_allclose(list(a["residual"].values()), list(b[TERM].values()), rtol=1e-4)
    assert a["units"] == pytest.approx(b["residual"], rel=1e-4)
    for column, digits in (("estimate", 1e-5), ("std_error", 1e-5), ("df", 1e-2)):
        np.testing.assert_allclose(as_residual.fixed_effects[column], as_term.fixed_effects[column], rtol=digits)
    kr = [f.wald_tests(df="kenward-roger").to_numpy(float) for f in (as_residual, as_term)]
    np.testing.assert_allclose(kr[0], kr[1], rtol=1e-3)


def test_many_effects_are_tested_as_few_are(as_term, monkeypatch):
    """Degrees of freedom without a list of pairs of effects, and with it."""
    import remlblup.fit.errors.fixed as kenward_roger

    def tests(fit):
        again = rb.MixedModel(f"yield ~ Block + {TERM}", fit.specification.records.frame).fit(start=fit.variances)
        return [again.wald_tests(df=df).to_numpy(float) for df in ("satterthwaite", "kenward-roger")]

    found = tests(as_term)
    monkeypatch.setattr(kenward_roger, "MANY", 10**9)
    np.testing.assert_allclose(found, tests(as_term), rtol=1e-6)


def test_effects_at_places_with_their_errors(as_term, wheat):
    """û = ΣZ'Py and var(û − u) = Σ − ΣZ'PZΣ, one place for each record."""
    table = as_term.random_effects
    assert table["effect"][0] == f"({wheat['latitude'].min():g}, {wheat['longitude'][wheat['latitude'].idxmin()]:g})"
    v, phi = as_term.variances[TERM]["variance"], as_term.variances[TERM]["range"]
    order = np.lexsort((wheat["longitude"], wheat["latitude"]))
    h = np.hypot(*differences(wheat, wheat, "latitude", "longitude")) / phi
    G = v * correlation("ratio", h)
    V = G + as_term.variances["residual"] * np.eye(len(wheat))
    X = pd.get_dummies(wheat["Block"]).to_numpy(float)
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.inv(X.T @ inverse @ X) @ X.T @ inverse
    np.testing.assert_allclose(table["estimate"], (G @ P @ wheat["yield"].to_numpy())[order], rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(table["pev"], np.diag(G - G @ P @ G)[order], rtol=1e-6)


@pytest.mark.parametrize("which", ["as_residual", "as_term"])
def test_saved_and_read_back(which, tmp_path, request):
    fit = request.getfixturevalue(which)
    fit.save(tmp_path / "fit")
    again = rb.load(tmp_path / "fit")
    assert again.loglik == fit.loglik
    assert again.converged
    new = pd.DataFrame({"Block": ["1"], "latitude": [11.0], "longitude": [13.3]})
    include = ["residual"] if which == "as_residual" else None
    pd.testing.assert_frame_equal(again.predict(new, include=include), fit.predict(new, include=include), rtol=1e-7)
    pd.testing.assert_frame_equal(again.variance_components, fit.variance_components)


def test_a_fit_goes_on_from_its_checkpoint(wheat, tmp_path):
    model = rb.MixedModel("yield ~ Block", wheat, residual=RESIDUAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(max_iterations=4, checkpoint=tmp_path / "c.npz")
    whole, rest = model.fit(), model.fit(checkpoint=tmp_path / "c.npz")
    assert rest.loglik == whole.loglik
    assert list(rest.history["step"]) == list(whole.history["step"])


def test_replicates(as_residual):
    drawn = as_residual.simulate(400, seed=3).to_numpy()
    v, units = as_residual.variances["residual"]["variance"], as_residual.variances["units"]
    left = drawn - drawn.mean(axis=1, keepdims=True)
    assert np.mean(left**2) == pytest.approx(v + units, rel=0.1)
    boot = as_residual.bootstrap(2, seed=1)
    assert list(boot.estimates["converged"]) == [True, True]
    refit = as_residual.refit(as_residual.specification.observed)
    assert refit.loglik == pytest.approx(as_residual.loglik, abs=1e-7)


def test_summary_description_plots_and_report(as_residual, as_term, tmp_path):
    assert "112 places" in str(as_residual.summary())
    assert "ratio(latitude, longitude | 1)" in str(as_term.summary())
    table = as_residual.plot_variogram().figure
    assert table.axes[0].get_xlabel() == "distance in latitude, longitude"
    for fit in (as_residual, as_term):
        fit.report(tmp_path / str(id(fit)))
        page = (tmp_path / str(id(fit)) / "report.html").read_text(encoding="utf-8")
        assert "<mi>φ</mi>" in page


def test_the_variogram_is_that_of_the_definition(as_residual, wheat):
    from remlblup.fit.terms.variogram import variogram

    table = variogram(as_residual)
    e = as_residual._solution.residual + as_residual.random_effects["estimate"].to_numpy()
    d = np.hypot(*differences(wheat, wheat, "latitude", "longitude"))[np.triu_indices(112, 1)]
    squares = 0.5 * (e[:, None] - e)[np.triu_indices(112, 1)] ** 2
    edges = np.linspace(0.0, 0.6 * d.max() * (1.0 + 1e-9), 21)
    own = [(d >= a) & (d < b) for a, b in pairwise(edges)]
    own = [o for o in own if o.sum() >= 30]
    np.testing.assert_allclose(table["lag"], [d[o].mean() for o in own])
    np.testing.assert_allclose(table["semivariance"], [squares[o].mean() for o in own])
    v, phi = as_residual.variances["residual"].values()
    model = as_residual.variances["units"] + v * (1.0 - correlation("ratio", d / phi))
    np.testing.assert_allclose(table["model"], [model[o].mean() for o in own])


def test_command_line(wheat, as_residual, tmp_path, capsys):
    wheat.to_csv(tmp_path / "wheat.csv", index=False)
    assert (
        main(
            [
                "fit",
                str(tmp_path / "wheat.csv"),
                "yield ~ C(Block)",
                "--residual",
                RESIDUAL,
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    capsys.readouterr()
    kept = json.loads((tmp_path / "out" / "fit.json").read_text(encoding="utf-8"))
    assert kept["loglik"] == pytest.approx(as_residual.loglik, abs=1e-7)


def test_the_truth_is_recovered():
    """400 places, exp of range 12 and variance 3 beside a nugget of 1, and an anisotropic field: within 3 errors."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame(rng.uniform(0, 60, (400, 2)), columns=["x", "y"])
    dx, dy = differences(frame, frame, "x", "y")
    cos, sin = np.cos(np.deg2rad(35.0)), np.sin(np.deg2rad(35.0))
    for metric, h, truth in (
        ("isotropic", np.hypot(dx, dy) / 12.0, [1.0, 3.0, 12.0]),
        ("angle", np.hypot(cos * dx + sin * dy, (cos * dy - sin * dx) / 0.3) / 16.0, [1.0, 3.0, 16.0, 0.3, 35.0]),
    ):
        root = np.linalg.cholesky(3.0 * np.exp(-h) + 1e-10 * np.eye(400))
        w = 5.0 + root @ rng.normal(size=400) + rng.normal(size=400)
        fit = rb.MixedModel("w ~ 1", frame.assign(w=w), residual=f"exp(x, y, metric={metric}) + units").fit()
        assert fit.converged
        table = fit.variance_components
        assert np.all(np.abs(table["estimate"] - truth) < 3.0 * table["std_error"]), table


def test_memory_is_said_before_it_is_taken():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(size=(1200, 3)), columns=["x", "y", "w"])
    memory = rb.MixedModel("w ~ 1", frame, residual="exp(x, y) + units").describe().memory
    assert 8.0 * 1200**2 < memory.fit < 1e9
    assert memory.all < 1e9


REFUSED = [
    ("exp(latitude, variety)", DataError, "'variety' are not numbers"),
    ("exp(latitude, nowhere)", DataError, "'nowhere': not a column"),
    ("exp(latitude, latitude)", OptionError, "coordinates that differ"),
    ("exp(latitude, longitude, metric=flat)", OptionError, "metric=flat is not known"),
    ("exp(latitude, longitude, nu=2)", FormulaError, "no option 'nu'"),
    ("mat(latitude, longitude, nu=-1)", OptionError, "nu=-1 must be the smoothness"),
    ("lin(latitude, longitude)", OptionError, "at most 1 coordinate"),
    ("exp()", OptionError, r"write 'exp\(x, y\)'"),
    ("gau(latitude)", DataError, r"lie at one place|where others lie too"),
    ("exp(latitude, longitude | vm(variety, K))", OptionError, "a relationship belongs to a random term"),
    ("exp(latitude, longitude) + units + units", OptionError, "may be added once"),
]


@pytest.mark.parametrize(("residual", "error", "text"), REFUSED)
def test_residuals_that_cannot_be_are_refused_by_name(wheat, residual, error, text):
    with pytest.raises(error, match=text):
        rb.MixedModel("yield ~ Block", wheat, residual=residual)


def test_bad_data_are_refused_by_name(wheat):
    def model(frame, **options):
        return rb.MixedModel("yield ~ Block", frame, **{"residual": "exp(latitude, longitude)"} | options)

    with pytest.raises(ModelError, match=r"all records lie at one place \(1, 2\)"):
        model(wheat.assign(latitude=1.0, longitude=2.0), residual=RESIDUAL)
    with pytest.raises(DataError, match=r"row\(s\) 0, 112 at \(4.3, 19.2\).*'\+ units'"):
        model(pd.concat([wheat, wheat.head(1)], ignore_index=True))
    with pytest.raises(DataError, match=r"'latitude' are infinite in row\(s\) 3"):
        model(wheat.assign(latitude=wheat["latitude"].where(wheat.index != 3, np.inf)))
    missing = wheat.assign(latitude=wheat["latitude"].where(wheat.index > 3))
    assert model(missing).specification.n == 108
    with pytest.raises(DataError, match=r"missing values in latitude \(4\)"):
        model(missing, missing="error")
    with pytest.raises(OptionError, match="weights= goes with"):
        model(wheat.assign(w=1.0), weights="w")
    with pytest.raises(OptionError, match="sparse inverse of R"):
        model(wheat, engine="sparse").fit()
    with pytest.raises(OptionError, match=r"with several responses.*exp\(latitude, longitude \| trait\)"):
        rb.MixedModel("c(yield, latitude) ~ trait", wheat, residual="exp(latitude, longitude)")
    with pytest.raises(FormulaError, match="places within one factor"):
        rb.MixedModel("yield ~ 1 + exp(latitude, longitude | Block + variety)", wheat)
    with pytest.raises(FormulaError, match="takes no weight"):
        rb.MixedModel("yield ~ 1 + exp(latitude, longitude | 0.5*Block)", wheat)
    with pytest.raises(ModelError, match="ASReml cannot express residual='ratio"):
        rb.write_model(rb.MixedModel("yield ~ Block", wheat, residual=RESIDUAL), "asreml", "unused")


@pytest.mark.parametrize("formula", ["w ~ 1", "w ~ 1 + exp(x, y | 1)"])
def test_more_records_than_v_can_be_held_of(formula):
    frame = pd.DataFrame(np.random.default_rng(1).uniform(size=(20_001, 3)), columns=["x", "y", "w"])
    residual = "exp(x, y) + units" if formula == "w ~ 1" else "units"
    with pytest.raises(OptionError, match=r"20,001 records.*3\.2 GB.*ar1\(x\):ar1\(y\).*pspline\(x, y\)"):
        rb.MixedModel(formula, frame, residual=residual)


def test_relatives_at_places():
    """Σ over places ⊗ K over lines."""
    rng = np.random.default_rng(4)
    frame = pd.DataFrame(
        {"line": np.repeat(list("abcd"), 9), "x": np.tile(np.arange(9) % 3, 4), "y": np.tile(np.arange(9) // 3, 4)}
    )
    frame["w"] = rng.normal(size=36)
    K = np.eye(4) + 0.5 * np.diag(np.ones(3), 1) + 0.5 * np.diag(np.ones(3), -1)
    K = pd.DataFrame(K, index=list("abcd"), columns=list("abcd"))
    term = "sph(x, y | vm(line, K))"
    model = rb.MixedModel(f"w ~ 1 + {term}", frame, {"K": K})
    h = np.hypot(*differences(frame, frame, "x", "y")) / 1.8
    code = frame["line"].map({k: i for i, k in enumerate("abcd")}).to_numpy()
    V = 1.4 * correlation("sph", h) * K.to_numpy()[np.ix_(code, code)] + 0.6 * np.eye(36)
    from distance.dense import loglik

    expected = loglik(frame["w"].to_numpy(), np.ones((36, 1)), V)
    values = {term: {"variance": 1.4, "range": 1.8}, "residual": 0.6}
    assert model.loglik(values) == pytest.approx(expected, abs=1e-9)


def test_options_count_wherever_they_stand(wheat):
    """In front of the bar of a residual they were left out without a word; a random term says where they go."""
    written = (
        "exp(latitude, longitude, metric=each | Block) + units",
        "exp(latitude, longitude | Block, metric=each) + units",
    )
    at = {"units": 5.0, "residual": {"variance": 20.0, "range(latitude)": 9.0, "range(longitude)": 4.0}}
    one, other = (rb.MixedModel("yield ~ 1", wheat, residual=text).loglik(at) for text in written)
    assert one == other
    for text, word in (
        ("exp(latitude, longitude, metric=each | 1)", r"'exp\(latitude, longitude \| 1, metric=each\)'"),
        ("exp(latitude, longitude)", r"need a bar, 'exp\(latitude, longitude \| 1\)'"),
        ("gau(latitude, longitude, metric=each)", r"'gau\(latitude, longitude \| 1, metric=each\)'"),
        ("fa(Block, k=1 | variety)", r"'fa\(Block \| variety, k=1\)'"),
    ):
        with pytest.raises(FormulaError, match=word):
            rb.MixedModel(f"yield ~ 1 + {text}", wheat)


def test_means_of_a_factor_beside_effects_of_places(wheat):
    """A mean is at no place: the effects of places are left out unless their coordinates are named."""
    fit = rb.MixedModel(f"yield ~ 1 + (1 | Block) + {TERM}", wheat).fit(starts=1)
    means = fit.marginal_means("Block")
    expected = fit.fixed_effects["estimate"].iloc[0] + fit.blup("Block")["Intercept"]
    np.testing.assert_allclose(means.table["mean"], expected, rtol=1e-9)
    place = {name: [wheat[name][3]] for name in ("latitude", "longitude")}
    there = fit.marginal_means("Block", at=place).table["mean"]
    effect = fit.predict(wheat.iloc[[3]], include=[TERM])["prediction"].iloc[0] - fit.fixed_effects["estimate"].iloc[0]
    np.testing.assert_allclose(there.to_numpy(), (expected + effect).to_numpy(), rtol=1e-9)
