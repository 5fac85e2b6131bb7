"""``residual=``: what each text means, record by record, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup as rb
from remlblup.errors import DataError, ModelError, OptionError, RemlBlupError
from remlblup.model.field import axis
from remlblup.model.residual_reading import parse_residual


def frame() -> pd.DataFrame:
    """Four subjects at uneven times, some absent, in a shuffled order; two sites; a field with gaps."""
    rng = np.random.default_rng(12)
    cells = [(s, t) for s in "abcd" for t in (8, 10, 12.5, 14) if (s, t) not in {("b", 10), ("d", 8)}]
    d = pd.DataFrame(cells, columns=["subject", "time"]).sample(frac=1, random_state=3).reset_index(drop=True)
    n = len(d)
    plots = rng.permutation(20)[:n]
    return d.assign(
        y=rng.normal(size=n),
        x=rng.uniform(1, 3, n),
        site=np.where(d.index % 3 == 0, "s2", "s1"),
        row=plots // 5 + 3,
        col=plots % 5 + 1,
        w=rng.uniform(1, 2, n),
        trial=np.where(d.index < 7, "t1", "t2"),
        index=[f"r{k}" for k in range(n)],
    ).set_index("index")


def specification(residual: str, data=None, formula="y ~ 1", **options):
    return rb.MixedModel(formula, frame() if data is None else data, residual=residual, **options).specification


def matrix(spec, **values) -> np.ndarray:
    """R of the records at parameters given by name."""
    phi = np.array([values[name] for name in spec.residual.names])
    size = spec.residual.pattern.n
    return spec.residual.multiply(phi, np.eye(size))[: spec.n, : spec.n]


def same(column) -> np.ndarray:
    values = np.asarray(column)
    return (values[:, None] == values).astype(float)


def distance(column) -> np.ndarray:
    values = np.asarray(column, dtype=float)
    return np.abs(values[:, None] - values)


def test_units_with_weights():
    spec = specification("units", weights="w")
    np.testing.assert_allclose(matrix(spec, variance=2.0), np.diag(2 / frame()["w"]))
    assert spec.residual_text == "units"


@pytest.mark.parametrize("unit", ["units", "subject"])
def test_a_variance_for_each_site(unit):
    spec = specification(f"diag(site | {unit})", weights="w")
    d = frame()
    assert spec.residual.names == ("var(s1)", "var(s2)")
    variance = np.where(d["site"] == "s1", 2.0, 5.0)
    np.testing.assert_allclose(matrix(spec, **{"var(s1)": 2.0, "var(s2)": 5.0}), np.diag(variance / d["w"]))


def test_power_of_a_covariate():
    spec = specification("power(x)", weights="w")
    d = frame()
    np.testing.assert_allclose(matrix(spec, variance=2.0, power=0.7), np.diag(2 * d["x"] ** 1.4 / d["w"]))


def test_unstructured_over_times_within_subjects():
    spec = specification("us(time | subject)")
    d = frame()
    S = np.array([[4.0, 1.0, 0.5, 0.2], [1.0, 3.0, 0.7, 0.4], [0.5, 0.7, 2.0, 0.9], [0.2, 0.4, 0.9, 1.5]])
    times = [8, 10, 12.5, 14]
    k = [times.index(t) for t in d["time"]]
    values = dict(zip(spec.residual.names, spec.residual.structure.parameters_of(S), strict=True))
    assert spec.residual.structure.effects == ("8", "10", "12.5", "14")
    np.testing.assert_allclose(matrix(spec, **values), S[np.ix_(k, k)] * same(d["subject"]))


@pytest.mark.parametrize("keyword", ["cs", "csh", "ar1h", "toep", "corg", "corgh"])
def test_other_structures_over_times(keyword):
    spec = specification(f"{keyword}(time | subject)")
    assert spec.residual.keyword == keyword
    assert len(spec.residual.structure.effects) == 4


def test_autoregressive_over_the_times_at_their_lags():
    spec = specification("ar1(time | subject)")
    d = frame()
    expected = 3.0 * 0.6 ** (distance(d["time"]) / 0.5) * same(d["subject"])  # half a year is the largest step
    np.testing.assert_allclose(matrix(spec, variance=3.0, correlation=0.6), expected, atol=1e-14)


def test_exponential_over_the_times_themselves():
    spec = specification("exp(time | subject)")
    d = frame()
    expected = 3.0 * 0.6 ** distance(d["time"]) * same(d["subject"])
    np.testing.assert_allclose(matrix(spec, variance=3.0, correlation=0.6), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "kinds"), [("ar1(row):ar1(col)", "aa"), ("id(row):ar1(col)", "ia"), ("ar1(row):id(col)", "ai")]
)
def test_a_field_with_gaps(text, kinds):
    spec = specification(text)
    d = frame()
    along_row = 0.5 ** distance(d["row"]) if kinds[0] == "a" else same(d["row"])
    along_col = (-0.3) ** distance(d["col"]) if kinds[1] == "a" else same(d["col"])
    values = {"variance": 2.0, "correlation(row)": 0.5, "correlation(col)": -0.3}
    np.testing.assert_allclose(matrix(spec, **values), 2 * along_row * along_col, atol=1e-14)
    assert spec.residual.n_filled == 20 - spec.n
    assert len(spec.y) == spec.n == 14


def test_a_field_of_one_dimension():
    d = frame().assign(plot=lambda d: np.arange(len(d))[::-1] * 2)
    expected = 2 * 0.5 ** distance(d["plot"])
    np.testing.assert_allclose(
        matrix(specification("ar1(plot)", d), **{"variance": 2.0, "correlation(plot)": 0.5}), expected
    )


def test_a_field_for_each_trial():
    d = frame().assign(row=lambda d: np.arange(14) % 7 // 3, col=lambda d: np.arange(14) % 7 % 3)
    spec = specification("ar1(row):ar1(col) | trial", d)
    values = {
        "t1: variance": 2.0,
        "t1: correlation(row)": 0.5,
        "t1: correlation(col)": 0.2,
        "t2: variance": 3.0,
        "t2: correlation(row)": -0.4,
        "t2: correlation(col)": 0.1,
    }
    first = (d["trial"] == "t1").to_numpy()
    R1 = 2 * 0.5 ** distance(d["row"]) * 0.2 ** distance(d["col"])
    R2 = 3 * (-0.4) ** distance(d["row"]) * 0.1 ** distance(d["col"])
    np.testing.assert_allclose(
        matrix(spec, **values), R1 * np.outer(first, first) + R2 * np.outer(~first, ~first), atol=1e-14
    )


def test_units_beside_a_field():
    spec = specification("ar1(row):ar1(col) + units", formula="y ~ 1 + (1 | site)")
    assert [t.name for t in spec.random] == ["site", "units"]
    units = spec.random[1]
    np.testing.assert_array_equal(units.columns[0].toarray(), np.eye(14))
    assert list(units.relationship.labels) == list(frame().index)
    assert spec.residual_text == "ar1(row):ar1(col) + units"
    for text in ("ar1(row):ar1(col) | trial + units", "units + ar1(row)"):
        assert [t.name for t in specification(text, frame().assign(row=range(14))).random] == ["units"]


def test_units_can_be_written_in_the_formula():
    spec = specification("ar1(row):ar1(col)", formula="y ~ 1 + (1 | units)")
    np.testing.assert_array_equal(spec.random[0].columns[0].toarray().sum(axis=1), np.ones(14))


def traits() -> pd.DataFrame:
    d = frame().assign(z=lambda d: d["y"] ** 2)
    d.loc["r3", "z"] = np.nan
    return d


def test_traits_within_units():
    S = np.array([[2.0, 0.7], [0.7, 1.5]])
    spec = rb.MixedModel("c(y, z) ~ trait", traits(), residual="us(trait | units)").specification
    k = spec.records.frame["trait"].cat.codes.to_numpy()
    values = dict(zip(spec.residual.names, [2.0, 0.7, 1.5], strict=True))
    assert list(values) == ["var(y)", "cov(y, z)", "var(z)"]
    np.testing.assert_allclose(matrix(spec, **values), S[np.ix_(k, k)] * same([row for row, _ in spec.index]))


def test_a_variance_for_each_trait():
    spec = rb.MixedModel("c(y, z) ~ trait", traits(), residual="diag(trait | units)").specification
    variance = np.where(spec.records.frame["trait"] == "y", 2.0, 5.0)
    np.testing.assert_allclose(matrix(spec, **{"var(y)": 2.0, "var(z)": 5.0}), np.diag(variance))


def test_autoregressive_over_traits():
    spec = rb.MixedModel("c(y, z) ~ trait", traits(), residual="ar1(trait | units)").specification
    R = matrix(spec, variance=2.0, correlation=0.5)
    assert R[0, 1] == 1.0
    assert R[0, 2] == 0.0


def test_columns_of_the_residual_are_needed():
    d = frame().astype({"row": float})
    d.loc["r2", "row"] = np.nan
    spec = specification("ar1(row):ar1(col)", d)
    assert spec.records.dropped == {"row": 1}
    assert spec.n == 13
    assert {"row", "col"} <= set(spec.records.used)


@given(st.permutations(range(14)))
def test_the_order_of_the_records_does_not_matter(order):
    d = frame()
    for text, phi in (
        ("cs(time | subject)", [2.0, 0.4]),
        ("exp(time | subject)", [2.0, 0.5]),
        ("ar1(row):ar1(col)", [2.0, 0.5, 0.1]),
    ):
        spec, other = specification(text, d), specification(text, d.iloc[order])
        R, S = (s.residual.multiply(np.array(phi), np.eye(s.residual.pattern.n))[:14, :14] for s in (spec, other))
        np.testing.assert_allclose(R[np.ix_(order, order)], S, atol=1e-13)


# -- positions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 5, 4], [0, 2, 1]),
        ([3.0, 5.0, 4.0], [0, 2, 1]),
        (["03", "5", "10"], [0, 2, 7]),
        (pd.Categorical([10, 2, 4]), [8, 0, 2]),
        (pd.Categorical(["10", "2", "4"]), [8, 0, 2]),
        (pd.Categorical(["c", "a", "c"], categories=["a", "b", "c"], ordered=True), [2, 0, 2]),
        (pd.Categorical([4, 1, 2], categories=[4, 2, 1], ordered=True), [0, 2, 1]),
    ],
)
def test_positions(values, expected):
    assert axis(pd.DataFrame({"row": values}), "row").tolist() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", "b", "c"], "'row' are not numbers.*'a'.*Categorical"),
        (pd.Categorical(["a", "b", "c"]), "'row' are not numbers.*'a'.*ordered=True"),
        ([1.0, 2.5, 3.0], r"not whole numbers in row\(s\) 1"),
    ],
)
def test_positions_that_are_none(values, message):
    with pytest.raises(DataError, match=message):
        axis(pd.DataFrame({"row": values}), "row")


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "takes a text"),
        (None, "takes a text"),
        ("iid", "'iid' is not known.*Write one of"),
        ("spline(x)", "'spline' is not known.*corg.*Examples"),
        ("us(time)", r"'us\(effect \| unit\)' with one bar"),
        ("us(time | subject | site)", "one bar"),
        ("us(time | vm(subject, A))", "units are independent"),
        ("us(time | subject, k=2)", "no option 'k'"),
        ("exp(row):exp(col)", "each ar1"),
        ("ar1(row):ar1(col):ar1(x)", "one or two dimensions"),
        ("id(row):id(col)", "write 'units'"),
        ("ar1(row):ar1(row)", "must differ"),
        ("units + units", "once"),
        ("ar1(row) + ar1(col)", "must be one structure"),
        ("ar1(row) - units", "subtracted"),
        ("diag(site | units) + units", "leave it out"),
        ("ar1(row) + units | trial", r"'ar1\(row\) \| trial \+ units'"),
        ("units | trial", r"diag\(trial \| units\)"),
        ("ar1(row) | trial | site", "one factor"),
        ("ar1(row", "not closed"),
    ],
)
def test_texts_that_cannot_be_read(text, message):
    with pytest.raises(RemlBlupError, match=message):
        parse_residual(text)


def doubled(**columns) -> pd.DataFrame:
    """Row r1 at the place of row r0."""
    d = frame()
    for name in columns:
        d.loc["r1", name] = d.loc["r0", name]
    return d


@pytest.mark.parametrize(
    ("text", "data", "error", "message"),
    [
        ("us(time | nobody)", None, DataError, "residual= needs 'nobody'"),
        ("ar1(row):ar1(bed)", None, DataError, "residual= needs 'bed'"),
        (
            "us(time | subject)",
            doubled(time=1, subject=1),
            DataError,
            r"subject has more than one.*'time': [abcd] at [\d.]+",
        ),
        ("exp(time | subject)", doubled(time=1, subject=1), DataError, "subject has more than one"),
        (
            "ar1(row):ar1(col)",
            doubled(row=1, col=1),
            DataError,
            r"rows 'r0', 'r1' share the cell row \d, col \d.*trial",
        ),
        ("us(time | units)", None, ModelError, r"no 'units' has two records.*diag\(time \| units\)"),
        ("us(one | subject)", frame().assign(one=1), ModelError, "'one' has one level only"),
        ("ar1(one):ar1(col)", frame().drop_duplicates("col").assign(one=1), ModelError, "'one' has one position"),
        (
            "power(x)",
            frame().assign(x=lambda d: d["x"].where(d.index != "r4", 0.0)),
            DataError,
            "'x' is zero or less.*'r4'",
        ),
        ("power(site)", None, DataError, "'site' holds text"),
        ("exp(site | subject)", None, DataError, "'site' holds text"),
        ("rr(time | subject, k=2)", None, OptionError, "singular.*'fa'"),
        ("ar1(row):ar1(col)", frame().assign(row=np.arange(14) * 10**6), DataError, "65,000,005 cells for 14 records"),
        ("ar1(row):ar1(col) | trial", doubled(row=1, col=1), DataError, "trial 't1': the rows 'r0', 'r1'"),
        ("ar1(row):ar1(col) + units", frame().assign(units=1), DataError, "column 'units'.*rename"),
    ],
)
def test_records_that_do_not_fit(text, data, error, message):
    with pytest.raises(error, match=message) as raised:
        specification(text, data)
    assert "residual=" in str(raised.value)


@pytest.mark.parametrize("text", ["us(time | subject)", "exp(time | subject)", "ar1(row):ar1(col)"])
def test_weights_belong_to_independent_residuals(text):
    with pytest.raises(OptionError, match=r"weights=.*'units', 'diag\(f \| units\)' and 'power\(x\)'"):
        specification(text, weights="w")


def test_units_twice():
    with pytest.raises(RemlBlupError, match="both add the units"):
        specification("ar1(row) + units", formula="y ~ (1 | units)")
