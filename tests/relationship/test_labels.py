import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup as rb
from remlblup.errors import RelationshipError
from remlblup.relationship.labels import as_frame, canonical, integers, match, tidy


@pytest.mark.parametrize(
    "values",
    [
        [1306, 7],
        ["1306", "7"],
        [" 1306 ", "7\t"],
        [1306.0, 7.0],
        [np.int64(1306), "7"],
        [1306.0, "7"],
        np.array([1306, 7], dtype=np.uint16),
        np.array([1306.0, 7.0], dtype=np.float32),
        np.array(["1306", " 7"]),
        np.array([b"1306", b"7"]),
        pd.Series([1306, 7], dtype="Int64"),
        pd.Series([1306, 7], index=[5, 3]),
        pd.Series(["1306", "7"], dtype="string"),
        pd.Categorical([1306, 7]),
        pd.Series(["1306", "7"], dtype="category"),
        pd.Series([1306.0, 7.0], dtype="category"),
        pd.Index([1306, 7]),
        (x for x in (1306, 7)),
    ],
)
def test_one_spelling_for_every_type(values):
    spelt = canonical(values)
    assert spelt.dtype == object
    assert spelt.tolist() == ["1306", "7"]


@pytest.mark.parametrize(
    "values",
    [
        [1, None],
        ["1", None],
        [1.0, np.nan],
        ["1", pd.NA],
        ["1", pd.NaT],
        [1, np.float32("nan")],
        pd.Series([1, None], dtype="Int64"),
        pd.Series(["1", None]),
        pd.Series(["1", None], dtype="string"),
        pd.Series(["1", None], dtype="category"),
        pd.Series([1.0, None]),
        pd.Series([1.0, None], dtype="Float64"),
    ],
)
def test_missing_is_none(values):
    assert canonical(values).tolist() == ["1", None]
    assert [str(x) for x in tidy(values)] == ["1", "None"]


def test_text_is_not_reinterpreted():
    assert canonical(["01306", "1306.0", "1e3", ""]).tolist() == ["01306", "1306.0", "1e3", ""]
    assert canonical([1.5, 2.0]).tolist() == ["1.5", "2"]
    assert canonical([True, 1.5, "x"]).tolist() == ["True", "1.5", "x"]
    assert canonical([float("inf")]).tolist() == ["inf"]
    assert canonical([("a", 1)]).tolist() == ["('a', 1)"]
    assert canonical([]).tolist() == []
    assert canonical("abc").tolist() == ["abc"]


def test_dates_are_labels_too():
    dates = np.array(["2020-01-01", "NaT"], dtype="datetime64[ns]")
    assert canonical(dates).tolist() == ["2020-01-01 00:00:00", None]


def test_tidy_keeps_the_type_of_the_user():
    assert tidy([1, 2]).dtype == np.int64
    assert tidy([1.0, 2.0]).tolist() == [1, 2]
    assert tidy(pd.Series([1.0, np.nan])).tolist() == [1, None]
    assert tidy([1.5, 2.0]).tolist() == [1.5, 2]
    assert tidy([" a", "b "]).tolist() == ["a", "b"]
    assert tidy(["1", 2]).tolist() == ["1", 2]
    assert tidy(pd.Categorical(["b", "a", "b"])).tolist() == ["b", "a", "b"]
    assert tidy([2**70, 1]).tolist() == [2**70, 1]


def test_match_across_types():
    assert match([10, 20, 30], ["30", " 10", "40"]).tolist() == [2, 0, -1]
    assert match(["a", "b"], pd.Series(["b", None, "a"])).tolist() == [1, -1, 0]
    assert match([10, 20], [20.0, np.nan]).tolist() == [1, -1]
    assert match([0, 5], [np.nan, 5]).tolist() == [-1, 1]
    assert match(np.array([10, 20]), np.array([20, 11])).tolist() == [1, -1]
    assert match([1, 2], []).tolist() == []


def test_match_refuses_repeated_labels():
    with pytest.raises(RelationshipError, match=r"more than once: '7'"):
        match(["7", 7, "8"], ["8"])
    with pytest.raises(RelationshipError, match=r"more than once: 7"):
        match([7, 7, 8], [8])


def test_integers_only_where_all_are_whole():
    assert integers([1.5]) is None
    assert integers(["1"]) is None
    assert integers([2**60])[0] == 2**60
    assert integers(np.array([2**63], dtype=np.uint64)) is None
    values, missing = integers([3.0, np.nan])
    assert values[0] == 3
    assert missing.tolist() == [False, True]


@given(st.lists(st.integers(-(2**40), 2**40), unique=True, max_size=30), st.randoms())
def test_match_is_the_same_in_every_type(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    expected = [numbers.index(x) for x in shuffled]
    for left in (numbers, [str(x) for x in numbers], [float(x) for x in numbers]):
        for right in (shuffled, [f" {x}" for x in shuffled], pd.Series(shuffled, dtype="Int64")):
            assert match(left, right).tolist() == expected


def test_as_frame_takes_polars_and_refuses_the_rest():
    polars = pytest.importorskip("polars")
    frame = as_frame(polars.DataFrame({"id": [1, 2], "sire": ["x", None]}))
    assert canonical(frame["sire"]).tolist() == ["x", None]
    assert canonical(polars.Series([1, None])).tolist() == ["1", None]
    assert canonical(polars.Series(["a", None])).tolist() == ["a", None]
    with pytest.raises(RelationshipError, match="data frame is needed"):
        as_frame([1, 2])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["float16", ">f2", "float32", "longdouble", "int8", "uint8", ">i4"])
def test_narrow_and_foreign_numbers_are_the_same_labels(kind):
    """The largest whole number a float holds cannot be written in a narrower one: NumPy warned of it."""
    numbers = np.array([3, 0, 107], dtype=kind)
    assert canonical(numbers).tolist() == ["3", "0", "107"]
    assert tidy(numbers).tolist() == [3, 0, 107]
    assert match(numbers, ["107", 3]).tolist() == [2, 0]
    if numbers.dtype.kind == "f":
        assert canonical(np.array([np.nan, 1.5, np.inf], dtype=kind)).tolist() == [None, "1.5", "inf"]
        assert match([1, 2], np.array([np.nan, 2], dtype=kind)).tolist() == [-1, 1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["float16", "<f2", ">f2", "float32", "longdouble", ">f8", "int8", "uint8", "int16"])
def test_columns_of_any_number_make_the_same_model(kind):
    """As response, factor, covariate, weight and animal; every value fits each type."""
    n = np.arange(24)
    plain = {"y": (n * 7919 % 31) % 13, "x": n % 7, "f": n % 3, "g": n % 6 + 1, "w": 1 + n % 2, "t": n // 6}
    pedigree = {"ids": np.arange(1, 7), "sires": np.zeros(6), "dams": np.array([0, 0, 0, 1, 1, 2])}
    found = []
    for dtype in (np.float64, kind):
        data = pd.DataFrame({name: values.astype(dtype) for name, values in plain.items()})
        animals = rb.Pedigree(**{name: values.astype(dtype) for name, values in pedigree.items()})
        model = rb.MixedModel("y ~ C(f) + x + (1 | vm(g, A)) + (x | t)", data, {"A": animals}, weights="w")
        solved = model.solve({"vm(g, A)": 1.0, "x | t": np.eye(2), "residual": 2.0})
        found.append((solved.fixed_effects["estimate"].to_numpy(), solved.random_effects["estimate"].to_numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-12)


UNHASHABLE = [[1], {"a": 1}, {1}, np.eye(2), pd.Series([1]), (1, [2])]


@pytest.mark.parametrize("label", UNHASHABLE, ids=lambda v: type(v).__name__)
def test_what_holds_several_values_is_no_label(label):
    labels = np.empty(3, dtype=object)
    labels[:] = ["a", "b", None]
    labels[2] = label
    ids = ["a", "b", "c"]
    frame = pd.DataFrame({"id": ids, "sire": [0, 0, 0], "dam": [0, 0, 0]})
    for wrong in (
        lambda: canonical(labels),
        lambda: tidy(list(labels)),
        lambda: rb.Pedigree(labels, [0] * 3, [0] * 3),
        lambda: rb.Pedigree(ids, labels, [0] * 3),
        lambda: rb.Pedigree(ids, [0] * 3, [0] * 3, groups=labels),
        lambda: rb.Pedigree(ids, [0] * 3, [0] * 3, clones=labels),
        lambda: rb.Pedigree(ids, [0] * 3, [0] * 3, clones={"a": label}),
        lambda: rb.Pedigree(ids, [0] * 3, [0] * 3, unknown=labels),
        lambda: rb.Pedigree.from_frame(frame, clones=labels),
        lambda: rb.Relationship(np.eye(3), labels),
        lambda: rb.Pedigree(ids, [0] * 3, [0] * 3).subset(labels),
        lambda: rb.Genotypes.from_matrix(np.ones((3, 3)), ids=labels),
        lambda: rb.Genotypes.from_matrix(np.ones((3, 3)), ids=ids, markers=labels),
        lambda: rb.MixedModel("y ~ 1 + (1 | g)", {"y": [1.0, 2.0, 4.0], "g": labels}),
        lambda: rb.MixedModel("y ~ g", {"y": [1.0, 2.0, 4.0], "g": labels}),
        lambda: rb.MixedModel("y ~ 1", {"y": [1.0, 2.0, 4.0], "g": labels}, residual="diag(g | units)"),
    ):
        with pytest.raises(rb.RemlBlupError):
            wrong()


def test_items_that_are_arrays_are_no_labels():
    for labels in ((np.eye(2), ["a", "b"]), [np.zeros(2), np.zeros(2)]):
        with pytest.raises(rb.RemlBlupError):
            rb.Genotypes.from_matrix(np.ones((2, 2)), ids=["a", "b"], markers=labels)
