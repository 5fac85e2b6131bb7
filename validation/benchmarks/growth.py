"""How time and memory grow: ``python -m remlblup.validation.benchmarks.growth --plot growth.png --out growth.csv``.

Each point is a whole job (pedigree, model, fit, random and fixed effects) in a process of its own: the median of the
runs after the first, and the memory above what the data and the libraries take. The exponent b of time ~ size^b is that
of a straight line through the upper half of the points on logarithmic axes.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Runs after the first, and the seconds from which on one is enough.
REPEATS, LONG = 3, 10.0


@dataclass(frozen=True)
class Series:
    """Jobs that differ in one size.

    Attributes
    ----------
    axis : what grows
    sizes : the points
    job : size → what is run; made in the process that times it
    """

    axis: str
    sizes: tuple[int, ...]
    job: Callable[[int], Callable[[], Any]]


@dataclass(frozen=True)
class Point:
    """One job: seconds, MB above the data, iterations, and ℓ."""

    series: str
    size: int
    seconds: float
    mb: float
    iterations: int
    loglik: float


# -- the jobs --------------------------------------------------------------------------------


def whole(model: Any) -> Any:
    """The fit of a model, and its tables."""
    fit = model.fit(progress=False)
    assert fit.converged and len(fit.random_effects) and len(fit.fixed_effects)
    return fit


def animals(n: int) -> Callable[[], Any]:
    """An animal model of n animals with few sires."""
    import remlblup as rb
    from remlblup.validation.benchmarks.simulate import few_sires

    data = few_sires(n, 0.002)
    table = data.pedigree
    assert table is not None

    def run() -> Any:
        pedigree = rb.Pedigree(table["id"], table["sire"], table["dam"])
        return whole(rb.MixedModel("y ~ sex + cg + (1 | vm(id, A))", data.frame, {"A": pedigree}))

    return run


def records(n: int) -> Callable[[], Any]:
    """n ratings of 500 lecturers by 2,000 students, crossed."""
    import remlblup as rb
    from remlblup.validation.benchmarks.simulate import insteval_shape

    frame = insteval_shape(n, 2_000, 500, 10).frame
    return lambda: whole(rb.MixedModel("y ~ service + (1 | s) + (1 | d) + (1 | dept_service)", frame))


def traits(t: int) -> Callable[[], Any]:
    """t traits of 2,000 animals, all covariances free."""
    import numpy as np

    import remlblup as rb
    from remlblup.validation.benchmarks.simulate import breed, gene_drop

    n = 2_000
    rng = np.random.Generator(np.random.PCG64(7))
    cohort, male, sire, dam = breed(rng, n, 20)
    root = np.linalg.cholesky(0.5 * np.eye(t) + 0.5)
    own = np.column_stack([gene_drop(rng, cohort, sire, dam, 40.0) for _ in range(t)]) @ root.T
    y = own + rng.normal(0.0, 8.0, (n, t)) @ root.T
    import pandas as pd

    ids = np.arange(1, n + 1)
    names = [f"y{k}" for k in range(1, t + 1)]
    frame = pd.DataFrame(y, columns=names).assign(id=ids, sex=np.array(["F", "M"])[male.astype(int)])

    def run() -> Any:
        pedigree = rb.Pedigree(ids, sire + 1, dam + 1)
        if t == 1:
            return whole(rb.MixedModel("y1 ~ sex + (1 | vm(id, A))", frame, {"A": pedigree}))
        formula = f"c({', '.join(names)}) ~ trait + trait:sex + us(trait | vm(id, A))"
        return whole(rb.MixedModel(formula, frame, {"A": pedigree}, residual="us(trait | units)"))

    return run


def dense(n: int) -> Callable[[], Any]:
    """n individuals with a genomic matrix."""
    import numpy as np
    import pandas as pd

    import remlblup as rb

    rng = np.random.Generator(np.random.PCG64(8))
    markers = rng.integers(0, 3, (n, 2 * n)) - 1.0
    K = markers @ markers.T / (2 * n) + 0.01 * np.eye(n)
    u = markers @ rng.normal(0.0, 1.0 / np.sqrt(2 * n), 2 * n)
    names = [f"i{k}" for k in range(n)]
    frame = pd.DataFrame({"y": 10.0 + u + rng.standard_normal(n), "line": names})
    return lambda: whole(rb.MixedModel("y ~ 1 + (1 | vm(line, G))", frame, {"G": rb.Relationship(K, names)}))


SERIES = {
    "animals": Series("animals", (2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000), animals),
    "records": Series(
        "records, 2,000 × 500 levels", (5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000), records
    ),
    "traits": Series("traits of 2,000 animals", (1, 2, 3, 4, 5, 6), traits),
    "dense": Series("individuals with a genomic matrix", (250, 500, 1_000, 2_000, 3_000, 4_000), dense),
}


# -- measuring -------------------------------------------------------------------------------


def measured(series: str, size: int) -> Point:
    """A point, in this process."""
    run = SERIES[series].job(size)
    animals(1_500)()  # what the libraries and the compiled functions take is no part of the growth
    before = forgotten_peak()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) <= REPEATS and sum(seconds) < LONG):
        started = time.perf_counter()
        fit = run()
        seconds.append(time.perf_counter() - started)
        if len(seconds) == 1:
            memory = peak_mb() - before
    later = sorted(seconds[1:])
    return Point(series, size, later[len(later) // 2], memory, int(fit.convergence.iterations), float(fit.loglik))


def forgotten_peak() -> float:
    """MB resident now; the largest number up to now is forgotten, where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return peak_mb()
    return status_mb("VmRSS")


def peak_mb() -> float:
    """MB of the largest resident memory since."""
    try:
        return status_mb("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def status_mb(name: str) -> float:
    """A line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024.0 for line in lines if line.startswith(name))


def points(names: Sequence[str], largest: float) -> Iterator[Point]:
    """Every point of some series, each in a process of its own."""
    for name in names:
        for size in SERIES[name].sizes:
            if size <= largest:
                command = [sys.executable, "-P", "-m", __spec__.name, "--point", name, str(size)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
                yield Point(**json.loads(done.stdout.splitlines()[-1]))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of values ~ size^b over the upper half of the sizes."""
    import numpy as np

    if len(sizes) < 2:
        return float("nan")
    upper = slice(len(sizes) // 2, None) if len(sizes) > 3 else slice(None)
    return float(np.polyfit(np.log(sizes[upper]), np.log(values[upper]), 1)[0])


# -- showing ---------------------------------------------------------------------------------


def draw(found: Sequence[Point], path: Path) -> None:
    """Time above, memory below, a column for each series."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from remlblup.plot.style import BLUE, GREY, VERMILION, axes

    names = list(dict.fromkeys(point.series for point in found))
    figure, grid = plt.subplots(2, len(names), figsize=(3.3 * len(names), 5.6), layout="constrained", squeeze=False)
    rows = (("seconds", "time (s)", BLUE), ("mb", "memory (MB)", VERMILION))
    for column, name in enumerate(names):
        own = [point for point in found if point.series == name]
        sizes = [point.size for point in own]
        for row, (attribute, label, colour) in enumerate(rows):
            ax, values = axes(grid[row, column]), [getattr(point, attribute) for point in own]
            ax.loglog(sizes, values, "o-", color=colour, markersize=4)
            ax.set_title(f"~ size^{exponent(sizes, values):.2f}", fontsize=9, color=GREY, loc="left")
            ax.set_ylabel(label if column == 0 else "")
            ax.set_xlabel(SERIES[name].axis if row else "")
            ticks = sizes if len(sizes) < 7 else sizes[::3]
            ax.set_xticks(ticks, list(map(shortened, ticks)))
            ax.minorticks_off()
    figure.savefig(path, dpi=150)
    plt.close(figure)


def shortened(size: int) -> str:
    """2000 as 2k, a million as 1M."""
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit:
            return f"{size / unit:g}{letter}"
    return str(size)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _parser().parse_args(argv)
    if options.point:
        print(json.dumps(vars(measured(options.point[0], int(options.point[1])))))
        return 0
    from remlblup.validation.benchmarks import machine

    for line in machine.facts():
        print(line)
    found = []
    for point in points(options.series or list(SERIES), options.largest):
        found.append(point)
        print(
            f"{point.series:8} {point.size:>9,} {point.seconds:9.4f} s {point.mb:8.0f} MB"
            f" {point.iterations:3} iterations  logL {point.loglik:.6f}",
            flush=True,
        )
    for name in dict.fromkeys(point.series for point in found):
        own = [point for point in found if point.series == name]
        sizes = [point.size for point in own]
        of_time, of_memory = (exponent(sizes, [getattr(p, what) for p in own]) for what in ("seconds", "mb"))
        print(f"{name}: time ~ size^{of_time:.2f}, memory ~ size^{of_memory:.2f}")
    if options.out:
        with open(options.out, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(vars(found[0])))
            writer.writeheader()
            writer.writerows(vars(point) for point in found)
    if options.plot:
        draw(found, Path(options.plot))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.benchmarks.growth", description=__doc__)
    parser.add_argument("--series", nargs="+", choices=list(SERIES), help="only these")
    parser.add_argument("--largest", type=float, default=float("inf"), help="no larger sizes than this")
    parser.add_argument("--out", metavar="FILE.csv", help="write the points")
    parser.add_argument("--plot", metavar="FILE.png", help="draw them")
    parser.add_argument("--point", nargs=2, metavar=("SERIES", "SIZE"), help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
