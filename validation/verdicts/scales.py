"""Random terms beside residual variances orders of magnitude apart: what is little beside one is much beside the other.

``python -m remlblup.validation.verdicts --scales``: every structure over three times within groups, residual ``diag(f |
units)`` with a ratio of 10 to 10,000 between the standard deviations of the two levels of f. Most terms compete with
the precise records alone, and their variance is nothing beside that of all records.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from remlblup.validation.verdicts.oracle import Part
from remlblup.validation.verdicts.problems import (
    OF_TIMES,
    Draft,
    Problem,
    build,
    choose,
    finished,
    incidence,
    names,
    products,
    same,
)
from remlblup.validation.verdicts.shapes import make

STRUCTURES = ("id", "diag", "us", "cs", "csh", "ar1", "ar1h", "toep", "corg", "corgh", "fa", "rr", "exp")
RATIOS = (10.0, 100.0, 1_000.0, 10_000.0)
SETS = 6
#: True standard deviation of the effects, that of the precise records being 1.
SIZES = (0.8, 0.8, 0.8, 0.2, 5.0)


def scale_problem(keyword: str, ratio: float, number: int, t: int = 3) -> Problem:
    """One model: y ~ f + keyword(t | g), residual variances ratio² and 1."""
    rng = np.random.Generator(np.random.PCG64([STRUCTURES.index(keyword), round(ratio), number]))
    n = int(rng.integers(30, 60))
    g, e, f = rng.integers(0, 8, n), rng.integers(0, t, n), rng.integers(0, 2, n)
    e[:t], f[:2], g[:8] = np.arange(t), [0, 1], np.arange(8)
    u = rng.normal(0.0, float(choose(rng, SIZES)), (8, t))
    if rng.random() < 0.5:  # alike at all times
        u = 0.5 * u + u[:, :1]
    y = u[g, e] + rng.normal(size=n) * np.where(f == 0, ratio, 1.0)
    at = (
        np.sort(rng.choice(np.arange(1, 3 * t), t, replace=False)).astype(float)
        if keyword == "exp"
        else np.arange(1.0, t + 1.0)
    )
    rows = pd.DataFrame({"y": y, "g": names("g", g), "t": [f"t{k}" for k in e], "time": at[e], "f": names("f", f)})
    fixed = str(choose(rng, ("f", "f", "1", "t")))
    shape, option, _ = build(keyword, np.ones(t), rng, at)
    front = "time" if keyword in OF_TIMES else "t"
    term = Part(f"{keyword}({front} | g{option})", shape, products(incidence(e, t), same(g)))
    residual = Part("residual", make("diag", np.array([ratio, 1.0])), products(incidence(f, 2), np.eye(n)))
    draft = Draft(fixed, rows, y, [term], "diag(f | units)", residual)
    return finished(draft, f"{keyword} ratio {ratio:,.0f} set {number}", "ML" if rng.random() < 0.25 else "REML")


def scale_problems(sets: int = SETS) -> Iterator[Problem]:
    """Every structure at every ratio, a set of all at a time."""
    for number in range(sets):
        for keyword in STRUCTURES:
            for ratio in RATIOS:
                yield scale_problem(keyword, ratio, number)
