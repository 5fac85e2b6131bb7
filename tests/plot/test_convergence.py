"""The convergence plot shows the history and the verdict."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import remlblup as rb


@pytest.fixture(scope="module")
def unbalanced():
    """In balanced data a search is over too soon to be drawn."""
    data = rb.datasets.load("sleepstudy")
    return data.drop(index=data.index[::7])


@pytest.fixture(scope="module")
def slopes(unbalanced):
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", unbalanced)


@pytest.fixture(scope="module")
def fixed_only(unbalanced):
    return rb.MixedModel("Reaction ~ Days", unbalanced).fit()


@pytest.fixture(scope="module")
def sleep(slopes):
    return slopes.fit()


def line(ax, start):
    found = [one for one in ax.lines if str(one.get_label()).startswith(start)]
    assert len(found) == 1, f"{len(found)} lines named {start}…"
    return found[0]


def test_lines_hold_the_history(sleep):
    ax = sleep.plot_convergence()
    history = sleep.history
    gain = line(ax, "log-likelihood")
    np.testing.assert_array_equal(gain.get_xdata(), history["iteration"])
    expected = history["loglik"].max() - history["loglik"]
    np.testing.assert_allclose(gain.get_ydata()[:3], expected[:3], rtol=1e-6)
    assert (gain.get_ydata() > 0).all()  # clipped at rounding, or a log scale would lose the last point
    np.testing.assert_array_equal(line(ax, "gradient").get_ydata(), history["gradient"])
    assert set(line(ax, "tolerance").get_ydata()) == {sleep.options.tolerance}
    assert ax.get_yscale() == "log"


def test_every_iteration_is_labelled_with_its_step(sleep):
    labels = [t.get_text() for t in sleep.plot_convergence().get_xticklabels()]
    assert labels == [f"{i}\n{s}" for i, s in zip(sleep.history["iteration"], sleep.history["step"], strict=True)]
    assert labels[0] == "0\nmoments"


def test_title_tells_the_verdict(slopes, sleep, boundary):
    assert sleep.plot_convergence().get_title("left").startswith("Converged after")
    stopped = slopes.fit(max_iterations=2)
    ax = stopped.plot_convergence()
    assert ax.get_title("left").startswith("NOT CONVERGED after 2 iterations")
    assert any("gradient" in t.get_text() for t in ax.texts)
    assert any("Batch" in t.get_text() for t in boundary.plot_convergence().texts)


def test_an_unfinished_fit_is_not_drawn_at_the_maximum(slopes):
    stopped = slopes.fit(max_iterations=2)
    decrement = next(c.value for c in stopped.convergence.criteria if c.name == "Newton decrement")
    last = line(stopped.plot_convergence(), "log-likelihood").get_ydata()[-1]
    assert last == pytest.approx(0.5 * decrement, rel=1e-6)


def test_a_long_history_tells_steps_by_colour(slopes):
    fit = slopes.fit(algorithm="em")
    ax = fit.plot_convergence()
    assert len(fit.history) > 12
    assert len(line(ax, "step EM").get_xdata()) == (fit.history["step"] == "EM").sum()


def test_a_given_axes_is_used_and_nothing_shown(sleep, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("show() was called"))
    _, axes = plt.subplots(1, 2)
    assert sleep.plot_convergence(ax=axes[1]) is axes[1]
    assert not axes[0].lines
    assert len(plt.get_fignums()) == 1


# -- several searches, components, the path -------------------------------------------------------


@pytest.fixture(scope="module")
def em(slopes):
    return slopes.fit(algorithm="em")


def test_fits_of_the_same_records_are_measured_from_the_highest_of_them(sleep, em):
    ax = sleep.plot_convergence(compare=[em])
    auto, other = line(ax, "AI with rescues"), line(ax, "EM")
    top = max(sleep.history["loglik"].max(), em.history["loglik"].max())
    np.testing.assert_allclose(auto.get_ydata()[:3], top - sleep.history["loglik"][:3], rtol=1e-5)
    np.testing.assert_allclose(other.get_ydata()[:10], top - em.history["loglik"][:10], rtol=1e-5)
    assert auto.get_linestyle() != other.get_linestyle()  # told apart in grey print
    assert ax.get_title("left").startswith(f"AI with rescues: converged after {len(sleep.history) - 1}")


def test_a_history_of_another_program_is_measured_from_its_own_highest(slopes, sleep, fixed_only):
    table = pd.DataFrame({"loglik": [-1000.0, -880.0, -871.5, -871.0]})
    table.attrs["name"] = "their program"
    ax = sleep.plot_convergence(compare=table)
    theirs = line(ax, "their program, from its own highest")
    np.testing.assert_array_equal(theirs.get_xdata(), [0, 1, 2, 3])
    np.testing.assert_allclose(theirs.get_ydata()[:3], [129.0, 9.0, 0.5])
    ax = sleep.plot_convergence(compare=[slopes.fit("ML"), fixed_only])
    assert line(ax, "AI with rescues, ML, from its own highest")  # another likelihood
    assert line(ax, "AI with rescues, REML (2)").get_label().endswith("(2)")


def test_traces_are_distances_in_standard_errors(sleep, em):
    ax = sleep.plot_convergence("components", compare=em)
    error = sleep.variance_components["std_error"].to_numpy()
    label = sleep.specification.parameters.columns[3]
    expected = (sleep.history[label] - sleep.theta[3]) / error[3]
    np.testing.assert_allclose(line(ax, label).get_ydata(), expected)
    theirs = [one for one in ax.lines if len(one.get_xdata()) == len(em.history)]
    assert len(theirs) == 4 and line(ax, "thin: EM")
    assert ax.get_ylabel() == "distance from its end, in standard errors"
    one = sleep.plot_convergence("components", parameters=label)
    assert [t.get_text() for t in one.get_legend().get_texts()] == [label, "start", "step strata"]


def test_of_many_components_those_that_came_furthest_are_named(factor_fit):
    ax = factor_fit.plot_convergence("components")
    columns, error = list(factor_fit.specification.parameters.columns), factor_fit.variance_components["std_error"]
    moved = np.abs(factor_fit.history[columns] - factor_fit.theta).max().to_numpy() / error.to_numpy()
    named = [t.get_text() for t in ax.get_legend().get_texts()]
    assert named[7] == f"{len(columns) - 7} more that moved less"
    if error.notna().all():
        furthest = np.array(columns)[np.argsort(-moved)[:7]]
        assert [n.rpartition(": ")[2] for n in named[:7]] == [f.rpartition(": ")[2] for f in furthest]


def test_the_path_runs_over_the_map_of_the_two_most_correlated(sleep, em):
    ax = sleep.plot_convergence("path", compare=[em])
    r = np.abs(sleep.correlation_of_estimates.to_numpy()) - np.eye(4)
    i, j = np.sort(np.unravel_index(np.argmax(r), r.shape))
    columns = sleep.specification.parameters.columns
    for name, fit in (("AI with rescues", sleep), ("EM", em)):
        name = f"{name}, {len(fit.history) - 1} iterations"
        np.testing.assert_array_equal(line(ax, name).get_xdata(), fit.history[columns[i]])
        np.testing.assert_array_equal(line(ax, name).get_ydata(), fit.history[columns[j]])
    asked = sleep.plot_convergence("path", parameters=[columns[3], columns[0]])
    assert asked.get_xlabel() == columns[3] and asked.get_ylabel().endswith("var(Intercept)")


def test_bounds_and_an_unfinished_search_are_on_the_map(boundary, slopes):
    ax = boundary.plot_convergence("path")
    assert any(np.allclose(one.get_xdata(), 0.0) and one.get_linewidth() == 2.0 for one in ax.lines)
    with pytest.warns(rb.ConvergenceWarning):
        stopped = slopes.fit(max_iterations=1, algorithm="ai")
    assert line(stopped.plot_convergence("path"), "last iterate")


def test_all_three_below_one_another(sleep, fixed_only):
    drawn = sleep.plot_convergence("all")
    assert [ax.get_title("left").split()[0] for ax in drawn] == ["Converged", "Components", "The"]
    assert len(fixed_only.plot_convergence("all")) == 2  # one parameter has no map


def test_a_direction_is_drawn_with_what_moves(sleep):
    left, right = sleep.flat_direction().plot()
    direction = sleep.flat_direction()
    np.testing.assert_allclose(line(left, "log-likelihood").get_ydata(), -direction.table["below"])
    widths = [bar.get_width() for bar in right.patches]
    np.testing.assert_allclose(sorted(widths), sorted(direction.scaled))
    assert len(right.texts) == len(direction.scaled)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"kind": "speed"}, rb.OptionError, "kind='speed' is not known"),
        ({"compare": 3}, rb.OptionError, "compare= takes a list"),
        ({"compare": ["em"]}, rb.OptionError, "not str"),
        ({"compare": pd.DataFrame({"ll": [1.0]})}, rb.DataError, "needs a column 'loglik'.*its columns are: ll"),
        ({"compare": pd.DataFrame({"loglik": ["x"]})}, rb.DataError, "not a number"),
        ({"kind": "path", "parameters": ["residual"]}, rb.OptionError, "must be two"),
        ({"kind": "path", "parameters": ["residual", "residual"]}, rb.OptionError, "given twice"),
        ({"kind": "components", "parameters": "nobody"}, rb.OptionError, "'nobody' is not a parameter"),
    ],
)
def test_named_errors(sleep, options, error, text):
    with pytest.raises(error, match=text):
        sleep.plot_convergence(**options)


def test_what_has_no_path(fixed_only):
    with pytest.raises(rb.ModelError, match="fewer than two parameters"):
        fixed_only.plot_convergence("path")


@pytest.mark.parametrize("kind", ["criteria", "all"])
@pytest.mark.parametrize(("algorithm", "iterations"), [("em", 13), ("ai", 6), ("px-em", 3)])
def test_the_legend_covers_no_line(slopes, kind, algorithm, iterations):
    """Every line as it is drawn, the tolerance of the gradient among them, against the box of the legend."""
    drawn = slopes.fit(algorithm=algorithm, max_iterations=iterations).plot_convergence(kind)
    ax = drawn[0] if kind == "all" else drawn
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    for line in ax.lines:
        corners = line.get_transform().transform(line.get_xydata())
        between = [np.linspace(a, b, 400) for a, b in pairwise(corners)]
        on = np.concatenate([corners, *between])
        inside = (box.x0 < on[:, 0]) & (on[:, 0] < box.x1) & (box.y0 < on[:, 1]) & (on[:, 1] < box.y1)
        assert not inside.any(), line.get_label()
