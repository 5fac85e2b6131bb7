"""Diagnostics as methods of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from remlblup.inference.component_methods import ComponentMethods
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive

if TYPE_CHECKING:
    from remlblup.diagnostics.direction import Direction


@all_within_memory
class DiagnosticMethods(ComponentMethods):
    """Estimates with what tells whether they can be believed."""

    # -- the likelihood around the estimates -------------------------------------------------

    @property
    def score(self) -> pd.Series:
        """∂ℓ/∂θ at the last iterate, by parameter, in ℓ per unit of the parameter: zero at a maximum inside the bounds.

        On a bound it points outward. `convergence.table` has it in standard errors.
        """
        from remlblup.diagnostics.curvature import score

        return score(self)

    @known_arguments
    @exclusive
    def information(self, kind: str = "average") -> pd.DataFrame:
        """Information about the variance parameters, whose inverse is their covariance matrix.

        Parameters
        ----------
        kind : {"average", "observed", "expected"}
            ½ f_i'P f_j with f_i = V̇_i P y (what `std_error` is made of; Gilmour, Thompson & Cullis 1995), −∂²ℓ by
            differences of the score, or ½ tr(P V̇_i P V̇_j) (of V⁻¹ for ML). Where V is linear in θ the average is the
            mean of the other two.

        Returns
        -------
        DataFrame, parameters × parameters. Of the observed and the expected one NaN for what is held or on a boundary.

        Raises
        ------
        ModelError
            If ℓ is flat in some direction: there are only average informations then.
        OptionError
            If the expected one is out of reach (more than 1,200 records with V not linear in θ).
        """
        from remlblup.diagnostics.curvature import information

        return information(self, kind)

    @property
    def correlation_of_estimates(self) -> pd.DataFrame:
        """Correlations of the estimates of the variance parameters, by the average information.

        Above the table stands in words which of them hang together (beyond ±0.9, also in ``attrs["confounded"]`` as
        (parameter, parameter, correlation)), and which the data cannot tell apart at all; those, what is held and what
        is on a boundary have NaN.
        """
        from remlblup.diagnostics.curvature import correlation_of_estimates

        return correlation_of_estimates(self)

    @known_arguments
    @exclusive
    def flat_direction(self) -> Direction:
        """The direction in which ℓ is flat, where components are confounded; else the one with least information.

        ℓ is evaluated along the straight line through the estimates, to both sides as far as the parameter space goes:
        at most three standard errors, of a flat direction until the variances have changed by about that of y.

        Returns
        -------
        Direction : ``verdict`` in words, ``table`` (step, loglik, below, parameters), ``change``, ``flat``, ``plot()``

        Raises
        ------
        ModelError
            If no parameter is free to move.
        """
        from remlblup.diagnostics.direction import flat_direction

        return flat_direction(self)
