"""Stored answers that are the optimum of another model: which one it is, shown by fitting it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from remlblup import MixedModel, Pedigree
from remlblup.validation.answers import Answer, Digits, compare_answer
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison
from remlblup.validation.reference_files import read_answer_file, read_data
from remlblup.validation.reference_table import GRYPHON

_NOTE = (
    "LMMsolver was given A⁻¹ cut down to the animals with records, which is not the inverse of their A:"
    " its VA of 4.89 instead of 3.40 is the optimum of that other model"
)


def cases(folder: Path) -> list[Case]:
    """LMMsolver's answers for the gryphon, which differ from everybody else's."""
    return [
        Case(f"{name}.lmmsolver", "reference", partial(_cut_inverse, folder, name, fixed), "LMMsolver 1.0.13", _NOTE)
        for name, fixed in (("gryphon.bwt_animal", None), ("gryphon.bwt_sex_animal", "SEX"))
    ]


def _cut_inverse(folder: Path, name: str, factor: str | None, case: str) -> list[Comparison]:
    """The animal model with K⁻¹ the submatrix of A⁻¹ over the animals with records."""
    file, animal, sire, dam = GRYPHON["A"]
    pedigree = Pedigree.from_frame(pd.read_csv(folder / file, dtype=str), id=animal, sire=sire, dam=dam)
    data = read_data(folder / "gryphon.csv").dropna(subset=["BWT"])
    positions = pd.Index([str(a) for a in pedigree.labels]).get_indexer(data["ANIMAL"])
    K = np.linalg.inv(np.linalg.inv(pedigree.dense())[np.ix_(positions, positions)])
    X = np.ones((len(data), 1)) if factor is None else np.column_stack([np.ones(len(data)), data[factor] == "2"])
    model = MixedModel.from_matrices(data["BWT"], X, [np.eye(len(data))], [K], names=["animal"])
    peer = next(p for p in read_answer_file(folder / f"{name}.json")["peers"] if p["software"].startswith("LMMsolver"))
    components = pd.Series({("animal", "variance"): peer["theta"][0], ("residual", "variance"): peer["theta"][1]})
    answer = Answer(
        "LMMsolver 1.0.13 (R 4.2.2)", components, None, peer["logLik"], digits=Digits(loglik=10.0, components=5.0)
    )
    return compare_answer(case, model, model.fit(progress=False), answer)
