"""Exact test of Hardy-Weinberg proportions (Wigginton, Cutler & Abecasis 2005, Am J Hum Genet 76:887)."""

from __future__ import annotations

import numpy as np
from scipy.special import gammaln

# Probabilities this close count as equal: those of two tables can be, and rounding must not part them.
_TIE = 1e-8


def exact_p_values(counts: np.ndarray) -> np.ndarray:
    """P values of markers from their genotype counts.

    Given N genotypes and n_A copies of the rarer allele, the probability of h heterozygotes is (eq. 1)

        P(h) = 2^h N! / (n_AA! h! n_aa!) · n_A! n_a! / (2N)!,

    and the p value the sum of those that are no more probable than the number observed.

    Parameters
    ----------
    counts : ndarray of int, shape (m, 3)
        Individuals with 0, 1 and 2 copies of the counted allele.

    Returns
    -------
    ndarray, shape (m,)
        1 for a monomorphic marker, NaN for one without genotypes.
    """
    counts = np.asarray(counts, dtype=np.int64).reshape(-1, 3)
    total = counts.sum(axis=1)
    rare = counts[:, 1] + 2 * np.minimum(counts[:, 0], counts[:, 2])
    out = np.full(len(counts), np.nan)
    # One distribution for all markers with the same numbers of genotypes and alleles.
    order = np.lexsort((rare, total))
    key = np.column_stack([total, rare])[order]
    first = np.flatnonzero(np.r_[True, np.any(key[1:] != key[:-1], axis=1)]) if len(key) else np.zeros(0, int)
    log_factorial = gammaln(np.arange(2 * total.max(initial=0) + 1) + 1.0)
    for start, stop in zip(first, [*first[1:], len(key)], strict=True):
        (N, n_rare), members = key[start], order[start:stop]
        if N:
            probability = heterozygote_probabilities(int(N), int(n_rare), log_factorial)
            ascending = np.sort(probability)
            observed = probability[(counts[members, 1] - n_rare % 2) // 2]
            last = np.searchsorted(ascending, observed * (1.0 + _TIE), side="right")
            out[members] = np.minimum(np.cumsum(ascending)[last - 1], 1.0)
    return out


def heterozygote_probabilities(N: int, n_rare: int, log_factorial: np.ndarray) -> np.ndarray:
    """P(h) of h = n_rare mod 2, … + 2, …, n_rare heterozygotes among N genotypes."""
    h = np.arange(n_rare % 2, n_rare + 1, 2)
    rare_homozygotes = (n_rare - h) // 2
    log_p = h * np.log(2.0) - log_factorial[rare_homozygotes] - log_factorial[h]
    log_p -= log_factorial[N - h - rare_homozygotes]
    p = np.exp(log_p - log_p.max())
    return p / p.sum()
