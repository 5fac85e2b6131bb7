"""The caterpillar plot: BLUPs in order with their intervals, few levels or many."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection

import remlblup as rb
from remlblup.plot.random_effects import plot_random_effects, ribbon

from .conftest import grouped


def blups(ax):
    """x of the points or of the line (not of the zero line)."""
    return next(one.get_xdata() for one in ax.lines if len(one.get_xdata()) != 2 or one.get_linestyle() == "None")


def test_points_and_intervals(sleep):
    ax = sleep.plot_random_effects()
    table = sleep.random_effects.query("effect == 'Intercept'").sort_values("estimate")
    np.testing.assert_allclose(blups(ax), table["estimate"])
    bars = next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments()
    half = 1.959964 * table["std_error"].to_numpy()
    np.testing.assert_allclose([b[1, 0] - b[0, 0] for b in bars], 2 * half)
    np.testing.assert_allclose([b[:, 0].mean() for b in bars], table["estimate"])
    assert [t.get_text() for t in ax.get_yticklabels()] == table["level"].tolist()
    assert "Reaction" in ax.get_xlabel()


def test_a_term_with_several_effects_draws_the_one_asked_for(sleep):
    ax = sleep.plot_random_effects("1 + Days | Subject", "Days")
    np.testing.assert_allclose(blups(ax), np.sort(sleep.blup("1 + Days | Subject")["Days"]))
    assert "Days" in ax.get_xlabel()
    with pytest.raises(rb.OptionError, match=r"no effect 'Dayz'.*'Intercept', 'Days'"):
        sleep.plot_random_effects(effect="Dayz")


def test_unknown_term(sleep):
    with pytest.raises(rb.VarianceError, match=r"'Subjects' is not a term.*Subject"):
        sleep.plot_random_effects("Subjects")


def test_without_random_terms(fixed_only):
    with pytest.raises(rb.RemlBlupError, match="no random term"):
        fixed_only.plot_random_effects()


def test_two_levels():
    ax = grouped(2, 20).plot_random_effects()
    assert len(blups(ax)) == 2
    assert {t.get_text() for t in ax.get_yticklabels()} == {"0", "1"}


def test_many_levels_become_a_ribbon():
    fit = grouped(2000, 2)
    ax = fit.plot_random_effects()
    assert len(blups(ax)) == 2000
    (ribbon,) = [c for c in ax.collections if isinstance(c, PolyCollection)]
    box = ribbon.get_paths()[0].get_extents()
    half = 1.959964 * fit.random_effects["std_error"].median()  # nearly the same for all: a balanced design
    np.testing.assert_allclose([box.x0, box.x1], [blups(ax).min() - half, blups(ax).max() + half], rtol=1e-3)
    assert (box.y0, box.y1) == (1, 2000)
    assert "2,000 levels" in " ".join(t.get_text() for t in ax.texts)
    assert "rank" in ax.get_ylabel()


def test_the_ribbon_has_the_median_width_of_neighbours():
    half = np.repeat([1.0, 2.0], 1000)
    half[5] = 50.0  # one wide interval does not show
    width = ribbon(half)
    assert width[:900].tolist() == [1.0] * 900 and width[1100:].tolist() == [2.0] * 900


def test_a_boundary_variance_says_so(boundary):
    ax = boundary.plot_random_effects()
    assert not blups(ax).any()
    assert any("boundary" in t.get_text() for t in ax.texts)


def test_a_negative_variance_has_no_intervals():
    model = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2"))
    fit = model.fit(constrain=False)
    assert fit.theta[0] < 0
    ax = fit.plot_random_effects()
    assert len(blups(ax)) == 6
    bars = next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments()
    assert not any(len(b) and np.isfinite(b).all() for b in bars)
    assert any("negative" in t.get_text() for t in ax.texts)


def test_solved_models_can_be_drawn(slopes, sleep):
    ax = plot_random_effects(slopes.solve(sleep.variances))
    np.testing.assert_allclose(blups(ax), blups(sleep.plot_random_effects()), rtol=1e-5)


def test_an_array_of_axes_is_refused(sleep):
    import matplotlib.pyplot as plt

    with pytest.raises(rb.OptionError, match="one matplotlib Axes, not ndarray"):
        sleep.plot_random_effects(ax=plt.subplots(1, 2)[1])


# -- rankings, quantiles, differences, units ------------------------------------------------------


def test_a_ranking_has_names_at_both_ends():
    fit = grouped(60, 3)
    ax = fit.plot_random_effects(kind="ranking")
    order = fit.random_effects.sort_values("estimate")["level"].astype(str).tolist()
    names = [t.get_text() for t in ax.texts][:12]
    assert names == [*order[:6], *order[-6:]]
    labels = [t.get_text() for t in ax.get_yticklabels()]
    assert labels[0] == "60" and labels[-1] == "1" and "highest first" in ax.get_ylabel()
    ax.figure.canvas.draw()
    width = ax.figure.bbox.width
    assert all(t.get_window_extent().x1 <= width for t in ax.texts)  # nothing clipped


def test_a_short_ranking_names_every_level_with_its_rank(sleep):
    ax = sleep.plot_random_effects(kind="ranking")
    table = sleep.random_effects.query("effect == 'Intercept'").sort_values("estimate")
    labels = [t.get_text().split() for t in ax.get_yticklabels()]
    assert [name for name, _ in labels] == table["level"].astype(str).tolist()
    assert [int(rank) for _, rank in labels] == list(range(18, 0, -1))


def test_intervals_for_differences_touch_where_levels_differ_on_average(sleep):
    ax = sleep.plot_random_effects("Subject", "Days", intervals="difference")
    bars = np.array(next(c for c in ax.collections if isinstance(c, LineCollection)).get_segments())
    half = 0.5 * (bars[:, 1, 0] - bars[:, 0, 0])
    table = sleep.random_effects.query("effect == 'Days'").sort_values("estimate")
    pairs = [(a, b) for k, a in enumerate(table["level"]) for b in table["level"][k + 1 :]]
    sed = sleep.contrasts("Subject", pairs, "Days")["std_error"].to_numpy()
    i, j = np.triu_indices(18, 1)
    np.testing.assert_allclose(np.mean(half[i] + half[j]), 1.959964 * np.mean(sed), rtol=1e-9)
    np.testing.assert_allclose(half / half[0], table["std_error"] / table["std_error"].iloc[0])
    assert any("differ (5 %) where bars do not overlap" in t.get_text() for t in ax.texts)


def test_quantiles_of_blups_over_their_standard_deviations(sleep):
    ax = sleep.plot_random_effects("Subject", "Days", kind="qq", draws=99)
    table = sleep.random_effects.query("effect == 'Days'")
    expected = np.sort(table["estimate"] / np.sqrt(sleep.theta[2] - table["pev"]))
    drawn = np.sort(np.concatenate([one.get_ydata() for one in ax.lines if one.get_linestyle() == "None"]))
    np.testing.assert_allclose(drawn, expected, rtol=1e-9)
    extremes = table.loc[[table["estimate"].idxmin(), table["estimate"].idxmax()], "level"].astype(str)
    assert set(extremes) <= {t.get_text() for t in ax.texts}


def test_a_slope_is_per_unit_of_its_covariate(sleep, curves, sites):
    assert sleep.plot_random_effects("Subject", "Days").get_xlabel() == "BLUP of Days (Reaction per unit of Days)"
    assert sleep.plot_random_effects("Subject").get_xlabel() == "BLUP of Intercept (Reaction)"
    legendre = rb.MixedModel("y ~ age + diag(leg(age, 1) | animal)", curves).fit()
    assert legendre.plot_random_effects(effect="leg1").get_xlabel().endswith("(y per unit of leg1)")
    by_site = rb.MixedModel("y ~ site + diag(site | gen)", sites).fit()
    assert by_site.plot_random_effects(effect="S1").get_xlabel() == "BLUP of S1 (y)"


def test_of_several_traits_the_unit_is_that_of_the_trait():
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"g": np.repeat(np.arange(10), 4), "a": rng.normal(size=40), "b": rng.normal(size=40)})
    d += rng.normal(size=(10, 1))[d["g"]] * [0, 1, 1]
    fit = rb.MixedModel("c(a, b) ~ 0 + trait + diag(trait | g)", d, residual="diag(trait | units)").fit()
    assert fit.plot_random_effects(effect="b").get_xlabel() == "BLUP of b (b)"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kind": "violin"}, rb.OptionError, "kind='violin' is not known"),
        ({"intervals": "bayes"}, rb.OptionError, "intervals='bayes' is not known"),
        ({"kind": "qq", "draws": 3}, rb.OptionError, "draws=3"),
    ],
)
def test_named_errors(sleep, options, error, text):
    with pytest.raises(error, match=text):
        sleep.plot_random_effects(**options)


def test_of_a_variance_of_zero_there_are_no_quantiles(boundary):
    with pytest.raises(rb.ModelError, match=r"fewer than three levels of 'Batch'.*its variance is zero"):
        boundary.plot_random_effects(kind="qq")
