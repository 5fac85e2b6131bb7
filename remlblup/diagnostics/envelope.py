"""What a plot may be judged against: the same quantities of records drawn from the fitted model, and bands of them.

Records y* are drawn at the estimates and P y*, û* are those of the same variances: nothing is fitted again. Each draw
is scaled so that y*'Py* is that of the data, for the scale of the variances is estimated from them: what is left to
compare is the shape.

A band is simultaneous: of the draws (and so of the data, if the model is right) the share asked for lies wholly within
it. At every order statistic it reaches from the mean the same multiple of the distance to the quantiles of 2.5 and 97.5
% on its side, so that it follows their skewness (the directional quantile envelope of Myllymäki, Mrkvička, Grabarnik,
Seijo & Hahn 2017, *J. R. Stat. Soc. B* 79:381; for quantile plots see Aldor-Noiman, Brown, Buja, Rolke & Stine 2013,
*Am. Stat.* 67:249).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.diagnostics.residuals import determined, over_root
from remlblup.equations.base import CHUNK
from remlblup.errors import ModelError, whole_number
from remlblup.fit.terms.field_maps import units_term
from remlblup.inference.resampling.simulate import Simulator, seeds

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved

# Draws, and numbers of all of them together; but not fewer than `FEWEST`.
DRAWS, NUMBERS, FEWEST = 999, 20_000_000, 99


@dataclass(frozen=True)
class Envelope:
    """A band around what records of the fitted model give.

    Attributes
    ----------
    lower, upper : (n,)
    level : the share of draws that lies wholly within
    draws : m
    """

    lower: Array
    upper: Array
    level: float
    draws: int


def how_many(draws: int | None, n: int) -> int:
    """Number of draws, if it is not given."""
    if draws is not None:
        return whole_number("draws", draws, 19)
    return int(np.clip(NUMBERS // max(n, 1), FEWEST, DRAWS))


def draws_of(fit: Solved, draws: int, seed: int) -> Iterator[tuple[Array, Array, Array]]:
    """Records less their mean y* (n, c), effects (·, c) and Py* (n, c) of draws from the fit, some at a time."""
    simulator, quadratic = Simulator(fit.specification, fit.beta, fit.theta), fit._solution.quadratic
    streams = seeds(whole_number("seed", seed, 0), range(draws))
    for start in range(0, draws, CHUNK):
        centred = simulator.draw(streams[start : start + CHUNK]) - simulator.mean[:, None]
        effects, projected = fit._equations.respond(fit._solution, centred)
        size = np.sqrt(quadratic / np.sum(centred * projected, axis=0))
        yield centred * size, effects * size, projected * size


def studentized_draws(fit: Solved, draws: int, seed: int) -> Array:
    """(n, m) studentized residuals of draws."""
    P = determined(fit._record_errors.projection, fit._record_errors.before)
    return np.hstack([over_root(projected, P[:, None]) for _, _, projected in draws_of(fit, draws, seed)])


def effect_draws(fit: Solved, k: int, i: int, draws: int, seed: int) -> Array:
    """(q, m) BLUPs of effect i of term k over its levels, of draws."""
    equations, design = fit._equations, fit._equations.random[k]
    out = []
    for _, effects, _ in draws_of(fit, draws, seed):
        own = equations.term_blocks(effects)[k][i].reshape(-1, effects.shape[1])
        out.append(own if design.root is None else design.root @ own)
    return np.hstack(out)


def residual_draws(fit: Solved, draws: int, seed: int) -> Array:
    """(n, m) residuals of draws with their independent part, as `field_maps.whole` has those of the data."""
    equations, units, n = fit._equations, units_term(fit), fit.specification.n
    out = []
    for records, effects, _ in draws_of(fit, draws, seed):
        left = records - np.asarray(equations.W @ effects)[:n]
        for k, design in enumerate(equations.random):
            if units is not None and design.name == units.name:
                left = left + design.columns[0] @ equations.term_blocks(effects)[k].reshape(design.q, -1)
        out.append(left)
    return np.hstack(out)


def envelope(values: Array, level: float) -> Envelope:
    """The simultaneous band of columns (n, m) that are comparable row by row.

    Raises
    ------
    ModelError
        If there is nothing to compare.
    """
    n, m = values.shape
    if not n:
        raise ModelError("there is nothing to draw a band for.")
    mean = values.mean(axis=1, keepdims=True)
    low, high = np.quantile(values, [0.025, 0.975], axis=1)[..., None]
    below, above = mean - low, high - mean
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(values > mean, (values - mean) / above, (mean - values) / below)
    # A row that is the same in all draws says nothing.
    furthest = np.max(np.where(np.isfinite(depth), depth, 0.0), axis=0)
    reach = float(np.quantile(furthest, level, method="higher"))
    lower, upper = (mean - reach * below).ravel(), (mean + reach * above).ravel()
    return Envelope(lower, upper, float(np.mean(furthest <= reach)), m)
