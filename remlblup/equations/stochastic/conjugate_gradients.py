"""x = P b by conjugate gradients on the records free of X, each column its own.

P b is the solution of V x = b + Xλ, X'x = 0. With a preconditioner P_M of the same form, of a matrix M like V that can
be factorised, every iterate keeps X'x = 0 (projected conjugate gradients with a constraint preconditioner: Gould,
Hribar & Nocedal 2001, SIAM J Sci Comput 23:1376). No fixed effect costs a column of its own. The columns advance
together, so that each pass over the data serves all of them, and leave when they are done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import NotPositiveDefiniteError

Operator = Callable[[Array], Array]
# P_M r, and r free of the part of it in the columns of X, which P_M does not see.
Projector = Callable[[Array], tuple[Array, Array]]
# A right-hand side of which X leaves less than this is none.
NOTHING = 1e-12


@dataclass(frozen=True)
class Solved:
    """The columns solved for.

    Attributes
    ----------
    x : (n, c)
    left : (c,) what is left of each right-hand side, |r| over |b| in the norm of P_M
    iterations : of the column that took most
    """

    x: Array
    left: Array
    iterations: int


def projected(
    times: Operator,
    precondition: Projector,
    B: Array,
    tolerance: float | Array,
    start: Array | None = None,
    most: int = 1000,
) -> Solved:
    """P B.

    Parameters
    ----------
    times : V
    precondition : P_M, with what of its argument is free of X
    B : (n, c)
    tolerance : of |r| relative to |b|, both in the norm of P_M, which does not see X; one, or one for each column (c,)
    start : (n, c) with X'x = 0, from an earlier θ
    most : iterations

    Raises
    ------
    NotPositiveDefiniteError
        If V is not positive definite along a direction of the search.
    """
    free = precondition(B)[1]  # what X takes away may be all but rounding
    g, r = precondition(free)
    now = dots(r, g)
    size = np.sqrt(np.where(dots(r, r) > NOTHING**2 * dots(B, B), np.maximum(now, 0.0), 0.0))
    x = np.zeros_like(B)
    if start is not None:
        own, rest = precondition(free - times(start))
        norms = dots(rest, own)
        better = norms < now  # a start that is no better than none is none
        x, r, g, now = (np.where(better, a, b) for a, b in ((start, x), (rest, r), (own, g), (norms, now)))
    left, enough = np.zeros(B.shape[1]), np.broadcast_to(tolerance, B.shape[1])
    active = np.flatnonzero(size > 0.0)
    r, g, now = r[:, active], g[:, active], now[active]
    d = g.copy()
    iterations = 0
    while True:
        left[active] = np.sqrt(np.maximum(now, 0.0)) / size[active]
        going = left[active] > enough[active]
        if not going.any() or iterations == most:
            return Solved(x, left, iterations)
        if not going.all():
            active, r, d, now = active[going], r[:, going], d[:, going], now[going]
        q = times(d)
        curvature = dots(d, q)
        if not np.all(curvature > 0.0):
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        step = now / curvature
        x[:, active] += step * d
        g, r = precondition(r - step * q)
        after = dots(r, g)
        d = g + (after / now) * d
        now = after
        iterations += 1


def dots(A: Array, B: Array) -> Array:
    """The products of the columns of two matrices (n, c), (c,)."""
    return np.einsum("nc,nc->c", A, B)
