"""The positive definite engine: panels of L, factorised, solved with and selectively inverted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from queue import SimpleQueue
from typing import TypeVar

import numpy as np

from remlblup.linalg.contract import DEPENDENT_PIVOT, DenseBlock
from remlblup.linalg.memory import require
from remlblup.linalg.sparse import inverse_multifrontal, large_fronts, multifrontal, panels, solves
from remlblup.linalg.sparse.dense_blocks import PlacedBlock
from remlblup.linalg.sparse.schedule import Task, make_schedule
from remlblup.linalg.sparse.supernodes import WIDE, Entries, Supernodes, by_supernode, places_in_panels
from remlblup.linalg.sparse.symbolic import Symbolic, inverse_permutation
from remlblup.linalg.threads import n_threads, side_by_side

ENTRIES = 500_000
"""Entries of C whose places a thread looks for at a time."""

LOADED, RUNS = 500_000, 16
"""Elements of panels and entries of C that are worth a thread, and runs of supernodes they make at most."""

T = TypeVar("T")


class SupernodalFactor:
    """``P C P' = L L'`` by the supernodal multifrontal method.

    Parameters
    ----------
    symbolic : Symbolic
        Order of elimination (a postorder) and pattern of L.
    rows, columns : ndarray
        Row and column of every entry of the lower triangle of C.
    beside : float
        Bytes needed beside the factor.
    blocks : sequence of DenseBlock
        Dense parts of C.
    """

    def __init__(
        self,
        symbolic: Symbolic,
        rows: np.ndarray,
        columns: np.ndarray,
        beside: float = 0.0,
        blocks: Sequence[DenseBlock] = (),
    ) -> None:
        self.permutation = symbolic.ordering.permutation
        self.n = len(self.permutation)
        self.supernodes, self.schedule = make_schedule(symbolic.supernodes, n_threads())
        sn = self.supernodes
        place_of = inverse_permutation(self.permutation)
        self.entries = entry_places(sn, place_of, rows, columns)
        self.diagonal = diagonal_places(sn)
        self.blocks = [PlacedBlock.of(block, place_of, sn) for block in blocks]
        self.reference = np.zeros(self.n)
        self.dependent = np.zeros(self.n, dtype=np.bool_)
        self._opened = np.zeros(sn.size, dtype=np.bool_)
        require(self.memory + beside, f"the model with a factor of {self.n:,} equations")
        self.panels = np.zeros(sn.panel_at[-1])
        self._runs, self._wide = runs_of(sn, self.entries), wide_columns(sn)
        self.rest()
        self._take_up()

    def rest(self) -> None:
        """Let go of the workspaces, until a factorisation or an inverse takes them up."""
        self._pending = self._workspace = np.empty(0)
        self._parts = 1

    def _take_up(self) -> None:
        """Workspaces, which are kept: the system may take long to find as much memory again in every iteration.

        The top and the subtrees are worked on one after the other.
        """
        if len(self._pending) < self.schedule.plan.pending_at[-1]:
            self._pending = np.empty(self.schedule.plan.pending_at[-1])
        parts = n_threads()  # once: another thread of the process may set another number at any time
        if len(self._workspace) < (elements := self._elements(parts)):
            self._workspace = np.empty(elements)
        self._parts = parts

    def factorize(self, values: np.ndarray) -> bool:
        """Factorise C, from its values and the coefficients of its blocks; False if not positive (semi)definite."""
        self._take_up()
        n_entries = len(self.entries.order)

        def load(begin: int, end: int) -> None:
            panels.load_matrix(begin, end, values, self.entries, self.supernodes.panel_at, self.panels)

        def clear(s: int, left: int, right: int) -> None:
            height = self.supernodes.rows_at[s + 1] - self.supernodes.rows_at[s]
            panels.clear_columns(
                self.panels[self.supernodes.panel_at[s] : self.supernodes.panel_at[s + 1]], height, left, right
            )

        side_by_side(clear, self._wide)
        side_by_side(load, self._runs)
        for block, coefficient in zip(self.blocks, values[n_entries:], strict=True):
            block.add(coefficient, self.supernodes, self.panels)
        np.abs(self.panels[self.diagonal], out=self.reference)
        self.dependent.fill(False)
        self._opened.fill(False)
        state = (
            self.supernodes,
            self.schedule.plan,
            self._pending,
            self.panels,
            self.reference,
            self.dependent,
            DEPENDENT_PIVOT,
            self._opened,
        )

        def subtree(task: Task, space: np.ndarray) -> int:
            return multifrontal.factorize(task.start, task.stop, False, *state, *split(space, task.for_factor))

        for turn in self.schedule.turns:
            failed = self._in_own(subtree, turn.subtrees)
            if max(failed, default=-1) >= 0:
                return False
            for root in turn.roots:
                update = self._pending.ctypes.data + 8 * int(self.schedule.plan.pending_at[root])
                large_fronts.extend_add(root, update, self.supernodes, self.panels, 0)
        return self._factorize_top(state)

    def _factorize_top(self, state: tuple) -> bool:
        """The supernodes above the subtrees, the large fronts among them by all threads."""
        workspace = split(self._workspace, self.schedule.top.for_factor)
        begin = 0
        for s in self.schedule.large:
            if multifrontal.factorize(begin, s, True, *state, *workspace) >= 0:
                return False
            if large_fronts.factorize(s, *state, *workspace) >= 0:
                return False
            begin = s + 1
        return multifrontal.factorize(begin, self.supernodes.size, True, *state, *workspace) < 0

    def _in_own(self, run: Callable[[Task, np.ndarray], T], tasks: list[Task]) -> list[T]:
        """Run a function on every task, in a part of the workspace that no other thread is in.

        The largest begin, each in a part of its size: those after them, which are smaller, have room in any. No more
        threads than there are parts are at work, so that one of these is free when a task is taken.
        """
        first, rest = largest(tasks, self._parts)
        parts = split(self._workspace, tuple(task.elements for task in first))
        free: SimpleQueue[np.ndarray] = SimpleQueue()

        def in_own(place: int, task: Task) -> T:
            space = parts[place] if place < len(parts) else free.get_nowait()
            try:
                return run(task, space)
            finally:
                free.put(space)

        return side_by_side(in_own, list(enumerate([*first, *rest])), at_once=len(parts))

    def _elements(self, parts: int) -> int:
        """Elements of the workspace, so many threads at work."""
        schedule = self.schedule
        top = max(sum(schedule.top.for_factor), sum((schedule.last if schedule.runs else schedule.top).for_inverse))
        apart = [schedule.runs, *(turn.subtrees for turn in schedule.turns)]
        return max(top, *(sum(task.elements for task in largest(tasks, parts)[0]) for tasks in apart))

    @property
    def kept(self) -> float:
        """Bytes of L and of where its entries stand, taken or not."""
        arrays = [
            *self.supernodes,
            *self.schedule.plan,
            *self.entries,
            self.permutation,
            self.diagonal,
            self.reference,
            self.dependent,
            self._opened,
        ]
        return float(sum(array.nbytes for array in arrays)) + 8.0 * float(
            self.supernodes.panel_at[-1] + self.schedule.plan.pending_at[-1] + self._elements(n_threads())
        )

    @property
    def memory(self) -> float:
        """Bytes of L, of the inverse and of the workspaces, taken or not."""
        return self.kept + 8.0 * len(self.entries.order)

    n_negative = 0

    @property
    def n_dependent(self) -> int:
        """Number of dependent equations."""
        return int(self.dependent.sum())

    @property
    def logdet(self) -> float:
        """log|C| over the independent equations, compensated sum."""
        return 2.0 * panels.log_determinant(self.panels, self.diagonal, self.dependent)

    def solve(self, B: np.ndarray) -> np.ndarray:
        """C⁻¹ B for B (n, k)."""
        if B.shape[1] == 0:
            return np.empty(B.shape)
        X, solution = self._forward(B), np.empty(B.shape)
        state = *self._state_of_solves, X, solution

        def backward(task: Task) -> None:
            solves.backward_solve(task.start, task.stop, False, *state)

        solves.backward_solve(0, self.supernodes.size, True, *state)
        side_by_side(backward, [(task,) for task in self.schedule.subtrees])
        return solution

    def products_of(self, B: np.ndarray) -> np.ndarray:
        """B'C⁻¹B = (L⁻¹B)'L⁻¹B for B (n, k)."""
        X = self._forward(B)[: self.n] if B.shape[1] else B
        return X.T @ X

    def _forward(self, B: np.ndarray) -> np.ndarray:
        """L⁻¹B, permuted, in the first n rows of what is found."""
        n, state = self.n, self._state_of_solves
        X, B = np.empty((n + int(self.schedule.plan.outer_at[-1]), B.shape[1])), np.ascontiguousarray(B)

        def forward(task: Task) -> None:
            solves.forward_solve(task.start, task.stop, False, *state, B, X, np.empty(n, np.int32))

        side_by_side(forward, [(task,) for task in self.schedule.subtrees])
        solves.forward_solve(0, self.supernodes.size, True, *state, B, X, np.empty(0, np.int32))
        return X

    @property
    def _state_of_solves(self) -> tuple:
        return self.supernodes, self.schedule.plan, self.panels, self.dependent, self.permutation

    def inverse_on_pattern(self) -> np.ndarray:
        """Entries of C⁻¹ at the pattern of C."""
        return self._inverse_at(self.entries)

    def inverse_diagonal(self) -> np.ndarray:
        """Diagonal of C⁻¹, (n,)."""
        sn, kind = self.supernodes, self.entries.places.dtype
        places = self.diagonal - np.repeat(sn.panel_at[:-1], np.diff(sn.first))
        return self._inverse_at(Entries(sn.first, self.permutation.astype(np.int32), places.astype(kind)))

    def _inverse_at(self, entries: Entries) -> np.ndarray:
        """C⁻¹ at some entries of the pattern of L."""
        self._take_up()
        values = np.empty(len(entries.order))
        state = self.supernodes, self.schedule.plan, self._pending, self.panels, self.dependent, entries, values

        def subtree(task: Task, space: np.ndarray) -> None:
            workspace = split(space, task.for_inverse)
            inverse_multifrontal.selected_inverse(task.start, task.stop, False, *state, *workspace)

        self._invert_top(state)
        for turn in self.schedule.turns:
            self._in_own(subtree, turn.subtrees)
        return values

    def _invert_top(self, state: tuple) -> None:
        """As `_factorize_top`, from the root down."""
        runs, end = self.schedule.runs, self.supernodes.size
        workspace = split(self._workspace, (self.schedule.last if runs else self.schedule.top).for_inverse)
        for s in reversed(self.schedule.large):
            inverse_multifrontal.selected_inverse(s + 1, end, True, *state, *workspace)
            large_fronts.selected_inverse(s, *state, *workspace)
            end = s
        if not runs:
            inverse_multifrontal.selected_inverse(0, end, True, *state, *workspace)
            return
        inverse_multifrontal.selected_inverse(runs[-1].stop, end, True, *state, *workspace)

        def run(task: Task, space: np.ndarray) -> None:
            own = split(space, task.for_inverse)
            inverse_multifrontal.selected_inverse(task.start, task.stop, True, *state, *own)

        self._in_own(run, runs)


def runs_of(sn: Supernodes, entries: Entries) -> list[tuple[int, int]]:
    """Begin and end of runs of supernodes whose panels and entries are about as many."""
    size = sn.panel_at + entries.starts
    number = min(max(int(size[-1]) // LOADED, 1), RUNS)
    at = np.searchsorted(size, np.linspace(0, int(size[-1]), number + 1)[1:-1]).tolist()
    return list(pairwise([0, *at, sn.size]))


def wide_columns(sn: Supernodes) -> list[tuple[int, int, int]]:
    """Runs of columns of the wide panels: supernode, begin and end."""
    size, width = np.diff(sn.panel_at), np.diff(sn.first)
    wide = np.flatnonzero(size >= WIDE).tolist()
    return [(s, *part) for s in wide for part in large_fronts.tiles(0, int(width[s]), large_fronts.COLUMNS)]


def largest(tasks: list[Task], number: int) -> tuple[list[Task], list[Task]]:
    """Those that need the largest workspaces, so many, and the rest in their order."""
    order = sorted(range(len(tasks)), key=lambda k: -tasks[k].elements)
    return [tasks[k] for k in order[:number]], [tasks[k] for k in sorted(order[number:])]


def split(space: np.ndarray, sizes: tuple[int, ...]) -> list[np.ndarray]:
    """Workspaces of these sizes, one behind the other."""
    return [space[stop - size : stop] for stop, size in zip(accumulate(sizes), sizes, strict=True)]


def entry_places(sn: Supernodes, place_of: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Entries:
    """Where the entries of C stand in the panels, of which every thread takes its share."""
    places = np.empty(len(rows), np.int32 if np.diff(sn.panel_at).max(initial=0) < 2**31 else np.int64)
    owners = np.empty(len(rows), np.int32)
    supernode_of = np.repeat(np.arange(sn.size, dtype=np.int32), np.diff(sn.first))
    place_of = place_of.astype(np.int32)

    def share(part: slice) -> None:
        places_in_panels(
            supernode_of,
            sn.first,
            sn.rows_at,
            sn.rows,
            place_of,
            rows[part],
            columns[part],
            owners[part],
            places[part],
        )

    side_by_side(share, [(slice(start, start + ENTRIES),) for start in range(0, len(rows), ENTRIES)])
    return by_supernode(sn.size, owners, places)


def diagonal_places(sn: Supernodes) -> np.ndarray:
    """Position in the panels of every diagonal element."""
    columns = np.arange(sn.first[-1])
    supernode_of = np.repeat(np.arange(sn.size), np.diff(sn.first))
    height = np.diff(sn.rows_at)[supernode_of]
    return sn.panel_at[supernode_of] + (columns - sn.first[supernode_of]) * (height + 1)
