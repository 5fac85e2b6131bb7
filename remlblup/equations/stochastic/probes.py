"""Random probes: what they tell of the traces tr(P V̇_i).

With z of independent signs, E[zz'] = I (Hutchinson 1990, Commun Stat Simul 19:433),

    tr(P Z_a K Z_b') = E[(Z_a'Pz)' K (Z_b'z)],    tr(P Ṙ) = E[(Ṙz)' Pz],

so that K times Z'z, which no θ changes, is formed once, and an iteration costs P z alone. Probe j depends on the seed
and on j: more of them leave the others as they are, and the score stays a smooth function of θ (common random numbers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.stochastic.products import Products
from remlblup.errors import RelationshipError
from remlblup.linalg.memory import SHARE, available_memory, require
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification


def signs(n: int, seed: int, numbers: range) -> Array:
    """Columns of ±1 (n, probes), each by its own number."""
    columns = [np.random.default_rng([seed, j]).integers(0, 2, n, dtype=np.int8) for j in numbers]
    return np.asarray(2.0 * np.column_stack(columns) - 1.0) if columns else np.zeros((n, 0))


def bytes_each(spec: Specification) -> float:
    """Of a probe: itself, its solution, and what conjugate gradients hold beside these."""
    return 8.0 * (18.0 * spec.n + 3.0 * spec.n_random)  # measured: 20 and 21 n in all, of q = n and q = n/2


def within_memory(spec: Specification, known: int) -> int:
    """How many probes there may be where `known` are held now: not one more than memory does for."""
    held = known * 8.0 * (3.0 * spec.n + spec.n_random)
    return int(min((SHARE * available_memory() + held) / bytes_each(spec), 1e9))


def require_some(design: RandomDesign, block: Array) -> None:
    """Raise `RelationshipError` for a K that is zero; its diagonal is asked for only where a block of products is."""
    if not block.any() and not np.any(design.relationship.diagonal):
        raise RelationshipError(
            f"the relationship matrix of '{design.name}' is zero: levels without variance have no effects. Genotypes"
            " that are the same in all individuals make it so."
        )


@dataclass(frozen=True)
class Probes:
    """Probes with what they need once for all θ.

    Attributes
    ----------
    seed : of the draws
    z : (n, N)
    related : K Z'z of each term, (t, q, N); None where levels are unrelated
    groups : first number, and that behind the last, of those drawn at a time
    """

    seed: int
    z: Array
    related: tuple[Array | None, ...]
    groups: tuple[tuple[int, int], ...] = ()

    @classmethod
    def drawn(cls, products: Products, seed: int, count: int, first: int = 0) -> Probes:
        """Probes `first` to `count` − 1 of a seed.

        Raises
        ------
        MemoryLimitError
            If they, their solutions and what conjugate gradients hold beside these do not fit.
        RelationshipError
            If a relationship is zero.
        """
        n, needed = products.spec.n, (count - first) * bytes_each(products.spec)
        require(needed, f"a product with {count:,} probes of {n:,} records", "or give fewer probes=.")
        z = signs(n, seed, range(first, count))
        blocks = products.related(products.scores(z))
        for design, block in zip(products.spec.random, blocks, strict=True):
            require_some(design, block)
        related = tuple(None if d.is_identity else b for d, b in zip(products.spec.random, blocks, strict=True))
        return cls(seed, z, related, ((first, count),))

    def __len__(self) -> int:
        return self.z.shape[1]

    def more(self, products: Products, count: int) -> Probes:
        """`count` of them, those that are there as they are."""
        new = self.drawn(products, self.seed, count, len(self))
        related = tuple(
            None if a is None or b is None else np.concatenate([a, b], axis=2)
            for a, b in zip(self.related, new.related, strict=True)
        )
        return Probes(self.seed, np.hstack([self.z, new.z]), related, self.groups + new.groups)

    def traces(self, products: Products, x: Array) -> list[Array]:
        """(N, t, t) of each term, (Z_a'x)' K (Z_b'z) of each probe for x = Pz, made symmetric."""
        own = products.scores(x)
        plain = products.scores(self.z) if any(b is None for b in self.related) else own
        out = []
        for xs, zs, related in zip(own, plain, self.related, strict=True):
            T = np.einsum("aqj,bqj->jab", xs, zs if related is None else related)
            out.append(0.5 * (T + np.swapaxes(T, 1, 2)))
        return out

    def residual_traces(self, products: Products, theta: Array, x: Array) -> Array:
        """(N, n_parameters of R) (Ṙ_i z)' x of each probe, Ṙ = −R (R⁻¹)˙ R."""
        residual, phi = products.spec.residual, theta[products.spec.parameters.of_residual]
        Rz, Rx = residual.multiply(phi, self.z), residual.multiply(phi, x)
        slopes = residual.jacobian(phi)
        out = np.empty((len(self), len(slopes)))
        for i, rho_dot in enumerate(slopes):
            out[:, i] = -np.einsum("nj,nj->j", residual.pattern.times(rho_dot, Rz), Rx)
        return out
