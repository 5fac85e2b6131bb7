"""Stored output of other programs: every case is judged as it is known to be, and what is wrong is said."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

import remlblup as rb
from remlblup.validation.cases import run_case
from remlblup.validation.compare import COMPONENTS, KINDS, STANDING, Verdict
from remlblup.validation.programs import judged, live, peers, scripts, stored
from remlblup.validation.table import line

SHIPPED = {c.name: c for c in judged.cases(None)[0]}
CASES = {c.name: c for c in stored.stored_cases()}
#: The models that scripts of `rb.write_model` fit in R, to six digits in everything printed.
WRITTEN = (
    "sleepstudy.slopes/lme4",
    "penicillin.crossed/lme4",
    "oats.splitplot/lme4",
    "orthodont.slopes/nlme",
    "oats.splitplot/nlme",
)


def check(case):
    """Run a case and show every line that falls short."""
    outcome = run_case(case)
    assert not outcome.failed, "\n".join(line(r, verbose=True) for r in outcome.comparisons if r.failed)
    return outcome


def one(name):
    """A stored case and one of its outputs."""
    case, output = name.split("/")
    return CASES[case], next(o for o in CASES[case].outputs if o.name == output)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_shipped(name):
    outcome = check(SHIPPED[name])
    assert outcome.comparisons[0].quantity == STANDING and len(outcome.comparisons) > 3


def test_the_reference_folder_adds_what_is_others(reference):
    """All in one test: they share their fits. Who stopped short did so by what is stored."""
    cases = [c for c in judged.cases(reference("README.md").parent)[0] if c.name not in SHIPPED]
    outcomes = {c.name: check(c) for c in cases}
    short = {n: r for n, o in outcomes.items() for r in o.comparisons if r.quantity == judged.STORED_GAP}
    assert set(short) == {
        "gryphon.bwt_animal/LMMsolver",
        "gryphon.bwt_sex_animal/LMMsolver",
        "gryphon.bwt_animal_byear_mother/LMMsolver",
        "kempton.slatehall.ib/sommer.mmec",
    }
    assert all(r.digits > 8.0 for r in short.values())


@pytest.mark.parametrize(
    "name", ["sleepstudy.independent/statsmodels", "dyestuff2/statsmodels", "machines.us/statsmodels"]
)
def test_statsmodels_as_its_defaults_leave_it(name):
    check(next(c for c in live.cases() if c.name == name))


def test_every_peer_that_found_anything_is_an_output(reference):
    folder = reference("README.md").parent
    told = {(c.answer, o.peer) for c in CASES.values() for o in c.outputs if o.peer}
    for path in folder.glob("*.json"):
        if not path.stem.startswith("inference."):
            for peer in peers.peers_of(folder, path.stem):
                assert any(a == path.stem and peer["software"].startswith(p) for a, p in told), (path.stem, peer)


def test_every_file_is_named_and_there():
    for case in CASES.values():
        named = {"case.toml", *(f for o in case.outputs for f in o.files), *(o.made for o in case.outputs)}
        there = {p.name for p in case.folder.iterdir()}
        assert there <= named
        assert {n for n in named if n and not n.startswith(stored.REFERENCE) and "." in n} <= there
        assert case.title and case.source and len({o.name for o in case.outputs}) == len(case.outputs)


@pytest.mark.parametrize("name", WRITTEN)
def test_scripts_written_for_r_agree_to_six_digits(name, tmp_path):
    """Written by `rb.write_model`, run in R, read, judged."""
    if not scripts.has_r():
        pytest.skip("R is not installed")
    case, output = one(name)
    assert output.made == output.name
    try:
        files = scripts.make(case, output, tmp_path)
    except scripts.NotInstalled as error:
        pytest.skip(str(error))
    rows = judged.compare_output(case, output, rb.read_results(files), None, name)
    assert rows[0].note.startswith("they agree") and not any(r.failed for r in rows)
    of_six = [r for r in rows if r.kind in KINDS[1:]]  # of ℓ lme4 prints one decimal
    assert len(of_six) > 4 and min(r.digits for r in of_six) > 6.0


def test_a_script_that_needs_what_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(scripts.NotInstalled, match="install R"):
        scripts.run("model.R", tmp_path)
    (case,) = [c for c in scripts.cases(None) if c.name == "rail/nlme (run)"]
    (row,) = run_case(case).comparisons
    assert row.verdict is Verdict.SKIP and "install R" in row.note


def test_another_verdict_than_the_known_one_fails():
    case, output = one("rail/lme4")
    results = judged.read(case, output, None)
    for wrong in ({"verdict": "theirs stops"}, {"reason": "records dropped"}):
        rows = judged.compare_output(case, replace(output, **wrong), results, None, "rail")
        assert rows[0].failed and rows[0].note.startswith("expected") and "they agree" in rows[0].note
    rows = judged.compare_output(case, replace(output, digits={COMPONENTS: 12.0}), results, None, "rail")
    assert {r.quantity for r in rows if r.failed} == {"Rail", "residual"}
    rows = judged.compare_output(case, replace(output, shortfall=0.01), results, None, "rail")
    assert [r.quantity for r in rows if r.failed] == [judged.STORED_GAP]


def test_estimates_that_are_not_ours_fail_unless_that_is_known():
    case, output = one("rail/lme4")
    results = judged.read(case, output, None)
    moved = replace(results, components=results.components.assign(estimate=results.components["estimate"] * 1.3))
    rows = judged.compare_output(case, output, moved, None, "rail")
    assert rows[0].failed and {r.quantity for r in rows if r.failed} >= {"Rail", "residual"}
    known = replace(output, verdict="theirs stops", disagreement="ours: it stops")
    rows = judged.compare_output(case, known, moved, None, "rail")
    assert rows[0].verdict is Verdict.KNOWN
    assert {r.verdict for r in rows if r.kind == COMPONENTS} == {Verdict.KNOWN}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("formula = ", "Invalid value"),
        ('formla = "y ~ x"', "'formla' means nothing"),
        ('title = "t"\nsource = "s"', r"needs \[\[outputs\]\]"),
        ('title = "t"\nsource = "s"\nanswer = "a"\n[[outputs]]\nprogram = "p"', "missing 1 required.*'name'"),
        (
            'title = "t"\nsource = "s"\nanswer = "a"\n[[outputs]]\nname = "n"\nprogram = "p"\ndigits = {x = 1}',
            "'x'.*known",
        ),
        (
            'title = "t"\nsource = "s"\nanswer = "a"\n[[outputs]]\nname = "n"\nprogram = "p"\ndisagreement = "us: so"',
            "begins with 'ours', 'theirs', 'both'",
        ),
    ],
)
def test_a_case_that_says_nothing_is_refused(text, said, tmp_path):
    path = tmp_path / "case.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(rb.DataError, match=said):
        stored.read_case(path)


def test_outputs_made_anew_go_where_they_were(tmp_path, monkeypatch):
    """What `python -m remlblup.validation.programs CASE` writes, without R."""
    case, output = one("rail/nlme")
    copy = replace(case, folder=tmp_path, outputs=(output,))
    printed = (case.folder / "nlme.summary.txt").read_text(encoding="utf-8")

    def ran(script, folder):
        (folder / "VarCorr.txt").write_text("as printed", encoding="utf-8")
        assert "lme(" in (folder / script).read_text(encoding="utf-8")
        return printed

    monkeypatch.setattr(scripts, "run", ran)
    assert scripts.store(copy) == ["rail/nlme.VarCorr.txt", "rail/nlme.summary.txt"]
    assert (tmp_path / "nlme.summary.txt").read_text(encoding="utf-8") == printed


def test_answers_of_the_table_have_their_model():
    for case in CASES.values():
        if case.answer:
            assert stored.answer_of(case.answer).answer == case.answer
