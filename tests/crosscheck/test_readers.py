"""What other programs print is read, or refused with the line; never read as another number."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import remlblup as rb
from remlblup.crosschecking.readers.text import Lines, number

# File → program, number of components, one of them, log-likelihood.
SAMPLES = {
    "airemlf90_hetres_final.txt": ("AIREMLF90", 4, 39.296, None),
    "airemlf90_log_1.txt": ("AIREMLF90", 3, 12.120, -0.5 * 5175.78300206193),
    "airemlf90_log_2.txt": ("AIREMLF90", 6, -1.3631, -0.5 * 5444.19986992974),
    "airemlf90_log_3.txt": ("AIREMLF90", 12, 0.16384e9, -0.5 * 127618.272638329),
    "airemlf90_log_4.txt": ("AIREMLF90", 55, 0.94502, -0.5 * 1127.92327272687),
    "asreml42_bivariate_tail.asr": ("ASReml", 7, 0.605163, -642.661),
    "asreml_r4_summary_varcomp.txt": ("ASReml-R", 4, 2.2985320, -1094.815),
    "gcta_example.hsq": ("GCTA", 2, 0.731224, None),
    "gcta_example_1grm_full.hsq": ("GCTA", 2, 0.230305, -362.320),
    "gcta_example_2grm.hsq": ("GCTA", 3, 0.322424, -1357.892),
    "gemma_lmm_wheat599_Y1.log.txt": ("GEMMA", 2, 0.301483, -788.458),
    "gemma_vc_wheat599_Y1.log.txt": ("GEMMA", 2, 0.540999, None),
    "lme4_VarCorr_penicillin.csv": ("lme4", 3, 3.73113184267277, None),
    "lme4_VarCorr_sleepstudy.csv": ("lme4", 4, 9.60440895115776, None),
    "lme4_VarCorr_sleepstudy_ML.csv": ("lme4", 4, 32.6817852488527, None),
    "lme4_summary_penicillin.txt": ("lme4", 3, 0.7169, -0.5 * 330.9),
    "lme4_summary_sleepstudy.txt": ("lme4", 4, 612.10, -0.5 * 1743.6),
    "lme4_summary_sleepstudy_ML.txt": ("lme4", 4, 565.48, -876.0),
    "nlme_VarCorr_oats.txt": ("nlme", 3, 14.64496**2, None),
    "nlme_VarCorr_orthodont.txt": ("nlme", 4, 2.4055009**2, None),
    "nlme_summary_oats.txt": ("nlme", 3, 13.30728**2, -266.5937),
    "nlme_summary_orthodont.txt": ("nlme", 4, 1.3100396**2, -216.2908),
    "wombat_SumEstimates_fragment.out": ("WOMBAT", 1, 3.40737, None),
}
EFFECTS = {
    "blupf90_solutions.txt": (10, 0.18261469),
    "lme4_ranef_penicillin.csv": (30, -3.00374476706262),
    "lme4_ranef_sleepstudy.csv": (36, 1.28402207653257),
    "lme4_ranef_sleepstudy_ML.csv": (36, 1.31072146377433),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read(name, reference):
    program, count, value, loglik = SAMPLES[name]
    results = rb.read_results(reference(f"formats/{name}"))
    assert results.program == program
    assert len(results.components) == count
    assert np.isclose(results.components["estimate"], value, rtol=1e-12).any()
    assert results.loglik == loglik if loglik is None else np.isclose(results.loglik, loglik, rtol=1e-13)
    assert (results.components["rounding"] > 0.0).all()


@pytest.mark.parametrize("name", EFFECTS)
def test_effects_are_read(name, reference):
    count, last = EFFECTS[name]
    effects = rb.read_results(reference(f"formats/{name}")).random_effects
    assert len(effects) == count
    assert effects["estimate"].iloc[-1] == last


def test_every_sample_is_known(reference):
    folder = reference("formats")
    assert {path.name for path in folder.iterdir()} == {*SAMPLES, *EFFECTS}


def test_standard_errors_and_fixed_effects(reference):
    bivariate = rb.read_results(reference("formats/airemlf90_log_2.txt")).components
    assert bivariate["std_error"].tolist() == [0.17355, 0.39055, 1.4147, 0.043458, 0.14249, 0.55542]
    assert bivariate["kind"].tolist() == ["variance", "covariance", "variance"] * 2
    oats = rb.read_results(reference("formats/nlme_summary_oats.txt")).fixed_effects
    assert len(oats) == 12 and oats["name"].iloc[-1] == "ordered(nitro).C:VarietyVictory"
    assert oats["std_error"].iloc[-1] == 7.682959
    log = rb.read_results(reference("formats/airemlf90_log_3.txt"))
    assert log.start[:3] == (4.2, -0.16, 0.5) and len(log.start) == len(log.components)


def test_histories_are_drawn(reference):
    """Where iterations are printed, `plot_convergence` takes them as they are."""
    fit = rb.MixedModel("travel ~ 1 + (1 | Rail)", rb.datasets.load("rail")).fit()
    history = rb.read_results(reference("formats/airemlf90_log_1.txt")).history
    assert history["iteration"].tolist() == list(range(8))
    assert history["loglik"].iloc[-1] == -0.5 * 5175.78300206193
    drawn = fit.plot_convergence(compare=[history])
    assert any("AIREMLF90" in text.get_text() for text in drawn.get_legend().get_texts())


# -- damage ----------------------------------------------------------------------------------


@cache
def read_once(path: Path):
    return rb.read_results(path)


def numbers_of(results):
    tables = (results.components, results.fixed_effects, results.random_effects)
    return [{float(v) for v in frame["estimate"]} for frame in tables]


def refused_or_part(text: str, whole, folder: Path) -> bool:
    """Whether a damaged file is refused with its line; what is read of it must be as it was."""
    path = folder / "damaged"
    path.write_text(text, encoding="utf-8")
    try:
        results = rb.read_results(path)
    except rb.ReaderError as error:
        assert error.path == str(path)
        assert 1 <= error.line <= text.count("\n") + 2
        assert f"line {error.line}: expected " in str(error) or f"line {error.line}: " in str(error)
        return True
    for found, known in zip(numbers_of(results), numbers_of(whole), strict=True):
        assert found <= known
    return False


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_cut_off_anywhere(data, reference, tmp_path_factory):
    """A file cut off has fewer numbers or none, never a shorter one; components are all there."""
    name = data.draw(st.sampled_from(sorted(SAMPLES | EFFECTS)))
    path = reference(f"formats/{name}")
    text = path.read_text(encoding="utf-8")
    cut = data.draw(st.integers(1, len(text) - 1))
    whole = read_once(path)
    folder = tmp_path_factory.mktemp("cut")
    if not refused_or_part(text[:cut], whole, folder) and len(whole.components):
        again = rb.read_results(folder / "damaged")
        assert numbers_of(again)[0] == numbers_of(whole)[0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_refused(data, reference, tmp_path_factory):
    """A line lost, a number overwritten by stars or letters."""
    name = data.draw(st.sampled_from(sorted(SAMPLES | EFFECTS)))
    path = reference(f"formats/{name}")
    lines = path.read_text(encoding="utf-8").split("\n")
    first = next((k for k, line in enumerate(lines) if "Final Estimates" in line), 0)
    at = data.draw(st.integers(first, len(lines) - 2))
    kind = data.draw(st.sampled_from(["lost", "stars", "letters"]))
    if kind == "lost":
        del lines[at]
    else:
        fill = "*****" if kind == "stars" else "x1.2.3"
        lines[at] = re.sub(r"-?\d+\.\d+\S*", fill, lines[at], count=1)
    refused_or_part("\n".join(lines), read_once(path), tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("nothing of the kind\n", 1, "a line that is typical"),
        ("", 1, "expected the output"),
        ("     AI-REMLF90 ver. 1.122\n -2logL =    1.0\n", 3, "'Final Estimates'"),
        ("Source\tVariance\tSE\nV(G)\t1.0\t.1\nV(e)\t1.0\t.1\nVp\t3.0\t.1\n", 4, "the sum of V(G), V(e)"),
        ("term,estimate\nanimal,1.0\nresidual,*****\n", 3, "a number in column 'estimate'"),
        ("term,estimate\nanimal,1.0\nresidual,2.5", 3, "the end of the line"),
    ],
)
def test_the_line_is_named(text, line, expected, tmp_path):
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(rb.ReaderError) as raised:
        rb.read_results(path)
    assert raised.value.line == line
    assert expected in str(raised.value)


# -- forms without a sample ------------------------------------------------------------------

WRITTEN = {
    "sommer": (
        "               VarComp VarCompSE Zratio Constraint\nu:id.Y-Y       3.395   0.6350   5.35   Positive\n"
        "units.Y-Y      3.829   0.5186   7.38   Positive\n",
        [("id", "variance", 3.395), ("residual", "variance", 3.829)],
    ),
    "MCMCglmm": (
        " Iterations = 3001:12991\n\n G-structure:  ~animal\n\n       post.mean l-95% CI u-95% CI eff.samp\n"
        "animal     3.390    2.200    4.700    212.5\n\n R-structure:  ~units\n\n"
        "      post.mean l-95% CI u-95% CI eff.samp\nunits     3.842    2.900    4.900    250.1\n\n"
        " Location effects: BWT ~ 1 \n\n            post.mean l-95% CI u-95% CI eff.samp  pMCMC    \n"
        "(Intercept)     7.590    7.310    7.870     1000 <0.001 ***\n",
        [("animal", "variance", 3.390), ("residual", "variance", 3.842)],
    ),
    "broom.mixed": (
        "effect,group,term,estimate,std.error\nfixed,NA,(Intercept),251.405,6.825\nran_pars,Subject,sd__(Intercept),2.0,NA\n"
        "ran_pars,Subject,sd__Days,3.0,NA\nran_pars,Subject,cor__(Intercept).Days,0.5,NA\n"
        "ran_pars,Residual,sd__Observation,4.0,NA\n",
        [("Subject", "variance", 4.0), ("Subject", "covariance", 3.0), ("Subject", "variance", 9.0),
         ("residual", "variance", 16.0)],
    ),
    "DMU": (
        "  1   1   1   3.395\n  2   1   1   3.829\n",
        [("effect 1", "variance", 3.395), ("residual", "variance", 3.829)],
    ),
    "DMU of two traits": (
        "1 1 1 0.1500000E+01\n1 2 1 -0.250000E+00\n1 2 2 0.9000000E+00\n2 1 1 3.1\n2 2 1 0.4\n2 2 2 2.2\n",
        [("effect 1", "variance", 1.5), ("effect 1", "covariance", -0.25), ("effect 1", "variance", 0.9),
         ("residual", "variance", 3.1), ("residual", "covariance", 0.4), ("residual", "variance", 2.2)],
    ),
    "my program": (
        "quantity,term,effect,other,estimate,std_error\nprogram,,,,my program,\ncomponent,g,a,,2.5,.1\n"
        "component,g,a,b,0.5,.1\ncomponent,g,b,,1.5,.1\ncomponent,Residual,,,1.0,\nfixed,,x,,1.25,.5\nloglik,,,,-12.5,\n",
        [("g", "variance", 2.5), ("g", "covariance", 0.5), ("g", "variance", 1.5), ("residual", "variance", 1.0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", WRITTEN)
def test_other_forms(program, tmp_path):
    text, rows = WRITTEN[program]
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    results = rb.read_results(path)
    assert results.program == program.removesuffix(" of two traits")
    found = list(
        zip(results.components["term"], results.components["kind"], results.components["estimate"], strict=True)
    )
    assert found == rows


def independent(effects):
    """What broom.mixed and nlme write of a diagonal matrix: no correlation."""
    rows = "".join(f"ran_pars,Subject,sd__{e},{v},NA\n" for e, v in effects.items())
    yield f"effect,group,term,estimate,std.error\n{rows}ran_pars,Residual,sd__Observation,4.0,NA\n"
    head = "".join(f"{e:>12}" for e in (*effects, "Residual"))
    line = "".join(f"{v:>12}" for v in (*effects.values(), 4.0))
    yield (
        "Linear mixed-effects model fit by REML\n  Data: d \n   AIC  BIC  logLik\n  10.0  12.0  -3.0\n\n"
        f"Random effects:\n Formula: ~1 + Days | Subject\n Structure: Diagonal\n        {head}\nStdDev: {line}\n\n"
        "Fixed effects:  Reaction ~ 1 + Days \n             Value Std.Error  DF  t-value p-value\n"
        "(Intercept)  2.50      0.50 161     5.00       0\n Correlation: \n\nNumber of Observations: 180\n"
    )
    values = "".join(f"{e}  {v**2}  {v}\n" for e, v in effects.items())
    yield f"Subject = pdDiag(1 + Days) \n            Variance   StdDev\n{values}Residual  16.0  4.0\n"


@pytest.mark.parametrize("form", range(3))
def test_independent_effects_have_no_covariance(form, tmp_path):
    path = tmp_path / "file"
    path.write_text(list(independent({"(Intercept)": 2.0, "Days": 3.0}))[form], encoding="utf-8")
    components = rb.read_results(path).components
    assert components["kind"].tolist() == ["variance"] * 3
    assert components["effect"].tolist() == ["(Intercept)", "Days", ""]
    assert components["estimate"].tolist() == [4.0, 9.0, 16.0]


def test_a_message_of_lme4_below_the_only_coefficient(tmp_path):
    path = tmp_path / "file"
    path.write_text(
        "Linear mixed model fit by REML ['lmerMod']\n\nREML criterion at convergence: 161.8\n\nRandom effects:\n"
        " Groups   Name        Variance Std.Dev.\n Batch    (Intercept)  0.00    0.000   \n"
        " Residual             13.81    3.716   \nNumber of obs: 30, groups:  Batch, 6\n\nFixed effects:\n"
        "            Estimate Std. Error t value\n(Intercept)   5.6656     0.6784   8.352\n"
        "optimizer (nloptwrap) convergence code: 0 (OK)\nboundary (singular) fit: see help('isSingular')\n\n",
        encoding="utf-8",
    )
    results = rb.read_results(path)
    assert results.fixed_effects["name"].tolist() == ["(Intercept)"] and results.loglik == -80.9


def test_the_method_is_known_from_any_file(tmp_path):
    table, said = tmp_path / "VarCorr.csv", tmp_path / "more.csv"
    table.write_text("grp,var1,var2,vcov,sdcor\ng,(Intercept),NA,4.0,2.0\nResidual,NA,NA,1.0,1.0\n", encoding="utf-8")
    said.write_text("quantity,term,estimate\nmethod,,ML\nfixed,x,2.5\n", encoding="utf-8")
    assert rb.read_results(table).method is None
    assert rb.read_results([table, said]).method == rb.read_results([said, table]).method == "ML"


#: Of DMU: how many, each with its standard error, each pair with correlation and covariance.
PAROUT_STD = (
    "  2\n  1  3.395  0.6350\n  2  3.829  0.5186\n"
    "  1  1  1.00000  0.403225\n  2  1 -0.82000 -0.270035\n  2  2  1.00000  0.268946\n"
)


@pytest.mark.parametrize("order", [("PAROUT", "PAROUT_STD"), ("PAROUT_STD", "PAROUT")])
def test_standard_errors_of_dmu(order, tmp_path):
    (tmp_path / "PAROUT").write_text(WRITTEN["DMU"][0], encoding="utf-8")
    (tmp_path / "PAROUT_STD").write_text(PAROUT_STD, encoding="utf-8")
    results = rb.read_results([tmp_path / name for name in order])
    assert results.components["term"].tolist() == ["effect 1", "residual"]
    assert results.components["std_error"].tolist() == [0.6350, 0.5186]
    with pytest.raises(rb.ReaderError, match="numbers its parameters") as raised:
        rb.read_results(tmp_path / "PAROUT_STD")
    assert raised.value.path == str(tmp_path / "PAROUT_STD")
    (tmp_path / "PAROUT").write_text(WRITTEN["DMU"][0].replace("3.395", "3.495"), encoding="utf-8")
    with pytest.raises(rb.ReaderError, match="not of one run"):
        rb.read_results([tmp_path / name for name in order])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_to_dmu_is_refused(data, tmp_path_factory):
    """PAROUT_STD cut off, with a line lost or a digit changed, beside a PAROUT that is whole."""
    folder = tmp_path_factory.mktemp("dmu")
    (folder / "PAROUT").write_text(WRITTEN["DMU"][0], encoding="utf-8")
    kind = data.draw(st.sampled_from(["cut", "lost", "digit"]))
    if kind == "cut":
        text = PAROUT_STD[: data.draw(st.integers(1, len(PAROUT_STD) - 1))]
    elif kind == "lost":
        lines = PAROUT_STD.splitlines(keepends=True)
        del lines[data.draw(st.integers(0, len(lines) - 1))]
        text = "".join(lines)
    else:
        at = data.draw(st.sampled_from([m.start() for m in re.finditer(r"[1-9]", PAROUT_STD)]))
        text = f"{PAROUT_STD[:at]}{10 - int(PAROUT_STD[at])}{PAROUT_STD[at + 1 :]}"
        if text == PAROUT_STD:
            return
    (folder / "PAROUT_STD").write_text(text, encoding="utf-8")
    if kind == "digit":  # the last digits are within the rounding of the others
        try:
            read = rb.read_results([folder / "PAROUT", folder / "PAROUT_STD"]).components
        except rb.ReaderError as error:
            assert error.line
        else:
            assert np.allclose(read["std_error"], [0.6350, 0.5186], atol=1e-3)
            assert read["estimate"].tolist() == [3.395, 3.829]
        return
    with pytest.raises(rb.ReaderError) as raised:
        rb.read_results([folder / "PAROUT", folder / "PAROUT_STD"])
    assert raised.value.line


@pytest.mark.parametrize("text", [" DMUAI version 5.6\n", "...\n FINAL PARAMETERS ESTIMATED\n"])
def test_the_listing_of_dmu_is_refused_by_name(text, tmp_path):
    path = tmp_path / "model.lst"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(rb.ReaderError, match=r"line 1: expected PAROUT.*the listing of DMU"):
        rb.read_results(path)


def test_several_files_of_one_fit(tmp_path, reference):
    results = rb.read_results([reference("formats/lme4_summary_penicillin.txt"),
                               reference("formats/lme4_ranef_penicillin.csv")])  # fmt: skip
    assert len(results.components) == 3 and len(results.random_effects) == 30


def test_asreml_solutions(tmp_path):
    path = tmp_path / "fit.sln"
    path.write_text("Model_Term Level Effect seEffect\nmu 1 7.589 0.141\nanimal 12 -0.351 1.2\n", encoding="utf-8")
    table = rb.read_results(path).random_effects
    assert table[["term", "level", "estimate"]].to_numpy().tolist() == [["mu", "1", 7.589], ["animal", "12", -0.351]]


def test_statsmodels_live():
    smf = pytest.importorskip("statsmodels.formula.api")
    from remlblup.crosschecking.readers.live import is_statsmodels, read_statsmodels

    sleep = rb.datasets.load("sleepstudy")
    live = smf.mixedlm("Reaction ~ Days", sleep, groups="Subject", re_formula="~Days").fit()
    assert is_statsmodels(live) and not is_statsmodels(sleep)
    results = read_statsmodels(live)
    assert results.components["effect"].tolist() == ["Intercept", "Intercept", "Days", ""]
    assert np.allclose(results.components["estimate"], [612.1, 9.6, 35.07, 654.9], rtol=2e-2)
    assert len(results.random_effects) == 36 and results.n_obs == 180


@pytest.mark.parametrize(
    ("text", "value", "rounding"),
    [("1.250", 1.25, 5e-4), ("0.41000E-01", 0.041, 5e-7), ("-12", -12.0, 0.5), ("1.5D+02", 150.0, 5.0)],
)
def test_numbers_know_their_last_digit(text, value, rounding):
    found = number(text)
    assert found.value == value
    assert np.isclose(found.rounding, rounding, rtol=1e-12)


def test_numbers_without_blanks_between():
    lines = Lines("file", "-0.41000E-01 0.95000E-02-0.39000E-01\n")
    assert [n.value for n in lines.numbers(0)] == [-0.041, 0.0095, -0.039]


def test_results_show_themselves(reference):
    shown = repr(rb.read_results(reference("formats/gemma_lmm_wheat599_Y1.log.txt")))
    assert shown == "<results of GEMMA 0.98.5: 2 components, 1 fixed effects, log-likelihood -788.458>"
    assert isinstance(rb.read_results(reference("formats/gcta_example.hsq")).components, pd.DataFrame)


def test_a_component_twice_is_refused(tmp_path):
    """Its second estimate would be reported as a component that our model has not."""
    path = tmp_path / "theirs.csv"
    path.write_text("term,estimate\nherd,1\nherd,2\nresidual,2.2\n")
    with pytest.raises(rb.ReaderError, match="line 3: expected each component once, found 'herd,2'"):
        rb.read_results(path)
