"""The dense engine on a GPU: the same numbers as this machine's, and how near an iteration comes to the card's rate.

    python -m remlblup.validation.benchmarks.gpu FOLDER
    PYTHONPATH=. python validation/benchmarks/gpu.py FOLDER        # from a checkout, without an installation

Genomic relationships of random markers, made on the card; one and three of them beside independent residuals. Measured
in the same run: matrix products of the card, potrf and potri of its library, factor and inverse of ours, iterations.
Every row is written as soon as it is there; what no longer fits into `--seconds` is left out and named.
"""

from __future__ import annotations

import argparse
import csv
import gc
import importlib
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup.linalg.device import libraries, recursive
from remlblup.linalg.device.libraries import Library
from remlblup.linalg.threads import n_threads

MARKERS, AT_ONCE = 10_000, 2_000
VARIANCES = (1.0, 0.6, 0.4)
# Seconds grow with the number of records to this power, those of making data to the other.
GROWTH, OF_DATA = 2.8, 2.1


def library_of(name: str) -> Library:
    """The library asked for; those that end in ``-cpu``, and numpy, try the script where there is no card."""
    if name == "auto":
        return libraries.found()
    if name == "numpy":
        return libraries.standard_library(importlib.import_module("array_api_compat.numpy"), "numpy")
    if name == "cupy":
        return libraries.cupy_library(importlib.import_module("array_api_compat.cupy"))
    return libraries.torch_library(
        importlib.import_module("array_api_compat.torch"), "cpu" if name.endswith("-cpu") else "cuda"
    )


def timed(library: Library, work: Callable[[], Any]) -> float:
    """Seconds until the card is done."""
    library.wait()
    started = time.perf_counter()
    work()
    library.wait()
    return time.perf_counter() - started


# -- data ------------------------------------------------------------------------------------------


class Data:
    """Records of n individuals, with breeding values by as many sets of markers as have been added."""

    def __init__(self, n: int, library: Library):
        self.library, self.rng = library, np.random.default_rng(n)
        self.frame = pd.DataFrame({"id": np.arange(n), "x": self.rng.normal(size=n)})
        self.frame["y"] = 2.0 + 0.5 * self.frame["x"] + self.rng.normal(size=n)
        self.relationships: dict[str, rb.Relationship] = {}

    def grown(self, terms: int) -> Data:
        """These with so many sets of markers."""
        for k in range(len(self.relationships), terms):
            K, u = genomic(len(self.frame), self.library, self.rng)
            self.frame["y"] += np.sqrt(VARIANCES[k]) * u
            self.relationships[f"K{k + 1}"] = rb.Relationship(K, self.frame["id"])
        return self

    def model(self, terms: int, device: str) -> rb.MixedModel:
        names = list(self.relationships)[:terms]
        formula = " + ".join(["y ~ x", *(f"(1 | vm(id, {name}))" for name in names)])
        return rb.MixedModel(formula, self.frame, self.relationships, engine="dense", device=device)


def genomic(n: int, library: Library, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """K = WW'/m of random markers, centred, as the card multiplies it, and u ~ N(0, K)."""
    xp, m = library.xp, min(MARKERS, 2 * n)
    K = xp.zeros((n, n), dtype=xp.float64, device=library.device)
    u = np.zeros(n)
    for start in range(0, m, AT_ONCE):
        codes = rng.integers(0, 3, (n, min(AT_ONCE, m - start)), dtype=np.int8)
        W = xp.astype(library.array(codes), xp.float64)
        W = W - xp.mean(W, axis=0, keepdims=True)
        W = W / xp.std(W, axis=0, keepdims=True) / m**0.5
        K += W @ W.T
        u += library.host(W @ library.array(rng.normal(size=(W.shape[1], 1))))[:, 0]
    return library.host(K), u


# -- the card's own rate -----------------------------------------------------------------------------


def product_rate(library: Library, n: int) -> float:
    """Flops a second of a product of two matrices of order n."""
    A = library.array(np.random.default_rng(0).normal(size=(n, n)))
    timed(library, lambda: A @ A)
    return 2.0 * n**3 / min(timed(library, lambda: A @ A) for _ in range(3))


def definite(library: Library, n: int) -> Any:
    """A positive definite matrix of order n that costs nothing to make."""
    xp = library.xp
    k = xp.arange(n, dtype=xp.float64, device=library.device)
    return 1.0 / (1.0 + xp.abs(k[:, None] - k[None, :])) + 4.0 * xp.eye(n, dtype=xp.float64, device=library.device)


def library_seconds(library: Library, n: int) -> dict[str, float]:
    """potrf and potri as the libraries have them, warm; potri is PyTorch's alone."""
    out = {}
    A = [definite(library, n)]
    out["potrf"] = min(timed(library, lambda: library.xp.linalg.cholesky(A[0])) for _ in range(2))
    A.clear()
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        return out
    if "torch" in library.xp.__name__ or torch.cuda.is_available():
        theirs = libraries.torch_library(
            importlib.import_module("array_api_compat.torch"), "cuda" if torch.cuda.is_available() else "cpu"
        )
        A.append(definite(theirs, n))
        out["torch_potrf"] = min(timed(theirs, lambda: torch.linalg.cholesky(A[0])) for _ in range(2))
        A[0] = torch.linalg.cholesky(A[0])
        out["torch_potri"] = timed(theirs, lambda: torch.cholesky_inverse(A[0]))
        A.clear()
        emptied(theirs)
    return out


def own_seconds(library: Library, n: int, tile: int | None = None) -> dict[str, float]:
    """Factor and inverse of ours."""
    made: list[recursive.RecursiveCholesky] = []
    A = definite(library, n)
    emptied(library)
    free = library.free()
    factor = timed(library, lambda: made.append(recursive.RecursiveCholesky(A, library, tile=tile)))
    inverse = timed(library, made[0].inverse)
    return {"factor": factor, "inverse": inverse, "beside": most_taken(library, free, n) / (8.0 * n * n)}


def emptied(library: Library) -> None:
    """Give back what the library keeps of the card's memory, and forget what it has held."""
    gc.collect()
    if "cupy" in library.xp.__name__:
        importlib.import_module("cupy").get_default_memory_pool().free_all_blocks()
    elif library.device == "cuda":
        cuda = importlib.import_module("torch").cuda
        cuda.empty_cache()
        cuda.reset_peak_memory_stats()


def most_taken(library: Library, free: float, n: int) -> float:
    """The most bytes that were taken beside a matrix of order n, since `free` were free and it was `emptied`."""
    if "cupy" in library.xp.__name__:  # its pool keeps what it has taken
        return free - float(importlib.import_module("cupy").cuda.runtime.memGetInfo()[0])
    if library.device == "cuda":
        return float(importlib.import_module("torch").cuda.max_memory_allocated()) - 8.0 * n * n
    return float("nan")


# -- fits --------------------------------------------------------------------------------------------


def fitted(data: Data, terms: int, device: str, library: Library) -> tuple[rb.Fit, dict[str, Any]]:
    """The fit, and where its time went."""
    model = data.model(terms, device)
    ready = timed(library, model.describe)
    found: list[rb.Fit] = []
    seconds = timed(library, lambda: found.append(model.fit(progress=False)))
    fit = found[0]
    steps = fit._optimum.iterations[1:]
    spent = {phase: sum(dict(row.phases)[phase] for row in steps) for phase in ("factor", "inverse", "solve")}
    return fit, {
        "records": len(data.frame), "relationships": terms, "device": device, "equations": ready, "fit": seconds,
        "iterations": len(steps), "step": float(np.median([row.seconds for row in steps])), **spent,
        "loglik": fit.loglik, "theta": list(map(float, fit.theta)), "converged": fit.converged,
        "where": fit._equations.stats.ordering,
    }  # fmt: skip


def sets(data: Data, terms: int) -> dict[str, Any]:
    """Make the data of so many relationships."""
    return {"sets": len(data.grown(terms).relationships)}


def figures(data: Data, terms: int, library: Library) -> dict[str, Any]:
    """Where the time of a fit on the card went."""
    return fitted(data, terms, "cuda", library)[1]


def agreement(n: int, library: Library, terms: int) -> dict[str, Any]:
    """How far apart the two devices end, in every number a user sees."""
    data = Data(n, library).grown(terms)
    (here, row), (there, own) = (fitted(data, terms, device, library) for device in ("cpu", "cuda"))
    effects = [fit.random_effects[["estimate", "pev"]].to_numpy() for fit in (here, there)]
    apart = np.abs(effects[0] - effects[1]).max(axis=0) / np.abs(effects[0]).max(axis=0)
    return own | {
        "seconds_here": row["fit"], "loglik_apart": abs(here.loglik - there.loglik) / abs(here.loglik),
        "theta_apart": float(np.max(np.abs(there.theta / here.theta - 1.0))),
        "std_error_apart": float(np.nanmax(np.abs(
            there.variance_components["std_error"] / here.variance_components["std_error"] - 1.0))),
        "effects_apart": float(apart[0]), "pev_apart": float(apart[1]),
    }  # fmt: skip


# -- the run -----------------------------------------------------------------------------------------


class Run:
    """What is measured, printed and written as it comes, within a time."""

    def __init__(self, folder: Path, seconds: float):
        self.folder, self.seconds, self.started = folder, seconds, time.perf_counter()
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)

    def measure(self, what: str, work: Callable[[], dict[str, Any]], n: int = 0) -> dict[str, Any] | None:
        """A row of the table; None where, for n records, it would not be done in time, or an error is its answer."""
        spent = time.perf_counter() - self.started
        power = OF_DATA if what.startswith("data") else GROWTH
        before = [row["took"] * (n / row["n"]) ** power for row in self.rows if row["what"] == what and row["n"]]
        expected = before[-1] if before else 0.0
        if spent + expected > self.seconds:
            print(f"{what}: left out, {spent:.0f} s are spent and it takes some {expected:.0f}", flush=True)
            return None
        try:
            found = work()
        except Exception as error:  # the rest of the run is worth having
            found = {"error": f"{type(error).__name__}: {error}"}
        took = time.perf_counter() - self.started - spent
        row = {"what": what, "n": n, "at": round(spent, 1), "took": round(took, 2), **found}
        self.rows.append(row)
        print(", ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)
        self.write()
        gc.collect()
        return None if "error" in found else row

    def fits(self, n: int, library: Library, matrices: list[int]) -> None:
        """Models of so many relationships, on the card."""
        data = Data(n, library)
        for terms in matrices:
            if self.measure(f"data, {terms}", partial(sets, data, terms), n):
                self.measure(f"fit, {terms}", partial(figures, data, terms, library), n)

    def write(self) -> None:
        (self.folder / "gpu.json").write_text(json.dumps(self.rows, indent=1, default=str))
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (self.folder / "gpu.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, columns)
            table.writeheader()
            table.writerows(self.rows)


def shown(value: Any) -> str:
    """A number as it is read."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return "[" + ", ".join(map(shown, value)) + "]" if isinstance(value, list) else str(value)


def print_table(rows: list[dict[str, Any]]) -> None:
    """The fits beside the rates of the card, a row each."""
    flops = next((row["flops_per_second"] for row in rows if "flops_per_second" in row), np.nan)
    print("records matrices iterations s/iteration iterations/s library's_potrf+potri our_factor+inverse"
          " share_of_potrf+potri share_of_products")  # fmt: skip
    for row in rows:
        if not row["what"].startswith("fit") or "error" in row:
            continue
        n, step = row["n"], row["step"]
        rate: dict[str, float] = {}
        for other in rows:
            if other["n"] == n and other["what"] in ("library", "ours"):
                rate |= other
        theirs = min(rate.get("potrf", np.inf), rate.get("torch_potrf", np.inf)) + rate.get("torch_potri", np.nan)
        own = rate.get("factor", np.nan) + rate.get("inverse", np.nan)
        told = [n, row["relationships"], row["iterations"], step, 1.0 / step, theirs, own, theirs / step]
        print(" ".join(map(shown, [*told, n**3 / flops / step])))


def machine(library: Library) -> dict[str, Any]:
    """What it is measured on."""
    return {
        "card": library.name, "free_gb": library.free() / 1e9, "python": platform.python_version(),
        "numpy": np.__version__, "remlblup": rb.__version__, "threads": n_threads(),
    }  # fmt: skip


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where gpu.csv and gpu.json are written")
    parser.add_argument("--library", choices=("auto", "cupy", "torch", "torch-cpu", "numpy"), default="auto")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 20_000, 40_000], help="records")
    parser.add_argument("--matrices", type=int, nargs="*", default=[1, 3], help="relationships in a model")
    parser.add_argument(
        "--agree", type=int, default=5_000, help="records of a fit that this machine makes too (0: none)"
    )
    parser.add_argument("--rates", type=int, default=20_000, help="order at which tiles are compared (0: not)")
    parser.add_argument("--tiles", type=int, nargs="*", default=[512, 1024, 2048])
    parser.add_argument("--seconds", type=float, default=420.0, help="what would take longer is left out")
    given = parser.parse_args()
    library = library_of(given.library)
    libraries.found = lambda: library
    run = Run(given.folder, given.seconds)
    run.measure("machine", lambda: machine(library))
    own_seconds(library, 2_000)  # loads what the library loads at first use
    if n := given.rates:
        run.measure("product", lambda: {"order": n, "flops_per_second": product_rate(library, n)})
        for tile in given.tiles:
            run.measure(f"ours, tiles of {tile}", partial(of_order, n, own_seconds, library, n, tile))
        if given.library == "auto":
            run.measure("ours, by the other library", partial(of_order, n, other_library, library, n))
    for terms in given.matrices if given.agree else ():
        run.measure(f"agreement, {terms}", partial(agreement, given.agree, library, terms))
    for n in given.sizes:
        run.measure("library", partial(of_order, n, library_seconds, library, n), n)
        run.measure("ours", partial(of_order, n, own_seconds, library, n), n)
        run.fits(n, library, given.matrices)
    print_table(run.rows)


def other_library(library: Library, n: int) -> dict[str, Any]:
    """Factor and inverse of ours by the library that was not taken."""
    other = library_of("torch" if "cupy" in library.xp.__name__ else "cupy")
    own_seconds(other, 2_000)
    return {"card": other.name, **own_seconds(other, n)}


def of_order(n: int, work: Callable[..., dict[str, float]], *args: Any) -> dict[str, Any]:
    """What is measured, with the order of the matrix."""
    return {"order": n, **work(*args)}


if __name__ == "__main__":
    main()
