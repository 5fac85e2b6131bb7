"""The benchmark: its simulators, its processes, its table."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse as sp

from remlblup import MixedModel, Pedigree
from remlblup.validation.benchmarks import __main__ as command
from remlblup.validation.benchmarks import simulate
from remlblup.validation.benchmarks.cases import CASES, TRIALS, VARIABLE
from remlblup.validation.benchmarks.model import Model, Random
from remlblup.validation.benchmarks.outcome import Outcome, notes, ratio
from remlblup.validation.benchmarks.peers.base import Job, components, rounds
from remlblup.validation.benchmarks.peers.remlblup import save_matrix
from remlblup.validation.benchmarks.registry import PEERS, find_case, find_peer
from remlblup.validation.benchmarks.runner import Left, Settings, ordered, run_case, run_one
from remlblup.validation.benchmarks.table import line, number, write_csv

FAKES = """
import os, time
from remlblup.validation.benchmarks.model import Case, Data, Model, Random
from remlblup.validation.benchmarks.peers.base import Answer, Available, Peer

CASE = Case("tiny", "nothing", Model("y", "1", (Random("g"),)), lambda: Data(None))
ELSEWHERE = Case("absent", "nothing", Model("y", "1", (Random("g"),)), lambda: Data(None), lambda: "no data here")


class Good(Peer):
    name, does = "good", "sleeps"

    def available(self):
        return Available("1.0")

    def load(self):
        pass

    def run(self, task):
        time.sleep(0.001)

    def answer(self, job, task, result):
        return Answer(-10.0, "REML", {"g": 2.0, "residual": 1.0}, True, 3)


class Failing(Good):
    def run(self, task):
        raise ValueError("no such\\nmodel")


class Dying(Good):
    def run(self, task):
        print("malloc of 1e30 bytes failed", flush=True)
        os.abort()


class Slow(Good):
    count = 0

    def run(self, task):
        self.count += 1
        time.sleep(0.001 if self.count == 1 else 60.0)


class Absent(Good):
    def available(self):
        return Available(None, "not installed: pip install nothing")


class Unable(Good):
    def can(self, case):
        return "no random effects"


GOOD, FAILING, DYING, SLOW, ABSENT, UNABLE = Good(), Failing(), Dying(), Slow(), Absent(), Unable()
"""


@pytest.fixture
def fakes(tmp_path):
    """A function that names an attribute of a file with fake programs and cases."""
    file = tmp_path / "fakes.py"
    file.write_text(FAKES)
    return lambda name: f"{file}:{name}"


@pytest.fixture
def run_fake(fakes, tmp_path):
    """Run a fake program on the fake case."""

    def run(peer, **settings):
        return run_one(fakes("CASE"), fakes(peer), Settings(**settings), str(tmp_path))

    return run


# -- simulators ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("simulator", "arguments"), [("few_sires", (500, 0.04)), ("random_mating", (500,))])
def test_pedigrees_are_valid_and_repeat(simulator, arguments):
    make = getattr(simulate, simulator)
    one, two, other = make(*arguments), make(*arguments), make(*arguments, seed=99)
    assert one.frame.equals(two.frame)
    assert one.pedigree.equals(two.pedigree)
    assert not one.pedigree.equals(other.pedigree)
    frame = one.pedigree
    assert len(frame) == 500
    assert (frame[["sire", "dam"]].max(axis=1) < frame["id"]).all()  # parents first
    assert not set(frame["sire"]) - {0} & set(frame["dam"]) - {0}
    founders = (frame["sire"] == 0) | (frame["dam"] == 0)
    assert founders.sum() == 50
    assert Pedigree.from_frame(frame).n_added == 0
    assert set(one.frame["id"]) <= set(frame["id"])
    assert np.isfinite(one.frame["y"]).all()


def test_share_of_sires():
    frame = simulate.few_sires(2000, 0.02).pedigree
    used = frame.loc[frame["sire"] > 0].groupby((frame["id"] - 1) // 200)["sire"].nunique()
    assert (used <= 4).all()
    assert used.max() == 4
    assert simulate.random_mating(2000).pedigree["sire"].nunique() > 500
    with pytest.raises(ValueError, match="at least 100"):
        simulate.few_sires(50)


def test_generations_overlap():
    frame = simulate.few_sires(2000, 0.02).pedigree
    born, sire = (frame["id"] - 1) // 200, (frame["sire"] - 1) // 200
    assert set((born - sire)[frame["sire"] > 0]) == {1, 2}


def test_breeding_values_have_the_variance_asked_for():
    rng = np.random.default_rng(1)
    cohort, _, sire, dam = simulate.breed(rng, 20_000, None)
    u = simulate.gene_drop(rng, cohort, sire, dam, 36.0)
    assert np.var(u[cohort == 0]) == pytest.approx(36.0, rel=0.1)
    assert np.var(u[cohort == 9]) == pytest.approx(36.0, rel=0.1)
    assert np.corrcoef(u[cohort == 9], u[sire[cohort == 9]])[0, 1] == pytest.approx(0.5, abs=0.05)


def test_crossed_factors_and_slopes():
    data = simulate.insteval_shape(2000, 120, 60, 6).frame
    assert data.equals(simulate.insteval_shape(2000, 120, 60, 6).frame)
    assert len(data) == 2000
    assert data["s"].nunique() == 120
    assert data["d"].nunique() <= 60
    assert data["dept_service"].nunique() <= 12
    assert set(data["service"]) == {"0", "1"}
    slopes = simulate.random_slopes(40).frame
    assert slopes.equals(simulate.random_slopes(40).frame)
    counts = slopes.groupby("subject").size()
    assert len(counts) == 40
    assert counts.between(5, 10).all()
    assert (slopes.groupby("subject")["x"].max() == counts - 1).all()


# -- cases and programs --------------------------------------------------------------------------


def test_formulas():
    model = Model("y", "x", (Random("g", "x"), Random("h")))
    assert model.formula == "y ~ x + (1 + x | g) + (1 | h)"
    assert model.crossed
    assert model.slopes
    assert not model.pedigree
    assert find_case("animals1m").model.formula == "y ~ sex + cg + (1 | vm(id, A))"
    assert components(model, [[[4.0, 1.0], [1.0, 2.0]], [[3.0]]], 5.0) == {
        "g": 4.0,
        "g.x": 2.0,
        "g.cov": 1.0,
        "h": 3.0,
        "residual": 5.0,
    }


def test_every_program_says_what_it_can(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    for name in PEERS:
        peer = find_peer(name)
        assert peer.name == name
        assert peer.does
        found = peer.available()
        assert (found.version is None) == bool(found.reason)
        for case in [*CASES.values(), *TRIALS.values()]:
            assert isinstance(peer.can(case), str)
    assert "relationship" in find_peer("lme4").can(CASES["animals1m"])
    assert "one grouping factor" in find_peer("mixedlm-rs").can(CASES["penicillin"])
    assert "covariance" in find_peer("gpboost").can(CASES["sleepstudy"])
    assert "insteval.csv" in CASES["insteval"].missing()


def test_own_programs_and_wrong_names(fakes):
    assert find_peer(fakes("GOOD")).name == "good"
    for wrong in ("nothing", "nothing.py:PEER", fakes("GOOD").replace("fakes", "none")):
        with pytest.raises(LookupError, match=r"neither a known name"):
            find_peer(wrong)
    assert ordered(["mine.py:P", "lme4", "remlblup-fit"]) == ["remlblup", "remlblup-fit", "lme4", "mine.py:P"]


def test_listing_imports_no_program():
    code = (
        "import sys; from remlblup.validation.benchmarks.registry import PEERS, find_peer, find_case\n"
        "for name in PEERS: find_peer(name).can(find_case('dyestuff'))\n"
        "print([m for m in ('numpy', 'pandas', 'statsmodels', 'cvxopt', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in PEERS if not name.startswith("cholmod")])
def test_installed_programs_give_the_same_answer(name):
    peer, case = find_peer(name), CASES["dyestuff"]
    reason = peer.available().reason or peer.can(case)
    if reason:
        pytest.skip(reason)
    events = []
    peer.load()
    peer.measure(
        Job(case, case.build(), 0, time.monotonic() + 60.0), lambda kind, values: events.append((kind, values))
    )
    answer = dict(events)["answer"]
    ml = answer["method"] == "ML"
    assert answer["loglik"] == pytest.approx(-163.6635299 if ml else -159.8271384, abs=1e-5)
    assert answer["estimates"]["Batch"] == pytest.approx(1388.3333 if ml else 1764.05, rel=1e-3)
    assert answer["estimates"]["residual"] == pytest.approx(2451.25, rel=1e-3)


def test_the_matrix_of_the_yardstick(tmp_path):
    case = CASES["penicillin"]
    fit = MixedModel(case.model.formula, case.build().frame).fit(progress=False)
    file = str(tmp_path / "matrix.npz")
    save_matrix(fit, file)
    with np.load(file) as stored:
        n = len(stored["indptr"]) - 1
        lower = sp.csc_array((stored["values"], stored["indices"], stored["indptr"]), shape=(n, n)).toarray()
        assert np.linalg.slogdet(np.tril(lower) + np.tril(lower, -1).T)[1] == pytest.approx(float(stored["logdet"]))
        assert int(stored["iterations"]) == fit.history["iteration"].max()
    for name in ("cholmod", "cholmod-metis"):
        peer = find_peer(name)
        if peer.available().version is None:
            continue
        events = []
        job = Job(case, case.build(), 0, time.monotonic() + 60.0, file)
        peer.measure(job, lambda kind, values, into=events: into.append((kind, values)))
        assert dict(events)["run"]["seconds"] > 0
        assert "analysis" in dict(events)["answer"]["note"]


# -- processes -----------------------------------------------------------------------------------


def test_a_program_is_timed(run_fake):
    outcome = run_fake("GOOD", repeats=2, time_limit=60)
    assert outcome.trouble == ""
    assert len(outcome.runs) >= 3
    assert outcome.warm == outcome.runs[1:]
    assert outcome.seconds >= 0.001
    assert outcome.peak_mb > 1
    assert outcome.import_seconds >= 0
    assert outcome.answer["estimates"] == {"g": 2.0, "residual": 1.0}


def test_a_failing_program_is_reported(run_fake):
    outcome = run_fake("FAILING")
    assert outcome.trouble == "FAILED: ValueError: no such model"
    assert outcome.seconds is None
    assert "FAILED: ValueError: no such model" in line(outcome, None)


def test_a_dying_program_is_reported(run_fake, tmp_path):
    outcome = run_fake("DYING")
    assert outcome.trouble.startswith("FAILED: ended by SIGABRT")
    assert run_one("nothing", "nothing", Settings(), str(tmp_path)).trouble.startswith("FAILED: LookupError")


def test_the_time_limit_keeps_what_was_measured(run_fake):
    outcome = run_fake("SLOW", time_limit=3)
    assert outcome.trouble == "TIME LIMIT"
    assert len(outcome.runs) == 1
    assert outcome.answer["loglik"] == -10.0
    assert "TIME LIMIT; one run only" in line(outcome, None)


def test_a_case_without_data_and_programs_that_cannot(fakes):
    settings = Settings(repeats=0, time_limit=60)
    assert list(run_case(fakes("ELSEWHERE"), [fakes("GOOD")], settings)) == [
        Left(fakes("ELSEWHERE"), "", "no data here")
    ]
    first, *others = run_case(fakes("CASE"), [fakes("ABSENT"), fakes("UNABLE")], settings)
    assert first.peer == "remlblup"
    assert "FAILED" in first.trouble  # the fake case has no data
    assert [item.reason for item in others] == ["not installed: pip install nothing", "no random effects"]


def test_rounds_end():
    def count(repeats, left):
        return len(list(rounds(Job(None, None, repeats, time.monotonic() + left))))

    assert count(0, 10.0) == 1
    assert count(3, -1.0) == 1
    assert count(3, 10.0) == 51  # runs of no time: as many as are allowed


# -- comparison ----------------------------------------------------------------------------------


def outcome_of(peer, runs, **answer):
    return Outcome("tiny", peer, runs, 0.1, 100.0, {"method": "REML", "converged": True, **answer})


OURS = outcome_of(
    "remlblup",
    [9.0, 1.0, 3.0, 2.0],
    loglik=-10.0,
    loglik_ml=-8.0,
    estimates={"g": 2.0, "g.cov": 0.0},
    estimates_ml={"g": 1.0},
)


def test_ratios_are_of_medians_without_the_first_run():
    assert OURS.seconds == 2.0
    assert OURS.first == 9.0
    assert ratio(outcome_of("a", [1.0, 5.0, 7.0]), OURS) == 3.0
    assert ratio(outcome_of("a", [8.0]), OURS) == 4.0
    assert ratio(outcome_of("a", []), OURS) is None
    assert ratio(OURS, None) is None
    assert ratio(OURS, OURS) == 1.0


def test_another_answer_is_said_so():
    same = outcome_of("a", [1.0, 1.0], loglik=-10.0 - 5e-5, estimates={"g": 2.001})
    assert notes(same, OURS) == []
    lower = outcome_of("a", [1.0, 1.0], loglik=-10.5, estimates={"g": 4.0})
    assert notes(lower, OURS) == ["LOG-LIKELIHOOD LOWER by 0.5", "variance of g differs by 50 %"]
    higher = outcome_of("a", [1.0, 1.0], loglik=-9.5, estimates={})
    assert notes(higher, OURS) == ["LOG-LIKELIHOOD HIGHER by 0.5", "gives no g"]
    broken = outcome_of("a", [1.0, 1.0], loglik=float("nan"), estimates={"g": 2.0}, converged=False)
    assert notes(broken, OURS) == ["SAYS IT DID NOT CONVERGE", "LOG-LIKELIHOOD LOWER by nan"]
    ml = outcome_of("a", [1.0, 1.0], loglik=-8.0, method="ML", estimates={"g": 1.0})
    assert notes(ml, OURS) == ["ML"]
    assert notes(outcome_of("a", [1.0, 1.0], estimates={}), OURS) == ["log-likelihood not compared"]
    assert notes(outcome_of("cholmod", [1.0, 1.0], method="", note="text"), OURS) == ["text"]


def test_numbers():
    assert [number(x) for x in (None, 0.0123456, 1.0, 12.0, 123.4, 1234.5)] == [
        "-",
        "0.0123",
        "1.00",
        "12.0",
        "123",
        "1234",
    ]


def test_csv(tmp_path):
    file = tmp_path / "table.csv"
    write_csv(file, [(OURS, OURS), (Left("tiny", "b", "cannot"), OURS)])
    with file.open(encoding="utf-8") as stream:
        ours, left = csv.DictReader(stream)
    assert (float(ours["median_s"]), float(ours["first_s"]), float(ours["ratio"])) == (2.0, 9.0, 1.0)
    assert json.loads(ours["estimates"]) == {"g": 2.0, "g.cov": 0.0}
    assert left["note"] == "not run: cannot"


# -- the command ---------------------------------------------------------------------------------


def test_the_command(fakes, tmp_path, capsys):
    file = tmp_path / "table.csv"
    programs = [fakes("GOOD"), fakes("FAILING"), fakes("ABSENT")]
    page = tmp_path / "benchmarks.md"
    options = ["--repeats", "0", "--out", str(file), "--page", str(page)]
    assert command.main(["--case", "dyestuff", *options, "--peer", *programs]) == 0
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")]
    assert len(rows) == 1 and rows[0].startswith("| `dyestuff`: 30 records, 6 batches | **")
    out = capsys.readouterr().out
    assert "processor: " in out
    assert "-159.827138" in out
    assert "LOG-LIKELIHOOD HIGHER by 1.5e+02; gives no Batch" in out
    assert "FAILED: ValueError: no such model" in out
    assert "not installed: pip install nothing" in out
    with file.open(encoding="utf-8") as stream:
        assert len(list(csv.DictReader(stream))) == 4


def test_options_that_cannot_be_used(capsys):
    assert command.main(["--case", "nothing"]) == 2
    assert "'nothing' is neither a known name" in capsys.readouterr().out
    assert command.main(["--repeats", "-1"]) == 2
    assert command.main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*CASES, *PEERS])
