"""Loadings, scores and shares of the factors of an ``fa`` or ``rr`` term, Σ = ΓΓ' + Ψ.

Smith, Cullis & Thompson (2001, *Biometrics* 57:1138); Cullis, Jefferson, Thompson & Smith (2014, *Theor. Appl.
Genet.* 127:2193). Γ is rotated to its principal axes, ΓQ with (ΓQ)'ΓQ diagonal, largest first: the first factor
then has the largest share of the variance. Of a level with effects u the factors are f = Γ'Σ⁻u, and so are
their BLUPs of the BLUPs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError, check_switch, some
from remlblup.fit.tables.effects import term_index
from remlblup.structure.covariance.factor_analytic import FactorAnalytic
from remlblup.structure.covariance.loadings import standardized
from remlblup.structure.covariance.reduced_rank import ReducedRank

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved


@dataclass(frozen=True)
class Factors:
    """The factors of a term.

    Attributes
    ----------
    name : the term
    effects : names of its t effects
    gamma : (t, k) Γ
    specific : (t,) ψ
    scores : (k, q) factors of each level
    blups : (t, q) û of each effect and level
    levels : names of the q levels
    """

    name: str
    effects: tuple[str, ...]
    gamma: Array
    specific: Array
    scores: Array
    blups: Array
    levels: tuple[str, ...]

    @property
    def k(self) -> int:
        return int(self.gamma.shape[1])

    @property
    def variance(self) -> Array:
        """(t,) the variance of each effect, Σ_j γ_ij² + ψ_i."""
        return np.sum(self.gamma**2, axis=1) + self.specific

    @property
    def shares(self) -> Array:
        """(k,) each factor's part of the variance of all effects, tr ΓΓ' + tr Ψ."""
        return np.sum(self.gamma**2, axis=0) / self.variance.sum()


def factors(fit: Solved, term: str, rotate: bool = True) -> Factors:
    """Γ, ψ and the scores of a term.

    Raises
    ------
    ModelError
        If the term has no factors.
    """
    spec = fit.specification
    k = term_index(spec, term)
    design = spec.random[k]
    structure, theta = design.structure, fit.theta[spec.parameters.slices[k]]
    if not isinstance(structure, FactorAnalytic | ReducedRank):
        known = [d.name for d in spec.random if isinstance(d.structure, FactorAnalytic | ReducedRank)]
        advice = f"those with factors are {some(known)}" if known else "write fa(site | geno, k=2) or rr(…, k=2)"
        raise ModelError(f"'{design.name}' has no factors: {advice}.")
    gamma = structure.loadings(theta)
    check_switch("rotate", rotate)
    if rotate:
        gamma = principal_axes(gamma)
    psi = structure.specific(theta) if isinstance(structure, FactorAnalytic) else np.zeros(design.t)
    u = fit._equations.level_effects(fit._solution)[k]
    s, C = standardized(gamma @ gamma.T + np.diag(psi))
    inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > 0.0)
    # û lies in the range of Σ: any generalised inverse will do.
    scores = (gamma * inverse[:, None]).T @ np.linalg.pinv(C, rcond=1e-10, hermitian=True) @ (u * inverse[:, None])
    effects = tuple(map(str, structure.effects))
    return Factors(design.name, effects, gamma, psi, scores, u, tuple(map(str, design.relationship.labels)))


def principal_axes(gamma: Array) -> Array:
    """ΓQ with orthogonal columns, longest first, each with a positive sum."""
    U, length, _ = np.linalg.svd(gamma, full_matrices=False)
    rotated = U * length
    return rotated * np.where(rotated.sum(axis=0) < 0.0, -1.0, 1.0)


def loadings(fit: Solved, term: str, rotate: bool = True) -> pd.DataFrame:
    """Loadings of each effect on the factors, its specific variance, its variance, and the part that is common.

    Parameters
    ----------
    term : an ``fa`` or ``rr`` term
    rotate : to the principal axes; otherwise as estimated, with zeros above the diagonal

    Returns
    -------
    DataFrame indexed by effect: ``factor 1`` …, specific, variance, and explained: the per cent of the effect's
    variance that the factors explain.
    """
    found = factors(fit, term, rotate)
    table = pd.DataFrame(
        found.gamma, index=pd.Index(found.effects, name="effect"), columns=[f"factor {j + 1}" for j in range(found.k)]
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = 100.0 * np.sum(found.gamma**2, axis=1) / found.variance
    return table.assign(specific=found.specific, variance=found.variance, explained=explained)


def factor_scores(fit: Solved, term: str, rotate: bool = True) -> pd.DataFrame:
    """BLUPs of the factors of each level, with the same rotation as `loadings`: levels × factors."""
    found = factors(fit, term, rotate)
    columns = [f"factor {j + 1}" for j in range(found.k)]
    return pd.DataFrame(found.scores.T, index=pd.Index(found.levels, name="level"), columns=columns)
