"""Compiled loops over pedigrees for their statistics."""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit


@njit(cache=True)
def marginal_contributions(sire, dam, weight, most):
    """Marginal contributions of the most important ancestors (Boichard, Maignel & Verrier 1997, Genet Sel Evol 29:5).

    Each round takes the animal that explains most of what is not explained yet, q_i (1 − a_i): q its share in the
    reference population, a the share of its own genes that comes from ancestors taken before. The pedigree of those
    taken is cut. An animal without offspring is no ancestor. Ends when nothing is left or after `most` ancestors.
    """
    n = sire.shape[0]
    sire, dam = sire.copy(), dam.copy()
    taken = np.zeros(n, np.bool_)
    shares = np.zeros(most)
    is_parent = np.zeros(n, np.bool_)
    for i in range(n):
        for parent in (sire[i], dam[i]):
            if parent >= 0:
                is_parent[parent] = True
    count = 0
    while count < most:
        q = weight.copy()
        for i in range(n - 1, -1, -1):
            if q[i] > 0.0:
                if sire[i] >= 0:
                    q[sire[i]] += 0.5 * q[i]
                if dam[i] >= 0:
                    q[dam[i]] += 0.5 * q[i]
        a = np.zeros(n)
        best, largest = -1, 1e-13
        for i in range(n):
            if taken[i]:
                a[i] = 1.0
                continue
            if sire[i] >= 0:
                a[i] += 0.5 * a[sire[i]]
            if dam[i] >= 0:
                a[i] += 0.5 * a[dam[i]]
            gain = q[i] * (1.0 - a[i])
            if is_parent[i] and gain > largest:
                best, largest = i, gain
        if best < 0:
            break
        taken[best] = True
        sire[best] = dam[best] = -1
        shares[count] = largest
        count += 1
    return shares[:count]
