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
    error : (c,) no less than |Pb − x| in the norm of V
    """

    x: Array
    left: Array
    iterations: int
    error: Array


def projected(
    times: Operator,
    precondition: Projector,
    B: Array,
    tolerance: float | Array,
    start: Array | None = None,
    most: int = 1000,
    least: float = 1.0,
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
    least : no more than the least eigenvalue of P_M V, for the errors

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
    left, enough, error = np.zeros(B.shape[1]), np.broadcast_to(tolerance, B.shape[1]), np.zeros(B.shape[1])
    active = np.flatnonzero(size > 0.0)
    r, g, now = r[:, active], g[:, active], now[active]
    d = g.copy()
    ahead = np.full(len(active), 1.0 / least)
    iterations = 0
    while True:
        left[active] = np.sqrt(np.maximum(now, 0.0)) / size[active]
        error[active] = np.sqrt(ahead * np.maximum(now, 0.0))
        going = left[active] > enough[active]
        if not going.any() or iterations == most:
            return Solved(x, left, iterations, error)
        if not going.all():
            active, r, d, now, ahead = active[going], r[:, going], d[:, going], now[going], ahead[going]
        q = times(d)
        curvature = dots(d, q)
        if not np.all(curvature > 0.0):
            raise NotPositiveDefiniteError("V is not positive definite at these variances.")
        step = now / curvature
        x[:, active] += step * d
        g, r = precondition(r - step * q)
        after = dots(r, g)
        d = g + (after / now) * d
        ahead, now = still_ahead(ahead, step, after / now, least), after
        iterations += 1


def still_ahead(ahead: Array, step: Array, ratio: Array, least: float) -> Array:
    """After another step, no less than |Pb − x|² in the norm of V over |r|² in that of P_M, from what it was before.

    It starts at 1/`least`; the step is that along the direction of the search, `ratio` that of |r|² after and before:
    the bound of Gauss-Radau quadrature (Meurant & Tichý 2013, Numer Algorithms 62:163).
    """
    if not least > 0.0:
        return np.full_like(ahead, np.inf)
    rest = ahead - step
    known = rest > 0.0  # rounding, else
    rest = np.where(known, rest, 1.0)
    return np.asarray(np.where(known, rest / (least * rest + ratio), 1.0 / least))


def dots(A: Array, B: Array) -> Array:
    """The products of the columns of two matrices (n, c), (c,)."""
    return np.einsum("nc,nc->c", A, B)
