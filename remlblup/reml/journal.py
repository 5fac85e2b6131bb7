"""What a search has gone through: enough to go on from there as if it had never stopped.

A fit is a sequence of climbs: from a first guess, from the model's own start, by V where R becomes singular, from other
starts. Which comes next follows from how the earlier ones ended, and each is determined by the equations and by θ where
it begins. So nothing but the climbs has to be known: the same sequence is gone through again, a climb that an earlier
run was in goes on behind its last row, and one that an earlier run finished is at its end at once.

Where a climb begins that nobody gave start values for is up to the version of the program, and no part of what a fit
is. A climb of the model's own that another version began elsewhere goes on all the same, from where that version began.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import CheckpointError
from remlblup.reml.ascent import Ascent
from remlblup.reml.history import Iteration
from remlblup.reml.newton import Newton
from remlblup.reml.point import Point
from remlblup.reml.surface import Surface

# A climb is one of an earlier run if it begins within this share of each parameter: other starts are not so near, and
# another machine may begin elsewhere in the last digits.
NEAR = 1e-3
# ℓ computed again, on another machine too, is the same to this share of n + |ℓ|.
AGREES = 1e-8


@dataclass(frozen=True)
class State:
    """A climb after an iteration; what else the next step depends on follows from θ.

    Attributes
    ----------
    kind : the equations and the structures that θ belongs to
    rows : the history, the last row where the climb is
    reluctant : (n_parameters,) components that came back from a bound
    correction : what the steps have told of the curvature (`Secant`), None for nothing
    arrays : what does not follow from θ in the last digits, by name: solutions by conjugate gradients
    """

    kind: str
    rows: tuple[Iteration, ...]
    reluctant: np.ndarray
    correction: Array | None
    arrays: Mapping[str, Array] = field(default_factory=dict)


class Journal:
    """The climbs of a fit, those of an earlier run among them.

    Parameters
    ----------
    earlier : climbs of an earlier run, in their order
    keep : called with all climbs after every iteration
    is_open : whether the user has left it to the search where it starts, in part at least
    """

    def __init__(self, earlier: Sequence[State], keep: Callable[[list[State]], None], is_open: bool = False):
        self.states: list[State | None] = list(earlier)
        self.waiting = list(range(len(earlier)))
        self.keep, self.is_open = keep, is_open
        # Those by kind that another version may have begun elsewhere.
        self.own = own_climbs(earlier) if is_open else {}

    def begin(self, ascent: Ascent, theta: Array) -> State | None:
        """Where an earlier run has taken a climb that begins at θ; of the model's own, wherever that version began it.

        Raises
        ------
        CheckpointError
            If an earlier run has not begun at the values that the user gives.
        """
        kind = kind_of(ascent.space.equations)
        near = [(self.distance(k, kind, theta), k) for k in self.waiting]
        distance, number = min(near, default=(np.inf, -1))
        own, first = self.own.pop(kind, (-1, theta))
        if distance > NEAR and own in self.waiting and len(first) == len(theta):
            distance, number = 0.0, own
        if distance <= NEAR:
            self.waiting.remove(number)
            ascent.number = number
            return self.states[number]
        if self.waiting and len(self.waiting) == len(self.states) and not self.is_open:
            raise CheckpointError("it begins at other values of the variance components than this fit.")
        ascent.number = len(self.states)
        self.states.append(None)
        return None

    def others(self) -> None:
        """From here on climbs begin at other starts, of which each is a climb of its own."""
        self.own = {}

    def distance(self, number: int, kind: str, theta: Array) -> float:
        """How far from θ a climb begins, at most of any parameter and relative to its size;
        infinite if of another kind."""
        state = self.states[number]
        if state is None or state.kind != kind or len(state.rows[0].theta) != len(theta):
            return np.inf
        first = state.rows[0].theta
        size = np.maximum(np.abs(first), np.abs(theta))
        # A covariance of zero may be one of rounding.
        size = np.maximum(size, max(1e-12 * size.max(initial=0.0), np.finfo(float).tiny))
        return float(np.max(np.abs(first - theta) / size, initial=0.0))

    def note(self, ascent: Ascent, arrays: Mapping[str, Array] | None = None) -> None:
        """Take in where a climb is now."""
        kind, reluctant = kind_of(ascent.space.equations), ascent.reluctant.copy()
        self.states[ascent.number] = State(kind, tuple(ascent.rows), reluctant, ascent.secant.correction, arrays or {})
        self.keep([known for known in self.states if known is not None])


def own_climbs(states: Sequence[State]) -> dict[str, tuple[int, Array]]:
    """The number of each climb of the model's own and θ where it begins, by kind: they come before those of other
    starts, and no two of them are of one kind."""
    found: dict[str, tuple[int, Array]] = {}
    for number, state in enumerate(states):
        if state.kind in found:
            break
        found[state.kind] = number, state.rows[0].theta
    return found


def kind_of(equations: Equations) -> str:
    """The equations and the structures that a climb works with."""
    structures = (*(design.structure for design in equations.random), equations.residual)
    return " ".join(type(part).__name__ for part in (equations, *structures))


def resumed(surface: Surface, ascent: Ascent, state: State) -> Point:
    """The last iterate of an earlier run, and everything else of the ascent as it was.

    Raises
    ------
    CheckpointError
        If ℓ is another one.
    """
    ascent.rows, ascent.reluctant = list(state.rows), state.reluctant.copy()
    last = state.rows[-1]
    value, solution = surface.loglik(last.theta)
    if solution is None or not abs(value - last.loglik) <= AGREES * (surface.equations.spec.n + abs(value)):
        raise CheckpointError(
            f"it says that the log-likelihood at its variances is {last.loglik:.6f}, "
            f"and of these data it is {value:.6f}."
        )
    point = surface.point(last.theta, value, solution)
    model = Newton.at(surface.space, point, point.information, point.charts)
    ascent.secant.resume(model, last.decrement, state.correction)
    return point
