"""Records drawn from a fitted model: y* = Xβ̂ + Zu* + e*, u* ~ N(0, Σ̂ ⊗ K) and e* ~ N(0, R̂) drawn anew.

Effects by Σ = ΛΛ' and a root of K (`relationship.roots`): by descent of a pedigree, so that a million animals cost no
more than their list. Residuals by R of the records, or by a Cholesky factor of R⁻¹, with the cells that a field fills
in drawn as well and left out.

Replicate k has the k-th child of the seed: the same numbers, however many are drawn and by whatever process.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import MemoryLimitError, ModelError, VarianceError, whole_number
from remlblup.model.specification import Specification
from remlblup.relationship.draws import Normal, drawn, is_unformed, passed_over
from remlblup.relationship.roots import precision_root_times, root_width
from remlblup.reml.singular_residual import has_no_inverse

# Records of all replicates drawn together, which fixes the shape of the products and with it their last digits.
TOGETHER, MOST = 100_000, 512
# Records up to which a singular R is held as a matrix.
DENSE = 10_000


def seeds(seed: int, replicates: range) -> list[np.random.SeedSequence]:
    """A stream for each replicate, the same however many there are: the k-th child of the seed, as `spawn` makes it."""
    return [np.random.SeedSequence(seed, spawn_key=(k,)) for k in replicates]


def batches(n: int, records: int) -> list[range]:
    """Replicates that are drawn together; which they are does not depend on who draws them."""
    step = max(1, min(MOST, TOGETHER // max(records, 1)))
    return [range(k, min(k + step, n)) for k in range(0, n, step)]


class Simulator:
    """A model at given parameters, ready to draw records from.

    Parameters
    ----------
    spec : Specification
    beta : (p,) of the columns kept
    theta : (n_parameters,)
    """

    def __init__(self, spec: Specification, beta: Array, theta: Array):
        self.spec = spec
        mean = np.asarray(spec.fixed.matrix @ beta).ravel() if spec.p else np.zeros(spec.n)
        self.mean = mean if spec.offset is None else mean + spec.offset
        *parts, self.phi = spec.parameters.split(theta)
        self.roots = [
            covariance_root(d.structure.covariance(part), d.name) for d, part in zip(spec.random, parts, strict=True)
        ]
        self.residual = spec.residual
        size = self.residual.size
        self.error: Array | None = None
        self.precision: sp.csc_array | None = None
        self.deviation: Array | None = None
        if self.residual.pattern.is_diagonal:
            variances = self.residual.multiply(self.phi, np.ones(size))
            if np.any(variances < 0.0):
                raise VarianceError("a residual variance is negative: there are no such errors to draw.")
            self.deviation = np.sqrt(variances)
        elif has_no_inverse(self.residual, self.phi):
            if size > DENSE:
                raise MemoryLimitError(
                    f"R of {size:,} records has no inverse, and as a matrix it is too large to draw from."
                )
            self.error = covariance_root(self.residual.multiply(self.phi, np.eye(size)), "residual")
        else:
            pattern, rho = self.residual.pattern, self.residual.coefficients(self.phi)
            values = pattern.value * rho[pattern.coefficient]
            lower = sp.csc_array(sp.coo_array((values, (pattern.rows, pattern.columns)), shape=(size, size)))
            self.precision = sp.csc_array(lower + sp.tril(lower, -1).T)

    @cached_property
    def length(self) -> int | None:
        """Numbers that a replicate takes; None where that is known only when they are drawn: of a K not formed."""
        relationships = [d.relationship for d in self.spec.random]
        if any(map(is_unformed, relationships)):
            return None
        widths = (root_width(K) * len(L) for K, L in zip(relationships, self.roots, strict=True))
        return sum(widths) + self.residual.size

    def draw(self, streams: Sequence[np.random.SeedSequence]) -> Array:
        """Records (n, k), a column for each stream."""
        numbers: Normal = partial(normal, [np.random.default_rng(s) for s in streams])
        if self.length is not None:  # the same ones, asked for at once
            numbers = taken_apart(numbers(self.length))
        return self.mean[:, None] + self.deviations(self.effects(numbers), numbers)

    def effects(self, normal: Normal) -> list[Array]:
        """u of every term, (t, q, k), of independent standard normal numbers."""
        out = []
        for design, L in zip(self.spec.random, self.roots, strict=True):
            own = drawn if L.any() else passed_over  # of a variance of zero no root is made
            out.append(np.tensordot(L, np.array([own(design.relationship, normal) for _ in range(design.t)]), 1))
        return out

    def deviations(self, effects: Sequence[Array], normal: Normal) -> Array:
        """Zu + e (n, k)."""
        out = self.errors(normal(self.residual.size))[: self.spec.n].copy()
        for design, u in zip(self.spec.random, effects, strict=True):
            for Z, own in zip(design.columns, u, strict=True):
                out += Z @ own
        return out

    def errors(self, normal: Array) -> Array:
        """e of the records and of the cells filled in, (size, k)."""
        if self.deviation is not None:
            return self.deviation[:, None] * normal
        if self.error is not None:
            return self.error @ normal
        assert self.precision is not None
        return precision_root_times(self.precision, normal)


def normal(generators: Sequence[np.random.Generator], rows: int) -> Array:
    """(rows, k) independent standard normal numbers, a column of each generator."""
    return np.column_stack([g.standard_normal(rows) for g in generators])


def taken_apart(numbers: Array) -> Normal:
    """The rows of (length, k) numbers, from the first on."""
    at = 0

    def next_rows(rows: int) -> Array:
        nonlocal at
        at += rows
        return numbers[at - rows : at]

    return next_rows


def covariance_root(sigma: Array, name: str) -> Array:
    """A root of Σ (t, t), singular or not.

    Raises
    ------
    VarianceError
        If Σ is indefinite, as it may be without constraints.
    """
    values, vectors = np.linalg.eigh(sigma)
    if values[0] < -1e-9 * max(abs(float(values[-1])), np.finfo(float).tiny):
        raise VarianceError(
            f"the covariance matrix of '{name}' is not positive semidefinite: there are no such effects to draw. Fit"
            " with constrain=True."
        )
    # The symmetric root: it does not depend on the signs of eigenvectors.
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def simulate(spec: Specification, beta: Array, theta: Array, n: int, seed: int) -> pd.DataFrame:
    """See `Fit.simulate`."""
    n, seed = whole_number("n", n, 1), whole_number("seed", seed, 0)
    if 8.0 * n * spec.n > 64e9:
        raise ModelError(
            f"{n:,} replicates of {spec.n:,} records take {8e-9 * n * spec.n:.0f} GB: draw fewer at a time."
        )
    simulator = Simulator(spec, beta, theta)
    drawn = [simulator.draw(seeds(seed, b)) for b in batches(n, spec.n)]
    return pd.DataFrame(np.hstack(drawn), index=spec.index)
