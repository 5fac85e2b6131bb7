"""Draws from N(0, K) of a relationship as it stands: of one that is not formed by its genotypes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.arrays import Array
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.genomic.relationship import UnformedRelationship
from remlblup.relationship.roots import root_times, root_width
from remlblup.relationship.single_step.by_products import ByProducts
from remlblup.relationship.single_step.relationship import SingleStep

#: So many rows of independent standard normal numbers, a column for each draw.
Normal = Callable[[int], Array]


def is_unformed(relationship: RelationshipBase) -> bool:
    """Whether K is known by its products alone."""
    return isinstance(relationship, UnformedRelationship) or (
        isinstance(relationship, SingleStep) and relationship.unformed is not None
    )


def drawn(relationship: RelationshipBase, normal: Normal) -> Array:
    """Draws (q, c) from N(0, K)."""
    if isinstance(relationship, UnformedRelationship):
        return relationship.drawn(normal)
    if isinstance(relationship, SingleStep) and relationship.unformed is not None:
        return single_step(relationship.unformed, normal)
    return root_times(relationship, normal(root_width(relationship)))


def passed_over(relationship: RelationshipBase, normal: Normal) -> Array:
    """Zeros (q, c), and the numbers that draws would have taken where they are known without them."""
    taken = normal(0 if is_unformed(relationship) else root_width(relationship))
    return np.zeros((relationship.size, taken.shape[1]))


def single_step(H: ByProducts, normal: Normal) -> Array:
    """u = a + A_{·2} A₂₂⁻¹ (u₂ − a₂) of a ~ N(0, A) and u₂ ~ N(0, H₂₂), the genotyped animals.

    What a leaves beside A_{·2} A₂₂⁻¹ a₂ does not depend on a₂, which may be used again in u₂ (conditioning by kriging:
    Journel & Huijbregts 1978, Mining Geostatistics, section VII.A).
    """
    a = drawn(H.pedigree, normal)
    change = np.zeros_like(a)
    change[H.positions] = H.inverse.times(of_genotyped(H, a[H.positions], normal) - a[H.positions])
    return np.asarray(a + H.pedigree.multiply(change))


def of_genotyped(H: ByProducts, a: Array, normal: Normal) -> Array:
    """Draws from N(0, H₂₂), H₂₂⁻¹ = τG_w⁻¹ + (1 − ω)A₂₂⁻¹, of draws a (g, c) from N(0, A₂₂).

    With x ~ N(0, G_w/τ) and y ~ N(0, A₂₂/(1 − ω)) it is y given that x = y,

        y − A₂₂/(1 − ω) [G_w/τ + A₂₂/(1 − ω)]⁻¹ (y − x).
    """
    tau, omega = H.weights.tau, H.weights.omega
    x = of_Gw(H, a, normal) / np.sqrt(tau)
    if omega == 1.0:
        return x
    y = drawn(H.pedigree, normal)[H.positions] / np.sqrt(1.0 - omega)
    share = tau / (1.0 - omega)
    return np.asarray(y - share * H.solved(y - x, H.shares, share)[1])


def of_Gw(H: ByProducts, a: Array, normal: Normal) -> Array:
    """Draws from N(0, c₀11' + B), B = c₁G + c₂A₂₂, of draws a from N(0, A₂₂).

    Where c₀ < 0, (I + γ 11'B⁻¹) x of x ~ N(0, B), for 1'B⁻¹1 γ² + 2γ = c₀.
    """
    constant, of_G, of_A22 = H.shares
    x = np.sqrt(of_G) * H.G.drawn(normal)[H.order] + np.sqrt(of_A22) * a
    if constant >= 0.0:
        return np.asarray(x + np.sqrt(constant) * normal(1))
    weights, _ = H.solved(np.ones((len(a), 1)), (0.0, of_G, 0.0), of_A22)
    total = float(weights.sum())
    return np.asarray(x + (np.sqrt(1.0 + constant * total) - 1.0) / total * (weights.T @ x))
