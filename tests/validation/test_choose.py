"""Which cases are asked for."""

from __future__ import annotations

import pytest

from remlblup.validation import run
from remlblup.validation.cases import Case
from remlblup.validation.choose import chosen, matches, unmatched

CASES = [
    Case(name, "programs", lambda n: [], source)
    for name, source in (
        ("sleepstudy.slopes/lme4", "lme4 1.1.31"),
        ("sleepstudy.slopes/nlme", "nlme 3.1"),
        ("machines.us (us)", "dense evaluation"),
    )
]


@pytest.mark.parametrize(
    "pattern", ["sleepstudy", "SLEEP", "sleepstudy.*/lme4", "^sleep.*lme4$", "slopes/lme4", "sleep?tudy.slopes/lme4"]
)
def test_parts_shell_patterns_and_regular_expressions(pattern):
    assert matches("sleepstudy.slopes/lme4", pattern)
    assert not matches("machines.us (us)", pattern)


def test_a_shell_pattern_is_no_expression():
    assert matches("alpha.one", "alpha.o*") and not matches("alpha.two", "alpha.o*")


def test_brackets_are_plain_text_too():
    assert matches("machines.us (us)", "(us)") and matches("machines.us (us)", "us (us")
    assert not matches("rail", "[")


def test_cases_and_programs_together():
    assert [c.name for c in chosen(CASES, ["sleep"], ["nlme"])] == ["sleepstudy.slopes/nlme"]
    assert len(chosen(CASES, [], [])) == 3 and len(chosen(CASES, ["lme4", "us$"], [])) == 1
    assert chosen(CASES, ["machines"], ["lme4"]) == []


def test_a_typo_is_told_what_was_meant():
    (line,) = unmatched(CASES, ["slepstudy", "machines"], [])
    assert line == "No case matches 'slepstudy'. Did you mean 'sleepstudy'?"
    (line,) = unmatched(CASES, [], ["lmer4"])
    assert line.startswith("No program matches 'lmer4'. Did you mean 'lme4'")
    assert unmatched(CASES, ["zzzz"], []) == ["No case matches 'zzzz'."]


def test_the_command_chooses(capsys):
    assert run(["--only", "programs", "books", "--list", "--case", "rail", "3.1", "--program", "nlme", "mrode"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith("SKIP")} >= {"rail/nlme", "mrode.3.1"}
    assert not any("lme4" in line.split()[0] for line in lines)
    assert run(["--only", "programs", "--program", "lmer4"]) == 2
    assert "Did you mean 'lme4'" in capsys.readouterr().out
    assert run(["--only", "books", "--case", "mrode", "--program", "by hand"]) == 2
    assert "No case matches both" in capsys.readouterr().out
