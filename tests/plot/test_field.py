"""Maps of a field: every cell holds its record's value, in one scale, whatever the order of the records."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import remlblup as rb

from .conftest import autoregressive, trial


def image(ax):
    """The values drawn, NaN where masked."""
    (one,) = ax.images
    return np.ma.filled(one.get_array().astype(float), np.nan)


def cells(data, values, rows, columns):
    """Values record by record into (rows, columns)."""
    out = np.full((rows, columns), np.nan)
    for r, c, v in zip(data["row"], data["col"], values, strict=True):
        out[r - data["row"].min(), c - data["col"].min()] = v
    return out


def parts(fit, data):
    """Spatial and independent residual by the dense definitions, from y − Xβ̂ and the components."""
    at = fit.variance_components.set_index(["term", "parameter"])["estimate"]
    K = autoregressive(40, at["residual", "correlation(row)"]), autoregressive(40, at["residual", "correlation(col)"])
    r, c = data["row"].to_numpy(), data["col"].to_numpy()
    spatial = at["residual", "variance"] * K[0][np.ix_(r, r)] * K[1][np.ix_(c, c)]
    units = at["units", "variance"] * np.eye(len(r))
    e = data["y"].to_numpy() - fit.specification.fixed.matrix @ fit.beta
    weighted = np.linalg.solve(spatial + units, e)
    return spatial @ weighted, units @ weighted, e


def test_maps_hold_data_spatial_and_independent_residual(field, field_data):
    drawn = field.plot_field()
    assert [ax.get_title("left") for ax in drawn] == ["Data", "Spatial residual", "Independent residual"]
    spatial, units, _ = parts(field, field_data)
    wanted = (field_data["y"] - field_data["y"].mean(), spatial, units)
    for ax, values in zip(drawn, wanted, strict=True):
        np.testing.assert_allclose(image(ax), cells(field_data, values, 9, 14), rtol=1e-6, atol=1e-6)


def test_one_symmetric_scale_and_one_bar(field):
    drawn = field.plot_field()
    limits = {ax.images[0].get_clim() for ax in drawn}
    ((low, high),) = limits
    assert low == -high == -np.nanmax(np.abs([image(ax) for ax in drawn]))
    assert len(drawn[0].figure.axes) == 4  # three maps and the bar
    assert all(ax.get_aspect() == 1.0 for ax in drawn)
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == ("col", "row")


def test_cells_without_a_record_are_hatched(field):
    ax = field.plot_field("spatial")
    assert np.isnan(image(ax)).sum() == 11
    assert ax.patch.get_hatch()
    assert any("9 × 14 plots, 11 without a record" in t.get_text() for t in ax.texts)


def test_axes_are_named_by_the_positions_of_the_data(field):
    ax = field.plot_field("spatial")
    assert [t.get_text() for t in ax.get_yticklabels()] == [str(k) for k in range(5, 14)]
    assert [t.get_text() for t in ax.get_xticklabels()] == [str(k) for k in range(2, 15, 2)]
    np.testing.assert_array_equal(ax.get_xticks(), np.arange(1, 14, 2))


def test_the_residual_is_the_sum_of_its_parts(field, field_data):
    *_, e = parts(field, field_data)
    np.testing.assert_allclose(image(field.plot_field("residual")), cells(field_data, e, 9, 14), rtol=1e-6, atol=1e-6)


def test_one_field_per_trial(trials):
    data = trials.specification.records.frame
    drawn = trials.plot_field()
    assert len(drawn) == 4
    e = pd.Series(data["y"] - trials.specification.fixed.matrix @ trials.beta)
    for site, ax, extent in (("A", drawn[1], (8, 10)), ("B", drawn[3], (12, 6))):
        own = data["site"] == site
        np.testing.assert_allclose(image(ax), cells(data[own], e[own], *extent), atol=1e-8)
    only = trials.plot_field(trial="B")
    assert len(only) == 2 and image(only[0]).shape == (12, 6)
    assert np.nanmean(image(only[0])) == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(rb.OptionError, match=r"trial='C' is not known.*'A', 'B'"):
        trials.plot_field(trial="C")


def test_residuals_of_a_model_without_a_field(field_data):
    fit = rb.MixedModel("y ~ 1 + (1 | gen)", field_data).fit()
    with pytest.raises(rb.ModelError, match=r"no field.*'units'.*row='row', col='col'"):
        fit.plot_field()
    data, residual = fit.plot_field(row="row", col="col")
    assert residual.get_title("left") == "Residual"
    np.testing.assert_allclose(image(residual), cells(field_data, fit.residuals, 9, 14))
    ax = fit.plot_field("residual", row=field_data["row"].to_numpy(), col=field_data["col"].to_numpy())
    np.testing.assert_array_equal(image(ax), image(residual))
    assert data.figure is residual.figure


def test_several_fields_given_need_what_tells_them_apart(trials):
    data = trials.specification.records.frame
    fit = rb.MixedModel("y ~ site", data).fit()
    with pytest.raises(rb.DataError, match=r"share the cell.*by='trial'"):
        fit.plot_field(row="row", col="col")
    drawn = fit.plot_field("residual", row="row", col="col", by="site")
    assert [image(ax).shape for ax in drawn] == [(8, 10), (12, 6)]


def test_a_line_of_plots():
    data = trial(1, 40, 8).drop(columns="row")
    ax = rb.MixedModel("y ~ 1", data, residual="ar1(col)").fit().plot_field("spatial")
    assert image(ax).shape == (1, 40)
    e = data["y"] - data["y"].mean()
    drawn = image(ax)[0, data["col"] - 1]
    assert np.corrcoef(drawn, e)[0, 1] == pytest.approx(1.0)


def test_positions_by_name(field_data):
    named = field_data.assign(row=pd.Categorical([f"r{k:02d}" for k in field_data["row"]], ordered=True))
    ax = rb.MixedModel("y ~ gen", named, residual="ar1(row):ar1(col)").fit().plot_field("spatial")
    assert [t.get_text() for t in ax.get_yticklabels()] == [f"r{k:02d}" for k in range(5, 14)]


def test_given_axes_are_used(field):
    _, axs = plt.subplots(1, 3)
    assert list(field.plot_field(axes=axs)) == list(axs)
    _, ax = plt.subplots()
    assert field.plot_field("spatial", axes=ax) is ax
    with pytest.raises(rb.OptionError, match=r"axes= takes 3 matplotlib Axes.*not 1"):
        field.plot_field(axes=ax)


def test_what_cannot_be_drawn(field, trials):
    with pytest.raises(rb.OptionError, match=r"what='spacial' is not known"):
        field.plot_field("spacial")
    with pytest.raises(rb.OptionError, match=r"no independent part.*\+ units"):
        trials.plot_field("independent")
    with pytest.raises(rb.OptionError, match=r"one field only"):
        field.plot_field(trial="A")
    with pytest.raises(rb.DataError, match=r"row= needs 'rwo'.*Columns"):
        field.plot_field(row="rwo", col="col")
    with pytest.raises(rb.OptionError, match="both row= and col="):
        field.plot_field(row="row")
