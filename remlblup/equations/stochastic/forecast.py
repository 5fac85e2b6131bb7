"""What a fit by products will take: passes over the data, where they run, memory of a worker, time."""

from __future__ import annotations

from remlblup.equations.stochastic.blocks import MARKERS, Workers, genomic_part
from remlblup.equations.stochastic.probes import bytes_each
from remlblup.model.specification import Specification

# Columns that a pass takes together, and seconds of a core for each of its genotypes.
PANEL, SECONDS = 16, 1e-9
# Arrays of the size of V that a thread may hold: the product of a block, and sums that wait for others; and at least.
ARRAYS, LEAST = 5, 2


def forecast(spec: Specification, probes: int, most: int, workers: Workers, passes: int, columns: int) -> str:
    """In words, from sizes alone; a hard problem, of a heritability near one, takes several times as many passes."""
    genomic = {id(part): part for d in spec.random if (part := genomic_part(d.relationship)) is not None}
    usual, all_in = (count * bytes_each(spec) / 1e9 for count in (probes, most))
    said = (
        f"some {passes} products with V of {columns:,} columns in all; {probes} probes with {usual:,.3g} GB"
        f", or more while their error is large, up to {most:,} with {all_in:,.3g} GB for all or as many as memory does"
        " for"
    )
    if not genomic:
        return f"{said}; products on {workers.describe()}"
    shapes = [r.genotypes.shape for r in genomic.values()]
    threads = workers.threads
    one, each, whole = (pass_seconds(shapes, k, sum(threads)) for k in (PANEL, columns // passes, probes))
    memory = max(worker_memory(n, probes, max(threads)) for n, _ in shapes)
    return (
        f"{said}; products with genotypes on {workers.describe()}: {one:,.2g} s a pass of {PANEL} columns,"
        f" {whole:,.2g} s of {probes}, about {passes * each:,.2g} s in all for these products alone,"
        f" and up to {memory / 1e6:,.3g} MB a worker"
    )


def pass_seconds(shapes: list[tuple[int, int]], columns: int, threads: int) -> float:
    """One product K V of k columns with each relationship, n·m·⌈k/16⌉ nanoseconds of a core."""
    return sum(n * m for n, m in shapes) * -(-columns // PANEL) * SECONDS / threads


def worker_memory(individuals: int, columns: int, threads: int, arrays: int = ARRAYS) -> float:
    """Bytes: V, and for each thread arrays of its size and a block of genotypes at 2 bits."""
    V = 8.0 * individuals * columns
    return V + threads * (arrays * V + individuals * MARKERS / 4.0)
