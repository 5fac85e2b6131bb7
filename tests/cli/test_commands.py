"""The command line as a user types it: exit codes, messages, files."""

from __future__ import annotations

import json
import sys
import types

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main


@pytest.fixture
def run(capsys):
    """Runs a command; gives exit code, stdout and stderr."""

    def go(*arguments: object):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as error:  # argparse
            code = error.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return go


@pytest.fixture
def sleepstudy(tmp_path):
    path = tmp_path / "sleep.csv"
    rb.datasets.load("sleepstudy").to_csv(path, index=False)
    return path


@pytest.fixture
def calves(tmp_path):
    data, pedigree = tmp_path / "calves.csv", tmp_path / "ped.csv"
    rb.datasets.load("mrode_weaning").to_csv(data, index=False)
    rb.datasets.mrode_pedigree().to_csv(pedigree, index=False)
    return data, f"A={pedigree}"


SLOPES = "Reaction ~ Days + (1 + Days | Subject)"
ANIMAL = "gain ~ 0 + sex + (1 | vm(animal, A))"


# -- fit -------------------------------------------------------------------------------------


def test_fit_prints_and_writes(run, sleepstudy, tmp_path):
    out = tmp_path / "made" / "out"
    code, text, err = run(
        "fit", sleepstudy, SLOPES, "--out", out, "--function", "ratio=(1 + Days | Subject)[Days]/residual"
    )
    assert code == 0
    assert text.startswith("iter  step") and "moments" in text
    assert "612.09" in text and "ratio" in text
    assert f"Written to {out}" in text
    assert "covariates in the fixed part: Days (10 values)" in err and "--factor Days" in err
    again = rb.load(out)
    assert again.loglik == pytest.approx(-871.814136, abs=1e-5)
    assert "ratio" in (out / "report.txt").read_text(encoding="utf-8")
    assert (out / "report.html").exists() and (out / "residuals.png").exists()


def test_a_report_of_one_page_with_means(run, tmp_path):
    data = tmp_path / "oats.csv"
    rb.datasets.load("oats").to_csv(data, index=False)
    model = "fit", data, "yield ~ Variety + (1 | Block)", "--quiet"
    page = tmp_path / "new" / "oats.html"
    code, out, _ = run(*model, "--report", page, "--means", "Variety")
    assert code == 0 and f"Written to {page}" in out
    assert [p.name for p in page.parent.iterdir()] == ["oats.html"]
    assert "Means of Variety" in page.read_text(encoding="utf-8")
    code, _, err = run(*model, "--report", tmp_path / "oats.pdf")
    assert code == 2 and "must be the name of an .html file" in err
    for asked, told in (
        ("Sort", "'Sort' is"),
        ("Sort:Variety", "'Sort' in 'Sort:Variety' is"),
        ("nitro", "'nitro' is"),
    ):
        code, out, err = run(*model, "--report", page, "--means", asked)  # before the fit: nothing is printed
        assert code == 2 and not out and f"--means: {told} no factor or covariate of this model" in err
    code, out, err = run(*model, "--means", "Variety")
    assert code == 2 and not out and "--means go into a report: give --report FILE.html, or --out FOLDER" in err


def test_what_options_ask_for_is_in_the_files(run, tmp_path):
    """Functions and means: in fit.json to every digit, in report.txt as they are printed."""
    data, out = tmp_path / "oats.csv", tmp_path / "out"
    oats = rb.datasets.load("oats")
    oats.to_csv(data, index=False)
    formula = "yield ~ Variety * nitroF + (1 | Block)"
    asked = "--function", "share=Block/(Block + residual)", "--means", "Variety", "Variety:nitroF"
    code, _, err = run("fit", data, formula, "--quiet", "--out", out, "--factor", "nitroF", *asked)
    assert code == 0, err
    saved = json.loads((out / "fit.json").read_text(encoding="utf-8"))
    again = rb.load(out)
    variances = again.variance_components.set_index("term")["estimate"]
    (share,) = saved["functions"]
    assert (share["name"], share["expression"]) == ("share", "Block/(Block + residual)")
    assert share["estimate"] == pytest.approx(variances["Block"] / variances.sum(), rel=1e-12)
    assert share["std_error"] == pytest.approx(again.function("Block/(Block + residual)").std_error, rel=1e-6)
    one, both = saved["means"]
    assert one["factors"] == ["Variety"] and both["factors"] == ["Variety", "nitroF"]
    raw = oats.groupby(["Variety", "nitroF"])["yield"].mean()  # in balanced data the means are those of the cells
    for row in both["means"]:
        assert row["mean"] == pytest.approx(raw[row["levels"]["Variety"], f"{row['levels']['nitroF']:g}"], rel=1e-9)
    assert {"mean", "std_error", "df", "lower", "upper"} <= set(one["means"][0])
    text = (out / "report.txt").read_text(encoding="utf-8")
    assert "Means of Variety, nitroF" in text and "share" in text


def test_quiet_prints_the_report_alone(run, sleepstudy):
    code, text, err = run("fit", sleepstudy, SLOPES, "--quiet")
    assert code == 0 and err == ""
    assert text.startswith("Linear mixed model by REML")


def test_factor(run, sleepstudy):
    code, text, err = run("fit", sleepstudy, "Reaction ~ Days + (1 | Subject)", "--factor", "Days")
    assert code == 0 and err == ""
    assert "Days[T.9]" in text


def test_not_converged_is_exit_1(run, sleepstudy):
    code, text, _ = run("fit", sleepstudy, SLOPES, "--max-iterations", 1, "--algorithm", "ai")
    assert code == 1
    assert "Linear mixed model by REML: NOT CONVERGED" in text


def test_options_reach_the_fit(run, sleepstudy):
    code, text, _ = run(
        "fit", sleepstudy, SLOPES, "--method", "ml", "--algorithm", "em", "--engine", "sparse", "--quiet"
    )
    assert code == 0
    assert "Linear mixed model by ML" in text and "sparse engine, em algorithm" in text
    _, text, _ = run(
        "fit", sleepstudy, SLOPES, "--fix", "1 + Days | Subject=[[600, 0], [0, 30]]", "residual=650", "--quiet"
    )
    assert text.count("fixed\n") == 4 and "600.00" in text
    _, text, _ = run("fit", sleepstudy, SLOPES, "--start", "1 + Days | Subject=var(Intercept):600, var(Days):30")
    assert "612.09" in text


def test_the_same_command_goes_on_from_its_checkpoint(run, sleepstudy, tmp_path):
    file = tmp_path / "sleep.npz"
    command = ("fit", sleepstudy, SLOPES, "--algorithm", "ai", "--checkpoint", file)
    assert run(*command, "--quiet", "--max-iterations", 1)[0] == 1
    code, text, _ = run(*command)
    assert code == 0
    assert text.startswith(f"Going on from {file}:")
    _, whole, _ = run("fit", sleepstudy, SLOPES, "--algorithm", "ai", "--quiet")
    assert text.endswith(whole)
    before = file.read_bytes()
    code, _, err = run(*command, "--method", "ML")
    assert code == 2 and f"{file} cannot be used: it is of another fit. What differs: method" in err
    assert file.read_bytes() == before


def test_negative_components_on_request(run, tmp_path):
    path = tmp_path / "d.csv"
    rb.datasets.load("dyestuff2").to_csv(path, index=False)
    code, text, _ = run("fit", path, "Yield ~ 1 + (1 | Batch)", "--quiet")
    assert code == 0 and "boundary" in text
    code, text, _ = run("fit", path, "Yield ~ 1 + (1 | Batch)", "--quiet", "--no-constrain")
    line = next(one for one in text.splitlines() if one.startswith("Batch"))
    assert code == 0 and float(line.split()[2]) < 0


def test_animal_model_matrix_and_inverse_agree(run, calves, tmp_path):
    data, pedigree = calves
    A = rb.Pedigree.from_frame(rb.datasets.mrode_pedigree())
    fixed = ("--fix", "vm(animal, A)=20", "residual=40", "--quiet")
    code, first, _ = run("fit", data, ANIMAL, "--pedigree", pedigree, *fixed)
    assert code == 0 and "4.3585" in first
    for values, more in ((A.dense(), ()), (np.linalg.inv(A.dense()), ("--inverse", "A"))):
        file = tmp_path / "K.csv"
        pd.DataFrame(values, index=A.labels, columns=A.labels).to_csv(file)
        code, text, err = run("fit", data, ANIMAL, "--relationship", f"A={file}", *more, *fixed)
        assert code == 0, err
        assert text.splitlines()[-3:] == first.splitlines()[-3:]


def test_gryphon_published_figures(run, reference):
    """ASReml-R 4.2, published with the data."""
    data, pedigree = reference("gryphon.csv"), reference("gryphon.pedigree.csv")
    code, text, _ = run(
        "fit",
        data,
        "BWT ~ SEX + (1 | BYEAR) + (1 | vm(ANIMAL, A))",
        "--pedigree",
        f"A={pedigree}",
        "--factor",
        "SEX",
        "--quiet",
    )
    assert code == 0
    for figure in ("0.8863", "2.7069", "2.3093", "-1113.7719 as ASReml", "SEX[T.2]"):
        assert figure in text


# -- blup ------------------------------------------------------------------------------------


def test_blup_of_mrode_3_1(run, calves, tmp_path):
    data, pedigree = calves
    code, text, _ = run(
        "blup",
        data,
        ANIMAL,
        "--pedigree",
        pedigree,
        "--variances",
        "vm(animal, A)=20",
        "residual=40",
        "--out",
        tmp_path / "b",
    )
    assert code == 0
    assert "4.3585" in text and "0.0984" in text
    table = pd.read_csv(tmp_path / "b" / "random_effects.csv").set_index("level")["estimate"]
    book = [0.09844458, -0.01877010, -0.04108420, -0.00866312, -0.18573210, 0.17687209, -0.24945855, 0.18261469]
    assert table.loc[range(1, 9)].tolist() == pytest.approx(book, abs=1e-7)
    fixed = pd.read_csv(tmp_path / "b" / "fixed_effects.csv", index_col="coefficient")["estimate"]
    assert fixed.to_dict() == pytest.approx({"sex[F]": 3.40443010, "sex[M]": 4.35850233}, abs=1e-6)
    fitted = pd.read_csv(tmp_path / "b" / "fitted.csv", index_col="row")
    assert fitted.sum(axis=1).tolist() == pytest.approx([4.5, 2.9, 3.9, 3.5, 5.0])
    assert fitted.index.tolist() == [1, 2, 3, 4, 5]


# -- demo, validate, help --------------------------------------------------------------------


def test_demo(run, tmp_path):
    code, text, _ = run("demo", "--out", tmp_path / "d")
    assert code == 0
    assert "612.09" in text and "Truth and estimate" in text and "heritability" in text
    for name in ("sleepstudy", "flock"):
        assert (tmp_path / "d" / name / "report.html").stat().st_size > 50_000
        assert rb.load(tmp_path / "d" / name).converged
    assert "Truth and estimate" in (tmp_path / "d" / "flock" / "report.html").read_text(encoding="utf-8")


def test_validate_hands_over_its_arguments(run, monkeypatch):
    seen = []
    suite = types.ModuleType("remlblup.validation")
    suite.run = lambda argv: seen.append(argv) or 1
    monkeypatch.setitem(sys.modules, "remlblup.validation", suite)
    assert run("validate", "--only", "x")[0] == 1
    assert seen == [["--only", "x"]]


def test_validate_without_the_suite(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "remlblup.validation", None)
    code, _, err = run("validate")
    assert code == 2 and "validation suite is not part of this installation" in err


def test_version_and_help(run):
    assert run("--version") == (0, f"remlblup {rb.__version__}\n", "")
    code, text, _ = run("--help")
    assert code == 0 and "examples:" in text and "exit codes" in text
    code, text, _ = run("fit", "--help")
    assert code == 0 and "--pedigree" in text
    code, text, _ = run()
    assert code == 2 and "usage: remlblup" in text


def test_every_example_of_the_help_can_be_parsed():
    import shlex

    from remlblup.cli.parser import EXAMPLES, make_parser

    joined = EXAMPLES.split("\n\n")[0].replace("\n           --", " --")
    commands = [one.strip() for one in joined.splitlines() if one.strip().startswith("remlblup ")]
    assert len(commands) == 4
    for command in commands:
        assert make_parser().parse_args(shlex.split(command)[1:]).run is not None


# -- wrong input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "options", "message"),
    [
        ("Reactoin ~ Days", [], "'Reactoin': not a column of the data. Columns: 'Reaction'"),
        ("Reaction ~ Dayz", [], "'Dayz': not a column"),
        ("Reaction ~ Days + (1 | Subjekt)", [], "'Subjekt': not a column"),
        ("Reaction Days", [], "one '~'"),
        ("Reaction ~ Days + (1 | Subject", [], "is not closed"),
        ("Reaction ~ (1 | vm(Subject, A))", [], "give --pedigree A=FILE, --genotypes A=FILE or --relationship A=FILE"),
        ("Reaction ~ 1", ["--pedigree", "ped.csv"], "NAME=FILE"),
        ("Reaction ~ 1", ["--pedigree", "A=nosuch.csv"], "no file 'nosuch.csv'"),
        ("Reaction ~ 1", ["--relationship", "A=nosuch.csv"], "no file 'nosuch.csv'"),
        ("Reaction ~ 1", ["--method", "MLE"], "invalid choice: 'MLE'"),
        ("Reaction ~ 1", ["--algorithm", "newton"], "invalid choice: 'newton'"),
        ("Reaction ~ 1", ["--engine", "gpu"], "invalid choice: 'gpu'"),
        ("Reaction ~ 1", ["--max-iterations", "0"], "--max-iterations 0 must be a positive"),
        ("Reaction ~ 1", ["--max-iterations", "ten"], "invalid int value: 'ten'"),
        ("Reaction ~ 1", ["--tolerance", "2"], "--tolerance 2.0 must be a number between 0 and 1"),
        ("Reaction ~ 1", ["--residual", "ar7"], "--residual 'ar7' is not known"),
        ("Reaction ~ 1", ["--weights", "w"], "--weights needs 'w'"),
        ("Reaction ~ 1", ["--factor", "Reaction,Dais"], "--factor names 'Dais'"),
        ("Reaction ~ 1", ["--start", "residual"], "TERM=VALUE"),
        ("Reaction ~ 1", ["--start", "Subject=1"], "'Subject' is not a term of this model"),
        ("Reaction ~ 1", ["--fix", "residual=-1"], "--fix: residual [variance] = -1 is negative"),
        ("Reaction ~ 1", ["--function", "Subject/residual"], "'Subject' in 'Subject/residual' is not a term"),
        ("Reaction ~ 1", ["--inverse", "G"], "--inverse names 'G'"),
        ("Reaction ~ 1", ["--sep", ""], "--sep must not be empty"),
        ("Reaction ~ 1", ["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_input_is_exit_2_with_a_message(run, sleepstudy, formula, options, message):
    code, out, err = run("fit", sleepstudy, formula, *options)
    assert code == 2
    assert message in err
    assert out == ""


def test_unknown_columns_of_a_pedigree_are_asked_for_in_the_options_here(run, calves, tmp_path):
    pedigree = tmp_path / "beasts.csv"
    for header, message in (
        ("beast,bull,cow", "Give --pedigree-columns ID,SIRE,DAM"),
        ("id,sire,father", "may hold the sire: 'sire', 'father'. Say which: --pedigree-columns ID,SIRE,DAM."),
    ):
        pedigree.write_text(f"{header}\n4,1,2\n")
        code, out, err = run("fit", calves[0], "gain ~ sex + (1 | vm(animal, A))", "--pedigree", f"A={pedigree}")
        assert code == 2 and message in err and out == ""


def test_wrong_commands(run, sleepstudy, tmp_path):
    code, _, err = run("fit", tmp_path / "nosuch.csv", "y ~ 1")
    assert code == 2 and "there is no file" in err and "nosuch.csv" in err
    code, _, err = run("fit", SLOPES, sleepstudy)
    assert code == 2 and "A formula stands in the place of the data" in err
    assert run("fti")[0] == 2
    code, _, err = run("fit", "--pedigree", "A=p.csv", sleepstudy, "Reaction ~ 1")
    assert code == 2 and "put DATA and FORMULA first" in err
    code, _, err = run("blup", sleepstudy, "Reaction ~ 1")
    assert code == 2 and "--variances" in err
    code, _, err = run("blup", sleepstudy, "Reaction ~ 1 + (1 | Subject)", "--variances", "Subject=1")
    assert code == 2 and "--variances lacks 'residual" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--device", "cuda"],
            "--device cuda is for V itself, and --engine auto is something else: write --engine dense",
        ),
        (["--probes", "0"], "--probes 0 must be a whole number"),
        (["--engine", "stochastic", "--method", "ML"], "--engine stochastic is for REML: leave --method out"),
    ],
)
def test_messages_are_in_the_options_of_the_command_line(run, sleepstudy, options, message):
    code, _, err = run("fit", sleepstudy, SLOPES, *options)
    assert code == 2 and message in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--factor", "gain"], "it must be numeric. Write numbers in the file, and leave it out of --factor."),
        (["--weights", "sex"], "it must be numeric."),
    ],
)
def test_no_message_speaks_of_python(run, calves, options, message):
    code, _, err = run("fit", calves[0], ANIMAL, "--pedigree", calves[1], *options)
    assert code == 2 and message in err and "pandas" not in err and "np." not in err
    code, _, err = run("fit", calves[0], "gain ~ 0 + sex + (1 | vm(animal))", "--pedigree", calves[1])
    assert code == 2 and "with the NAME of --pedigree NAME=FILE" in err and "relationships=" not in err


def test_a_pedigree_that_no_term_names_is_noted(run, calves):
    code, _, err = run("fit", calves[0], "gain ~ 1 + (1 | sex)", "--pedigree", calves[1])
    assert code == 0
    assert "note: --pedigree gives 'A', which no term of the formula names" in err


def test_a_file_where_the_folder_should_be(run, sleepstudy, tmp_path):
    for out in (sleepstudy, sleepstudy / "below"):
        for command in (["fit", sleepstudy, SLOPES], ["demo"]):
            code, text, err = run(*command, "--out", out)
            assert code == 2 and "is a file" in err and text == ""


def test_missing_values_can_be_refused(run, tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("g,y\na,1\na,2\nb,NA\nb,4\nc,2\nc,5\n")
    code, _, err = run("fit", path, "y ~ 1 + (1 | g)", "--missing", "error")
    assert code == 2 and "missing values in y (1)" in err and "--missing drop" in err
    assert "5 (1 more dropped for missing values: y 1)" in run("fit", path, "y ~ 1 + (1 | g)")[1]


def test_text_in_the_response_is_pointed_out(run, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("g,y\na,1\na,2\nb,3kg\nb,4\n")
    code, _, err = run("fit", path, "y ~ 1 + (1 | g)")
    assert code == 2 and "'3kg' (first in line 4)" in err and "must be numeric" in err


def test_a_known_residual(tmp_path, capsys):
    """A matrix by --relationship, labelled by a column; a column of variances."""
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"g": list("abcde") * 4, "plot": [f"p{k}" for k in range(20)], "v": rng.uniform(0.5, 2.0, 20)})
    data["y"] = rng.standard_normal(20) + rng.standard_normal(5).repeat(4)
    z = rng.standard_normal((20, 30))
    data.to_csv(tmp_path / "data.csv", index=False)
    O = pd.DataFrame(z @ z.T / 30, index=data["plot"], columns=data["plot"].to_numpy())
    O.to_csv(tmp_path / "O.csv")
    for residual, more in (
        ("known(plot, O) + units", ["--relationship", f"O={tmp_path / 'O.csv'}"]),
        ("known(v) + units", []),
    ):
        call = ["fit", str(tmp_path / "data.csv"), "y ~ 1 + (1 | g)", "--residual", residual, *more]
        assert main(call) == 0
        fit = rb.MixedModel("y ~ 1 + (1 | g)", data, {"O": O}, residual=residual).fit(progress=False)
        assert f"{fit.loglik:.4f}" in capsys.readouterr().out


def test_fit_by_products(tmp_path, run):
    """Genotypes are not formed; what is printed says that it is stochastic; what asks for more is refused."""
    rng = np.random.default_rng(3)
    M = pd.DataFrame(rng.binomial(2, 0.4, (60, 40)), index=[f"a{k}" for k in range(60)])
    M.columns = [f"m{k}" for k in range(40)]
    M.to_csv(tmp_path / "g.csv", index_label="id")
    y = (M - M.mean()).to_numpy() @ rng.standard_normal(40) / 4.0
    data = pd.DataFrame({"id": np.repeat(M.index, 2), "y": np.repeat(y, 2) + rng.standard_normal(120)})
    data.to_csv(tmp_path / "d.csv", index=False)
    asked = ["fit", tmp_path / "d.csv", "y ~ 1 + (1 | vm(id, G))", "--genotypes", f"G={tmp_path / 'g.csv'}", "--quiet"]
    code, text, _ = run(*asked, "--engine", "stochastic", "--seed", "4", "--probes", "6", "--out", tmp_path / "out")
    assert code == 0 and "6 probes of seed 4" in text and "not formed" in text
    assert rb.load(tmp_path / "out").options.probes == 6
    for more, said in ((["--method", "ML"], "REML"), (["--probes", "1"], "probes"), (["--device", "cuda"], "device")):
        code, _, error = run(*asked, "--engine", "stochastic", *more)
        assert code == 2 and said in error
    assert "--probes 6" in run(*asked, "--probes", "6")[2]


def test_genotypes_that_cannot_be_read_and_a_card_that_is_not_there(tmp_path, run, monkeypatch):
    pytest.importorskip("zarr")
    M = np.random.default_rng(3).binomial(2, 0.4, (20, 30))
    genotypes = rb.Genotypes.from_matrix(M, ids=[f"a{k}" for k in range(20)])
    genotypes.to_zarr(tmp_path / "set.zarr")
    pd.DataFrame({"id": genotypes.ids, "y": np.arange(20.0) ** 0.5}).to_csv(tmp_path / "d.csv", index=False)

    def fit(store: str, *more: str) -> tuple:
        given = f"G={tmp_path / store}"
        return run("fit", tmp_path / "d.csv", "y ~ 1 + (1 | vm(id, G))", "--genotypes", given, "--quiet", *more)

    with monkeypatch.context() as without:
        for name in ("array_api_compat", "array_api_compat.cupy", "array_api_compat.torch"):
            without.setitem(sys.modules, name, None)
        code, _, error = fit("set.zarr", "--engine", "dense", "--device", "cuda")
    assert code == 2 and "--device cuda needs array-api-compat" in error
    chunk = tmp_path / "set.zarr" / "genotypes_bed" / "c" / "0" / "0"
    whole = chunk.read_bytes()
    for change, said in (
        (lambda: chunk.write_bytes(whole[:10]), "cannot be read"),
        (chunk.unlink, "1 of the 1 chunks of /genotypes_bed are missing"),
    ):
        change()
        code, _, error = fit("set.zarr", "--engine", "stochastic")
        assert code == 2 and said in error and "set.zarr" in error
    code, _, error = fit("none.zarr", "--engine", "stochastic")
    assert code == 2 and "none.zarr is not a Zarr store that can be read" in error
