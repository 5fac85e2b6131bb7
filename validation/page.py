"""A page of what was compared: digits agreed by program and quantity, and every disagreement with who is right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from remlblup.crosschecking.judge.verdict import LEAST
from remlblup.validation.cases import Outcome
from remlblup.validation.compare import COMPONENTS, KINDS, STANDING, Comparison, Verdict
from remlblup.validation.programs.judged import GROUP, STORED_GAP

_RIGHT = {"ours": "Ours is right", "theirs": "Theirs is right", "both": "Both are right"}
#: What follows the first words of a verdict.
_MORE = re.compile(r" \(|\. |: (?:at their|it is|only)| of our model| can tell")
_HEAD = """\
# Who agrees, and to how many digits

Written by `remlblup validate --page docs/validation.md`: models that others have fitted, their numbers beside ours. The
digits agreed are −log₁₀ of the difference relative to the value (of effects, to the largest of their kind), at most 16.
What a program prints with four digits can agree to four; most programs stop when the log-likelihood does, which leaves
variances with 4 to 6. How each comparison is made, and what is required of it, stands in
[validation/README.md](../validation/README.md).

## Digits agreed, by program and quantity

Least / median (number of comparisons), without the known disagreements below.

"""
_STORED = """
## Each program's own output

The output as the program wrote it, or its stored numbers, read by `rb.read_results` and judged by
[`rb.crosscheck`](crosscheck.md): the least digits agreed, and the verdict. "–" where the program prints none; values in
*italics* are known disagreements. `remlblup validate --only programs --case NAME` shows every number of a line. Logs of
AIREMLF90, ASReml, WOMBAT and GCTA are read in the tests as well; their data are not here.

"""
_DIFFER = """
## Where they disagree, and who is right

Both estimates are put into one log-likelihood ℓ; "higher by" is what it gains at ours. Where theirs is the maximum of
another model it is the difference of the two maxima, as stored with theirs.

"""
_SHORT = """
## Where they stop short of the maximum

What they report is our log-likelihood at their estimates, to all digits; ours is higher by what the distance of the two
accounts for.

"""


def write_page(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the page of these outcomes."""
    path.write_text(page(outcomes), encoding="utf-8")


def page(outcomes: Sequence[Outcome]) -> str:
    """The page as Markdown."""
    stored = [o for o in outcomes if o.case.group == GROUP]
    parts = [_HEAD, _table(("against", *KINDS), agreed(outcomes)), highest(outcomes)]
    for head, lines in (
        (_DIFFER, disagreements(outcomes)),
        (_SHORT, _table(("case", "program", "ℓ higher by", "worst quantity", "ours", "theirs"), short(outcomes))),
        (_STORED, _table(("case", "program", "verdict", *KINDS[:-1]), by_output(stored))),
    ):
        parts += [head, lines.rstrip("\n") + "\n"] if lines else []
    return "".join(parts)


def agreed(outcomes: Iterable[Outcome]) -> list[Sequence[str]]:
    """A row per program: least and median digits of each kind of quantity."""
    found: dict[str, dict[str, list[float]]] = {}
    for outcome in outcomes:
        if any(r.quantity == STANDING and r.verdict is Verdict.KNOWN for r in outcome.comparisons):
            continue  # other estimates
        for row in outcome.comparisons:
            if row.kind and row.verdict in (Verdict.OK, Verdict.SHORT):
                by_kind = found.setdefault(row.program or outcome.case.source, {})
                by_kind.setdefault(row.kind, []).append(row.digits)
    return [[program, *(_summary(found[program].get(k)) for k in KINDS)] for program in sorted(found, key=str.lower)]


def _summary(digits: list[float] | None) -> str:
    return "–" if not digits else f"{min(digits):.1f} / {np.median(digits):.1f} ({len(digits)})"


def highest(outcomes: Iterable[Outcome]) -> str:
    """By how much any of theirs has the higher log-likelihood."""
    gains = [r.difference for o in outcomes for r in o.comparisons if r.quantity.endswith(STANDING)]
    gains = [g for g in gains if np.isfinite(g)]
    if not gains:
        return ""
    most = max(-min(gains), 0.0)
    return (
        f"\n{len(gains)} sets of variances that others found were put into our log-likelihood: at none is it higher"
        f" than at ours by more than {most:.0e}.\n"
    )


def by_output(outcomes: Iterable[Outcome]) -> list[Sequence[str]]:
    """A row per stored output: the verdict, and the least digits of each kind."""
    return [
        [o.case.name, o.case.source, verdict_of(o), *(_least(o.comparisons, k) for k in KINDS[:-1])] for o in outcomes
    ]


def verdict_of(outcome: Outcome) -> str:
    """The verdict of `rb.crosscheck` in its first words; what went wrong, of a case that fell short."""
    row = next((r for r in outcome.comparisons if r.quantity == STANDING), outcome.comparisons[0])
    return _MORE.split(row.note)[0].rstrip(".")


def _least(rows: Iterable[Comparison], kind: str) -> str:
    own = [r for r in rows if r.kind == kind]
    if not own:
        return "–"
    worst = min(own, key=lambda r: r.digits)
    text = f"{worst.digits:.1f}"
    return f"*{text}*" if worst.verdict is Verdict.KNOWN else text


def disagreements(outcomes: Iterable[Outcome]) -> str:
    """A section per program and reason: who is right and why, and a line for each case."""
    found: dict[tuple[str, str], list[Sequence[str]]] = {}
    for outcome in outcomes:
        for words, rows in _known(outcome).items():
            program = rows[0].program or outcome.case.source
            worst = min(rows, key=lambda r: (r.kind != COMPONENTS, r.digits))
            case = outcome.case.name.partition("/")[0]
            line = (case, _higher(outcome), worst.quantity, _number(worst.ours), _number(worst.theirs))
            found.setdefault((program, words), []).append(line)
    text = ""
    for (program, words), lines in sorted(found.items(), key=lambda item: item[0][0].lower()):
        who, _, why = words.partition(": ")
        text += f"**{program}**: {why}. *{_RIGHT[who]}.*\n\n"
        text += _table(("case", "ℓ higher by", "worst quantity", "ours", "theirs"), lines) + "\n"
    return text


def _known(outcome: Outcome) -> dict[str, list[Comparison]]:
    """The known disagreements of a case, by the words for them."""
    out: dict[str, list[Comparison]] = {}
    for row in outcome.comparisons:
        if row.known:
            out.setdefault(row.known, []).append(row)
    return out


def short(outcomes: Iterable[Outcome]) -> list[Sequence[str]]:
    """A row per case in which theirs stops short."""
    out: list[Sequence[str]] = []
    for outcome in outcomes:
        programs = {r.program for r in outcome.comparisons if r.verdict is Verdict.SHORT}
        for program in sorted(programs):
            rows = [r for r in outcome.comparisons if r.program == program and r.verdict is Verdict.SHORT]
            gain = max(r.difference for r in rows if r.quantity.endswith(STANDING))
            worst = min((r for r in rows if r.kind), key=lambda r: r.digits, default=None)
            shown = (
                ("all agree", "", "") if worst is None else (worst.quantity, _number(worst.ours), _number(worst.theirs))
            )
            out.append((outcome.case.name, program, f"{gain:.1e}", *shown))
    return out


def _higher(outcome: Outcome) -> str:
    """What ℓ gains at ours; of another model, over its own maximum."""
    rows = {r.quantity: r for r in outcome.comparisons}
    if STORED_GAP in rows:
        return f"{rows[STORED_GAP].ours:.3g}"
    gain = rows[STANDING].difference if STANDING in rows else np.nan
    return "–" if not np.isfinite(gain) else f"{gain:.2g}" if gain > LEAST else "0"


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "–"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)
