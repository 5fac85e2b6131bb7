"""The exact test of Hardy-Weinberg proportions."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remlblup.relationship.genomic.hardy_weinberg import exact_p_values


def by_fractions(n0: int, n1: int, n2: int) -> float:
    """Wigginton et al.'s eq. 1 and 2 in rational numbers."""
    N, a = n0 + n1 + n2, 2 * n2 + n1

    def probability(h):
        k2 = (a - h) // 2
        k0 = N - h - k2
        ways = Fraction(factorial(N), factorial(k0) * factorial(h) * factorial(k2))
        return 2**h * ways * Fraction(factorial(a) * factorial(2 * N - a), factorial(2 * N))

    every = [probability(h) for h in range(a % 2, min(a, 2 * N - a) + 1, 2)]
    assert sum(every) == 1
    return float(sum(p for p in every if p <= probability(n1)))


def test_all_arrangements_of_alleles_counted():
    """Five genotypes: the alleles laid out in every way, two to an individual."""
    N, copies, observed = 5, 4, 2
    tally: dict[int, int] = {}
    for places in combinations(range(2 * N), copies):
        dose = [sum(p // 2 == i for p in places) for i in range(N)]
        tally[dose.count(1)] = tally.get(dose.count(1), 0) + 1
    total = sum(tally.values())
    expected = sum(v for v in tally.values() if v <= tally[observed]) / total
    counts = [[N - observed - 1, observed, 1]]  # 2 heterozygotes and 1 homozygote hold the 4 copies
    assert exact_p_values(np.array(counts))[0] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("counts", "p"),
    [
        ((14, 57, 50), 0.842279756570793),  # the example of the authors' own code
        ((298, 489, 213), 0.6556635),  # MN blood groups, as HWExact of the R package HardyWeinberg prints it
    ],
)
def test_published_values(counts, p):
    assert exact_p_values(np.array([counts]))[0] == pytest.approx(p, abs=5e-8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 40)] * 3), min_size=1, max_size=6))
def test_agrees_with_rational_arithmetic(counts):
    found = exact_p_values(np.array(counts))
    for row, p in zip(counts, found, strict=True):
        if sum(row) == 0:
            assert np.isnan(p)
        else:
            assert p == pytest.approx(by_fractions(*row), rel=1e-10)
            assert p == pytest.approx(exact_p_values(np.array([row[::-1]]))[0], rel=1e-12)  # either allele


def test_large_counts_and_monomorphic_markers():
    p = exact_p_values(np.array([[0, 0, 3000], [0, 4000, 0], [1250, 2500, 1250]]))
    assert p[0] == 1.0
    assert p[1] == pytest.approx(0.0, abs=1e-300)
    assert p[2] == pytest.approx(1.0, abs=1e-12)  # at the mode every other number is less probable
