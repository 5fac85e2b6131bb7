"""What one program did on one case, and how it compares with remlblup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

LOGLIK_TOLERANCE = 1e-4
"""Log-likelihoods further apart than this are not the same answer."""
ESTIMATE_TOLERANCE = 0.01
"""Variances further apart than this, relative to the larger, are mentioned."""


@dataclass
class Outcome:
    """Events of a worker, gathered.

    Attributes
    ----------
    runs : seconds of the first run and the repeats
    trouble : why there is no full result: an error, the time limit, …
    """

    case: str
    peer: str
    runs: list[float] = field(default_factory=list)
    import_seconds: float | None = None
    peak_mb: float | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event of the worker."""
        kind = event["event"]
        if kind == "run":
            self.runs.append(float(event["seconds"]))
        elif kind == "import":
            self.import_seconds = float(event["seconds"])
        elif kind == "memory":
            self.peak_mb = float(event["peak_mb"])
        elif kind == "answer":
            self.answer = {name: value for name, value in event.items() if name != "event"}
        elif kind == "error":
            self.trouble = str(event["text"])

    @property
    def first(self) -> float | None:
        return self.runs[0] if self.runs else None

    @property
    def warm(self) -> list[float]:
        """The runs that count: those after the first, or the first where it is the only one."""
        return self.runs[1:] or self.runs

    @property
    def seconds(self) -> float | None:
        """Their median."""
        return median(self.warm) if self.warm else None


def ratio(outcome: Outcome, reference: Outcome | None) -> float | None:
    """Seconds of a program per second of remlblup (whole), medians of the same session."""
    if reference is None or outcome.seconds is None or not reference.seconds:
        return None
    return outcome.seconds / reference.seconds


def notes(outcome: Outcome, reference: Outcome | None) -> list[str]:
    """What has to be said beside the numbers."""
    return [
        *([outcome.trouble] if outcome.trouble else []),
        *(["one run only"] if len(outcome.runs) == 1 else []),
        *_about_answer(outcome.answer),
        *_same_answer(outcome, reference),
    ]


def _about_answer(answer: Mapping[str, Any]) -> Iterable[str]:
    if answer.get("converged") is False:
        yield "SAYS IT DID NOT CONVERGE"
    if answer.get("iterations") is not None:
        yield f"{answer['iterations']} iterations"
    if answer.get("method") == "ML":
        yield "ML"
    if answer.get("note"):
        yield answer["note"]


def _same_answer(outcome: Outcome, reference: Outcome | None) -> Iterable[str]:
    """Whether log-likelihood and estimates are those of remlblup."""
    answer = outcome.answer
    if reference is None or outcome is reference or not answer or not answer.get("method"):
        return
    ml = answer["method"] == "ML"
    best, reached = reference.answer.get("loglik_ml" if ml else "loglik"), answer.get("loglik")
    if best is None or reached is None:
        yield "log-likelihood not compared"
        return
    gap = reached - best
    if not abs(gap) <= LOGLIK_TOLERANCE:  # also where it is not a number
        yield f"LOG-LIKELIHOOD {'HIGHER' if gap > 0 else 'LOWER'} by {abs(gap):.2g}"
    ours = reference.answer.get("estimates_ml" if ml else "estimates", {})
    yield from _far_estimates(answer.get("estimates", {}), ours)


def _far_estimates(theirs: Mapping[str, float], ours: Mapping[str, float]) -> Iterable[str]:
    variances = {label: value for label, value in ours.items() if not label.endswith(".cov")}
    absent = sorted(set(variances) - set(theirs))
    if absent:
        yield f"gives no {', '.join(absent)}"
    far = {
        label: abs(theirs[label] - value) / max(abs(value), abs(theirs[label]), 1e-300)
        for label, value in variances.items()
        if label in theirs
    }
    if far and (worst := max(far, key=far.__getitem__)) and far[worst] > ESTIMATE_TOLERANCE:
        yield f"variance of {worst} differs by {100 * far[worst]:.2g} %"
