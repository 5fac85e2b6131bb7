"""A step taken in the precisions of the strata, where a step in variances is a poor one far from the maximum.

In balanced data V has a few eigenvalues λ, each with its own f contrasts of y (the strata of an analysis of variance):
ℓ = −½ Σ (f log λ + s/λ). A step of the average information, λ + λ(1 − λ/λ̂) with λ̂ = s/f, is Newton's for 1/λ, the
precision of a stratum: with r = Δλ/λ, λ/(1 − r) is λ̂ itself, from wherever it starts.

The average information is a sum over strata as well, ½ Σ (s/λ³) a a' with λ = a'θ, so that the rows of L' in its
block LDL', from the coarsest term to the residual, are the a's. In other data this holds by halves; the step is as good
as AI's to first order, and the likelihood judges it as any other. Of a covariance matrix λ and r are matrices.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg.lapack import dsygv

from remlblup.arrays import Array
from remlblup.linalg.scaled_solve import scaled_solve
from remlblup.reml.newton import Newton
from remlblup.reml.space import Space
from remlblup.structure.base import Structure

# From here 1/(1 − r) goes on along its tangent: r of 1 and above are none of balanced data.
TANGENT = 0.8

# The parameters of a variance, or of a covariance matrix with its structure.
Block = tuple[np.ndarray, Structure | None]


def has_strata(space: Space) -> bool:
    """Whether θ is made of variances and covariance matrices, and records are left that tell of the residual alone."""
    spec = space.equations.spec
    return spec.parameters.of_variances and spec.n > spec.p + spec.n_random


def blocks(space: Space, free: np.ndarray) -> Iterator[Block]:
    """What may move, terms with few levels first: those of the others are nested in theirs, or cross them."""
    spec = space.equations.spec
    for k in sorted(range(len(spec.random)), key=lambda k: spec.random[k].q):
        structure, place = spec.random[k].structure, spec.parameters.of_terms[k]
        own = space.places[place]
        if structure.cone and structure.size > 1 and np.count_nonzero(free[own]) == len(own):
            yield own, structure
        else:
            yield from ((own[i : i + 1], None) for i in free[own].nonzero()[0])
    own = space.places[spec.parameters.of_residual]
    yield from ((own[i : i + 1], None) for i in free[own].nonzero()[0])


def in_strata(space: Space, theta: Array, model: Newton, d: Array, least: float) -> Array | None:
    """θ where the displacement d leads in the precisions of the strata; None where a stratum has no variance.

    No variance falls below its share `least`.
    """
    moving = list(blocks(space, model.free))
    order = np.concatenate([*(own for own, _ in moving), (~model.free).nonzero()[0]])
    A, now, d = model.hessian[order[:, None], order], theta[order], d[order]
    new, rows, end = now.copy(), [], 0
    for own, structure in moving:
        at, left = slice(end, end := end + len(own)), slice(end, None)
        row = scaled_solve(A[at, at], A[at, left])
        if row.size:
            A[left, left] -= A[left, at] @ row
        rows.append((structure, at, left, row))
    for structure, at, left, row in reversed(rows):
        moved = in_precision(structure, now[at] + row @ now[left], d[at] + row @ d[left])
        if moved is None:
            return None
        new[at] = moved - row @ new[left]
        if structure is None and least and space.constrain:
            new[at] = max(float(new[at][0]), least * float(now[at][0]))
    out = np.empty_like(theta)
    out[order] = new
    return out


def in_precision(structure: Structure | None, stratum: Array, change: Array) -> Array | float | None:
    """λ/(1 − Δλ/λ) of a variance, Λ(Λ − Δ)⁻¹Λ of a matrix, with Δx = rΛx and x'Λx = 1 the sum of Λxx'Λ/(1 − r);
    None where it is not positive definite."""
    if structure is None:
        variance = float(stratum[0])
        return variance * reciprocal(float(change[0]) / variance) if variance > 0.0 else None
    whole = structure.covariance(stratum)
    r, vectors, info = dsygv(structure.covariance(change), whole)
    if info:
        return None
    turned = whole @ vectors
    return structure.project((turned * reciprocal(r)) @ turned.T)


def reciprocal(r: Any) -> Any:
    """1/(1 − r), from `TANGENT` on along its tangent."""
    curved = np.minimum(r, TANGENT)
    return 1.0 / (1.0 - curved) + (r - curved) / (1.0 - TANGENT) ** 2
