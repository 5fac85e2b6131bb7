"""A dull reason, tried: its numbers beside theirs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from remlblup.arrays import Array


@dataclass(frozen=True)
class Tried:
    """One reason, tried.

    Attributes
    ----------
    reason, detail : in words
    theta : (n_parameters,) the numbers it gives, in our order; None where it could not be fitted
    loglik : highest log-likelihood of that model
    distance : of theirs from these numbers, over what is allowed: agreement is 1 or less
    from_ours : of these numbers from ours, alike: 1 or less, and the reason changes nothing
    note : why it could not be tried
    """

    reason: str
    detail: str
    theta: Array | None
    loglik: float
    distance: float
    from_ours: float
    note: str = ""

    @property
    def agrees(self) -> bool:
        """Whether theirs are these numbers, and ours are not."""
        return self.distance <= 1.0 < self.from_ours


def reasons_table(tried: list[Tried], columns: tuple[str, ...]) -> pd.DataFrame:
    """A row per reason: what it gives, and whether theirs are these numbers."""
    names = ["reason", "detail", "agrees", "distance", "loglik", *columns, "note"]
    rows = [
        [t.reason, t.detail, t.agrees, t.distance, t.loglik, *(t.theta if t.theta is not None else
         np.full(len(columns), np.nan)), t.note]
        for t in tried
    ]  # fmt: skip
    out = pd.DataFrame(rows, columns=names)
    return out.sort_values("distance", kind="stable", ignore_index=True)
