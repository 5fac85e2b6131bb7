"""Covariance functions of random regressions: 𝒞(s, t) = φ(s)'Σφ(t), φ the covariates of the term's effects.

Kirkpatrick, Lofsvold & Bulmer (1990, *Genetics* 124:979); Meyer & Hill (1997, *Livest. Prod. Sci.* 47:185).
Eigenfunctions ψ_k are orthonormal over the range of the covariate mapped to z in [−1, 1], ∫ψ_j ψ_k dz = δ_jk, so
that 𝒞(s, t) = Σ_k λ_k ψ_k(s) ψ_k(t). With W = ∫φφ'dz = LL' and L'ΣL = UΛU', ψ_k(x) = φ(x)'L⁻ᵀu_k; normalised
Legendre polynomials have W = I and the eigenvalues of Σ itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import DataError, ModelError, OptionError
from remlblup.fit.tables.effects import term_index
from remlblup.model.effects import Covariates
from remlblup.model.frame import numeric_column
from remlblup.model.wilkinson import required_columns

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved
    from remlblup.model.design import RandomDesign

# Values of the covariate: the data's own if there are no more than this, else so many evenly spaced.
VALUES = 21
# Pieces of the range and nodes in each of the quadrature of W: exact for polynomials, close for splines.
PIECES, NODES = 240, 8


@dataclass(frozen=True)
class Regression:
    """A random regression on one covariate.

    Attributes
    ----------
    design : the term
    variable : name of the covariate
    values : (n,) the covariate in the records
    low, high : the range that is mapped to [−1, 1]
    """

    design: RandomDesign
    variable: str
    values: Array
    low: float
    high: float

    def basis(self, x: Array) -> Array:
        """φ(x) of the term's effects, (len(x), t)."""
        return np.asarray(self.design.spec.values(pd.DataFrame({self.variable: np.asarray(x, dtype=float)})))

    @cached_property
    def quadrature(self) -> tuple[Array, Array]:
        """φ at the nodes of a quadrature over z in [−1, 1], (m, t), and its weights (m,)."""
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        edges = np.linspace(-1.0, 1.0, PIECES + 1)
        half = 0.5 * np.diff(edges)[:, None]
        z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes).ravel()
        return self.basis(self.low + 0.5 * (z + 1.0) * (self.high - self.low)), (half * weights).ravel()

    @property
    def gram(self) -> Array:
        """W = ∫ φφ' dz, (t, t)."""
        phi, weights = self.quadrature
        return np.asarray((phi * weights[:, None]).T @ phi)

    def grid(self, points: int = VALUES) -> Array:
        """The values of the data where they are few, else evenly spaced ones over the range of the data."""
        seen = np.unique(self.values)
        return seen if len(seen) <= points else np.linspace(seen[0], seen[-1], points)


def regression(fit: Solved, term: str) -> Regression:
    """The random regression of a term.

    Raises
    ------
    ModelError
        If the effects of the term are not functions of one numeric covariate.
    """
    spec = fit.specification
    design = spec.random[term_index(spec, term)]
    name, frame = design.name, None if spec.records is None else spec.records.frame
    if frame is None or design.term is None or not isinstance(design.spec, Covariates):
        raise ModelError(
            f"'{name}' is no random regression: its effects are {', '.join(map(str, design.structure.effects[:4]))}."
            " A covariance function needs effects of a covariate, such as us(leg(age, 2) | animal); for the covariance"
            " over levels use fit.covariance(term)."
        )
    variables = required_columns(design.term.effects, f"the effects of '{name}'", frame)
    if len(variables) != 1:
        raise ModelError(f"the effects of '{name}' depend on {variables}: a covariance function is over one covariate.")
    try:
        values = numeric_column(frame, variables[0], "covariate")
    except DataError as error:
        raise ModelError(f"'{name}' is no random regression: {error}") from None
    low, high = legendre_range(design.spec) or (float(values.min()), float(values.max()))
    return Regression(design, variables[0], values, low, high)


def legendre_range(effects: Covariates) -> tuple[float, float] | None:
    """The range that leg() maps to [−1, 1], which may be wider than the data; None without leg()."""
    states = getattr(effects.spec, "transform_state", {})
    return next((state["range"] for name, state in states.items() if name.startswith("leg(")), None)


# -- the tables ------------------------------------------------------------------------------


def covariance_function(fit: Solved, term: str, at: Iterable[float] | None = None) -> pd.DataFrame:
    """ΦΣΦ' over values of the covariate, labelled by them.

    Parameters
    ----------
    term : a random regression, such as ``us(leg(age, 2) | vm(animal, A))``
    at : values of the covariate; those in the data without, or 21 evenly spaced where there are more
    """
    function = regression(fit, term)
    x = function.grid() if at is None else values_given(at)
    phi = function.basis(x)
    index = pd.Index(x, name=function.variable)
    return pd.DataFrame(phi @ fit.covariance(term).to_numpy() @ phi.T, index=index, columns=index)


def variance_along(fit: Solved, term: str, x: Array) -> tuple[Array, Array]:
    """φ(x)'Σφ(x) and its gradient in the parameters of the term, (len(x),) and (len(x), n_parameters)."""
    function = regression(fit, term)
    parameters = fit.specification.parameters
    k = parameters.index(term)
    part, phi = fit.theta[parameters.slices[k]], function.basis(x)
    structure = function.design.structure
    variance = np.einsum("xi,ij,xj->x", phi, structure.covariance(part), phi)
    return variance, np.einsum("xi,pij,xj->xp", phi, structure.derivatives(part), phi)


def eigenfunctions(fit: Solved, term: str, at: Iterable[float] | None = None) -> pd.DataFrame:
    """Eigenvalues of the covariance function, their shares of the variance, and the eigenfunctions.

    Parameters
    ----------
    term : a random regression
    at : values of the covariate to give the eigenfunctions at, as in `covariance_function`

    Returns
    -------
    DataFrame with a row per eigenfunction, largest first: eigenvalue, share, and a column for each value of
    the covariate. Their scale is ∫ψ² dz = 1 over the range mapped to z in [−1, 1], their sign that of ∫ψ dz > 0.
    """
    function = regression(fit, term)
    x = function.grid() if at is None else values_given(at)
    values, coefficients = decomposition(fit.covariance(term).to_numpy(), function)
    total = values.sum()
    table = pd.DataFrame(
        {"eigenvalue": values, "share": values / total if total > 0.0 else np.nan},
        index=pd.RangeIndex(1, len(values) + 1, name="eigenfunction"),
    )
    psi = pd.DataFrame((function.basis(x) @ coefficients).T, index=table.index, columns=x)
    return pd.concat([table, psi], axis=1)


def decomposition(sigma: Array, function: Regression) -> tuple[Array, Array]:
    """Eigenvalues λ, largest first, and coefficients (t, t) of the eigenfunctions in φ."""
    try:
        L = np.linalg.cholesky(function.gram)
    except np.linalg.LinAlgError:
        raise ModelError(
            f"the effects of '{function.design.name}' depend on each other over the range of"
            f" '{function.variable}': its eigenfunctions are not defined."
        ) from None
    values, U = np.linalg.eigh(L.T @ sigma @ L)
    values, U = values[::-1].copy(), U[:, ::-1]
    # What rounding leaves of the zeros of a singular Σ.
    values[np.abs(values) < 1e-12 * np.abs(values).max(initial=0.0)] = 0.0
    coefficients = np.linalg.solve(L.T, U)
    phi, weights = function.quadrature
    integral, end = weights @ phi @ coefficients, function.basis(np.array([function.high]))[0] @ coefficients
    sign = np.where(np.abs(integral) < 1e-6, end, integral)
    return values, coefficients * np.where(sign < 0.0, -1.0, 1.0)


def values_given(at: Iterable[float]) -> Array:
    """Values of the covariate from the user."""
    try:
        x = np.atleast_1d(np.asarray(list(at) if not np.isscalar(at) else [at], dtype=float))
    except (TypeError, ValueError):
        raise OptionError(f"at= takes values of the covariate, not {at!r}.") from None
    if x.ndim != 1 or not len(x) or not np.all(np.isfinite(x)):
        raise OptionError("at= takes finite values of the covariate in one dimension.")
    return x
