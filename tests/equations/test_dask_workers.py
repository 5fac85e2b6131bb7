"""Products on a Dask cluster: the same bits as on this machine, whoever dies meanwhile, and no hang."""

from __future__ import annotations

import copy
import os
import pickle
import re
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.arrays import Array
from remlblup.equations.stochastic.blocks import Block, genotype_blocks
from remlblup.equations.stochastic.dask_workers import DaskWorkers
from remlblup.equations.stochastic.products import Products
from remlblup.equations.stochastic.workers import Threads
from remlblup.relationship.genomic.codings import coding

distributed = pytest.importorskip("distributed")
pytest.importorskip("zarr")
pytestmark = [pytest.mark.timeout(120), pytest.mark.filterwarnings("ignore")]

N, SIZE = 200, 64


@dataclass(frozen=True)
class Deadly:
    """A block whose first product ends these processes, its own among them; without a flag, every one."""

    block: Block
    flag: Path | None
    pids: tuple[int, ...] = ()

    def times(self, V: Array) -> Array:
        try:
            if self.flag is not None:
                self.flag.touch(exist_ok=False)
        except FileExistsError:
            return self.block.times(V)
        for pid in (*self.pids, os.getpid()):
            os.kill(pid, signal.SIGKILL)
        raise AssertionError("unreachable")


@dataclass(frozen=True)
class Slow:
    """A block that takes until a file is there."""

    flag: Path

    def times(self, V: Array) -> Array:
        while not self.flag.exists():
            time.sleep(0.02)
        return V


@dataclass(frozen=True)
class Wrong:
    """A block with an error of its own."""

    def times(self, V: Array) -> Array:
        raise ZeroDivisionError("in a block")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """Genotypes in a store, their blocks, V, their product on this machine, and a cluster of three workers."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("genotypes")
    held = rb.Genotypes.from_matrix(rng.integers(0, 3, (N, 1500)), ids=range(N))
    held.to_zarr(folder / "set.zarr")
    G = rb.Genotypes.from_zarr(folder / "set.zarr")
    blocks, V = genotype_blocks(G, coding(G, "vanraden1"), SIZE), rng.normal(size=(N, 7))
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield SimpleNamespace(held=held, folder=folder, blocks=blocks, V=V, sum=Threads().total(blocks, V),
                              cluster=cluster, client=client)  # fmt: skip


def test_the_same_bits_with_any_number_of_workers_and_when_they_die(scene, tmp_path):
    """Three, two, one; of two both at once, then two in a product, one after the other."""
    workers = DaskWorkers(scene.client, patience=60)
    assert workers.describe() == "3 Dask workers with 3 threads"
    assert np.array_equal(workers.total(scene.blocks, scene.V), scene.sum)
    scale(scene, 2)
    assert np.array_equal(workers.total(scene.blocks, scene.V), scene.sum)
    both = tuple(scene.client.run(os.getpid).values())
    for kills, pids in (((11,), both), ((0, 20), ())):
        blocks: list[Block] = list(scene.blocks)
        for k in kills:
            blocks[k] = Deadly(blocks[k], tmp_path / f"{kills}-{k}", pids)
        assert np.array_equal(workers.total(blocks, scene.V), scene.sum)
        assert all((tmp_path / f"{kills}-{k}").exists() for k in kills)
    scale(scene, 1)
    assert np.array_equal(workers.total(scene.blocks, scene.V), scene.sum)


def scale(scene, number: int) -> None:
    scene.cluster.scale(number)
    while len(scene.client.nthreads()) != number:
        time.sleep(0.02)


def test_a_fit_with_a_client_is_copied_and_sent_elsewhere(scene):
    rng, G = np.random.default_rng(4), rb.Genotypes.from_zarr(scene.folder / "set.zarr")
    data = pd.DataFrame({"id": np.arange(N), "y": 3.0 * scene.sum[:, 0] + rng.normal(size=N)})
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, G))", data, {"G": G}, engine="stochastic", client=scene.client)
    fit = model.fit(progress=False, probes=4, max_iterations=2)
    said = str(model.describe())
    assert re.search(r"products with genotypes on \d Dask workers? with \d threads?: .* s a pass of 16", said)
    for again, there in ((copy.deepcopy(fit), scene.client), (pickle.loads(pickle.dumps(fit)), None)):
        assert again._equations.asked.client is there
        np.testing.assert_array_equal(again.random_effects["estimate"], fit.random_effects["estimate"])


def test_single_step_has_its_genotypes_multiplied_on_workers(scene):
    """The rest of H on the driver: the same bits as without a client."""
    rng, G = np.random.default_rng(4), rb.Genotypes.from_zarr(scene.folder / "set.zarr")
    names = np.array([*(f"p{k}" for k in range(100)), *map(str, range(1, N)), None], dtype=object)
    n = len(names) - 1
    pedigree = rb.Pedigree(names[:-1], names[np.where(np.arange(n) < 40, -1, rng.integers(0, 40, n))], [None] * n)
    H = rb.SingleStep(pedigree, rb.genomic_relationship(G, formed=False), missing="drop")
    data = pd.DataFrame({"id": names[:-1], "y": rng.normal(size=n)})
    spec = rb.MixedModel("y ~ 1 + (1 | vm(id, H))", data, {"H": H}, engine="stochastic").specification
    V = rng.normal(size=(n, 5))
    found = [Products(spec, where).multiply(spec.random[0], V) for where in (DaskWorkers(scene.client), Threads())]
    np.testing.assert_array_equal(*found)
    np.testing.assert_allclose(found[0], H.multiply(V), rtol=0, atol=1e-12 * np.abs(found[0]).max())
    assert not H.is_formed


def test_a_worker_without_the_memory_for_a_product_is_named_before_it_is_tried(scene, monkeypatch):
    """20 MB of V and at least twice that for a thread, and more for two."""
    V = np.zeros((N, 12_500))
    told = scene.client.scheduler_info(n_workers=-1)
    address = next(iter(told["workers"]))
    for threads, limit, enough in ((1, 59e6, False), (1, 61e6, True), (2, 99e6, False), (2, 101e6, True)):
        told["workers"][address].update(memory_limit=int(limit), nthreads=threads)
        monkeypatch.setattr(scene.client, "scheduler_info", lambda n_workers: told)
        workers = DaskWorkers(scene.client, patience=60)
        if enough:
            workers._require_memory(V)
            continue
        with pytest.raises(rb.WorkersError, match=rf"12,500 columns of 200 .*{threads} threads, and {address} has a"):
            workers.total(scene.blocks, V)


def test_a_worker_that_is_gone_before_it_has_said_its_version_is_passed_over(scene, monkeypatch):
    real = scene.client.nthreads
    answers = iter([{**real(), "tcp://127.0.0.1:9": 1}])
    monkeypatch.setattr(scene.client, "nthreads", lambda: next(answers, None) or real())
    DaskWorkers(scene.client, patience=20)  # whose error it would be after so many seconds


def test_a_worker_that_dies_again_and_again(scene):
    """Three of them: Dask may not start one again that is killed in the moment in which it reports."""
    scale(scene, 0)
    scale(scene, 3)
    before, scene.cluster.scheduler.allowed_failures = scene.cluster.scheduler.allowed_failures, 1
    try:
        with pytest.raises(rb.WorkersError, match=r"ended again and again.*memory_limit="):
            DaskWorkers(scene.client, patience=60).total([Deadly(scene.blocks[0], None)], scene.V)
    finally:
        scene.cluster.scheduler.allowed_failures = before
        scale(scene, 0)
        scale(scene, 1)


def test_errors_of_blocks_come_back_as_such(scene):
    G = rb.Genotypes.from_zarr(scene.folder / "set.zarr")
    moved = genotype_blocks(G, coding(G, "vanraden1"), SIZE)
    scene.client.wait_for_workers(1, timeout=60)
    workers = DaskWorkers(scene.client, patience=60)
    (scene.folder / "set.zarr").rename(scene.folder / "elsewhere")
    try:
        with pytest.raises(rb.DataError, match=r"set\.zarr"):
            workers.total(moved, scene.V)
    finally:
        (scene.folder / "elsewhere").rename(scene.folder / "set.zarr")
    with pytest.raises(rb.WorkersError, match="the Dask cluster failed: ZeroDivisionError, in a block"):
        workers.total([Wrong()], scene.V)
    assert np.array_equal(workers.total(moved, scene.V), scene.sum)


def test_genotypes_in_the_memory_of_the_driver_are_not_sent(scene):
    blocks = genotype_blocks(scene.held, coding(scene.held, "vanraden1"))
    with pytest.raises(rb.WorkersError, match=r"to_zarr\(path\)"):
        DaskWorkers(scene.client).total(blocks, scene.V)
    for patience in (0, -1.0, "long", np.nan):
        with pytest.raises(rb.OptionError, match=r"patience=.* must be a number of seconds"):
            DaskWorkers(scene.client, patience)


def test_nothing_waits_for_ever(scene, tmp_path):
    """A product that does not move; then no workers, and no client."""
    with pytest.raises(rb.WorkersError, match=r"nothing has moved .* for 0\.5 seconds; 1 workers are there"):
        DaskWorkers(scene.client, patience=0.5).total([Slow(tmp_path / "enough")], scene.V)
    (tmp_path / "enough").touch()
    workers = DaskWorkers(scene.client, patience=0.2)
    scale(scene, 0)
    with pytest.raises(rb.WorkersError, match=r"has had no workers\. Start some"):
        DaskWorkers(scene.client)
    with pytest.raises(rb.WorkersError, match=r"has had no workers for 0\.2 seconds"):
        workers.total(scene.blocks, scene.V)
    scene.client.close()
    with pytest.raises(rb.WorkersError, match="the Dask client is closed"):
        workers.total(scene.blocks, scene.V)


def test_what_is_no_client(monkeypatch):
    machines = rb.datasets.load("machines")
    with pytest.raises(
        rb.OptionError, match="client= shares products with genotypes, and no term of this model has any"
    ):
        rb.MixedModel("score ~ Machine + (1 | Worker)", machines, engine="stochastic", client=object()).fit()
    with pytest.raises(rb.OptionError, match=r"takes a dask\.distributed\.Client.*not a str"):
        DaskWorkers("tcp://127.0.0.1:8786")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(rb.DependencyError, match=r'pip install "remlblup\[distributed\]"'):
        DaskWorkers(object())
