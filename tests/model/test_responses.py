"""Several responses: the stacked records, missing cells, the factor `trait`, and new data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup as rb
from remlblup.errors import DataError, FormulaError, OptionError

FORMULA = "c(tarsus, back) ~ trait + trait:sex + us(trait | g)"


def frame(n: int = 12) -> pd.DataFrame:
    rng = np.random.default_rng(6)
    return pd.DataFrame(
        {
            "tarsus": rng.normal(size=n).round(3),
            "back": rng.normal(size=n).round(3),
            "sex": np.tile(["f", "m"], n // 2),
            "g": np.repeat(["a", "b", "c"], n // 3),
            "w": np.arange(1.0, n + 1),
        },
        index=[f"r{k}" for k in range(n)],
    )


def specification(data=None, formula=FORMULA, **options):
    return rb.MixedModel(formula, frame() if data is None else data, **options).specification


def test_records_are_stacked_unit_by_unit():
    d = frame()
    spec = specification(d)
    np.testing.assert_array_equal(spec.y, d[["tarsus", "back"]].to_numpy().ravel())
    assert spec.n == 24
    assert spec.responses == ("tarsus", "back")
    rows = spec.records.frame
    assert list(rows["trait"].cat.categories) == ["tarsus", "back"]
    assert list(spec.index[:3]) == [("r0", "tarsus"), ("r0", "back"), ("r1", "tarsus")]
    assert spec.index.names == ["row", "trait"]
    np.testing.assert_array_equal(rows["sex"], np.repeat(d["sex"].to_numpy(), 2))
    pd.testing.assert_frame_equal(spec.records.original, d)


def test_designs_of_two_traits():
    d = frame()
    spec = specification(d)
    assert spec.fixed.names == ("Intercept", "trait[T.back]", "trait[tarsus]:sex[T.m]", "trait[back]:sex[T.m]")
    m = (d["sex"] == "m").to_numpy(float)
    back = np.tile([0.0, 1.0], 12)
    expected = np.column_stack([np.ones(24), back, np.repeat(m, 2) * (1 - back), np.repeat(m, 2) * back])
    np.testing.assert_array_equal(spec.fixed.matrix, expected)
    (term,) = spec.random
    G = np.repeat(pd.get_dummies(d["g"]).to_numpy(float), 2, axis=0)
    assert term.structure.effects == ("tarsus", "back")
    np.testing.assert_array_equal(term.columns[0].toarray(), G * (1 - back)[:, None])
    np.testing.assert_array_equal(term.columns[1].toarray(), G * back[:, None])
    np.testing.assert_array_equal(term.moments, np.eye(2) / 2)


def test_without_trait_in_the_fixed_part():
    assert specification(formula="c(tarsus, back) ~ sex + (1 | g)").fixed.names == ("Intercept", "sex[T.m]")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=12, max_size=12))
def test_a_missing_trait_drops_its_cell_alone(present):
    d = frame()
    keep = np.array(present)
    keep[0], keep[11] = True, True
    d[["tarsus", "back"]] = d[["tarsus", "back"]].where(keep)
    spec = specification(d, "c(tarsus, back) ~ trait + (1 | g)")
    values = d[["tarsus", "back"]].to_numpy()
    np.testing.assert_array_equal(spec.y, values[keep])
    empty = int((~keep.any(axis=1)).sum())
    assert spec.records.n_dropped == empty
    assert sum(spec.records.cells.values()) == int((~keep).sum()) - 2 * empty
    assert [row for row, _ in spec.index] == list(np.repeat(d.index, 2)[keep.ravel()])


def test_the_records_left_give_the_same_model_again():
    d = frame()
    d.loc["r3", ["tarsus", "back"]] = np.nan
    d.loc["r5", "tarsus"] = np.nan
    d.loc["r7", "sex"] = None
    spec = specification(d)
    assert spec.records.dropped == {"sex": 1, "all of tarsus, back": 1}
    again = specification(spec.records.original[list(spec.records.used)], missing="error")
    np.testing.assert_array_equal(again.y, spec.y)
    np.testing.assert_array_equal(again.fixed.matrix, spec.fixed.matrix)
    assert again.index.equals(spec.index)
    with pytest.raises(DataError, match=r"all of tarsus, back \(1\).*'r3'"):
        specification(d.drop(index="r7"), missing="error")


def test_expressions_and_odd_names_as_responses():
    d = frame().rename(columns={"tarsus": "tarsus length"}).assign(back=lambda d: np.exp(d["back"]))
    d.loc["r2", "back"] = np.nan
    spec = specification(d, "c(`tarsus length`, log(back)) ~ trait + (1 | g)")
    assert spec.responses == ("tarsus length", "log(back)")
    assert spec.n == 23
    np.testing.assert_allclose(spec.y[1::2][:2], np.log(d["back"].iloc[:2]))


def test_weights_are_those_of_the_record():
    np.testing.assert_array_equal(specification(weights="w").weights, np.repeat(frame()["w"], 2))


def test_rows_with_several_index_levels():
    d = frame().set_index("g", append=True, drop=False)
    d.index.names = ["id", "group"]
    index = specification(d).index
    assert index.names == ["id", "group", "trait"]
    assert index[1] == ("r0", "a", "back")


@pytest.mark.parametrize(
    ("change", "formula", "error", "message"),
    [
        ({"trait": "x"}, FORMULA, DataError, r"column 'trait'.*Rename.*long form"),
        ({"back": np.nan}, FORMULA, DataError, "'back' has no value"),
        ({"back": 2.0}, FORMULA, DataError, "'back' is constant"),
        ({"back": "two"}, FORMULA, DataError, "'back' holds text"),
        ({}, "c(tarsus, wing) ~ trait", DataError, "'wing'"),
        ({}, "c(tarsus, log(wing)) ~ trait", DataError, "'wing'"),
        ({}, "c(tarsus, back) ~ colour", DataError, "'colour'"),
        ({}, "y ~ trait", DataError, "'y'"),
        ({}, "tarsus ~ trait", DataError, "'trait'"),
        ({}, "c(tarsus, back) ~ us(trait + | g)", FormulaError, "trait"),
    ],
)
def test_errors_say_what_is_wrong(change, formula, error, message):
    with pytest.raises(error, match=message):
        specification(frame().assign(**change), formula)


def test_units_are_the_records():
    spec = specification(formula="c(tarsus, back) ~ trait + (1 | units)")
    (term,) = spec.random
    assert list(term.relationship.labels) == sorted(frame().index)
    np.testing.assert_array_equal(term.columns[0].toarray().sum(axis=0), np.full(12, 2.0))


def test_units_of_the_residual_beside_units_of_the_formula():
    with pytest.raises(OptionError, match=r"diag\(trait \| units\)"):
        specification(residual="us(trait | g) + units")


AT = {"us(trait | g)": [[1.0, 0.3], [0.3, 2.0]], "residual": 0.8}


def test_new_data_in_wide_form_has_a_row_for_each_trait():
    model = rb.MixedModel(FORMULA, frame())
    solved = model.solve(AT)
    wide = frame()[["sex", "g"]].iloc[[1, 10]]
    out = solved.predict(wide)
    assert list(out.index) == [("r1", "tarsus"), ("r1", "back"), ("r10", "tarsus"), ("r10", "back")]
    np.testing.assert_allclose(out["prediction"], solved.fitted.loc[out.index])


def test_new_data_in_long_form_says_the_trait():
    solved = rb.MixedModel(FORMULA, frame()).solve(AT)
    long = pd.DataFrame({"sex": ["m", "f"], "g": ["a", "c"], "trait": ["back", "tarsus"]})
    out = solved.predict(long)
    assert list(out.index) == [0, 1]
    expected = [solved.fitted.loc[("r1", "back")], solved.fitted.loc[("r8", "tarsus")]]
    np.testing.assert_allclose(out["prediction"], expected)
    with pytest.raises(DataError, match=r"'trait'.*'wing'.*'tarsus', 'back'"):
        solved.predict(long.assign(trait="wing"))


def test_what_traits_share_is_said():
    with pytest.warns(rb.RemlBlupWarning, match=r"'tarsus', 'back' share one mean .* and one residual variance"):
        rb.MixedModel("c(tarsus, back) ~ sex + (1 | g)", frame())
    with warnings.catch_warnings(action="error"):
        rb.MixedModel("c(tarsus, back) ~ trait + (1 | g)", frame(), residual="us(trait | units)")
