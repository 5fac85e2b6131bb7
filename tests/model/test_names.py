"""Columns of any legal name, in backticks, wherever a formula, residual= or weights= names one.

Each model must be the one of the same data under plain names, to the last digit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

NAMES = ("a.b", "my col", "1st", "a-b", "a:b", "x|y", "été", "class", "np", "log", "C", "lambda", "100%", "kg (dry)",
         "x/y", "a+b", "a~b", "{x}", "[x]", "a,b", "it's", '"q"', "True", "np.e", "_", "ﬁx", "x^2", ".",
         "μ=1")  # fmt: skip
# Where a name stands: formula and arguments, with {} for the name; the plain column that has it.
PLACES = {
    "fixed": ("y ~ {} + f + (1 | g)", {}, "x"),
    "fixed, interaction": ("y ~ f * {} + (1 | g)", {}, "x"),
    "fixed, in a call": ("y ~ log({}) + I({}^2) + (1 | g)", {}, "x"),
    "fixed, transform": ("y ~ poly({}, 2) + (1 | g)", {}, "x"),
    "fixed, factor": ("y ~ {} + x + (1 | g)", {}, "f"),
    "fixed, C()": ("y ~ C({}, contr.sum) + x + (1 | g)", {}, "f"),
    "offset": ("y ~ f + offset(log({})) + (1 | g)", {}, "x"),
    "slope": ("y ~ f + (1 + {} | g)", {}, "x"),
    "slope alone": ("y ~ f + (0 + {} | g)", {}, "x"),
    "slope, in a call": ("y ~ f + (1 + log({}) || g)", {}, "x"),
    "structure over levels": ("y ~ x + diag({} | g)", {}, "f"),
    "group": ("y ~ x + (1 | {})", {}, "g"),
    "group, nested": ("y ~ x + (1 | f/{})", {}, "g"),
    "group, combined": ("y ~ x + (1 | f:{})", {}, "g"),
    "response": ("{} ~ x + (1 | g)", {}, "y"),
    "response, in a call": ("log({}) ~ x + (1 | g)", {}, "y"),
    "response, arithmetic": ("{} - x ~ f + (1 | g)", {}, "y"),
    "smooth": ("y ~ {} + spl({}, knots=5) + (1 | g)", {}, "x"),
    "residual": ("y ~ x + (1 | g)", {"residual": "diag({} | units)"}, "f"),
    "residual, power": ("y ~ x + (1 | g)", {"residual": "power({})"}, "w"),
    "weights": ("y ~ x + (1 | g)", {"weights": ""}, "w"),
}


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 60
    d = pd.DataFrame(
        {"x": rng.uniform(1.0, 3.0, n), "g": np.arange(n) % 12, "f": np.array(list("pqr"))[np.arange(n) // 3 % 3]}
    )
    u, v = rng.normal(size=12), rng.normal(0.0, 0.5, 12)
    d["w"] = rng.uniform(1.0, 2.0, n)
    d["y"] = 20.0 + u[d["g"]] + (1.0 + v[d["g"]]) * d["x"] + (d["f"] == "q") + rng.normal(0.0, 0.7, n)
    return d


def model(place: str, name: str, written: str) -> rb.MixedModel:
    formula, options, column = PLACES[place]
    options = {k: v.replace("{}", written) if k != "weights" else name for k, v in options.items()}
    return rb.MixedModel(formula.replace("{}", written), frame().rename(columns={column: name}), **options)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_changes_nothing(name, place):
    column = PLACES[place][2]
    got, plain = model(place, name, f"`{name}`").specification, model(place, column, column).specification
    assert np.array_equal(got.y, plain.y)
    assert np.array_equal(np.asarray(got.fixed.matrix), np.asarray(plain.fixed.matrix))
    assert [d.t for d in got.random] == [d.t for d in plain.random]
    for ours, theirs in zip(got.random, plain.random, strict=True):
        for Z, W in zip(ours.columns, theirs.columns, strict=True):
            assert np.array_equal(Z.toarray(), W.toarray())
    assert np.array_equal(got.weights, plain.weights)
    if got.offset is not None:
        assert np.array_equal(got.offset, np.log(frame()["x"]))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["a.b", "my col (kg)", "class"])
def test_a_fit_predicts_and_comes_back(name, place, tmp_path):
    column = PLACES[place][2]
    fit, plain = model(place, name, f"`{name}`").fit(progress=False), model(place, column, column).fit(progress=False)
    assert fit.loglik == plain.loglik
    new = frame().rename(columns={column: name}).iloc[5:15]
    again = rb.load(fit.save(tmp_path / "fit"))
    expected = plain.predict(frame().iloc[5:15])
    for ours in (fit, again):
        pd.testing.assert_frame_equal(ours.predict(new), expected, rtol=1e-9)
    assert fit.specification.parameters.to_mapping(fit.theta).keys() == again.variances.keys()


def test_names_with_dots_and_letters_of_any_script_need_no_backticks():
    for name in ("a.b", "été", "x1.mean"):
        got, plain = model("fixed, in a call", name, name), model("fixed, in a call", "x", "x")
        assert np.array_equal(np.asarray(got.specification.fixed.matrix), np.asarray(plain.specification.fixed.matrix))


def test_columns_named_by_numbers():
    d = frame().rename(columns={"x": 0, "y": 1})
    assert rb.MixedModel("`1` ~ `0` + (1 | g)", d).loglik({"g": 1.0, "residual": 1.0}) == pytest.approx(
        rb.MixedModel("y ~ x + (1 | g)", frame()).loglik({"g": 1.0, "residual": 1.0}), abs=1e-12
    )


@pytest.mark.parametrize("formula", ["y ~ `1` + (1 | g)", "y ~ g:`1` + (1 | f)", "y ~ f + (`1` | g)"])
def test_a_column_named_1_is_not_taken_for_the_intercept(formula):
    with pytest.raises(rb.FormulaError, match="a column named '1'"):
        rb.MixedModel(formula, frame().rename(columns={"x": "1"}))


def test_functions_of_components_by_quoted_names():
    fit = model("group", "my col", "`my col`").fit(progress=False)
    plain = model("group", "g", "g").fit(progress=False).function("g / (g + residual)")
    for text in ("`my col` / (`my col` + residual)", "my col / (my col + residual)"):
        assert float(fit.function(text)) == float(plain)
