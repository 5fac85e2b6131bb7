"""Why a fit stopped, and what of its result the data do not determine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.reml.convergence import Convergence, Criterion, explain
from remlblup.reml.space import Point, Space
from remlblup.reml.step import propose

if TYPE_CHECKING:
    from remlblup.reml.loop import Loop


def labels(space: Space, mask: np.ndarray) -> tuple[str, ...]:
    """Labels of the components in a mask."""
    columns = space.equations.spec.parameters.columns
    return tuple(columns[i] for i in np.flatnonzero(mask))


def judged(loop: Loop, point: Point, checks: tuple[Criterion, ...], stopped: str) -> Convergence:
    """The verdict on a fit that stopped at a point."""
    space = loop.space
    columns = space.equations.spec.parameters.columns
    unidentified = loop.confounded or tuple(columns[i] for i in flat(space, point))
    failed = [c.name for c in checks if not c.passed]
    collapsed = collapses(space, point, failed) or (stopped == "collapse" and bool(failed))
    reason = explain(
        not failed,
        unidentified,
        "collapse" if collapsed else (edge(loop, point) if failed else None) or stopped,
        failed,
        by_design=bool(loop.confounded),
    )
    return Convergence(checks, reason, labels(space, space.boundary(point)), unidentified, len(loop.iterations) - 1,
                       collapsed)  # fmt: skip


def collapses(space: Space, point: Point, failed: list[str]) -> bool:
    """Whether the residual variance went to zero."""
    residual, R = space.equations.spec.parameters.slices[-1], space.equations.spec.residual
    # On the way to the floor ℓ drowns in rounding: a fit that ends there without meeting its criteria has gone far enough.
    near, least = (1e6, 1e-5) if failed else (1.001, 1e-8)
    on_floor = (point.theta <= near * space.lower)[residual] & ((point.gradient < 0.0)[residual] | bool(failed))
    collapsed = bool(np.any(on_floor & R.variances))
    if collapsed and (matrices := R.matrices(point.theta[residual])):  # a specific variance of zero is no collapse
        collapsed = any(np.linalg.eigvalsh(s)[0] < least * np.trace(s) / len(s) for _, s in matrices.values())
    return collapsed


def edge(loop: Loop, point: Point) -> str | None:
    """Which edge of the parameter space, where it has no way to go on, the next step would reach; None if none.

    A residual correlation at its bound or an R that would be singular, a matrix partly held, or one of a structure
    without coordinates of its own near the edge.
    """
    space, now = loop.space, point.theta
    theta = propose(space, point, point.information, 1.0, loop.reluctant)
    _, ceiling, floor = space.residual_kinds
    to_bound = np.concatenate([space.upper[ceiling] - now[ceiling], now[floor] - space.lower[floor]])
    if np.any(to_bound < 1e-3):
        return "rigid"
    if space.feasible(theta):
        return None
    parameters = space.equations.spec.parameters
    if not parameters.residual.feasible(theta[parameters.slices[-1]]):
        return "rigid"
    parts = zip(parameters.structures, parameters.split(theta), strict=False)
    return "edge" if all(s.charted is not None or s.feasible(part) for s, part in parts) else "singular"


def flat(space: Space, point: Point) -> list[int]:
    """Free parameters in a direction along which the likelihood has no curvature.

    A component on a bound that no score holds there counts as free: on a ridge the way out is as good.
    """
    diagonal = np.maximum(np.diag(point.information), np.finfo(float).tiny)
    pressed = point.on_bound & (np.abs(point.gradient) > 1e-5 * np.sqrt(diagonal))
    J = space.tangent(point.theta, pressed)
    if not J.shape[1]:
        return []
    H = J.T @ point.information @ J
    diagonal = np.diag(H)
    if np.any(diagonal <= 0):
        return [int(i) for i in np.flatnonzero(np.any(J[:, diagonal <= 0] != 0.0, axis=1))]
    d = 1.0 / np.sqrt(diagonal)
    values, vectors = np.linalg.eigh(H * np.outer(d, d))
    flat = J @ (d[:, None] * vectors[:, values < 1e-10])
    share = np.abs(flat) / np.maximum(np.max(np.abs(flat), axis=0, initial=0.0), np.finfo(float).tiny)
    return [int(i) for i in np.flatnonzero(np.any(share > 0.1, axis=1))]
