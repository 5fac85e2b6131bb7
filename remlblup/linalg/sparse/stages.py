"""Sums over the lists of `equations.henderson.layout`, which put C together and read traces off its inverse."""

from __future__ import annotations

from remlblup.linalg.compiler import njit


@njit(cache=True, nogil=True)
def add_products(c_at, m_at, pair, M, coefficients, values):
    """C[c_at] += M[m_at] λ_s λ_s'."""
    for i in range(len(c_at)):
        values[c_at[i]] += M[m_at[i]] * coefficients[pair[i]]


@njit(cache=True, nogil=True)
def pair_traces(c_at, m_at, pair, M, twice, inverse, traces):
    """⟨C⁻¹, T'W'R⁻¹WT⟩ by pairs of slots: what M[m_at] has of it, over λ_s λ_s'."""
    for i in range(len(c_at)):
        traces[pair[i]] += M[m_at[i]] * (twice[c_at[i]] * inverse[c_at[i]])
