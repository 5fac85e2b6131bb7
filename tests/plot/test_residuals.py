"""The residual plot, and the smooth in it."""

from __future__ import annotations

import numpy as np

import remlblup as rb
from remlblup.plot.residuals import smooth

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


def test_smooth_follows_a_line_exactly_and_a_curve_closely():
    x = np.random.default_rng(3).uniform(0, 1, 2000)
    grid, values = smooth(x, 3.0 - 2.0 * x)
    np.testing.assert_allclose(values, 3.0 - 2.0 * grid, atol=1e-9)
    grid, values = smooth(x, x**2)
    assert 0.001 < np.abs(values - grid**2).max() < 0.05


def test_smooth_stands_ties():
    grid, values = smooth(np.repeat([1.0, 2.0], 50), np.repeat([5.0, 7.0], 50))
    np.testing.assert_allclose(values[[0, -1]], [5.0, 7.0], atol=1e-6)
    assert np.isfinite(values).all() and len(grid) == len(values)
