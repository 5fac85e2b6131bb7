"""Several starts: the likelihood of a structure that is not linear in θ can have several maxima.

Where that is cheap the search goes out from other points as well, and the highest maximum is taken: of one random term
beside independent residuals by a look along h² (`reml.line`), of a small model by a few starts drawn over the parameter
space, more of them once two have ended at different maxima. The draws are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.equations.base import Equations
from remlblup.errors import NotPositiveDefiniteError, OptionError
from remlblup.linalg.threads import single_threaded
from remlblup.reml.convergence import Trial
from remlblup.reml.distant import leaves
from remlblup.reml.drawn_starts import drawn_starts, edge_starts, turning, typical
from remlblup.reml.history import Iteration
from remlblup.reml.line import maxima_along
from remlblup.reml.optimum import Optimum, Options
from remlblup.reml.singular_residual import maximize

# Other starts of a small model, half of them above `TINY` records,
# and how many in all once two have ended at different heights.
FEW, MANY, TINY = 9, 23, 100
# Up to so many records all of these starts, whatever the structures if records are fewer still.
HANDFUL, SCORE = 30, 20
# Pairs of them that then begin beside a singular R, where only random effects make V regular: one if R has one
# correlation.
BESIDE = 2
# A small model: at most so many records, equations and parameters.
RECORDS, EQUATIONS, PARAMETERS = 200, 300, 20
# Log-likelihoods that differ by less (relative to 1 + |ℓ|) are of one maximum.
HIGHER = 1e-8
# An end is that of another start if no parameter is further from it than this share of its size, and ℓ not by more.
NEAR, NEAR_LOGLIK = 0.03, 0.05
# Rows of a trial before it may be given up, and at most while it is no higher.
PATIENCE, LONGEST = 8, 60
# Halvings of a step that, without constraints, creeps towards an edge where V is singular: PATIENCE of these will do.
SHORT = 12

Report = Callable[[Iteration], None]


def checked_starts(starts: object) -> int | None:
    """How many starts the user asks for; None for as many as the model calls for.

    Raises
    ------
    OptionError
        If it is neither "auto" nor a positive whole number.
    """
    if isinstance(starts, str) and starts == "auto":
        return None
    if isinstance(starts, bool) or not isinstance(starts, (int, np.integer)) or starts < 1:
        raise OptionError(f"starts={starts!r} must be 'auto' or a positive whole number.")
    return int(starts)


class Search:
    """The search for the highest maximum, and what several starts have found.

    Parameters
    ----------
    fixed : (n_parameters,) values to hold, NaN where not given
    report : told every row of the first climb, and at last those of the one that ended highest

    Attributes
    ----------
    best : the highest optimum so far
    rows : the history of the first climb
    winner : number and history of another climb that ended higher
    climbing : number and history of the last other climb
    trials : the starts tried and where they ended, the first one not among them
    """

    def __init__(self, equations: Equations, options: Options, fixed: Array, report: Report | None = None):
        self.equations, self.options, self.fixed, self.report = equations, options, fixed, report
        self.trials, self.rows = list[Trial](), list[Iteration]()
        self.winner: tuple[int, list[Iteration]] | None = None
        self.climbing: tuple[int, list[Iteration]] | None = None

    @single_threaded  # an interrupt comes out of it as one
    def highest(self, start: Array, starts: int | None = None, begin: Array | None = None) -> Optimum:
        """The highest of the maxima that several starts lead to; from one start where that is all there is to do.

        Parameters
        ----------
        start : (n_parameters,) values to start from, NaN where not given
        starts : how many in all; None for as many as the model calls for
        begin : where to start the first climb instead of at values of the data, see `plainer`
        """
        equations, options = self.equations, self.options
        self.first(start if begin is None else begin)
        free = np.isnan(self.fixed)
        whole = np.count_nonzero(free) > 0 and not np.count_nonzero(np.isnan(start[free]))
        # A climb cut short on purpose is left as it is; one that creeps is better begun elsewhere.
        ran_out = len(self.rows) > options.max_iterations and options.max_iterations < LONGEST
        several = several_maxima(equations, free)
        if starts is None and not whole and not ran_out and options.algorithm == "auto":
            along = options.constrain and free.all()
            for theta in maxima_along(equations, self.best.point.theta, options.ml) if along else ():
                self.attempt(theta)
            n = equations.spec.n
            if is_small(equations) and (several or is_tied(equations, free)):
                self.attempts(how_many(n, bool(several)), MANY)
                if n <= HANDFUL and equations.spec.random:
                    pairs = min(BESIDE, int(np.count_nonzero(free & turning(equations))))
                    beside = edge_starts(equations, options, self.fixed, np.random.default_rng(1))
                    for theta in islice(beside, 2 * pairs):
                        self.attempt(theta)
        elif starts is not None and starts > 1 and not ran_out:
            self.attempts(starts - 1, starts - 1)
        return self.ended(several)

    def first(self, start: Array) -> None:
        """Climb from the start that is given, or from that of the data."""

        def note(row: Iteration) -> None:
            self.rows.append(row)
            if self.report is not None:
                self.report(row)

        self.best = maximize(self.equations, self.options, start, self.fixed, note)
        self.rows = list(self.best.iterations)
        self.ends = [(self.best.point.theta, self.best.point.loglik)]

    def so_far(self) -> tuple[Iteration, ...]:
        """The history that led to the best point up to now, wherever the search is; empty before the first one."""
        rows = [*self.rows, *(renumbered(*self.winner, len(self.rows)) if self.winner is not None else ())]
        if self.climbing is not None and self.climbing[1]:
            last, best = self.climbing[1][-1].loglik, rows[-1].loglik
            if last - best > HIGHER * (1.0 + abs(best)):
                rows = [*self.rows, *renumbered(*self.climbing, len(self.rows))]
        return tuple(rows)

    @cached_property
    def sizes(self) -> Array:
        """`typical` sizes of the parameters."""
        return typical(self.equations)

    def attempts(self, few: int, many: int) -> None:
        """Other starts: `few`, and up to `many` where they have ended at different heights."""
        draws = drawn_starts(self.equations, self.options, self.fixed, np.random.default_rng(0))
        while len(self.trials) < (many if self.heights() > 1 else few):
            self.attempt(next(draws))

    def heights(self) -> int:
        """Number of maxima of different height among the ends."""
        values = np.sort([value for _, value in self.ends])
        return 1 + int(np.sum(np.diff(values) > 1e-5 * (1.0 + np.abs(values[1:]))))

    def attempt(self, theta: Array) -> None:
        """Climb from θ; what it finds is taken if it is higher."""
        rows: list[Iteration] = []
        number = len(self.trials) + 2
        if self.options.journal is not None:
            self.options.journal.others()
        self.climbing = number, rows

        def watch(row: Iteration) -> None:
            rows.append(row)
            if (why := self.given_up(rows)) is not None:
                raise GivenUp(why)

        start = np.where(np.isnan(self.fixed), theta, np.nan)
        try:
            end = maximize(self.equations, self.options, start, self.fixed, watch)
        except (NotPositiveDefiniteError, np.linalg.LinAlgError):
            self.trials.append(Trial(number, theta, np.nan, theta, np.nan, 0, "no start: V is not positive definite"))
            return
        except GivenUp as why:
            self.note(number, rows, str(why))
            return
        self.ends.append((end.point.theta, end.point.loglik))
        if not self.is_better(end):
            self.note(number, rows, "lower" if self.gap(end.point.loglik) > HIGHER else "the same maximum")
            return
        self.note(number, rows, "higher")
        self.best, self.winner = end, (number, rows)

    def is_better(self, end: Optimum) -> bool:
        """Whether it is higher, or as high and converged where the best so far is not."""
        gap = self.gap(end.point.loglik)
        return gap < -HIGHER or (gap < 100.0 * HIGHER and bool(end.convergence) and not self.best.convergence)

    def gap(self, loglik: float) -> float:
        """How far below the best ℓ lies, relative to 1 + |ℓ|."""
        best = self.best.point.loglik
        return (best - loglik) / (1.0 + abs(best))

    def given_up(self, rows: list[Iteration]) -> str | None:
        """Why a climb that has got to the last of `rows` need not go on; None if it should."""
        row = rows[-1]
        if row.iteration and leaves(self.equations.searched.spec.parameters, row.theta, ~np.isnan(self.fixed)):
            return "no end: its range runs off"
        for theta, value in self.ends:
            away = np.abs(row.theta - theta) / np.maximum(np.maximum(np.abs(theta), np.abs(row.theta)), self.sizes)
            if away.max() < NEAR and -NEAR_LOGLIK < row.loglik - value <= HIGHER * (1.0 + abs(value)):
                same = value >= self.best.point.loglik - HIGHER * (1.0 + abs(value))
                return "the same maximum" if same else "lower"
        hopeless = row.loglik + 5.0 * row.decrement < self.best.point.loglik - 1e-3
        # One that is higher already goes on to its end, however long it takes.
        at_edge = not self.options.constrain and sum(r.halvings > SHORT for r in rows) >= PATIENCE
        late = (row.iteration >= LONGEST or at_edge) and self.gap(row.loglik) > -HIGHER
        return "lower" if (row.iteration >= PATIENCE and hopeless) or late else None

    def note(self, number: int, rows: list[Iteration], ended: str) -> None:
        first, last = rows[0], rows[-1]
        self.trials.append(Trial(number, first.theta, first.loglik, last.theta, last.loglik, last.iteration, ended))

    def take(self, number: int, rows: list[Iteration]) -> None:
        """The rows of the climb that ended highest, behind those that are there."""
        taken = renumbered(number, rows, len(self.rows))
        self.rows, self.winner, self.climbing = [*self.rows, *taken], None, None
        if self.report is not None:
            for row in taken:
                self.report(row)

    def ended(self, several: tuple[str, ...]) -> Optimum:
        """The best, the history of how it was found, and in its verdict what was tried.

        Parameters
        ----------
        several : terms whose likelihood can have several maxima
        """
        if self.winner is not None:
            self.take(*self.winner)
        told = self.best.convergence
        words = [*self.in_words(several)] if told.converged else []
        if not words and not self.trials:  # one climb, told as it was
            return self.best
        convergence = replace(
            told,
            reason=" ".join([told.reason, *words]),
            iterations=len(self.rows) - 1,
            trials=tuple(self.trials),
        )
        return replace(self.best, convergence=convergence, iterations=tuple(self.rows))

    def in_words(self, several: tuple[str, ...]) -> Iterator[str]:
        if any(trial.ended == "higher" for trial in self.trials):
            yield f"The highest end of {len(self.trials) + 1} starts, higher than the first."
        elif self.trials and several:
            yield f"Of {len(self.trials)} other starts none ended higher."
        elif several:
            names = " and ".join(f"'{name}'" for name in several)
            yield f"The likelihood of {names} can have several maxima: check_starts() tries other starts."


class GivenUp(Exception):
    """A climb that need not go on."""


def renumbered(number: int, rows: list[Iteration], first: int) -> list[Iteration]:
    """The rows of another start, its number in the first of them, behind `first` others."""
    return [
        replace(row, iteration=first + i, step=f"start {number}" if row.iteration == 0 else row.step)
        for i, row in enumerate(rows)
    ]


def several_maxima(equations: Equations, free: np.ndarray) -> tuple[str, ...]:
    """Terms with free parameters whose likelihood can have several maxima, the residual as 'residual'."""
    parameters = equations.spec.parameters
    structures = enumerate(zip((*parameters.structures, parameters.residual), parameters.slices, strict=True))
    found = [k for k, (s, place) in structures if s.several_maxima and np.count_nonzero(free[place]) > 1]
    return tuple((*parameters.terms, f"residual {equations.spec.residual_text}")[k] for k in found) if found else ()


def is_tied(equations: Equations, free: np.ndarray) -> bool:
    """Whether a few records are shared between several random terms, or one and a residual of several parameters.

    No structure is to blame then, but what is little in one term can be much in the other.
    """
    spec = equations.spec
    if spec.n > TINY:
        return False
    *terms, residual = (np.count_nonzero(free[place]) for place in spec.parameters.slices)
    return bool(terms and (np.count_nonzero(terms) > 1 or residual > 1))


def how_many(n: int, several: bool) -> int:
    """How many other starts a small model of n records gets, more if a structure is known for several maxima."""
    if n <= (HANDFUL if several else SCORE):
        return MANY
    return FEW if n <= (TINY if several else HANDFUL) else FEW // 2


def is_small(equations: Equations) -> bool:
    """Whether some ten more searches take no time to speak of."""
    spec = equations.spec
    return spec.n <= RECORDS and spec.p + spec.n_random <= EQUATIONS and spec.parameters.size <= PARAMETERS
