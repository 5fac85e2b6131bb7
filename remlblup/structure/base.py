"""The protocol of a covariance structure of G, over the effects of a term.

A new structure is one small file that fills in this class and one line in `remlblup.structure.table`. Nothing else
changes: the equations and the REML loop only see Σ(θ), its derivatives and its factor Λ. That of R, over the records,
is `remlblup.structure.residual.base`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import VarianceError
from remlblup.structure.cholesky import signed_cholesky
from remlblup.structure.edge.base import Edge
from remlblup.structure.parametric import Parametric


class Structure(Parametric):
    """Covariance Σ(θ), t × t, of a random term over its t effects: G = Σ(θ) ⊗ K.

    Parameters
    ----------
    effects : sequence of str
        Names of the t effects (intercept and slopes, sites, traits).
    positions : (t,) array, optional
        Where the effects lie on a line (times), for a structure with `ordered` over a numeric variable.

    Attributes
    ----------
    names : tuple of str
        One name per parameter in θ.
    lower, upper : (n_parameters,) arrays
        Bounds of each parameter when Σ is kept in the parameter space (0 for a variance, ±1 for
        a correlation, infinite where there is none). Σ must exist on the bounds, singular or not.
    linear : bool
        True if Σ is linear in θ, so that `project` of the EM update of Σ is the EM update of θ.
    in_factor : bool
        True if the structure is written in Λ itself (reduced rank) and gives `factor_derivatives`.
    n_factors : int
        Number of columns of Λ: t, or fewer for a structure of reduced rank.
    ordered : bool
        True if the effects are the levels of one variable in ascending order, numeric ones included
        (``ar1(time | g)``), so that a bare numeric variable is no covariate there.
    in_steps : bool
        True if an `ordered` structure counts whole steps between its effects and takes ``steps=``, where they lie.
    cone : bool
        True if θ = vech(Σ) and positive semidefiniteness couples the parameters, so that the
        boundary is a face of the cone of covariance matrices and not a simple bound.
    charted : slice or None
        The parameters that only positive semidefiniteness bounds together, with coordinates of their own near a
        singular Σ: all of a `cone`, the correlations of a structure that gives `edge` and `margin`.
    slots : tuple of (int, int)
        The entries (i, a) of the lower triangular factor Λ that may differ from zero.

    Examples
    --------
    See `register_structure`, and "a structure of your own" in the guide.
    """

    cone: bool = False
    linear: bool = True
    in_factor: bool = False
    ordered: bool = False
    in_steps: bool = False

    @property
    def signed(self) -> np.ndarray:
        return np.full(self.n_parameters, self.linear)

    def __init__(self, effects: Sequence[str], positions: Array | None = None):
        self.effects = tuple(effects)
        self.positions = positions

    @cached_property
    def size(self) -> int:
        """Number of effects, t."""
        return len(self.effects)

    @property
    def n_factors(self) -> int:
        """Number of columns of Λ."""
        return self.size

    @property
    def charted(self) -> slice | None:
        """The parameters that positive semidefiniteness bounds together; None where simple bounds see to it."""
        return slice(0, self.n_parameters) if self.cone and self.size > 1 else None

    @property
    def slots(self) -> tuple[tuple[int, int], ...]:
        """Positions of Λ that may be nonzero, row by row: the lower triangle unless a structure says less."""
        return tuple((i, j) for i in range(self.size) for j in range(min(i + 1, self.n_factors)))

    @property
    def several_maxima(self) -> bool:
        return not self.linear

    @abstractmethod
    def covariance(self, theta: Array) -> Array:
        """Σ(θ), shape (t, t)."""

    @abstractmethod
    def derivatives(self, theta: Array) -> Array:
        """∂Σ/∂θ, shape (n_parameters, t, t)."""

    def score(self, theta: Array, S: Array) -> Array:
        """tr(S ∂Σ/∂θ_j), (n_parameters,), for S = ∂ℓ/∂Σ (t, t)."""
        derivatives = self.derivatives(theta)
        return np.asarray(derivatives.reshape(len(derivatives), -1) @ S.ravel())

    def scores(self, theta: Array, S: Array) -> Array:
        """`score` of every S (c, t, t), (c, n_parameters)."""
        derivatives = self.derivatives(theta)
        return np.asarray(S.reshape(len(S), -1) @ derivatives.reshape(len(derivatives), -1).T)

    def changes(self, theta: Array, h: Array) -> Array:
        """∂Σ/∂θ_j h, (n_parameters, t, m) for h (t, m)."""
        return np.asarray(self.derivatives(theta) @ h)

    @abstractmethod
    def project(self, sigma: Array) -> Array:
        """θ of the matrix of this structure nearest to `sigma`, a positive semidefinite (t, t) matrix.

        Exact where `sigma` is of the structure: project(covariance(θ)) = θ.
        """

    def parameters_of(self, sigma: Array) -> Array:
        """θ such that Σ(θ) = `sigma`; raises `VarianceError` where `sigma` is not of this structure."""
        theta = self.project(sigma)
        size = np.sqrt(np.abs(np.diag(sigma)))
        if not np.all(np.abs(self.covariance(theta) - sigma) <= 1e-10 * np.outer(size, size)):
            raise VarianceError(
                f"this matrix is not of the structure '{self.keyword}' over {list(self.effects)}: give a matrix "
                f"of that form or the parameters by name ({', '.join(self.names)})."
            )
        return theta

    def feasible(self, theta: Array) -> bool:
        """Whether Σ(θ) is positive semidefinite, for θ within its bounds."""
        return True

    def margin(self, theta: Array) -> float:
        """Smallest eigenvalue of what must be positive semidefinite, free of units; of no use to a `cone`."""
        raise NotImplementedError(f"{type(self).__name__} has no edge but its bounds")

    def edge(self, theta: Array) -> Edge:
        """Coordinates of the `charted` parameters where Σ is nearly singular; of no use to a `cone`."""
        raise NotImplementedError(f"{type(self).__name__} has no edge but its bounds")

    def edge_score(self, theta: Array, S: Array) -> Array:
        """The score matrix that `edge` takes, from S = ∂ℓ/∂Σ (t, t)."""
        return S

    def scaled(self, theta: Array, factor: float) -> Array | None:
        """θ of `factor` times Σ(θ); None where the structure does not say, and PX-EM takes its EM round."""
        return None

    def between(self, theta: Array, here: Array) -> Array | None:
        """Σ (m, t) between effects at other positions `here` and those of the structure, the last of them there.

        None where Σ says nothing of effects that it does not have.
        """
        return None

    def undefined(self, theta: Array) -> np.ndarray:
        """Mask of the parameters that Σ does not depend on at θ: correlations where the one variance is zero."""
        return np.zeros(self.n_parameters, dtype=bool)

    def lifted(self, theta: Array, S: Array, scale: Array, free: np.ndarray) -> Array | None:
        """θ beside this one in the direction that ℓ rises fastest in where variances are zero; None where bounds tell.

        With a variance of zero the same Σ has other correlations, and what ℓ does as the variance rises depends on
        them: of all there are, those with the largest ∂ℓ.

        Parameters
        ----------
        S : ∂ℓ/∂Σ (t, t)
        scale : (t,) standard deviation of an effect that counts as one
        free : (n_parameters,) parameters that may change
        """
        return None

    def first_guess(self) -> Structure | None:
        """A structure without local maxima, a few rounds of which tell where to start; None where there is no need."""
        return None

    def guessed(self, sigma: Array) -> Array | None:
        """θ to start from, given Σ (t, t) after these rounds; None where it is no help."""
        return None

    def other_starts(self, theta: Array) -> list[Array]:
        """θ to start from beside that of `start`, at the same variances: the likeliest is taken."""
        return []

    def restated(self) -> Structure | None:
        """A structure of the same matrices and number of parameters that is better searched in; None for most."""
        return None

    def start(self, sigma: Array) -> Array:
        """θ to start from, given a guess of Σ, shape (t, t)."""
        return self.project(sigma)

    def factor(self, theta: Array) -> tuple[Array, Array]:
        """Λ (t, t) lower triangular and signs (t,) with Σ = Λ diag(signs) Λ';
        (t, n_factors) and (n_factors,) at reduced rank.

        Signs are all +1 for a positive semidefinite Σ, which may be singular: the column of a
        zero pivot is zero. A negative sign (only without constraints) marks a negative pivot.
        """
        return signed_cholesky(self.covariance(theta))

    def loading_derivatives(self, theta: Array) -> Array | None:
        """∂Γ/∂θ (n_parameters, t, k) where Σ = ΓΓ' + a part linear in θ (k = n_factors if `in_factor`);
        None for others."""
        return self.factor_derivatives(theta) if self.in_factor else None

    def factor_derivatives(self, theta: Array) -> Array:
        """∂Λ/∂θ (n_parameters, t, n_factors) of a structure with `in_factor`; others are scored by `derivatives`."""
        raise NotImplementedError(f"{type(self).__name__} is not written in its factor")
