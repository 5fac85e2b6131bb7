"""What a structure of G and one of R have in common: named parameters within bounds."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property


class Parametric(ABC):
    """Something that depends on named parameters within bounds."""

    keyword: str

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Parameter names, in their order."""

    @property
    @abstractmethod
    def lower(self) -> Array:
        """Lower bounds: 0 for a variance, -inf where there is none."""

    @cached_property
    def upper(self) -> Array:
        """Upper bounds, inf where there is none."""
        return np.full(self.n_parameters, np.inf)

    @cached_property
    def variances(self) -> np.ndarray:
        """Mask of the variances: bounded below by zero and not above."""
        return (self.lower == 0.0) & np.isinf(self.upper)

    @cached_property
    def one_variance(self) -> bool:
        """Whether there is one variance for all effects or records."""
        return bool(np.count_nonzero(self.variances) == 1)

    @property
    @abstractmethod
    def signed(self) -> np.ndarray:
        """Mask of the parameters that may take any value without constraints: those the matrix is linear in."""

    @cached_property
    def roots(self) -> np.ndarray:
        """Mask of the variances whose square roots the steps are taken in, those of the effects in their order.

        Where Σ depends on √v it is smooth in it.
        """
        return np.zeros(self.n_parameters, dtype=bool)

    @cached_property
    def powers(self) -> Array:
        """Powers of the parameters that steps are taken in, 0 for the logarithm; a correlation per unit of time goes by
        that of a usual gap."""
        return np.where(self.roots, 0.5, 1.0)

    @property
    def in_themselves(self) -> bool:
        """Whether steps are taken in the parameters themselves: neither `powers` nor `roots` says otherwise."""
        kind = type(self)
        return kind.powers is Parametric.powers and kind.roots is Parametric.roots

    def sizes(self, variance: float) -> Array | None:
        """(n_parameters,) what counts as one unit of each parameter, the variance being this; None where its matrix
        tells."""
        return None

    @cached_property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return len(self.names)

    @property
    @abstractmethod
    def several_maxima(self) -> bool:
        """Whether the likelihood is known to have several maxima now and then for no other reason
        than this structure."""
