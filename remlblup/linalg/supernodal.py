"""The positive definite engine: panels of L, factorised, solved with and selectively inverted."""

from __future__ import annotations

from math import fsum

import numpy as np

from remlblup.linalg import multifrontal
from remlblup.linalg.blas import CHARACTERS
from remlblup.linalg.factor import DEPENDENT_PIVOT
from remlblup.linalg.supernodes import Supernodes, find_supernodes, places_in_panels
from remlblup.linalg.symbolic import Symbolic, inverse_permutation


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
        self._arena = np.empty(sn.update_at[-1])
        self._work = np.empty(sn.largest**2)
        self._inverse: np.ndarray | None = None

    def factorize(self, values: np.ndarray) -> bool:
        """Factorise C; False if it is not positive (semi)definite."""
        sn = self.supernodes
        self.panels.fill(0.0)
        self.panels[self.places] = values
        np.maximum(self.reference, np.abs(self.panels[self.diagonal]), out=self.reference)
        self.dependent.fill(False)
        failed = multifrontal.factorize(
            sn.first, sn.rows_at, sn.panel_at, sn.parent, sn.relative, sn.n_children, sn.update_at, self.panels,
            self.reference, self.dependent, DEPENDENT_PIVOT, self._arena, self._work, CHARACTERS,
        )  # fmt: skip
        return failed < 0

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
        largest = int(np.max(np.diff(sn.panel_at), initial=1))
        multifrontal.selected_inverse(
            sn.first, sn.rows_at, sn.panel_at, sn.parent, sn.relative, sn.n_children, sn.front_at, self.panels,
            self.dependent, self._inverse, np.empty(sn.front_at[-1]), self._work, np.empty(largest), CHARACTERS,
        )  # fmt: skip
        return self._inverse[self.places]


def panel_places(sn: Supernodes, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Position in the panels of the entry of C at places (first[i], second[i]) of the elimination."""
    supernode_of = np.repeat(np.arange(sn.count, dtype=np.int32), np.diff(sn.first))
    return places_in_panels(supernode_of, sn.first, sn.rows_at, sn.rows, sn.panel_at, first, second)


def diagonal_places(sn: Supernodes) -> np.ndarray:
    """Position in the panels of every diagonal element."""
    columns = np.arange(sn.first[-1])
    return panel_places(sn, columns, columns)
