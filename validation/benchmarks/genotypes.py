"""Single-step data: genotypes dropped down the pedigree of `simulate.few_sires`, and a genomic matrix of some animals.

Chromosomes are one Morgan long; a gamete has Poisson(1) crossovers, uniform along it. Founder haplotypes are drawn
locus by locus (no linkage disequilibrium but that of the pedigree), with allele frequencies between 0.05 and 0.95.
Breeding values are sums over a twentieth of the loci with normal effects, so that G says more about them than A does. G
is VanRaden's (2008) first, at the frequencies of the genotyped: of another base than A, as in practice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numba import njit

from remlblup.validation.benchmarks.model import Data
from remlblup.validation.benchmarks.simulate import COHORTS, breed, records

LOCI, CHROMOSOMES, CAUSAL = 20_000, 30, 0.05


def genotyped_animals(
    n: int = 100_000, genotyped: int = 5_000, share: float = 0.002, *, loci: int = LOCI, seed: int = 11
) -> Data:
    """An animal model of n animals with `genotyped` of them genotyped: sires of the last cohorts, and young animals.

    Parameters
    ----------
    n : number of animals
    genotyped : of these, all sires of the last three cohorts and, drawn at random, animals of the last two, or of more
    share : sires used for a cohort as a share of its animals
    loci : markers
    seed : of PCG64
    """
    G, scale = np.zeros((genotyped, genotyped), np.float32), 0.0

    def add(copies: np.ndarray) -> None:
        nonlocal scale
        markers = copies.astype(np.float32)
        observed = markers.mean(axis=0)
        markers -= observed
        np.add(G, markers @ markers.T, out=G)
        scale += float((observed * (1.0 - observed / 2.0)).sum())

    frame, pedigree, chosen = _animals(n, genotyped, share, loci, seed, add)
    return Data(frame, pedigree, (G.astype(np.float64) / scale, chosen + 1))


def genotypes_of_animals(
    n: int = 100_000, genotyped: int = 20_000, share: float = 0.002, *, loci: int = LOCI, seed: int = 11
) -> tuple[Data, np.ndarray, np.ndarray]:
    """The same with the genotypes in place of G: (genotyped, loci) copies of an allele, int8, and whose they are."""
    parts: list[np.ndarray] = []
    frame, pedigree, chosen = _animals(n, genotyped, share, loci, seed, parts.append)
    return Data(frame, pedigree), np.hstack(parts).astype(np.int8), chosen + 1


def _animals(
    n: int, genotyped: int, share: float, loci: int, seed: int, each: Callable[[np.ndarray], None]
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Records, pedigree, positions of the genotyped animals; their genotypes go to `each`, a chromosome at a time."""
    rng = np.random.Generator(np.random.PCG64(seed))
    cohort, male, sire, dam = breed(rng, n, max(2, round(share * n / COHORTS)))
    recent = np.unique(sire[cohort >= COHORTS - 3])
    # Of the last two cohorts, or of as many as it takes.
    first = next(c for c in range(COHORTS - 2, -1, -1) if np.sum(cohort >= c) >= genotyped)
    young = np.setdiff1d(np.flatnonzero(cohort >= first), recent)
    drawn = rng.choice(young, genotyped - len(recent), replace=False)
    chosen = np.sort(np.concatenate([recent, drawn]))
    u = _drop(rng, cohort, sire, dam, chosen, loci, each)
    u *= 6.0 / u[cohort == 0].std()
    frame, pedigree = records(rng, cohort, male, sire, dam, u, residual=64.0, recorded=0.95)
    return frame, pedigree, chosen


def _drop(
    rng: np.random.Generator,
    cohort: np.ndarray,
    sire: np.ndarray,
    dam: np.ndarray,
    chosen: np.ndarray,
    loci: int,
    each: Callable[[np.ndarray], None],
) -> np.ndarray:
    """Breeding values of all animals; the genotypes of the chosen ones to `each`, a chromosome at a time."""
    n = len(cohort)
    founders = int((cohort == 0).sum())
    u = np.zeros(n)
    for size in np.diff(np.linspace(0, loci, CHROMOSOMES + 1).astype(int)):
        haplotypes = np.empty((n, 2, size), np.uint8)
        frequency = rng.uniform(0.05, 0.95, size)
        haplotypes[:founders] = rng.random((founders, 2, size)) < frequency
        crossovers = np.minimum(rng.poisson(1.0, (n, 2)), 8).astype(np.uint8)
        places = np.sort(
            np.where(np.arange(8) < crossovers[:, :, None], rng.integers(0, size, (n, 2, 8)), size), axis=2
        )
        first = rng.integers(0, 2, (n, 2)).astype(np.uint8)
        _inherit(haplotypes, sire, dam, founders, places, first)
        causal = np.flatnonzero(rng.random(size) < CAUSAL)
        dosage = haplotypes[:, 0][:, causal].astype(np.float64) + haplotypes[:, 1][:, causal]
        u += dosage @ rng.normal(0.0, 1.0, len(causal))
        each(haplotypes[chosen, 0] + haplotypes[chosen, 1])
    return u - u.mean()


@njit(cache=True)
def _inherit(haplotypes, sire, dam, founders, places, first):
    """Fill the haplotypes of all animals but the founders: those of a parent,
    changed over at the places of crossover."""
    n, _, size = haplotypes.shape
    for i in range(founders, n):
        for side in range(2):
            parent = sire[i] if side == 0 else dam[i]
            strand, start = first[i, side], 0
            for k in range(places.shape[2] + 1):
                stop = places[i, side, k] if k < places.shape[2] else size
                haplotypes[i, side, start:stop] = haplotypes[parent, strand, start:stop]
                strand, start = 1 - strand, stop
