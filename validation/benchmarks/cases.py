"""The cases of the benchmark, from 30 records to a million animals."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from remlblup.validation.benchmarks.model import Case, Data, Model, Random

VARIABLE = "REMLBLUP_REFERENCE"
"""Environment variable with the folder of the reference data."""

ANIMAL = Model("y", "sex + cg", (Random("id", pedigree=True),))
CROSSED = Model("y", "service", (Random("s"), Random("d"), Random("dept_service")))


def reference_file(name: str) -> Path:
    """A file of the reference folder, which is named by the environment or lies beside the project."""
    named = os.environ.get(VARIABLE)
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "reference"
    return folder / name


def not_there(*names: str) -> str:
    """Why a case that needs these files cannot be run; "" where they exist."""
    absent = [str(path) for path in map(reference_file, names) if not path.exists()]
    return f"no {', '.join(absent)} (set {VARIABLE})" if absent else ""


def embedded(name: str) -> Data:
    """A data set that comes with remlblup."""
    from remlblup import datasets

    return Data(datasets.load(name))


def insteval() -> Data:
    """lme4's InstEval, with dept:service as a column of its own."""
    import pandas as pd

    columns = ["s", "d", "dept", "service", "y"]
    frame = pd.read_csv(reference_file("insteval.csv"), usecols=columns, dtype=dict.fromkeys(columns[:-1], str))
    frame["dept_service"] = frame["dept"] + ":" + frame["service"]
    frame["y"] = frame["y"].astype(float)
    return Data(frame.drop(columns="dept"))


def flock20k() -> Data:
    """The simulated flock of the reference folder."""
    import pandas as pd

    return Data(pd.read_csv(reference_file("flock20k.csv")), pd.read_csv(reference_file("flock20k.pedigree.csv")))


def simulated(simulator: str, *arguments: float) -> Data:
    """Data of a simulator, which is imported on first use: it brings numpy and pandas."""
    from remlblup.validation.benchmarks import simulate

    return getattr(simulate, simulator)(*arguments)


def genotyped(*arguments: int) -> Data:
    """Single-step data, whose simulator is compiled when it is imported."""
    from remlblup.validation.benchmarks.genotypes import genotyped_animals

    return genotyped_animals(*arguments)


def _animals(name: str, what: str, simulator: str, *arguments: float) -> Case:
    return Case(name, what, ANIMAL, partial(simulated, simulator, *arguments))


_ALL = (
    Case("dyestuff", "30 records, 6 batches", Model("Yield", "1", (Random("Batch"),)),
         partial(embedded, "dyestuff")),
    Case("sleepstudy", "180 records, 18 subjects with random slopes",
         Model("Reaction", "Days", (Random("Subject", "Days"),)), partial(embedded, "sleepstudy")),
    Case("penicillin", "144 records, 24 plates crossed with 6 samples",
         Model("diameter", "1", (Random("plate"), Random("sample"))), partial(embedded, "penicillin")),
    Case("insteval", "lme4's InstEval: 73,421 records, 2,972 students × 1,128 lecturers, dept:service",
         CROSSED, insteval, partial(not_there, "insteval.csv")),
    Case("insteval_shape", "simulated, of the size and shape of InstEval", CROSSED,
         partial(simulated, "insteval_shape")),
    Case("slopes50k", "50,000 subjects with random slopes, 5 to 10 records each",
         Model("y", "x", (Random("subject", "x"),)), partial(simulated, "random_slopes")),
    Case("flock20k", "20,000 animals of the reference folder", ANIMAL, flock20k,
         partial(not_there, "flock20k.csv", "flock20k.pedigree.csv")),
    _animals("animals20k", "20,000 animals, 0.2 % sires", "few_sires", 20_000, 0.002),
    _animals("random20k", "20,000 animals mated at random, the hard case", "random_mating", 20_000),
    _animals("animals200k", "200,000 animals, 0.2 % sires", "few_sires", 200_000, 0.002),
    _animals("animals200k_1pct", "200,000 animals, 1 % sires", "few_sires", 200_000, 0.01),
    _animals("animals1m", "1,000,000 animals, 0.2 % sires", "few_sires", 1_000_000, 0.002),
    Case("single_step100k", "100,000 animals of which 5,000 are genotyped: single-step", ANIMAL,
         partial(genotyped, 100_000, 5_000)),
)  # fmt: skip

_TRIALS = (
    _animals("animals2k", "2,000 animals, 1 % sires, to try things out", "few_sires", 2_000, 0.01),
    Case("single_step2k", "2,000 animals of which 300 are genotyped, to try things out", ANIMAL,
         partial(genotyped, 2_000, 300)),
    Case("crossed2k", "2,000 records of the shape of InstEval, to try things out", CROSSED,
         partial(simulated, "insteval_shape", 2_000, 120, 60, 6)),
    Case("slopes300", "300 subjects with random slopes, to try things out",
         Model("y", "x", (Random("subject", "x"),)), partial(simulated, "random_slopes", 300)),
)  # fmt: skip

CASES: dict[str, Case] = {case.name: case for case in _ALL}
"""Run by default, in this order."""

TRIALS: dict[str, Case] = {case.name: case for case in _TRIALS}
"""Small ones, run only when named."""
