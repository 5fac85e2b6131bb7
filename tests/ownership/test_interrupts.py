"""Ctrl-C at any moment of a fit: what it keeps, and a refit in the same interpreter to the last digit."""

from __future__ import annotations

import gc
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

import remlblup as rb
from ownership.cases import MODELS, At, assert_same, blas_threads, flock, frame, moments, tables, undisturbed
from remlblup.cli import main
from remlblup.equations.base import Equations
from remlblup.linalg import threads
from remlblup.linalg.dense.tiled import TiledCholesky
from remlblup.relationship.descent import numerator
from remlblup.reml import starts
from remlblup.reml.loop import Loop
from remlblup.storage.transaction import transaction

pytestmark = [
    pytest.mark.usefixtures("three_threads"),
    pytest.mark.filterwarnings("ignore::remlblup.ConvergenceWarning"),
]


@pytest.mark.parametrize("kind", MODELS)
def test_an_interrupt_at_any_moment_and_a_refit(kind):
    """A new model and one that has been fitted before, whose older fit must not change either."""
    make, options = MODELS[kind]
    used = make()
    older = used.fit(**options)
    expected = tables(older)
    kept = 0
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for number, moment in enumerate(moments(lambda: make().fit(**options), 6)):
            model = used if number % 2 else make()
            stopped = At(moment).run(lambda model=model: model.fit(**options))
            assert isinstance(stopped, (rb.FitInterrupted, KeyboardInterrupt, rb.Fit))
            assert blas_threads() == before and not threads._everywhere.holders
            fit = stopped.fit if isinstance(stopped, rb.FitInterrupted) else None
            if fit is not None:
                kept += 1
                assert_a_whole_fit(fit)
            assert_same(tables(older)[:-1] if number % 2 else tables(reread(older))[:-1], expected[:-1])
            assert_same(tables(model.fit(**options)), expected)
    assert kept >= 1


def reread(fit: rb.Fit) -> rb.Fit:
    """The same fit without the tables it has already made."""
    return rb.Fit(fit._optimum, fit.options)


def assert_a_whole_fit(fit: rb.Fit) -> None:
    """Never converged, with all its tables, at the last point of its history."""
    assert not fit.converged and not fit.convergence and fit.convergence.status == "interrupted"
    assert str(fit.convergence).startswith("INTERRUPTED after ")
    parameters = list(fit.specification.parameters.columns)
    last = fit.history.iloc[-1]
    np.testing.assert_array_equal(fit.theta, last[parameters].to_numpy(dtype=float))
    assert fit.loglik == pytest.approx(last["loglik"], rel=1e-9)
    assert list(fit.history["iteration"]) == list(range(len(fit.history)))
    assert np.all(np.diff(fit.history["loglik"]) > -1e-6)
    tables(fit)
    fit.beta_covariance, fit.status, fit.bic, fit.intervals(), fit.covariance("residual"), fit.fitted, fit.to_dict()
    assert "INTERRUPTED" in str(fit.summary()) and "INTERRUPTED" in fit.summary().html()


def stop_at(monkeypatch, row: int):
    """Ctrl-C as the given row of the history has been written."""
    record = Loop.record

    def recorded(self, *arguments):
        record(self, *arguments)
        if len(self.ascent.rows) > row:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "record", recorded)


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_kept_is_the_best_point_so_far_and_a_start_to_go_on_from(kind, monkeypatch):
    make, options = MODELS[kind]
    whole = make().fit(**options)
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(rb.FitInterrupted) as caught:
            make().fit(**options)
    fit = caught.value.fit
    assert fit is caught.value.fit
    assert isinstance(caught.value, KeyboardInterrupt) and not isinstance(caught.value, Exception)
    rows = whole.history.iloc[:3]
    pd.testing.assert_frame_equal(fit.history.drop(columns="seconds"), rows.drop(columns="seconds"), check_exact=True)
    assert fit.loglik == pytest.approx(fit.history["loglik"].max(), rel=1e-9)
    assert fit.convergence.iterations == 2
    assert "after 2 iterations" in str(caught.value)
    on = make().fit(start=fit.variances, **{name: value for name, value in options.items() if name != "starts"})
    assert on.converged == whole.converged and on.loglik == pytest.approx(whole.loglik, abs=1e-6)


def test_nothing_is_kept_of_a_fit_without_an_iteration(monkeypatch):
    model = MODELS["spectral"][0]()
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(
            rb.FitInterrupted, match="before its first iteration was finished: there are no est"
        ) as caught:
            model.fit()
    assert caught.value.fit is None
    assert model.fit().converged


def test_other_starts_count_once_they_are_higher(monkeypatch):
    """The first climb has ended, converged; the interrupt comes in the second, on its way above it."""
    Z = np.array([0.5, 2.7, -0.9, -0.1, 1.6, 0.0])
    make = lambda: rb.MixedModel.from_matrices(Z, np.zeros((6, 0)), [np.eye(6)], [np.diag([8.0, 1.0, *[0.1] * 4])])  # noqa: E731
    whole = make().fit()
    assert [trial.ended for trial in whole.convergence.trials] == ["higher"]
    first = int(np.flatnonzero(whole.history["step"] == "start 2")[0])
    maximize, begun = starts.maximize, []

    def watched(equations, options, start, fixed, report):
        begun.append(start)

        def note(row):
            report(row)
            if len(begun) == 2 and row.loglik > whole.history["loglik"][:first].max() + 1e-3:
                raise KeyboardInterrupt

        return maximize(equations, options, start, fixed, note)

    monkeypatch.setattr(starts, "maximize", watched)
    with pytest.raises(rb.FitInterrupted) as caught:
        make().fit()
    fit = caught.value.fit
    assert fit.history["step"][first] == "start 2" and len(fit.history) > first
    assert fit.loglik > whole.history["loglik"][:first].max()
    assert fit.convergence.status == "interrupted"


def test_a_converged_first_climb_is_interrupted_all_the_same(monkeypatch):
    model = rb.MixedModel("y ~ x + (1 | g)", frame())
    whole = model.fit()
    monkeypatch.setattr(starts.Search, "attempt", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(rb.FitInterrupted) as caught:
        model.fit(starts=2)
    fit = caught.value.fit
    assert all(c.passed for c in fit.convergence.criteria)
    assert not fit.converged and fit.convergence.status == "interrupted"
    assert fit.loglik == pytest.approx(whole.loglik, abs=1e-9)


@pytest.mark.parametrize("kind", ["sparse, subtrees", "R without inverse", "starts"])
def test_an_interrupted_fit_is_saved_and_read_back_as_one(kind, tmp_path, monkeypatch):
    make, options = MODELS[kind]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(rb.FitInterrupted) as caught:
            make().fit(**options)
    fit = caught.value.fit
    back = rb.load(fit.save(tmp_path / "fit"))
    assert back.convergence.status == "interrupted" and not back.converged
    assert str(back.convergence) == str(fit.convergence)
    np.testing.assert_allclose(back.theta, fit.theta, rtol=1e-14)


def test_the_exception_goes_to_other_processes_without_the_fit():
    stop = pickle.loads(pickle.dumps(rb.FitInterrupted("interrupted", lambda: None)))
    assert isinstance(stop, rb.FitInterrupted) and str(stop) == "interrupted" and stop.fit is None


@pytest.mark.parametrize("kind", MODELS)
def test_tables_broken_off_while_they_are_made(kind):
    model, options, fit, expected = undisturbed(kind)
    fresh = lambda: tables(reread(fit))  # noqa: E731
    for moment in moments(fresh, 4):
        one = reread(fit)
        At(moment).run(lambda one=one: tables(one))
        assert_same(tables(one), expected)
    assert_same(tables(fit), expected)
    assert_same(tables(model.fit(**options)), expected)


@pytest.mark.parametrize("method", ["_invert_factor", "_multiply_factor"])
def test_an_inverse_broken_off_in_its_place_is_not_taken_for_the_factor(method, monkeypatch):
    """The inverse of V overwrites its factor: what was half done is done again."""
    make, options = MODELS["V"]
    model = make()
    fit = model.fit(**options)
    expected = tables(fit)
    theta = fit.variances
    solved = model.solve(theta)
    known = solved.random_effects
    solved = model.solve(theta)

    def half(self):
        self.A[: len(self.A) // 2] = 7.0
        raise KeyboardInterrupt

    equations = model._equations
    with monkeypatch.context() as patch:
        patch.setattr(TiledCholesky, method, half)
        with pytest.raises(KeyboardInterrupt):
            equations.score_matrices(solved._solution, [], False)
    pd.testing.assert_frame_equal(solved.random_effects, known, rtol=1e-9)
    assert_same(tables(reread(fit)), expected)


def test_search_structures_write_into_one_factor(monkeypatch):
    """A search in another structure that is broken off leaves no fit with a factor that is not its own."""
    make, options = MODELS["other words"]
    model = make()
    fit = model.fit(**options)
    expected = tables(fit)
    fit._equations.require(fit._solution)
    stop_at(monkeypatch, 1)
    with pytest.raises(rb.FitInterrupted):
        model.fit(**options)
    assert_same(tables(reread(fit)), expected)


# -- compiled functions ------------------------------------------------------------------------


def as_numba_tells_it():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt as stop:
        raise SystemError("<kernel> returned a result with an exception set") from stop


def test_an_interrupt_in_a_compiled_function_is_one(monkeypatch):
    """numba makes a SystemError of a Ctrl-C that came while a function ran that returns arrays."""
    model = MODELS["dense equations"][0]()
    expected = tables(model.fit())
    record = Loop.record

    def recorded(self, *arguments):
        record(self, *arguments)
        if len(self.ascent.rows) > 2:
            as_numba_tells_it()

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "record", recorded)
        with pytest.raises(rb.FitInterrupted) as caught:
            model.fit()
    assert len(caught.value.fit.history) == 3
    with pytest.raises(KeyboardInterrupt):
        threads.single_threaded(as_numba_tells_it)()
    with pytest.raises(SystemError):
        threads.single_threaded(lambda: (_ for _ in ()).throw(SystemError("another")))()
    assert_same(tables(model.fit()), expected)


def test_an_interrupt_in_a_kernel_of_pedigrees_is_one(monkeypatch):
    pedigree = flock()[1]
    pedigree.effective_size()  # both modules are loaded
    for kernel in ("numerator_kernels.parental_kinship", "statistics_kernels.marginal_contributions"):
        monkeypatch.setattr(f"remlblup.relationship.descent.{kernel}", lambda *_: as_numba_tells_it())
    with pytest.raises(KeyboardInterrupt):
        numerator.inbreeding(pedigree.sire, pedigree.dam, "columns")
    with pytest.raises(KeyboardInterrupt):
        pedigree.effective_size()


def test_the_command_line_in_a_compiled_function(csv, monkeypatch, capsys):
    monkeypatch.setattr(Loop, "record", lambda *_: as_numba_tells_it())
    assert main(["blup", csv, "y ~ x + (1 | g)", "--variances", "g=1", "residual=1", "--quiet"]) == 0
    capsys.readouterr()
    monkeypatch.setattr("remlblup.readers.tables.read_table", lambda *_: as_numba_tells_it())
    assert main(["fit", csv, "y ~ x + (1 | g)"]) == 130
    assert capsys.readouterr().err == "remlblup: interrupted\n"


def test_an_interrupt_in_a_load_is_no_damage(tmp_path, monkeypatch):
    folder = rb.MixedModel("y ~ x + (1 | g)", frame()).fit().save(tmp_path / "fit")
    monkeypatch.setattr("remlblup.storage.fit.equations_of_kind", lambda *_: as_numba_tells_it())
    with pytest.raises(KeyboardInterrupt):
        rb.load(folder)


IMPORT = """
import signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "numba.core.datamodel":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupts())
try:
    import remlblup.linalg.sparse.solves
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
from remlblup.linalg.factor import make_factor
import numpy as np
factor = make_factor(np.array([0, 1, 2]), np.array([0, 1]), 2, "sparse")
factor.factorize(np.array([2.0, 4.0]))
print(factor.solve(np.ones(2)))
"""


def test_an_interrupt_while_numba_is_imported():
    """It comes after the import, which could not be made up for."""
    done = subprocess.run([sys.executable, "-P", "-c", IMPORT], capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["interrupted", "[0.5  0.25]"], done.stderr


# -- many fits ---------------------------------------------------------------------------------


def test_fit_many_keeps_what_is_done(monkeypatch):
    data = frame()
    whole = rb.fit_many("~ x + (1 | g)", data, ["y", "y2"])

    def stop(self, *arguments, count=[0], record=Loop.record):  # noqa: B006
        record(self, *arguments)
        count[0] += 1
        if count[0] == len(whole["y"].history) + 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "record", stop)
    with pytest.raises(rb.FitInterrupted, match=r"^response 'y2', after 1 of 2 fits \(in `fits`") as caught:
        rb.fit_many("~ x + (1 | g)", data, ["y", "y2"])
    assert list(caught.value.fits) == ["y"]
    assert caught.value.fits["y"].converged
    assert caught.value.fit.specification.response == "y2" and not caught.value.fit.converged


def test_cross_validation_says_how_far_it_was(monkeypatch):
    fit = rb.MixedModel("y ~ x + (1 | g)", frame()).fit()
    expected = rb.cross_validate(fit, 4).predictions
    stop_at(monkeypatch, 1)
    with pytest.raises(
        rb.FitInterrupted, match="cross-validation, without fold 1 of 4: the fit was interrupted after 1"
    ):
        rb.cross_validate(fit, 4, refit=True)
    pd.testing.assert_frame_equal(rb.cross_validate(fit, 4).predictions, expected, check_exact=True)


# -- the command line and folders --------------------------------------------------------------


@pytest.fixture
def csv(tmp_path):
    frame().to_csv(tmp_path / "d.csv", index=False)
    return str(tmp_path / "d.csv")


@pytest.mark.parametrize("where", ["setting up", "searching", "reporting"])
@pytest.mark.parametrize("standing", [False, True])
def test_the_command_line_ends_with_a_line_and_leaves_no_folder(where, standing, csv, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "out" / "of"
    if standing:
        folder.mkdir(parents=True)
        (folder / "mine.txt").write_text("kept")
    if where == "searching":
        stop_at(monkeypatch, 2)
    else:
        owner, name = (Equations, "_incidence") if where == "setting up" else (rb.Fit, "plot_convergence")
        monkeypatch.setattr(owner, name, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["fit", csv, "y ~ x + (1 | g)", "--out", str(folder), "--quiet"]) == 130
    assert capsys.readouterr().err == "remlblup: interrupted\n"
    if standing:
        assert [path.name for path in folder.iterdir() if path.name != ".remlblup-lock"] == ["mine.txt"]
    else:
        assert not (tmp_path / "out").exists()


def test_the_tables_of_known_variances_come_together_or_not_at_all(csv, tmp_path, monkeypatch):
    folder = tmp_path / "blup"
    command = ["blup", csv, "y ~ x + (1 | g)", "--variances", "g=1", "residual=1", "--out", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(command) == 130
    assert not folder.exists()
    assert main(command) == 0
    assert {"fixed_effects.csv", "random_effects.csv", "fitted.csv"} <= {path.name for path in folder.iterdir()}


def test_a_transaction_broken_off_at_any_moment(tmp_path, monkeypatch):
    """The old files or the new ones, and nothing beside them."""
    monkeypatch.setattr("os.fsync", lambda *_: None)  # waits for the disk
    number = iter(range(10_000))

    def write(folder, text):
        with transaction(folder) as staging:
            for name in ("one.csv", "two.csv"):
                staging.write(name, text, "table")

    def unfinished(folder):
        return any(path.name.startswith(".remlblup-sav") for path in folder.iterdir())

    def trial():
        folder = tmp_path / str(next(number))
        write(folder, "old")
        return folder

    folder = trial()
    count = At()
    count.run(lambda: write(folder, "new"))
    told = set()
    for moment in range(1, count.calls, 13):
        folder = trial()
        At(moment).run(lambda folder=folder: write(folder, "new"))
        if unfinished(folder):
            gc.collect()  # a generator that was suspended at that moment cleans up as it goes
        texts = {(folder / name).read_text() for name in ("one.csv", "two.csv")}
        assert len(texts) == 1, moment
        assert not unfinished(folder), moment
        told |= texts
    assert told == {"old", "new"}


def test_what_ends_a_task_ends_no_other_fit():
    """MemoryError in a task: named as it is, and a refit is right."""
    make, options = MODELS["sparse, subtrees"]
    expected = tables(make().fit(**options))
    model = make()
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        do = threads.Group.do

        def out_of_memory(self, place, count=[0]):  # noqa: B006
            count[0] += 1
            if count[0] == 20:
                raise MemoryError
            do(self, place)

        patch.setattr(threads.Group, "do", out_of_memory)
        with pytest.raises(MemoryError):
            model.fit(**options)
    assert_same(tables(model.fit(**options)), expected)
