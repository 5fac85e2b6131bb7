"""Profile likelihood: how far ℓ falls as a component, or any function of them, is moved from its estimate.

    ζ(v) = sign(v − v̂) √(2 [ℓ̂ − max{ℓ(θ): g(θ) = v}])

is about standard normal (signed root of the deviance; Bates et al. 2015, J Stat Softw 67(1), section 5.1); an interval
is where |ζ| does not exceed the normal quantile. It never leaves the parameter space: where ζ at a bound is nearer than
that, the bound is its end.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError, OptionError, RemlBlupWarning, check_share, listed, warn, whole_number
from remlblup.fit.errors.intervals import bounds_of
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.functions import evaluate
from remlblup.fit.tables.shown import shown
from remlblup.inference.components.constrained import Constrained
from remlblup.inference.quantities import Function, expression_function, labelled, parameter_function, require_free

# How far out a profile is drawn: the quantile of 99 %.
CUTOFF = 2.5758293035489004
# ζ within this of what is looked for has been found.
FOUND = 1e-6
# A value this many first steps away, beyond which ζ changes by less than this from a value to twice as far, has no end.
FAR, LEVEL = 1e3, 1e-4
# Places outwards after which each is twice as far as the last.
SLOW = 8
# Points tried for one end, and of those between two places which are in the middle.
TRIES, HALVED = 40, 4


@dataclass(frozen=True, order=True)
class Place:
    """ℓ at its best for one value."""

    value: float
    zeta: float
    loglik: float = field(compare=False)
    theta: Array = field(compare=False, repr=False)


class Path:
    """The profile of one function of θ, made longer and denser as it is asked.

    Parameters
    ----------
    along : the likelihood
    function : what is given values
    low, high : its bounds
    error : its standard error; NaN where there is none
    positive : whether it is walked along on the scale of its square root
    """

    def __init__(self, along: Constrained, function: Function, low: float, high: float, error: float, positive: bool):
        self.along, self.function, self.positive = along, function, positive
        theta, top = along.fit.theta, along.fit.loglik
        value = function.at(theta)[0]
        self.low, self.high, self.top = low, high, top
        self.best = Place(value, 0.0, top, theta)
        self.places = [self.best]
        self.higher: Place | None = None
        h = self.scaled(value)
        slope = 0.5 / h if positive and h > 0.0 else 1.0
        size = error * slope if np.isfinite(error) and error > 0.0 else np.nan
        self.step = size if np.isfinite(size) else self._natural(value)

    def _natural(self, value: float) -> float:
        """A first step where there is no standard error: on a bound, or a function that has no slope."""
        theta = self.along.fit.theta
        slope = self.function.at(theta)[1]
        size = float(np.linalg.norm(slope * self.along.scale))
        size = size if np.isfinite(size) and size > 0.0 else max(abs(value), 1.0)
        return float(np.sqrt(size)) * 0.5 if self.positive else size

    def scaled(self, value: float) -> float:
        """On the scale that ζ is nearly straight on."""
        return float(np.sqrt(max(value, 0.0))) if self.positive else value

    def back(self, h: float) -> float:
        return max(h, 0.0) ** 2 if self.positive else h

    def at(self, value: float, start: Array) -> Place | None:
        """ζ at a value, from the nearest place known; None where the function cannot have it."""
        index = self.function.index
        on_bound = value in (self.low, self.high)
        if on_bound and index is not None:
            found = self.along.at_bound(index, value)
        else:
            found = self.along.maximum(self.function, value, start)
        if found is None or not np.isfinite(found[0]):
            return None
        loglik, theta = found
        zeta = float(np.sign(value - self.best.value) * np.sqrt(max(2.0 * (self.top - loglik), 0.0)))
        place = Place(value, zeta, loglik, theta)
        if loglik > self.top + 1e-6 * (1.0 + abs(self.top)) and (self.higher is None or loglik > self.higher.loglik):
            self.higher = place
        insort(self.places, place)
        return place

    def side(self, sign: float) -> list[Place]:
        """The places on one side, the estimate first."""
        return [
            p for p in (self.places if sign > 0 else self.places[::-1]) if sign * (p.value - self.best.value) >= 0.0
        ]

    def end(self, zeta: float) -> tuple[float, bool]:
        """Where ζ is `zeta`, and whether that is a bound of the parameter space in its place."""
        sign = float(np.sign(zeta))
        bound = self.low if sign < 0.0 else self.high
        if self.best.value == bound:
            return bound, True
        wall: float | None = None  # the nearest value that the function cannot have
        between = 0  # values tried between two places
        for _ in range(TRIES):
            places = self.side(sign)
            inside = [p for p in places if sign * p.zeta <= abs(zeta)]
            beyond = [p for p in places if sign * p.zeta > abs(zeta)]
            near = inside[-1]
            if near.value == bound:
                return bound, True
            for place in (near, *beyond[:1]):
                if abs(place.zeta - zeta) < FOUND:
                    return place.value, False
            if not beyond and not np.isfinite(bound) and self.levels_off(inside):
                return bound, True
            between += bool(beyond)
            if beyond and between % HALVED == 0:  # a curve through the places may miss the end every time
                value = self.back(0.5 * (self.scaled(near.value) + self.scaled(beyond[0].value)))
            else:
                value = self.next(near, beyond[0] if beyond else None, zeta, bound, inside)
            if wall is not None and sign * (value - wall) >= 0.0:
                value = self.back(0.5 * (self.scaled(near.value) + self.scaled(wall)))
                if abs(value - near.value) <= 1e-7 * (abs(value) + abs(near.value)):
                    return value, True
            if self.at(value, near.theta) is None:
                wall = value
        near = inside[-1]
        raise ModelError(
            f"the profile of '{self.function.name}' did not reach {zeta:.3g}: its last point is {near.value:.6g}, where"
            f" ζ is {near.zeta:.4g}."
        )

    def levels_off(self, places: Sequence[Place]) -> bool:
        """Whether ζ rises no more however far the value goes: of a ratio, as what it is divided by becomes zero."""
        if len(places) < 3:
            return False
        before, last = places[-2:]
        far = abs(self.scaled(last.value) - self.scaled(self.best.value)) > FAR * self.step
        return far and abs(last.value) > 2.0 * abs(before.value) and abs(last.zeta - before.zeta) < LEVEL

    def next(self, near: Place, beyond: Place | None, zeta: float, limit: float, inside: Sequence[Place]) -> float:
        """The value to try next: between two places, or further out."""
        here = self.scaled(near.value)
        if beyond is not None:
            there = self.scaled(beyond.value)
            share = (zeta - near.zeta) / (beyond.zeta - near.zeta)
            if len(inside) > 1 and inside[-2].zeta != near.zeta:  # three places: the inverse parabola through them
                z = np.array([inside[-2].zeta, near.zeta, beyond.zeta])
                h = np.array([self.scaled(p.value) for p in (inside[-2], near, beyond)])
                guess = float(np.polyval(np.polyfit(z, h, 2), zeta))
                if min(here, there) < guess < max(here, there):
                    return self.back(guess)
            return self.back(here + share * (there - here))
        sign = float(np.sign(zeta))
        if near is self.best or abs(near.zeta) < 0.05:
            ahead = here + sign * max(self.step * abs(zeta), 3.0 * abs(here - self.scaled(self.best.value)))
        else:
            slope = near.zeta / (here - self.scaled(self.best.value))
            ahead = here + np.clip((zeta - near.zeta) / slope, -2.0 * abs(zeta / slope), 2.0 * abs(zeta / slope)) * 1.02
        if len(inside) > SLOW:  # ζ levels off
            gone = here - self.scaled(self.best.value)
            ahead = here + sign * max(abs(ahead - here), abs(gone))
        value = self.back(float(ahead))
        return limit if sign * (value - limit) >= 0.0 or (self.positive and ahead <= 0.0) else value

    def draw(self, points: int) -> None:
        """Places out to `CUTOFF` on both sides, about evenly in ζ."""
        for sign in (-1.0, 1.0):
            self.end(sign * CUTOFF)
            for target in sign * CUTOFF * np.arange(1, points) / points:
                places = self.side(sign)
                known = np.array([p.zeta for p in places])
                if np.min(np.abs(known - target)) < 0.5 * CUTOFF / points or abs(known[-1]) < abs(target):
                    continue
                k = int(np.searchsorted(np.abs(known), abs(target)))
                self.at(
                    self.next(places[k - 1], places[k], float(target), places[k].value, places[:k]), places[k - 1].theta
                )


class Profile:
    """The profiles of some components and functions of them.

    Attributes
    ----------
    names : of what is profiled
    """

    def __init__(self, paths: Sequence[Path], note: str, columns: Sequence[str]):
        self._paths, self._note, self._columns = tuple(paths), note, tuple(columns)
        self.names = tuple(path.function.name for path in paths)

    @property
    def table(self) -> pd.DataFrame:
        """parameter, value, zeta, loglik, and all parameters there."""
        rows = [(p.function.name, q.value, q.zeta, q.loglik, *q.theta) for p in self._paths for q in p.places]
        return shown(pd.DataFrame(rows, columns=["parameter", "value", "zeta", "loglik", *self._columns]), self._note)

    def intervals(self, level: float = 0.95) -> pd.DataFrame:
        """By parameter: estimate, lower, upper; ends are found to 6 digits of ζ, not read off between points.

        `lower_at_bound` and `upper_at_bound` say where an end is that of the parameter space.
        """
        from scipy import stats

        check_share("level", level)
        z = float(stats.norm.ppf(0.5 + level / 2.0))
        rows = []
        for path in self._paths:
            (low, at_low), (high, at_high) = path.end(-z), path.end(z)
            rows.append((path.function.name, path.best.value, low, high, at_low, at_high))
        say_higher(self._paths)
        columns = ["parameter", "estimate", "lower", "upper", "lower_at_bound", "upper_at_bound"]
        return shown(pd.DataFrame(rows, columns=columns).set_index("parameter"), self._note)

    def __repr__(self) -> str:
        return f"<Profile of {', '.join(self.names)}: {sum(len(p.places) for p in self._paths)} points>"


def say_higher(paths: Sequence[Path]) -> None:
    """Warn where a profile has come to a point above the maximum it began from."""
    for path in paths:
        if path.higher is not None:
            warn(
                f"the profile of '{path.function.name}' has found a log-likelihood of {path.higher.loglik:.6f} at"
                f" {path.higher.value:.6g}, above {path.top:.6f} of the fit: that was not the highest maximum. Fit"
                " again with starts=10.",
                RemlBlupWarning,
            )


def profile_paths(fit: Estimates, parameters: Any = None, functions: Sequence[str] = ()) -> list[Path]:
    """A path for each parameter asked for, by its label or as an expression."""
    require_profile(fit)
    model, along = fit.specification.parameters, Constrained(fit)
    low, high = bounds_of(model, fit.options.constrain)
    free = [c for c, s in zip(model.columns, fit.status, strict=True) if s != "fixed"]
    asked = [*(free if parameters is None else listed("parameters=", parameters)), *functions]
    out = []
    for name in asked:
        if not isinstance(name, str):
            raise OptionError(f"parameters= takes names of components and expressions as text, not {name!r}.")
        k = labelled(fit, name)
        if k is not None:
            require_free(fit, k)
            error = float(np.sqrt(fit.variance_covariance[k, k]))
            positive = low[k] == 0.0 and not np.isfinite(high[k])
            out.append(Path(along, parameter_function(name, k, model.size), low[k], high[k], error, positive))
            continue
        found = evaluate(name, model, fit.theta, fit.variance_covariance, "", fit.options.constrain)
        bounds = {"plain": (-np.inf, np.inf), "log": (0.0, np.inf), "logit": (0.0, 1.0)}[found.scale]
        function = expression_function(fit, name)
        if not np.isfinite(function.at(fit.theta)[0]):
            raise ModelError(f"'{name}' has no value at the estimates: it has no profile.")
        out.append(Path(along, function, *bounds, found.std_error, found.scale == "log"))
    return out


def require_profile(fit: Estimates) -> None:
    """Raise `ModelError` for a fit that has no profile."""
    if not fit.converged:
        raise ModelError(f"a profile begins at a maximum, and this fit is none: {fit.convergence}")


def profile(fit: Estimates, parameters: Any, points: int) -> list[Path]:
    """The paths of `Fit.profile`, drawn."""
    points = whole_number("points", points, 2, 1000)
    paths = profile_paths(fit, parameters)
    for path in paths:
        path.draw(points)
    say_higher(paths)
    return paths


def ends(paths: Sequence[Path], level: float) -> Iterator[tuple[float, float]]:
    """Lower and upper end of each."""
    from scipy import stats

    z = float(stats.norm.ppf(0.5 + level / 2.0))
    for path in paths:
        yield path.end(-z)[0], path.end(z)[0]
    say_higher(paths)
