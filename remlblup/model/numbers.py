"""How many parameters and effects the records can bear: counted before anything of that size is made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remlblup.errors import ModelError, some
from remlblup.linalg.memory import require
from remlblup.structure.base import Structure

# Fewer parameters than this may outnumber the records: a model that is solved at known variances estimates none.
MANY = 300


def check_size(structure: Structure, n: int, where: str, variable: str, group: str, kind: str) -> None:
    """Refuse a Σ of many more parameters than records, or one that does not fit into memory.

    Parameters
    ----------
    n : number of records
    where, variable, group : the term, the variable its effects are of, and what stands behind its bar
    kind : its type, as in `numpy.dtype.kind`

    Raises
    ------
    ModelError, MemoryLimitError
    """
    t, k = structure.size, structure.n_parameters
    if k > max(n, MANY):
        raise ModelError(
            f"'{where}' has {k:,} parameters over {t:,} effects ('{variable}'), for {n:,} records: they cannot be"
            f" estimated. Write fewer: {fewer(variable, group, kind)}."
        )
    require(
        8.0 * t * (4.0 * t + 3.0 * n),
        f"'{where}' with {t:,} effects ('{variable}')",
        f"or round '{variable}' to fewer values; a correlation along a line needs no matrix of all effects as"
        f" residual='ar1({variable} | {group})'.",
    )


def fewer(variable: str, group: str, kind: str) -> str:
    """Terms of few parameters over many values of a variable."""
    few = f"'fa({variable} | {group}, k=1)' or 'cs({variable} | {group})'"
    if kind not in "biufmM":
        return few
    x, days = variable, ""
    if kind in "mM":
        x, days = "days", f" (data['days'] = (data['{variable}'] - data['{variable}'].min()) / pd.Timedelta(days=1))"
    return (
        f"'(1 + {x} | {group})' or 'us(leg({x}, 2) | {group})' for a line or a curve of each level{days},"
        f" 'ar1({variable} | {group})' or 'exp({variable} | {group})' for a correlation that falls with the distance,"
        f" {few}"
    )


def check_one_level(structure: Structure, levels: Sequence[object] | np.ndarray, where: str, label: str) -> None:
    """Refuse a term over a single level that shows too little of Σ.

    Raises
    ------
    ModelError
        If Σ has as many parameters as effects, of which each is seen once.
    """
    t, k = structure.size, structure.n_parameters
    if len(levels) > 1 or k < t:
        return
    known = f"the factor '{label}' of the random term '{where}' has one level only ({some(levels)})"
    if t == 1:
        raise ModelError(
            f"{known}: a single effect is no sample to estimate a variance from. Drop the term or make it fixed."
        )
    raise ModelError(
        f"{known}: its {t} effects, each seen once, do not determine the {k} parameters of '{structure.keyword}'. Fewer"
        " can be estimated from one level, as those of 'id', 'ar1' and 'exp' over many times; or make the term fixed."
    )
