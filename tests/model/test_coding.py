"""A right-hand side of columns alone, read directly, is formulaic's to the last column, name and digit."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import remlblup as rb
from remlblup.model import coding
from remlblup.model.algebra import read_terms
from remlblup.model.coding import Later, coded_matrix, plain_blocks
from remlblup.model.columns import Columns
from remlblup.model.wilkinson import materialize

WORDS = ("a", "b ", "B", "10", "9", "2.5", "é", "x[1]", "T.a", "{0}", "Intercept", "", "NA")
NUMBERS = ("float64", "float32", "int64", "int8", "uint16", "bool", "boolean", "Int64", "Float64", "object")
FACTORS = ("str", "object", "category", "ordered", "unused", "numbered", "halves", "reserved")
NAMES = ("x", "f", "g_1", "a b", "Intercept", "k.l")


def covariate(draw: st.DrawFn, n: int, missing: np.ndarray) -> pd.Series:
    kind = draw(st.sampled_from(NUMBERS))
    values = draw(st.lists(st.integers(0, 1 if kind.startswith("bool") else 100), min_size=n, max_size=n))
    series = pd.Series(values) / (2 if kind in ("float64", "float32", "Float64", "object") else 1)
    if kind in ("float64", "float32", "boolean", "Int64", "Float64", "object"):
        return series.astype(kind).mask(missing)
    return series.astype(kind)


def factor(draw: st.DrawFn, n: int, missing: np.ndarray) -> pd.Series:
    kind = draw(st.sampled_from(FACTORS))
    words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6, unique=True))
    codes = np.array(draw(st.lists(st.integers(0, len(words) - 1), min_size=n, max_size=n)))
    codes[missing] = -1
    if kind in ("str", "object"):
        return pd.Series(np.array([*words, None], dtype=object)[codes], dtype=kind)
    levels = {
        "numbered": [3 * k for k in range(len(words))],
        "halves": [k + 0.5 for k in range(len(words))],
        "reserved": ["__own", *words[1:]],
    }.get(kind, words)
    made = pd.Categorical.from_codes(codes, categories=levels, ordered=kind == "ordered")
    return pd.Series(made if kind in ("ordered", "unused") else made.remove_unused_categories())


@st.composite
def problems(draw: st.DrawFn, some_missing: bool) -> tuple[str, pd.DataFrame]:
    """A sum of some columns, with or without an intercept, and their frame."""
    n = draw(st.integers(4, 14))
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    columns = {}
    for name in names:
        missing = np.zeros(n, dtype=bool)
        if some_missing and draw(st.booleans()):
            missing[draw(st.integers(0, n - 1))] = True
        columns[name] = (covariate if draw(st.booleans()) else factor)(draw, n, missing)
    frame = pd.DataFrame(columns, index=range(n)).set_axis(draw(st.permutations(range(100, 100 + n))))
    pieces = [f"`{name}`" if " " in name else name for name in names]
    return " + ".join([draw(st.sampled_from("01")), *pieces]), frame


@pytest.mark.parametrize("sparse", [False, True])
@given(problem=problems(some_missing=False))
@settings(max_examples=150, deadline=None)
def test_the_matrix_is_formulaics(sparse, problem):
    formula, frame = problem
    blocks = plain_blocks(read_terms(formula), Columns(frame))
    theirs = materialize(formula, frame, "X", sparse)
    if blocks is None:
        return
    ours = (coding.joined_sparse if sparse else coding.joined_dense)(blocks, len(frame))
    assert [name for block in blocks for name in block.names] == list(theirs.model_spec.column_names)
    assert ours.dtype == np.float64
    if sparse:
        whole = sp.csc_array(theirs)
        whole.sort_indices()
        for mine, other in ((ours.data, whole.data), (ours.indices, whole.indices), (ours.indptr, whole.indptr)):
            np.testing.assert_array_equal(mine, other)
    else:
        np.testing.assert_array_equal(ours, np.asarray(theirs, dtype=np.float64))
        assert ours.flags.c_contiguous


def outcome(formula: str, data: object) -> object:
    """X, the names of its columns, and what was said; or the error."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            fixed = rb.MixedModel(formula, data).specification.fixed
        except rb.RemlBlupError as error:
            return type(error), str(error)
    notes = [(w.category, str(w.message)) for w in said]
    terms = [(str(part.term), list(part.columns)) for part in fixed.spec.structure]
    return fixed.names, fixed.aliased, np.asarray(fixed.work).tolist(), fixed.without_columns, terms, notes


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@given(problem=problems(some_missing=True))
@settings(max_examples=60, deadline=None)
def test_the_model_is_the_same_either_way(library, problem):
    formula, frame = problem
    frame = frame.assign(y=np.arange(len(frame)) ** 2.0)
    data: object = frame
    if library == "pyarrow":
        pyarrow = pytest.importorskip("pyarrow")
        try:
            data = pyarrow.Table.from_pandas(frame, preserve_index=False)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            return
    elif library == "polars":
        try:
            data = pytest.importorskip("polars").from_pandas(frame)
        except Exception:  # not every frame has a polars form
            return
    directly = outcome(f"y ~ {formula}", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coding, "plain_blocks", lambda terms, data: None)
        assert outcome(f"y ~ {formula}", data) == directly


def frame(n: int = 30) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": np.arange(n) ** 1.5,
            "x": np.arange(n) % 7 + 0.5,
            "f": np.array(["b", "a", "c"])[np.arange(n) % 3],
            "g": np.array(["u", "v"])[np.arange(n) // 15],
        }
    )


@pytest.mark.parametrize("formula", ["1", "0 + x", "x", "x + f", "0 + f + g", "f + x + g"])
def test_what_is_read_directly(formula):
    matrix = coded_matrix(formula, Columns(frame()), "X", sparse=False)
    assert isinstance(matrix.coding, Later)
    assert list(matrix.coding.made().column_names) == matrix.names
    assert matrix.dense().shape == matrix.sparse().shape == (30, len(matrix.names))


@pytest.mark.parametrize("formula", ["x:f", "x * f", "C(f)", "log(x)", "poly(x, 2)", "I(x > 3)", "C(f, contr.sum)"])
def test_what_formulaic_codes(formula):
    assert plain_blocks(read_terms(formula), Columns(frame())) is None


def test_the_coding_is_of_the_data_as_they_were():
    """Columns put into the frame after the model was made are not those that it is coded by."""
    data = frame()
    fit = rb.MixedModel("y ~ x + f + (1 | g)", data).fit()
    data["f"] = "other"
    assert list(fit.specification.fixed.spec.column_names) == ["Intercept", "x", "f[T.b]", "f[T.c]"]
    assert fit.wald_tests().index.tolist() == ["x", "f"]


def test_covariates_of_a_random_term_are_read_directly_too():
    spec = rb.MixedModel("y ~ x + (1 + x | f)", frame()).specification
    effects = spec.random[0].spec
    assert effects.names == ("Intercept", "x")
    assert isinstance(effects.coding, Later)
    np.testing.assert_array_equal(effects.values(frame()), np.column_stack([np.ones(30), frame()["x"]]))


def test_new_records_are_coded_by_the_data_as_they_were():
    levels = np.array([["abc"[k % 3]] for k in range(60)], dtype=object)
    rng = np.random.default_rng(1)
    d = pd.DataFrame(levels, columns=["f"], dtype=object, copy=False)
    d["g"], d["y"] = np.arange(60) % 10, rng.normal(size=60)
    model, new = rb.MixedModel("y ~ f + (1 | g)", d), d.iloc[:6].copy()
    expected = rb.MixedModel("y ~ f + (1 | g)", d.copy()).fit().predict(new)
    levels[:] = "other"
    assert d["f"].eq("other").all()
    pd.testing.assert_frame_equal(model.fit().predict(new), expected)
