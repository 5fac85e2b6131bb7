"""The same values give the same model, whatever kind of frame or column they come in."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.model.frame import to_pandas

N = 48
FORMULA = "y ~ x + f + (1 + x | g)"


def columns() -> dict[str, list]:
    rng = np.random.default_rng(6)
    x = np.resize(np.arange(6), N)
    g = np.repeat(np.arange(8), 6)
    y = rng.normal(size=N) + np.repeat(rng.normal(size=8), 6) + 0.3 * x
    return {"y": y.tolist(), "x": x.tolist(), "g": g.tolist(), "f": np.array(list("bca"))[x % 3].tolist()}


@pytest.fixture(scope="module")
def expected():
    return rb.MixedModel(FORMULA, columns()).fit()


def check(data, expected) -> None:
    fit = rb.MixedModel(FORMULA, data).fit()
    assert fit.loglik == pytest.approx(expected.loglik, abs=1e-9)
    assert (
        fit.fixed_effects.index.tolist()
        == expected.fixed_effects.index.tolist()
        == ["Intercept", "x", "f[T.b]", "f[T.c]"]
    )
    assert list(map(str, fit.random_effects["level"])) == list(map(str, expected.random_effects["level"]))
    predicted = fit.predict(data)["prediction"]
    np.testing.assert_allclose(predicted, expected.predict(columns())["prediction"], rtol=1e-7)


FRAMES = {
    "lists": lambda c: c,
    "arrays": lambda c: {k: np.array(v) for k, v in c.items()},
    "mapping": lambda c: MappingProxyType(c),
    "rows": lambda c: pd.DataFrame(c).to_dict("records"),
    "records": lambda c: pd.DataFrame(c).to_records(index=False),
    "structured": lambda c: np.array(
        list(zip(*c.values(), strict=True)), dtype=[("y", "f8"), ("x", "i8"), ("g", "i8"), ("f", "U1")]
    ),
    "pandas": pd.DataFrame,
    "nullable": lambda c: pd.DataFrame(c).convert_dtypes(),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames(kind, expected):
    check(FRAMES[kind](columns()), expected)


def of_polars(c):
    return pytest.importorskip("polars").DataFrame(c)


def arrow_nulls(c):
    pa = pytest.importorskip("pyarrow")
    table = pa.table({k: pa.array([*v, None]) for k, v in c.items()})
    return table.slice(0, N)


ARROW = {
    "polars": of_polars,
    "polars, text a category": lambda c: of_polars(c).with_columns(
        pytest.importorskip("polars").col("f").cast(pytest.importorskip("polars").Categorical)
    ),
    "polars, decimals": lambda c: of_polars(c).with_columns(
        pytest.importorskip("polars").col("x").cast(pytest.importorskip("polars").Decimal(10, 2))
    ),
    "pyarrow": lambda c: pytest.importorskip("pyarrow").table(c),
    "pyarrow, nulls": arrow_nulls,
    "pyarrow, encoded": lambda c: pytest.importorskip("pyarrow").table(
        {**c, "f": pytest.importorskip("pyarrow").array(c["f"]).dictionary_encode()}
    ),
    "batch": lambda c: pytest.importorskip("pyarrow").RecordBatch.from_pydict(c),
    "pandas of pyarrow": lambda c: (
        pytest.importorskip("pyarrow") and pd.DataFrame(c).convert_dtypes(dtype_backend="pyarrow")
    ),
    "pandas of encoded": lambda c: pd.DataFrame(c).assign(
        f=pd.arrays.ArrowExtensionArray(pytest.importorskip("pyarrow").array(c["f"]).dictionary_encode())
    ),
}


@pytest.mark.parametrize("kind", ARROW)
def test_frames_of_arrow_and_polars(kind, expected):
    check(ARROW[kind](columns()), expected)


CHANGES = {
    "string": lambda d: d.astype({"f": "string"}),
    "text as objects": lambda d: d.astype({"f": object}),
    "groups as text": lambda d: d.assign(g=d["g"].astype(str)),
    "Int64": lambda d: d.astype({"x": "Int64", "g": "Int64"}),
    "Float64": lambda d: d.astype({"x": "Float64", "y": "Float64"}),
    "sparse": lambda d: d.assign(**{k: pd.arrays.SparseArray(d[k]) for k in "xyg"}),
    "decimals": lambda d: d.assign(x=[Decimal(v) for v in d["x"]], y=[Decimal(repr(v)) for v in d["y"]]),
    "response as objects": lambda d: d.astype({"y": object}),
    "small": lambda d: d.astype({"x": "float16", "g": "uint8"}),
    "long": lambda d: d.astype({"y": np.longdouble, "x": np.longdouble}),
    "other end first": lambda d: d.astype({"y": ">f8", "x": ">i4"}),
    "index repeated": lambda d: d.set_index(np.zeros(N, dtype=int)),
    "other names": lambda d: d.assign(extra=1).rename(columns={"extra": 7}),
    "unused lists": lambda d: d.assign(unused=[[1]] * N),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_columns(kind, expected):
    given = CHANGES[kind](pd.DataFrame(columns()))
    before = given.dtypes.tolist()
    check(given, expected)
    assert given.dtypes.tolist() == before  # the user's frame is left alone


@pytest.mark.parametrize("kind", ["Int64", "pyarrow", "polars", "string", "masked", "boolean"])
def test_missing_values_are_missing(kind):
    c = columns()
    c["x"][3], c["f"][7] = None, None
    plain = pd.DataFrame(c)
    expected = rb.MixedModel("y ~ x + f + (1 | g)", plain.dropna()).fit()
    if kind == "polars":
        data = of_polars(c)
    elif kind == "pyarrow":
        data = pytest.importorskip("pyarrow").table(c)
    elif kind == "masked":
        x = np.ma.masked_array([0 if v is None else v for v in c["x"]], mask=[v is None for v in c["x"]])
        data = {**c, "x": x}
    else:
        data = plain.convert_dtypes()
    if kind == "boolean":
        flag = pd.array([None if v is None else v > 2 for v in c["x"]], dtype="boolean")
        data, plain = plain.assign(x=flag), plain.assign(x=plain["x"] > 2).drop(index=3)
        expected = rb.MixedModel("y ~ x + f + (1 | g)", plain.dropna()).fit()
    fit = rb.MixedModel("y ~ x + f + (1 | g)", data).fit()
    assert fit.n_obs == N - 2
    assert fit.loglik == pytest.approx(expected.loglik, abs=1e-9)


def test_an_enumeration_keeps_its_order():
    pl = pytest.importorskip("polars")
    frame = to_pandas(of_polars(columns()).with_columns(pl.col("f").cast(pl.Enum(["c", "a", "b"]))))
    assert frame["f"].cat.categories.tolist() == ["c", "a", "b"] and frame["f"].cat.ordered
    assert frame["f"].tolist() == columns()["f"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [[1]] * N}, "column 'x' hold lists"),
        ({"g": [{"a": 1}] * N}, "column 'g' hold dicts"),
        ({"y": [np.zeros(2)] * N}, "column 'y' hold ndarrays"),
        ({"x": pd.arrays.IntervalArray.from_breaks(range(N + 1))}, "column 'x' holds intervals"),
        ({"x": np.full(N, 1j)}, "column 'x' is complex"),
    ],
)
def test_what_is_neither_number_nor_label_is_refused_by_name(change, message):
    with pytest.raises(rb.DataError, match=message):
        rb.MixedModel("y ~ x + f + (1 | g)", pd.DataFrame(columns()).assign(**change))


@pytest.mark.parametrize(
    "data", [None, 3, [1, 2], pd.Series([1.0, 2.0]), np.zeros((3, 2)), (r for r in [{"y": 1}]), {"y": [1, 2], "x": [1]},
             {"y": 1}, [{"y": 1}, 2], pd.DataFrame({"y": [1.0]}).groupby("y")]
)  # fmt: skip
def test_what_is_no_frame_is_refused(data):
    with pytest.raises(rb.DataError, match="data="):
        rb.MixedModel("y ~ 1", data)


def test_frames_that_need_a_step_before():
    pl = pytest.importorskip("polars")
    with pytest.raises(rb.DataError, match=r"data\.collect\(\)"):
        rb.MixedModel("y ~ 1", pl.DataFrame(columns()).lazy())
    frame = pd.DataFrame(columns())
    frame.columns = pd.MultiIndex.from_product([["t"], frame.columns])
    with pytest.raises(rb.DataError, match="several levels"):
        rb.MixedModel("y ~ 1", frame)
