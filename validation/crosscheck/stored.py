"""Stored estimates of other programs: which stopped short, which fit another model, which agree, and by how much."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.crosschecking.results import COMPONENTS, Results, component, table

#: Shortfalls agree with those stored to this share, and this much.
SHARE, LEAST = 1e-3, 2e-5


@dataclass(frozen=True)
class Stored:
    """A stored answer of another program.

    Attributes
    ----------
    file : answer file
    program : how the name of the program begins
    formula : ours
    terms : our term of each of theirs, the residual last, in their order
    begins : how the verdict begins
    reason : named, if any
    """

    file: str
    program: str
    formula: str
    terms: tuple[str, ...]
    begins: str
    reason: str | None = None


ANIMAL = "vm(ANIMAL, A)"
CUT = "A cut to animals with records"
CASES = (
    Stored("gryphon.bwt_animal", "LMMsolver", f"BWT ~ 1 + (1 | {ANIMAL})", (ANIMAL, "residual"), "theirs is", CUT),
    Stored("gryphon.bwt_sex_animal", "LMMsolver", f"BWT ~ C(SEX) + (1 | {ANIMAL})",
           (ANIMAL, "residual"), "theirs is", CUT),
    Stored("gryphon.bwt_animal_byear_mother", "LMMsolver",
           f"BWT ~ C(SEX) + (1 | {ANIMAL}) + (1 | BYEAR) + (1 | MOTHER)",
           (ANIMAL, "BYEAR", "MOTHER", "residual"), "theirs is", CUT),
    Stored("gryphon.bwt_animal", "sommer 4.3.4 (R 4.2.2) mmer", f"BWT ~ 1 + (1 | {ANIMAL})",
           (ANIMAL, "residual"), "they agree"),
    Stored("kempton.slatehall.ib", "LMMsolver", "yield ~ gen + (1 | rep) + (1 | rr) + (1 | rc)",
           ("rep", "rr", "rc", "residual"), "they agree"),
    Stored("kempton.slatehall.ib", "sommer 4.3.4 (R 4.2.2) mmec", "yield ~ gen + (1 | rep) + (1 | rr) + (1 | rc)",
           ("rep", "rr", "rc", "residual"), "theirs stops"),
)  # fmt: skip


def fitted(case: Stored, folder: Path) -> rb.Fit:
    """Ours."""
    relationships = {}
    if ANIMAL in case.formula:
        data = pd.read_csv(folder / "gryphon.csv").dropna(subset=["BWT"])
        given = pd.read_csv(folder / "gryphon.pedigree.csv", dtype=str)
        names = dict(zip(("id", "sire", "dam"), given.columns, strict=False))
        relationships = {"A": rb.Pedigree.from_frame(given, **names)}
    else:
        data = pd.read_csv(folder / "kempton.slatehall.csv")
        data = data.assign(rr=[f"{a}.{b}" for a, b in zip(data["rep"], data["row"], strict=True)],
                           rc=[f"{a}.{b}" for a, b in zip(data["rep"], data["col"], strict=True)],
                           gen=data["gen"].astype(str))  # fmt: skip
    return rb.MixedModel(case.formula, data, relationships).fit(progress=False)


def theirs(case: Stored, folder: Path) -> tuple[Results, float | None]:
    """Theirs, and the shortfall that is stored with them."""
    stored = json.loads((folder / f"{case.file}.json").read_text(encoding="utf-8"))
    peer = next(p for p in stored["peers"] if p["software"].startswith(case.program))
    rows = [component(t, v, 5e-10 * abs(v)) for t, v in zip(case.terms, peer["theta"], strict=True)]
    short = peer.get("minus_oracle")
    return Results(peer["software"], components=table(rows, COMPONENTS)), None if short is None else -float(short)


def judged(folder: Path) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it is judged as it should be, and the verdict."""
    for case in CASES:
        fit = fitted(case, folder)
        results, short = theirs(case, folder)
        check = rb.crosscheck(fit, results)
        right = check.verdict.startswith(case.begins) and check.reason == case.reason
        if short is not None:  # of theirs in their own model, where it is another one
            there = check.evaluation.attrs["loglik_theirs"] if case.reason is None else check.reasons["loglik"].iloc[0]
            right &= bool(np.isclose(fit.loglik - there, short, rtol=SHARE, atol=LEAST))
        yield f"{case.file}, {case.program}", right, check.verdict
