"""The phases of a single-step job, from pedigree and G to BLUPs with reliabilities: time and memory of each.

python -m remlblup.validation.benchmarks.single_step --animals 100000 --genotyped 5000
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from remlblup.validation.benchmarks.cases import ANIMAL
from remlblup.validation.benchmarks.growth import peak_mb
from remlblup.validation.benchmarks.model import Data


class Clock:
    """Seconds of every phase on the wall and of the processors, and the largest memory so far; printed as they end."""

    def __init__(self) -> None:
        self.phases: dict[str, tuple[float, float, float]] = {}

    def time(self, name: str, run: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = run()
        self.phases[name] = time.perf_counter() - wall, time.process_time() - cpu, peak_mb()
        self._line(name, *self.phases[name])
        return result

    def total(self) -> None:
        wall, cpu = (sum(phase[k] for phase in self.phases.values()) for k in (0, 1))
        self._line("total", wall, cpu, max(phase[2] for phase in self.phases.values()))

    @staticmethod
    def _line(name: str, wall: float, cpu: float, peak: float) -> None:
        print(f"{name:<28}{wall:>9.2f} s wall{cpu:>9.2f} s cpu{peak:>9.0f} MB peak", flush=True)


def job(data: Data, clock: Clock) -> Any:
    """The whole job on the data; the fit."""
    from remlblup import MixedModel, Pedigree, SingleStep

    def pedigree() -> Any:
        animals = Pedigree(data.pedigree["id"], data.pedigree["sire"], data.pedigree["dam"])
        assert len(animals.inbreeding)
        return animals

    animals = clock.time("pedigree, inbreeding", pedigree)
    H = clock.time("A22, blending, inverses", lambda: SingleStep(animals, data.genomic))
    model = clock.time("model", lambda: MixedModel(ANIMAL.formula, data.frame, relationships={"A": H}))
    fit = clock.time("fit", lambda: model.fit(progress=False))
    clock.time("BLUPs, reliabilities", lambda: fit.random_effects)
    clock.time("fixed effects", lambda: fit.fixed_effects)
    return fit


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, run, print; 1 if the fit did not converge."""
    from remlblup.validation.benchmarks.genotypes import genotyped_animals

    parser = argparse.ArgumentParser(prog="single_step", description=__doc__)
    parser.add_argument("--animals", type=int, default=100_000)
    parser.add_argument("--genotyped", type=int, default=5_000)
    options = parser.parse_args(argv)
    data = genotyped_animals(options.animals, options.genotyped)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} cores, load before the start {load}; the data are not timed")
    clock = Clock()
    fit = job(data, clock)
    clock.total()
    print(fit.convergence)
    print(fit.variance_components.to_string(index=False))
    return 0 if fit.converged else 1


if __name__ == "__main__":
    raise SystemExit(main())
