"""The convergence plot shows the history and the verdict."""

from __future__ import annotations

import numpy as np
import pytest


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
    np.testing.assert_allclose(gain.get_ydata()[:4], expected[:4], rtol=1e-6)
    assert (gain.get_ydata() > 0).all()  # clipped at rounding, or a log scale would lose the last point
    np.testing.assert_array_equal(line(ax, "gradient").get_ydata(), history["gradient"])
    assert set(line(ax, "tolerance").get_ydata()) == {sleep.options.tolerance}
    assert ax.get_yscale() == "log"


def test_every_iteration_is_labelled_with_its_step(sleep):
    labels = [t.get_text() for t in sleep.plot_convergence().get_xticklabels()]
    assert labels == [f"{i}\n{s}" for i, s in zip(sleep.history["iteration"], sleep.history["step"], strict=True)]
    assert labels[0] == "0\nstart"


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
