"""Figures that other programs printed, typed in: ASReml on the gryphon, a field trial, a flock, Mrode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from remlblup import Fit, MixedModel, Pedigree
from remlblup.validation.answers import Answer, Digits, compare_answer, plain
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison, compare_number, compare_vector
from remlblup.validation.reference_files import read_answer_file, read_data
from remlblup.validation.reference_table import ANIMAL, GRYPHON

#: A printed figure comes from the program's stopping rule: its last digits are not the optimum's.
PRINTED = Digits(loglik=6.0, components=5.0, component_errors=4.0, fixed=5.0, fixed_errors=5.0)
_FLOCK = "vm(id, A)"


@dataclass(frozen=True)
class Published:
    """One model of the gryphon data with the figures ASReml-R 4.2 prints.

    Attributes
    ----------
    name, formula : the model
    components, errors : our term → variance, standard error
    loglik_asreml : without the 2π term
    heritability : h² and its standard error
    fixed : coefficient → estimate and standard error
    wald : coefficient → F
    """

    name: str
    formula: str
    components: Mapping[str, float]
    loglik_asreml: float
    errors: Mapping[str, float] = field(default_factory=dict)
    heritability: tuple[float, float] | None = None
    fixed: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    wald: Mapping[str, float] = field(default_factory=dict)


ASREML: tuple[Published, ...] = (
    Published(
        "gryphon.bwt_animal.asreml",
        f"BWT ~ 1 + (1 | {ANIMAL})",
        {ANIMAL: 3.395398, "residual": 3.828602},
        -1247.183,
        {ANIMAL: 0.6349915},
        (0.4700163, 0.07650881),
    ),
    Published(
        "gryphon.bwt_sex_animal.asreml",
        f"BWT ~ SEX + (1 | {ANIMAL})",
        {ANIMAL: 3.060441, "residual": 2.938412},
        -1165.093,
        heritability=(0.510171, 0.07432388),
        fixed={"SEX2": (2.206996, 0.1619974)},
        wald={"SEX2": 185.6},
    ),
    Published(
        "gryphon.bwt_animal_byear.asreml",
        f"BWT ~ SEX + (1 | BYEAR) + (1 | {ANIMAL})",
        {"BYEAR": 0.8862604, ANIMAL: 2.7068665, "residual": 2.3092415},
        -1113.7719147,
    ),
    Published(
        "gryphon.bwt_animal_byear_mother.asreml",
        f"BWT ~ SEX + (1 | BYEAR) + (1 | MOTHER) + (1 | {ANIMAL})",
        {"BYEAR": 0.8820313, "MOTHER": 1.1184698, ANIMAL: 2.2985320, "residual": 1.6290034},
        -1094.8145793,
    ),
)


def cases(folder: Path) -> list[Case]:
    """The cases of typed figures; their data are in the reference folder."""
    out = [Case(p.name, "reference", partial(_gryphon, folder, p), "ASReml-R 4.2, printed figures") for p in ASREML]
    others: list[tuple[str, Callable[[Path, str], list[Comparison]], str, str]] = [
        ("kempton.slatehall.asreml", _slatehall, "ASReml, printed figures", ""),
        ("flock20k", _flock, "an independent sparse evaluation, printed figures", _FLOCK_NOTE),
        (
            "nadiv.Mrode3.blup_known_vc",
            partial(_mrode3, groups=True),
            "dense evaluation",
            "genetic groups as base animals",
        ),
        ("nadiv.Mrode3.blup_known_vc_nogroups", partial(_mrode3, groups=False), "dense evaluation", ""),
    ]
    return out + [
        Case(name, "reference", partial(compare, folder), source, note) for name, compare, source, note in others
    ]


def _gryphon(folder: Path, published: Published, case: str) -> list[Comparison]:
    file, animal, sire, dam = GRYPHON["A"]
    pedigree = Pedigree.from_frame(pd.read_csv(folder / file, dtype=str), id=animal, sire=sire, dam=dam)
    model = MixedModel(published.formula, read_data(folder / "gryphon.csv"), {"A": pedigree})
    fit = model.fit(progress=False)
    answer = Answer(
        "ASReml-R 4.2",
        _by_term(published.components),
        _by_term(published.errors) if published.errors else None,
        published.loglik_asreml - 0.5 * fit.df_residual * np.log(2 * np.pi),
        digits=PRINTED,
    )
    rows = compare_answer(case, model, fit, answer)
    rows.append(compare_number(case, "loglik_asreml", fit.loglik_asreml, published.loglik_asreml, PRINTED.loglik))
    return rows + _heritability_rows(case, published, fit) + _fixed_rows(case, published, fit)


def _heritability_rows(case: str, published: Published, fit: Fit) -> list[Comparison]:
    if published.heritability is None:
        return []
    estimate = fit.function(f"{ANIMAL} / ({' + '.join(published.components)})")
    value, error = published.heritability
    return [
        compare_number(case, "h²", estimate.estimate, value, PRINTED.components),
        compare_number(case, "s.e. of h²", estimate.std_error, error, PRINTED.component_errors),
    ]


def _fixed_rows(case: str, published: Published, fit: Fit) -> list[Comparison]:
    table = fit.fixed_effects.rename(index=plain)
    rows = []
    for name, (value, error) in published.fixed.items():
        rows.append(compare_number(case, f"fixed effect {name}", table.loc[name, "estimate"], value, PRINTED.fixed))
        rows.append(compare_number(case, f"s.e. of {name}", table.loc[name, "std_error"], error, PRINTED.fixed_errors))
    for name, value in published.wald.items():  # printed with four figures
        rows.append(compare_number(case, f"Wald F of {name}", table.loc[name, "t"] ** 2, value, 3.5))
    return rows


#: Slate Hall: our formula and residual, the log-likelihood that ASReml prints, and its parameters in our order.
_SLATEHALL: tuple[tuple[str, str, float, tuple[float, ...]], ...] = (
    ("yield ~ gen + (1 | rep) + (1 | rep:row) + (1 | rep:col)", "units", -707.786, ()),
    ("yield ~ gen", "ar1(row):ar1(col)", -700.322, (38757.1, 0.45861, 0.68377)),
    ("yield ~ gen", "ar1(row):ar1(col) + units", -696.823, (4862.2, 45803.8, 0.68270, 0.84380)),
)


def _slatehall(folder: Path, case: str) -> list[Comparison]:
    """The three models; the parameters as printed, with five figures."""
    data = read_data(folder / "kempton.slatehall.csv")
    rows = []
    for formula, residual, loglik, printed in _SLATEHALL:
        fit = MixedModel(formula, data, residual=residual).fit(progress=False)
        label = "incomplete blocks" if residual == "units" else residual
        rows.append(compare_number(case, f"{label}: loglik_asreml", fit.loglik_asreml, loglik, PRINTED.loglik))
        table = fit.variance_components
        rows += [
            compare_number(case, f"{label}: {name}", ours, theirs, 5.0)
            for name, ours, theirs in zip(table["parameter"], table["estimate"], printed, strict=False)
        ]
    return rows


_FLOCK_NOTE = (
    "the printed figures stop short of the optimum: VA 36.45671 is 1.0e-7 higher in log-likelihood than 36.4575"
)


def _flock(folder: Path, case: str) -> list[Comparison]:
    """19,834 records of 20,000 animals."""
    data = read_data(folder / "flock20k.csv", ["id", "sex", "cg"])
    pedigree = Pedigree.from_frame(
        pd.read_csv(folder / "flock20k.pedigree.csv", dtype=str), id="id", sire="sire", dam="dam"
    )
    model = MixedModel(f"y ~ sex + cg + (1 | {_FLOCK})", data, {"A": pedigree})
    fit = model.fit(progress=False)
    answer = Answer(
        "independent sparse evaluation",
        _by_term({_FLOCK: 36.4575, "residual": 64.6763}),
        None,
        -72516.91873,
        digits=Digits(loglik=9.0, components=5.0),
    )
    ratio = fit.function(f"{_FLOCK} / ({_FLOCK} + residual)").estimate
    return [*compare_answer(case, model, fit, answer), compare_number(case, "h²", ratio, 0.36049, 4.5)]


def _mrode3(folder: Path, case: str, groups: bool) -> list[Comparison]:
    """BLUP at known variances 20 and 40, with the groups of the file as base animals or as unknown parents."""
    stored = read_answer_file(folder / f"{case}.json")
    table = pd.read_csv(folder / "nadiv.Mrode3.pedigree.csv", dtype=str)
    if not groups:
        phantom = ["g1", "g2"]
        table = table[~table["id"].isin(phantom)].replace(phantom, None)
    records = pd.read_csv(folder / "nadiv.Mrode3.csv", dtype={"calf": str}).dropna(subset=["WWG"])
    pedigree = Pedigree.from_frame(table, id="id", sire="sire", dam="dam")
    solved = MixedModel("WWG ~ 0 + sex + (1 | vm(calf, A))", records, {"A": pedigree}).solve(
        {"vm(calf, A)": 20.0, "residual": 40.0}
    )
    fixed, u, blup = (
        solved.fixed_effects.rename(index=plain),
        solved.random_effects.set_index("level"),
        stored["blup"]["animal"],
    )
    levels = pd.Index([str(v) for v in blup["levels"]])
    estimate = pd.Series({f["name"]: f["estimate"] for f in stored["fixed"]})
    error = pd.Series({f["name"]: f["se"] for f in stored["fixed"]})
    return [
        compare_number(case, "loglik", solved.loglik, stored["logLik"]["value"], 10.0),
        compare_vector(case, "fixed effects", fixed["estimate"], estimate, 8.0),
        compare_vector(case, "s.e. of fixed effects", fixed["std_error"], error, 8.0),
        compare_vector(case, "BLUPs of vm(calf, A)", u["estimate"], pd.Series(blup["blup"], index=levels), 8.0),
        compare_vector(case, "√PEV of vm(calf, A)", u["std_error"], pd.Series(blup["se_pev"], index=levels), 8.0),
    ]


def _by_term(values: Mapping[str, float]) -> pd.Series:
    return pd.Series({(term, "variance"): value for term, value in values.items()}, dtype=float)
