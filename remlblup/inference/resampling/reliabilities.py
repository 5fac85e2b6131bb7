"""Reliabilities by sampling, for models whose C⁻¹ or P is out of reach.

With u* ~ N(0, G) drawn, records y* = Zu* + e* and their û* = GZ'Py* (García-Cortés & Sorensen 1996), û* and u* − û* are
uncorrelated, with variances r g and (1 − r) g = PEV of a level whose own variance g is known. Means of squares over N
samples, A and B, tell each of them; PEV is the mean of g − A and B, weighted by the inverse of their sampling
variances, 2r²g²/N and 2(1 − r)²g²/N (García-Cortés, Moreno, Varona & Altarriba 1995, J Anim Sci 73:2260; Hickey,
Veerkamp, Calus, Mulder & Thompson 2009, Genet Sel Evol 41:23),

    PEV = [(1 − r)²(g − A) + r²B] / [r² + (1 − r)²],    of error g r(1 − r) √(2/N) / √(r² + (1 − r)²).

Where g is not known either (single-step by products, of animals without genotypes), A + B tells it in
r = A / (A + B), of error r(1 − r) 2/√N; B by itself errs by more, and PEV is missing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError, whole_number
from remlblup.fit.progress import bar_wanted
from remlblup.fit.tables.effects import term_index
from remlblup.inference.resampling.simulate import Simulator, normal, seeds
from remlblup.model.design import RandomDesign
from remlblup.relationship.single_step.relationship import SingleStep

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Samples solved for together.
TOGETHER = 50


def sampled_reliabilities(fit: Estimates, term: str, samples: int, seed: int, progress: bool | None) -> pd.DataFrame:
    """See `Fit.sampled_reliabilities`."""
    from tqdm import tqdm

    samples, seed = whole_number("samples", samples, 2), whole_number("seed", seed, 0)
    progress = bar_wanted(progress)
    spec, k = fit.specification, term_index(fit.specification, term)
    design = spec.random[k]
    if getattr(design.relationship, "groups", None) is not None:
        raise ModelError(
            f"'{design.name}' has groups of unknown parents, which are fixed effects and not drawn: take the errors of"
            " fit.random_effects of another engine."
        )
    sampler = Sampler(fit)
    explained, missed = np.zeros((2, design.t, design.q))
    with tqdm(total=samples, unit=" samples", disable=not progress, leave=False) as bar:
        for first in range(0, samples, TOGETHER):
            batch = range(first, min(first + TOGETHER, samples))
            own, effects = sampler.sample(k, seed, batch)
            explained += np.sum(effects**2, axis=2) / samples
            missed += np.sum((own - effects) ** 2, axis=2) / samples
            bar.update(len(batch))
    sigma = design.structure.covariance(spec.parameters.split(fit.theta)[k])
    prior = np.outer(np.diag(sigma), np.broadcast_to(known_diagonal(design), design.q))
    pev, reliability, error = weighted(prior, explained, missed, samples)
    table = pd.DataFrame(
        {
            "effect": np.repeat(np.asarray(design.structure.effects, dtype=object), design.q),
            "level": np.tile(np.asarray(design.relationship.labels), design.t),
            "pev": pev.ravel(),
            "reliability": reliability.ravel(),
            "monte_carlo_error": error.ravel(),
        }
    )
    note = f"Reliabilities of '{design.name}' by {samples:,} samples of seed {seed}: they have a Monte Carlo error."
    if np.isnan(prior).any():
        note += " PEV is missing where the level's own variance is not known."
    return fit._shown(table, note)


def known_diagonal(design: RandomDesign) -> Array:
    """The diagonal of K, (q,), NaN where it is not known."""
    relationship = design.relationship
    if isinstance(relationship, SingleStep) and relationship.unformed is not None:
        return relationship.unformed.known_diagonal
    return np.asarray(relationship.diagonal)


def weighted(prior: Array, explained: Array, missed: Array, samples: int) -> tuple[Array, Array, Array]:
    """PEV, reliability and the error of this, of g, A and B (t, q) each; PEV is NaN where g is, which is not known."""
    whole = explained + missed
    r = np.divide(explained, whole, out=np.zeros_like(whole), where=whole > 0.0)
    size, known = r**2 + (1.0 - r) ** 2, np.isfinite(prior)
    g = np.where(known, prior, whole)
    pev = np.clip(((1.0 - r) ** 2 * (g - explained) + r**2 * missed) / size, 0.0, g)
    error = r * (1.0 - r) * np.where(known, np.sqrt(2.0 / size), 2.0) / np.sqrt(samples)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known, pev, np.nan), 1.0 - pev / g, np.where(g > 0.0, error, np.nan)


class Sampler:
    """Effects and records drawn at the estimates of a fit, and the BLUPs of these.

    Sample j has the j-th child of the seed: the same numbers, however many are drawn.
    """

    def __init__(self, fit: Estimates):
        self.fit, self.spec = fit, fit.specification
        self.simulator = Simulator(self.spec, fit.beta, fit.theta)

    def sample(self, k: int, seed: int, batch: range) -> tuple[Array, Array]:
        """u* and û* of term k, (t, q, samples) each."""
        numbers = partial(normal, [np.random.default_rng(s) for s in seeds(seed, batch)])
        effects = self.simulator.effects(numbers)
        records = self.simulator.deviations(effects, numbers)
        equations: Any = self.fit._equations
        found = equations.term_blocks(equations.effects_of(self.fit._solution, records))[k]
        design = equations.random[k]
        found = found.reshape(design.t, -1, len(batch))
        return effects[k], found if design.root is None else np.einsum("lq,tqc->tlc", design.root, found)
