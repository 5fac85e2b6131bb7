"""The command: its table, its exit code, its options."""

from __future__ import annotations

import csv

import pytest

import remlblup as rb
from remlblup.validation import book_cases, run
from remlblup.validation.cases import Case
from remlblup.validation.compare import compare_number


@pytest.fixture
def suite(monkeypatch):
    """Replace the books, which need nothing from outside, by the cases given."""

    def put(*cases):
        monkeypatch.setattr(book_cases, "cases", lambda: list(cases))

    return put


def case(name, ours, theirs=2.0, **options):
    return Case(name, "books", lambda n: [compare_number(n, "variance", ours, theirs, 6.0)], "a book", **options)


def test_all_agree(suite, capsys):
    suite(case("one", 2.0), case("two", 2.0 + 1e-9))
    assert run(["--only", "books"]) == 0
    out = capsys.readouterr().out
    assert "2 comparisons in 2 cases: all agree." in out


def test_a_wrong_answer_fails_loudly(suite, capsys):
    suite(case("right", 2.0), case("wrong", 2.001))
    assert run(["--only", "books"]) == 1
    body, closing = capsys.readouterr().out.split("=" * 100)[:2]
    assert "FAIL" in body
    assert "2 comparisons in 2 cases: 1 COMPARISONS FALL SHORT in 1 cases" in closing
    assert "wrong" in closing
    assert "right" not in closing


def test_an_error_in_a_case_fails_and_does_not_stop_the_others(suite, capsys):
    def broken(name):
        raise ZeroDivisionError("no such thing")

    suite(Case("broken", "books", broken, "a book"), Case("empty", "books", lambda n: [], "a book"), case("one", 2.0))
    assert run(["--only", "books"]) == 1
    out = capsys.readouterr().out
    assert "ZeroDivisionError: no such thing" in out
    assert "the case compared nothing" in out
    assert "3 comparisons in 3 cases: 2 COMPARISONS FALL SHORT" in out


def test_cases_are_chosen_by_name(suite, capsys):
    suite(case("alpha.one", 2.0), case("alpha.two", 3.0), case("beta", 3.0))
    assert run(["--only", "books", "--case", "alpha.o*"]) == 0
    assert run(["--only", "books", "--case", "nothing"]) == 2
    assert "No case matches 'nothing'" in capsys.readouterr().out
    assert run(["--only", "books", "--list"]) == 0
    assert "alpha.two" in capsys.readouterr().out


def test_slow_cases_wait_to_be_asked_for(suite, capsys):
    suite(case("long", 3.0, slow=True), case("short", 2.0))
    assert run(["--only", "books"]) == 0
    assert "SKIP long" in capsys.readouterr().out
    assert run(["--only", "books", "--slow"]) == 1
    assert run(["--only", "books", "--case", "long"]) == 1


def test_csv(suite, tmp_path):
    suite(case("one", 2.0, 2.5))
    file = tmp_path / "table.csv"
    assert run(["--only", "books", "--out", str(file)]) == 1
    with file.open(encoding="utf-8") as handle:
        (row,) = csv.DictReader(handle)
    assert (row["case"], row["quantity"], row["verdict"]) == ("one", "variance", "FAIL")
    assert (float(row["ours"]), float(row["theirs"])) == (2.0, 2.5)


def test_without_the_reference_folder_its_cases_are_skipped(tmp_path, capsys, monkeypatch):
    """What is shipped is compared; asked for the others, there is nothing, and that is said in the exit code too."""
    monkeypatch.setenv("REMLBLUP_REFERENCE", str(tmp_path / "absent"))
    for more, code in ((["--case", "rail"], 0), (["--list"], 0), (["--case", "gryphon"], 2)):
        assert run(["--only", "reference", *more]) == code
        out = capsys.readouterr().out
        assert "SKIP reference" in out and "REMLBLUP_REFERENCE" in out
        assert ("rail.ri" in out) is (code == 0) and "john.alpha" not in out
    assert run(["--only", "R", "--case", "gryphon"]) == 2


def test_without_r_nothing_is_compared(capsys, monkeypatch):
    from remlblup.validation.programs import scripts

    monkeypatch.setattr(scripts, "has_r", lambda: False)
    assert run(["--only", "R"]) == 2
    out = capsys.readouterr().out
    assert "SKIP R" in out and "Nothing was compared" in out


def test_the_reference_folder_of_an_installed_package(tmp_path, monkeypatch):
    """It lies in or beside the folder one works in, not beside the package."""
    from remlblup.validation import reference_cases

    monkeypatch.delenv("REMLBLUP_REFERENCE", raising=False)
    installed = tmp_path / "lib" / "site-packages" / "remlblup" / "validation" / "reference_cases.py"
    monkeypatch.setattr(reference_cases, "__file__", str(installed))
    (tmp_path / "lib" / "site-packages" / "shared" / "reference").mkdir(parents=True)
    work, reference = tmp_path / "project" / "deep", tmp_path / "project" / "shared" / "reference"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    assert reference_cases.find_folder() == work / "shared" / "reference"  # absent: named so
    reference.mkdir(parents=True)
    assert reference_cases.find_folder() == reference
    monkeypatch.setenv("REMLBLUP_REFERENCE", "there")
    assert str(reference_cases.find_folder()) == "there"
    assert str(reference_cases.find_folder("here")) == "here"


def test_a_folder_asked_for_must_be_there(tmp_path):
    with pytest.raises(rb.DataError, match="there is no folder"):
        run(["--only", "reference", "--reference", str(tmp_path / "absent")])
