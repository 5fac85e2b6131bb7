"""The page: digits by program and quantity, who is right, and whether the one in the documents is of these cases."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from remlblup.validation import page
from remlblup.validation.cases import Case, Outcome, run_case
from remlblup.validation.compare import COMPONENTS, FIXED, STANDING, Comparison, Verdict, compare_number
from remlblup.validation.programs import judged, stored

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "validation.md"
#: Digits beyond this are rounding, and differ with the processor.
ROUNDING = 8.0


def outcome(name, rows, group="programs", source="lme4 1"):
    return Outcome(Case(name, group, lambda n: rows, source), tuple(rows), 0.0)


def standing(ours, theirs, verdict, note):
    return Comparison(
        "a", STANDING, ours, theirs, ours - theirs, 3.0, float("nan"), verdict, note=note, program="lme4 1"
    )


def test_digits_are_counted_by_program_and_kind():
    """Differences of 1e-4, 1e-6 and 1e-8 of 1: 4, 6 and 8 digits; known disagreements are not among them."""
    rows = [compare_number("a", "v", 1.0, 1.0 - 10.0**-k, 3.0, kind=COMPONENTS) for k in (4, 6, 8)]
    rows += [compare_number("a", "b", 2.0, 2.0, 3.0, kind=FIXED), compare_number("a", "other", 1.0, 2.0, 0.0)]
    known = [
        standing(-10.0, -11.0, Verdict.KNOWN, "theirs stops 1 below the maximum."),
        compare_number("a", "v", 1.0, 1.0, 3.0, kind=COMPONENTS),
    ]
    (row,) = page.agreed([outcome("a/one", rows), outcome("b/two", known)])
    assert row[0] == "lme4 1" and row[2] == "4.0 / 6.0 (3)" and row[4] == "16.0 / 16.0 (1)"
    assert row[1] == row[3] == "–"


def test_a_disagreement_says_who_is_right_and_by_how_much():
    worse = compare_number("a", "1 | g", 2.0, 3.0, 0.0, kind=COMPONENTS, note="a note")
    rows = [
        standing(-10.0, -11.25, Verdict.KNOWN, "theirs stops 1.2 below the maximum of our model (a score)"),
        replace(worse.marked(Verdict.KNOWN, "a note"), known="ours: it stops; early"),
    ]
    text = page.page([outcome("a/one", rows)])
    assert "**lme4 1**: it stops; early. *Ours is right.*" in text
    assert "| a | 1.2 | 1 \\| g | 2 | 3 |" in text
    assert "| a/one | lme4 1 | theirs stops 1.2 below the maximum | – | *0.5* |" in text


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("they agree: at their estimates the log-likelihood is within 1e-09 of ours.", "they agree"),
        ("theirs stops 0.014 below the maximum: it is the same likelihood", "theirs stops 0.014 below the maximum"),
        (
            "theirs is another model: ML in place of REML (estimated by ML).",
            "theirs is another model: ML in place of REML",
        ),
        ("BLUPF90 gives no components: only effects are compared.", "BLUPF90 gives no components"),
    ],
)
def test_verdicts_are_cut_to_their_first_words(note, words):
    assert page.verdict_of(outcome("a", [standing(0.0, 0.0, Verdict.OK, note)])) == words


def test_the_most_by_which_theirs_is_higher_is_said():
    gains = [standing(-10.0, theirs, Verdict.OK, "") for theirs in (-10.5, -10.0 + 4e-10, float("nan"))]
    text = page.page([outcome("a/one", gains)])
    assert "\n2 sets of variances that" in text and "than at ours by more than 4e-10." in text
    assert page.highest([]) == ""


def test_who_stops_short_in_other_groups_is_listed():
    row = standing(-10.0, -10.5, Verdict.SHORT, "")
    text = page.page([outcome("pastes.ML", [row], "statsmodels", "statsmodels")])
    assert "## Where they stop short" in text and "| pastes.ML | lme4 1 | 5.0e-01 | all agree |" in text
    assert "## Each program's own output" not in text


def test_the_document_is_of_these_cases():
    """Every stored output has its line and every disagreement its words; lines of what is shipped are made again."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for case in stored.stored_cases():
        for output in case.outputs:
            assert f"| {case.name}/{output.name} | {output.program} |" in text, f"{case.name}: make the page anew"
            for words in filter(None, (output.disagreement, *output.differs.values())):
                assert f"{words.partition(': ')[2]}. *" in text, words
    shipped = [run_case(c) for c in judged.cases(None)[0]]
    for made in page.by_output(shipped):
        found = re.search(rf"^\| {re.escape(made[0])} \| (.*) \|$", text, re.M)
        assert found is not None
        for now, then in zip(made[1:], found[1].split(" | "), strict=True):
            assert alike(now, then), (made[0], now, then)


def alike(one, other):
    """The same words; digits to half of one, or both more than rounding leaves."""
    number = r"^\*?(-?\d+\.\d)\*?$"
    a, b = re.match(number, one), re.match(number, other)
    if a is None or b is None:
        return one == other
    return abs(float(a[1]) - float(b[1])) < 0.5 or min(float(a[1]), float(b[1])) > ROUNDING
