"""Speed of a VanRaden matrix from a .bed file: ``python -m remlblup.validation.benchmarks.genomic``.

The yardstick is the rate of a large dgemm with all cores. The genomic matrix is timed whole: reading and decoding the
.bed (twice: counts first), standardising, products. Its rate counts n(n + 1)m operations, those of one triangle, so
that a ratio of 1 is dgemm itself; ``2n²m`` counts what a plain product Z Z' would take. Runs of both alternate, and
the least times are compared, for other processes only ever add to them.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import remlblup as rb
from remlblup.linalg.threads import n_threads
from remlblup.validation.benchmarks import machine


def main(argv: Sequence[str] | None = None) -> int:
    """Print the rates. Returns 0 if the ratio reaches one half, else 1."""
    options = _parser().parse_args(argv)
    for line in machine.facts():
        print(line)
    with tempfile.TemporaryDirectory() as folder:
        path = write_bed(Path(folder) / "simulated.bed", options.individuals, options.markers)
        genotypes = rb.Genotypes.from_bed(path)
        print(genotypes, flush=True)
        rb.genomic_matrix(genotypes.select(markers=genotypes.markers[:64]))  # compiles, or loads the compiled loops
        base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours, dgemm = [], []
        for _ in range(options.repeats):
            dgemm.append(dgemm_seconds(options.order))
            started = time.perf_counter()
            rb.genomic_matrix(rb.Genotypes.from_bed(path), dtype=options.dtype, progress=False)
            ours.append(time.perf_counter() - started)
            print(f"  dgemm {2e-9 * options.order**3 / dgemm[-1]:6.1f} GF/s   matrix {ours[-1]:6.1f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    n, m = options.individuals, options.markers
    rate = 2e-9 * options.order**3 / min(dgemm)
    own = 1e-9 * n * (n + 1) * m / min(ours)
    print(
        f"dgemm {rate:.1f} GF/s with {n_threads()} threads; vanraden1 in {options.dtype} {own:.1f} GF/s in "
        f"{min(ours):.1f} s"
    )
    print(f"ratio {own / rate:.2f} of dgemm (2n²m: {2e-9 * n * n * m / min(ours) / rate:.2f})")
    print(
        f"peak memory {peak / 1024:.0f} MiB, before {base / 1024:.0f}; K {n * n * 8 / 2**20:.0f}, "
        f"genotypes as float64 would be {n * m * 8 / 2**20:.0f}"
    )
    return 0 if own >= 0.5 * rate else 1


def write_bed(path: Path, n: int, m: int, seed: int = 1) -> Path:
    """A .bed of independent markers with frequencies from 0.05 to 0.95, 1 % missing; written in slices."""
    from bed_reader import to_bed

    rng = np.random.Generator(np.random.PCG64(seed))
    values = np.empty((n, m), dtype=np.int8, order="F")
    for j in range(m):
        p = rng.uniform(0.05, 0.95)
        u = rng.random(n, dtype=np.float32)
        column = (u < p * p).astype(np.int8) + (u < p * p + 2 * p * (1 - p))
        column[rng.integers(0, n, n // 100)] = -127
        values[:, j] = column
    to_bed(path, values, properties={"iid": [f"i{k}" for k in range(n)], "sid": [f"m{k}" for k in range(m)]})
    return path


def dgemm_seconds(order: int) -> float:
    """Seconds of one product of square matrices with the threads at hand."""
    from threadpoolctl import threadpool_limits

    rng = np.random.Generator(np.random.PCG64(2))
    A, B = rng.random((order, order)), rng.random((order, order))
    with threadpool_limits(n_threads(), user_api="blas"):
        A[:64, :64] @ B[:64, :64]
        started = time.perf_counter()
        A @ B
        return time.perf_counter() - started


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.benchmarks.genomic", description=__doc__)
    parser.add_argument("--individuals", type=int, default=5000)
    parser.add_argument("--markers", type=int, default=50_000)
    parser.add_argument("--order", type=int, default=4000, help="of the matrices of the dgemm")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    return parser


if __name__ == "__main__":
    sys.exit(main())
