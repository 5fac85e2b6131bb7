"""Levels that differ only by the blanks around them: one behind a bar, told of where each has its own effect."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.errors import CodesWarning

TYPES = [object, "category", "string", "str"]
FORMULAS = ["y ~ sex", "y ~ C(sex)", "y ~ sex * x", "y ~ x + (0 + sex | g)", "y ~ sex + (1 | sex)", "y ~ x:sex"]


def frame(levels=("M", "M ", "F"), dtype=object) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"y": rng.normal(size=36), "x": rng.normal(size=36), "g": np.arange(36) % 4})
    return data.assign(sex=pd.Series(12 * list(levels)).astype(dtype))


def told(formula, data, **options) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rb.MixedModel(formula, data, **options)
    return [str(w.message) for w in caught if issubclass(w.category, CodesWarning) and "blanks" in str(w.message)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("formula", FORMULAS)
def test_told_of_once(formula, dtype):
    (text,) = told(formula, frame(dtype=dtype))
    assert "levels of 'sex'" in text and "'M', 'M '" in text and "'F'" not in text and ".str.strip()" in text


@pytest.mark.parametrize("levels", [("M", " M", "F"), ("M", "M\t", "F"), ("M", " M ", "M ")])
def test_any_blanks(levels):
    assert len(told("y ~ sex", frame(levels))) == 1


@pytest.mark.parametrize("levels", [("M", "m", "F"), ("M ", "F ", "X "), ("M 1", "M  1", "F"), (1, 2, 3), ("1", 1, 2)])
def test_other_levels_are_others(levels):
    assert told("y ~ sex", frame(levels)) == []


@pytest.mark.parametrize("formula, residual", [("y ~ (1 | sex)", "units"), ("y ~ x", "diag(sex | units)")])
def test_behind_a_bar_they_are_one(formula, residual):
    assert told(formula, frame(), residual=residual) == []
    assert told("y ~ x", frame()) == []


def test_a_category_without_records():
    data = frame(("M", "M", "F"))
    assert told("y ~ sex", data.assign(sex=pd.Categorical(data["sex"], ["M", "M ", "F"]))) == []


def test_of_several_responses():
    with pytest.warns(CodesWarning, match="levels of 'sex' differ only by blanks") as caught:
        rb.fit_many("~ sex + (1 | g)", frame().assign(z=1.0 + frame()["x"]), ["y", "z"])
    assert sum("blanks" in str(w.message) for w in caught) == 1
