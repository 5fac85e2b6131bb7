"""The residual plots, and what they hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import remlblup as rb

from .conftest import grouped


def test_points_are_residuals_against_fitted(sleep):
    ax = sleep.plot_residuals()
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], sleep.fitted)
    np.testing.assert_allclose(points[:, 1], sleep.residuals)
    assert "Reaction" in ax.get_xlabel() and "Reaction" in ax.get_ylabel()
    assert any(set(line.get_ydata()) == {0.0} for line in ax.lines)


def test_weighted_residuals_are_scaled():
    data = rb.datasets.load("sleepstudy").assign(w=lambda d: 1.0 + d["Days"])
    fit = rb.MixedModel("Reaction ~ Days + (1 | Subject)", data, weights="w").fit()
    ax = fit.plot_residuals()
    np.testing.assert_allclose(ax.collections[0].get_offsets()[:, 1], fit.residuals * np.sqrt(data["w"]))
    assert "√weight" in ax.get_ylabel()


def test_many_records_are_counted_in_hexagons():
    fit = grouped(1000, 4)
    ax = fit.plot_residuals()
    assert ax.collections[0].get_array().sum() == 4000
    assert len(ax.figure.axes) == 2  # the colour bar


def test_constant_fitted_values_get_no_smooth(boundary):
    assert not [line for line in boundary.plot_residuals().lines if "smooth" in str(line.get_label())]


def test_the_largest_studentized_residuals_carry_their_names(sleep):
    size = sleep.residual_table["studentized"].abs().sort_values(ascending=False)
    for kind in ("fitted", "scale"):
        named = {t.get_text() for t in sleep.plot_residuals(kind).texts}
        assert {str(name) for name in size.index[:3]} <= named


def test_spread_is_the_root_of_studentized_residuals(sleep):
    ax = sleep.plot_residuals("scale")
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 1] ** 2, sleep.residual_table["studentized"].abs())
    level = next(one for one in ax.lines if str(one.get_label()).startswith("expected"))
    draws = np.sqrt(np.abs(np.random.default_rng(0).normal(size=400_000)))
    assert level.get_ydata()[0] == pytest.approx(draws.mean(), abs=2e-3)


def test_the_smooth_is_that_of_statsmodels(sleep):
    from statsmodels.nonparametric.smoothers_lowess import lowess

    ax = sleep.plot_residuals()
    smooth = next(one for one in ax.lines if "smooth" in str(one.get_label()))
    expected = lowess(sleep.residuals, sleep.fitted, frac=0.6, delta=0.01 * np.ptp(sleep.fitted))
    np.testing.assert_allclose(np.column_stack(smooth.get_data()), expected)


def test_quantiles_with_their_band_and_the_names_of_what_lies_outside(sleep):
    ax = sleep.plot_residuals("qq", draws=99, seed=3)
    values = np.sort(sleep.residual_table["studentized"])
    marks = [one for one in ax.lines if one.get_linestyle() == "None"]
    drawn = np.sort(np.concatenate([one.get_ydata() for one in marks]))
    np.testing.assert_allclose(drawn, values)
    x = np.sort(np.concatenate([one.get_xdata() for one in marks]))
    np.testing.assert_allclose(x, norm.ppf((np.arange(1, 181) - 0.5) / 180))
    outside = next(one for one in marks if "outside" in str(one.get_label()))
    assert values[-1] in outside.get_ydata()  # record 56 of subject 332
    assert "56" in {t.get_text() for t in ax.texts}
    again, other = (sleep.plot_residuals("qq", draws=99, seed=s) for s in (3, 4))
    band = [ax.collections[0].get_paths()[0].vertices for ax in (ax, again, other)]
    np.testing.assert_array_equal(band[0], band[1])
    assert not np.array_equal(band[0], band[2])


def test_by_a_group_a_covariate_and_a_predicted_term(sleep):
    ax = sleep.plot_residuals("by", by="Subject")
    residual = sleep.residual_table["studentized"]
    subject = rb.datasets.load("sleepstudy")["Subject"].astype(str)
    medians = residual.groupby(subject).median().sort_values()
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"{name} (10)" for name in medians.index]
    marks = next(one for one in ax.lines if one.get_marker() == "|")
    np.testing.assert_allclose(marks.get_xdata(), medians)
    term = sleep.plot_residuals("by", by="1 + Days | Subject")
    data, u = rb.datasets.load("sleepstudy"), sleep.blup("1 + Days | Subject")
    own = u.set_axis(u.index.astype(str)).loc[subject]
    points = term.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], own["Intercept"].to_numpy() + own["Days"].to_numpy() * data["Days"])
    np.testing.assert_allclose(points[:, 1], residual)
    assert "predicted part of 1 + Days | Subject (Reaction)" in term.get_xlabel()
    given = sleep.plot_residuals("by", by=np.arange(180.0) ** 2)
    np.testing.assert_allclose(given.collections[0].get_offsets()[:, 0], np.arange(180.0) ** 2)


def test_of_many_groups_some_are_named_at_both_ends():
    fit = grouped(60, 5)
    ax = fit.plot_residuals("by", by="g")
    median = fit.residual_table["studentized"].groupby(np.repeat(np.arange(60), 5)).median()
    assert [t.get_text() for t in ax.texts[:6]] == [str(k) for k in range(6)]  # numbers in their own order
    line = next(one for one in ax.lines if len(one.get_xdata()) == 60)
    np.testing.assert_allclose(line.get_xdata(), median)


def test_several_traits_have_a_marker_each():
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "a": rng.normal(size=40), "b": rng.normal(size=40)})
    fit = rb.MixedModel("c(a, b) ~ 0 + trait + us(trait | g)", d, residual="us(trait | units)").fit()
    ax = fit.plot_residuals()
    assert [t.get_text() for t in ax.get_legend().get_texts()][:2] == ["a", "b"]
    assert sum(len(c.get_offsets()) for c in ax.collections) == 80
    assert "2 traits" in ax.get_xlabel()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "hist"}, "kind='hist' is not known"),
        ({"kind": "by"}, "kind='by' needs by="),
        ({"kind": "qq", "by": "Subject"}, "by= goes with kind='by', not with kind='qq'"),
        ({"kind": "by", "by": "nobody"}, "'nobody' is neither a column of the data .*'Days'.*nor a random term"),
        ({"kind": "by", "by": [1, 2]}, "by= takes a column's name or 180 values"),
        ({"kind": "qq", "seed": -1}, "seed=-1"),
    ],
)
def test_named_errors(sleep, options, text):
    with pytest.raises(rb.OptionError, match=text):
        sleep.plot_residuals(**options)


def two_traits() -> rb.Fit:
    """Of one trait the curve is left out upwards, of the other downwards."""
    rng = np.random.default_rng(2)
    g, x = rng.integers(0, 12, 150), rng.normal(size=150)
    milk = 30.0 + 3.0 * x + 2.0 * x**2 + rng.normal(size=12)[g] + rng.normal(size=150)
    fat = 20.0 + x - 2.0 * x**2 + rng.normal(size=12)[g] + rng.normal(size=150)
    data = pd.DataFrame({"g": g, "x": x, "milk": milk, "fat": fat})
    return rb.MixedModel("c(milk, fat) ~ trait * x + diag(trait | g)", data, residual="diag(trait | units)").fit()


@pytest.mark.parametrize("kind", ["fitted", "scale", "by"])
def test_every_trait_has_a_smooth_of_its_own(kind):
    from statsmodels.nonparametric.smoothers_lowess import lowess

    fit = two_traits()
    ax = fit.plot_residuals(kind, **({"by": "x"} if kind == "by" else {}))
    smooths = {str(one.get_label()): one for one in ax.lines if "smooth" in str(one.get_label())}
    assert list(smooths) == ["local linear smooth, milk", "local linear smooth, fat"]
    for drawn, points in zip(smooths.values(), ax.collections, strict=False):
        x, y = points.get_offsets().T  # a marker and a colour for each trait
        expected = lowess(y, x, frac=0.6, delta=0.01 * np.ptp(x))
        np.testing.assert_allclose(np.column_stack(drawn.get_data()), expected)
    if kind == "by":
        ends = {name: one.get_ydata()[[0, -1]] for name, one in smooths.items()}
        assert (ends["local linear smooth, milk"] > 0).all() and (ends["local linear smooth, fat"] < 0).all()
