"""The gene drop of the single-step benchmark: gametes come from the parents, and G estimates A."""

from __future__ import annotations

import numpy as np
import pytest

from remlblup import Pedigree, SingleStep
from remlblup.validation.benchmarks.genotypes import _inherit, genotyped_animals


def test_gametes_are_pieces_of_the_parents_two_haplotypes():
    rng = np.random.default_rng(1)
    founders, size = 4, 50
    haplotypes = np.zeros((6, 2, size), np.uint8)
    haplotypes[:founders] = np.arange(2 * founders).reshape(founders, 2, 1)  # every founder haplotype has its number
    sire, dam = np.array([-1, -1, -1, -1, 0, 4]), np.array([-1, -1, -1, -1, 1, 3])
    places = np.full((6, 2, 8), size)
    places[4, 0, :2] = 10, 30  # two crossovers in the gamete of animal 0
    first = rng.integers(0, 2, (6, 2)).astype(np.uint8)
    first[4] = 1, 0
    _inherit(haplotypes, sire, dam, founders, places, first)
    np.testing.assert_array_equal(haplotypes[4, 0], np.repeat([1, 0, 1], [10, 20, 20]))
    np.testing.assert_array_equal(haplotypes[4, 1], np.full(size, 2))
    np.testing.assert_array_equal(haplotypes[5, 0], haplotypes[4, first[5, 0]])
    np.testing.assert_array_equal(haplotypes[5, 1], np.full(size, 6 + first[5, 1]))


def test_genomic_relationships_are_those_of_the_pedigree_but_for_sampling():
    data = genotyped_animals(600, 100, 0.02, loci=3000)
    pedigree = Pedigree(*(data.pedigree[c] for c in ("id", "sire", "dam")))
    table = SingleStep(pedigree, data.genomic).compatibility()
    assert len(np.unique(data.genomic[1])) == 100
    assert table.loc["G as given", "correlation"] > 0.8
    assert table.loc["G as given", "regression"] == pytest.approx(1.0, abs=0.1)
