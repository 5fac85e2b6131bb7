"""Saving is all or nothing: an older fit survives a full disk, a kill, a folder that cannot be written."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest

import remlblup as rb
from remlblup.report.folder import write_report
from remlblup.storage import transaction as t
from remlblup.validation.saving.damage import killed_while_saving, small_fit, state

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def one():
    return small_fit(2)


@pytest.fixture(scope="module")
def two():
    return small_fit(3)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def said(folder: Path) -> str:
    return state(rb.load(folder))


@pytest.mark.parametrize("limit", [0, 100, 3000, 9000])
def test_a_full_disk_leaves_the_older_fit(one, two, tmp_path, limit):
    """Files may not grow beyond so many bytes; every limit stops at another file."""
    folder = one.save(tmp_path / "fit")
    before = files(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(rb.StoreError, match=r"File too large.*What it held before is unchanged"):
            two.save(folder)
        with pytest.raises(rb.StoreError, match="nothing was written"):
            two.save(tmp_path / "new" / "fit")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(folder) == before
    assert not (tmp_path / "new").exists()
    assert said(two.save(folder)) == said(two.save(tmp_path / "new" / "fit"))


@pytest.mark.parametrize("call", ["mkdir", "write_bytes", "rename"])
@pytest.mark.parametrize("code", ["EROFS", "EACCES", "ENOSPC", "EIO"])
def test_a_folder_that_cannot_be_written_is_named(one, two, tmp_path, monkeypatch, call, code):
    import errno

    folder = one.save(tmp_path / "fit")
    before = files(folder)

    def fail(self, *arguments, **options):
        raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)), str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, call, fail)
        with pytest.raises(rb.StoreError, match=f"{folder}.*{os.strerror(getattr(errno, code))}"):
            two.save(folder)
    assert files(folder) == before


def test_a_file_in_the_way_is_named(one, tmp_path):
    (tmp_path / "x").write_text("")
    for path in (tmp_path / "x", tmp_path / "x" / "fit"):
        with pytest.raises(rb.StoreError, match="x"):
            one.save(path)


class Stop(BaseException):
    """Not an error: what Ctrl-C raises."""


@pytest.mark.parametrize("steps", [*range(0, 16, 2), 100])
def test_stopped_at_any_file(one, two, tmp_path, monkeypatch, steps):
    """Stopped before the commit the older fit is there, after it the newer one, to the last file."""
    folder = one.save(tmp_path / "fit")
    old, new = said(folder), said(two.save(tmp_path / "two"))
    left = [steps]

    def counted(call):
        def go(*arguments, **options):
            if not left[0]:
                raise Stop
            left[0] -= 1
            return call(*arguments, **options)

        return go

    with monkeypatch.context() as patch:
        for name in ("write_bytes", "rename", "replace", "unlink"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(t, "_remove", lambda folder: None)  # a killed process tidies nothing
        try:
            two.save(folder)
            stopped = False
        except Stop:
            stopped = True
    assert stopped == (steps < 100)
    got = said(folder)
    assert got in ((old, new) if stopped else (new,))
    assert said(one.save(folder)) == old
    assert said(two.save(folder)) == new
    assert set(files(folder)) == set(files(tmp_path / "two"))
    assert [p.name for p in folder.iterdir() if p.name.startswith(".")] == []


def test_killed_at_random_moments(one, two, tmp_path):
    folder = one.save(tmp_path / "fit")
    either = {said(folder), said(two.save(tmp_path / "two"))}
    delays = np.random.default_rng(8).uniform(0.0, 0.3, 3)
    assert set(killed_while_saving(folder, delays.tolist())) <= either


def test_threads_that_save_to_one_folder(one, two, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    folder = one.save(tmp_path / "fit")
    either = {said(folder), said(two.save(tmp_path / "two"))}
    with ThreadPoolExecutor(4) as pool:
        saved = [pool.submit((one, two)[k % 2].save, folder) for k in range(8)]
        read = [pool.submit(said, folder) for _ in range(4)]
        assert {r.result() for r in read} <= either
        for s in saved:
            s.result()
    assert said(folder) in either


# -- what is left of an earlier fit ------------------------------------------------------------


def test_no_file_of_an_earlier_fit_stays_and_no_other_goes(one, tmp_path, monkeypatch):
    """Plots and relationships of the first model do not pass for the second's."""
    monkeypatch.setattr("remlblup.report.figures.JUDGED", 0)  # few plots, and small ones
    monkeypatch.setattr("remlblup.report.figures.RESOLUTION", 20)
    folder = write_report(one, tmp_path / "out")
    (folder / "my notes.txt").write_text("mine")
    (folder / "random_effects_of_mine.png").write_bytes(b"mine")
    first = set(files(folder))
    assert {"random_effects_1.png", "relationships/K.npz", "report.html"} <= first
    batches = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit()
    write_report(batches, folder)
    alone = set(files(write_report(batches, tmp_path / "alone")))
    assert set(files(folder)) == alone | {"my notes.txt", "random_effects_of_mine.png"}
    batches.save(folder)  # without a report the report of before is no longer this fit's
    assert set(files(folder)) == set(files(batches.save(tmp_path / "bare"))) | {
        "my notes.txt",
        "random_effects_of_mine.png",
    }


def test_plots_of_a_fit_of_an_earlier_version_go(one, tmp_path):
    """Those of its names, for it lists none."""
    import shutil

    folder = shutil.copytree(TESTS / "storage" / "earlier" / "formula", tmp_path / "out")
    for name in ("convergence.png", "random_effects_7.png", "biplot.png", "report.html", "me.png"):
        (folder / name).write_bytes(b"x")
    batches = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit()
    batches.save(folder)
    assert set(files(folder)) == set(files(batches.save(tmp_path / "bare"))) | {"me.png"}


def test_a_folder_that_holds_no_fit_keeps_what_it_holds(one, tmp_path):
    (tmp_path / "convergence.png").write_bytes(b"mine")
    one.save(tmp_path)
    assert (tmp_path / "convergence.png").read_bytes() == b"mine"
