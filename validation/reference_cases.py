"""Stored answers of lme4 and of an independent dense evaluation, beside ours."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup import MixedModel, Pedigree, Relationship, datasets
from remlblup.validation import peer_cases, published_cases, structure_cases
from remlblup.validation.answers import compare_answer
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison
from remlblup.validation.reference_files import answers_of, in_order, read_answer_file, read_data
from remlblup.validation.reference_structures import NLME_ANSWERS, STRUCTURED_ANSWERS
from remlblup.validation.reference_table import DENSE_ANSWERS, LME4_ANSWERS, Stored

#: Environment variable with the folder of the reference results.
VARIABLE = "REMLBLUP_REFERENCE"
#: Answers on data of `rb.datasets`, which are part of the package.
SHIPPED = Path(__file__).resolve().parent / "reference"
#: What may be stored, and who answered.
SOURCES = (
    (LME4_ANSWERS, "lme4 and dense evaluation"),
    (DENSE_ANSWERS, "dense evaluation"),
    (STRUCTURED_ANSWERS, "dense evaluation"),
    (NLME_ANSWERS, "nlme and dense evaluation"),
)


def find_folder(given: str | None = None) -> Path:
    """The reference folder: as given, else from the environment, else the first there is of `places`."""
    named = given or os.environ.get(VARIABLE)
    return Path(named) if named else next((p for p in places() if p.is_dir()), places()[0])


def places() -> list[Path]:
    """Where the folder may lie: beside the checkout that this is, and in or beside the folder one works in.

    An installed package is no checkout: what lies beside it is the site's, not the project's.
    """
    project = Path(__file__).resolve().parents[1]
    bases = [project.parent] if (project / "setup.cfg").exists() else []
    bases += [Path.cwd(), *Path.cwd().parents]
    return [base / "shared" / "reference" for base in bases]


def cases(folder: Path | None) -> list[Case]:
    """Every stored answer that is a model of ours, and the published figures; without the folder, those shipped."""
    stored = [
        Case(s.name, "reference", partial(_compare, home, s), source, s.note, s.slow)
        for group, source in SOURCES
        for s in group
        if (home := SHIPPED if is_shipped(s) else folder) is not None
    ]
    if folder is None:
        return stored
    return stored + published_cases.cases(folder) + peer_cases.cases(folder) + structure_cases.cases(folder)


def is_shipped(stored: Stored) -> bool:
    """Whether an answer is part of the package."""
    return (SHIPPED / f"{stored.answer}.json").exists()


def _compare(folder: Path, stored: Stored, case: str) -> list[Comparison]:
    """REML against every answer of the file, and ML where it has one."""
    file = read_answer_file(folder / f"{stored.answer}.json")
    model = build(folder, stored)
    rows: list[Comparison] = []
    for method in ("REML", "ML") if file.get("ML") else ("REML",):
        fit = model.fit(method, constrain=stored.constrain, tolerance=stored.tolerance, progress=False)
        answers = answers_of(file, method, fit, stored.terms, stored.where, stored.effects, stored.fixed)
        for label, answer in answers.items():
            if stored.digits is not None:
                answer = replace(answer, digits=stored.digits)
            rows += compare_answer(case, model, fit, answer, label)
    return rows


def build(folder: Path, stored: Stored) -> MixedModel:
    """The model of a stored answer, from its formula."""
    if is_shipped(stored):
        data = in_order(datasets.load(Path(stored.csv).stem), stored.levels)
    else:
        data = read_data(folder / stored.csv, stored.factors, stored.levels)
    pedigrees = {
        name: Pedigree.from_frame(pd.read_csv(folder / file, dtype=str), id=animal, sire=sire, dam=dam)
        for name, (file, animal, sire, dam) in stored.pedigrees.items()
    }
    dominance = {name: _dominance(pedigrees[of]) for name, of in stored.dominance.items()}
    matrices = {n: pd.read_csv(folder / file, dtype={"id": str}).set_index("id") for n, file in stored.matrices.items()}
    given = {**pedigrees, **dominance, **matrices}
    return MixedModel(stored.formula, data, given or None, stored.residual, engine=stored.engine)


def _dominance(pedigree: Pedigree) -> Relationship:
    """D of animals that are not inbred: d_ij = ¼ (a_ss a_dd + a_sd a_ds), s and d their parents (Cockerham 1954)."""
    sire, dam = np.asarray(pedigree.sire), np.asarray(pedigree.dam)
    known = np.flatnonzero((sire >= 0) & (dam >= 0))
    parents = np.unique([sire[known], dam[known]])
    A = pedigree.dense()[np.ix_(parents, parents)]
    s, d = np.searchsorted(parents, sire[known]), np.searchsorted(parents, dam[known])
    D = sp.lil_array((len(sire), len(sire)))
    for i, row in enumerate(known):
        shared = 0.25 * (A[s[i], s] * A[d[i], d] + A[s[i], d] * A[d[i], s])
        near = np.flatnonzero(shared)
        D[row, known[near]] = shared[near]
    D.setdiag(1.0)
    return Relationship(sp.csc_array(D), labels=pedigree.labels)
