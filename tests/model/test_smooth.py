"""Smooth terms: the cubic smoothing spline against its penalised form, P-spline surfaces, new positions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline, CubicSpline, make_smoothing_spline

import remlblup as rb
from remlblup.errors import DataError, FormulaError, ModelError
from remlblup.model.smooth import Margin, Spline

KNOTS = (0.0, 1.0, 1.5, 3.0, 4.0, 7.0)


def curve(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    x = np.round(np.sort(rng.uniform(0, 10, n)), 3)
    return pd.DataFrame({"x": x, "y": np.sin(x) + 0.1 * x + rng.normal(0, 0.2, n), "g": np.tile(list("abcd"), n // 4)})


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4))
def test_the_spline_is_natural_and_its_roughness_is_the_sum_of_squares(u):
    spline, u = Spline("x", KNOTS), np.array(u)
    values = spline.at(np.array(KNOTS)) @ u
    natural = CubicSpline(KNOTS, values, bc_type="natural")
    x = np.linspace(KNOTS[0], KNOTS[-1], 57)
    np.testing.assert_allclose(spline.at(x) @ u, natural(x), atol=1e-10)
    roughness = 0.0
    second = natural.derivative(2)
    for a, b in pairwise(KNOTS):
        s, w = np.polynomial.legendre.leggauss(3)
        roughness += (b - a) / 2 * float(w @ second((a + b) / 2 + (b - a) / 2 * s) ** 2)
    assert roughness == pytest.approx(u @ u, abs=1e-9)


def test_the_random_part_has_no_straight_line_at_the_knots():
    Z = Spline("x", KNOTS).at(np.array(KNOTS))
    np.testing.assert_allclose(np.column_stack([np.ones(6), KNOTS]).T @ Z, 0, atol=1e-12)


def test_the_spline_goes_on_straight():
    Z = Spline("x", KNOTS).at(np.array([-2.0, -1.0, 0.0, 1e-7, 7.0 - 1e-7, 7.0, 8.0, 9.0]))
    np.testing.assert_allclose(Z[0] - Z[1], Z[1] - Z[2], atol=1e-12)
    np.testing.assert_allclose((Z[3] - Z[2]) / 1e-7, Z[2] - Z[1], atol=1e-5)
    np.testing.assert_allclose(Z[7] - Z[6], Z[6] - Z[5], atol=1e-12)
    np.testing.assert_allclose((Z[5] - Z[4]) / 1e-7, Z[6] - Z[5], atol=1e-5)


def test_the_blup_is_the_smoothing_spline():
    d = curve()
    solved = rb.MixedModel("y ~ x + spl(x)", d).solve({"spl(x)": 0.5, "residual": 0.2})
    expected = make_smoothing_spline(d["x"], d["y"], lam=0.2 / 0.5)
    np.testing.assert_allclose(solved.fitted, expected(d["x"]), rtol=1e-7)
    new = pd.DataFrame({"x": np.linspace(0.5, 9.5, 31)})
    np.testing.assert_allclose(solved.predict(new)["prediction"], expected(new["x"]), rtol=1e-7)


def test_knots_of_the_spline():
    d = curve()
    (term,) = rb.MixedModel("y ~ x + spl(x)", d).specification.random
    assert (term.name, term.q, term.t) == ("spl(x)", 38, 1)
    assert term.spec.knots == tuple(d["x"])
    Z = term.columns[0].toarray()
    np.testing.assert_allclose(term.moments, [[np.sum(Z**2) / len(d)]])
    (term,) = rb.MixedModel("y ~ x + spl(x, knots=6)", d).specification.random
    np.testing.assert_allclose(term.spec.knots, np.linspace(d["x"].min(), d["x"].max(), 6))
    (term,) = rb.MixedModel("y ~ x + spl(x, knots=(0, 5, 10))", d).specification.random
    assert term.spec.knots == (0.0, 5.0, 10.0)
    many = pd.DataFrame({"x": np.arange(300.0), "y": np.random.default_rng(1).normal(size=300)})
    assert rb.MixedModel("y ~ x + spl(x)", many).specification.random[0].q == 48


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        ("spl(nowhere)", DataError, "'nowhere'"),
        ("spl(g)", DataError, "'g' holds text"),
        ("spl(two)", ModelError, r"'spl\(two\)' needs three distinct values.*there are 2"),
        ("spl(x, knots=2)", FormulaError, "3 or more"),
        ("spl(x, knots=many)", FormulaError, "knots"),
        ("spl(x, knots=(1, 2))", FormulaError, "three different numbers"),
        ("pspline(x, two)", ModelError, r"'two' or more"),
        ("pspline(x, y, knots=(4, 5, 6))", FormulaError, "number of segments"),
    ],
)
def test_smooth_errors(term, error, message):
    with pytest.raises(error, match=message):
        rb.MixedModel(f"y ~ x + {term}", curve().assign(two=lambda d: (d["x"] > 5) * 1.0))


def test_missing_covariates_are_missing_records():
    d = curve()
    d.loc[4, "x"] = np.nan
    assert rb.MixedModel("y ~ 1 + spl(x)", d).specification.records.dropped == {"x": 1}


# -- surfaces ------------------------------------------------------------------------------------

PARTS = ["f(row)", "f(col)", "f(row):col", "row:f(col)", "f(row):f(col)"]


def plots() -> pd.DataFrame:
    rng = np.random.default_rng(9)
    cells = [(r, c) for r in range(1, 13) for c in range(1, 9)]
    d = pd.DataFrame(cells, columns=["row", "col"]).sample(80, random_state=1).reset_index(drop=True)
    return d.assign(
        y=np.sin(d["row"] / 3) * d["col"] / 4 + rng.normal(0, 0.3, 80), gen=rng.integers(0, 10, 80).astype(str)
    )


def test_components_of_a_surface():
    spec = rb.MixedModel("y ~ 1 + pspline(row, col, knots=(6, 5))", plots()).specification
    assert spec.fixed.names == ("Intercept", "row", "col", "row:col")
    assert [t.name for t in spec.random] == [f"pspline(row, col, knots=(6, 5)): {p}" for p in PARTS]
    assert [t.q for t in spec.random] == [7, 6, 7, 6, 42]
    for term in spec.random:
        Z = term.columns[0].toarray()
        np.testing.assert_allclose(term.moments, [[np.sum(Z**2) / 80]])


def test_the_plane_is_written_once():
    spec = rb.MixedModel("y ~ row + pspline(row, col)", plots()).specification
    assert spec.fixed.names == ("Intercept", "row", "col", "row:col")
    assert spec.fixed.aliased == ()


def test_a_margin_is_penalised_by_its_second_differences():
    """B(line + curve) with coefficients a: a'D'Da is the sum of squares of the random coefficients."""
    axis = Margin("row", 1.0, 12.0, 6)
    d = pd.DataFrame({"row": np.linspace(1, 12, 100)})
    knots = 1 + axis.step * np.arange(-3, 10)
    B = BSpline.design_matrix(d["row"].to_numpy(), knots, 3).toarray()
    curved = axis.curved(d)
    coefficients = np.linalg.lstsq(B, curved, rcond=None)[0]
    D = np.diff(np.eye(9), 2, axis=0)
    np.testing.assert_allclose(B @ coefficients, curved, atol=1e-10)
    np.testing.assert_allclose(coefficients.T @ D.T @ D @ coefficients, np.diag(axis.d), atol=1e-9)
    line = np.linalg.lstsq(B, axis.straight(d), rcond=None)[0]
    np.testing.assert_allclose(D @ line, 0, atol=1e-10)
    assert line @ line == pytest.approx(1.0)
    assert line.sum() == pytest.approx(0.0, abs=1e-10)


def test_the_whole_surface_is_that_of_the_tensor_product():
    """Fixed plane and all five parts span the tensor product of the two bases."""
    d = pd.DataFrame([(r, c) for r in range(12) for c in range(10)], columns=["row", "col"]).astype(float)
    d["y"] = np.random.default_rng(2).normal(size=120)
    spec = rb.MixedModel("y ~ 1 + pspline(row, col, knots=(4, 3))", d).specification
    W = np.hstack([spec.fixed.matrix, *[t.columns[0].toarray() for t in spec.random]])
    assert W.shape[1] == 7 * 6
    basis = [
        BSpline.design_matrix(d[v].to_numpy(), d[v].max() / k * np.arange(-3, k + 4), 3).toarray()
        for v, k in (("row", 4), ("col", 3))
    ]
    tensor = np.einsum("ni,nj->nij", *basis).reshape(120, -1)
    assert np.linalg.matrix_rank(W) == np.linalg.matrix_rank(np.hstack([W, tensor])) == 42


def test_predictions_of_smooth_terms_at_new_positions():
    d = plots()
    model = rb.MixedModel("y ~ 1 + pspline(row, col, knots=6) + (1 | gen)", d)
    at = {f"pspline(row, col, knots=6): {p}": 0.5 for p in PARTS} | {"gen": 0.2, "residual": 0.3}
    solved = model.solve(at)
    np.testing.assert_allclose(solved.predict(d)["prediction"], solved.fitted, rtol=1e-9)
    surface = [t.name for t in model.specification.random[:5]]
    near = pd.DataFrame({"row": [3.0, 3.0 + 1e-6], "col": [2.0, 2.0]})
    out = solved.predict(near, include=surface)
    assert out["prediction"][0] == pytest.approx(out["prediction"][1], abs=1e-4)
    with pytest.raises(DataError, match="'col'"):
        solved.predict(near.drop(columns="col"), include=surface)
