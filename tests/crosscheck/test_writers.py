"""What is written for another program is the same model: read back from the files, its likelihood is ours."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from crosscheck import parsed

PARSERS = {"blupf90": parsed.blupf90, "asreml": parsed.asreml, "wombat": parsed.wombat}


def animals():
    """40 records of two traits, some missing, of animals with inbreeding and repeated sires."""
    rng = np.random.default_rng(5)
    rows = [(f"a{k}", None, None) for k in range(8)]
    for k in range(8, 48):
        low = max(0, k - 12)
        sire, dam = low + 2 * rng.integers(0, (k - low) // 2), low + 1 + 2 * rng.integers(0, (k - low) // 2)
        rows.append((f"a{k}", f"a{sire}", f"a{dam}"))
    pedigree = rb.Pedigree([r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows], hermaphrodites=True)
    data = pd.DataFrame({"id": [f"a{k}" for k in range(8, 48)], "y": rng.standard_normal(40) * 2 + 10})
    data["z"] = data["y"] * 0.3 + rng.standard_normal(40)
    data["sex"] = np.where(rng.random(40) < 0.5, "m", "f")
    data["herd"] = [f"h{k}" for k in rng.integers(0, 5, 40)]
    data["x"] = rng.standard_normal(40)
    data["w"] = rng.integers(1, 5, 40).astype(float)
    data.loc[[3, 11], "z"] = np.nan
    return data, pedigree


MODELS = {
    "animal": ("y ~ sex + x + (1 | vm(id, A)) + (1 | herd)", {}, ("blupf90", "asreml", "wombat")),
    "weights": ("y ~ sex + (1 | vm(id, A))", {"weights": "w"}, ("blupf90", "asreml")),
    "slopes": ("y ~ sex * x + (1 + x | herd)", {}, ("blupf90", "asreml")),
    "independent slopes": ("y ~ x + (1 + x || herd)", {}, ("blupf90", "asreml")),
    "interaction": ("y ~ sex * herd + (1 | vm(id, A))", {}, ("blupf90", "asreml", "wombat")),
    "two traits": (
        "c(y, z) ~ trait + trait:sex + trait:x + us(trait | vm(id, A))",
        {"residual": "us(trait | units)"},
        ("blupf90", "asreml", "wombat"),
    ),
}
VARIANCES = {
    "slopes": {"1 + x | herd": [[1.5, 0.3], [0.3, 0.7]], "residual": 2.0},
    "two traits": {"us(trait | vm(id, A))": [[2.0, 0.5], [0.5, 1.0]], "residual": [[3.0, 0.4], [0.4, 0.9]]},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_model_is_read_back(name, tmp_path):
    data, pedigree = animals()
    formula, options, programs = MODELS[name]
    model = rb.MixedModel(formula, data, {"A": pedigree}, **options)
    given = VARIANCES.get(name)
    if given is None:
        size = model.specification.parameters.size
        given = model.specification.parameters.to_mapping(np.linspace(1.0, 2.0, size))
    fit = model.fit(fix=given, progress=False)
    expected = model.solve(given).loglik_nlme
    for program in programs:
        folder = rb.write_model(fit, program, tmp_path / program)
        assert np.isclose(PARSERS[program](folder).loglik(), expected, rtol=1e-9), program


@pytest.mark.parametrize(
    ("program", "formula", "options", "what"),
    [
        ("lme4", "y ~ 1 + (1 | vm(id, A))", {}, "relationship"),
        ("nlme", "y ~ 1 + (1 | herd) + (1 | sex)", {}, "do not lie within"),
        ("wombat", "y ~ 1 + (1 + x | herd)", {}, "random regressions"),
        ("gcta", "y ~ 1 + (1 | herd)", {}, "without relationships"),
        ("sommer", "y ~ 1 + (1 | herd)", {"weights": "w"}, "weights='w'"),
        ("lmmsolver", "y ~ 1 + (1 + x | herd)", {}, "random regressions"),
        ("lmmsolver", "c(y, z) ~ trait + us(trait | herd)", {"residual": "us(trait | units)"}, "several traits"),
        ("asreml", "y ~ I(x**2) + (1 | herd)", {}, "make it a column"),
        ("blupf90", "y ~ x + ar1(x | herd)", {}, "structure ar1"),
        ("blupf90", "y ~ spl(x) + (1 | herd)", {}, "smooth terms"),
        ("blupf90", "c(y, z) ~ trait + x + us(trait | herd)", {"residual": "us(trait | units)"}, "trait:"),
        ("gcta", "c(y, z) ~ trait + us(trait | vm(id, A))", {"residual": "us(trait | units)"}, "several traits"),
        ("asreml", "c(y, z) ~ trait + (trait | herd)", {"residual": "us(trait | units)"}, "us(trait | …)"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(program, formula, options, what, tmp_path):
    data, pedigree = animals()
    data = data.assign(x=np.tile(np.arange(8.0), 5), herd=np.repeat([f"h{k}" for k in range(5)], 8))
    model = rb.MixedModel(formula, data, {"A": pedigree}, **options)
    with pytest.raises(rb.ModelError, match="cannot express") as raised:
        rb.write_model(model, program, tmp_path / "out")
    assert what in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_gcta_has_the_same_matrix(tmp_path):
    data, pedigree = animals()
    folder = rb.write_model(rb.MixedModel("y ~ sex + x + (1 | vm(id, A))", data, {"A": pedigree}), "gcta", tmp_path)
    triangle = np.fromfile(folder / "K1.grm.bin", dtype="<f4")
    ids = [line.split()[1] for line in (folder / "K1.grm.id").read_text().splitlines()]
    K = np.zeros((40, 40))
    K[np.tril_indices(40)] = triangle
    assert np.allclose(K, np.tril(pedigree.dense(ids)), atol=1e-6)
    assert ids == data["id"].tolist()
    phenotype = np.loadtxt(folder / "phenotype.txt", usecols=2)
    assert np.allclose(phenotype, data["y"], rtol=1e-14, atol=0.0)
    assert np.allclose(np.loadtxt(folder / "covariates.txt", usecols=2), data["x"])
    assert (
        "--qcovar covariates.txt" in (folder / "run.sh").read_text() and "single" in (folder / "notes.txt").read_text()
    )


def test_sommer_has_the_relationship(tmp_path):
    data, pedigree = animals()
    folder = rb.write_model(rb.MixedModel("y ~ sex + (1 | vm(id, A))", data, {"A": pedigree}), "sommer", tmp_path)
    K = pd.read_csv(folder / "K1.csv", index_col=0)
    assert np.allclose(K.to_numpy(), pedigree.dense(K.index))
    script = (folder / "model.R").read_text()
    assert "mmer(y ~ 1 + sex, random = ~ vsr(id, Gu = K1)" in script


def test_a_fit_by_ml_is_written_by_ml_or_refused(tmp_path):
    fit = rb.MixedModel("travel ~ 1 + (1 | Rail)", rb.datasets.load("rail")).fit("ML", progress=False)
    said = {"lme4": "REML = FALSE", "nlme": 'method = "ML"'}
    for program, words in said.items():
        assert words in (rb.write_model(fit, program, tmp_path / program) / "model.R").read_text(encoding="utf-8")
    for program in ("blupf90", "asreml", "wombat", "sommer", "lmmsolver"):
        with pytest.raises(rb.ModelError, match="cannot express estimates by ML"):
            rb.write_model(fit, program, tmp_path / "none")
    assert not (tmp_path / "none").exists()


#: LMMsolve's arguments and methods over a dense likelihood of their own; it drops unused levels, as LMMsolve does.
STAND_IN = """
library <- function(...) NULL
LMMsolve <- function(fixed, random = NULL, ginverse = list(), weights = NULL, data, tolerance) {
  data <- droplevels(data)
  X <- model.matrix(fixed, data)
  y <- model.response(model.frame(fixed, data))
  names <- if (is.null(random)) character(0) else attr(terms(random), "term.labels")
  parts <- lapply(names, function(name) {
    Z <- outer(as.integer(data[[name]]), seq_len(nlevels(data[[name]])), "==") + 0
    K <- if (is.null(ginverse[[name]])) diag(ncol(Z)) else solve(ginverse[[name]])
    stopifnot(isSymmetric(K, tol = 1e-8), ncol(K) == ncol(Z))
    Z %*% K %*% t(Z)
  })
  w <- if (is.null(weights)) rep(1, length(y)) else data[[weights]]
  parts <- c(parts, list(diag(1 / w)))
  value <- function(s) {
    V <- Reduce(`+`, Map(`*`, exp(s), parts))
    P <- solve(V, cbind(X, y)); A <- t(X) %*% P[, colnames(X), drop = FALSE]
    b <- solve(A, t(X) %*% P[, "y"]); r <- y - X %*% b
    logdet <- determinant(V)$modulus + determinant(A)$modulus
    -0.5 * ((length(y) - ncol(X)) * log(2 * pi) + logdet + sum(r * solve(V, r)))
  }
  start <- rep(log(var(y) / length(parts)), length(parts))
  found <- nlminb(start, function(s) -value(s), control = list(rel.tol = 1e-14, x.tol = 1e-12, iter.max = 500))
  structure(list(names = c(names, "residual"), s = exp(found$par), logl = -found$objective), class = "LMMsolve")
}
summary.LMMsolve <- function(object, which) data.frame(VarComp = object$names, Variance = object$s)
logLik.LMMsolve <- function(object, ...) object$logl
"""


def run_r(folder, script):
    """Run a script in R, or skip where that is not installed."""
    if shutil.which("Rscript") is None:
        pytest.skip("R is not installed")
    done = subprocess.run(["Rscript", script], cwd=folder, capture_output=True, text=True, check=False)
    if "there is no package called" in done.stderr:
        pytest.skip(f"R has not what {script} needs")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("formula", ["y ~ sex + x + (1 | vm(id, A)) + (1 | herd)", "y ~ x + (1 | sex:herd)"])
def test_lmmsolver_has_the_model(formula, tmp_path):
    """The script, run with a stand-in of LMMsolve, finds our estimates; half of the animals have no records."""
    data, pedigree = animals()
    data = data[data["id"].str.len() == 3].iloc[::2].reset_index(drop=True) if "vm" in formula else data
    data["y"] += np.linspace(0.0, 3.0, len(data)) + 2.0 * data["herd"].map(lambda h: int(h[1]))
    fit = rb.MixedModel(formula, data, {"A": pedigree}, weights="w").fit(progress=False)
    folder = rb.write_model(fit, "lmmsolver", tmp_path)
    script = (folder / "model.R").read_text(encoding="utf-8")
    (folder / "run.R").write_text(STAND_IN + script, encoding="utf-8")
    run_r(folder, "run.R")
    check = rb.crosscheck(fit, folder / "results.csv")
    assert check.other.program == "LMMsolver" and check.verdict.startswith("they agree")
    assert (check.table.loc[check.table["quantity"] == "component", "digits"] > 5.0).all()
    assert check.evaluation.attrs["constant_words"] == "the same constants"
