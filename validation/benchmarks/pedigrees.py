"""How long the numbers of a large pedigree take, and how much memory.

    python -m remlblup.validation.benchmarks.pedigrees            # a million animals
    python -m remlblup.validation.benchmarks.pedigrees 1m 10m     # ten million as well: minutes

Pedigrees are those of the simulator (overlapping generations, one sire for 25 dams, 20 years). Kernels are compiled
before the clock starts; every case runs in a process of its own, and the least of `--repeats` runs is printed with the
machine's load, for other work on the machine lengthens them all.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np

SIZES = {"100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
_INVERSE_UP_TO = 2_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases named and print a line for each."""
    parser = argparse.ArgumentParser(prog="pedigrees", description="Seconds and memory of large pedigrees.")
    parser.add_argument("case", nargs="*", default=["1m"], help=f"of {', '.join(SIZES)}")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if unknown := [case for case in options.case if case not in SIZES]:
        print(f"No case {', '.join(unknown)}. Cases: {', '.join(SIZES)}.")
        return 2
    if options.here:
        print(line(options.case[0], *measure(SIZES[options.case[0]], max(options.repeats, 1))))
        return 0
    print(f"load of the machine at the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print("case     animals    sires  seconds: F, inverse, both    CPU s: F, inverse, both   mean F     peak MB")
    command = [sys.executable, __file__, "--here"]
    return max(subprocess.call([*command, "--repeats", str(options.repeats), case]) for case in options.case)


def measure(animals: int, repeats: int) -> tuple[int, int, np.ndarray, float, float]:
    """Animals, sires, least seconds (F, A⁻¹ by wall clock, then by processor; nan if not made), mean F, peak MB."""
    from remlblup.datasets.simulate import _breed
    from remlblup.relationship.descent import numerator

    _, _, sire, dam, _ = _breed(np.random.default_rng(1), animals, 20)
    numerator.inbreeding(sire[:5000], dam[:5000], "columns")
    taken = np.full((repeats, 4), np.nan)
    for run in range(repeats):
        clocks = [(time.perf_counter(), time.process_time())]
        F = numerator.inbreeding(sire, dam)
        clocks.append((time.perf_counter(), time.process_time()))
        if animals <= _INVERSE_UP_TO:
            numerator.inverse(sire, dam, F)
            clocks.append((time.perf_counter(), time.process_time()))
        steps = np.diff(np.array(clocks), axis=0)
        taken[run, : len(steps)], taken[run, 2 : 2 + len(steps)] = steps.T
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return animals, np.unique(sire[sire >= 0]).size, taken.min(axis=0), F.mean(), peak


def line(case: str, animals: int, sires: int, taken: np.ndarray, mean: float, peak: float) -> str:
    """One row of the table."""
    wall, processor = (f"{f:9.2f} {i:7.2f} {f + i:7.2f}" for f, i in taken.reshape(2, 2))
    return f"{case:5} {animals:10,} {sires:8,} {wall}  {processor}  {mean:.6f}  {peak:8,.0f}"


if __name__ == "__main__":
    sys.exit(main())
