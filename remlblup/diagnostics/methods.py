"""Diagnostics as methods of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from remlblup.inference.component_methods import ComponentMethods
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive, owned_property

if TYPE_CHECKING:
    from remlblup.diagnostics.direction import Direction
    from remlblup.diagnostics.influence import Influence


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

        Examples
        --------
        >>> fit.information("observed").shape
        (4, 4)
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

        Examples
        --------
        >>> fit.flat_direction().flat
        False
        """
        from remlblup.diagnostics.direction import flat_direction

        return flat_direction(self)

    # -- residuals ---------------------------------------------------------------------------

    @property
    def residual_table(self) -> pd.DataFrame:
        """Residuals of every record, indexed as the data: conditional, marginal, standardized, studentized, leverage.

        ``conditional`` ê = y − Xβ̂ − Zû and ``marginal`` y − Xβ̂ are in units of the response. ``standardized``,
        (R⁻¹ê)_i/√(R⁻¹)_ii, is whitened by R, and is ê_i/√R_ii where errors are independent; ``studentized``,
        (Py)_i/√P_ii, is whitened by V: what is left of a record when all the others have predicted it, over its
        standard error, and ê_i/√var(ê_i) where errors are independent (``attrs["whitened"]`` says so too). Both have
        variance 1 if the model is right. ``leverage`` ∂ŷ_i/∂y_i = (I − RP)_ii adds up to the number of parameters that
        the data make of all effects. Variance parameters are held at their estimates throughout; a term ``units``
        counts to Zû. Missing are standardized where R has no inverse, and studentized where a record is fitted whatever
        it is (leverage 1).

        Sources: Haslett & Haslett 2007, Int. Stat. Rev. 75:1; Nobre & Singer 2007, Biometrical J. 49:863; Hodges &
        Sargent 2001, Biometrika 88:367.
        """
        return self._said(self._residual_table)

    @owned_property
    def _residual_table(self) -> pd.DataFrame:
        from remlblup.diagnostics.residuals import residual_table

        return residual_table(self)

    @exclusive
    def outlier_test(self, adjust: str | None = "holm") -> pd.DataFrame:
        """Whether a record is shifted against what all the others say of it, for every record; the furthest first.

        The mean-shift model y = Xβ + Zu + e + δ of one record has y − ŷ of the others for δ̂. Its t statistic is the
        externally studentized residual: the scale of all variances is estimated without the record, their ratios are
        held at their estimates, given which the distribution is exact (Cook & Weisberg 1982, section 2.2.2; Haslett &
        Haslett 2007).

        Parameters
        ----------
        adjust : {"holm", "bonferroni", "sidak", "fdr"} or None
            How p values are adjusted for the number of records (statsmodels' ``multipletests``).

        Returns
        -------
        DataFrame by record: residual (y − ŷ of the others, in units of the response), std_error, statistic, df
        (n − p − 1), p_value, p_adjusted.

        Raises
        ------
        ModelError
            With fewer than two degrees of freedom.

        Examples
        --------
        >>> fit.outlier_test()["p_adjusted"].iloc[:2].round(3).tolist()
        [0.0, 0.0]
        """
        from remlblup.diagnostics.residuals import outlier_test

        return self._said(outlier_test(self, adjust))

    # -- influence ---------------------------------------------------------------------------

    @exclusive
    def influence(
        self,
        term: str | None = None,
        components: bool = True,
        progress: bool | None = None,
        many_solves: bool = False,
    ) -> Influence:
        """Leave out the records one by one, or all records of each level, by update formulas: nothing is refitted.

        Everything but ``components`` is exact at the estimated variance parameters; those move by one step of Newton
        with the score and average information of the records that stay, within their bounds, what lies on a boundary
        staying there.

        Parameters
        ----------
        term : str, optional
            A random term or a column of the data whose levels are left out; the records without.
        components : bool
            Whether to take the step of the variance parameters (as many solves more for each case as there are).
        progress : bool, optional
            Show a bar; by default only on a terminal.
        many_solves : bool
            Of ``engine="stochastic"``, where each record left out takes a solve by conjugate gradients: take more than
            1,000.

        Returns
        -------
        Influence : ``table`` by case (records; cooks_distance: the change of β̂ in the metric of var(β̂), over p;
            covratio: the determinant of var(β̂) without over with; loglik_change: ℓ of the records that stay less ℓ;
            components_distance: the squared step in the metric of the information), ``fixed_effects``,
            ``standardized``, ``components``, ``predictions`` of what is left out, ``random_effects`` of the levels left
            out, ``verdict``, ``plot()``

        Raises
        ------
        OptionError
            For what is neither a random term nor a column.
        ModelError
            If a level has all records.

        Examples
        --------
        >>> fit.influence("Subject", components=False).table["cooks_distance"].idxmax()
        '309'
        """
        from remlblup.diagnostics.influence import influence

        out = influence(self, term, components, progress, many_solves)
        self._said(out.table)
        return out
