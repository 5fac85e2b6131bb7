"""Oats with rows left out, a cell without records, a covariate: against lmerTest,
pbkrtest and emmeans (`oats_answers.json`)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.datasets import load as dataset

ANSWERS = json.loads((Path(__file__).parent / "oats_answers.json").read_text(encoding="utf-8"))["cases"]
EACH = pytest.mark.parametrize("name", ANSWERS)
# lme4's optimum, and numerical second derivatives, are good to about this.
SIX = 1e-6


@cache
def fitted(name: str) -> rb.Fit:
    d = dataset("oats").rename(columns={"Block": "block", "Variety": "variety"})
    d["nf"] = [f"{v:g}" for v in d["nitro"]]
    d = d.iloc[[r - 1 for r in ANSWERS[name]["rows"]]]
    return rb.MixedModel(ANSWERS[name]["formula"], d).fit(progress=False)


def means_of(name: str, entry: dict, **options):
    return fitted(name).marginal_means(
        entry["factor"], by=entry["by"], df="kenward-roger", information="expected", nonestimable="nan", **options
    )


@EACH
@pytest.mark.parametrize("kind", ["incremental", "conditional", "marginal"])
@pytest.mark.parametrize("df, information", [("satterthwaite", "observed"), ("kenward-roger", "expected")])
def test_by_term(name, kind, df, information):
    number = ["incremental", "conditional", "marginal"].index(kind) + 1
    key = f"{'kr' if df == 'kenward-roger' else 'sat'}{number}"
    table = fitted(name).wald_tests(kind, df, information)
    assert list(table.index) == ANSWERS[name]["terms"]
    np.testing.assert_allclose(table.to_numpy(float), ANSWERS[name][key], rtol=5 * SIX)


@EACH
@pytest.mark.parametrize("weights", ["equal", "proportional", "cells"])
def test_means(name, weights):
    for entry in ANSWERS[name]["means"]:
        table = means_of(name, entry, weights=weights).table
        names = [entry["factor"], *([entry["by"]] if entry["by"] else [])]
        expected = pd.DataFrame(entry[weights], columns=[*names, "mean", "std_error", "df"]).set_index(names)
        assert list(table.index.names) == names and len(table) == len(expected)
        # Missing where theirs is: the cell without records is in the mean.
        np.testing.assert_allclose(
            table.loc[expected.index].to_numpy()[:, :3].astype(float), expected.to_numpy(float), rtol=SIX
        )


@EACH
def test_differences(name):
    for entry in ANSWERS[name]["means"]:
        means, known = means_of(name, entry), np.array(entry["pairs"], float)
        found = means.contrasts("pairwise")
        np.testing.assert_allclose(found[["estimate", "std_error", "df"]], known[:, :3], rtol=SIX, atol=1e-9)
        np.testing.assert_allclose(np.abs(found["t"]), np.abs(known[:, 0] / known[:, 1]), rtol=SIX, atol=1e-9)
        if name != "hole":  # emmeans counts the mean that is not there
            np.testing.assert_allclose(found["p_value"], known[:, 3], rtol=1e-4, atol=1e-9)
        known = np.array(entry["reference"], float)
        found = means.contrasts("reference")
        np.testing.assert_allclose(found[["estimate", "std_error", "df"]], known[:, :3], rtol=SIX, atol=1e-9)
        if name != "hole":  # both integrate the multivariate t by random points, to about three digits
            np.testing.assert_allclose(found["p_value"], known[:, 3], atol=2e-3)


@pytest.mark.parametrize("name", [n for n in ANSWERS if "polynomial" in ANSWERS[n]])
def test_polynomials(name):
    means = fitted(name).marginal_means("nf", df="kenward-roger", information="expected")
    found = means.contrasts("polynomial")
    assert list(found.index) == ["linear", "quadratic", "cubic"]
    expected = np.array(ANSWERS[name]["polynomial"])
    np.testing.assert_allclose(found[["estimate", "std_error", "df", "p_value"]], expected, rtol=SIX)


@pytest.mark.parametrize("coding", ["contr.sum", "contr.helmert", "contr.poly"])
@pytest.mark.parametrize("name", ["unb", "hole"])
def test_marginal_tests_do_not_depend_on_the_coding(name, coding):
    d = fitted(name).specification.records.frame
    other = rb.MixedModel(f"yield ~ C(nf, {coding}) * C(variety, {coding}) + (1 | block/variety)", d).fit(
        progress=False
    )
    found, expected = (
        other.wald_tests("marginal", "kenward-roger"),
        fitted(name).wald_tests("marginal", "kenward-roger"),
    )
    np.testing.assert_allclose(found.to_numpy(float), expected.to_numpy(float), rtol=1e-6)
    assert coding.removeprefix("contr.") in repr(found)


def test_what_a_test_is_conditioned_on_is_said():
    table = fitted("unb").wald_tests()
    assert table.attrs["conditioned_on"] == {
        "nf": ["Intercept", "variety"],
        "variety": ["Intercept", "nf"],
        "nf:variety": ["Intercept", "nf", "variety"],
    }
    assert table.attrs["not_adjusted_for"] == {"nf": ["nf:variety"], "variety": ["nf:variety"]}
    assert "nf: given Intercept, variety; not nf:variety" in repr(table)
    assert "Satterthwaite, average information" in repr(table)
    assert "adjusted for those above" in repr(fitted("unb").wald_tests("incremental"))
    hole = fitted("hole").wald_tests()
    assert hole.loc["nf:variety", "num_df"] == 5 and "set aside" in repr(hole)


def test_fast_and_slow_are_contained_by_name():
    """A covariate is in its product with a factor, and not in that with another covariate; a factor in neither."""
    rng = np.random.default_rng(1)
    d = pd.DataFrame(
        {"g": np.repeat(range(8), 6), "f": list("abc") * 16, "x": rng.normal(size=48), "z": rng.normal(size=48)}
    )
    d["y"] = rng.normal(size=48) + rng.normal(size=8)[d["g"]]
    table = rb.MixedModel("y ~ f * x + x:z + (1 | g)", d).fit(progress=False).wald_tests()
    assert table.attrs["not_adjusted_for"] == {"x": ["f:x"]}
