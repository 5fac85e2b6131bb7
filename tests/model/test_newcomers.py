"""What a newcomer writes and does not mean is said: factors added behind a bar, a factor of one level, "NA" as text,
df= too small."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup import cli


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(8)
    d = pd.DataFrame(
        {"a": np.array(list("pqrst"))[np.arange(40) % 5], "b": np.array(list("rstuv"))[np.arange(40) // 8]}
    )
    return d.assign(x=rng.normal(size=40), k="one", y=rng.normal(size=40) + rng.normal(size=5)[np.arange(40) % 5])


@pytest.mark.parametrize("group", ["a + b", "b + a"])
@pytest.mark.parametrize("many", [False, True])
def test_factors_added_behind_a_bar_are_one_effect_and_it_is_said(group, many):
    with pytest.warns(rb.RemlBlupWarning, match=r"one effect of every level.*\(1 \| [ab]\) \+ \(1 \| [ab]\)"):
        if many:
            rb.fit_many(f"~ x + (1 | {group})", frame(), ["y"])
        else:
            rb.MixedModel(f"y ~ x + (1 | {group})", frame())


@pytest.mark.parametrize(
    "term", ["(1 | a) + (1 | b)", "(1 | a:b)", "(1 | vm(a, K) + vm(b, K))", "(1 | vm(a, K) + 0.5*vm(b, K))"]
)
def test_what_is_meant_goes_without_a_word(term, recwarn):
    rb.MixedModel(f"y ~ x + {term}", frame(), RELATED if "K" in term else None)
    assert not recwarn.list


RELATED = {"K": (np.eye(7) + 0.2, list("pqrstuv"))}


@pytest.mark.parametrize("many", [False, True])
def test_a_relationship_that_no_term_names_is_told(many):
    with pytest.warns(rb.RemlBlupWarning, match=r"has 'K', which no term of the formula names, .*vm\(factor, K\)"):
        if many:
            rb.fit_many("~ x + (1 | a)", frame(), ["y"], RELATED)
        else:
            rb.MixedModel("y ~ x + (1 | a)", frame(), RELATED)


@pytest.mark.parametrize(
    ("formula", "residual"),
    [
        ("y ~ x + (1 | vm(a, K))", "units"),
        ("y ~ x + (1 | vm(a, K):b)", "units"),
        ("y ~ x + (1 | b) + known(a | b, matrix=K)", "units"),
        ("y ~ x + (1 | b)", "known(K)"),
        ("y ~ x + (1 | b)", "known(rec, K)"),
    ],
)
def test_one_that_something_names_is_not(formula, residual, recwarn):
    d = frame().assign(rec=[f"r{i}" for i in range(40)])
    K = RELATED["K"]
    if "known(a" in formula:
        K = pd.DataFrame(np.eye(5) + 0.2, index=list("pqrst"), columns=list("pqrst"))
    if residual != "units":
        K = (np.eye(40), d["rec"] if "rec" in residual else d.index)
    rb.MixedModel(formula, d, {"K": K}, residual=residual)
    assert not recwarn.list
    with pytest.warns(rb.RemlBlupWarning, match=r"has 'other', which no term"):
        rb.MixedModel(formula, d, {"K": K, "other": RELATED["K"]}, residual=residual)


@pytest.mark.parametrize("fixed, gone", [("C(k)", "C(k)"), ("k", "k"), ("k:x + k", "k"), ("C(k) + poly(x, 0)", "C(k)")])
def test_a_factor_of_one_level_is_listed(fixed, gone, tmp_path):
    fit = rb.MixedModel(f"y ~ x + {fixed} + (1 | a)", frame()).fit(progress=False)
    assert f"'{gone}'" in str(fit.summary()).split("No columns")[1].splitlines()[0]
    again = rb.load(fit.save(tmp_path / "fit"))
    assert "No columns" in str(again.summary())
    assert "No columns" not in str(rb.MixedModel("y ~ 0 + k + x + (1 | a)", frame()).fit(progress=False).summary())


@pytest.mark.parametrize("word", ["NA", "nan", "None", "N/A", "."])
@pytest.mark.parametrize("kind", [object, "category", "string"])
@pytest.mark.parametrize("formula", ["y ~ x + (1 | a)", "y ~ a + (1 | b)", "y ~ x*a + (1 | b)"])
def test_a_word_for_a_missing_value_is_told_from_what_a_file_gives(word, kind, formula, tmp_path):
    d = frame()
    d.loc[[3, 9], "a"] = word
    with pytest.warns(rb.CodesWarning, match=rf"'a' holds '{word}' in 2 rows, taken as a level".replace(".", r"\.")):
        model = rb.MixedModel(formula, d.astype({"a": kind}))
    assert model.specification.n == 40
    d.to_csv(tmp_path / "d.csv", index=False)
    assert rb.MixedModel(formula, tmp_path / "d.csv").specification.records.dropped == {"a": 2}


LEAST = {
    "bs(x, df=2)": 3,
    "bs(x, df=1, degree=2)": 2,
    "bs(x, df=3, include_intercept=True)": 4,
    "ns(x, df=1)": 2,
    "cr(x, df=2)": 3,
}


@pytest.mark.parametrize("text", LEAST)
def test_a_spline_of_too_few_columns_says_how_many_it_has(text):
    with pytest.raises(rb.FormulaError, match=f"too few.*{LEAST[text]} columns") as raised:
        rb.MixedModel(f"y ~ {text} + (1 | a)", frame())
    assert "include_intercept`" not in str(raised.value)
    df = int(text.split("df=")[1][0])
    enough = text.replace(f"df={df}", f"df={LEAST[text]}")
    assert rb.MixedModel(f"y ~ {enough} + (1 | a)", frame()).specification.p >= 3


WITHOUT = [
    "a/0",
    "0/0",
    "a/(a - a)",
    "log(0 - a)",
    "sqrt(0 - residual)",
    "log(a - a)",
    "exp(1e6*residual)",
    "a^1000^residual^99",
]


@pytest.mark.parametrize("expression", WITHOUT)
def test_a_function_without_a_value_says_why(expression, recwarn):
    fit = rb.MixedModel("y ~ x + (1 | a)", frame()).fit(progress=False)
    value = fit.function(expression)
    if expression != WITHOUT[-1]:
        assert np.isnan(float(value)) and np.isnan(value.std_error)
    assert [w.category for w in recwarn.list] == [rb.RemlBlupWarning] * len(recwarn.list)
    assert len(recwarn.list) == int(np.isnan(float(value)))
    if recwarn.list:
        assert "has no value at the estimates" in str(recwarn.list[0].message)


@pytest.mark.parametrize("name", ["", "  ", "\0", "a" * 5000])
def test_names_of_no_folder(name):
    fit = rb.MixedModel("y ~ x + (1 | a)", frame()).fit(progress=False)
    for call in (lambda: fit.save(name), lambda: rb.load(name)):
        with pytest.raises(rb.StoreError, match="folder"):
            call()


def test_blup_counts_what_it_sets_aside_and_keeps_out_of_the_folder_of_a_fit(tmp_path, capsys):
    d = frame()
    d.loc[[1, 2, 5], "x"] = np.nan
    d.to_csv(tmp_path / "d.csv", index=False)
    common = [str(tmp_path / "d.csv"), "y ~ x + k + (1 | a)"]
    assert cli.main(["blup", *common, "--variances", "a=1", "residual=1", "--out", str(tmp_path / "o")]) == 0
    out = capsys.readouterr().out
    assert "37 (3 more dropped for missing values: x 3)" in out
    assert "No columns" in out
    assert cli.main(["fit", *common, "--out", str(tmp_path / "o"), "--quiet"]) == 2
    assert "remlblup blup" in capsys.readouterr().err and not (tmp_path / "o" / "fit.json").exists()
    assert cli.main(["fit", *common, "--out", str(tmp_path / "p"), "--quiet"]) == 0
    assert cli.main(["blup", *common, "--variances", "a=1", "residual=1", "--out", str(tmp_path / "p")]) == 2
