"""Simulated data for the benchmarks: vectorised, each from a fixed seed of PCG64.

**Pedigrees** (`few_sires`, `random_mating`). Animals are born in `COHORTS` cohorts of one size, the first of
them unrelated founders. Sires are males of the last two cohorts, dams females of the last three, so that
generations overlap. Labels are 1, 2, … in the order of birth; 0 is an unknown parent.

**Records.** y = mean + sex + contemporary group + u + e. Breeding values drop down the pedigree,
u = ½u_sire + ½u_dam + φ. φ has the variance ½σ²a whatever the inbreeding of the parents (the exact one is
½σ²a(1 − mean F of the parents), see `remlblup.datasets.simulate_flock`, which does that): it keeps a million
animals at two seconds, and speed does not depend on it. So the estimate of σ²a is a little off the value given here.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from remlblup.validation.benchmarks.model import Data

COHORTS = 10
SIRE_COHORTS, DAM_COHORTS = 2, 3
GROUPS = 200
"""Contemporary groups, as fixed effects, whatever the number of animals."""


def few_sires(n: int, share: float = 0.002, *, seed: int = 1) -> Data:
    """An animal model with artificial insemination: few sires, many dams.

    Parameters
    ----------
    n : number of animals
    share : sires used for a cohort as a share of its animals (at least two sires)
    seed : of PCG64
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return _animals(rng, n, max(2, round(share * n / COHORTS)))


def random_mating(n: int, *, seed: int = 2) -> Data:
    """An animal model with random mating: any male may sire any animal, the hard case for elimination."""
    rng = np.random.Generator(np.random.PCG64(seed))
    return _animals(rng, n, None)


def _animals(
    rng: np.random.Generator,
    n: int,
    n_sires: int | None,
    *,
    additive: float = 36.0,
    residual: float = 64.0,
    recorded: float = 0.95,
) -> Data:
    """Pedigree and records; `n_sires` per cohort, None for every male of age."""
    if n < 10 * COHORTS:
        raise ValueError(f"n = {n}: at least {10 * COHORTS} animals are needed.")
    cohort, male, sire, dam = breed(rng, n, n_sires)
    u = gene_drop(rng, cohort, sire, dam, additive)
    return Data(*records(rng, cohort, male, sire, dam, u, residual, recorded))


def records(
    rng: np.random.Generator,
    cohort: np.ndarray,
    male: np.ndarray,
    sire: np.ndarray,
    dam: np.ndarray,
    u: np.ndarray,
    residual: float,
    recorded: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records of a share of the animals, and the pedigree as a table."""
    n = len(u)
    herd = rng.integers(GROUPS // COHORTS, size=n)
    group = herd * COHORTS + cohort
    effect = rng.normal(0.0, 8.0, GROUPS)
    y = 250.0 + 12.0 * male + effect[group] + u + rng.normal(0.0, np.sqrt(residual), n)
    kept = np.flatnonzero(rng.random(n) < recorded)
    names = np.array([f"herd{k // COHORTS:02d}.{k % COHORTS}" for k in range(GROUPS)], dtype=object)
    ids = np.arange(1, n + 1)
    frame = pd.DataFrame(
        {
            "id": ids[kept],
            "sex": np.array(["F", "M"], dtype=object)[male[kept].astype(np.int64)],
            "cg": names[group[kept]],
            "y": y[kept],
        }
    )
    return frame, pd.DataFrame({"id": ids, "sire": sire + 1, "dam": dam + 1})


def breed(rng: np.random.Generator, n: int, n_sires: int | None) -> tuple[np.ndarray, ...]:
    """Cohort, sex and parents (positions, −1 unknown) of n animals, parents before their offspring."""
    bounds = np.linspace(0, n, COHORTS + 1).astype(np.int64)
    cohort = np.repeat(np.arange(COHORTS), np.diff(bounds))
    male = rng.random(n) < 0.5
    male[:2] = True, False
    sire, dam = np.full(n, -1, dtype=np.int64), np.full(n, -1, dtype=np.int64)
    for t, (first, last) in enumerate(pairwise(bounds)):
        if t == 0:
            continue
        young = np.arange(bounds[max(t - SIRE_COHORTS, 0)], first)
        bulls = young[male[young]]
        if n_sires is not None and n_sires < len(bulls):
            bulls = rng.choice(bulls, n_sires, replace=False)
        grown = np.arange(bounds[max(t - DAM_COHORTS, 0)], first)
        cows = grown[~male[grown]]
        sire[first:last] = rng.choice(bulls, last - first)
        dam[first:last] = rng.choice(cows, last - first)
    return cohort, male, sire, dam


def gene_drop(
    rng: np.random.Generator, cohort: np.ndarray, sire: np.ndarray, dam: np.ndarray, additive: float
) -> np.ndarray:
    """Breeding values, a cohort at a time; founders have the variance σ²a, Mendelian sampling ½σ²a."""
    u = rng.standard_normal(len(cohort)) * np.sqrt(additive * np.where(cohort == 0, 1.0, 0.5))
    bounds = np.searchsorted(cohort, np.arange(1, COHORTS + 1))
    for first, last in pairwise(bounds):
        born = slice(first, last)
        u[born] += 0.5 * (u[sire[born]] + u[dam[born]])
    return u


def insteval_shape(
    n: int = 73_421, students: int = 2_972, lecturers: int = 1_128, departments: int = 14, *, seed: int = 3
) -> Data:
    """Crossed factors of the shape of lme4's InstEval: ratings of lecturers by students.

    A student belongs to a department and gives two thirds of the ratings there; lecturers are rated unequally
    often (lognormal). y = 3.28 − .05 service + s + d + dept:service + e with the variances of InstEval.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    department = np.sort(rng.integers(departments, size=lecturers))
    popularity = rng.lognormal(0.0, 0.8, lecturers)
    s = np.repeat(np.arange(students), np.diff(np.linspace(0, n, students + 1).astype(np.int64)))
    own = rng.integers(departments, size=students)[s]
    d = rng.choice(lecturers, size=n, p=popularity / popularity.sum())
    for k in range(departments):
        there = np.flatnonzero(department == k)
        home = np.flatnonzero((own == k) & (rng.random(n) < 2 / 3))
        if len(there):
            d[home] = rng.choice(there, size=len(home), p=popularity[there] / popularity[there].sum())
    service = (rng.random(n) < np.where(department[d] == own, 0.1, 0.8)).astype(np.int64)
    cell = department[d] * 2 + service
    y = (
        3.28
        - 0.05 * service
        + rng.normal(0.0, np.sqrt(0.105), students)[s]
        + rng.normal(0.0, np.sqrt(0.263), lecturers)[d]
        + rng.normal(0.0, np.sqrt(0.012), 2 * departments)[cell]
        + rng.normal(0.0, np.sqrt(1.385), n)
    )
    columns = {"s": _names("s", students)[s], "d": _names("d", lecturers)[d]}
    cells = np.array([f"{k // 2 + 1}:{k % 2}" for k in range(2 * departments)], dtype=object)
    service_names = np.array(["0", "1"], dtype=object)
    return Data(pd.DataFrame({**columns, "service": service_names[service], "dept_service": cells[cell], "y": y}))


def random_slopes(subjects: int = 50_000, least: int = 5, most: int = 10, *, seed: int = 4) -> Data:
    """Subjects with `least` to `most` records each over time, intercepts and slopes correlated (ρ = 0.3)."""
    rng = np.random.Generator(np.random.PCG64(seed))
    count = rng.integers(least, most + 1, size=subjects)
    subject = np.repeat(np.arange(subjects), count)
    x = (np.arange(len(subject)) - np.repeat(np.cumsum(count) - count, count)).astype(np.float64)
    covariance = np.array([[100.0, 6.0], [6.0, 4.0]])
    b = rng.standard_normal((subjects, 2)) @ np.linalg.cholesky(covariance).T
    y = 50.0 + 2.0 * x + b[subject, 0] + b[subject, 1] * x + rng.normal(0.0, 5.0, len(subject))
    return Data(pd.DataFrame({"subject": _names("p", subjects)[subject], "x": x, "y": y}))


def _names(letter: str, count: int) -> np.ndarray:
    """Labels such as s0001: text, so that every program takes them for the levels of a factor."""
    width = len(str(count))
    return np.array([f"{letter}{k:0{width}d}" for k in range(1, count + 1)], dtype=object)
