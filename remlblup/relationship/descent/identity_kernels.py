"""Compiled identity coefficients of three and four genes (Karigl 1981, Ann Hum Genet 45:299).

Animals are numbered parents before offspring; −1 is an unknown parent, whose genes are like no others. A state is
what must be identical, for genes drawn with replacement from animals a, b, c, d: of kind THREE, those of a, b, c;
FOUR, all four; PAIRS, a with b and c with d. It is packed into one integer, animals in 10 bits each.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import Dict, njit, types

THREE, FOUR, PAIRS = 0, 1, 2
_IMPOSSIBLE = -1


@njit(cache=True)
def _state(kind, a, b, c, d):
    """The state with its youngest animal first, equal states being one; −1 if a gene is of an unknown parent."""
    if a < 0 or b < 0 or c < 0 or d < 0:
        return _IMPOSSIBLE
    if kind == PAIRS:
        a, b = max(a, b), min(a, b)
        c, d = max(c, d), min(c, d)
        if c > a or (c == a and d > b):
            a, b, c, d = c, d, a, b
    else:
        if kind == THREE:
            d = -1
        if c < d:
            c, d = d, c
        if a < b:
            a, b = b, a
        if a < c:
            a, c = c, a
        if b < d:
            b, d = d, b
        if b < c:
            b, c = c, b
        d = max(d, 0)
    return (((kind * 1024 + a) * 1024 + b) * 1024 + c) * 1024 + d


@njit(cache=True)
def _expand(state, sire, dam, kinship, share, after):
    """Write a state as value + Σ share_k × state after_k, by replacing its youngest animal's genes; the value."""
    kind = state >> 40
    a, b, c, d = (state >> 30) & 1023, (state >> 20) & 1023, (state >> 10) & 1023, state & 1023
    f, m = sire[a], dam[a]
    parents = kinship[f, m] if f >= 0 and m >= 0 else 0.0
    share[:] = 0.0
    after[:] = _IMPOSSIBLE
    if kind == THREE:
        if a == c:
            return 0.25 + 0.75 * parents
        if a == b:
            share[0], after[0] = 0.5, _state(THREE, f, m, c, 0)
            return 0.5 * kinship[a, c]
        share[:2] = 0.5
        after[0], after[1] = _state(THREE, f, b, c, 0), _state(THREE, m, b, c, 0)
        return 0.0
    if kind == FOUR:
        if a == d:
            return 0.125 + 0.875 * parents
        if a == c:
            share[0], after[0] = 0.75, _state(THREE, f, m, d, 0)
            return 0.25 * kinship[a, d]
        share[:2] = 0.5
        if a == b:
            after[0], after[1] = _state(THREE, a, c, d, 0), _state(FOUR, f, m, c, d)
        else:
            after[0], after[1] = _state(FOUR, f, b, c, d), _state(FOUR, m, b, c, d)
        return 0.0
    if a == b and a == c and a == d:
        return 0.25 + 0.75 * parents
    if a == b and a == c:
        share[0], after[0] = 0.5, _state(THREE, f, m, d, 0)
        return 0.5 * kinship[a, d]
    if a == b:
        share[0], after[0] = 0.5, _state(PAIRS, f, m, c, d)
        return 0.5 * kinship[c, d]
    if a == c:
        share[0], share[1], share[2] = 0.5, 0.25, 0.25
        after[0] = _state(THREE, a, b, d, 0)
        after[1], after[2] = _state(PAIRS, f, b, m, d), _state(PAIRS, m, b, f, d)
        return 0.0
    share[:2] = 0.5
    after[0], after[1] = _state(PAIRS, f, b, c, d), _state(PAIRS, m, b, c, d)
    return 0.0


@njit(cache=True)
def _probability(wanted, known, sire, dam, kinship, stack, share, after):
    """The probability of a state, from those it leads back to; `known` keeps all that were met."""
    stack[0] = wanted
    height = 1
    while height > 0:
        state = stack[height - 1]
        if state in known:
            height -= 1
            continue
        value = _expand(state, sire, dam, kinship, share, after)
        waiting = False
        for k in range(3):
            if after[k] != _IMPOSSIBLE:
                if after[k] in known:
                    value += share[k] * known[after[k]]
                else:
                    stack[height] = after[k]
                    height += 1
                    waiting = True
        if not waiting:
            known[state] = value
            height -= 1
    return known[wanted]


@njit(cache=True)
def seventh_identity(sire, dam, kinship):
    """Δ₇ = 8 [Φ(ij, ij) − Φ(i, i, j, j)] of every pair of animals, shape (n, n)."""
    n = sire.shape[0]
    known = Dict.empty(types.int64, types.float64)
    share, after = np.empty(3), np.empty(3, np.int64)
    stack = np.empty(16 * n + 16, np.int64)  # a state is at most 4 n steps from the founders, 3 states a step
    result = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            if kinship[i, j] > 0.0:
                both = _probability(_state(PAIRS, i, j, i, j), known, sire, dam, kinship, stack, share, after)
                all_four = _probability(_state(FOUR, i, i, j, j), known, sire, dam, kinship, stack, share, after)
                result[i, j] = result[j, i] = 8.0 * (both - all_four)
    return result
