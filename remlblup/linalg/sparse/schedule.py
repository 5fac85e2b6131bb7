"""Who works on what: subtrees of the elimination tree side by side, and large fronts by all threads together.

The tree is cut into disjoint subtrees of bounded work and the supernodes above them. Subtrees share nothing, so
threads may take them in any order; what they hand to the top is added there in postorder. Where many small
subtrees hang from one supernode (the twigs of a pedigree), runs of them become *batches*: a supernode without
columns, whose rows are those its children have between them, is set between them and their parent. Cut and
batches depend on the matrix alone: the digits are the same for any number of threads.

The last supernode of all is the root of most that is large, and a panel without rows below. The subtrees that hang
from it take *turns*, as many at a time as there are threads, or more where they are small: what one turn has for the
last panel is added there, in the order of the subtrees, before the next turn begins. So their update matrices, each of
the size of that panel, do not all stand side by side. Of the inverse the front of the last supernode stays for them to
read, mostly where the update matrices have been.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from remlblup.linalg.compiler import njit
from remlblup.linalg.sparse.supernodes import Supernodes, number_of_children, stack_places, with_relative_rows

SMALLEST_SHARE, LARGEST_SHARES = 0.004, (0.08, 0.25)
"""Shares of the work, large fronts apart, that a subtree may have;
the second largest share is tried after the first."""

ENOUGH = 0.7
"""Share of the work that the subtrees hold from which no larger ones are tried."""

WORTH_CUTTING, WORTH_SHARE = 3e7, 0.3
"""A matrix of less work, or whose subtrees hold less than this share of it, is not cut."""

WORTH_BATCH = 4.0
"""A batch has at least this many times the work of its own update matrix."""

NEARLY_ALL = 0.7
"""A batch that has this share of the rows of the last supernode is given all: its children read the front of that."""

LARGE_FRONT = 3e8
"""A front of this much work is done by all threads together."""

TOGETHER = 2**20
"""Elements of update matrices of the subtrees of a turn that are no burden, however few threads there are."""

RUNS = 16
"""Parts of the top that are inverted side by side."""

LARGE_BLOCK = 256
"""Columns of a large front inverted at a time."""

MOVED, VISITED = 25.0, 1000.0
"""Work of moving an element of an update matrix or inverse front, and of visiting a supernode, in operations."""


class Plan(NamedTuple):
    """Where the kernels find subtrees and workspace.

    Attributes
    ----------
    enter : (s,) stop of the subtree that starts at a supernode, 0 elsewhere
    leave : (s,) 1 + start of the subtree whose root a supernode is, 0 elsewhere
    pending_at : (s + 1,) place of the rows-below block of each root between the two phases; of the inverse front of the
        last supernode, if it stays, among the few places of those that take turns; then the number of all elements
    outer_at : (s + 1,) place of the rows below each root, in a solve
    update_at, front_at : (s + 1,) where the update matrix (below × below) and the inverse front (height × height)
        of each supernode with children stand in the workspace of its subtree or of the top, see `stack_places`
    """

    enter: np.ndarray
    leave: np.ndarray
    pending_at: np.ndarray
    outer_at: np.ndarray
    update_at: np.ndarray
    front_at: np.ndarray


@dataclass(frozen=True)
class Task:
    """A subtree, supernodes start … stop − 1, its root last; or the top. Then the elements of each workspace."""

    start: int
    stop: int
    for_factor: tuple[int, ...]
    for_inverse: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Of one workspace for either."""
        return max(sum(self.for_factor), sum(self.for_inverse))


class Turn(NamedTuple):
    """Subtrees worked on side by side, and those of their roots that hang from the last supernode."""

    subtrees: list[Task]
    roots: list[int]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Subtrees by falling work, and in turns; the top, which passes them over; its large fronts in postorder.

    `runs` are parts of the top that hang from nothing but the last supernode: of the inverse they are worked on side
    by side, when its front is there. There are none where another front is large.
    """

    plan: Plan
    subtrees: list[Task]
    turns: list[Turn]
    top: Task
    last: Task
    runs: list[Task]
    large: list[int]


def make_schedule(sn: Supernodes, at_once: int) -> tuple[Supernodes, Schedule]:
    """Batch the twigs, cut the tree, and place the workspaces; so many subtrees are worked on at once."""
    sn, start, stop = batch_and_cut(sn)
    sn = with_relative_rows(sn)
    step = np.zeros(sn.size + 1, np.int64)
    step[start] += 1
    step[stop] -= 1
    inside = np.cumsum(step[:-1]) > 0
    at_once = max(at_once, TOGETHER // largest_update(sn, stop - 1))
    plan = place_workspaces(sn, start, stop, inside, at_once)
    work, is_large = work_of(sn)
    large = np.flatnonzero(is_large & ~inside).tolist()
    runs = runs_below_last(sn, np.where(inside, 0.0, work)) if stays(plan) and large in ([], [sn.size - 1]) else []
    members = [np.arange(i, j) for i, j in zip(start, stop, strict=True)]
    of_runs = [i + np.flatnonzero(~inside[i:j]) for i, j in runs]
    top, last, *tasks = workspaces(sn, plan, [np.flatnonzero(~inside), np.arange(sn.size)[-1:], *members, *of_runs])
    subtrees = tasks[: len(members)]
    runs_of = [
        replace(task, start=i, stop=j, for_factor=()) for task, (i, j) in zip(tasks[len(members) :], runs, strict=True)
    ]
    return sn, Schedule(plan, subtrees, turns_of(sn, subtrees, at_once), top, last, runs_of, large)


def stays(plan: Plan) -> bool:
    """Whether the inverse front of the last supernode stays, for subtrees hang from it."""
    return bool(np.diff(plan.pending_at[-2:]).any())


def largest_update(sn: Supernodes, roots: np.ndarray) -> int:
    """Elements of the largest update matrix of the roots of subtrees that hang from the last supernode, at least 1."""
    turning = roots[sn.parent[roots] == sn.size - 1]
    below = (np.diff(sn.rows_at) - np.diff(sn.first))[turning]
    return max(int(below.max(initial=1)) ** 2, 1)


def turns_of(sn: Supernodes, subtrees: list[Task], at_once: int) -> list[Turn]:
    """Those that hang from the last supernode in turns, the others with the last of them."""
    is_last = [sn.parent[task.stop - 1] == sn.size - 1 for task in subtrees]
    hanging = [task for task, last in zip(subtrees, is_last, strict=True) if last]
    others = [task for task, last in zip(subtrees, is_last, strict=True) if not last]
    parts = [hanging[k : k + at_once] for k in range(0, len(hanging), at_once)] or [[]]
    turns = [Turn(part, [task.stop - 1 for task in part]) for part in parts]
    return [*turns[:-1], Turn([*turns[-1].subtrees, *others], turns[-1].roots)]


def runs_below_last(sn: Supernodes, work: np.ndarray) -> list[tuple[int, int]]:
    """Runs of all but the last supernode, of about as much work, between which no other stands above."""
    above = np.where(sn.parent == sn.size - 1, -1, sn.parent)[:-1]
    ends = np.flatnonzero(above < 0) + 1
    if not len(ends):
        return []
    done = np.cumsum(work[:-1])[ends - 1]
    cuts = np.searchsorted(done, np.linspace(0.0, done[-1], RUNS + 1)[1:])
    stops = np.unique(ends[np.minimum(cuts, len(ends) - 1)]).tolist()
    return list(pairwise([0, *stops[:-1], int(ends[-1])]))


def uncut_workspace(sn: Supernodes) -> int:
    """Elements of the workspaces if the tree is not cut."""
    none = np.zeros(0, np.int64)
    plan = place_workspaces(sn, none, none, np.zeros(sn.size, np.bool_), 1)
    return workspaces(sn, plan, [np.arange(sn.size)])[0].elements


def batch_and_cut(sn: Supernodes) -> tuple[Supernodes, np.ndarray, np.ndarray]:
    """The supernodes with batches among them, and start and stop of the subtrees; small ones, if that serves."""
    work, large = work_of(sn)
    below_large = work[~large].sum()
    least = SMALLEST_SHARE * below_large
    best = (WORTH_SHARE * below_large, sn, np.zeros(0, np.int64), np.zeros(0, np.int64))
    for share in LARGEST_SHARES if below_large >= WORTH_CUTTING else ():
        batched = insert_batches(sn, find_batches(sn, least, share * below_large))
        start, stop, held = cut(batched, least, share * below_large)
        if held >= best[0]:
            best = held, batched, start, stop
        if held >= ENOUGH * below_large:
            break
    return best[1:]


def work_of(sn: Supernodes) -> tuple[np.ndarray, np.ndarray]:
    """Work of each supernode, in operations, and whether it is a large front."""
    width, height = np.diff(sn.first), np.diff(sn.rows_at).astype(np.float64)
    dense = width * height**2
    return dense + MOVED * (height - width) ** 2 + VISITED, dense >= LARGE_FRONT


def cut(sn: Supernodes, least: float, most: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Start and stop of the largest subtrees of at most so much work, by falling work, and what they hold in all."""
    total, size = subtree_sums(sn.parent, work_of(sn)[0])
    above = np.where(sn.parent >= 0, total[sn.parent], np.inf)
    roots = np.flatnonzero((total >= least) & (total <= most) & (above > most))
    roots = roots[np.argsort(-total[roots], kind="stable")]
    return roots - size[roots] + 1, roots + 1, float(total[roots].sum())


def find_batches(sn: Supernodes, least: float, most: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """Runs of neighbouring siblings that are worth a batch: the roots of each, and the rows they have between them."""
    total, size = subtree_sums(sn.parent, work_of(sn)[0])
    above = np.where(sn.parent >= 0, total[sn.parent], 0.0)
    twigs = np.flatnonzero((total <= most) & (above > most))
    most /= 1.0 + 1.0 / WORTH_BATCH  # a batch has work of its own
    run = batch_numbers(twigs, size[twigs], sn.parent[twigs], total[twigs], most)
    batches = []
    for roots in np.split(twigs, np.flatnonzero(np.diff(run)) + 1):
        if len(roots) > 1 and total[roots].sum() >= least:
            rows, enough = rows_between(sn, roots), total[roots].sum() / (WORTH_BATCH * MOVED)
            of_last = sn.rows[sn.rows_at[-2] :] if sn.parent[roots[0]] == sn.size - 1 else rows
            if len(rows) >= NEARLY_ALL * len(of_last) and enough >= len(of_last) ** 2:
                rows = of_last
            if enough >= len(rows) ** 2:
                batches.append((roots, rows))
    return batches


@njit("int64[::1](int64[::1], int64[::1], int32[::1], float64[::1], float64)", cache=True)
def batch_numbers(root, size, parent, work, most):
    """Number the runs of neighbouring siblings whose work adds up to at most `most`."""
    number = np.zeros(len(root), np.int64)
    held = 0.0
    for k in range(len(root)):
        held += work[k]
        if k > 0:
            number[k] = number[k - 1]
            if parent[k] != parent[k - 1] or root[k] - size[k] != root[k - 1] or held > most:
                number[k] += 1
                held = work[k]
    return number


def rows_between(sn: Supernodes, roots: np.ndarray) -> np.ndarray:
    """The rows below any of these supernodes, ascending."""
    start = sn.rows_at[roots] + sn.first[roots + 1] - sn.first[roots]
    count = sn.rows_at[roots + 1] - start
    before = np.cumsum(count) - count
    return np.unique(sn.rows[np.repeat(start - before, count) + np.arange(count.sum())])


def insert_batches(sn: Supernodes, batches: list[tuple[np.ndarray, np.ndarray]]) -> Supernodes:
    """Set a supernode without columns above the roots of each batch, after the last of them."""
    if not batches:
        return sn
    last = np.array([roots[-1] for roots, _ in batches])
    size = np.array([len(rows) for _, rows in batches])
    number = np.arange(sn.size) + np.searchsorted(last, np.arange(sn.size))
    parent = np.where(sn.parent >= 0, number[sn.parent], -1)
    above = parent[last]
    for roots, _ in batches:
        parent[roots] = number[roots[-1]] + 1
    parent = np.insert(parent, last + 1, above).astype(np.int32)
    first = np.insert(sn.first, last + 1, sn.first[last + 1])
    panel_at = np.insert(sn.panel_at, last + 1, sn.panel_at[last + 1])
    height = np.insert(np.diff(sn.rows_at), last + 1, size)
    rows_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(height)])
    rows = np.insert(sn.rows, np.repeat(sn.rows_at[last + 1], size), np.concatenate([rows for _, rows in batches]))
    return Supernodes(first, rows_at, rows, panel_at, parent, sn.relative, number_of_children(parent))


def place_workspaces(sn: Supernodes, start: np.ndarray, stop: np.ndarray, inside: np.ndarray, at_once: int) -> Plan:
    """Where update matrices and inverse fronts stand, given the subtrees and the supernodes inside them."""
    enter, leave, outer = np.zeros(sn.size, np.int32), np.zeros(sn.size, np.int32), np.zeros(sn.size, np.int64)
    enter[start], leave[stop - 1] = stop, start + 1
    outer[stop - 1] = (np.diff(sn.rows_at) - np.diff(sn.first))[stop - 1]
    pending_at = place_pending(sn, stop - 1, outer, at_once)

    def apart(size: np.ndarray) -> np.ndarray:
        """Each subtree has a workspace, and the top."""
        subtrees, top = (stack_places(sn.parent, np.where(part, size, 0))[:-1] for part in (inside, ~inside))
        return np.where(inside, subtrees, top)

    update, front = sizes_in_arena(sn, leave > 0, pending_at)
    outer_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(outer)])
    return Plan(enter, leave, pending_at, outer_at, apart(update), apart(front))


def place_pending(sn: Supernodes, roots: np.ndarray, outer: np.ndarray, at_once: int) -> np.ndarray:
    """`Plan.pending_at` for roots of subtrees with `outer` rows below."""
    size, last = outer**2, sn.size - 1
    turning = roots[sn.parent[roots] == last]
    places = min(len(turning), at_once)
    largest = int(size[turning].max(initial=0))
    size[turning] = 0
    all_rows = int(sn.rows_at[-1] - sn.rows_at[-2])
    # The front of the last stands where update matrices have been, unless that of a batch has to stand beside it.
    beside = (sn.first[turning] == sn.first[turning + 1]) & (outer[turning] < all_rows)
    front = all_rows**2 if beside.any() else 0
    if places:
        size[last] = max(all_rows**2, front + places * largest)
    pending_at = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
    pending_at[turning] = pending_at[last] + front + np.arange(len(turning)) % max(places, 1) * largest
    return pending_at


def sizes_in_arena(sn: Supernodes, is_root: np.ndarray, pending_at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elements of each update matrix and inverse front, but for those that stand elsewhere.

    Those are in `pending`, for the roots of subtrees and the last supernode.
    """
    width, height = np.diff(sn.first), np.diff(sn.rows_at)
    inner = sn.n_children > 0
    update = np.where(inner & ~is_root, height - width, 0) ** 2
    front = np.where(inner & ~(is_root & (width == 0)), height, 0) ** 2
    if np.diff(pending_at[-2:]).any():
        front[-1] = 0
    return update, front


def workspaces(sn: Supernodes, plan: Plan, tasks: list[np.ndarray]) -> list[Task]:
    """What the kernels need for the supernodes of each task: arena and work; arena, block and product."""
    width, height = np.diff(sn.first), np.diff(sn.rows_at)
    is_root = plan.leave > 0
    update, front = sizes_in_arena(sn, is_root, plan.pending_at)
    below = np.where(is_root, 0, height - width)
    sizes = (
        plan.update_at + update,
        below**2,
        plan.front_at + front,
        np.where(sn.n_children > 0, below, height) ** 2,
        height * np.minimum(width, LARGE_BLOCK),
    )
    found = []
    for members in tasks:
        elements = tuple(int(size[members].max(initial=0)) for size in sizes)
        start, stop = (int(members[0]), int(members[-1]) + 1) if len(members) else (0, 0)
        found.append(Task(start, stop, elements[:2], elements[2:]))
    return found


@njit("Tuple((float64[::1], int64[::1]))(int32[::1], float64[::1])", cache=True)
def subtree_sums(parent, work):
    """Work and number of supernodes in the subtree below and including each one."""
    total, size = work.copy(), np.ones(len(parent), np.int64)
    for s in range(len(parent)):
        if parent[s] >= 0:
            total[parent[s]] += total[s]
            size[parent[s]] += size[s]
    return total, size
