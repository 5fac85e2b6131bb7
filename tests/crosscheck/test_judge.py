"""Who is right: agreement, a point short of the maximum, another model, constants; no reason where there is none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.crosschecking.results import COMPONENTS, RANDOM, Results, Row, component, table
from remlblup.validation.crosscheck.__main__ import printed
from remlblup.validation.crosscheck.kinds import KINDS


@pytest.fixture(scope="module")
def sleep():
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit(progress=False)


@pytest.fixture(scope="module")
def rail():
    return rb.MixedModel("travel ~ 1 + (1 | Rail)", rb.datasets.load("rail")).fit(progress=False)


def results_of(fit, theta, digits=8, **more):
    """Numbers in the names of `fit`, as another program might print them."""
    rows = []
    for (term, name), value in zip(fit.specification.parameters.pairs, theta, strict=True):
        first, _, second = name[4:-1].partition(", ") if name.startswith(("var(", "cov(")) else ("", "", "")
        kind = "covariance" if second else "variance"
        rounding = 0.5 * 10.0 ** (np.floor(np.log10(max(abs(value), 1e-8))) - digits + 1)
        rows.append(component(term, value, rounding, kind=kind, effect=first, other=second))
    return Results("peer", components=table(rows, COMPONENTS), **more)


def test_the_same_estimates_agree(sleep):
    check = rb.crosscheck(sleep, results_of(sleep, sleep.theta))
    assert check.verdict.startswith("they agree")
    assert check.reason is None and len(check.reasons) == 0
    assert check.table["agrees"].all()
    assert abs(check.evaluation.attrs["shortfall"]) < 1e-9 and check.evaluation.attrs["is_maximum"]


def test_a_point_short_of_the_maximum(sleep):
    """The shortfall is the difference of our log-likelihoods; the constant shows that it is the same function."""
    theta = sleep.theta * [1.1, 1.0, 0.9, 1.02]
    model = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy"))
    there = model.loglik(sleep.specification.parameters.to_mapping(theta))
    printed = there + 0.5 * 178 * np.log(2.0 * np.pi)
    check = rb.crosscheck(sleep, results_of(sleep, theta, loglik=printed, loglik_rounding=1e-8))
    assert np.isclose(check.evaluation.attrs["shortfall"], sleep.loglik - there, rtol=1e-9)
    assert check.verdict.startswith(f"theirs stops {sleep.loglik - there:.2g} below the maximum")
    assert check.evaluation.attrs["constant_words"] == "without the 2π term"
    assert not check.evaluation.attrs["is_maximum"]
    assert check.reason is None and len(check.reasons) and not check.reasons["agrees"].any()


def test_ours_is_lower(rail):
    """Estimates of a fit that was stopped too early are judged so, too."""
    early = rb.MixedModel("travel ~ 1 + (1 | Rail)", rb.datasets.load("rail"))
    with pytest.warns(rb.ConvergenceWarning):
        short = early.fit(max_iterations=1, start={"Rail": 5.0, "residual": 5.0}, algorithm="em", progress=False)
    check = rb.crosscheck(short, results_of(rail, rail.theta))
    assert check.verdict.startswith("ours is lower: ")
    assert "Ours has not converged" in check.verdict


def test_maximum_likelihood_is_named(reference, sleep):
    for name in ("lme4_summary_sleepstudy_ML.txt", "lme4_VarCorr_sleepstudy_ML.csv"):
        check = rb.crosscheck(sleep, reference(f"formats/{name}"))
        assert check.reason == "ML in place of REML"
        assert check.verdict.startswith("theirs is another model: ML in place of REML")
        first = check.reasons.iloc[0]
        assert first["agrees"] and first["distance"] <= 1.0
        assert check.reasons["agrees"].sum() == 1


def test_samples_of_data_that_are_here_agree(reference, sleep):
    """From raw output to a verdict: components, fixed effects in their coding, BLUPs, the printed log-likelihood."""
    formats = [
        (sleep, ["lme4_summary_sleepstudy.txt", "lme4_ranef_sleepstudy.csv"]),
        (
            rb.MixedModel("yield ~ nitroF * Variety + (1 | Block/Variety)", rb.datasets.load("oats")).fit(
                progress=False
            ),
            ["nlme_summary_oats.txt"],
        ),
        (
            rb.MixedModel("distance ~ age * Sex + (1 + age | Subject)", rb.datasets.load("orthodont")).fit(
                progress=False
            ),
            ["nlme_summary_orthodont.txt"],
        ),
    ]
    for fit, names in formats:
        check = rb.crosscheck(fit, [reference(f"formats/{name}") for name in names])
        assert check.verdict.startswith("they agree"), names
        assert check.table["agrees"].all(), names
        assert (check.table.loc[check.table["quantity"] == "fixed effect", "digits"] > 4.5).all()
        assert check.evaluation.attrs["constant_words"]


def test_another_coding_of_the_fixed_effects_is_a_constant(reference):
    fit = rb.MixedModel("yield ~ nitroF * Variety + (1 | Block/Variety)", rb.datasets.load("oats")).fit(progress=False)
    check = rb.crosscheck(fit, reference("formats/nlme_summary_oats.txt"))
    assert check.evaluation.attrs["constant_words"] == "with fixed effects in another coding"
    assert np.isclose(check.evaluation.attrs["constant"], -3.0 * np.log(2.0), atol=1e-4)


def test_the_likelihood_of_a_standardised_response_is_a_constant(sleep):
    """With y/s, s its standard deviation, ℓ is that of the variances over s²; computed here by a fit of y/s."""
    data = rb.datasets.load("sleepstudy")
    s = float(data["Reaction"].std())
    scaled = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", data.assign(Reaction=data["Reaction"] / s)).fit(
        progress=False
    )
    results = results_of(sleep, sleep.theta, loglik=scaled.loglik_asreml, loglik_rounding=1e-7)
    words = rb.crosscheck(sleep, results).evaluation.attrs["constant_words"]
    assert words == "without the 2π term and of the response over its standard deviation"


def test_gemma_has_its_constant(reference):
    """+ ½ log|X'X|, here ½ log 599."""
    data = pd.read_csv(reference("wheat599.csv"))
    A = pd.read_csv(reference("wheat599.A.csv"), index_col=0)
    A.columns = A.index = A.index.astype(str)
    data = data.assign(line=list(A.index))
    response = next(c for c in data.columns if c.lower().endswith("1"))
    fit = rb.MixedModel(f"{response} ~ 1 + (1 | vm(line, K))", data, {"K": A}).fit(progress=False)
    check = rb.crosscheck(fit, reference("formats/gemma_lmm_wheat599_Y1.log.txt"))
    assert check.verdict.startswith("they agree")
    assert check.evaluation.attrs["constant_words"] == "with + ½ log|X'X|"


@pytest.mark.parametrize("kind", ["inbreeding_ignored", "inverse_cut", "weights_inverted", "records_dropped"])
def test_reasons_are_named(kind, tmp_path):
    """More kinds and seeds: ``python -m remlblup.validation.crosscheck``."""
    main = pytest.importorskip("remlblup.validation.crosscheck.__main__")
    outcome = main.judged(kind, 0, tmp_path)
    assert outcome.visible and outcome.named == outcome.expected, outcome.verdict


@pytest.mark.parametrize("kind", ["stopped_short", "unknown_model"])
def test_no_reason_is_named_where_there_is_none(kind, tmp_path):
    main = pytest.importorskip("remlblup.validation.crosscheck.__main__")
    outcome = main.judged(kind, 1, tmp_path)
    assert outcome.named is None and outcome.verdict.startswith("theirs stops"), outcome.verdict


def test_standard_errors_say_which_information():
    unbalanced = rb.datasets.load("rail").drop(index=[0, 1, 5])
    rail = rb.MixedModel("travel ~ 1 + (1 | Rail)", unbalanced).fit(progress=False)
    errors = {k: np.sqrt(np.diag(np.linalg.inv(rail.information(k)))) for k in ("average", "observed", "expected")}
    assert len({round(e[0], 3) for e in errors.values()}) == 3
    theirs = results_of(rail, rail.theta)
    for kind, error in errors.items():
        frame = theirs.components.assign(std_error=error)
        rows = rb.crosscheck(rail, dataclasses.replace(theirs, components=frame)).table
        rows = rows[rows["quantity"] == "std_error"]
        assert rows["agrees"].all() and (rows["digits"] > 5.0).all()
        assert (rows["note"] == f"from the {kind} information").all()


def test_components_that_ours_has_not(rail):
    more = results_of(rail, rail.theta)
    extra = table([component("season", 1.0, 0.1)], COMPONENTS)
    check = rb.crosscheck(rail, dataclasses.replace(more, components=pd.concat([more.components, extra])))
    assert "ours has no 'season'" in check.verdict
    fewer = dataclasses.replace(more, components=more.components.iloc[1:])
    assert "theirs has no 'Rail'" in rb.crosscheck(rail, fewer).verdict


def test_names_are_matched(rail):
    """By what they have in common; one that has nothing takes the place left; or as `match` says."""
    base = results_of(rail, rail.theta).components
    for name in ("rail", "u:Rail", "ide(Rail)", "effect 2"):
        check = rb.crosscheck(rail, Results("peer", components=base.replace({"term": {"Rail": name}})))
        assert check.verdict.startswith("they agree"), name
        assert ("Names did not say" in check.verdict) == (name == "effect 2")
    matched = rb.crosscheck(
        rail, Results("peer", components=base.replace({"term": {"Rail": "q"}})), match={"q": "Rail"}
    )
    assert matched.verdict.startswith("they agree") and "Names" not in matched.verdict
    with pytest.raises(rb.OptionError, match="match= names 'x'"):
        rb.crosscheck(rail, Results("peer", components=base), match={"x": "Rail"})


def test_independent_effects_may_be_terms_of_theirs():
    """As lme4 prints (1 + x || g): Subject and Subject.1."""
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days || Subject)", rb.datasets.load("sleepstudy")).fit(progress=False)
    rows = [component("Subject", fit.theta[0], 5e-7, effect="(Intercept)"),
            component("Subject.1", fit.theta[1], 5e-7, effect="Days"),
            component("residual", fit.theta[2], 5e-7)]  # fmt: skip
    check = rb.crosscheck(fit, Results("peer", components=table(rows, COMPONENTS)))
    assert check.verdict.startswith("they agree") and "Names" not in check.verdict
    renamed = [row._replace(term=name, effect="") for row, name in zip(map(Row._make, rows), "pqr", strict=True)]
    renamed[2] = renamed[2]._replace(term="residual")
    both = {"p": "1 + Days || Subject", "q": "1 + Days || Subject"}
    blups = [
        (term, "", str(level), value, np.nan, 1e-9)
        for term, column in zip("pq", fit.blup("1 + Days || Subject").items(), strict=True)
        for level, value in column[1].items()
    ]
    theirs = Results("peer", components=table(renamed, COMPONENTS), random_effects=table(blups, RANDOM))
    check = rb.crosscheck(fit, theirs, match=both)
    assert check.verdict.startswith("they agree")
    compared = check.table[check.table["quantity"] == "BLUP"]
    assert compared["name"].tolist() == [f"1 + Days || Subject: {e}" for e in ("Intercept", "Days")]
    assert (compared["difference"] == 0.0).all()


@pytest.mark.parametrize("terms", ["(0 + Days | Subject) + (1 | Subject)", "(1 | Subject) + (0 + Days | Subject)"])
def test_terms_of_one_factor_are_told_by_their_effects(terms):
    """lme4 counts the terms of a factor, Subject and Subject.1, and has the BLUPs of all of them under its name."""
    fit = rb.MixedModel(f"Reaction ~ Days + {terms}", rb.datasets.load("sleepstudy")).fit(progress=False)
    value = fit.variance_components.set_index("term")["estimate"]
    rows = [component("Subject", value["0 + Days | Subject"], 5e-7, effect="Days"),
            component("Subject.1", value["Subject"], 5e-7, effect="(Intercept)"),
            component("residual", value["residual"], 5e-7)]  # fmt: skip
    blups = [
        ("Subject", effect, str(level), u, np.nan, 1e-9)
        for effect, name in (("Days", "0 + Days | Subject"), ("(Intercept)", "Subject"))
        for level, u in fit.blup(name).iloc[:, 0].items()
    ]
    check = rb.crosscheck(fit, Results("peer", components=table(rows, COMPONENTS), random_effects=table(blups, RANDOM)))
    assert check.verdict.startswith("they agree") and "Names" not in check.verdict
    compared = check.table[check.table["quantity"] == "BLUP"]
    assert compared["name"].tolist() == ["0 + Days | Subject", "Subject"] and (compared["difference"] == 0.0).all()


def test_leftover_terms_are_paired_where_they_are_most_likely():
    fit = rb.MixedModel("diameter ~ 1 + (1 | plate) + (1 | sample)", rb.datasets.load("penicillin")).fit(progress=False)
    swapped = [component("effect 2", fit.theta[1], 5e-7), component("effect 3", fit.theta[0], 5e-7),
               component("residual", fit.theta[2], 5e-7)]  # fmt: skip
    check = rb.crosscheck(fit, Results("peer", components=table(swapped, COMPONENTS)))
    assert check.verdict.startswith("they agree")
    assert "effect 2 as sample, effect 3 as plate" in check.verdict


@pytest.mark.parametrize("method", ["REML", "ML"])
def test_statsmodels_live(sleep, method):
    smf = pytest.importorskip("statsmodels.formula.api")
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit(
        method, progress=False
    )
    live = smf.mixedlm("Reaction ~ Days", rb.datasets.load("sleepstudy"), groups="Subject", re_formula="~Days")
    check = rb.crosscheck(fit, live.fit(reml=method == "REML"))
    assert check.verdict.startswith(("they agree", "theirs stops"))
    assert check.evaluation.attrs["constant_words"] == "the same constants"
    blups = check.table[check.table["quantity"] == "BLUP"]
    assert len(blups) == 2 and (blups["digits"] > 1.5).all()


def test_it_is_drawn_and_written(sleep, reference, tmp_path):
    check = rb.crosscheck(sleep, reference("formats/lme4_summary_sleepstudy_ML.txt"))
    drawn = check.plot()
    assert [label.get_text() for label in drawn.get_yticklabels()] == list(sleep.specification.parameters.columns)
    page = check.report(tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "ML in place of REML" in page and "data:image/png;base64," in page and "<script" not in page
    assert "Reasons tried" in check.report(tmp_path / "check.txt").read_text(encoding="utf-8")
    assert "ML in place of REML" in repr(check)


def test_what_cannot_be_compared_is_refused(sleep):
    with pytest.raises(rb.OptionError, match="other= takes Results"):
        rb.crosscheck(sleep, 3.0)
    with pytest.raises(rb.OptionError, match="give the other program second"):
        rb.crosscheck("file", sleep)


@pytest.mark.parametrize(
    "kind",
    [
        "loadings_rotated",
        "aliased_otherwise",
        "correlation_for_range",
        "covariance_for_correlation",
        "level_without_effect",
        "likelihood_and_inbreeding",
        "weights_and_records",
        "ratios_by_maximum_likelihood",
    ],
)
def test_further_reasons_are_named(kind, tmp_path):
    """Made on purpose by `validation.crosscheck`, written with six digits, read and judged; each with its ℓ."""
    made = KINDS[kind](np.random.default_rng(11))
    path = tmp_path / "theirs.csv"
    path.write_text(printed(made), encoding="utf-8")
    check = rb.crosscheck(made.fit, path)
    assert check.reason == made.reason
    named = check.reasons[check.reasons["reason"] == made.reason].iloc[0]
    assert named["agrees"] and named["distance"] <= 1.0 and np.isfinite(named["loglik"])
    tried = check.reasons[(check.reasons["note"] == "") & (check.reasons["reason"] != "start values returned")]
    assert np.isfinite(tried["loglik"]).all()
    if made.reason in ("loadings rotated", "aliasing of fixed effects"):
        assert check.verdict.startswith("they agree") and made.reason in check.verdict
        assert check.table["agrees"].all()


def test_two_reasons_are_tried_only_where_one_is_not_enough(sleep):
    """Nor where too few digits are printed, nor unasked in a large model."""
    theta = sleep.theta * [1.1, 1.0, 0.9, 1.02]
    check = rb.crosscheck(sleep, results_of(sleep, theta), pairs=False)
    assert not check.reasons["reason"].str.contains(" and ").any()
    check = rb.crosscheck(sleep, results_of(sleep, theta))
    assert check.reasons["reason"].str.contains(" and ").any()
    check = rb.crosscheck(sleep, results_of(sleep, theta, digits=2))
    assert not check.reasons["reason"].str.contains(" and ").any()
    ml = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit("ML")
    check = rb.crosscheck(sleep, results_of(sleep, ml.theta), pairs=True)
    assert check.reason == "ML in place of REML"
    assert not check.reasons["reason"].str.contains(" and ").any()


def test_fixed_effects_of_one_table_with_the_random_ones(tmp_path):
    """As in .sln of ASReml: zero for the first level of each factor; ours has an intercept and treatments."""
    data = rb.datasets.load("oats").assign(nitro=lambda d: d["nitro"].astype(str))
    fit = rb.MixedModel("yield ~ Variety + nitro + (1 | Block)", data).fit(progress=False)
    b, levels = fit.fixed_effects["estimate"], sorted(data["Variety"].unique())
    rows = [("mu", "1", b["Intercept"])]
    rows += [("Variety", v, b.get(f"Variety[T.{v}]", 0.0)) for v in levels]
    rows += [("nitro", v, b.get(f"nitro[T.{v}]", 0.0)) for v in sorted(data["nitro"].unique())]
    rows += [("Block", level, u) for level, u in fit.blup("Block")["Intercept"].items()]
    path = tmp_path / "fit.sln"
    lines = ["Model_Term,Level,Effect,seEffect", *(f"{t},{v},{x:.6f},1.0" for t, v, x in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    table = rb.crosscheck(fit, path).table
    fixed = table[table["quantity"] == "fixed effect"]
    assert len(fixed) == len(b) and fixed["agrees"].all()
    assert (table["quantity"] == "BLUP").sum() == 1


def test_a_variance_beside_a_known_residual(tmp_path):
    """What others call residual is `units` where R is known; in a table that has both they are two terms."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"v": rng.uniform(0.02, 0.2, 25), "g": np.repeat(list("abcde"), 5)})
    data["y"] = rng.standard_normal(25) * 0.5 + rng.standard_normal(5)[pd.factorize(data["g"])[0]]
    fit = rb.MixedModel("y ~ 1 + (1 | g)", data, residual="known(v) + units").fit(progress=False)
    path = tmp_path / "theirs.csv"
    for word in ("residual", "units", "Error"):
        path.write_text(f"term,estimate\ng,{fit.theta[0]:.8g}\n{word},{fit.theta[1]:.8g}\n", encoding="utf-8")
        assert rb.crosscheck(fit, path).verdict.startswith("they agree"), word
    field = rb.MixedModel("y ~ 1", data.assign(t=range(25)), residual="ar1(t) + units").fit(progress=False)
    rows = [f"{t},{'' if n == 'variance' else n},{x:.9g}" for (t, n), x in
            zip(field.specification.parameters.pairs, field.theta, strict=True)]  # fmt: skip
    path.write_text("\n".join(["term,parameter,estimate", *rows]) + "\n", encoding="utf-8")
    assert rb.crosscheck(field, path).verdict.startswith("they agree")
