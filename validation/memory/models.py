"""The models whose memory is measured, large and small ones of every engine; simulated, but for InstEval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.validation.benchmarks import simulate
from remlblup.validation.benchmarks.cases import insteval as insteval_data
from remlblup.validation.benchmarks.genotypes import genotyped_animals


def animals(n: int) -> rb.MixedModel:
    """An animal model: sex, contemporary groups, breeding values."""
    flock = rb.datasets.simulate_flock(n, seed=3)
    pedigree = rb.Pedigree(flock.pedigree["id"], flock.pedigree["sire"], flock.pedigree["dam"])
    return rb.MixedModel("y ~ sex + litter + group + (1 | vm(id, A))", flock.data, {"A": pedigree})


def few_sires(n: int) -> rb.MixedModel:
    """An animal model with artificial insemination, as `validation.benchmarks` times it."""
    made = simulate.few_sires(n)
    assert made.pedigree is not None
    return rb.MixedModel("y ~ sex + cg + (1 | vm(id, A))", made.frame, {"A": rb.Pedigree.from_frame(made.pedigree)})


def two_traits(n: int) -> rb.MixedModel:
    """Two traits of every animal, correlated in both parts."""
    flock = rb.datasets.simulate_flock(n, seed=4)
    pedigree = rb.Pedigree(flock.pedigree["id"], flock.pedigree["sire"], flock.pedigree["dam"])
    rng = np.random.default_rng(5)
    first = flock.data
    second = first.assign(y=0.5 * first["y"] + rng.normal(0.0, 3.0, len(first)))
    data = pd.concat([first.assign(trait="a"), second.assign(trait="b")], ignore_index=True)
    return rb.MixedModel(
        "y ~ trait + trait:sex + (0 + trait | vm(id, A))", data, {"A": pedigree}, residual="us(trait | id)"
    )


def crossed() -> rb.MixedModel:
    """InstEval: students, lecturers and departments by service."""
    data = insteval_data().frame
    return rb.MixedModel("y ~ service + (1 | s) + (1 | d) + (1 | dept_service)", data)


def crossed_small(students: int = 1500, lecturers: int = 500) -> rb.MixedModel:
    """Crossed factors: 10 ratings of every student."""
    rng = np.random.default_rng(6)
    s = np.repeat(np.arange(students), 10)
    d = rng.integers(0, lecturers, len(s))
    y = rng.normal(size=students)[s] + rng.normal(size=lecturers)[d] + rng.normal(size=len(s))
    return rb.MixedModel("y ~ 1 + (1 | s) + (1 | d)", pd.DataFrame({"y": y, "s": s, "d": d}))


def genomic(n: int, engine: str, components: int = 1) -> rb.MixedModel:
    """Dense genomic matrices, a record of each individual."""
    rng = np.random.default_rng(7)
    labels, y, given = np.arange(n), rng.normal(size=n), {}
    for k in range(components):
        M = rng.binomial(2, 0.3, (n, n // 2)).astype(float) - 0.6
        M /= np.sqrt(0.42 * (n // 2))
        y += M @ rng.normal(size=n // 2)
        given[f"K{k}"] = rb.Relationship(M @ M.T + 1e-2 * np.eye(n), labels)
    terms = " + ".join(f"(1 | vm(id, {name}))" for name in given)
    return rb.MixedModel(f"y ~ 1 + {terms}", pd.DataFrame({"y": y, "id": labels}), given, engine=engine)


def single_step(n: int, genotyped: int) -> rb.MixedModel:
    """Single-step: pedigree of n animals, some of them genotyped."""
    data = genotyped_animals(n, genotyped)
    pedigree = rb.Pedigree(data.pedigree["id"], data.pedigree["sire"], data.pedigree["dam"])
    H = rb.SingleStep(pedigree, data.genomic)
    return rb.MixedModel("y ~ sex + cg + (1 | vm(id, A))", data.frame, {"A": H})


def field(rows: int, columns: int) -> rb.MixedModel:
    """A field trial: varieties, spatial trend, independent errors."""
    rng = np.random.default_rng(8)
    r, c = np.divmod(np.arange(rows * columns), columns)
    variety = rng.permutation(np.arange(rows * columns) % (rows * columns // 4))
    trend = rng.normal(size=(rows, columns))
    for k in range(1, rows):
        trend[k] = 0.8 * trend[k - 1] + 0.6 * trend[k]
    for k in range(1, columns):
        trend[:, k] = 0.7 * trend[:, k - 1] + 0.71 * trend[:, k]
    y = 0.5 * rng.normal(size=variety.max() + 1)[variety] + trend.ravel() + 0.5 * rng.normal(size=len(r))
    data = pd.DataFrame({"y": y, "variety": variety, "row": r, "col": c})
    return rb.MixedModel("y ~ 1 + (1 | variety) + (1 | units)", data, residual="ar1(row):ar1(col)")


MODELS: dict[str, tuple[str, Callable[[], rb.MixedModel]]] = {
    "animals20k": ("animal model of 20,000 animals", lambda: animals(20_000)),
    "animals200k": ("animal model of 200,000 animals", lambda: animals(200_000)),
    "insteval": ("InstEval: 73,421 records, crossed factors", crossed),
    "genomic2k": ("two genomic matrices of 2,000, V itself", lambda: genomic(2000, "dense", 2)),
    "genomic2k_c": ("one genomic matrix of 2,000, equations", lambda: genomic(2000, "sparse")),
    "spectral3k": ("one genomic matrix of 3,000, spectral", lambda: genomic(3000, "spectral")),
    "traits20k": ("two traits of 20,000 animals", lambda: two_traits(20_000)),
    "singlestep20k": ("single-step, 20,000 animals, 2,000 genotyped", lambda: single_step(20_000, 2_000)),
    "field100": ("field of 100 x 100, ar1:ar1 + units", lambda: field(100, 100)),
}
LARGE: dict[str, tuple[str, Callable[[], rb.MixedModel]]] = {
    "animals1m": ("animal model of 1,000,000 animals, few sires", lambda: few_sires(1_000_000)),
}
SMALL: dict[str, tuple[str, Callable[[], rb.MixedModel]]] = {
    "animals5k": ("animal model of 5,000 animals", lambda: animals(5_000)),
    "crossed2k": ("crossed factors of 2,000 levels", crossed_small),
    "genomic1k": ("two genomic matrices of 1,000, V itself", lambda: genomic(1000, "dense", 2)),
    "field30": ("field of 30 x 30, ar1:ar1 + units", lambda: field(30, 30)),
}
EVERY = {**MODELS, **SMALL, **LARGE}
