"""`remlblup crosscheck` as a user types it."""

from __future__ import annotations

import pytest

import remlblup as rb
from remlblup.cli import main

SLOPES = "Reaction ~ Days + (1 + Days | Subject)"


@pytest.fixture
def sleepstudy(tmp_path):
    path = tmp_path / "sleep.csv"
    rb.datasets.load("sleepstudy").to_csv(path, index=False)
    return str(path)


def test_it_says_who_is_right(capsys, sleepstudy, reference, tmp_path):
    theirs, page = str(reference("formats/lme4_summary_sleepstudy.txt")), str(tmp_path / "check.html")
    assert main(["crosscheck", sleepstudy, SLOPES, "--other", theirs, "--report", page]) == 0
    out = capsys.readouterr().out
    assert "They agree" in out and "Every quantity side by side" in out and f"Written to {page}" in out
    theirs = str(reference("formats/lme4_summary_sleepstudy_ML.txt"))
    assert main(["crosscheck", sleepstudy, SLOPES, "--other", theirs]) == 1
    assert "ML in place of REML" in capsys.readouterr().out
    assert main(["crosscheck", sleepstudy, SLOPES, "--method", "ml", "--other", theirs]) == 0


def test_its_mistakes_are_told(capsys, sleepstudy, tmp_path):
    plain = tmp_path / "theirs.csv"
    plain.write_text("term,estimate\nSubject,1.0\n", encoding="utf-8")
    assert main(["crosscheck", sleepstudy, SLOPES, "--other", str(tmp_path / "absent")]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert main(["crosscheck", sleepstudy, SLOPES, "--other", str(plain), "--match", "Subject"]) == 2
    assert "THEIRS=OURS" in capsys.readouterr().err
    broken = tmp_path / "broken.csv"
    broken.write_text("term,estimate\nSubject,x\n", encoding="utf-8")
    assert main(["crosscheck", sleepstudy, SLOPES, "--other", str(broken)]) == 2
    assert "line 2: expected a number" in capsys.readouterr().err


def test_a_model_is_written(capsys, sleepstudy, tmp_path):
    assert main(["write", sleepstudy, SLOPES, "--program", "blupf90", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "blupf90.par" in out and "OPTION missing" in out
    assert "NUMBER_OF_EFFECTS\n4\n" in (tmp_path / "out" / "blupf90.par").read_text(encoding="utf-8")
    assert main(["write", sleepstudy, SLOPES, "--program", "gcta", "--out", str(tmp_path / "other")]) == 2
    assert "GCTA cannot express" in capsys.readouterr().err
