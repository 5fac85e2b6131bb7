"""Quadratic forms of y and what is expected of them, from the cross products of a small model.

With V = Σ_k Z_k(Σ_k ⊗ K_k)Z_k' + σ²I over records scaled by the roots of their weights, M = I − X(X'X)⁻¹X', r = Z'My
and B = Z'MZ, of which term k has r_k (t_k, q_k) and B_kl,

    F_k = r_k K r_k'  (t_k, t_k),   F_e = y'My,
    E[F_k]_ab = Σ_l Σ_cd G_ab,cd (Σ_l)_cd + G_ab,e σ²,
    G_ab,cd = Σ (B_kl)_ac ∘ (K_k B_kl K_l)_bd,   G_ab,e = tr((B_kk)_ab K_k),   G_e,e = n − p:

MIVQUE(0) (LaMotte 1973, Biometrics 29:311).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.linalg.small import cholesky, triangular_inverse

if TYPE_CHECKING:
    from remlblup.equations.henderson.system import System
    from remlblup.model.design import RandomDesign


def forms(system: System) -> Array:
    """F_k of every term, row by row, and F_e."""
    r, spec, out = system._base_of_rhs, system.spec, []
    for design, place in zip(system.random, system.of_effects, strict=True):
        own = r[place].reshape(design.t, -1)
        out.append((own @ design.relate(own).T).ravel())
    return np.concatenate([*out, [system.scales.variance * (spec.n - spec.p)]])


def expectations(system: System, whole: Array) -> Array:
    """G over the elements of all Σ and σ², symmetric; `whole` is W'DW."""
    p, n = system.p, system.spec.n
    B = whole[p:, p:]
    if p:
        absorbed = triangular_inverse(cholesky(whole[:p, :p])) @ whole[:p, p:]
        B = B - absorbed.T @ absorbed
    places = [slice(place.start - p, place.stop - p) for place in system.of_effects]
    # BK and KBK; K is symmetric.
    once = np.vstack([related(d, B[at]) for d, at in zip(system.random, places, strict=True)]).T
    twice = np.vstack([related(d, once[at]) for d, at in zip(system.random, places, strict=True)])
    starts = np.cumsum([0, *(d.t * d.t for d in system.random)])
    out = np.empty((starts[-1] + 1,) * 2)
    for k, (left, at) in enumerate(zip(system.random, places, strict=True)):
        mine = slice(starts[k], starts[k + 1])
        for l, (right, there) in enumerate(zip(system.random, places, strict=True)):
            shape = left.t, left.q, right.t, right.q
            one, other = (
                part[at, there].reshape(shape).transpose(0, 2, 1, 3).reshape(left.t * right.t, -1)
                for part in (B, twice)
            )
            G = (one @ other.T).reshape(left.t, right.t, left.t, right.t)
            out[mine, starts[l] : starts[l + 1]] = G.transpose(0, 2, 1, 3).reshape(left.t**2, -1)
        own = once[at, at].reshape(left.t, left.q, left.t, left.q)
        out[mine, -1] = out[-1, mine] = np.trace(own, axis1=1, axis2=3).ravel()
    out[-1, -1] = n - p
    return out


def related(design: RandomDesign, M: Array) -> Array:
    """(I ⊗ K) M of the levels of a term, M (t·q, c)."""
    return M if design.is_identity else design.relate(M.reshape(design.t, -1)).reshape(M.shape)
