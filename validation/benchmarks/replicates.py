"""Seconds of replicates and of many responses: the bootstrap of a small and of a large model, refits of small models
one at a time, `fit_many` with one genomic matrix.

    python -m remlblup.validation.benchmarks.replicates [--workers 2] [--quick]

Runs these cases and prints a line for each, with the load of the machine before it; REMLBLUP_REFERENCE names the folder
with flock20k, which is left out without. Set OPENBLAS_NUM_THREADS=1. Where Rscript has lme4, its `bootMer` does the
bootstrap as well, in one process, and its `refit` the refits.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb


def sleepstudy(n: int, workers: int) -> str:
    """Refits of a random regression with a 2 × 2 matrix."""
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit(progress=False)
    fit.bootstrap(10, progress=False)
    started = time.perf_counter()
    out = fit.bootstrap(n, seed=1, workers=workers, progress=False)
    return f"sleepstudy, {n:,} refits, {workers} process(es): {time.perf_counter() - started:.1f} s; {out.note}"


LME4 = """
library(lme4)
m <- lmer(Reaction ~ Days + (Days | Subject), sleepstudy)
t <- system.time(b <- bootMer(m, function(f) c(fixef(f), getME(f, "theta")), nsim = {n}, seed = 1))
cat(sprintf("%.1f s; lme4 %s, R %s", t["elapsed"], packageVersion("lme4"), getRversion()))
"""


def boot_mer(n: int) -> str:
    """The same refits by lme4."""
    return f"sleepstudy, {n:,} refits by bootMer, one process: {of_r(LME4.format(n=n))}"


def of_r(script: str) -> str:
    """What a script in R prints, or why there is nothing."""
    program = shutil.which("Rscript")
    if program is None:
        return "there is no Rscript here"
    found = subprocess.run([program, "-e", script], capture_output=True, text=True)
    return f"not here ({found.stderr.strip().splitlines()[-1:]})" if found.returncode else found.stdout.strip()


SMALL = {
    "dyestuff": "Yield ~ 1 + (1 | Batch)",
    "sleepstudy": "Reaction ~ Days + (1 + Days | Subject)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
}


def one_by_one(n: int) -> str:
    """Refits to records simulated from the fit, each by itself."""
    out = []
    for name, formula in SMALL.items():
        fit = rb.MixedModel(formula, rb.datasets.load(name)).fit(progress=False)
        seconds = []
        for y in fit.simulate(n, seed=1).to_numpy().T:
            started = time.perf_counter()
            fit.refit(y)
            seconds.append(time.perf_counter() - started)
        out.append(f"{name} {1e3 * np.median(seconds):.2f}")
    return f"{n:,} refits one by one, median of milliseconds: {', '.join(out)}"


LME4_REFIT = """
library(lme4)
data(Dyestuff); data(sleepstudy); data(Penicillin)
m <- list(dyestuff = lmer(Yield ~ 1 + (1 | Batch), Dyestuff),
          sleepstudy = lmer(Reaction ~ Days + (Days | Subject), sleepstudy),
          penicillin = lmer(diameter ~ 1 + (1 | plate) + (1 | sample), Penicillin))
for (name in names(m)) {{
  y <- simulate(m[[name]], {n}, seed = 1)
  t <- sapply(y, function(one) {{ s <- proc.time()[["elapsed"]]; for (k in 1:5) refit(m[[name]], one)
                                 (proc.time()[["elapsed"]] - s) / 5 }})
  cat(sprintf("%s %.2f ", name, 1e3 * mean(t)))
}}
"""


def lme4_one_by_one(n: int) -> str:
    """The same by lme4."""
    found = of_r(LME4_REFIT.format(n=n))
    return f"lme4: the same, mean of milliseconds: {found.strip()}"


def flock(n: int, workers: int) -> str:
    """Refits of an animal model of 20,000 animals."""
    folder = Path(os.environ.get("REMLBLUP_REFERENCE", ""))
    if not (folder / "flock20k.csv").exists():
        return "flock20k: REMLBLUP_REFERENCE does not hold it"
    data, pedigree = pd.read_csv(folder / "flock20k.csv"), str(folder / "flock20k.pedigree.csv")
    fit = rb.MixedModel("y ~ sex + cg + (1 | vm(id, A))", data, {"A": pedigree}).fit(progress=False)
    started = time.perf_counter()
    out = fit.bootstrap(n, seed=1, workers=workers, progress=False)
    return f"flock20k, {n:,} refits, {workers} process(es): {time.perf_counter() - started:.1f} s; {out.note}"


def many(responses: int, lines: int = 400) -> str:
    """Responses of lines with one genomic matrix."""
    rng = np.random.default_rng(1)
    markers = rng.binomial(2, 0.3, (lines, 1000)).astype(float)
    centred = markers - markers.mean(axis=0)
    G = centred @ centred.T / 1000 + 0.01 * np.eye(lines)
    names, h2 = [f"l{k}" for k in range(lines)], rng.uniform(0.0, 0.8, responses)
    u = np.linalg.cholesky(G) @ rng.standard_normal((lines, responses))
    Y = u * np.sqrt(h2) + rng.standard_normal((lines, responses)) * np.sqrt(1.0 - h2)
    table = pd.DataFrame(Y, columns=[f"y{k}" for k in range(responses)])
    data, given = pd.DataFrame({"line": names}), {"G": rb.Relationship(G, names)}
    started = time.perf_counter()
    fits = rb.fit_many("~ 1 + (1 | vm(line, G))", data, table, given)
    found = fits.table
    seconds = time.perf_counter() - started
    return (
        f"fit_many, {responses:,} responses of {lines} lines: {seconds:.1f} s; "
        f"{int(found['converged'].sum()):,} converged"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    given = parser.parse_args()
    share = 20 if given.quick else 1
    cases = (
        lambda: many(10_000 // share),
        lambda: sleepstudy(10_000 // share, 1),
        lambda: sleepstudy(10_000 // share, given.workers),
        lambda: boot_mer(10_000 // share),
        lambda: one_by_one(200),
        lambda: lme4_one_by_one(40),
        lambda: flock(200 // share, given.workers),
    )
    for case in cases:
        load = os.getloadavg()[0]
        print(f"{case()} (load {load:.1f})", flush=True)


if __name__ == "__main__":
    main()
