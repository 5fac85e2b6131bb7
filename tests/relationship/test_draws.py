"""Draws from N(0, K) of relationships that are not formed: their covariance is K, to the last digit."""

from __future__ import annotations

import numpy as np
import pytest

import remlblup as rb
from remlblup.relationship.draws import drawn


def covariance(relationship) -> np.ndarray:
    """LL' of the L by which draws come from independent numbers, asked for one number at a time."""
    asked: list[int] = []

    def count(m: int) -> np.ndarray:
        asked.append(m)
        return np.zeros((m, 1))

    drawn(relationship, count)
    whole, rest = np.eye(sum(asked)), [0]

    def normal(m: int) -> np.ndarray:
        rest[0] += m
        return whole[rest[0] - m : rest[0]]

    L = drawn(relationship, normal)
    return L @ L.T


def flock(animals: int = 30, seed: int = 5):
    rng = np.random.default_rng(seed)
    sire = [None if k < 6 else f"a{rng.integers(0, k // 2) * 2}" for k in range(animals)]
    dam = [None if k < 6 else f"a{rng.integers(0, k // 2) * 2 + 1}" for k in range(animals)]
    A = rb.Pedigree([f"a{k}" for k in range(animals)], sire, dam)
    who = [f"a{k}" for k in rng.permutation(animals)[:12]]
    return A, rb.Genotypes.from_matrix(rng.binomial(2, rng.uniform(0.2, 0.6, 40), (12, 40)), ids=who)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tune": 0},
        {"tune": 1},
        {"tau": 1.4},
        {"omega": 0.7},
        {"tau": 0.8, "omega": 0.0, "alpha": 0.8, "tune": 4},
        {"blend_first": False, "alpha": 0.9},
    ],
)
def test_single_step_by_products(options):
    A, genotypes = flock()
    H = rb.SingleStep(A, rb.genomic_relationship(genotypes, formed=False), **options)
    by_draws = covariance(H)
    assert not H.is_formed
    formed = rb.SingleStep(A, rb.genomic_relationship(genotypes), **options).dense()
    assert np.allclose(by_draws, formed, atol=1e-9)
    known = H.by_products.known_diagonal
    assert np.allclose(known[np.isfinite(known)], np.diag(formed)[np.isfinite(known)], atol=1e-12)
    assert np.isfinite(known).sum() == (12 if {"tau", "omega"}.isdisjoint(options) else 0)


def test_a_tuning_that_takes_from_every_element():
    """c₀ < 0: genotypes that are more alike than the pedigree says."""
    A, _ = flock()
    rng = np.random.default_rng(2)
    M = np.where(rng.random((12, 60)) < 0.9, 2, 0)
    M[:, :5] = rng.binomial(2, 0.5, (12, 5))
    G = rb.Genotypes.from_matrix(M, ids=[f"a{k}" for k in range(18, 30)])
    frequencies = np.full(60, 0.5)
    H = rb.SingleStep(A, rb.genomic_relationship(G, frequencies=frequencies, formed=False), tune=2)
    assert H.by_products.shares[0] < 0.0
    formed = rb.SingleStep(A, rb.genomic_relationship(G, frequencies=frequencies), tune=2).dense()
    assert np.allclose(covariance(H), formed, atol=1e-9)


def test_genotypes_and_pedigrees():
    A, genotypes = flock()
    assert np.allclose(covariance(A), A.dense(), atol=1e-12)
    G = rb.genomic_relationship(genotypes, formed=False)
    assert np.allclose(covariance(G), rb.genomic_relationship(genotypes).dense(), atol=1e-12)
