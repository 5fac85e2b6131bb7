"""``engine="stochastic"`` and BOLT-REML on the same data, beside the exact answer: error and time.

    python -m remlblup.validation.benchmarks.stochastic [--individuals 5000] [--markers 10000] [--threads 2]

One genomic term, standardised markers, simulated with h² = .5; a .bed that both read. BOLT-REML (Loh et al. 2015, Nat
Genet 47:1385) is of Debian's package bolt-lmm; without its `bolt` that row is left out. The exact answer is the dense
engine's; `--no-exact` leaves it out where n × n matrices do not fit. Kernels are compiled before the clock starts.
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb


@dataclass
class Row:
    """h² by one program.

    Attributes
    ----------
    seconds : from the .bed to the estimates
    cpu_seconds : of all cores, which load by others does not change much
    """

    program: str
    h2: float
    std_error: float
    monte_carlo_error: float
    seconds: float
    cpu_seconds: float
    note: str = ""


def simulate(folder: Path, n: int, m: int, seed: int) -> None:
    """A .bed of independent markers, and a sum of effects of all of them with as much noise."""
    from bed_reader import to_bed

    rng = np.random.default_rng(seed)
    p, M = rng.uniform(0.05, 0.5, m), np.empty((n, m), dtype=np.int8, order="F")
    u = np.zeros(n)
    for j in range(0, m, 500):
        place = slice(j, min(j + 500, m))
        M[:, place] = rng.binomial(2, p[place], (n, place.stop - place.start))
        standard = (M[:, place] - 2.0 * p[place]) / np.sqrt(2.0 * p[place] * (1.0 - p[place]))
        u += standard @ rng.standard_normal(place.stop - place.start)
    names = [f"i{k}" for k in range(n)]
    properties = {"fid": names, "iid": names, "sid": [f"s{j}" for j in range(m)], "chromosome": ["1"] * m,
                  "bp_position": np.arange(1, m + 1) * 1000, "allele_1": ["A"] * m, "allele_2": ["C"] * m}  # fmt: skip
    to_bed(folder / "set.bed", M, properties=properties)
    y = u / u.std() + rng.standard_normal(n)
    pd.DataFrame({"FID": names, "IID": names, "y": y}).to_csv(folder / "y.txt", sep="\t", index=False)


def ours(folder: Path, engine: str) -> Row:
    """This package, from the .bed."""
    data = pd.read_csv(folder / "y.txt", sep="\t")
    started, cpu = time.perf_counter(), time.process_time()
    genotypes = rb.Genotypes.from_bed(folder / "set.bed")
    G = rb.genomic_relationship(genotypes, "vanraden2", formed=engine != "stochastic", progress=False)
    options = {"seed": 1} if engine == "stochastic" else {}
    fit = rb.MixedModel("y ~ 1 + (1 | vm(IID, G))", data, {"G": G}, engine=engine).fit(progress=False, **options)
    h2 = fit.function("vm(IID, G) / (vm(IID, G) + residual)")
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    drawn, error = fit._optimum.monte_carlo, np.nan
    if drawn is not None:
        slope = np.array([1.0 - h2.estimate, -h2.estimate]) / fit.theta.sum()
        error = float(np.sqrt(slope @ drawn.covariance @ slope))
    note = f"{len(fit.history) - 1} rounds"
    return Row(f"remlblup, {engine}", float(h2.estimate), float(h2.std_error), error, seconds, cpu, note)


def bolt(folder: Path, threads: int) -> Row | None:
    """BOLT-REML, which prints no Monte Carlo error."""
    program = shutil.which("bolt")
    if program is None:
        return None
    started, cpu = time.perf_counter(), _of_children()
    ran = subprocess.run(
        [program, f"--bfile={folder / 'set'}", f"--phenoFile={folder / 'y.txt'}", "--phenoCol=y", "--reml",
         f"--numThreads={threads}"], capture_output=True, text=True,
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - started, _of_children() - cpu
    found = re.findall(r"h2g[^:]*:\s*([\d.]+)\s*\(([\d.]+)\)", ran.stdout)
    if not found:
        said = (ran.stdout + ran.stderr).strip().splitlines()[-3:]
        return Row("BOLT-REML", np.nan, np.nan, np.nan, seconds, cpu, " / ".join(said))
    return Row("BOLT-REML", float(found[-1][0]), float(found[-1][1]), np.nan, seconds, cpu)


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.benchmarks.stochastic")
    parser.add_argument("--individuals", type=int, default=5000)
    parser.add_argument("--markers", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-exact", action="store_true", help="without the dense engine")
    given = parser.parse_args()
    rb.set_threads(given.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        simulate(folder, 60, 100, given.seed)
        ours(folder, "stochastic")
        simulate(folder, given.individuals, given.markers, given.seed)
        rows = [ours(folder, "stochastic"), bolt(folder, given.threads)]
        if not given.no_exact:
            rows.append(ours(folder, "dense"))
    table = pd.DataFrame([row for row in rows if row is not None])
    if not given.no_exact:
        exact = table.iloc[-1]
        table.insert(4, "away", (table["h2"] - exact["h2"]) / exact["std_error"])
    print(
        f"{given.individuals:,} x {given.markers:,}, {given.threads} threads; away: from the exact, in standard errors"
    )
    print(table.round(4).to_string(index=False))


if __name__ == "__main__":
    main()
