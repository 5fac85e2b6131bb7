"""Many responses searched as arrays: each as the fit of its own, what is wrong with one left to that fit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.many import Later
from remlblup.reml.together.reduction import Reduction
from remlblup.reml.together.several import Several, State


def lines(relationship: bool = True):
    rng = np.random.default_rng(4)
    markers = rng.integers(0, 3, (60, 300)) - 1.0
    G = markers @ markers.T / 300 + 0.05 * np.eye(60)
    names = [f"l{k}" for k in range(60)]
    d = pd.DataFrame({"line": np.repeat(names, 2), "x": rng.standard_normal(120)}, index=[f"r{k}" for k in range(120)])
    u = np.linalg.cholesky(G) @ rng.standard_normal((60, 40)) * np.linspace(0.0, 1.5, 40)
    Y = pd.DataFrame(
        np.repeat(u, 2, axis=0) + rng.standard_normal((120, 40)), columns=[f"y{k}" for k in range(40)], index=d.index
    )
    return d, Y, {"G": rb.Relationship(G, names)}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", ["~ x + (1 | vm(line, G))", "~ x + (1 | line)", "~ x"])
def test_each_is_its_own_fit(method, formula):
    d, Y, given = lines()
    given = given if "G" in formula else {}
    fits = rb.fit_many(formula, d, Y, given, method=method)
    assert (
        all(isinstance(fit, Later) for fit in fits._fits.values())
        or sum(isinstance(f, Later) for f in fits._fits.values()) > 38
    )
    table = fits.table
    own = {name: rb.MixedModel(f"y {formula}", d.assign(y=Y[name]), given).fit(method) for name in list(Y.columns)[::5]}
    for name, fit in own.items():
        row = table.loc[name]
        assert row["converged"] and row["records"] == 120 and row["loglik"] == pytest.approx(fit.loglik, abs=1e-7)
        components = fit.variance_components
        found = np.array([row[label] for label in fit.specification.parameters.columns])
        errors = np.array([row[f"se {label}"] for label in fit.specification.parameters.columns])
        np.testing.assert_allclose(found, components["estimate"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(errors, components["std_error"], rtol=1e-5)  # missing where the fit's are
        assert fits[name].loglik == pytest.approx(fit.loglik, abs=1e-8) and fits[name].specification.response == name
        assert list(fits[name].fixed_effects.index) == list(fit.fixed_effects.index)


def test_missing_values_make_groups_and_faults_are_told():
    d, Y, given = lines()
    Y = Y.copy()
    Y.iloc[[3, 50], 20:] = np.nan
    Y["y1"], Y["y2"] = 1.0, np.inf
    Y.iloc[7, 5] = np.nan
    fits = rb.fit_many("~ x + (1 | vm(line, G))", d, Y, given)
    assert set(fits.errors) == {"y1", "y2"} and "constant" in fits.errors["y1"]
    table = fits.table
    assert list(table["records"].dropna().unique()) == [120.0, 119.0, 118.0]
    assert isinstance(fits._fits["y25"], Later) and not isinstance(fits._fits["y5"], Later)
    kept = Y["y25"].notna()
    own = rb.MixedModel("y ~ x + (1 | vm(line, G))", d[kept].assign(y=Y["y25"][kept]), given).fit()
    assert table.loc["y25", "loglik"] == pytest.approx(own.loglik, abs=1e-7)


def test_options_of_a_search_are_kept():
    d, Y, given = lines()
    single = rb.fit_many("~ x + (1 | vm(line, G))", d, Y, given, algorithm="ai")
    assert not any(isinstance(fit, Later) for fit in single._fits.values())
    seen = []
    rb.fit_many(
        "~ x + (1 | vm(line, G))",
        d,
        Y.iloc[:, :25],
        given,
        progress=lambda name, fit: seen.append((name, fit.converged)),
    )
    assert len(seen) == 25
    assert list(rb.fit_many("~ x + (1 | line)", d, Y.iloc[:, :2], progress=False)) == list(Y.columns[:2])
    together = rb.fit_many("~ x + (1 | vm(line, G))", d, Y, given)
    np.testing.assert_allclose(single.table["loglik"], together.table["loglik"], atol=1e-7)
    with pytest.raises(rb.OptionError):
        rb.fit_many("~ x + (1 | vm(line, G))", d, Y, given, method="exact")


def slopes(responses: int = 60):
    """Twenty subjects of nine records in three places; from no variance of the subjects to much, slopes in between."""
    rng = np.random.default_rng(11)
    subject = np.repeat(np.arange(20), 9)
    d = pd.DataFrame(
        {"s": subject.astype(str), "x": np.tile(np.arange(9.0), 20), "p": rng.integers(0, 12, 180).astype(str)}
    )
    size = np.linspace(0.0, 2.0, responses)
    u, v, w = (rng.standard_normal((k, responses)) for k in (20, 20, 12))
    Y = u[subject] * size + 0.2 * (v[subject] * rng.permutation(size)) * d[["x"]].to_numpy()
    Y += w[d["p"].astype(int)] * rng.permutation(size) + rng.standard_normal((180, responses))
    return d, pd.DataFrame(100.0 + 7.0 * Y, columns=[f"y{k}" for k in range(responses)])


SEVERAL = {
    "~ x + (1 + x | s)": {},
    "~ x + (1 + x || s) + (1 | p)": {},
    "~ (1 | s) + (1 | p)": {},
    "~ x + (1 + x | s) + (1 | p)": {"weights": "w"},
}


@pytest.mark.parametrize("method", ["REML", "ML"])
@pytest.mark.parametrize("formula", SEVERAL)
def test_several_variances_are_those_of_its_own_fit(method, formula):
    d, Y = slopes()
    d["w"] = np.tile([1.0, 2.0, 0.5], 60)
    fits = rb.fit_many(formula, d, Y, method=method, **SEVERAL[formula])
    later = [name for name, fit in fits._fits.items() if isinstance(fit, Later)]
    assert len(later) > 50
    table, on_boundary = fits.table, 0
    for name in later[::3]:
        fit = rb.MixedModel(f"y {formula}", d.assign(y=Y[name]), **SEVERAL[formula]).fit(method)
        row, components = table.loc[name], fit.variance_components
        assert row["loglik"] == pytest.approx(fit.loglik, abs=1e-6)
        found = np.array([row[label] for label in fit.specification.parameters.columns])
        errors = np.array([row[f"se {label}"] for label in fit.specification.parameters.columns])
        np.testing.assert_allclose(found, components["estimate"], rtol=1e-4, atol=1e-5 * fit.theta.max())
        np.testing.assert_allclose(errors, components["std_error"], rtol=1e-3)  # missing where the fit's are
        on_boundary += "boundary" in fit.status
    assert on_boundary


def test_components_that_cannot_be_told_apart_are_left_to_their_own_fits():
    d, Y = slopes(24)
    d["copy"] = d["s"]
    with pytest.warns(rb.ConvergenceWarning, match="24 of 24"):
        fits = rb.fit_many("~ x + (1 | s) + (1 | copy)", d, Y)
    assert not any(isinstance(fit, Later) for fit in fits._fits.values())


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_a_slope_along_a_direction_without_curvature_is_no_maximum(method):
    """What no step can follow for want of curvature was left out of the decrement."""
    d, _, _ = lines()
    spec = rb.MixedModel("x ~ (1 | line) + (1 | g)", d.assign(g=np.arange(120) % 7)).specification
    search = Several(Reduction.of(spec, method == "ML"), np.ones(3))
    along = np.array([1.0, 1.0]) / search.scale
    across = np.array([1.0, -1.0]) / search.scale
    flat = np.zeros((2, 2)) + np.outer(along, along)
    gradient = np.array([along * 1e-9, across * 1e-7, 0.0 * across])
    now = State(
        np.zeros(3), np.ones(3), np.zeros((3, 1)), gradient, np.repeat(flat[None], 3, axis=0), np.zeros((3, 2, 2))
    )
    _, largest, decrement = search.step(now, np.arange(3))
    assert np.all(largest < 2e-7)
    assert decrement[0] < 1e-8 and decrement[2] == 0.0
    assert decrement[1] > 1e-8
