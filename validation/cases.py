"""What a case of the suite is, and how one is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from remlblup.validation.compare import Comparison, failure


@dataclass(frozen=True)
class Case:
    """One model on one data set with the answers of another program or a book.

    Attributes
    ----------
    name : unique, ``data.model`` and for live fits the estimator
    group : "statsmodels", "dense", "reference" or "books"
    compare : does the work; takes the name
    source : who the others are
    note : what a reader of the table should know
    slow : takes more than 20 s; run only when asked for by name or with --slow
    """

    name: str
    group: str
    compare: Callable[[str], Sequence[Comparison]] = field(repr=False)
    source: str
    note: str = ""
    slow: bool = False


@dataclass(frozen=True)
class Outcome:
    """A case that was run: its comparisons and the seconds it took."""

    case: Case
    comparisons: tuple[Comparison, ...]
    seconds: float

    @property
    def failed(self) -> bool:
        return any(c.failed for c in self.comparisons)


def run_case(case: Case) -> Outcome:
    """Run one case; an error in it, and an empty result, are failures and do not stop the suite."""
    start = time.perf_counter()
    try:
        rows = tuple(case.compare(case.name))
        if not rows:
            rows = (failure(case.name, "run", 0.0, "the case compared nothing"),)
    except Exception as error:  # the suite must report every case
        rows = (failure(case.name, "run", 0.0, f"{type(error).__name__}: {error}"),)
    return Outcome(case, rows, time.perf_counter() - start)
