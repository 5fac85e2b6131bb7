"""Digits agreed and the verdict of one comparison."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from remlblup.validation.compare import Verdict, compare_number, compare_vector, digits_agreed


@pytest.mark.parametrize(
    ("ours", "theirs", "scale", "digits"),
    [
        (1.0, 1.0, None, 16.0),
        (0.0, 0.0, None, 16.0),
        (100.0, 99.9, None, 3.0),
        (-100.0, -99.9, None, 3.0),
        (99.9, 100.0, None, 3.0),
        (1.0, 1.0 + 4e-16, None, 15.35),
        (0.0, 1e-9, None, 0.0),
        (0.0, 1e-9, 1.0, 9.0),
        (5.0, 10.0, 1e-3, 0.30103),  # a scale below the magnitudes is not used
        (1.0, -1.0, None, -0.30103),
    ],
)
def test_digits(ours, theirs, scale, digits):
    assert digits_agreed(ours, theirs, scale) == pytest.approx(digits, abs=0.02)


@pytest.mark.parametrize(("ours", "theirs"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, np.inf), (np.nan, np.nan)])
def test_what_is_not_finite_agrees_in_nothing(ours, theirs):
    assert digits_agreed(ours, theirs) == -np.inf
    assert compare_number("c", "q", ours, theirs, 0.0).verdict is Verdict.FAIL


def test_verdict_turns_at_the_digits_required():
    assert compare_number("c", "q", 100.0, 99.9, 3.0 - 1e-9).verdict is Verdict.OK
    assert compare_number("c", "q", 100.0, 99.9, 3.1).verdict is Verdict.FAIL


def test_a_vector_is_relative_to_its_largest_element_and_shows_the_worst():
    ours = pd.Series({"a": 100.0, "b": 0.001, "c": 5.0, "more": 7.0})
    theirs = pd.Series({"c": 5.0, "b": 0.002, "a": 100.0})
    row = compare_vector("c", "q", ours, theirs, 4.9)
    assert (row.ours, row.theirs, row.count) == (0.001, 0.002, 3)
    assert row.digits == pytest.approx(5.0)
    assert row.verdict is Verdict.OK


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (pd.Series({"a": 1.0, "z": 2.0}), "lacks 1 labels, such as 'z'"),
        (pd.Series(dtype=float), "nothing to compare"),
        (pd.Series([1.0, 1.0], index=["a", "a"]), "repeated"),
        (pd.Series({"a": np.nan}), "not finite"),
    ],
)
def test_a_vector_that_cannot_be_compared_fails(theirs, words):
    row = compare_vector("c", "q", pd.Series({"a": 1.0}), theirs, 0.0)
    assert row.failed
    assert words in row.note
