"""Products with V = Σ_k Z_k (Σ_k ⊗ K_k) Z_k' + R: no matrix of the order of the records is formed.

Every relationship multiplies in the form that it is held in: A by descent in time linear in the animals, a genomic
K = WW'/m of genotypes by blocks of markers, H by both (`single_step.by_products`), or by its matrices where these are
formed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.base import term_slices
from remlblup.equations.stochastic.blocks import Block, Workers, genomic_part, genotype_blocks
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.single_step.relationship import SingleStep


class Products:
    """V(θ) B, and its parts.

    Parameters
    ----------
    spec : Specification
    workers : where products with genotypes run

    Attributes
    ----------
    Z : (n, effects) of all terms, effect by effect
    passes : how often each relationship has been multiplied with, each time by many columns
    columns : how many columns that were in all
    """

    def __init__(self, spec: Specification, workers: Workers):
        self.spec, self.workers = spec, workers
        self._blocks: dict[int, list[Block]] = {}
        n = spec.n
        columns = [z for d in spec.random for z in d.columns]
        self.Z = sp.csr_array(sp.hstack(columns)) if columns else sp.csr_array((n, 0))
        self.Zt = sp.csr_array(self.Z.T)
        self.places = term_slices(0, [d.t * d.q for d in spec.random])
        self.passes = self.columns = 0

    def blocks(self, effects: Array) -> list[Array]:
        """(effects, c) cut into (t, q, c) of each term."""
        return [effects[place].reshape(d.t, d.q, -1) for d, place in zip(self.spec.random, self.places, strict=True)]

    def scores(self, B: Array) -> list[Array]:
        """Z'B of each term, (t, q, c)."""
        return self.blocks(np.asarray(self.Zt @ B))

    def related(self, blocks: Sequence[Array]) -> list[Array]:
        """(I ⊗ K_k) of each term's block (t, q, c): terms over one relationship in one pass."""
        out: list[Array] = list(blocks)
        for together in self.shared:
            wide = [np.moveaxis(blocks[k], 1, 0).reshape(blocks[k].shape[1], -1) for k in together]
            stacked = np.ascontiguousarray(np.hstack(wide))
            product = self.multiply(self.spec.random[together[0]], stacked)
            start = 0
            for k, own in zip(together, wide, strict=True):
                t, q, c = blocks[k].shape
                part = product[:, start : start + own.shape[1]]
                out[k] = np.moveaxis(part.reshape(q, t, c), 0, 1)
                start += own.shape[1]
        return out

    def multiply(self, design: RandomDesign, columns: Array) -> Array:
        """K columns, (q, c)."""
        self.passes += 1
        self.columns += columns.shape[1]
        relationship = design.relationship
        genomic = genomic_part(relationship)
        if genomic is None:
            return np.asarray(relationship.multiply(columns))
        blocks = self._blocks.get(id(genomic))
        if blocks is None:
            blocks = self._blocks[id(genomic)] = genotype_blocks(genomic.genotypes, genomic.coding)

        def times(V: Array) -> Array:
            return genomic.beside(self.workers.total(blocks, V), V)

        if isinstance(relationship, SingleStep):
            assert relationship.by_products is not None
            return relationship.by_products.multiply(columns, times)
        return times(columns)

    @property
    def shared(self) -> list[list[int]]:
        """Terms by the relationship that they have in common; those of unrelated levels not among them."""
        groups: dict[int, list[int]] = {}
        for k, design in enumerate(self.spec.random):
            if not design.is_identity:
                groups.setdefault(id(design.relationship), []).append(k)
        return list(groups.values())

    def spread(self, theta: Array, related: Sequence[Array]) -> Array:
        """Σ_k (Σ_k ⊗ I) over the effects, (effects, c), of blocks (t, q, c)."""
        parts = self.spec.parameters.split_terms(theta)
        out = [
            np.tensordot(d.structure.covariance(part), block, 1).reshape(d.t * d.q, -1)
            for d, part, block in zip(self.spec.random, parts, related, strict=True)
        ]
        return np.concatenate(out) if out else np.zeros((0, 1))

    def residual(self, theta: Array, B: Array) -> Array:
        """R B."""
        return self.spec.residual.multiply(theta[self.spec.parameters.of_residual], B)

    def times(self, theta: Array, B: Array) -> Array:
        """V B, (n, c)."""
        out = self.residual(theta, B)
        if self.spec.random:
            out = out + self.Z @ self.spread(theta, self.related(self.scores(B)))
        return np.asarray(out)

    def slopes(self, theta: Array, B: Array, related: Sequence[Array | None] | None = None) -> Array:
        """V̇_i B of every parameter, (n_parameters, n, c); `related` has K Z'B of the terms where it is at hand."""
        parameters = self.spec.parameters
        *parts, phi = parameters.split(theta)
        scores = self.scores(B)
        known = self.related(scores) if related is None else related
        out = np.empty((parameters.size, *B.shape))
        for design, part, place, own, block in zip(
            self.spec.random, parts, parameters.of_terms, scores, known, strict=True
        ):
            for i, slope in zip(range(place.start, place.stop), design.structure.derivatives(part), strict=True):
                out[i] = over_records(design, np.tensordot(slope, own if block is None else block, 1))
        RB, place = self.residual(theta, B), parameters.of_residual
        for i, rho in zip(range(place.start, place.stop), self.spec.residual.jacobian(phi), strict=True):
            out[i] = -self.residual(theta, self.spec.residual.pattern.times(rho, RB))
        return out


def over_records(design: RandomDesign, effects: Array) -> Array:
    """Z u of a term's effects (t, q, c), (n, c)."""
    return np.asarray(sum(Z @ u for Z, u in zip(design.columns, effects, strict=True)))
