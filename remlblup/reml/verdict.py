"""Why a fit stopped, and what of its result the data do not determine."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.model.grouping import UNITS
from remlblup.model.specification import Specification
from remlblup.reml.ascent import Ascent
from remlblup.reml.convergence import Convergence, Criterion, explain
from remlblup.reml.coordinates import TINY
from remlblup.reml.distant import noted, runs_off
from remlblup.reml.flat import unmoved
from remlblup.reml.identify import alike
from remlblup.reml.point import Point
from remlblup.reml.space import Space, labels
from remlblup.reml.step import propose
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.sections import Sections

# A correlation this near to 1 along every dimension of a field is that of a trend, if the search does not end there.
TREND = 1e-2
# A nugget below this share of its scale, at which ℓ still rises, goes to zero.
GONE = 1e-6


def judged(
    ascent: Ascent,
    point: Point,
    tangent: Array,
    checks: tuple[Criterion, ...],
    stopped: str,
    confounded: tuple[str, ...] = (),
) -> Convergence:
    """The verdict on a search that stopped at a point, with its `Space.tangent`; `confounded` components are so by
    design."""
    space = ascent.space
    lost = () if confounded else lost_in_rounding(space)
    unidentified = confounded or labels(space, lost_components(space, lost) if lost else flat(space, point, tangent))
    failed = [c.name for c in checks if not c.passed]
    nugget = nugget_gone(space, point) if failed else ()
    vanished = nugget or vanishing(space, point, failed)
    collapsed = bool(vanished) or (stopped == "collapse" and bool(failed))
    whole = not nugget and len(vanished) == np.count_nonzero(space.equations.spec.residual.variances)
    if why := runs_off(space, point, bool(failed)):
        return Convergence(checks, why, ascent.last.boundary, (), len(ascent.rows) - 1, collapsed=True)
    reason = explain(
        not failed,
        unidentified,
        "collapse" if collapsed else (edge(ascent, point) if failed else None) or stopped,
        failed,
        by_design=bool(confounded),
        trend=trend(space.equations.spec, point.theta) if failed or unidentified else "",
        names=() if whole else vanished,
        alike=[f"'{space.equations.spec.random[k].name}'" for k in lost],
        covariates=bool(failed) and has_covariates(space.equations.spec),
    ) + noted(space, point.theta)
    return Convergence(checks, reason, ascent.last.boundary, unidentified, len(ascent.rows) - 1, collapsed)


def has_covariates(spec: Specification) -> bool:
    """Whether X or a Z has numbers other than those of factors."""
    X = spec.fixed.matrix
    values = [X.data if sp.issparse(X) else X, *(z.data for d in spec.random for z in d.columns)]
    return any(not np.isin(v, (-1.0, 0.0, 1.0)).all() for v in values)


def lost_in_rounding(space: Space) -> list[int]:
    """Terms of which something is free, whose effects are too nearly the same over the records for their Σ."""
    places = space.equations.spec.parameters.of_terms
    random = space.equations.spec.random
    return [k for k, d in enumerate(random) if np.count_nonzero(space.moving[places[k]]) and alike(d)]


def lost_components(space: Space, terms: list[int]) -> np.ndarray:
    """(n_parameters,) those of some terms that are free."""
    mask = np.zeros(len(space.moving), dtype=bool)
    for k in terms:
        mask[space.equations.spec.parameters.of_terms[k]] = True
    return mask & space.moving


def trend(spec: Specification, theta: Array) -> str:
    """What to add to the fixed part where the correlations of a field go to 1, its variance without end;
    "" if they do not."""
    residual, phi = spec.residual, theta[spec.parameters.of_residual]
    parts = [(residual, phi)]
    if isinstance(residual, Sections):
        parts = [(part, phi[own]) for part, own in zip(residual.parts, residual.slices, strict=True)]
    along = [
        label
        for part, own in parts
        if isinstance(part, Field) and np.all(own[1:] > 1.0 - TREND)
        for label, kind in zip(part.labels, part.kinds, strict=True)
        if kind == "ar1"
    ]
    along = list(dict.fromkeys(along))
    new = [label for label in along if label not in (*spec.fixed.names, *spec.fixed.aliased)]
    return " + ".join(new) or ":".join(along)


# −∂ℓ/∂log σ² of a variance that is on its way to zero: about half the number of records it would explain.
FALLING = 0.1


def vanishing(space: Space, point: Point, failed: list[str]) -> tuple[str, ...]:
    """Labels of the residual variances that went to zero."""
    residual, R = space.equations.spec.parameters.of_residual, space.equations.spec.residual
    # On the way to the floor ℓ drowns in rounding: a fit that ends there without meeting its criteria has gone far
    # enough.
    near, least = (1e6, 1e-5) if failed else (1.001, 1e-8)
    gone = R.variances & (point.theta[residual] <= near * space.lower[residual])
    if not np.count_nonzero(gone):
        return ()
    # ℓ still rises as log σ² falls: at a maximum, however near to zero, it does not.
    mask = np.zeros(len(point.theta), dtype=bool)
    mask[residual] = gone & ((point.theta * point.gradient)[residual] < -FALLING)
    if not np.count_nonzero(mask):
        return ()
    matrices, regular = R.matrices(point.theta[residual]), []
    for label, (_, whole) in (R.matrices(space.equations.scales.residual) if matrices else {}).items():
        d = 1.0 / np.sqrt(np.diag(whole))
        regular.append(np.linalg.eigvalsh(matrices[label][1] * np.outer(d, d))[0] >= least)
    # A specific variance of zero is no collapse.
    return () if regular and all(regular) else labels(space, mask)


def nugget_gone(space: Space, point: Point) -> tuple[str, ...]:
    """The label of `units`, where ℓ rises without end as its variance falls: records at one place that are alike."""
    spec = space.equations.spec
    mask = np.zeros(len(point.theta), dtype=bool)
    for design, place in zip(spec.random, spec.parameters.of_terms, strict=True):
        mask[place] = design.name == UNITS
    gone = (point.theta > 0.0) & (point.theta < GONE * space.sizes) & (point.theta * point.gradient < -FALLING)
    return labels(space, mask & gone)


def edge(ascent: Ascent, point: Point) -> str | None:
    """Which edge of the parameter space, where it has no way to go on, the next step would reach; None if none.

    A residual correlation at its bound or an R that would be singular, a matrix partly held, or one of a structure
    without coordinates of its own near the edge.
    """
    space, now = ascent.space, point.theta
    theta = propose(space, point, point.information, 1.0, ascent.reluctant)
    parameters = space.equations.spec.parameters
    residual, own = parameters.residual, parameters.of_residual
    correlations = np.isfinite(residual.upper)
    above = correlations & (space.upper[own] - now[own] < 1e-3)
    below = correlations & (residual.lower < 0.0) & (now[own] - space.lower[own] < 1e-3)
    if np.any(above | below):
        return "rigid"
    if space.feasible(theta):
        return None
    if not residual.feasible(theta[own]):
        return "rigid"
    parts = zip(parameters.structures, parameters.split_terms(theta), strict=True)
    return "edge" if all(s.charted is not None or s.feasible(part) for s, part in parts) else "singular"


def flat(space: Space, point: Point, tangent: Array) -> np.ndarray:
    """(n_parameters,) free parameters in a direction along which the likelihood does not change.

    A component on a bound that no score holds there counts as free: on a ridge the way out is as good.
    """
    if np.count_nonzero(point.on_bound):
        diagonal = np.maximum(point.information.diagonal(), TINY)
        pressed = point.on_bound & (np.abs(point.gradient) > 1e-5 * np.sqrt(diagonal))
        tangent = space.tangent(point.theta, pressed)
    return unmoved(space.equations, point, tangent, space.sizes) & space.moving
