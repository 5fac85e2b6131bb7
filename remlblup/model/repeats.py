"""Records that repeat others in all that a model reads: rows pasted twice, files joined that overlap.

Such copies say that records differ by less than they do: R is too small, and where no other records share a level it
has no estimate at all, for ℓ rises without end as R goes to zero.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import RemlBlupWarning, count, some, warn
from remlblup.model.design import RandomDesign
from remlblup.model.incidence import Incidence
from remlblup.model.specification import Specification

COARSE = 0.1
"""Where this share of all pairs of records have the same response nothing is made of those that do."""

CLOSER = 3.0
"""So much more often records of the same effects may have the same response than any two."""

MANY = 10
"""Of so many different records each is there twice, or thrice, … by no chance."""

CHANCE = 0.01
"""Repeats that come about by chance this often are not spoken of."""

ROUNDED = 5
"""Of rounded responses a difference by one unit is about as frequent as none: repeats are this much more frequent."""


def warn_of_repeats(spec: Specification) -> None:
    """Say which records repeat others, where they are more than chance would make."""
    if not may_repeat(spec):
        return
    repeated = repeated_rows(spec)
    if not len(repeated):
        return
    who = count(len(repeated), "record", "repeats another", "repeat others")
    them = "it" if len(repeated) == 1 else "them"
    warn(
        f"{who} in every column that the model reads, the response included: row(s) {some(repeated)}. If rows were"
        f" pasted twice, leave {them} out: R is estimated from how records that are alike otherwise differ.",
        RemlBlupWarning,
    )


def may_repeat(spec: Specification) -> bool:
    """Whether records of the same effects have the same response more often than by chance."""
    values = spec.y.copy()
    values.sort()
    gaps = values[1:] - values[:-1]
    if gaps.all() or any(one_record_a_level(design) for design in spec.random):
        return False
    sizes = run_lengths(gaps == 0.0)
    tied, every = float((sizes * (sizes - 1.0)).sum()) / 2.0, len(values) * (len(values) - 1.0) / 2.0
    is_fine = tied <= COARSE * every
    if not is_fine and np.gcd.reduce(sizes) == 1:
        return False
    _, same_effects, steps = by_effects(spec)
    equal = same_effects & (steps == 0.0)
    of_records = run_lengths(equal)
    if len(of_records) >= MANY and np.gcd.reduce(of_records) > 1:
        return True
    pairs, ties = int(same_effects.sum()), int(equal.sum())
    # Of the ties those between records of other effects are by chance, or there is one more to come.
    mean = CLOSER * pairs * (max(tied - ties, 0.0) + 1.0) / every
    if not is_fine or not ties or by_chance(ties, mean) > CHANCE:
        return False
    near = same_effects & (steps > 0.0) & (steps < 1.5 * gaps[gaps > 0.0].min(initial=np.inf))
    return ties > ROUNDED * int(near.sum())


def run_lengths(as_before: np.ndarray) -> np.ndarray:
    """How many stand together, for each of n − 1 whether it is as the one before."""
    return np.diff(np.flatnonzero(np.concatenate([[True], ~as_before, [True]])))


def repeated_rows(spec: Specification) -> pd.Index:
    """Labels of the rows that are as one before them in every column that the model reads."""
    if spec.records is None:
        order, same_effects, steps = by_effects(spec)
        return spec.index[np.sort(order[1:][same_effects & (steps == 0.0)])]
    rows = spec.records.original
    return rows.index[rows.duplicated(list(spec.records.used)).to_numpy()]


def one_record_a_level(design: RandomDesign) -> bool:
    """Whether no two records share a level of a term."""
    Z = design.columns
    if isinstance(Z, Incidence):
        return bool(np.bincount(Z.codes, minlength=1).max() < 2)
    return all(len(z.indices) == z.shape[0] and np.bincount(z.indices, minlength=1).max() < 2 for z in Z)


def by_effects(spec: Specification) -> tuple[np.ndarray, np.ndarray, Array]:
    """The records in the order of their effects, then of the response (n,); whether each has the effects of the one
    before (n − 1,), and by how much its response is larger."""
    effects = fingerprint(spec)
    order = np.lexsort((spec.y, effects))
    return order, np.diff(effects[order]) == 0.0, np.diff(spec.y[order])


def fingerprint(spec: Specification) -> Array:
    """(n,) a number for the row of [X Z] of each record: W r, the elements of r without a relation to each other.

    Equal rows are summed in the same order, and have the same number to the last bit.
    """
    X, m = spec.fixed.matrix, spec.p
    r = np.sin(np.arange(1.0, spec.p + spec.n_random + 1.0) ** 2)
    if sp.issparse(X):
        out = X @ r[:m]
    else:
        out = np.zeros(len(spec.y))
        for column, factor in zip(X.T, r[:m].tolist(), strict=True):
            out += column * factor
    for design in spec.random:
        U = r[m : m + design.t * design.q].reshape(design.t, design.q)
        m += U.size
        out += design.predictors(U.T).sum(axis=1)
    return np.asarray(out)


def by_chance(number: int, mean: float) -> float:
    """How often a Poisson variable of this mean is `number` or more."""
    from scipy.special import pdtrc

    return float(pdtrc(number - 1, mean))
