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
    print("case     animals    sires  inbreeding s  inverse s  together s  mean F     peak MB")
    command = [sys.executable, __file__, "--here"]
    return max(subprocess.call([*command, "--repeats", str(options.repeats), case]) for case in options.case)


def measure(animals: int, repeats: int) -> tuple[int, int, float, float, float, float]:
    """Animals, sires, least seconds of F and of A⁻¹ (nan if not made), mean F and peak megabytes."""
    from remlblup.datasets.simulate import _breed
    from remlblup.relationship import numerator

    _, _, sire, dam, _ = _breed(np.random.default_rng(1), animals, 20)
    first = slice(0, 5000)
    numerator.inbreeding(sire[first], dam[first], "columns")
    walks, inverses = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        F = numerator.inbreeding(sire, dam)
        walks.append(time.perf_counter() - start)
        if animals <= _INVERSE_UP_TO:
            start = time.perf_counter()
            numerator.inverse(sire, dam, F)
            inverses.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return animals, np.unique(sire[sire >= 0]).size, min(walks), min(inverses, default=np.nan), F.mean(), peak


def line(case: str, animals: int, sires: int, walk: float, inverse: float, mean: float, peak: float) -> str:
    """One row of the table."""
    return f"{case:5} {animals:10,} {sires:8,}  {walk:12.2f}  {inverse:9.2f}  {walk + inverse:10.2f}  {mean:.6f}  {peak:8,.0f}"


if __name__ == "__main__":
    sys.exit(main())
