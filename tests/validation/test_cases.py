"""The comparisons themselves: books, a fast part of the live fits, and the stored answers where they are."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from remlblup import datasets
from remlblup.validation import book_cases, dense_cases, reference_cases, statsmodels_cases, structure_cases
from remlblup.validation.answers import plain
from remlblup.validation.cases import run_case
from remlblup.validation.designs import DESIGNS
from remlblup.validation.table import line

LIVE = (
    "dyestuff.REML",
    "dyestuff2.REML",
    "dyestuff2.ML",
    "rail.ML",
    "penicillin.crossed.REML",
    "pastes.nested.ML",
    "machines.nested.REML",
    "sleepstudy.slopes.REML",
    "sleepstudy.independent.ML",
    "simulated.oneway.REML",
    "simulated.crossed.ML",
    "simulated.nested.REML",
)
DENSE = (
    "orthodont.ar1.dense.REML",
    "orthodont.ar1h.dense.ML",
    "orthodont.cs.dense.REML",
    "orthodont.toep.dense.ML",
    "orthodont.exp.dense.ML",
    "orthodont.intercept_by_sex.dense.REML",
    "sleepstudy.intercept_ar1.dense.REML",
    "sleepstudy.slopes_power.dense.REML",
    "sleepstudy.legendre.dense.REML",
    "machines.csh.dense.ML",
    "oats.blocks_cs.dense.REML",
)
STORED = (
    *(s.name for s in reference_cases.LME4_ANSWERS if not s.slow),
    *(s.name for s in reference_cases.DENSE_ANSWERS),
    *(s.name for s in reference_cases.STRUCTURED_ANSWERS),
    *(s.name for s in reference_cases.NLME_ANSWERS),
    *(c.name for c in structure_cases.cases(Path())),
    *(p.name for p in reference_cases.published_cases.ASREML),
    "kempton.slatehall.asreml",
    "flock20k",
    "nadiv.Mrode3.blup_known_vc",
    "nadiv.Mrode3.blup_known_vc_nogroups",
    "gryphon.bwt_animal.lmmsolver",
)
SHIPPED_FOLDER = reference_cases.SHIPPED


def check(cases, name):
    """Run the one case of this name and show every line that falls short."""
    (case,) = [c for c in cases if c.name == name]
    outcome = run_case(case)
    assert not outcome.failed, "\n".join(line(r, verbose=True) for r in outcome.comparisons if r.failed)
    return outcome


@pytest.mark.parametrize("name", [c.name for c in book_cases.cases()])
def test_books(name):
    check(book_cases.cases(), name)


@pytest.mark.parametrize("name", LIVE)
def test_statsmodels(name):
    outcome = check(statsmodels_cases.cases(), name)
    assert len(outcome.comparisons) >= 8


@pytest.mark.parametrize("name", DENSE)
def test_dense_evaluation(name):
    outcome = check(dense_cases.cases(), name)
    assert len(outcome.comparisons) >= 9


SHIPPED = tuple(c.name for c in reference_cases.cases(None))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_answers(name):
    check(reference_cases.cases(None), name)


@pytest.mark.parametrize("name", [n for n in STORED if n not in SHIPPED])
def test_stored_answers(name, reference):
    check(reference_cases.cases(reference("README.md").parent), name)


def test_shipped_answers_and_data_are_those_of_the_reference_folder(reference):
    assert len(SHIPPED) == 19 and {n.split(" (")[0] for n in SHIPPED} == {p.stem for p in SHIPPED_FOLDER.iterdir()}
    for path in SHIPPED_FOLDER.iterdir():
        assert path.read_bytes() == reference(path.name).read_bytes()
        name = path.name.split(".")[0]
        theirs = reference_cases.read_data(reference(f"{name}.csv"))
        pd.testing.assert_frame_equal(datasets.load(name), theirs)


def test_names_are_unique_and_designs_repeatable(reference):
    cases = [*book_cases.cases(), *statsmodels_cases.cases(), *dense_cases.cases()]
    cases += reference_cases.cases(reference("README.md").parent)
    names = [c.name for c in cases]
    assert len(set(names)) == len(names)
    for design in DESIGNS:
        assert design.data().equals(design.data())


def test_every_stored_answer_is_a_case(reference):
    """No answer file about estimates is left out; some are in two cases."""
    folder = reference("README.md").parent
    names = {c.name.split(" (")[0] for c in reference_cases.cases(folder)}
    stored = {p.stem for p in folder.glob("*.json")}
    # F tests of terms, adjusted means and profiles are not offered yet: there is nothing of ours to compare with.
    assert {name for name in stored if not name.startswith("inference.")} <= names


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("(Intercept)", "Intercept"),
        ("age:SexFemale", "Sex[T.Female]:age"),
        ("MachineB", "Machine[B]"),
        ("I(age - 11):SexFemale", "I(age - 11):Sex[T.Female]"),
    ],
)
def test_names_of_coefficients_meet(theirs, ours):
    assert plain(theirs) == plain(ours)
