"""What is written for another program is the same model: read back from the files, its likelihood is ours."""

from __future__ import annotations

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
    for program in ("blupf90", "asreml", "wombat", "sommer"):
        with pytest.raises(rb.ModelError, match="cannot express estimates by ML"):
            rb.write_model(fit, program, tmp_path / "none")
    assert not (tmp_path / "none").exists()
