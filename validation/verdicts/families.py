"""Two traits of full-sib families with a relationship matrix: the fits whose R̂ is most often singular.

``python -m remlblup.validation.verdicts --families``: 25 sets for each of h² = .3, .6, .9 and n = 40, 100. All maxima
exist, many with a singular residual covariance matrix; every fit must converge to them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from remlblup.validation.verdicts.oracle import Oracle, Part
from remlblup.validation.verdicts.problems import Problem, frame, incidence, names, products, same
from remlblup.validation.verdicts.shapes import make

HERITABILITIES, SIZES, REPLICATES = (0.3, 0.6, 0.9), (40, 100), 25
CORRELATION = np.array([[1.0, 0.5], [0.5, 1.0]])


def family_problem(h2: float, n: int, replicate: int, engines: tuple[str, ...] = ("auto", "sparse")) -> Problem:
    """One set: families of 5 full sibs, genetic and residual correlation .5, variances h² and 1 − h²."""
    rng = np.random.Generator(np.random.PCG64([replicate, n, round(100 * h2)]))
    family = np.arange(n) // 5
    K = 0.5 * np.eye(n) + 0.5 * same(family)
    half = np.linalg.cholesky(CORRELATION)
    root = np.sqrt(0.5) * rng.normal(size=(n // 5, 2))[family] + np.sqrt(0.5) * rng.normal(size=(n, 2))
    y = (np.sqrt(h2) * root + np.sqrt(1.0 - h2) * rng.normal(size=(n, 2))) @ half.T
    record, trait = np.repeat(np.arange(n), 2), np.tile([0, 1], n)
    W = incidence(trait, 2)
    units = y.std(axis=0)
    parts = [
        Part("us(trait | vm(animal, K))", make("us", units), products(W, K[np.ix_(record, record)])),
        Part("residual", make("us", units), products(W, same(record))),
    ]
    oracle = Oracle(y.ravel(), np.column_stack([np.ones(2 * n), W[:, 1]]), parts)
    data = pd.DataFrame({"animal": names("n", range(n)), "a": y[:, 0], "b": y[:, 1]})
    return Problem(
        f"h2 {h2} n {n} set {replicate}",
        "c(a, b) ~ trait + us(trait | vm(animal, K))",
        data,
        oracle,
        "us(trait | units)",
        {"K": frame(K, names("n", range(n)))},
        engines=engines,
    )


def family_problems(replicates: int = REPLICATES) -> Iterator[Problem]:
    """Every set, the small ones first."""
    for n in SIZES:
        for h2 in HERITABILITIES:
            for replicate in range(replicates):
                yield family_problem(h2, n, replicate)
