"""Workers killed at random moments of products, drivers at random moments of fits: the digits are to stay."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.equations.stochastic.blocks import genotype_blocks
from remlblup.equations.stochastic.workers import Threads
from remlblup.relationship.genomic.codings import coding
from remlblup.validation.checkpoint.kills import differs, finish, kill_after
from remlblup.validation.distributed.machines import Machines

WORKERS = 3
# Seconds after which a product that does not end has hung.
LIMIT = 600.0
WAYS = ("one worker", "two, one after the other", "all at once", "all at once, twice")
FITTING = """
import json, sys
import pandas as pd
import remlblup as rb
from dask.distributed import Client
folder, checkpoint, address = sys.argv[1:]
data = pd.read_csv(f"{folder}/data.csv", dtype={"animal": str})
G = rb.Genotypes.from_zarr(f"{folder}/set.zarr")
client = Client(address) if address else None
model = rb.MixedModel("y ~ 1 + (1 | vm(animal, G)) + (1 | herd)", data, {"G": G}, engine="stochastic", client=client)
print("ready", flush=True)
fit = model.fit(seed=1, checkpoint=checkpoint or None, progress=False)
numbers = fit.history.drop(columns=["step", "boundary", "seconds"], errors="ignore")
print(json.dumps({
    "theta": [v.hex() for v in fit.theta.tolist()], "verdict": str(fit.convergence),
    "effects": [v.hex() for v in fit.random_effects["estimate"].tolist()],
    "history": [v.hex() for v in numbers.to_numpy(float).ravel().tolist()],
    "seconds": float(fit.history["seconds"].sum()),
}), flush=True)
"""


def write_inputs(folder: Path, n: int, m: int) -> None:
    """A store of genotypes, and records of their sum with herds and noise."""
    rng = np.random.default_rng(0)
    M = rng.binomial(2, rng.uniform(0.1, 0.5, m), (n, m)).astype(np.int8)
    u = (M - M.mean(axis=0)) @ rng.standard_normal(m) / np.sqrt(0.36 * m)
    herd = rng.integers(0, 30, n)
    data = pd.DataFrame({"animal": np.arange(n), "herd": herd})
    data["y"] = u + 0.5 * rng.standard_normal(30)[herd] + rng.standard_normal(n)
    data.to_csv(folder / "data.csv", index=False)
    rb.Genotypes.from_matrix(M, ids=data["animal"]).to_zarr(folder / "set.zarr")


def workers_killed(folder: Path, kills: int, seed: int) -> list[str]:
    """So many products, in each of which workers are killed at random moments; what went wrong, in words."""
    genotypes, rng, wrong = rb.Genotypes.from_zarr(folder / "set.zarr"), np.random.default_rng(seed), []
    blocks = genotype_blocks(genotypes, coding(genotypes, "vanraden1"), 64)
    V = rng.standard_normal((len(genotypes), 64))
    expected = Threads().total(blocks, V)
    with Machines(WORKERS) as machines:
        workers = rb.DaskWorkers(machines.client, patience=LIMIT)
        for number in (1, 2, WORKERS):
            machines.scale(number)
            workers.total(blocks, V)  # what is read and compiled once for each worker
            began = time.monotonic()
            same = np.array_equal(workers.total(blocks, V), expected)
            usual = time.monotonic() - began
            print(f"{number} workers, undisturbed: {usual:.2f} s, same bits: {same}", flush=True)
            wrong += [] if same else [f"{number} workers: other bits"]
        for k in range(kills):
            machines.wait()
            way = WAYS[k % len(WAYS)]
            killer = threading.Thread(target=kill, args=(machines, way, rng.uniform(0.0, usual, 2)))
            began = time.monotonic()
            killer.start()
            same = np.array_equal(workers.total(blocks, V), expected)
            took = time.monotonic() - began
            killer.join()
            print(f"product {k + 1:2d}, {way}: {took:5.2f} s (undisturbed {usual:.2f}), same bits: {same}", flush=True)
            wrong += [] if same else [f"product {k + 1}, {way}: other bits"]
        print(f"{machines.killed} workers killed, as many started anew", flush=True)
    return wrong


def kill(machines: Machines, way: str, moments: np.ndarray) -> None:
    """Kill workers at their moments, in seconds from now."""
    for moment in moments if "twice" in way or "two" in way else moments[:1]:
        time.sleep(moment)
        machines.kill(WORKERS if "all" in way else 1)


def start(folder: Path, checkpoint: Path | None, address: str) -> subprocess.Popen[str]:
    """A driver that has read the model and begins to fit it."""
    arguments = [sys.executable, "-P", "-c", FITTING, str(folder), str(checkpoint or ""), address]
    fitting = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert fitting.stdout is not None and fitting.stdout.readline() == "ready\n"
    return fitting


def drivers_killed(folder: Path, kills: int, seed: int) -> list[str]:
    """Fits on a cluster, killed so many times and resumed; what went wrong, in words."""
    wrong, rng, checkpoint, since = [], np.random.default_rng(seed), folder / "fit.npz", 0
    with Machines(WORKERS) as machines:
        alone = finish(start(folder, None, ""))
        whole = finish(start(folder, None, machines.address))
        if names := differs(whole, alone):
            wrong.append(f"the fit on workers differs from that on threads: {names}")
        print(f"undisturbed: {whole['seconds']:.1f} s on workers, {alone['seconds']:.1f} s on threads", flush=True)
        for k in range(kills):
            seconds = rng.uniform(0.0, whole["seconds"])
            said = kill_after(start(folder, checkpoint, machines.address), seconds)
            since += said is None
            print(f"driver {k + 1}: {'killed' if said is None else 'was done'} after {seconds:.1f} s", flush=True)
            if said is not None:
                wrong += compared(said, whole, since)
                checkpoint.unlink()
                since = 0
        wrong += compared(finish(start(folder, checkpoint, machines.address)), whole, since)
    return wrong


def compared(said: dict, whole: dict, kills: int) -> list[str]:
    """What a fit says otherwise than the undisturbed one, in words."""
    names = differs(said, whole)
    print(f"a fit killed {kills} times: {'other digits' if names else 'the same digits'}", flush=True)
    return [f"a fit killed {kills} times ends otherwise: {names}"] if names else []
