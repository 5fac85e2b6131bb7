"""``python -m remlblup.validation.benchmarks.dense_relationships``: genomic matrices beside what LAPACK takes.

One and three dense relationships, a record for each of n individuals: seconds of an iteration of V itself in units of
one Cholesky factorisation and inverse (potrf + potri) of order n, and of the whole spectral fit in units of one
eigendecomposition (syevd), interleaved in one process with the same number of BLAS threads.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import scipy.linalg


def simulate(n: int, components: int, markers: int, seed: int = 1) -> tuple[pd.DataFrame, dict[str, object]]:
    """Genomic matrices of independent sets of markers, and a trait to which each adds a third of the variance of e."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n)
    y = rng.normal(size=n)
    given: dict[str, object] = {}
    for k in range(components):
        M = rng.binomial(2, rng.uniform(0.05, 0.5, markers), (n, markers)).astype(float)
        M -= M.mean(axis=0)
        M /= np.sqrt(np.mean(M**2, axis=0) * markers)
        y += np.sqrt(1.0 / components) * (M @ rng.normal(size=markers))
        given[f"G{k + 1}"] = (M @ M.T + 1e-3 * np.eye(n), labels)
    return pd.DataFrame({"y": y, "id": labels}), given


def lapack(n: int) -> tuple[float, float, float]:
    """Seconds of potrf, potri and syevd of order n."""
    from remlblup.linalg.threads import controller, n_threads

    rng = np.random.default_rng(0)
    A = np.asfortranarray(rng.normal(size=(n, n)))
    A = np.asfortranarray(A @ A.T / n + np.eye(n))
    with controller().limit(limits=n_threads()):
        start = time.perf_counter()
        L, _ = scipy.linalg.lapack.dpotrf(A.copy(order="F"), lower=1, overwrite_a=1)
        factor = time.perf_counter() - start
        start = time.perf_counter()
        scipy.linalg.lapack.dpotri(L, lower=1, overwrite_c=1)
        inverse = time.perf_counter() - start
        start = time.perf_counter()
        scipy.linalg.eigh(A, driver="evd", overwrite_a=True, check_finite=False)
        return factor, inverse, time.perf_counter() - start


def fit(
    n: int, components: int, engine: str, data: pd.DataFrame, given: dict[str, object]
) -> tuple[float, float, int, float]:
    """Seconds of model and fit, of an iteration, the number of iterations, and the log-likelihood."""
    import remlblup as rb

    formula = "y ~ 1 + " + " + ".join(f"(1 | vm(id, G{k + 1}))" for k in range(components))
    start = time.perf_counter()
    result = rb.MixedModel(formula, data, given, engine=engine).fit(progress=False)
    seconds = time.perf_counter() - start
    assert result.converged, result.convergence
    return seconds, float(result.history["seconds"].iloc[1:].median()), len(result.history) - 1, result.loglik


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m remlblup.validation.benchmarks.dense_relationships", description=__doc__
    )
    parser.add_argument("--n", type=int, default=5000, help="individuals (5000)")
    parser.add_argument("--markers", type=int, default=6000, help="markers of each matrix (6000)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which medians are printed (3)")
    options = parser.parse_args()
    n = options.n
    one, three = (simulate(n, k, options.markers) for k in (1, 3))
    rows = []
    for _ in range(options.repeats):
        factor, inverse, eigen = lapack(n)
        row = {"potrf": factor, "potri": inverse, "syevd": eigen}
        for name, components, engine, (data, given) in (
            ("dense, 1", 1, "dense", one),
            ("spectral, 1", 1, "spectral", one),
            ("dense, 3", 3, "dense", three),
        ):
            whole, iteration, count, loglik = fit(n, components, engine, data, given)
            row |= {name: whole, f"{name}: iteration": iteration, f"{name}: iterations": count, f"{name}: logL": loglik}
        rows.append(row)
    table = pd.DataFrame(rows).median()
    print(table.to_string())
    both = table["potrf"] + table["potri"]
    for name in ("dense, 1", "dense, 3"):
        print(f"{name}: an iteration is {table[f'{name}: iteration'] / both:.2f} x (potrf + potri)")
    print(f"spectral, 1: model and fit are {table['spectral, 1'] / table['syevd']:.2f} x syevd")


if __name__ == "__main__":
    main()
