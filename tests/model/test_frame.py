"""The user's data: which rows are used, which columns are read as numbers, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.errors import DataError, OptionError


def frame(n: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    g = np.repeat(["a", "b", "c", "d"], n // 4)
    return pd.DataFrame({"y": rng.normal(size=n).round(3), "x": rng.normal(size=n), "g": g}, index=range(10, 10 + n))


FORMULA = "y ~ x + (1 | g)"
AT = {"g": 1.0, "residual": 2.0}


def loglik(data, formula=FORMULA, **options) -> float:
    return rb.MixedModel(formula, data, **options).loglik(AT)


def test_missing_rows_are_dropped_and_counted():
    d = frame()
    d.loc[[10, 12], "x"] = np.nan
    d.loc[[12, 15], "g"] = None
    d["unused"] = np.nan
    records = rb.MixedModel(FORMULA, d).specification.records
    assert records.dropped == {"x": 2, "g": 2}
    assert records.n_dropped == 3
    assert list(records.frame.index) == [i for i in d.index if i not in (10, 12, 15)]


def test_missing_rows_give_the_fit_of_the_rows_left():
    d = frame()
    d.loc[[11, 20], "y"] = np.nan
    assert loglik(d) == loglik(d.dropna())


def test_missing_error_names_columns_counts_and_rows():
    d = frame()
    d.loc[[13, 17], "x"] = np.nan
    with pytest.raises(DataError, match=r"x \(2\).*13, 17"):
        rb.MixedModel(FORMULA, d, missing="error")
    rb.MixedModel("y ~ 1 + (1 | g)", d, missing="error")  # x is not used


def test_missing_weights_drop_the_row():
    d = frame().assign(w=1.0)
    d.loc[14, "w"] = np.nan
    model = rb.MixedModel(FORMULA, d, weights="w")
    assert model.specification.n == 23


def test_no_rows_left():
    with pytest.raises(DataError, match=r"no rows are left.*x \(24\)"):
        rb.MixedModel(FORMULA, frame().assign(x=np.nan))


def test_no_rows_at_all():
    with pytest.raises(DataError, match="no rows"):
        rb.MixedModel(FORMULA, frame().iloc[:0])


@pytest.mark.parametrize("kind", ["Float64", "float32", "object", "Decimal", "Int64", "int8"])
def test_every_numeric_column_gives_the_same_model(kind):
    d = frame()
    d["y"] = (d["y"] * 10).round()
    expected = loglik(d)
    if kind == "Decimal":
        d["y"] = [Decimal(str(v)) for v in d["y"]]
    elif kind == "Int64":
        d["y"] = d["y"].astype("Int64")
    else:
        d["y"] = d["y"].astype(kind)
    assert loglik(d) == expected


@pytest.mark.parametrize("kind", ["Int64", "Float64"])
def test_nullable_columns_with_missing_values(kind):
    d = frame()
    d["y"] = (d["y"] * 10).round().astype(kind)
    d["x"] = (d["x"] * 10).round().astype(kind)
    d.loc[[12], "y"] = pd.NA
    d.loc[[19], "x"] = pd.NA
    plain = d.drop(index=[12, 19]).astype({"y": float, "x": float})
    assert loglik(d) == pytest.approx(loglik(plain), rel=1e-14)


def test_boolean_response_and_covariate_are_0_and_1():
    d = frame()
    d["y"], d["x"] = d["y"] > 0, d["x"] > 0
    assert rb.MixedModel("y ~ 1 + (1 | g)", d).specification.y.tolist() == d["y"].astype(float).tolist()
    assert loglik(d) == pytest.approx(loglik(d.astype({"y": float, "x": float})), rel=1e-14)


def test_factor_of_every_type_gives_the_same_model():
    d = frame()
    expected = loglik(d)
    codes = d["g"].map({"a": 1, "b": 2, "c": 3, "d": 4})
    for column in (
        d["g"].astype("category"),
        d["g"].astype("string"),
        codes,
        codes.astype(float),
        codes.astype("Int64"),
    ):
        assert loglik(d.assign(g=column)) == pytest.approx(expected, rel=1e-14)


def test_unused_categories_are_not_levels():
    d = frame()
    d["g"] = pd.Categorical(d["g"], categories=["z", "d", "c", "b", "a", "y"])
    labels = rb.MixedModel(FORMULA, d).solve(AT).random_effects["level"]
    assert list(labels) == ["d", "c", "b", "a"]


def test_whole_numbers_in_a_float_factor_keep_their_name():
    d = frame()
    d["g"] = d["g"].map({"a": 1.0, "b": 2.0, "c": 30.0, "d": 4.0})
    labels = rb.MixedModel(FORMULA, d).solve(AT).random_effects["level"]
    assert [str(v) for v in labels] == ["1", "2", "4", "30"]


def test_a_mapping_of_columns():
    assert loglik(frame().to_dict("list")) == loglik(frame())


def test_polars_frames():
    polars = pytest.importorskip("polars")
    d = frame()
    d.loc[13, "x"] = np.nan
    columns = d.astype(object).where(d.notna(), None).to_dict("list")
    assert loglik(polars.DataFrame(columns)) == loglik(d)


def test_the_users_frame_is_not_changed():
    d = frame()
    d.loc[11, "x"] = np.nan
    before = d.copy(deep=True)
    rb.MixedModel(FORMULA, d).fit(progress=False)
    pd.testing.assert_frame_equal(d, before)


@pytest.mark.parametrize(
    ("data", "culprit"),
    [
        (pd.DataFrame(np.ones((5, 2)), columns=["y", "y"]), "'y'"),
        ([1, 2, 3], "list"),
        (None, "NoneType"),
        ({"y": [1.0, 2.0], "x": [1.0]}, "do not fit together"),
    ],
)
def test_data_that_are_no_data_frame(data, culprit):
    with pytest.raises(DataError, match=culprit):
        rb.MixedModel("y ~ 1", data)


def test_unknown_option_of_missing():
    with pytest.raises(OptionError, match="missing='ignore'"):
        rb.MixedModel(FORMULA, frame(), missing="ignore")


@pytest.mark.parametrize("role", ["y", "w"])
@pytest.mark.parametrize(
    ("values", "culprit"),
    [
        (lambda v: v.where(v.index != 13, np.inf), "13"),
        (lambda v: v.where(v.index != 13, -np.inf), "13"),
        (lambda v: v.astype(complex), "complex"),
        (lambda v: v.astype(str), "text"),
        (lambda v: v.astype(str).astype("category"), "text"),
        (lambda v: pd.to_datetime("2020-01-01") + pd.to_timedelta(v.abs(), unit="D"), "dates"),
    ],
)
def test_a_column_that_is_not_numbers_is_named(role, values, culprit):
    d = frame().assign(w=1.0)
    d[role] = values(d[role])
    with pytest.raises(DataError, match=rf"'{role}'.*{culprit}|{culprit}.*'{role}'"):
        rb.MixedModel(FORMULA, d, weights="w")


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_weights_must_be_positive(bad):
    d = frame().assign(w=1.0)
    d.loc[16, "w"] = bad
    with pytest.raises(DataError, match=r"'w'.*16"):
        rb.MixedModel(FORMULA, d, weights="w")


def test_complex_columns_are_refused_wherever_they_stand():
    d = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "x": [1j, 2.0, 3.0, 1.0], "g": list("aabb")})
    for formula in ("y ~ x", "y ~ 1 + (0 + x | g)", "y ~ 1 + (1 | x)"):
        with pytest.raises(DataError, match="'x' is complex"):
            rb.MixedModel(formula, d)
