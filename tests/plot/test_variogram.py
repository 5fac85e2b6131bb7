"""Sample variograms against double loops over all pairs, and the model's against R written out."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.diagnostics.envelope import residual_draws
from remlblup.fit.terms.variogram import grid_pairs, pairs_within, variogram

from .conftest import autoregressive


def loop(x, e, R, group=None):
    """Displacement → [pairs, Σ½(e_i − e_j)², Σ(½(R_ii + R_jj) − R_ij)] over all pairs, one by one."""
    out = {}
    for i in range(len(e)):
        for j in range(i):
            if group is not None and group[i] != group[j]:
                continue
            key = tuple(np.abs(np.subtract(x[i], x[j])).tolist())
            row = out.setdefault(key, np.zeros(3))
            row += [1.0, 0.5 * (e[i] - e[j]) ** 2, 0.5 * (R[i, i] + R[j, j]) - R[i, j]]
    return out


def check(table, keys, expected):
    """The table holds the averages of the displacements with enough pairs, and no others."""
    limit = min(30, max(v[0] for v in expected.values()) / 3)
    kept = {k: v for k, v in expected.items() if v[0] >= limit}
    assert len(table) == len(kept)
    for key, row in zip(table[keys].itertuples(index=False), table.itertuples(), strict=True):
        pairs, squares, model = kept[tuple(key)]
        assert row.pairs == pairs
        assert row.semivariance == pytest.approx(squares / pairs, rel=1e-9)
        assert row.model == pytest.approx(model / pairs, rel=1e-9)


def estimates(fit, term="residual"):
    table = fit.variance_components
    return table[table["term"] == term].set_index("parameter")["estimate"]


def field_R(data, at):
    r, c = data["row"].to_numpy(), data["col"].to_numpy()
    K = autoregressive(40, at["correlation(row)"]), autoregressive(40, at["correlation(col)"])
    return at["variance"] * K[0][np.ix_(r, r)] * K[1][np.ix_(c, c)]


def test_a_field_with_independent_errors_and_empty_plots(field, field_data):
    e = (field_data["y"] - field.specification.fixed.matrix @ field.beta).to_numpy()
    R = field_R(field_data, estimates(field)) + estimates(field, "units")["variance"] * np.eye(len(e))
    expected = loop(field_data[["row", "col"]].to_numpy(), e, R)
    check(field.variogram(), ["row", "col"], expected)


def test_pairs_of_several_fields_are_pooled_or_one_is_chosen(trials):
    data = trials.specification.records.frame
    e = (data["y"] - trials.specification.fixed.matrix @ trials.beta).to_numpy()
    at = estimates(trials)
    both = {}
    for site in "AB":
        own = (data["site"] == site).to_numpy()
        R = field_R(data[own], {p: at[f"{site}: {p}"] for p in ("variance", "correlation(row)", "correlation(col)")})
        expected = loop(data.loc[own, ["row", "col"]].to_numpy(), e[own], R)
        check(trials.variogram(trial=site), ["row", "col"], expected)
        for key, value in expected.items():
            both[key] = both.get(key, 0.0) + value
    check(trials.variogram(), ["row", "col"], both)


def test_fourier_pairs_of_any_grid():
    rng = np.random.default_rng(4)
    for shape in ((1, 1), (1, 7), (6, 1), (5, 8)):
        grid = rng.normal(1e4, 1.0, shape)
        grid[rng.random(shape) < 0.2] = np.nan
        grid[0, 0] = 1e4
        there = np.argwhere(~np.isnan(grid))
        counts, sums = grid_pairs(grid)
        expected = loop(there, grid[tuple(there.T)], np.zeros((len(there),) * 2))
        assert counts.sum() == len(there) * (len(there) - 1) / 2
        for (r, c), (pairs, squares, _) in expected.items():
            assert counts[r, c] == pairs
            assert sums[r, c] == pytest.approx(squares, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    "residual",
    ["us(age | Subject)", "ar1h(age | Subject)", "ar1(age | Subject)", "exp(age | Subject)", "toep(age | Subject)"],
)
def test_times_within_subjects(orthodont, residual):
    data = orthodont.sample(len(orthodont), random_state=1).iloc[:95]  # shuffled, some missing
    fit = rb.MixedModel("distance ~ age * Sex", data, residual=residual).fit()
    e = (data["distance"] - fit.specification.fixed.matrix @ fit.beta).to_numpy()
    age = data["age"].to_numpy(float)
    at = estimates(fit)
    if residual.startswith(("ar1(", "exp(")):
        step = 2.0 if residual.startswith("ar1(") else 1.0
        R = at["variance"] * at["correlation"] ** (np.abs(np.subtract.outer(age, age)) / step)
    else:
        sigma = fit.covariance("residual").to_numpy()
        occasion = ((age - 8) / 2).astype(int)
        R = sigma[np.ix_(occasion, occasion)]
    check(fit.variogram(), ["lag"], loop(age[:, None], e, R, data["Subject"].to_numpy()))


def test_positions_given_for_independent_residuals(orthodont):
    data = orthodont.assign(w=np.linspace(0.5, 2.0, len(orthodont)))
    fit = rb.MixedModel("distance ~ age + (1 | Subject)", data, weights="w").fit()
    R = np.diag(fit.theta[-1] / data["w"])
    x = data["age"].to_numpy(float)[:, None]
    expected = loop(x, fit.residuals.to_numpy(), R, data["Subject"].to_numpy())
    check(fit.variogram(x="age", by="Subject"), ["lag"], expected)
    check(fit.variogram(x=x[:, 0]), ["lag"], loop(x, fit.residuals.to_numpy(), R))


def test_rows_and_columns_given(field_data):
    fit = rb.MixedModel("y ~ gen", field_data).fit()
    expected = loop(field_data[["row", "col"]].to_numpy(), fit.residuals.to_numpy(), fit.theta[-1] * np.eye(fit.n_obs))
    check(fit.variogram(row="row", col="col"), ["row", "col"], expected)


def test_a_structure_says_nothing_about_other_positions(orthodont):
    fit = rb.MixedModel("distance ~ age * Sex", orthodont, residual="us(age | Subject)").fit()
    assert fit.variogram(x="distance")["model"].isna().all()


def test_uneven_lags_are_put_into_classes():
    rng = np.random.default_rng(9)
    data = pd.DataFrame({"id": np.repeat(np.arange(40), 8), "t": rng.uniform(0, 10, 320)})
    t, subject = data["t"].to_numpy(), data["id"].to_numpy()
    gap = np.abs(np.subtract.outer(t, t)) + 1e9 * np.not_equal.outer(subject, subject)
    data["y"] = np.linalg.cholesky(np.exp(-gap / 2.0) + 1e-10 * np.eye(320)) @ rng.normal(size=320)
    fit = rb.MixedModel("y ~ 1", data, residual="exp(t | id)").fit()
    table = fit.variogram()
    assert 8 <= len(table) <= 15 and (np.diff(table["lag"]) > 0).all()
    width = max(g["t"].max() - g["t"].min() for _, g in data.groupby("id")) / 15
    first = (gap < width) & np.tri(320, k=-1, dtype=bool)
    i, j = np.nonzero(first)
    e = (data["y"] - fit.beta[0]).to_numpy()
    assert table["pairs"].iloc[0] == len(i)
    assert table["lag"].iloc[0] == pytest.approx(gap[first].mean())
    assert table["semivariance"].iloc[0] == pytest.approx((0.5 * (e[i] - e[j]) ** 2).mean())
    at = estimates(fit)
    assert table["model"].iloc[0] == pytest.approx((at["variance"] * (1 - at["correlation"] ** gap[first])).mean())


def test_every_pair_within_a_group_once():
    group = np.random.default_rng(2).integers(0, 7, 50)
    found = [tuple(sorted(p)) for i, j in pairs_within(group) for p in zip(i.tolist(), j.tolist(), strict=True)]
    expected = {(i, j) for i in range(50) for j in range(i + 1, 50) if group[i] == group[j]}
    assert len(found) == len(expected) and set(found) == expected


def test_profiles_show_the_table(field):
    table = field.variogram()
    along_row, along_col = field.plot_variogram()
    for ax, along, across in ((along_row, "row", "col"), (along_col, "col", "row")):
        part = table[table[across] == 0]
        points = ax.collections[0].get_offsets()
        np.testing.assert_allclose(points, part[[along, "semivariance"]])
        np.testing.assert_allclose(ax.lines[0].get_ydata(), part["model"])
        assert along in ax.get_xlabel()
    assert along_row.get_ylim() == along_col.get_ylim()


def test_surface_and_lag_plot(field, orthodont):
    ax = field.plot_variogram("surface")
    assert ax.name == "3d" and ax.get_zlabel() == "semi-variance"
    _, flat = plt.subplots()
    with pytest.raises(rb.OptionError, match="3-D Axes"):
        field.plot_variogram("surface", axes=flat)
    fit = rb.MixedModel("distance ~ age * Sex", orthodont, residual="ar1(age | Subject)").fit()
    ax = fit.plot_variogram(axes=flat)
    assert ax is flat and ax.get_xlabel() == "lag in age"
    with pytest.raises(rb.OptionError, match="one lag"):
        fit.plot_variogram("surface")


def test_without_positions_the_error_says_what_to_give(sleep, orthodont):
    rng = np.random.default_rng(0)
    traits = pd.DataFrame(rng.normal(size=(40, 2)), columns=["a", "b"])
    for fit in (sleep, rb.MixedModel("c(a, b) ~ trait", traits, residual="us(trait | units)").fit()):
        with pytest.raises(rb.ModelError, match=r"neither rows and columns nor times.*x='time'"):
            fit.plot_variogram()
    with pytest.raises(rb.OptionError, match="not both"):
        sleep.variogram(x="Days", row="Days", col="Days")
    with pytest.raises(rb.OptionError, match="by= goes with x="):
        rb.MixedModel("distance ~ age", orthodont, residual="ar1(age | Subject)").fit().variogram(by="Sex")


# -- bands ----------------------------------------------------------------------------------------


def test_bands_are_those_of_residuals_of_simulated_records(field, field_data):
    """Every draw by the definitions: its residuals, scaled as the data's, and their variogram."""
    e = (field_data["y"] - field.specification.fixed.matrix @ field.beta).to_numpy()
    V = field_R(field_data, estimates(field)) + estimates(field, "units")["variance"] * np.eye(len(e))
    X, inverse = field.specification.fixed.matrix, np.linalg.inv(V)
    P = inverse - inverse @ X @ np.linalg.solve(X.T @ inverse @ X, X.T @ inverse)
    y = field.simulate(39, seed=2).to_numpy()
    scale = np.sqrt((e @ P @ e) / np.einsum("ni,nm,mi->i", y, P, y))
    residuals = V @ P @ y * scale
    np.testing.assert_allclose(residual_draws(field, 39, 2), residuals, rtol=1e-6, atol=1e-8)
    left, right = field.plot_variogram(bands=True, draws=39, seed=2)
    along = field.variogram().query("col == 0")
    values = np.column_stack([
        variogram(field, residual=one).query("col == 0")["semivariance"] for one in residuals.T
    ])  # fmt: skip
    for ax in (left, right):
        assert ax.get_legend_handles_labels()[1].count("95 % of draws from the fit") == 1
    box = next(c for c in left.collections if c.get_label().startswith("95 %")).get_paths()[0].vertices
    for lag, low, high in zip(along["row"], values.min(axis=1), values.max(axis=1), strict=True):
        there = box[box[:, 0] == lag, 1]
        assert there.min() < np.median(values[along["row"] == lag]) < there.max()
        assert there.max() > 0.5 * high and there.min() < 2.0 * low + 1e-9


def test_bands_over_lags_and_where_they_cannot_be(field):
    d = rb.datasets.load("sleepstudy")
    fit = rb.MixedModel("Reaction ~ Days", d, residual="ar1(Days | Subject)").fit()
    (band,) = (c for c in fit.plot_variogram(bands=True, draws=19).collections if "draws" in str(c.get_label()))
    assert np.all(band.get_paths()[0].vertices[:, 1] >= 0.0)
    with pytest.raises(rb.OptionError, match="bands=True is for profiles"):
        field.plot_variogram("surface", bands=True)
    with pytest.raises(rb.OptionError, match="bands='yes' must be True or False"):
        field.plot_variogram(bands="yes")
    with pytest.raises(rb.OptionError, match="draws=2"):
        field.plot_variogram(bands=True, draws=2)
