"""A large fit in a process of its own, killed after a while, and what is in its file then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import remlblup as rb

FORMULA = "y ~ sex + litter + (1 | vm(id, A))"
# Reads the model, says so, and prints what the fit says, numbers by their bits.
FITTING = """
import json, sys
import remlblup as rb
folder, checkpoint, formula = sys.argv[1:]
model = rb.MixedModel(formula, f"{folder}/data.csv", {"A": f"{folder}/pedigree.csv"})
print("ready", flush=True)
fit = model.fit(checkpoint=checkpoint or None, progress=False)
history = fit.history
numbers = history.drop(columns=["step", "boundary", "seconds"])
print(json.dumps({
    "theta": [v.hex() for v in fit.theta.tolist()], "loglik": fit.loglik.hex(), "verdict": str(fit.convergence),
    "history": [v.hex() for v in numbers.to_numpy(float).ravel().tolist()],
    "steps": list(history["step"]), "iterations": len(history) - 1, "seconds": float(history["seconds"].sum()),
}), flush=True)
"""


@dataclass
class Tally:
    """What has come of the kills.

    Attributes
    ----------
    rows : iterations in the file after each kill, of the fit under way
    finished : fits that came to their end, each after so many kills
    wrong : what was lost or differs, in words
    """

    rows: list[int] = field(default_factory=list)
    finished: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def write_inputs(folder: Path, animals: int, years: int) -> None:
    """Records and pedigree of a simulated flock."""
    flock = rb.simulate_flock(animals, n_years=years)
    flock.data.to_csv(folder / "data.csv", index=False)
    flock.pedigree.to_csv(folder / "pedigree.csv", index=False)


def start(folder: Path, checkpoint: Path | None) -> subprocess.Popen[str]:
    """A process that has read the model and begins to fit it."""
    arguments = [
        sys.executable,
        "-P",
        "-c",
        FITTING,
        str(folder),
        "" if checkpoint is None else str(checkpoint),
        FORMULA,
    ]
    fitting = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert fitting.stdout is not None and fitting.stdout.readline() == "ready\n"
    return fitting


def finish(fitting: subprocess.Popen[str]) -> dict:
    """What a fit that is not killed says."""
    assert fitting.stdout is not None
    said = json.loads(fitting.stdout.readline())
    fitting.wait()
    return said


def kill_after(fitting: subprocess.Popen[str], seconds: float) -> dict | None:
    """Kill a fit after so many seconds; what it says if it is done before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and fitting.poll() is None:
        time.sleep(0.005)
    if fitting.poll() == 0:
        return finish(fitting)
    os.kill(fitting.pid, signal.SIGKILL)
    fitting.wait()
    assert fitting.stdout is not None
    fitting.stdout.close()
    return None


def thetas(checkpoint: Path) -> np.ndarray:
    """θ of every iteration in the file; none without a file."""
    if not checkpoint.exists():
        return np.zeros((0, 0))
    with np.load(checkpoint, allow_pickle=False) as content:
        return content["0.theta"] if "0.theta" in content.files else np.zeros((0, 0))


def differs(said: dict, whole: dict) -> list[str]:
    """Names of what a fit says otherwise than the undisturbed one."""
    return [name for name in whole if name != "seconds" and said[name] != whole[name]]


def killed_while_fitting(folder: Path, kills: int, seed: int) -> tuple[dict, Tally]:
    """Kill a fit over and over, resume it each time, begin another when it is done; at last let it end."""
    whole, tally, checkpoint = finish(start(folder, None)), Tally(), folder / "fit.npz"
    print(f"undisturbed: {whole['iterations']} iterations in {whole['seconds']:.1f} s, {whole['verdict']}", flush=True)
    rng, known, since, span = np.random.default_rng(seed), thetas(checkpoint), 0, whole["seconds"]

    def done(said: dict) -> None:
        nonlocal known, since
        if names := differs(said, whole):
            tally.wrong.append(f"a fit killed {since} times ends otherwise: {names}")
        tally.finished.append(since)
        checkpoint.unlink()
        known, since = thetas(checkpoint), 0

    while len(tally.rows) < kills:
        seconds = rng.uniform(0.0, span)
        fitting, started = start(folder, checkpoint), time.monotonic()
        said = kill_after(fitting, seconds)
        if said is not None:
            # Nothing is left to kill after so long: the machine may be less busy than at first.
            span = min(span, time.monotonic() - started)
            done(said)
            continue
        since += 1
        now = thetas(checkpoint)
        if len(known) and not np.array_equal(now[: len(known)], known):
            tally.wrong.append(f"kill {len(tally.rows) + 1}, after {seconds:.1f} s: {len(known)} iterations were there")
        known = now
        tally.rows.append(len(now))
        print(
            f"kill {len(tally.rows):2d} after {seconds:6.1f} s: {max(len(now) - 1, 0)} iterations in the file",
            flush=True,
        )
    done(finish(start(folder, checkpoint)))
    return whole, tally
