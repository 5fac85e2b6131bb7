"""Columns that are not what a formula takes them for: codes, text among numbers, dates, columns of other kinds."""

from __future__ import annotations

import datetime as dt
import decimal
import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup import cli


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(8)
    d = pd.DataFrame({"g": np.arange(n) % 12 + 1, "days": np.arange(n) % 10, "herd": np.arange(n) // 3 % 5 + 1})
    d["x"] = np.round(rng.normal(12.0, 1.0, n), 1)
    d["sex"], d["flag"], d["s"] = (
        np.arange(n) // 2 % 2 + 1,
        np.arange(n) % 2,
        np.array(list("abc"))[np.arange(n) // 4 % 3],
    )
    d["y"] = rng.normal(size=12)[d["g"] - 1] + 0.2 * d["x"] + rng.normal(size=n)
    return d


def codes(formula: str, d: pd.DataFrame, **options) -> list[str]:
    """The warnings of codes that a model gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rb.MixedModel(formula, d, **options)
    assert all(w.filename == __file__ for w in caught if w.category is rb.CodesWarning)
    return [str(w.message) for w in caught if w.category is rb.CodesWarning]


# -- numbers that are codes ------------------------------------------------------------------

CODES = {
    "named like a factor": ("y ~ herd + (1 | g)", {}, ["herd"]),
    "whole floats": ("y ~ herd + (1 | g)", {"herd": float}, ["herd"]),
    "nullable": ("y ~ herd + (1 | g)", {"herd": "Int64"}, ["herd"]),
    "two values that are not 0 and 1": ("y ~ sex + (1 | g)", {}, ["sex"]),
    "in an interaction": ("y ~ x:herd + (1 | g)", {}, ["herd"]),
    "two columns": ("y ~ sex + herd + x + (1 | g)", {}, ["herd", "sex"]),
    "a group elsewhere": ("y ~ days + (1 | g) + (1 | days)", {}, ["days"]),
    "a part of a group": ("y ~ days + (1 | g/days)", {}, ["days"]),
    "the group itself": ("y ~ g + (1 | g)", {}, ["g"]),
    "a factor elsewhere": ("y ~ days + C(days):x + (1 | g)", {}, ["days"]),
}
NO_CODES = (
    "y ~ days + (1 | g)", "y ~ days + (days | g)", "y ~ C(herd) + (1 | g)", "y ~ factor(herd) + (1 | herd)",
    "y ~ flag + (1 | g)", "y ~ x + (1 | herd)", "y ~ s + (1 | g)", "y ~ herd + I(herd^2) + (1 | g)", "y ~ 1 + (1 | g)",
    "y ~ offset(herd) + (1 | g)",
)  # fmt: skip


@pytest.mark.parametrize("case", CODES)
def test_numbers_that_look_like_codes_are_warned_of_once(case):
    formula, types, columns = CODES[case]
    (text,) = codes(formula, frame().astype(types))
    for column in frame().columns:
        assert (f"'{column}' (" in text) == (column in columns) == (f"C({column})" in text)


@pytest.mark.parametrize("formula", NO_CODES)
def test_covariates_and_factors_are_not(formula):
    assert codes(formula, frame()) == []


def test_the_trend_of_a_field_is_not():
    d = pd.DataFrame({"row": np.repeat(np.arange(1, 7), 8), "col": np.tile(np.arange(1, 9), 6)})
    d["y"], d["v"] = np.random.default_rng(1).normal(size=48), np.arange(48) % 8
    assert codes("y ~ row + col + (1 | v)", d, residual="ar1(row):ar1(col)") == []
    assert codes("y ~ row + (1 | v)", d, residual="diag(row | units)") == []
    assert codes("y ~ row + (1 | v)", d, residual="ar1(col) | row")[0].startswith("the fixed part takes 'row'")
    assert codes("y ~ pspline(row, col, knots=(3, 3)) + (1 | v)", d) == []
    sleep = rb.datasets.load("sleepstudy")
    assert codes("Reaction ~ Days + (Days | Subject)", sleep) == []


def test_models_made_again_do_not_repeat_it(tmp_path):
    d = frame()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fits = rb.fit_many("~ herd + (1 | g)", d.assign(z=d["y"] ** 2), ["y", "z"])
        rb.cross_validate(fits["y"], 3, refit=True)
        rb.load(fits["y"].save(tmp_path / "fit"))
    assert [w.category for w in caught].count(rb.CodesWarning) == 1


def test_the_command_line_says_it_as_a_note(tmp_path, capsys):
    frame().assign(t=lambda d: (d["herd"] % 4).astype(str).where(d.index != 7, "n.a.")).to_csv(
        tmp_path / "d.csv", index=False
    )
    assert cli.main(["fit", str(tmp_path / "d.csv"), "y ~ herd + t + (1 | g)"]) == 0
    told = capsys.readouterr().err
    assert told.count("note: ") == 3
    assert "herd (5 values)" in told and "'n.a.'" in told and "Warning" not in told


# -- text among numbers ----------------------------------------------------------------------


def with_text(kind: str) -> pd.Series:
    d = frame()
    numbers = d["x"]
    match kind:
        case "one cell":
            return numbers.astype(str).where(d.index != 7, "n.a.")
        case "one cell, other name":
            return numbers.astype(str).where(d.index != 7, "lost")
        case "mixed objects":
            return numbers.astype(object).where(d.index != 7, "n.a.")
        case "string type":
            return numbers.astype(str).where(d.index != 7, "n.a.").astype("string")
        case "blank":
            return numbers.astype(str).where(d.index != 7, " ")
        case "all text":
            return numbers.astype(str)
        case "commas":
            return numbers.astype(str).str.replace(".", ",", regex=False)
        case "exponents":
            return numbers.map(lambda v: f"{v:.3e}")
    return pd.Series(np.arange(len(d)) % 30).astype(str).where(d.index != 7, "?")  # whole numbers


TEXTS = (
    "one cell",
    "one cell, other name",
    "mixed objects",
    "string type",
    "blank",
    "all text",
    "commas",
    "exponents",
    "whole numbers",
)
PLACES = ("y ~ z + (1 | g)", "y ~ s:z + (1 | g)", "y ~ (z | g)", "y ~ s + diag(z | g)", "y ~ us(1 + z | g)")


@pytest.mark.parametrize("formula", PLACES)
@pytest.mark.parametrize("kind", TEXTS)
def test_a_covariate_with_text_is_no_factor(kind, formula):
    with pytest.raises(rb.DataError, match=r"'z'.*text") as raised:
        rb.MixedModel(formula, frame().assign(z=with_text(kind)))
    if kind not in ("all text", "commas", "exponents"):
        assert "row(s) 7" in str(raised.value)
    assert "C(z)" in str(raised.value)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ log(z) + (1 | g)",
        "y ~ poly(z, 2) + (1 | g)",
        "z ~ (1 | g)",
        "y ~ spl(z) + (1 | g)",
        "y ~ x + offset(z) + (1 | g)",
        "z - x ~ (1 | g)",
    ],
)
@pytest.mark.parametrize("kind", ["one cell", "mixed objects", "all text"])
def test_text_where_numbers_must_be_is_named(kind, formula):
    with pytest.raises(rb.DataError, match=r"'z'.*holds text") as raised:
        rb.MixedModel(formula, frame().assign(z=with_text(kind)))
    assert kind == "all text" or "'n.a.' in row(s) 7" in str(raised.value)


def test_text_that_is_meant_is_a_factor():
    d = frame()
    assert rb.MixedModel("y ~ C(z) + (1 | g)", d.assign(z=with_text("one cell"))).specification.fixed.p > 20
    labels = (d["herd"].astype(str) + "b").where(d["herd"] == 3, d["herd"].astype(str))
    levels = pd.Series(["0.0", "0.2", "0.4", "0.6"] * 15)
    for column in (labels, d["herd"].astype(str), levels, d["s"], pd.Categorical(with_text("one cell"))):
        assert codes("y ~ z + (1 | g)", d.assign(z=column)) == []


def test_few_labels_with_a_blank_are_a_factor_with_a_warning():
    d = frame().assign(z=frame()["herd"].astype(str).where(frame().index != 7, "n.a."))
    (text,) = codes("y ~ z + (1 | g)", d)
    assert "'n.a.' in row(s) 7" in text and "6 levels" in text


# -- dates -----------------------------------------------------------------------------------

N = 60
DATES = {
    "datetime": pd.Series(pd.date_range("2020-01-01", periods=N)),
    "time zone": pd.Series(pd.date_range("2020-01-01", periods=N, tz="UTC")),
    "date objects": pd.Series([dt.date(2020, 1, 1) + dt.timedelta(i) for i in range(N)], dtype=object),
    "periods": pd.Series(pd.period_range("2020-01", periods=N, freq="M")),
    "lengths of time": pd.Series(pd.to_timedelta(np.arange(N), "D")),
    "times of the day": pd.Series([dt.time(i % 24) for i in range(N)], dtype=object),
}


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ z + (1 | g)",
        "y ~ (z | g)",
        "y ~ log(z) + (1 | g)",
        "z ~ (1 | g)",
        "y ~ spl(z)",
        "y ~ z:x + (1 | g)",
        "y ~ offset(z) + (1 | g)",
    ],
)
@pytest.mark.parametrize("kind", DATES)
def test_dates_are_no_covariates(kind, formula):
    with pytest.raises(rb.DataError, match=r"'z'.* holds (dates|lengths of time|times of the day)"):
        rb.MixedModel(formula, frame().assign(z=DATES[kind]))


@pytest.mark.parametrize("kind", ["datetime", "time zone", "date objects", "periods"])
def test_the_advice_for_dates_works(kind):
    data = frame().assign(z=DATES[kind])
    with pytest.raises(rb.DataError) as raised:
        rb.MixedModel("y ~ z + (1 | g)", data)
    advice = str(raised.value).split("first one, ")[1].split("; or")[0]
    days = eval(advice, {"pandas": pd, "data": data})
    assert rb.MixedModel("y ~ z + (1 | g)", data.assign(z=days)).specification.p == 2


@pytest.mark.parametrize("kind", ["datetime", "date objects", "lengths of time"])
def test_dates_in_new_data_are_no_covariates(kind):
    fit = rb.MixedModel("y ~ x + (1 | g)", frame()).fit(progress=False)
    with pytest.raises(rb.DataError, match=r"'x' of the new data holds"):
        fit.predict(frame().assign(x=DATES[kind]))


def test_dates_are_factors_and_groups_where_that_is_meant():
    days = pd.Series(pd.date_range("2020-01-01", periods=6)).iloc[np.arange(N) % 6].reset_index(drop=True)
    d = frame().assign(z=days)
    assert rb.MixedModel("y ~ C(z) + (1 | g)", d).specification.p == 6
    assert rb.MixedModel("y ~ x + (1 | z)", d).specification.random[0].q == 6


# -- kinds of columns and frames -------------------------------------------------------------

KINDS = {
    "Decimal": lambda s: s.map(lambda v: decimal.Decimal(str(v))),
    "Float64": lambda s: s.astype("Float64"),
    "objects": lambda s: s.astype(object),
    "sparse": lambda s: s.astype(pd.SparseDtype(float, np.nan)),
    "float32": lambda s: (s * 8).round().div(8).astype("float32"),
    "arrow": lambda s: s.astype("double[pyarrow]"),
}


@pytest.mark.parametrize(
    "formula", ["y ~ x + (1 | g)", "y ~ I(x^2) + (1 | g)", "y ~ (x | g)", "x ~ s + (1 | g)", "y ~ spl(x)"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_any_type_are_numbers(kind, formula):
    if kind == "arrow":
        pytest.importorskip("pyarrow")
    d = frame()
    column = KINDS[kind](d["x"])
    got = rb.MixedModel(formula, d.assign(x=column)).specification
    plain = rb.MixedModel(formula, d.assign(x=column.astype(float).to_numpy())).specification
    assert np.array_equal(got.y, plain.y)
    np.testing.assert_allclose(np.asarray(got.fixed.matrix), np.asarray(plain.fixed.matrix), rtol=1e-12)
    for a, b in zip(got.random, plain.random, strict=True):
        np.testing.assert_allclose(a.columns[-1].toarray(), b.columns[-1].toarray(), rtol=1e-12)


@pytest.mark.parametrize("formula", ["y ~ z + (1 | g)", "y ~ (1 | z)", "z ~ (1 | g)", "y ~ C(z)"])
def test_cells_of_several_values_are_named(formula):
    with pytest.raises(rb.DataError, match="'z' hold lists"):
        rb.MixedModel(formula, frame().assign(z=[[1, 2]] * N))


def test_frames_of_other_kinds():
    d = frame()
    two = d.set_axis(pd.MultiIndex.from_product([["a"], d.columns]), axis=1)
    for data, match in (
        (two, "several levels"),
        (d["y"], "Series"),
        (d.to_numpy(), "ndarray"),
        (None, "NoneType"),
        ([1], "list"),
    ):
        with pytest.raises(rb.DataError, match=match):
            rb.MixedModel("y ~ x + (1 | g)", data)


def test_the_term_that_takes_all_degrees_of_freedom_is_named():
    d = frame().assign(id=[f"a{i}" for i in range(N)])
    with pytest.raises(rb.ModelError, match=r"60 records and 60 fixed effects.*'id', 59 columns"):
        rb.MixedModel("y ~ x + id + (1 | g)", d)


def test_products_of_large_factors_are_counted_first():
    n = 2000
    d = pd.DataFrame(
        {"y": np.arange(n) % 7, "a": [f"a{i % 1000}" for i in range(n)], "b": [f"b{i % 999}" for i in range(n)]}
    )
    for fixed, match in (("a * b", r"'a:b' \(levels: a 1,000, b 999\)"), ("a:C(y):b", "999")):
        with pytest.raises(rb.ModelError, match=match):
            rb.MixedModel(f"y ~ {fixed} + (1 | a)", d)


# -- offsets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("offset", ["offset(x)", "offset(log(x) + days)", "offset(x) + offset(days)"])
def test_an_offset_is_part_of_the_mean(offset, engine, tmp_path):
    d = frame()
    known = {
        "offset(x)": d["x"],
        "offset(log(x) + days)": np.log(d["x"]) + d["days"],
        "offset(x) + offset(days)": d["x"] + d["days"],
    }[offset]
    fit = rb.MixedModel(f"y ~ s + {offset} + (1 | g)", d, engine=engine).fit(progress=False)
    plain = rb.MixedModel("z ~ s + (1 | g)", d.assign(z=d["y"] - known), engine=engine).fit(progress=False)
    assert fit.loglik == pytest.approx(plain.loglik, abs=1e-9)
    np.testing.assert_allclose(fit.params, plain.params, rtol=1e-9)
    np.testing.assert_allclose(fit.fitted, plain.fitted + known, rtol=1e-10)
    np.testing.assert_allclose(fit.residuals, plain.residuals, atol=1e-9)
    new = d.iloc[20:30].drop(columns="y")
    for ours in (fit, rb.load(fit.save(tmp_path / "fit"))):
        assert ours.loglik == pytest.approx(plain.loglik, abs=1e-9)
        got, expected = ours.predict(new), plain.predict(new)
        np.testing.assert_allclose(got["prediction"], expected["prediction"] + known.iloc[20:30], rtol=1e-9)
        np.testing.assert_allclose(got["std_error"], expected["std_error"], rtol=1e-9)
        np.testing.assert_allclose(ours.predict()["prediction"], ours.fitted, rtol=1e-9)
        assert "Offset" in str(ours.summary())
    ours, theirs = (rb.cross_validate(f, 4).predictions for f in (fit, plain))
    np.testing.assert_allclose(ours["predicted"], theirs["predicted"] + known, rtol=1e-8)
    np.testing.assert_allclose(ours["observed"], d["y"], rtol=1e-12)


def test_an_offset_of_several_traits_and_a_missing_one():
    d = frame().assign(z=lambda d: 2 * d["y"] + d["days"])
    d.loc[5, "x"] = np.nan
    model = rb.MixedModel("c(y, z) ~ trait + offset(x) + (1 | g)", d)
    plain = rb.MixedModel("c(u, v) ~ trait + (1 | g)", d.assign(u=d["y"] - d["x"], v=d["z"] - d["x"]))
    given = {"g": 1.0, "residual": 2.0}
    assert model.specification.records.dropped == {"x": 1}
    assert model.loglik(given) == pytest.approx(plain.loglik(given), abs=1e-9)


def test_an_offset_is_needed_in_new_data():
    fit = rb.MixedModel("y ~ s + offset(x) + (1 | g)", frame()).fit(progress=False)
    with pytest.raises(rb.DataError, match="'x'"):
        fit.predict(frame().drop(columns="x"))
