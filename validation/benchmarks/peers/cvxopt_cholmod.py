"""CHOLMOD through cvxopt: the yardstick of a factorisation, not a program that fits.

Its row is the time of one analysis and `PER_ITERATION` numeric factorisations for every REML iteration of
remlblup, on the coefficient matrix C of the same case at its REML estimates (written by remlblup's own run).
The whole of remlblup, pedigree to BLUPs, should take no longer than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from remlblup.validation.benchmarks.model import Case
from remlblup.validation.benchmarks.peers.base import Answer, Available, Job, Peer, Report, rounds

PER_ITERATION = 3
"""Numeric factorisations counted per REML iteration: one factor, and two more for the selected inverse."""


@dataclass(frozen=True)
class Timing:
    """Seconds of the analysis (ordering included) and of one numeric factorisation."""

    analysis: float
    numeric: float
    mode: str

    def total(self, iterations: int) -> float:
        return self.analysis + PER_ITERATION * iterations * self.numeric

    def text(self, iterations: int) -> str:
        return f"{self.mode}: analysis {self.analysis:.3g} s + {PER_ITERATION} × {iterations} × {self.numeric:.3g} s"


class Cholmod(Peer):
    """CHOLMOD with its own orderings: AMD, and METIS where its library was built with it."""

    name = "cholmod"
    does = f"analysis + {PER_ITERATION} numeric factorisations of C × REML iterations of remlblup; no fit"
    package = ("cvxopt", "cvxopt")

    def can(self, case: Case) -> str:
        return ""

    def load(self) -> None:
        import cvxopt.cholmod

        assert cvxopt.cholmod

    def measure(self, job: Job, report: Report) -> None:
        if job.matrix is None:
            raise RuntimeError("no matrix: remlblup did not finish this case")
        C, stored = read_matrix(job.matrix)
        iterations = int(stored["iterations"])
        ordering = self.ordering(stored)
        best = self.best_mode(C, ordering, iterations)
        timings: list[Timing] = []
        for _ in rounds(job):
            timings.append(factorise(C, best, ordering))
            report("run", {"seconds": timings[-1].total(iterations)})
            report("memory", {"peak_mb": self.peak_memory()})
        middle = sorted(timings, key=lambda timing: timing.total(iterations))[len(timings) // 2]
        report("answer", Answer(method="", note=middle.text(iterations)).to_dict())

    def ordering(self, stored: Any) -> Callable[[], Any]:
        """Computes the order of elimination within the analysis; None leaves it to CHOLMOD."""
        return lambda: None

    def best_mode(self, C: Any, ordering: Callable[[], Any], iterations: int) -> int:
        """Supernodal or simplicial, whichever takes less in all."""
        return min((2, 0), key=lambda mode: factorise(C, mode, ordering).total(iterations))


class CholmodMetis(Cholmod):
    """CHOLMOD given the nested dissection of pymetis, whose time counts as analysis."""

    name = "cholmod-metis"
    does = "the same with the ordering of pymetis (its time included)"

    def available(self) -> Available:
        import importlib.util

        found = super().available()
        if found.version is not None and importlib.util.find_spec("pymetis") is None:
            return Available(None, "not installed: pip install pymetis")
        return found

    def ordering(self, stored: Any) -> Callable[[], Any]:
        import numpy as np

        columns = np.repeat(np.arange(len(stored["indptr"]) - 1), np.diff(stored["indptr"]))
        rows = stored["indices"]
        return lambda: nested_dissection(rows, columns, len(stored["indptr"]) - 1)


def nested_dissection(rows: Any, columns: Any, n: int) -> Any:
    """METIS' nested dissection of the pattern, as a cvxopt matrix."""
    import cvxopt
    import numpy as np
    import pymetis
    import scipy.sparse as sp

    off = rows != columns
    lower = sp.coo_array((np.ones(int(off.sum()), dtype=np.int8), (rows[off], columns[off])), shape=(n, n))
    graph = sp.csr_array(lower + lower.T)
    adjacency = pymetis.CSRAdjacency(graph.indptr.astype(np.int64), graph.indices.astype(np.int64))
    order = np.empty(n, dtype=np.int64)  # pymetis' own array is of a C type that cvxopt does not take
    order[:], _ = pymetis.nested_dissection(adjacency)
    return cvxopt.matrix(order)


def read_matrix(path: str) -> tuple[Any, dict[str, Any]]:
    """C as a cvxopt matrix (lower triangle), and what was stored with it."""
    import cvxopt
    import numpy as np

    with np.load(path) as file:
        stored = dict(file)
    n = len(stored["indptr"]) - 1
    columns = np.repeat(np.arange(n), np.diff(stored["indptr"]))
    parts = [cvxopt.matrix(stored["values"])]
    parts += [cvxopt.matrix(index.astype(np.int64)) for index in (stored["indices"], columns)]
    return cvxopt.spmatrix(*parts, (n, n)), stored


def factorise(C: Any, mode: int, ordering: Callable[[], Any]) -> Timing:
    """Time one analysis and one numeric factorisation."""
    from cvxopt import cholmod

    cholmod.options["supernodal"] = mode
    start = time.perf_counter()
    order = ordering()
    if order is None:
        cholmod.options.pop("nmethods", None)
        factor = cholmod.symbolic(C)
    else:
        cholmod.options["nmethods"] = 1  # the order as given
        factor = cholmod.symbolic(C, p=order)
    middle = time.perf_counter()
    cholmod.numeric(C, factor)
    return Timing(middle - start, time.perf_counter() - middle, "supernodal" if mode == 2 else "simplicial")


OWN, METIS = Cholmod(), CholmodMetis()
