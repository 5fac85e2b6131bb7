"""The genotyped animals' part of single-step as dense matrices."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.linalg.threads import single_threaded
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.single_step.blocks import (
    A22_SINGULAR,
    both_inverted,
    combined,
    differences,
    inverted,
    likeness,
    prepare,
)
from remlblup.relationship.single_step.weights import Weights

#: Of so many genotyped animals A₂₂ and its inverse are kept; of more they are made again when something asks for them.
_KEPT = 1000
_BLOCK = 256


class Formed:
    """G_w, H₂₂ and the block τG_w⁻¹ − ωA₂₂⁻¹ of H⁻¹, each (g, g).

    Parameters
    ----------
    pedigree : relationship of all animals
    positions : (g,) of the genotyped animals in it
    G : (g, g) an array of its own, in whose place G_w stands in the end
    weights : Weights

    Attributes
    ----------
    Gw, H22, block : matrices
    tuned_by : the constants (a, b) of the tuning
    log_A22, log_H22 : log-determinants
    likeness : of A₂₂, G as given and G_w with A₂₂; see `blocks.likeness`
    apart : (g,) root mean square difference of each row of G_w from that of A₂₂

    Raises
    ------
    RelationshipError
        Where a matrix is not positive definite.
    """

    @single_threaded
    def __init__(self, pedigree: RelationshipBase, positions: np.ndarray, G: Array, weights: Weights):
        self.pedigree, self.positions = pedigree, positions
        self.tuned_by, self.log_A22, self.log_H22 = (0.0, 1.0), 0.0, 0.0
        self.Gw = self.H22 = G
        kept = len(G) <= _KEPT
        A22 = self.A22 if kept else pedigree.among(positions)
        of_raw = likeness(G, A22)
        if len(G):
            self.tuned_by = prepare(G, A22, weights)
        self.likeness = [likeness(A22, A22), of_raw, likeness(G, A22)]
        self.apart = differences(G, A22)
        if len(G) == 0:
            self.block = self.A22_inverse = A22
            return
        # Three matrices are held at a time.
        (A22, self.log_A22), (block, self.log_H22) = both_inverted(A22.copy() if kept else A22, G.copy())
        tau, omega = weights.tau, weights.omega
        if (tau, omega) != (1.0, 1.0):
            self.H22, log = inverted(
                tau * block + (1.0 - omega) * A22,
                f"single-step relationship H with tau = {tau:g} and omega = {omega:g}",
                "tau Gw⁻¹ + (1 − omega) A22⁻¹ must be positive definite: take an omega nearer to 1, or a larger tau.",
            )
            self.log_H22 = -log
        self.block = combined(block, A22, tau, omega)
        if kept:
            self.A22_inverse = A22

    @cached_property
    def A22(self) -> Array:
        """A₂₂ (g, g)."""
        return self.pedigree.among(self.positions)

    @cached_property
    @single_threaded
    def A22_inverse(self) -> Array:
        """A₂₂⁻¹ (g, g)."""
        return inverted(self.A22.copy(), *A22_SINGULAR)[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The matrices that it holds, in words."""
        held = ["G blended and tuned", "its part of H⁻¹"]
        held += ["H22"] if self.H22 is not self.Gw else []
        held += [text for name, text in (("A22", "A22"), ("A22_inverse", "A22⁻¹")) if name in self.__dict__]
        return tuple(held)

    def multiply(self, V: Array) -> Array:
        """H V for V (n, m): products with A and with these."""
        product = self.pedigree.multiply(V)
        if len(self.positions) == 0:
            return product
        inner = self.A22_inverse @ product[self.positions]
        change = np.zeros_like(product)
        change[self.positions] = self.A22_inverse @ (self.H22 @ inner) - inner
        return product + self.pedigree.multiply(change)

    @single_threaded
    def diagonal(self) -> Array:
        """diag(A) + the row products of A_{·2} A₂₂⁻¹ (H₂₂ − A₂₂) A₂₂⁻¹ with A_{·2}, (n,), a block of animals at a
        time."""
        result = np.array(self.pedigree.diagonal, dtype=float)
        n = len(result)
        for start in range(0, n if len(self.positions) else 0, _BLOCK):
            block = np.arange(start, min(start + _BLOCK, n))
            inner = self.A22_inverse @ self.pedigree.columns(block)[self.positions]
            result[block] += np.einsum("gm,gm->m", inner, self.H22 @ inner - self.A22 @ inner)
        result[self.positions] = np.diag(self.H22)
        return result
