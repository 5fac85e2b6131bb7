"""One number of ours beside one of theirs: difference, digits agreed, verdict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import pandas as pd

#: Digits are not counted beyond this: it is what a double holds.
MOST_DIGITS = 16.0
#: The line that says which of two estimates has the higher log-likelihood.
STANDING = "loglik at ours | at theirs"
#: Kinds of quantities, which the page counts by.
LOGLIK, COMPONENTS, COMPONENT_ERRORS = "log-likelihood", "components", "s.e. of components"
FIXED, FIXED_ERRORS, EFFECTS, EFFECT_ERRORS = "fixed effects", "s.e. of fixed effects", "BLUPs", "√PEV"
KINDS = (LOGLIK, COMPONENTS, COMPONENT_ERRORS, FIXED, FIXED_ERRORS, EFFECTS, EFFECT_ERRORS)


class Verdict(Enum):
    """What a comparison came to; the values are what the table prints."""

    OK = "ok"
    FAIL = "FAIL"
    SKIP = "SKIP"
    SHORT = "theirs stops short"
    KNOWN = "known disagreement"


@dataclass(frozen=True)
class Comparison:
    """A quantity computed twice.

    Attributes
    ----------
    case, quantity : what is compared
    ours, theirs : the two values; of a vector, those of the element that agrees worst
    difference : ours − theirs
    digits : digits agreed, −log10 of the relative difference, at most 16
    required : digits the two must agree to
    verdict : the outcome
    count : number of values behind this line
    note : where the numbers come from, or why the verdict is what it is
    kind : what kind of quantity it is, for the page: one of `KINDS`, or nothing
    program : whose value theirs is, where a case has several
    known : of a known disagreement, who is right (ours, theirs, both), a colon, and why
    """

    case: str
    quantity: str
    ours: float
    theirs: float
    difference: float
    digits: float
    required: float
    verdict: Verdict
    count: int = 1
    note: str = ""
    kind: str = ""
    program: str = ""
    known: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict is Verdict.FAIL

    def marked(self, verdict: Verdict, note: str) -> Comparison:
        """The same comparison with another verdict and the reason for it."""
        return replace(self, verdict=verdict, note=f"{self.note}; {note}" if self.note else note)


def digits_agreed(ours: float, theirs: float, scale: float | None = None) -> float:
    """−log10 of |ours − theirs| relative to `scale`, between −inf and 16.

    Parameters
    ----------
    ours, theirs : float
    scale : float, optional
        What the difference is relative to; the larger of the two magnitudes without. A scale smaller
        than that is not used: it would count digits that are not there.

    Returns
    -------
    float
        −inf if either value is not finite.
    """
    if not (np.isfinite(ours) and np.isfinite(theirs)):
        return -np.inf
    difference = abs(ours - theirs)
    if difference == 0.0:
        return MOST_DIGITS
    return min(MOST_DIGITS, -float(np.log10(difference / max(abs(ours), abs(theirs), scale or 0.0))))


def compare_number(
    case: str,
    quantity: str,
    ours: float,
    theirs: float,
    required: float,
    scale: float | None = None,
    note: str = "",
    kind: str = "",
) -> Comparison:
    """Compare two numbers; see `digits_agreed` for `scale`."""
    digits = digits_agreed(ours, theirs, scale)
    verdict = Verdict.OK if digits >= required else Verdict.FAIL
    difference = float(ours - theirs)
    return Comparison(
        case, quantity, float(ours), float(theirs), difference, digits, required, verdict, note=note, kind=kind
    )


def compare_vector(
    case: str,
    quantity: str,
    ours: pd.Series,
    theirs: pd.Series,
    required: float,
    scale: float | None = None,
    note: str = "",
    kind: str = "",
) -> Comparison:
    """Compare the values at the labels of `theirs`, relative to the largest element; the worst is shown.

    Parameters
    ----------
    ours, theirs : Series
        Aligned by label. Ours may hold more; a label that only theirs has is a failure.
    scale : float, optional
        Relative to this where it is larger than every element (vectors that ought to be zero).
    """
    if theirs.empty or not ours.index.is_unique or not theirs.index.is_unique:
        return failure(case, quantity, required, "nothing to compare" if theirs.empty else "labels are repeated")
    absent = theirs.index.difference(ours.index)
    if len(absent):
        return failure(case, quantity, required, f"ours lacks {len(absent)} labels, such as {absent[0]!r}")
    a = ours.loc[theirs.index].to_numpy(dtype=float)
    b = theirs.to_numpy(dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return failure(case, quantity, required, "values that are not finite")
    largest = max(np.abs(a).max(), np.abs(b).max(), scale or 0.0)
    worst = int(np.argmax(np.abs(a - b)))
    row = compare_number(case, quantity, a[worst], b[worst], required, largest, note, kind)
    return replace(row, count=len(b))


def failure(case: str, quantity: str, required: float, note: str) -> Comparison:
    """A comparison that could not be made, and should have been."""
    return Comparison(case, quantity, np.nan, np.nan, np.nan, -np.inf, required, Verdict.FAIL, note=note)


def skipped(case: str, quantity: str, note: str) -> Comparison:
    """A comparison that cannot be made here, and why."""
    return Comparison(case, quantity, np.nan, np.nan, np.nan, np.nan, np.nan, Verdict.SKIP, count=0, note=note)
