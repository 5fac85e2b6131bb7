"""M, a matrix like V whose equations can be factorised, and its projection P_M.

Terms of unrelated levels and of sparse relationships stand in M as they are, solved exactly by Henderson's equations;
a single-step relationship by its pedigree; one that is dense by independent levels of the same variance, where these
have several records or effects, or records of unequal errors. So the conjugate gradients have only the genomic part to
find: with none M is V.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import columns_at_once
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.stochastic.probes import Probes
from remlblup.equations.stochastic.products import Products
from remlblup.errors import MemoryLimitError
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.base import IdentityRelationship

# Flops of a factorisation beyond which the pedigree is left to the conjugate gradients.
TOO_MANY = 2e12


class Preconditioner:
    """P_M by Henderson's equations of a model like the given one.

    Parameters
    ----------
    spec : Specification

    Attributes
    ----------
    kept : numbers of the terms that stand in M
    exact : whether M is V
    instead : places in M of what stands there for something else
    """

    def __init__(self, spec: Specification):
        self.spec = spec
        alike = spec.residual.keyword == "units" and not np.ptp(spec.weights) > 0.0
        stands: dict[int, RandomDesign] = {
            k: d for k, d in enumerate(stand_in(d, alike) for d in spec.random) if d is not None
        }
        self.exact = all(stands.get(k) is d for k, d in enumerate(spec.random))
        try:
            self.equations = self._equations(stands)
            if self.equations.stats.flops > TOO_MANY:
                raise MemoryLimitError
        except MemoryLimitError:
            stands = {k: d for k, d in stands.items() if d.is_identity}
            self.exact = False
            self.equations = self._equations(stands)
        self.kept = tuple(stands)
        self.instead = [place for place, k in enumerate(self.kept) if stands[k] is not spec.random[k]]

    def _equations(self, stands: dict[int, RandomDesign]) -> MixedModelEquations:
        return MixedModelEquations(replace(self.spec, random=tuple(stands.values())))

    def at(self, theta: Array) -> ProjectionOfM:
        """P_M at θ."""
        parts = self.spec.parameters.split(theta)
        own = np.concatenate([*(parts[k] for k in self.kept), parts[-1]])
        return ProjectionOfM(self.equations, own)

    def least(self, theta: Array) -> float:
        """No more than the least eigenvalue of P_M V.

        V is no less than R and the terms that stand in M as they are. With S the others of M, of which no relationship
        has an entry below zero, it is at least 1/(1 + s), s the largest row of |R⁻¹||S|, no less than any eigenvalue of
        R⁻¹S.
        """
        if not self.instead:
            return 1.0
        equations, parts = self.equations, self.spec.parameters.split(theta)
        rows = np.zeros((self.spec.n, 1))
        for place in self.instead:
            design = equations.spec.random[place]
            sizes = [abs(z) for z in design.columns]
            sums = np.hstack([z.T @ np.ones((self.spec.n, 1)) for z in sizes])
            sums = sums if design.is_identity else design.relationship.multiply(sums)
            sums = sums @ np.abs(design.structure.covariance(parts[self.kept[place]]))
            rows += sum(z @ sums[:, [a]] for a, z in enumerate(sizes))
        rho = self.spec.residual.coefficients(parts[-1])
        return 1.0 / (1.0 + float(np.max(abs(self.spec.residual.pattern.matrix(rho)) @ rows)))

    def probes(self, probes: Probes, products: Products) -> Probes:
        """The same probes for M: K Z'z of what stands in it, that of V where it is the same."""
        needed = {
            position: self.equations.spec.random[position]
            for position, k in enumerate(self.kept)
            if self.equations.spec.random[position] is not self.spec.random[k]
        }
        related: list[Array | None] = [probes.related[k] for k in self.kept]
        for position, design in needed.items():
            related[position] = None
            if not design.is_identity:
                block = products.scores(probes.z)[position]
                related[position] = design.relate(block.reshape(design.t, -1)).reshape(block.shape)
        return Probes(probes.seed, probes.z, tuple(related))


class ProjectionOfM:
    """P_M = M⁻¹ − M⁻¹X(X'M⁻¹X)⁻¹X'M⁻¹ at one θ."""

    def __init__(self, equations: MixedModelEquations, theta: Array):
        self.equations, self.theta = equations, theta
        self.solution = equations.solve(theta)

    def __call__(self, B: Array) -> tuple[Array, Array]:
        """P_M B, (n, c), and B − Xβ̂ for the β̂ of M."""
        equations = self.equations
        step, p = columns_at_once(equations.m), equations.p
        out, free = np.empty_like(B), B.copy()
        for start in range(0, B.shape[1], step):
            chunk = slice(start, start + step)
            effects, out[:, chunk] = equations.respond(self.solution, np.ascontiguousarray(B[:, chunk]))
            if p:
                free[:, chunk] -= equations.spec.fixed.work @ effects[:p]
        return out, free


def stand_in(design: RandomDesign, alike: bool) -> RandomDesign | None:
    """What stands in M for a term; None for nothing. `alike`: whether all records have errors of the same variance."""
    relationship = design.relationship
    if design.is_identity:
        return design
    if (plainer := relationship.plainer) is not None:
        return replace(design, relationship=plainer)
    if relationship.is_sparse and not relationship.is_singular:
        return design
    together = sp.csr_array(sp.vstack(design.columns))
    if alike and design.t == 1 and np.bincount(together.indices, minlength=design.q).max(initial=0) <= 1:
        return None  # one record a level: M would be R but for a scale
    size = np.sqrt(np.broadcast_to(relationship.sizes, design.q).astype(float))
    columns = tuple(sp.csr_array(Z.multiply(size[None, :])) for Z in design.columns)
    return replace(design, relationship=IdentityRelationship(relationship.labels), columns=columns)
