"""What `equations.henderson.layout` does with long lists: keys merged into the pattern of C, and sums over it, which
put C together and read traces off its inverse; and a product with W'R⁻¹W."""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit


@njit(cache=True, nogil=True)
def add_products(c_at, m_at, pair, scale, M, coefficients, values):
    """C[c_at] += ρM[m_at] λ_s λ_s', `scale` being ρ."""
    for i in range(len(c_at)):
        values[c_at[i]] += scale * M[m_at[i]] * coefficients[pair[i]]


@njit(cache=True, nogil=True)
def add_at(at, M, values):
    """values[at] += M, the places distinct."""
    for i in range(len(at)):
        values[at[i]] += M[i]


@njit(cache=True, nogil=True)
def pair_traces(c_at, m_at, pair, scale, M, twice, inverse, traces):
    """⟨C⁻¹, T'W'R⁻¹WT⟩ by pairs of slots: what ρM[m_at] has of it, over λ_s λ_s'; `scale` is ρ."""
    for i in range(len(c_at)):
        traces[pair[i]] += scale * M[m_at[i]] * (twice[c_at[i]] * inverse[c_at[i]])


@njit(cache=True, nogil=True)
def is_ascending(keys):
    """Whether no key is smaller than the one before it."""
    ascending = True
    for i in range(1, len(keys)):
        ascending = ascending and keys[i] >= keys[i - 1]
    return ascending


@njit(cache=True, nogil=True)
def merge(a, b, found):
    """The distinct keys of two ascending lists, into `found`, ascending; their number."""
    i, j, count = 0, 0, 0
    while i < len(a) or j < len(b):
        if j == len(b) or (i < len(a) and a[i] <= b[j]):
            key = a[i]
            i += 1
        else:
            key = b[j]
            j += 1
        if count == 0 or found[count - 1] != key:
            found[count] = key
            count += 1
    return count


@njit(cache=True, nogil=True)
def places_among(found, keys, places):
    """Place of every key in `found`, which ascends and holds it: the faster, the more the keys ascend themselves."""
    at = 0
    for i in range(len(keys)):
        if found[at] > keys[i]:
            at = np.searchsorted(found, keys[i])
        step = 1
        while found[at] < keys[i]:  # gallop, then step back by halves
            if at + step < len(found) and found[at + step] <= keys[i]:
                at += step
                step *= 2
            else:
                step = max(step // 2, 1)
        places[i] = at


@njit(cache=True, nogil=True)
def add_symmetric(rows, starts, scale, M, B, out):
    """out (m, k) += ρM B, M symmetric, of which the entries of the lower triangle are listed column by column."""
    for j in range(len(starts) - 1):
        for e in range(starts[j], starts[j + 1]):
            i, value = rows[e], scale * M[e]
            for c in range(B.shape[1]):
                out[i, c] += value * B[j, c]
            if i != j:
                for c in range(B.shape[1]):
                    out[j, c] += value * B[i, c]
