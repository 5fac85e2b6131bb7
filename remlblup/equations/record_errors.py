"""What the records say about themselves: the diagonals of P and of I − RP.

With P = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ a record is predicted by all others with an error of variance 1/P_ii, and the fitted
values ŷ = Xβ̂ + Zû = (I − RP) y have the leverages ∂ŷ_i/∂y_i = (I − RP)_ii (Haslett & Haslett 2007, *Int. Stat. Rev.*
75:1; Nobre & Singer 2011, *J. Appl. Stat.* 38:1063; their sum is the number of parameters of Hodges & Sargent 2001,
*Biometrika* 88:367).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array


@dataclass(frozen=True)
class RecordErrors:
    """Diagonals over the records.

    Attributes
    ----------
    projection : (n,) P_ii
    leverage : (n,) (I − RP)_ii
    before : (n,) the diagonal that P_ii is a remainder of: what it is as large as but for rounding
    """

    projection: Array
    leverage: Array
    before: Array


def by_units(
    n: int, step: int, projected: Callable[[Array], tuple[Array, Array]], before: Callable[[np.ndarray, Array], Array]
) -> RecordErrors:
    """The diagonals by solves for unit vectors, some at a time; never an n × n matrix.

    Parameters
    ----------
    step : how many at a time
    projected : PU and RPU, (n, c) each, of units U
    before : of the numbers of some records and their block of P
    """
    diagonals = np.empty((3, n))
    for start in range(0, n, step):
        records = np.arange(start, min(start + step, n))
        unit = np.zeros((n, len(records)))
        unit[records, np.arange(len(records))] = 1.0
        P, RP = projected(unit)
        own = slice(start, start + len(records))
        diagonals[0, own] = np.diag(P[records])
        diagonals[1, own] = 1.0 - np.diag(RP[records])
        diagonals[2, own] = before(records, P[records])
    return RecordErrors(*diagonals)
