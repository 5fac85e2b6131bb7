"""The simulated families: true Σ and A as defined, fits of every family that name its parameters,
verdicts that are caught when false."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from remlblup import MixedModel
from remlblup.validation.simulations import case, families
from remlblup.validation.simulations.__main__ import main
from remlblup.validation.simulations.family import Family, Matrix, case_of, generator
from remlblup.validation.simulations.genetic_families import STRUCTURES
from remlblup.validation.simulations.replicate import Replicate, elsewhere, judged, run, verdict_complaints
from remlblup.validation.simulations.table import lines, summarize
from remlblup.validation.simulations.truth import effects_of_levels, family_tree, parameters, sigma

FAMILIES = {f.name: f for f in families()}
# The cheapest family of every structure; the command runs all of them.
ONE_EACH = [
    min((f.name for f in families() if f.structure == s), key=len)
    for s in dict.fromkeys(f.structure for f in families())
]


def test_five_families_for_each_structure():
    by_structure = {
        s: [f for f in FAMILIES.values() if f.structure == s] for s in {f.structure for f in FAMILIES.values()}
    }
    assert set(STRUCTURES) < set(by_structure)
    assert {len(of) for of in by_structure.values()} == {5}
    assert len(FAMILIES) == 5 * len(by_structure)


def test_families_on_the_edge():
    edge = families(edge=True)
    assert len({f.name for f in edge} | set(FAMILIES)) == len(edge) + len(FAMILIES)
    assert {f.structure for f in edge} == set(STRUCTURES)
    result = run(next(f for f in edge if f.name == "us.edge_zero"), 0)
    assert result.converged
    assert result.complaints == ()


def test_replicates_repeat_and_differ():
    family = FAMILIES["us.sites"]
    first, again, other = (case_of(family, k)[1] for k in (3, 3, 4))
    assert first.equals(again)
    assert not first["y"].equals(other["y"])
    assert generator(family, 0).random() != generator(FAMILIES["cs.sites"], 0).random()


@pytest.mark.parametrize("name", ONE_EACH)
def test_truth_names_the_parameters_and_lies_within(name):
    """The data of a family fit its model, and the fit is no worse than the truth."""
    result = run(FAMILIES[name], 0)
    assert result.converged, result.reason
    assert result.complaints == ()
    assert set(result.estimates) == set(FAMILIES[name].quantities(FAMILIES[name].truth))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_true_covariances_are_positive_semidefinite(structure):
    effects = ("A", "B", "C", "D")
    S = sigma(structure, effects, parameters(structure, effects, 1.5, 0.5))
    values = np.linalg.eigvalsh(S)
    assert np.allclose(S, S.T)
    assert values[0] > (-1e-12 if structure == "rr" else 0.05)
    assert np.linalg.matrix_rank(S) == (1 if structure == "rr" else 4)


def test_some_covariances_by_hand():
    assert np.allclose(sigma("ar1", "AB", {"variance": 2.0, "correlation": 0.5}), [[2.0, 1.0], [1.0, 2.0]])
    assert np.allclose(sigma("csh", "AB", {"var(A)": 4.0, "var(B)": 9.0, "correlation": 0.5}), [[4.0, 3.0], [3.0, 9.0]])
    two = {"loading 1(A)": 1.0, "loading 1(B)": 2.0, "specific(A)": 0.5, "specific(B)": 0.25}
    assert np.allclose(sigma("fa", "AB", two), [[1.5, 2.0], [2.0, 4.25]])


def test_relationships_are_those_of_the_pedigree():
    """A by the tabular method beside the package's, and some inbreeding in it."""
    pedigree, ids, root = family_tree(12, 24, 150, 1)
    at = pd.Index([str(a) for a in pedigree.labels]).get_indexer(ids)
    assert np.allclose(root @ root.T, pedigree.dense()[np.ix_(at, at)])
    assert np.diag(root @ root.T).max() > 1.0


def test_effects_have_their_covariance():
    S = np.array([[2.0, -1.0], [-1.0, 1.0]])
    u = effects_of_levels(np.random.default_rng(1), S, 40_000)
    assert np.allclose(np.cov(u.T), S, atol=5 * 2.0 * np.sqrt(2 / 40_000))


def test_errors_of_covariances_are_delta_errors():
    """Σ of a reduced-rank term: its errors from the errors of the loadings, beside a hand-made gradient."""
    model, family, _ = case("rr.sites", 0)
    fit = model.fit(progress=False)
    estimates, errors = judged(family, fit)
    a, b = fit.variance_components["estimate"].to_numpy()[:2]
    C = fit.variance_covariance[:2, :2]
    term = family.matrices[0].term
    assert estimates[f"{term} Σ(A, B)"] == pytest.approx(a * b, rel=1e-12)
    assert errors[f"{term} Σ(A, B)"] == pytest.approx(np.sqrt(np.array([b, a]) @ C @ [b, a]), rel=1e-6)


def test_false_verdicts_are_caught():
    """A fit stopped early but taken for converged is beaten from everywhere and stands on a slope."""
    model, family, _ = case("cs.sites", 0)
    early = model.fit(max_iterations=1, algorithm="em", progress=False)
    words = " ".join(verdict_complaints(family, model, early, np.random.default_rng(0)))
    assert all(w in words for w in ("from the truth", "from a random point", "the slope of"))
    assert verdict_complaints(family, model, model.fit(progress=False), np.random.default_rng(0)) == []


@pytest.mark.parametrize(
    "name", ["us.traits", "toep.sites", "corg.sites", "fa.sites", "field_units.plain", "power_residual.one"]
)
def test_random_starts_are_in_the_parameter_space(name):
    model, family, _ = case(name, 0)
    for seed in range(5):
        assert np.isfinite(model.loglik(elsewhere(family.truth, np.random.default_rng(seed))))


def made(k, estimate, error, **options):
    return Replicate(k, True, estimates={"residual variance": estimate}, errors={"residual variance": error}, **options)


def test_summary_by_hand():
    family = Family("id", "none", "y ~ 1", lambda rng: pd.DataFrame(), {"residual": {"variance": 2.0}})
    several = [
        made(0, 1.0, 0.6),
        made(1, 2.0, 0.1, boundary=True),
        made(2, 6.0, np.nan, complaints=("no",)),
        Replicate(3, reason="because", recovered=True),
    ]
    summary = summarize(family, several)
    (row,) = summary.rows
    assert (row.mean, row.count, row.intervals, row.coverage) == (3.0, 3, 2, 1.0)
    assert row.bias == pytest.approx(1.0 / np.sqrt(7.0 / 3.0))
    text = "\n".join(lines(summary))
    assert "converged 75.0%, at the boundary 33.3%, false verdicts 1" in text
    assert "replicate 3: because; converges from the truth" in text
    assert "replicate 2: FALSE VERDICT: no" in text


def test_command(tmp_path, capsys):
    file = tmp_path / "table.csv"
    assert main(["--family", "power_residual.half", "--replicates", "3", "--out", str(file)]) == 0
    assert "3 fits of 1 families, 3 converged, 0 false verdicts." in capsys.readouterr().out
    with file.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [r["quantity"] for r in rows] == ["residual variance", "residual power"]
    assert main(["--structure", "nothing"]) == 2


def test_errors_of_a_family_are_reported():
    """A truth that is not of the model is said to be so."""
    family = replace(FAMILIES["power_residual.half"], truth={"residual": {"variance": 1.0}})
    with pytest.raises(ValueError, match="does not name the parameters"):
        judged(family, case_of(family, 0)[0].fit(progress=False))
    failed = run(replace(family, formula="y ~ x + (1 | nobody)"), 0)
    assert not failed.converged
    assert "nobody" in failed.reason


def test_matrix_judges_its_elements():
    matrix = Matrix("t", ("a", "b"), lambda p: np.array([[p["x"], 0.0], [0.0, 1.0]]))
    family = Family("s", "d", "y ~ 1", lambda rng: pd.DataFrame(), {"t": {"x": 3.0}}, matrices=(matrix,))
    assert family.quantities({"t": {"x": 3.0}}) == {"t Σ(a, a)": 3.0, "t Σ(a, b)": 0.0, "t Σ(b, b)": 1.0}


def test_models_are_built_by_the_formula():
    model, family, data = case("field_units.incomplete", 1)
    assert isinstance(model, MixedModel)
    assert len(data) < 16 * 18
    assert family.name == "field_units.incomplete"
