"""lmerTest, pbkrtest and emmeans on unbalanced data, by their own information; published figures of balanced data.

Digits required: 4 of estimates, errors, F and df, lme4's optimum being good to about six; p values have the relative
error of F and df times their own slope, so 3.
"""

from __future__ import annotations

import json
import re
from functools import cache

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.datasets import load as dataset

FILES = {
    "oats_balanced": "oats",
    "penicillin_fixed": "penicillin",
    "sleep_unbalanced": "sleepstudy",
    "machines_unbalanced": "machines",
}
FOUR = 1e-4
EACH = pytest.mark.parametrize("name", FILES)


@cache
def fit_of(answers: str, data: str) -> tuple[dict, rb.Fit]:
    with open(answers, encoding="utf-8") as file:
        answer = json.load(file)
    d = pd.read_csv(data).rename(columns={"Block": "block", "Variety": "variety", "nitroF": "nf"})
    if "nf" in d:
        d["nf"] = [f"{v:g}" for v in d["nf"]]
    rows = re.findall(r"\d+", answer["drop"].partition("without")[2].replace("(1-based)", ""))
    d = d.drop(index=[int(r) - 1 for r in rows]).reset_index(drop=True)
    assert len(d) == answer["n"]
    fit = rb.MixedModel(answer["formula"], d).fit(progress=False)
    assert fit.converged and fit.loglik > answer["logLik"] - 1e-6
    return answer, fit


@pytest.fixture
def answered(reference, name):
    return fit_of(str(reference(f"inference.{name}.json")), str(reference(f"{FILES[name]}.csv")))


def close(found, expected, p_value=None, p_expected=None):
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=FOUR)
    if p_value is not None:
        np.testing.assert_allclose(np.asarray(p_value, float), np.asarray(p_expected, float), rtol=1e-3)


@EACH
@pytest.mark.parametrize("kind", ["incremental", "conditional", "marginal"])
@pytest.mark.parametrize("df, information", [("satterthwaite", "observed"), ("kenward-roger", "expected")])
def test_by_term(answered, kind, df, information):
    answer, fit = answered
    number = ["incremental", "conditional", "marginal"].index(kind) + 1
    rows = answer.get(f"anova_type{number}_{'kr' if df == 'kenward-roger' else 'satterthwaite'}")
    if rows is None:
        pytest.skip("not in the file")
    expected = pd.DataFrame(rows).set_index("term")
    table = fit.wald_tests(kind=kind, df=df, information=information)
    assert list(table.columns) == ["F", "num_df", "den_df", "p_value"] and table.index.name == "term"
    assert list(table.index) == list(expected.index)
    close(
        table[["F", "num_df", "den_df"]], expected[["F value", "NumDF", "DenDF"]], table["p_value"], expected["Pr(>F)"]
    )


@EACH
@pytest.mark.parametrize("df, information", [("satterthwaite", "observed"), ("kenward-roger", "expected")])
def test_of_coefficients(answered, df, information):
    answer, fit = answered
    expected = pd.DataFrame(answer["fixed_kr" if df == "kenward-roger" else "fixed_satterthwaite"])
    table = fit.fixed_effects_table(df=df, information=information)
    names = ["Estimate", "Std. Error", "df", "t value"]
    close(table[["estimate", "std_error", "df", "t"]], expected[names], table["p_value"], expected["Pr(>|t|)"])
    if df == "kenward-roger":
        close(table["std_error"], answer["vcov_kr_sd"])


@pytest.mark.parametrize("name", ["oats_balanced", "penicillin_fixed", "machines_unbalanced"])
def test_means_and_their_differences(answered):
    answer, fit = answered
    for entry in answer["means"]:
        factor = entry["specs"].removeprefix("~")
        for key, df, information in (
            ("kr", "kenward-roger", "expected"),
            ("satterthwaite", "satterthwaite", "observed"),
        ):
            expected = pd.DataFrame(entry[key]).set_index(factor)
            means = fit.marginal_means(factor, df=df, information=information)
            table = means.table.loc[expected.index]
            close(table, expected[["emmean", "SE", "df", "lower.CL", "upper.CL"]])
            if key != "kr":
                continue
            for adjust in ("tukey", "holm"):
                pairs = pd.DataFrame(entry[f"pairs_{adjust}_kr"])
                found = means.contrasts("pairwise", adjust=adjust)
                names = ["estimate", "SE", "df", "t.ratio"]
                size = np.maximum(np.abs(pairs[names]), [[*(pairs["SE"] * 1e-3)[:1], 0, 0, 1e-3]])
                np.testing.assert_array_less(
                    np.abs(found[["estimate", "std_error", "df", "t"]].to_numpy() - pairs[names]) / size, FOUR
                )
                np.testing.assert_allclose(found["p_value"], pairs["p.value"], rtol=1e-3, atol=1e-9)


# -- balanced data: the analysis of variance -------------------------------------------------------


@cache
def split_plot() -> rb.Fit:
    return rb.MixedModel("yield ~ C(nitro) * Variety + (1 | Block/Variety)", dataset("oats")).fit(progress=False)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("information", ["average", "observed", "expected"])
def test_split_plot(df, information):
    """Yates 1935: 37.686 on 3 and 45, 1.485 on 2 and 10, .303 on 6 and 45, whatever the method."""
    for kind in ("incremental", "conditional", "marginal"):
        table = split_plot().wald_tests(kind, df, information)
        assert list(table.index) == ["C(nitro)", "Variety", "C(nitro):Variety"]
        np.testing.assert_allclose(table["F"], [37.68561, 1.48534, 0.302823], rtol=3e-5)
        np.testing.assert_array_equal(table["num_df"], [3, 2, 6])
        np.testing.assert_allclose(table["den_df"], [45, 10, 45], rtol=1e-5)
    # In a balanced design the adjustment is none.
    adjusted = split_plot().fixed_effects_table("kenward-roger", information)
    np.testing.assert_allclose(adjusted["std_error"], split_plot().fixed_effects["std_error"], rtol=1e-5)


def test_errors_of_differences_in_the_split_plot():
    """√(2·177.083/18) between nitrogen levels: the mean square of plots within whole plots;
    √(2·601.331/24) of varieties."""
    nitro = split_plot().marginal_means("nitro", df="kenward-roger").sed.to_numpy()
    np.testing.assert_allclose(nitro[np.triu_indices(4, 1)], np.sqrt(2 * 177.0833 / 18), rtol=1e-5)
    variety = split_plot().marginal_means("Variety", df="kenward-roger")
    np.testing.assert_allclose(variety.sed.to_numpy()[np.triu_indices(3, 1)], np.sqrt(2 * 601.3306 / 24), rtol=1e-5)
    np.testing.assert_allclose(variety.lsd.iloc[0, 1], 2.2281389 * np.sqrt(2 * 601.3306 / 24), rtol=1e-5)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_sleepstudy(df):
    """Belenky's 18 subjects: Days 45.853 on 1 and 17."""
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", dataset("sleepstudy")).fit(progress=False)
    row = fit.wald_tests(df=df).loc["Days"]
    assert row["F"] == pytest.approx(45.853, abs=5e-4) and row["den_df"] == pytest.approx(17.0, rel=1e-5)


def test_gryphon(reference):
    """ASReml-R 4.2: sex 185.6 on 831 df by the average information; the adjusted standard error .16225."""
    d = pd.read_csv(reference("gryphon.csv"))
    pedigree = rb.Pedigree.from_frame(pd.read_csv(reference("gryphon.pedigree.csv")), id="id", sire="sire", dam="dam")
    fit = rb.MixedModel("BWT ~ C(SEX) + (1 | vm(ANIMAL, A))", d, {"A": pedigree}).fit(progress=False)
    row = fit.wald_tests().loc["C(SEX)"]
    assert row["F"] == pytest.approx(185.6, abs=0.05) and row["den_df"] == pytest.approx(831, abs=0.5)
    assert fit.fixed_effects_table().iloc[1]["std_error"] == pytest.approx(0.16225, abs=5e-6)
    assert fit.fixed_effects["std_error"].iloc[1] == pytest.approx(0.1619974, abs=5e-7)
