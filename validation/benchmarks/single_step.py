"""The phases of a single-step job, from pedigree and G to BLUPs with reliabilities: time and memory of each.

    python -m remlblup.validation.benchmarks.single_step --animals 100000 --genotyped 5000
    python -m remlblup.validation.benchmarks.single_step --animals 100000 --genotyped 20000 --engine stochastic

The second, by products, starts from a Zarr store of genotypes that another process has written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
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


def write(folder: Path, animals: int, genotyped: int, loci: int) -> None:
    """Records, pedigree and a store of genotypes."""
    from remlblup import Genotypes
    from remlblup.validation.benchmarks.genotypes import genotypes_of_animals

    data, M, ids = genotypes_of_animals(animals, genotyped, loci=loci)
    data.frame.to_parquet(folder / "data.parquet")
    data.pedigree.to_parquet(folder / "pedigree.parquet")
    Genotypes.from_matrix(M, ids=ids).to_zarr(folder / "set.zarr")


def job_by_products(folder: Path, clock: Clock) -> Any:
    """The whole job with nothing formed of the order of the genotyped squared; the fit."""
    import pandas as pd

    from remlblup import Genotypes, MixedModel, Pedigree, SingleStep, genomic_relationship

    frame, of_parents = (pd.read_parquet(folder / f"{name}.parquet") for name in ("data", "pedigree"))
    animals = Pedigree(of_parents["id"], of_parents["sire"], of_parents["dam"])
    clock.time("inbreeding", lambda: animals.inbreeding)
    G = clock.time(
        "genotypes, frequencies",
        lambda: genomic_relationship(Genotypes.from_zarr(folder / "set.zarr"), formed=False),
    )
    H = clock.time("tuning", lambda: SingleStep(animals, G))
    model = clock.time("model", lambda: MixedModel(ANIMAL.formula, frame, {"A": H}, engine="stochastic"))
    print(model.describe())
    fit = clock.time("fit", lambda: model.fit(progress=True, seed=1))
    clock.time("BLUPs", lambda: fit.random_effects)
    clock.time("fixed effects", lambda: fit.fixed_effects)
    products = fit._equations.products_of
    print(f"{products.passes} products with H of {products.columns:,} columns; H formed: {H.is_formed}")
    return fit


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, run, print; 1 if the fit did not converge."""
    from remlblup.validation.benchmarks.genotypes import LOCI, genotyped_animals

    parser = argparse.ArgumentParser(prog="single_step", description=__doc__)
    parser.add_argument("--animals", type=int, default=100_000)
    parser.add_argument("--genotyped", type=int, default=5_000)
    parser.add_argument("--loci", type=int, default=LOCI)
    parser.add_argument("--engine", choices=("sparse", "stochastic"), default="sparse")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.write:
        write(options.write, options.animals, options.genotyped, options.loci)
        return 0
    clock = Clock()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{len(os.sched_getaffinity(0))} cores, load before the start {load}; the data are not timed")
    if options.engine == "stochastic":
        with tempfile.TemporaryDirectory() as name:
            sizes = [f"--{size}={getattr(options, size)}" for size in ("animals", "genotyped", "loci")]
            subprocess.run([sys.executable, __file__, f"--write={name}", *sizes], check=True)
            fit = job_by_products(Path(name), clock)
    else:
        fit = job(genotyped_animals(options.animals, options.genotyped, loci=options.loci), clock)
    clock.total()
    print(fit.convergence)
    print(fit.variance_components.to_string(index=False))
    return 0 if fit.converged else 1


if __name__ == "__main__":
    raise SystemExit(main())
