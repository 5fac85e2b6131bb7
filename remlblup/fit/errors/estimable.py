"""What the data can estimate: linear functions x'β whose x is a combination of the rows of X.

Any other x'β depends on which of the aliased columns was set aside, that is, on the order and the coding of the
factors. The judgement is made on all columns, before any was set aside: x must be orthogonal to the null space of X.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.errors import EstimabilityWarning, ModelError, choose, some, warn
from remlblup.linalg.rank.null_space import NullSpace
from remlblup.model.design import FixedDesign

CHOICES = ("warn", "nan", "error")
# Dependencies told in a message.
TOLD = 3


def estimable(fixed: FixedDesign, rows: Any, labels: pd.Index, what: str, nonestimable: str) -> np.ndarray:
    """(m,) True where x'β is estimable, for rows x (m, all columns of X); says which are not.

    Parameters
    ----------
    labels : names of the rows, for the message
    what : what the rows are: "prediction", "contrast"
    nonestimable : {"warn", "nan", "error"}

    Raises
    ------
    ModelError
        If one is not estimable and `nonestimable` is "error".
    """
    choose("nonestimable", nonestimable, CHOICES)
    if not fixed.null.vectors.shape[1]:
        return np.ones(len(labels), dtype=bool)
    crossed = fixed.null.crossed(rows)
    known = np.diff(crossed.indptr) == 0
    if known.all() or nonestimable == "nan":
        return known
    count = int((~known).sum())
    text = (
        f"{count:,} of {len(known):,} {what}s cannot be estimated from these data: row(s) {some(labels[~known])}."
        f" In the records of the fit {reasons(fixed.null, fixed.columns, crossed)}, but not here: their coefficients"
        " are not known apart."
    )
    if nonestimable == "error":
        raise ModelError(text)
    warn(f"{text} They are missing (NaN) in the result.", EstimabilityWarning)
    return known


def reasons(null: NullSpace, names: tuple[str, ...], crossed: sp.csr_array) -> str:
    """The dependencies among the columns of X that some rows do not have (`NullSpace.crossed`), in words."""
    vectors, told = np.unique(crossed.indices), []
    for k in vectors[:TOLD]:
        columns = [names[j] for j in null.columns(k)]
        if len(columns) == 1:
            told.append(f"{columns[0]!r} is zero in every record")
        else:
            told.append(f"{columns[-1]!r} is a combination of {some(columns[:-1], 4)}")
    more = f" (and {len(vectors) - TOLD} more)" if len(vectors) > TOLD else ""
    return "; ".join(told) + more
