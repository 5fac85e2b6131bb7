"""The positive definite engine: panels of L, factorised, solved with and selectively inverted."""

from __future__ import annotations

from collections.abc import Callable
from math import fsum

import numpy as np

from remlblup.linalg import inverse_multifrontal, multifrontal
from remlblup.linalg.blas import CHARACTERS
from remlblup.linalg.factor import DEPENDENT_PIVOT
from remlblup.linalg.schedule import Schedule, cut
from remlblup.linalg.supernodes import Supernodes, find_supernodes, places_in_panels
from remlblup.linalg.symbolic import Symbolic, inverse_permutation
from remlblup.linalg.threads import n_threads, pool


def side_by_side(run: Callable[[int, int, bool], int], schedule: Schedule) -> list[int]:
    """Run a kernel over every subtree, the largest first, on the threads at hand."""
    tasks = [(int(schedule.start[k]), int(schedule.stop[k]), False) for k in schedule.order]
    if len(tasks) < 2 or n_threads() < 2:
        return [run(*task) for task in tasks]
    return list(pool().map(lambda task: run(*task), tasks))


class SupernodalFactor:
    """``P C P' = L L'`` by the supernodal multifrontal method.

    Parameters
    ----------
    symbolic : Symbolic
        Order of elimination (a postorder) and pattern of L.
    rows, columns : ndarray
        Row and column of every entry of the lower triangle of C.
    """

    def __init__(self, symbolic: Symbolic, rows: np.ndarray, columns: np.ndarray) -> None:
        permutation = symbolic.ordering.permutation
        self.n = len(permutation)
        self.permutation = permutation
        self.supernodes: Supernodes = find_supernodes(symbolic.parent, symbolic.counts, symbolic.indptr, symbolic.rows)
        place_of = inverse_permutation(permutation)
        self.places = panel_places(self.supernodes, place_of[rows], place_of[columns])
        self.diagonal = diagonal_places(self.supernodes)
        sn = self.supernodes
        self.panels = np.zeros(sn.panel_at[-1])
        self.reference = np.zeros(self.n)
        self.dependent = np.zeros(self.n, dtype=np.bool_)
        self.schedule = cut(sn)
        self._pending = np.empty(self.schedule.pending_at[-1])
        self._inverse: np.ndarray | None = None

    def factorize(self, values: np.ndarray) -> bool:
        """Factorise C; False if it is not positive (semi)definite."""
        sn = self.supernodes
        self.panels.fill(0.0)
        self.panels[self.places] = values
        np.abs(self.panels[self.diagonal], out=self.reference)
        self.dependent.fill(False)
        schedule = self.schedule

        def run(begin: int, end: int, top: bool) -> int:
            base = 0 if top else sn.update_at[end - 1]
            return multifrontal.factorize(
                begin, end, top, schedule.enter, schedule.pending_at, self._pending, sn.first, sn.rows_at, sn.panel_at,
                sn.parent, sn.relative, sn.n_children, sn.update_at, self.panels, self.reference, self.dependent,
                DEPENDENT_PIVOT, np.empty(sn.update_at[-1] - base), np.empty(sn.largest**2), CHARACTERS,
            )  # fmt: skip

        failed = side_by_side(run, schedule)
        return max(failed, default=-1) < 0 and run(0, sn.count, True) < 0

    @property
    def memory(self) -> float:
        """Bytes of L, of the inverse and of the workspaces."""
        sn = self.supernodes
        return 8.0 * (2 * sn.panel_at[-1] + sn.update_at[-1] + sn.front_at[-1] + len(self.places)) + 8.0 * len(sn.rows)

    n_negative = 0

    @property
    def n_dependent(self) -> int:
        """Number of dependent equations."""
        return int(self.dependent.sum())

    @property
    def logdet(self) -> float:
        """log|C| over the independent equations, summed exactly."""
        return 2.0 * fsum(np.log(self.panels[self.diagonal][~self.dependent]).tolist())

    def solve(self, B: np.ndarray) -> np.ndarray:
        """C⁻¹ B for B (n, k)."""
        sn = self.supernodes
        work = np.ascontiguousarray(B[self.permutation])
        multifrontal.forward_solve(sn.first, sn.rows_at, sn.rows, sn.panel_at, self.panels, self.dependent, work)
        multifrontal.backward_solve(sn.first, sn.rows_at, sn.rows, sn.panel_at, self.panels, self.dependent, work)
        solution = np.empty_like(work)
        solution[self.permutation] = work
        return solution

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern of C."""
        sn = self.supernodes
        if self._inverse is None:
            self._inverse = np.empty_like(self.panels)
        inverse, schedule = self._inverse, self.schedule
        largest = int(np.max(np.diff(sn.panel_at), initial=1))
        itself = np.arange(sn.largest, dtype=np.int32)

        def run(begin: int, end: int, top: bool) -> int:
            base = 0 if top else sn.front_at[end - 1]
            inverse_multifrontal.selected_inverse(
                begin, end, top, schedule.leave, schedule.pending_at, self._pending, itself, sn.first, sn.rows_at,
                sn.panel_at, sn.parent, sn.relative, sn.n_children, sn.front_at, self.panels, self.dependent, inverse,
                np.empty(sn.front_at[-1] - base), np.empty(sn.largest**2), np.empty(largest), CHARACTERS,
            )  # fmt: skip
            return 0

        run(0, sn.count, True)
        side_by_side(run, schedule)
        return self._inverse[self.places]


def panel_places(sn: Supernodes, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Position in the panels of the entry of C at places (first[i], second[i]) of the elimination."""
    supernode_of = np.repeat(np.arange(sn.count, dtype=np.int32), np.diff(sn.first))
    return places_in_panels(supernode_of, sn.first, sn.rows_at, sn.rows, sn.panel_at, first, second)


def diagonal_places(sn: Supernodes) -> np.ndarray:
    """Position in the panels of every diagonal element."""
    columns = np.arange(sn.first[-1])
    return panel_places(sn, columns, columns)
