"""The caterpillar plot: BLUPs in order with their intervals, few levels or many."""

from __future__ import annotations

import numpy as np
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
