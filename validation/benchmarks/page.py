"""The page of one run, for the documentation: a row per case, remlblup first, the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from remlblup.validation.benchmarks.outcome import Outcome
from remlblup.validation.benchmarks.registry import find_case
from remlblup.validation.benchmarks.runner import REFERENCE, Left
from remlblup.validation.benchmarks.table import number

HEAD = """# Benchmarks

One run of `python -m remlblup.validation.benchmarks`: medians of the runs after the first, from data in memory to
estimates, BLUPs and standard errors, every program in a process of its own. For remlblup that is all of it: pedigree,
model, fit, prediction error variances and reliabilities of every level, Satterthwaite's degrees of freedom.
cholmod-metis fits nothing: it is CHOLMOD's analysis and three factorisations an iteration of the same equations. A
program that is not named on a row cannot fit the model, or was left out. `validation/benchmarks/README.md` says more.

{facts}

| case | remlblup | iterations | memory | others |
|---|---|---|---|---|
"""


def page(rows: Sequence[Outcome | Left], facts: Sequence[str]) -> str:
    """The page, in Markdown."""
    outcomes = [row for row in rows if isinstance(row, Outcome)]
    lines = [row_of(list(own)) for _, own in groupby(outcomes, key=lambda outcome: outcome.case)]
    return HEAD.format(facts="\n".join(f"- {fact}" for fact in facts)) + "\n".join(lines) + "\n"


def row_of(outcomes: Sequence[Outcome]) -> str:
    """One case."""
    own = next(outcome for outcome in outcomes if outcome.peer == REFERENCE)
    case = find_case(own.case)
    others = "; ".join(told(outcome) for outcome in outcomes if outcome is not own) or "none can"
    memory = "" if own.peak_mb is None else f"{own.peak_mb:,.0f} MiB"
    cells = [
        f"`{own.case}`: {case.what}",
        f"**{duration(own)}**",
        str(own.answer.get("iterations", "")),
        memory,
        others,
    ]
    return f"| {' | '.join(cells)} |"


def told(outcome: Outcome) -> str:
    """Another program on it."""
    if outcome.trouble:
        return f"{outcome.peer} {outcome.trouble.split(':')[0].lower()}"
    return f"{outcome.peer} {duration(outcome)}"


def duration(outcome: Outcome) -> str:
    """Its seconds, in milliseconds where they are few."""
    if outcome.seconds is None:
        return "-"
    return f"{1000.0 * outcome.seconds:.1f} ms" if outcome.seconds < 0.1 else f"{number(outcome.seconds)} s"
