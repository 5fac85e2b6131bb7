"""A fit stopped anywhere goes on where it was, and ends at the digits of one that was never stopped."""

from __future__ import annotations

import errno
import io
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml import journal
from remlblup.reml.journal import Journal
from remlblup.reml.start import start_values
from remlblup.storage import checkpoint as stored
from remlblup.storage import own_file
from remlblup.storage.own_file import OwnFile

# Some of these fits are stopped before they converge.
pytestmark = pytest.mark.filterwarnings("ignore::remlblup.errors.ConvergenceWarning")
ENGINES = ("dense", "sparse", "spectral")


def families(seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    f = np.repeat(np.arange(15), 4)
    data = pd.DataFrame({"id": [f"i{k}" for k in range(60)], "x": rng.normal(size=60), "w": rng.uniform(1, 2, 60)})
    data["y"] = data["x"] + rng.normal(size=15)[f] + 1.6 * rng.normal(size=60)
    return data


def kinship() -> pd.DataFrame:
    K = np.kron(np.eye(15), 0.5 * np.ones((4, 4)) + 0.5 * np.eye(4))
    ids = families()["id"]
    return pd.DataFrame(K, index=ids, columns=ids)


def animals(engine: str = "auto", data: pd.DataFrame | None = None, K: pd.DataFrame | None = None, **options):
    data, K = families() if data is None else data, kinship() if K is None else K
    return rb.MixedModel("y ~ x + (1 | vm(id, K))", data, {"K": K}, engine=engine, **options)


def panel(term: str, seed: int = 2, n: int = 12, t: int = 3, **options) -> rb.MixedModel:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame(
        {"g": np.repeat([f"g{k}" for k in range(n)], t), "t": pd.Categorical(np.tile(range(t), n), range(t))}
    )
    data["y"] = (rng.normal(size=(n, t)) @ rng.normal(size=(t, t))).ravel().round(6) + rng.normal(size=n * t)
    return rb.MixedModel(f"y ~ 1 + {term}", data, **options)


def by_probes() -> rb.MixedModel:
    rng = np.random.default_rng(5)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, 80), (60, 80))
    data = families().assign(y=(M - M.mean(axis=0)) @ rng.normal(size=80) / 2.0 + families()["y"])
    genotypes = rb.Genotypes.from_matrix(M, ids=list(data["id"]))
    return rb.MixedModel("y ~ x + (1 | vm(id, G))", data, {"G": genotypes}, engine="stochastic")


def without_residual() -> rb.MixedModel:
    """Its residual variance is zero at the maximum: the search ends by V."""
    K = np.kron(np.eye(2), 0.5 * np.ones((2, 2)) + 0.5 * np.eye(2))
    ids = [f"i{k}" for k in range(4)]
    data = pd.DataFrame({"id": ids, "y": [1.0, 1.2, 3.0, 3.3]})
    return rb.MixedModel("y ~ 1 + (1 | vm(id, K))", data, {"K": (K, ids)})


def said(fit) -> list:
    """Everything a fit says, to the last digit, but for the time it took."""
    trials = [(t.number, t.ended, t.iterations, t.loglik, t.theta.tobytes()) for t in fit.convergence.trials]
    history = fit.history.drop(columns="seconds").to_csv(float_format="%.17g")
    loglik = fit.loglik if fit.history["loglik"].notna().all() else None  # of engine="stochastic"
    return [fit.theta.tobytes(), loglik, history, str(fit.convergence), trials, fit.status]


class Stop(BaseException):
    """Not an error: what Ctrl-C raises."""


def stop_at(monkeypatch, iteration: int):
    """A context in which every fit is stopped after so many iterations of all its climbs."""
    left, note = [iteration], Journal.note

    def counted(self, *of):
        note(self, *of)
        if not left[0]:
            raise Stop
        left[0] -= 1

    patch = monkeypatch.context()
    patch.__enter__().setattr(Journal, "note", counted)
    return patch


def stopped(monkeypatch, model, path, iteration: int, **options) -> None:
    patch = stop_at(monkeypatch, iteration)
    try:
        with pytest.raises(Stop):
            model.fit(checkpoint=path, **options)
    finally:
        patch.__exit__(None, None, None)


# -- the same digits ---------------------------------------------------------------------------

WAYS = {
    **{
        f"{engine} {algorithm}": (lambda e=engine: animals(e), {"algorithm": algorithm, "max_iterations": 12})
        for engine in ENGINES
        for algorithm in ("auto", "em")
    },
    "ai": (lambda: animals("sparse"), {"algorithm": "ai"}),
    "px-em": (lambda: animals("sparse"), {"algorithm": "px-em", "max_iterations": 12}),
    "ML": (lambda: animals(), {"method": "ML"}),
    "unconstrained": (lambda: animals(), {"constrain": False}),
    "start and fix": (lambda: panel("us(t | g)"), {"start": {"us(t | g)": np.eye(3)}, "fix": {"residual": 0.7}}),
    "us": (lambda: panel("us(t | g)"), {}),
    "a first guess": (lambda: panel("fa(t | g, k=2)", n=20, t=5), {}),
    "other words": (lambda: panel("corgh(t | g)"), {}),
    "several starts": (lambda: panel("csh(t | g)"), {}),
    "so many starts": (lambda: panel("ar1(t | g)", n=8), {"starts": 3}),
    "residual parameters": (lambda: panel("(1 | g)", n=8, residual="ar1(t | g)"), {}),
    "to V": (without_residual, {}),
    "to V, unconstrained": (without_residual, {"constrain": False}),
}


@pytest.mark.parametrize("way", WAYS)
def test_stopped_anywhere_it_ends_at_the_same_digits(way, tmp_path, monkeypatch):
    make, options = WAYS[way]
    if "starts" not in way:
        monkeypatch.setattr("remlblup.reml.starts.RECORDS", 0)
    whole = make().fit(**options)
    seen, path = [], tmp_path / "whole.npz"
    with monkeypatch.context() as patch:
        note = Journal.note
        patch.setattr(Journal, "note", lambda self, *of: (seen.append(1), note(self, *of)))
        assert said(make().fit(checkpoint=path, **options)) == said(whole)
    last = len(seen) - 1
    for stop in {0, last // 2, last}:
        path = tmp_path / f"{stop}.npz"
        stopped(monkeypatch, make(), path, stop, **options)
        assert said(make().fit(checkpoint=path, **options)) == said(whole)


@contextmanager
def beginning_elsewhere(monkeypatch):
    """As a version whose own start values are others, and no moments."""

    def other(equations, variance, given, *more):
        theta = start_values(equations, variance, given, *more)
        return np.where(np.isnan(given) & (np.arange(len(theta)) == len(theta) - 1), 0.6 * theta, theta)

    with monkeypatch.context() as patch:
        patch.setattr("remlblup.reml.loop.by_moments", lambda space: None)
        for searching in ("loop", "stochastic.search"):
            patch.setattr(f"remlblup.reml.{searching}.start_values", other)
        patch.setattr(stored, "__version__", "0.0.1")
        yield


STARTS_OF_ITS_OWN = {
    **{engine: (lambda e=engine: animals(e), {}) for engine in ENGINES},
    "stochastic": (by_probes, {"seed": 3, "probes": 8}),
    "sparse em": (lambda: animals("sparse"), {"algorithm": "em", "max_iterations": 12}),
    "start in part": (lambda: panel("us(t | g)"), {"start": {"us(t | g)": np.eye(3)}}),
    "fix": (lambda: panel("(1 | g) + us(t | g)"), {"fix": {"(1 | g)": 0.3}}),
    **{
        name: WAYS[name]
        for name in ("us", "a first guess", "other words", "several starts", "residual parameters", "to V")
    },
}


@pytest.mark.parametrize("before", [True, False], ids=["elsewhere before", "elsewhere now"])
@pytest.mark.parametrize("way", STARTS_OF_ITS_OWN)
def test_a_fit_that_another_version_began_elsewhere_goes_on(way, before, tmp_path, monkeypatch):
    """It ends where it ends in one run from there, to the last digit."""
    make, options = STARTS_OF_ITS_OWN[way]
    there = (lambda: beginning_elsewhere(monkeypatch)) if before else nullcontext
    here = nullcontext if before else (lambda: beginning_elsewhere(monkeypatch))
    with there():
        whole = make().fit(**options)
        rows = len(make().fit(checkpoint=tmp_path / "whole.npz", **options).history)
    with here():
        assert said(make().fit(**options))[2] != said(whole)[2]
    for stop in {0, rows // 2, rows - 1}:
        path = tmp_path / f"{stop}.npz"
        with there():
            stopped(monkeypatch, make(), path, stop, **options)
        with here():
            assert said(make().fit(checkpoint=path, **options)) == said(whole)
            assert said(make().fit(checkpoint=path, **options)) == said(whole)


def test_a_first_guess_is_no_part_of_what_a_fit_is(tmp_path, monkeypatch):
    """A version that makes one goes on with the climb of one that did not, and the other way round."""
    make, options = WAYS["a first guess"]
    for first, then in ((False, True), (True, False)):
        path = tmp_path / f"{first}.npz"
        for guesses in (first, then):
            with monkeypatch.context() as patch:
                if not guesses:
                    patch.setattr("remlblup.reml.restate.guessed_start", lambda equations, options, start, fixed: start)
                if guesses is first:
                    whole = make().fit(**options)
                    stopped(monkeypatch, make(), path, 9, **options)
                else:
                    assert said(make().fit(checkpoint=path, **options)) == said(whole)


def test_the_climb_of_another_start_is_not_taken_for_the_first(monkeypatch):
    """Of an earlier version only the model's own climbs, one of a kind and before others, may begin elsewhere."""
    monkeypatch.setattr(journal, "kind_of", lambda equations: equations)

    def state(kind: str, *theta: float) -> journal.State:
        row = SimpleNamespace(theta=np.array(theta))
        return journal.State(kind, (row,), np.zeros(len(theta), bool), None)

    def begun(earlier: list, *climbs: tuple[str, list[float]], others_from: int = 9, is_open: bool = True) -> list:
        """The numbers of the earlier climbs that go on."""
        run, found = Journal(earlier, lambda states: None, is_open), []
        for k, (kind, theta) in enumerate(climbs):
            if k == others_from:
                run.others()
            ascent = SimpleNamespace(space=SimpleNamespace(equations=kind), number=None)
            taken = run.begin(ascent, np.array(theta))
            found.append(None if taken is None else next(k for k, s in enumerate(earlier) if s is taken))
        return found

    own, guess, start, of_start = state("B", 1, 2), state("A", 3, 4), state("B", 9, 9), state("V", 5, 5)
    earlier = [guess, own, start, of_start]
    assert begun(earlier, ("A", [3, 4]), ("B", [1, 2]), ("B", [9, 9]), ("V", [5, 5])) == [0, 1, 2, 3]
    assert begun(earlier, ("A", [6, 6]), ("B", [6, 6]), ("B", [6, 6]), ("V", [6, 6])) == [0, 1, None, None]
    assert begun(earlier, ("B", [6, 6]), ("B", [9, 9])) == [1, 2]
    assert begun(earlier, ("B", [6, 6, 6]), ("C", [6, 6])) == [None, None]
    assert begun([own, of_start], ("B", [6, 6]), ("V", [6, 6])) == [0, 1]
    assert begun([own, of_start], ("B", [6, 6]), ("V", [6, 6]), others_from=1) == [0, None]
    with pytest.raises(rb.CheckpointError, match="begins at other values"):
        begun(earlier, ("B", [6, 6]), is_open=False)


def test_stopped_over_and_over_with_the_seconds_of_each_run(tmp_path, monkeypatch):
    whole, path, earlier = panel("csh(t | g)").fit(), tmp_path / "a.npz", []
    for _ in range(100):
        try:
            stopped(monkeypatch, panel("csh(t | g)"), path, 17)
        except pytest.fail.Exception:
            break
        with np.load(path) as content:
            now = content["0.numbers"][:, stored.NUMBERS.index("seconds")]
        assert list(now[: len(earlier)]) == list(earlier)
        earlier = now
    fit = panel("csh(t | g)").fit(checkpoint=path)
    assert said(fit) == said(whole)
    assert list(fit.history["seconds"][: len(earlier)]) == list(earlier)


def test_another_limit_and_progress_are_no_other_fit(tmp_path, capsys):
    path, whole = tmp_path / "a.npz", animals().fit()
    for limit in (1, 2, 4):
        assert len(animals().fit(max_iterations=limit, checkpoint=path).history) == min(limit + 1, len(whole.history))
    fit = animals().fit(checkpoint=path, progress=True)
    assert said(fit) == said(whole)
    printed = capsys.readouterr().out
    assert f"Going on from {path}" in printed and "moments" in printed
    # Fewer than there were already: the fit stands where it was.
    assert said(animals().fit(checkpoint=path, max_iterations=1))[:3] == said(whole)[:3]


def test_a_finished_fit_is_judged_again_after_one_evaluation(tmp_path, monkeypatch):
    path, model = tmp_path / "a.npz", panel("us(t | g)")
    whole = model.fit(checkpoint=path)
    content, again = path.read_bytes(), panel("us(t | g)")
    solved, solve = [], type(again._equations).solve
    monkeypatch.setattr(type(again._equations), "solve", lambda *a, **k: (solved.append(1), solve(*a, **k))[1])
    assert said(again.fit(checkpoint=path)) == said(whole)
    assert len(solved) < 4
    with np.load(io.BytesIO(content)) as one, np.load(path) as two:
        assert one["0.theta"].tobytes() == two["0.theta"].tobytes()


def test_nothing_is_written_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    animals().fit()
    assert list(tmp_path.iterdir()) == []


# -- another fit -------------------------------------------------------------------------------


def changed_data(column: str, value: object) -> pd.DataFrame:
    data = families()
    data.loc[7, column] = value
    return data


def changed_kinship() -> pd.DataFrame:
    K = kinship()
    K.iloc[3, 2] = K.iloc[2, 3] = 0.25
    return K


OTHERS = {
    "response": (lambda: animals(data=changed_data("y", 0.125)), {}),
    "fixed effects": (lambda: animals(data=changed_data("x", 0.125)), {}),
    "weights": (lambda: animals(weights="w"), {}),
    "design of 'vm(id, K)'": (lambda: animals(data=changed_data("id", "i9")), {}),
    "number of records (60 there, 59 here)": (lambda: animals(data=families().iloc[:-1]), {}),
    "relationship of 'vm(id, K)'": (lambda: animals(K=changed_kinship()), {}),
    "engine (dense there, sparse here)": (lambda: animals("sparse"), {}),
    "formula": (lambda: rb.MixedModel("y ~ 1 + (1 | vm(id, K))", families(), {"K": kinship()}), {}),
    "residual (units there, power(w) here)": (lambda: animals(residual="power(w)"), {}),
    "method (REML there, ML here)": (animals, {"method": "ML"}),
    "algorithm (auto there, em here)": (animals, {"algorithm": "em"}),
    "constrain (True there, False here)": (animals, {"constrain": False}),
    "tolerance": (animals, {"tolerance": 1e-6}),
    "start (none there, residual = 2.0 here)": (animals, {"start": {"residual": 2.0}}),
    "fix (none there, residual = 2.0 here)": (animals, {"fix": {"residual": 2.0}}),
    "starts ('auto' there, 2 here)": (animals, {"starts": 2}),
}


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "a.npz"
    animals("dense").fit(checkpoint=path, max_iterations=2)
    return path.read_bytes()


@pytest.mark.parametrize("what", OTHERS)
def test_the_state_of_another_fit_is_refused(what, content, tmp_path):
    make, options = OTHERS[what]
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(rb.CheckpointError, match=r"of another fit\. What differs: ") as caught:
        make().fit(checkpoint=path, **options)
    assert what in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == content and os.listdir(tmp_path) == ["a.npz"]


def test_the_version_that_wrote_it_is_named(content, tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    named = r".* written by version .* of remlblup, and this is 99\.0\."
    with monkeypatch.context() as patch:
        patch.setattr(stored, "__version__", "99.0")
        with pytest.raises(rb.CheckpointError, match="it is of another fit" + named):
            animals("sparse").fit(checkpoint=path)
        patch.setattr(stored, "FORMAT", 7)
        with pytest.raises(rb.CheckpointError, match="its format is 1, and this version reads format 7" + named):
            animals("dense").fit(checkpoint=path)
    assert path.read_bytes() == content


# -- damage ------------------------------------------------------------------------------------


def saved(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


class Touch:
    """An object that would write a file if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["empty", "text", "half", "foreign", "pickled", "objects", "nested"])
def test_what_is_no_checkpoint_is_refused_and_left(kind, content, tmp_path):
    touch = Touch(tmp_path / "touched")
    bad = {
        "empty": b"",
        "text": b"animal,sire,dam\n",
        "half": content[: len(content) // 2],
        "foreign": saved(a=np.eye(3)),
        "pickled": pickle.dumps(touch),
        "objects": saved(about=np.array([touch], dtype=object)),
        "nested": saved(about=np.frombuffer(b"[" * 100_000, np.uint8), checksum=np.zeros(32, np.uint8)),
    }[kind]
    path = tmp_path / "a.npz"
    path.write_bytes(bad)
    with pytest.raises(rb.CheckpointError, match="not a checkpoint of remlblup, or it is damaged"):
        animals("dense").fit(checkpoint=path)
    assert path.read_bytes() == bad and os.listdir(tmp_path) == ["a.npz"]


def test_a_changed_byte_is_seen_or_without_effect(content, tmp_path):
    path, whole = tmp_path / "a.npz", said(animals("dense").fit())
    rng, refused = np.random.default_rng(4), 0
    for place in rng.integers(0, len(content), 16):
        bad = bytearray(content)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        try:
            assert said(animals("dense").fit(checkpoint=path)) == whole
        except rb.CheckpointError:
            refused += 1
            assert path.read_bytes() == bad
    assert refused > 4


@pytest.mark.parametrize("name", ["theta", "numbers"])
def test_values_that_are_not_of_the_data_are_refused(name, content, tmp_path):
    """Its checksum is right, its contents are not."""
    with np.load(io.BytesIO(content)) as file:
        arrays = {k: file[k] for k in file.files if k != "checksum"}
    arrays[f"0.{name}"][-1, 1] += 0.3
    arrays["checksum"] = np.frombuffer(stored.checksum(arrays), np.uint8)
    path = tmp_path / "a.npz"
    path.write_bytes(saved(**arrays))
    with pytest.raises(rb.CheckpointError, match="log-likelihood at its variances is"):
        animals("dense").fit(checkpoint=path)


@pytest.mark.parametrize("engine", [*ENGINES, "stochastic"])
def test_another_beginning_than_the_given_one_is_refused(engine, tmp_path):
    """Where the search chooses where to begin, an earlier version may have chosen otherwise."""
    make, options = STARTS_OF_ITS_OWN[engine]
    model, path = make(), tmp_path / "a.npz"
    term = next(iter(model.fit(max_iterations=1, **options).variances))
    given = {"start": {term: 1.0, "residual": 2.0}}
    for start in (given, {"fix": {term: 1.0}, "start": {"residual": 2.0}}):
        model.fit(checkpoint=path, max_iterations=2, **options, **start)
        with np.load(path) as file:
            arrays = {k: file[k] for k in file.files if k != "checksum"}
        arrays["0.theta"][0, -1] *= 1.5
        arrays["checksum"] = np.frombuffer(stored.checksum(arrays), np.uint8)
        path.write_bytes(saved(**arrays))
        with pytest.raises(rb.CheckpointError, match=r"it begins at other values .* was written by version"):
            make().fit(checkpoint=path, **options, **start)
        path.unlink()


# -- the place ---------------------------------------------------------------------------------


def test_places_that_cannot_be_written(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "none" / "a.npz", tmp_path / "file" / "a.npz", tmp_path / "pipe", os.devnull):
        with pytest.raises(rb.CheckpointError, match=str(path)):
            animals().fit(checkpoint=path)
    for path in (3, True, b"a.npz", ["a.npz"]):
        with pytest.raises(rb.OptionError, match="checkpoint="):
            animals().fit(checkpoint=path)
    assert sorted(os.listdir(tmp_path)) == ["file", "pipe"]


def test_a_link_is_followed_and_none_is_planted(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "a.npz").symlink_to(tmp_path / "there" / "b.npz")
    animals().fit(checkpoint=str(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz").is_symlink() and (tmp_path / "there" / "b.npz").stat().st_size
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / ".c.npz.writing").symlink_to(victim)
    with pytest.raises(rb.CheckpointError, match=r"c\.npz"):
        animals().fit(checkpoint=tmp_path / "c.npz")
    assert victim.read_text() == "mine"


@pytest.mark.skipif(not own_file.LOCKS, reason="no locks on this system")
def test_one_fit_at_a_time(tmp_path, monkeypatch):
    path, caught = tmp_path / "a.npz", []
    note = Journal.note

    def second(self, loop):
        note(self, loop)
        with monkeypatch.context() as patch:
            patch.setattr(Journal, "note", note)
            with pytest.raises(rb.CheckpointError, match="another fit is writing to it") as error:
                animals().fit(checkpoint=path)
        caught.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "note", second)
        fit = animals().fit(checkpoint=path)
    assert len(caught) == len(fit.history)
    assert said(animals().fit(checkpoint=path)) == said(fit)


# -- errors and kills in the middle --------------------------------------------------------------


@pytest.mark.parametrize("code", ["ENOSPC", "EIO", "EDQUOT"])
def test_a_full_disk_does_not_lose_the_fit(code, tmp_path, monkeypatch):
    path, whole = tmp_path / "a.npz", said(panel("us(t | g)").fit())
    monkeypatch.setattr(stored, "REST", 0.0)
    left, fsync = [3], os.fsync

    def failing(handle):
        if not left[0]:
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        left[0] -= 1
        fsync(handle)

    with monkeypatch.context() as patch, pytest.warns(rb.CheckpointWarning) as caught:
        patch.setattr(own_file.os, "fsync", failing)
        fit = panel("us(t | g)").fit(checkpoint=path)
    assert said(fit) == whole
    assert len([w for w in caught if w.category is rb.CheckpointWarning]) == 1
    assert os.strerror(getattr(errno, code)) in str(caught[0].message) and str(path) in str(caught[0].message)
    assert os.listdir(tmp_path) == ["a.npz"]
    with np.load(path) as content:
        assert 1 <= len(content["0.theta"]) < len(fit.history)
    assert said(panel("us(t | g)").fit(checkpoint=path)) == whole


def test_a_disk_that_is_free_again_is_written_to(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "REST", 0.0)
    path, count, write = tmp_path / "a.npz", [0], OwnFile.write

    def failing(self, content):
        count[0] += 1
        if count[0] in (3, 4):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, content)

    monkeypatch.setattr(OwnFile, "write", failing)
    with pytest.warns(rb.CheckpointWarning, match="No space left"):
        fit = animals().fit(checkpoint=path)
    with np.load(path) as content:
        assert len(content["0.theta"]) == len(fit.history)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13])
def test_stopped_within_a_write(steps, tmp_path, monkeypatch):
    """The process ends between any two calls of the system: the file is whole, of the last write or the one before."""
    path, whole = tmp_path / "a.npz", said(panel("us(t | g)").fit())
    monkeypatch.setattr(stored, "REST", 0.0)
    left = [steps]

    def counted(call):
        def go(*arguments, **options):
            if left[0] <= 0:
                raise Stop
            left[0] -= 1
            return call(*arguments, **options)

        return go

    with monkeypatch.context() as patch:
        patch.setattr(own_file.os, "fsync", counted(os.fsync))
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(own_file, "sync", counted(own_file.sync))
        patch.setattr(Path, "unlink", lambda *a, **k: None)  # a killed process tidies nothing
        with pytest.raises(Stop):
            panel("us(t | g)").fit(checkpoint=path)
    assert said(panel("us(t | g)").fit(checkpoint=path)) == whole
    assert os.listdir(tmp_path) == ["a.npz"]


def test_writing_takes_a_share_of_the_time_at_most(tmp_path, monkeypatch):
    """Not every iteration of a fit of thousands is written, but the last one is."""
    path, write, written = tmp_path / "a.npz", OwnFile.write, []

    def slow(self, content):
        written.append(1)
        time.sleep(0.02)
        write(self, content)

    monkeypatch.setattr(OwnFile, "write", slow)
    fit = animals().fit(algorithm="em", max_iterations=300, checkpoint=path)
    with np.load(path) as content:
        assert len(content["0.theta"]) == len(fit.history)
    assert len(written) < len(fit.history) / 2


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[2])
from storage.test_checkpoint import panel
from remlblup.reml.journal import Journal
note = Journal.note
def told(self, loop):
    note(self, loop)
    print("noted", flush=True)
    time.sleep(0.02)
Journal.note = told
panel("us(t | g)").fit(checkpoint=sys.argv[1])
"""


def test_killed_and_resumed(tmp_path):
    path, whole = tmp_path / "a.npz", said(panel("us(t | g)").fit())
    tests = str(Path(__file__).resolve().parents[1])
    fitting = subprocess.Popen([sys.executable, "-P", "-c", KILLED, str(path), tests], stdout=subprocess.PIPE)
    for _ in range(3):
        assert fitting.stdout.readline() == b"noted\n"
    os.kill(fitting.pid, signal.SIGKILL)
    fitting.wait()
    fitting.stdout.close()
    with np.load(path) as content:
        assert len(content["0.theta"]) >= 1
    assert said(panel("us(t | g)").fit(checkpoint=path)) == whole


def test_an_interrupted_fit_is_in_the_file_as_in_the_exception(tmp_path, monkeypatch):
    path, whole, note = tmp_path / "a.npz", panel("us(t | g)").fit(), Journal.note

    def interrupting(self, ascent):
        note(self, ascent)
        if len(ascent.rows) == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(rb.FitInterrupted, match="its checkpoint goes on") as caught:
        patch.setattr(Journal, "note", interrupting)
        panel("us(t | g)").fit(checkpoint=path)
    with np.load(path) as content:
        theta = content["0.theta"]
    assert len(theta) == 5
    # What was told of the iteration before is in the exception.
    assert caught.value.fit.theta.tobytes() == theta[-2].tobytes()
    path.unlink()
    caught.value.fit.check_starts(n=1)
    assert not path.exists()
    with monkeypatch.context() as patch, pytest.raises(rb.FitInterrupted):
        patch.setattr(Journal, "note", interrupting)
        panel("us(t | g)").fit(checkpoint=path)
    assert said(panel("us(t | g)").fit(checkpoint=path)) == said(whole)


# -- where there is none -------------------------------------------------------------------------


def test_several_fits_take_no_checkpoint(tmp_path):
    with pytest.raises(rb.OptionError, match=r"fit_many\(\) takes no checkpoint="):
        rb.fit_many("~ x + (1 | vm(id, K))", families(), ["y"], {"K": kinship()}, checkpoint=tmp_path / "a.npz")
    with pytest.raises(rb.OptionError, match="'checkpoint=' is an argument of fit"):
        rb.cross_validate(animals(), checkpoint=tmp_path / "a.npz")


def test_the_file_is_not_part_of_the_fit(tmp_path):
    """What follows a fit, also after it was saved, writes no checkpoint."""
    path = tmp_path / "a.npz"
    fit = animals().fit(checkpoint=path)
    path.unlink()
    fit.check_starts(n=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rb.load(fit.save(tmp_path / "fit")).loglik == pytest.approx(fit.loglik, abs=1e-9)
    assert not path.exists()
