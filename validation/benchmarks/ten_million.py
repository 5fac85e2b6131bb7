"""A large animal model on one machine, from the pedigree to BLUPs with reliabilities: time and memory of each phase.

    python -m remlblup.validation.benchmarks.ten_million                      # ten million animals
    python -m remlblup.validation.benchmarks.ten_million --animals 1000000    # or fewer

One trait, sex and 200 contemporary groups as fixed effects, the pedigree of `simulate.few_sires`. `--sires` is their
share of the animals: a factorisation takes the cube of their number, for they are related through everybody else. What
`describe()` predicts stands beside what was taken.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from typing import Any

from remlblup.validation.benchmarks import machine
from remlblup.validation.benchmarks.cases import ANIMAL
from remlblup.validation.benchmarks.growth import animals, forgotten_peak, peak_mb
from remlblup.validation.benchmarks.single_step import Clock


def job(frame: Any, table: Any, clock: Clock) -> Any:
    """The whole job on the data; the fit."""
    from remlblup import MixedModel, Pedigree

    pedigree = clock.time("pedigree", lambda: Pedigree(table["id"], table["sire"], table["dam"]))
    clock.time("inbreeding", lambda: pedigree.inbreeding)
    model = clock.time("model", lambda: MixedModel(ANIMAL.formula, frame, relationships={"A": pedigree}))
    description = clock.time("equations, their order", model.describe)
    print(description)
    fit = clock.time("fit", lambda: model.fit(progress=False))
    clock.time("BLUPs, reliabilities", lambda: fit.random_effects)
    print(f"predicted: {description.memory_text}")
    return fit


def main(argv: Sequence[str] | None = None) -> int:
    """Simulate, run, print; 1 if the fit did not converge."""
    from remlblup.validation.benchmarks.simulate import few_sires

    parser = argparse.ArgumentParser(prog="ten_million", description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--animals", type=int, default=10_000_000)
    parser.add_argument("--sires", type=float, default=0.0005, help="share of the animals (default: %(default)s)")
    options = parser.parse_args(argv)
    for line in machine.facts():
        print(line)
    animals(1_500)()  # loads and compiles
    data = few_sires(options.animals, options.sires)
    gc.collect()
    before = forgotten_peak()
    print(f"{options.animals:,} animals; data and libraries {before:,.0f} MB; the data are not timed")
    clock = Clock()
    fit = job(data.frame, data.pedigree, clock)
    clock.total()
    print(f"above data and libraries: {peak_mb() - before:,.0f} MB")
    print(fit.convergence)
    print(fit.variance_components.to_string(index=False))
    print(fit.random_effects.describe().to_string())
    return 0 if fit.converged else 1


if __name__ == "__main__":
    raise SystemExit(main())
