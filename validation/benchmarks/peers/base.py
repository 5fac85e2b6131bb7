"""What every program of the benchmark offers, and how it is timed.

Modules of this folder import the programs, and numpy and pandas, only inside functions: the worker times `load`
in a process that holds nothing yet.
"""

from __future__ import annotations

import gc
import importlib.util
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any, ClassVar

from remlblup.validation.benchmarks.model import Case, Data, Model

SETTLED, MOST = 1.0, 50
"""Runs of milliseconds are repeated until this many seconds, or runs, are spent: the median of three says little."""

Report = Callable[[str, Mapping[str, Any]], None]
"""Takes an event of the worker, by name, with its values."""


@dataclass(frozen=True)
class Available:
    """The version of an installed program, or the reason why it cannot be used."""

    version: str | None
    reason: str = ""


@dataclass
class Answer:
    """What a fit found, so that speeds are compared on the same answer.

    Attributes
    ----------
    loglik : as the program maximised it, with all constants
    method : "REML" or "ML": which log-likelihood that is
    estimates : components by the labels of `Random.labels`, and "residual"
    loglik_ml, estimates_ml : those of an ML fit besides, from remlblup, for the programs that have only ML
    """

    loglik: float | None = None
    method: str = "REML"
    estimates: dict[str, float] = field(default_factory=dict)
    converged: bool | None = None
    iterations: int | None = None
    loglik_ml: float | None = None
    estimates_ml: dict[str, float] = field(default_factory=dict)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Job:
    """One program on one case.

    Attributes
    ----------
    repeats : timed runs after the first
    deadline : `time.monotonic()` after which no further run is begun
    matrix : file that the coefficient matrix at the estimates is written to (remlblup) and read from (CHOLMOD)
    """

    case: Case
    data: Data
    repeats: int
    deadline: float
    matrix: str | None = None

    @property
    def model(self) -> Model:
        return self.case.model


class Peer:
    """A program. `prepare` is not timed, `run` is: from data in memory to estimates and BLUPs.

    Attributes
    ----------
    name : in the table
    does : what a timed run includes
    package : distribution on PyPI and module, where it is a Python package
    """

    name: ClassVar[str]
    does: ClassVar[str]
    package: ClassVar[tuple[str, str] | None] = None

    def available(self) -> Available:
        """The version, or why not; nothing is imported."""
        assert self.package is not None
        distribution, module = self.package
        if importlib.util.find_spec(module) is None:
            return Available(None, f"not installed: pip install {distribution}")
        return Available(metadata.version(distribution))

    def can(self, case: Case) -> str:
        """Why the program cannot fit the model of the case; "" if it can."""
        return "no relationship matrices" if case.model.pedigree else ""

    def load(self) -> None:
        """Import the program."""
        assert self.package is not None
        importlib.import_module(self.package[1])

    def prepare(self, job: Job) -> Any:
        """Bring the data into the form that the program takes."""
        return job

    def run(self, task: Any) -> Any:
        """One timed run."""
        raise NotImplementedError

    def answer(self, job: Job, task: Any, result: Any) -> Answer:
        """What the last run found; not timed."""
        raise NotImplementedError

    def measure(self, job: Job, report: Report) -> None:
        """Time the first run and the repeats, and report every one of them."""
        task = self.prepare(job)
        for k in rounds(job):
            result = None
            gc.collect()  # the memory of the last run must not count twice
            start = time.perf_counter()
            result = self.run(task)
            report("run", {"seconds": time.perf_counter() - start})
            if k == 0:
                report("memory", {"peak_mb": self.peak_memory()})
                report("answer", self.answer(job, task, result).to_dict())
        self.finish(job, result)

    def finish(self, job: Job, result: Any) -> None:
        """After the last run."""

    def peak_memory(self) -> float:
        """Largest resident memory so far in MB, data included."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def rounds(job: Job) -> Iterator[int]:
    """0 for the first run, then 1, 2, …: `job.repeats` more, or as many as a second holds (`MOST` at most).

    Ends early where another run as long as the last would pass the deadline.
    """
    k, start = 0, time.monotonic()
    while True:
        begun = time.monotonic()
        yield k
        now = time.monotonic()
        enough = k >= job.repeats and (k >= MOST or now - start > SETTLED or job.repeats == 0)
        if enough or 2 * now - begun > job.deadline:
            return
        k += 1


def components(model: Model, blocks: list[Any], residual: float) -> dict[str, float]:
    """Estimates by label, from the covariance matrix of every random term in the order of the model."""
    values: dict[str, float] = {}
    for term, block in zip(model.random, blocks, strict=True):
        if term.slope is None:
            values[term.group] = float(block[0][0])
        else:
            values.update(zip(term.labels, map(float, (block[0][0], block[1][1], block[1][0])), strict=True))
    values["residual"] = float(residual)
    return values
