"""Random small models beside a dense search for the maximum: is every verdict true?

``python -m remlblup.validation.verdicts --models 400`` draws models of every structure, with boundaries, confounding
and units of 1e±8, and compares each fit with the highest of many local maxima of the likelihood written out by
definition.
"""

from __future__ import annotations

import numpy as np

from remlblup.validation.verdicts.problems import Problem

__all__ = ["Problem", "generator", "problem"]


def generator(seed: int, number: int, use: int = 0) -> np.random.Generator:
    """The random numbers of one problem: the same on every machine; `use` 1 for the search."""
    return np.random.Generator(np.random.PCG64([seed, number, use]))


def problem(seed: int, number: int) -> Problem:
    """Problem `number` of a seed."""
    from remlblup.validation.verdicts.kinds import KINDS
    from remlblup.validation.verdicts.problems import finished

    kind = KINDS[number % len(KINDS)]
    rng = generator(seed, number)
    draft = kind(rng)
    return finished(draft, f"{kind.__name__} {seed}/{number}", "ML" if rng.random() < 0.25 else "REML")
