"""What the probes add to the error of θ̂.

The score by N probes is that of ℓ plus an error of covariance S/N; its root is therefore that of ℓ plus one of

    H⁻¹ (S/N) H⁻¹,

H the observed information, which is how the score changes (first order): of few records it is a fifth away from the
average one, of which standard errors are made. Where θ lies on a boundary both are taken along the directions it may
move in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.scaled_solve import scaled_solve


@dataclass(frozen=True)
class MonteCarlo:
    """The part of the probes in the error of θ̂.

    Attributes
    ----------
    probes : how many
    seed : of their draws
    covariance : (n_parameters, n_parameters) of θ̂ over other draws; zero where it cannot move
    errors : (n_parameters,) its roots
    """

    probes: int
    seed: int
    covariance: Array

    @property
    def in_words(self) -> str:
        """What stands above tables."""
        return f"Stochastic, by {self.probes} probes of seed {self.seed}: estimates have a Monte Carlo error."

    @property
    def errors(self) -> Array:
        return np.sqrt(np.diag(self.covariance))

    @classmethod
    def of(cls, information: Array, of_score: Array, tangent: Array, probes: int, seed: int) -> MonteCarlo:
        """From the observed information and the covariance of the score, both (n_parameters, n_parameters), in the
        directions `tangent` (n_parameters, k)."""
        return cls(probes, seed, root_covariance(information, of_score, tangent))


def root_covariance(information: Array, of_score: Array, tangent: Array) -> Array:
    """A⁻¹ S A⁻¹ (n_parameters, n_parameters), both in the directions `tangent` (n_parameters, k)."""
    if not tangent.shape[1]:
        return np.zeros_like(information)
    inner = tangent.T @ information @ tangent
    spread = tangent @ scaled_solve(inner, np.asarray(tangent.T @ of_score @ tangent))
    out = spread @ scaled_solve(inner, tangent.T)
    return np.asarray(0.5 * (out + out.T))
