"""Levels of a column: each once, in order, of the records that are used."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup.model.columns as columns
from remlblup.model.columns import Column, Columns, without_blanks

LABELS = st.sampled_from(["b", "a", "a ", " c", "10", "9", "é"])


@given(st.lists(st.one_of(st.none(), LABELS), min_size=1), st.sampled_from(["str", "object", "category"]))
def test_every_value_finds_its_label(values, kind):
    codes, levels = Column(pd.Series(values, dtype=kind)).factor
    assert [None if k < 0 else levels[k] for k in codes] == [v if v is None else v.strip() for v in values]
    assert len(set(levels)) == len(levels) == len(set(codes) - {-1})
    raw = sorted({v for v in values if v is not None})
    assert list(levels) == list(dict.fromkeys(v.strip() for v in raw))


@pytest.mark.parametrize(
    "values, expected",
    [
        ([3, 1, 2, 1], [1, 2, 3]),
        ([2.0, None, 1.0], [1, 2]),
        ([2.5, 1.0], [1, 2.5]),
        ([True, False], [False, True]),
        (pd.array([2, None, 1], dtype="Int64"), [1, 2]),
        (pd.Categorical(["u", "v"], categories=["w", "v", "u"]), ["v", "u"]),
        (pd.Categorical([2, 10], categories=[10, 3, 2]), [10, 2]),
        (["x", 1, "1"], [1, "x"]),
    ],
)
def test_levels_of_other_types(values, expected):
    codes, levels = Column(pd.Series(values)).factor
    assert list(levels) == expected
    assert [k < 0 for k in codes] == list(pd.isna(pd.Series(values)))


@given(st.lists(st.tuples(LABELS, st.booleans()), min_size=1).filter(lambda rows: any(kept for _, kept in rows)))
def test_levels_of_some_rows_are_those_that_occur_there(rows):
    values, kept = pd.Series([v for v, _ in rows], dtype="str"), np.array([k for _, k in rows])
    data = Columns(pd.DataFrame({"f": values}))
    data["f"].factor  # noqa: B018  seen before the rows are left out
    known, fresh = data.among(kept)["f"].factor, Column(values[kept]).factor
    np.testing.assert_array_equal(known[0], fresh[0])
    np.testing.assert_array_equal(known[1], fresh[1])


def test_text_is_factorised_once(monkeypatch):
    """Of the levels of a column that every check asks for."""
    import remlblup as rb

    seen = []
    factorise = Column.__dict__["coded"].function
    monkeypatch.setattr(Column.__dict__["coded"], "function", lambda self: seen.append(1) or factorise(self))
    frame = pd.DataFrame({"y": np.arange(12.0) ** 2, "f": list("abc") * 4, "g": list("uvwx") * 3})
    rb.MixedModel("y ~ f + (1 | g)", frame)
    assert len(seen) == 2


def test_missing_values_and_blanks():
    frame = pd.DataFrame({"x": [1.0, np.nan], "k": [1, 2], "f": ["", "a"], "g": pd.Categorical(["u", None])})
    data = without_blanks(frame, [], ["f"])
    absent = {name: data[name].missing for name in frame}
    assert absent["k"] is None
    assert [list(absent[name]) for name in "xfg"] == [[False, True], [True, False], [False, True]]
    assert columns.Columns.of(data) is data
