"""The local quadratic model of ℓ, and its coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.linalg.scaled_solve import NULL, Scaled, scaled_solve
from remlblup.linalg.small import eigensystem
from remlblup.reml.point import Point
from remlblup.reml.space import Space
from remlblup.structure.base import Structure
from remlblup.structure.edge.base import Edge

# The slope along a direction without information (an eigenvalue below `NULL`), per standard error, that is one; and
# how many standard errors a step goes there.
LEVEL, FAR = 1e-6, 10.0


@dataclass(frozen=True)
class Newton:
    """The local quadratic model in the coordinates x of a step.

    Most parameters are stepped in themselves, some variances in their square roots (`Structure.roots`), and those of
    a nearly singular Σ in the coordinates of its chart.

    Attributes
    ----------
    gradient, hessian : score and information in x
    free : (n_x,) coordinates that may move
    charts : the charts in use, with the columns of x each takes
    plain : (n_parameters,) column of x of each parameter with a coordinate of its own, -1 otherwise
    x : (n_x,) the coordinates of the point
    """

    gradient: Array
    hessian: Array
    free: np.ndarray
    charts: dict[int, tuple[Edge, slice]]
    plain: np.ndarray
    x: Array

    @property
    def signature(self) -> tuple:
        """What the coordinates are: points with equal signatures have comparable x."""
        return tuple((k, chart.signature) for k, (chart, _) in self.charts.items())

    def with_hessian(self, hessian: Array) -> Newton:
        """The same model with another curvature."""
        return replace(self, hessian=hessian)

    @classmethod
    def at(cls, space: Space, point: Point, information: Array, charts: dict[int, Edge]) -> Newton:
        """The quadratic model at a point, with the given terms in chart coordinates."""
        if not charts:
            return cls.plainly(space, point, information)
        places = space.equations.spec.parameters.slices
        n, (information, curved_in) = len(point.theta), space.sloping(information, point.gradient)
        columns, curvatures, used = [], [], {}
        plain = np.full(n, -1)
        x, slopes = space.coordinates.at(point.theta).copy(), space.coordinates.slopes(point.theta)
        curved = second_order(space, point)
        width = 0
        for k, place in enumerate(places):
            charted = space.charted[k] if k in charts else slice(place.stop, place.stop)
            alone = slice(place.start, charted.start)
            size = alone.stop - alone.start
            if size:
                columns.append(np.eye(n)[:, alone] * slopes[alone])
                curvatures.append(curved[alone, alone])
                plain[alone] = np.arange(width, width + size)
                width += size
            if k in charts:
                block = np.zeros((n, size := len(charts[k].x)))
                block[charted] = charts[k].jacobian()
                columns.append(block)
                curvatures.append(charts[k].curvature(space.edge_score(k, point)))
                used[k] = (charts[k], slice(width, width + size))
                x[charted] = charts[k].x
                width += size
        J = np.hstack(columns)
        held = space.held | space.pinned(point)
        free = np.ones(width, dtype=bool)
        free[plain[(held | ~curved_in) & (plain >= 0)]] = False
        H = J.T @ information @ J + scipy.linalg.block_diag(*curvatures)
        g, free = J.T @ point.gradient, free & (np.diag(H) > 0)
        return cls(g, H, free, used, plain, x).supported()

    @classmethod
    def plainly(cls, space: Space, point: Point, information: Array) -> Newton:
        """The quadratic model without charts."""
        information, curved = space.sloping(information, point.gradient)
        free = space.moving & ~space.pinned(point) & curved
        x, g, H = point.theta, point.gradient, information
        if not space.equations.spec.parameters.straight:
            slopes = space.coordinates.slopes(point.theta)
            x, g = space.coordinates.at(point.theta), slopes * g
            H = information * slopes * slopes[:, None] + second_order(space, point)
            free = free & (H.diagonal() > 0)
        return cls(g, H, free, {}, space.places, x).supported()

    def supported(self) -> Newton:
        """The model with enough along the null directions of H for a long step where they have a slope.

        The average information is made of P alone: of components that only X tells apart the full likelihood has a
        slope along a direction of no information; so has any likelihood of fewer error contrasts than components.
        """
        if np.count_nonzero(self.free) < 2 or self.scaled.root is not None:
            return self
        own, d = self.free.nonzero()[0], self.scaled.d
        values, vectors = eigensystem(self.scaled.matrix)
        slopes = np.abs(vectors.T @ (d * self.gradient[own]))
        steep = (values < NULL) & (slopes > LEVEL)
        if not steep.any():
            return self
        new = self.hessian.copy()
        added = (vectors[:, steep] * (slopes[steep] / FAR)) @ vectors[:, steep].T
        new[np.ix_(own, own)] += added / d / d[:, None]
        return self.with_hessian(new)

    @cached_property
    def own(self) -> slice | np.ndarray:
        """Where the free coordinates are: everywhere, or a mask of them."""
        return slice(None) if np.count_nonzero(self.free) == len(self.free) else self.free

    @cached_property
    def scaled(self) -> Scaled:
        """H of the free coordinates, scaled to a unit diagonal."""
        return Scaled.of(self.hessian[self.own][:, self.own])

    @cached_property
    def free_step(self) -> Array:
        """H⁻¹g over the free coordinates, the others staying where they are."""
        return self.scaled.solve(self.gradient[self.own])

    def direction(self, shift: Array | None = None, free: np.ndarray | None = None) -> Array:
        """d with H d = g on the free coordinates; the others move by `shift` (default: not at all)."""
        if free is None and shift is None and self.own is not self.free:
            return self.free_step
        free = self.free if free is None else free
        d = np.zeros(len(self.gradient)) if shift is None else shift.copy()
        d[free] = 0.0
        own = free.nonzero()[0]
        if len(own):
            rows = self.hessian[own]
            d[own] = scaled_solve(rows[:, own], self.gradient[own] - rows @ d)
        return d

    def size(self) -> tuple[float, float]:
        """(largest |score| in standard errors, Newton decrement g'H⁻¹g) over the free coordinates.

        Along directions without information, which no step is taken in, the part r of the score counts as r²/`NULL`.
        """
        g = self.gradient[self.own]
        if not len(g):
            return 0.0, 0.0
        scaled, step = self.scaled, self.free_step
        scores, decrement = scaled.d * g, abs(float(g @ step))
        if scaled.root is None:
            unseen = scores - scaled.matrix @ (step / scaled.d)
            decrement += float(unseen @ unseen) / NULL
        return float(np.abs(scores).max()), decrement


def second_order(space: Space, point: Point) -> Array:
    """The curvature that coordinates quadratic in Σ add to −ℓ, kept convex: (n_parameters, n_parameters).

    For Σ_ij = s_i s_j R_ij that is −2 S_ij R_ij, for Σ = ΛΛ' it is −2 S ⊗ I over the loadings,
    with the score matrix S = ∂ℓ/∂Σ.
    """
    out = np.zeros((len(point.theta),) * 2)
    spec = space.equations.spec
    for k, (design, place) in enumerate(zip(spec.random, spec.parameters.of_terms, strict=True)):
        roots = place.start + np.flatnonzero(design.structure.roots)
        if len(roots):
            theta = point.theta[place].copy()
            theta[: len(roots)] = 1.0
            bent = -2.0 * point.score.of_sigma[k] * design.structure.covariance(theta)
            out[np.ix_(roots, roots)] = convex(bent, np.sqrt(np.diag(space.units[k])))
        elif design.structure.in_factor:
            out[place, place] = loading_curvature(
                design.structure, point.theta[place], point.score.of_factor[k], np.sqrt(np.diag(space.units[k]))
            )
        elif (loadings := design.structure.loading_derivatives(point.theta[place])) is not None:
            scale = np.sqrt(np.diag(space.units[k]))
            out[place, place] = bend(loadings, point.score.of_sigma[k] * np.outer(scale, scale), scale)
    return out


def convex(H: Array, scale: Array) -> Array:
    """The positive semidefinite part of H (t, t), in the units of the effects, whose sizes are `scale`."""
    sizes = np.outer(scale, scale)
    values, vectors = np.linalg.eigh(H * sizes)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T / sizes)


def bend(loadings: Array, S: Array, scale: Array) -> Array:
    """−2 S₋ ⊗ I over the loadings, S₋ the negative part of S in the units of the effects, whose sizes are `scale`."""
    values, vectors = np.linalg.eigh(S)
    negative = (vectors * np.minimum(values, 0.0)) @ vectors.T / np.outer(scale, scale)
    return np.asarray(-2.0 * np.einsum("pia,ij,qja->pq", loadings, negative, loadings))


def loading_curvature(structure: Structure, theta: Array, gradient: Array, scale: Array) -> Array:
    """−2 S₋ ⊗ I over the loadings, S₋ the negative part of S in the units of the effects.

    Of S only what G = ∂ℓ/∂Λ = 2 S Λ tells is known: S = ½(GΛ⁺ + (GΛ⁺)') − ½ Λ⁺'Λ'GΛ⁺.
    """
    factor, gradient = structure.factor(theta)[0] / scale[:, None], gradient * scale[:, None]
    inverse = np.linalg.pinv(factor, rcond=1e-8)
    S = 0.5 * (gradient @ inverse + (gradient @ inverse).T - inverse.T @ (factor.T @ gradient) @ inverse)
    return bend(structure.factor_derivatives(theta), 0.5 * (S + S.T), scale)
