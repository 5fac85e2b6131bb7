"""Tests, means and intervals as methods of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from remlblup.fit.estimates import Estimates
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive

if TYPE_CHECKING:
    from remlblup.inference.fixed.means import MarginalMeans
    from remlblup.inference.fixed.wald import LinearTest


@all_within_memory
class InferenceMethods(Estimates):
    """Estimates with what can be tested and predicted of their fixed effects."""

    @property
    def _kind_of_means(self) -> type[MarginalMeans]:
        """The class of marginal means: one that draws itself, where there are plots."""
        from remlblup.inference.fixed.means import MarginalMeans

        return MarginalMeans

    @exclusive
    def wald_tests(
        self, kind: str = "conditional", df: str = "satterthwaite", information: str = "average"
    ) -> pd.DataFrame:
        """F tests of the terms of the fixed formula.

        Parameters
        ----------
        kind : {"conditional", "incremental", "marginal"}
            Each term adjusted for all others but those that contain it (type II; what that is stands above the table
            and in ``attrs["conditioned_on"]``), for those before it (type I), or for all others, over unweighted means
            of the cells (type III).
        df : {"satterthwaite", "kenward-roger", "residual"}
            How denominator degrees of freedom are found; "kenward-roger" also adjusts the covariance and scales F.
        information : {"average", "observed", "expected"}
            Whose inverse is the covariance of the variance parameters: ASReml takes the average, lmerTest the observed,
            pbkrtest and SAS the expected information.

        Returns
        -------
        DataFrame by term: F, num_df, den_df, p_value.

        Examples
        --------
        >>> oats.wald_tests()["F"].round(2).to_dict()
        {'nitroF': 37.69, 'Variety': 1.49, 'nitroF:Variety': 0.3}
        """
        from remlblup.inference.fixed.wald import wald_tests

        return self._said(wald_tests(self, kind, df, information))

    @exclusive
    def fixed_effects_table(self, df: str = "kenward-roger", information: str = "average") -> pd.DataFrame:
        """`fixed_effects` by other degrees of freedom, with adjusted standard errors where the method has them.

        Parameters
        ----------
        df, information : as for `wald_tests`

        Returns
        -------
        DataFrame by coefficient: estimate, std_error, df, t, p_value, lower, upper (95 %).

        Examples
        --------
        >>> fit.fixed_effects_table().loc["Days", ["estimate", "df"]].round(2).tolist()
        [10.47, 17.0]
        """
        from remlblup.inference.fixed.wald import fixed_effects_table

        return self._said(fixed_effects_table(self, df, information))

    @exclusive
    def test(self, L: Any, rhs: Any = 0.0, df: str = "satterthwaite", information: str = "average") -> LinearTest:
        """Test any linear functions of the fixed effects, Lβ = rhs.

        Parameters
        ----------
        L : (r, p) matrix over the coefficients of `fixed_effects`, table with such columns, weights of one contrast
            ``{"x[B]": 1, "x[C]": -1}``, or of several by name ``{"B - C": {…}, …}``
        rhs : number, or one for each row
        df, information : as for `wald_tests`

        Returns
        -------
        LinearTest : ``table`` (a row per row of L) and ``joint`` (F, num_df, den_df, p_value of all together)

        Examples
        --------
        >>> fit.test({"Days": 1}, rhs=10).table["p_value"].round(3).tolist()
        [0.766]
        """
        from remlblup.inference.fixed.wald import linear_test

        out = linear_test(self, L, rhs, df, information)
        self._said(out.table)
        return out

    @exclusive
    def marginal_means(
        self,
        factors: str | Sequence[str],
        by: str | Sequence[str] | None = None,
        at: Mapping[str, Any] | None = None,
        weights: str = "equal",
        df: str = "satterthwaite",
        information: str = "average",
        nonestimable: str = "warn",
    ) -> MarginalMeans:
        """Adjusted means (estimated marginal means, predicted means) of the levels of factors.

        Parameters
        ----------
        factors : name or names of columns of the data, ``["variety", "nitro"]`` or ``"variety:nitro"``
            A random term's factor among them makes means of its levels, û included, with prediction errors.
        by : names of further columns
            Contrasts are made within their levels.
        at : mapping of a covariate to a value or several
            Covariates are at their means otherwise.
        weights : {"equal", "proportional", "cells"}
            How the levels of the other factors are averaged: each alike; by how many records they have in all; by how
            many they have in each cell of the means.
        df, information : as for `wald_tests`
        nonestimable : {"warn", "nan", "error"}
            Means that the data cannot estimate are missing, with an `EstimabilityWarning` that names them, or without;
            or they are a `ModelError`.

        Returns
        -------
        MarginalMeans : ``table``, ``sed``, ``lsd``, ``contrasts()``, ``letters()``, ``plot()``

        Examples
        --------
        >>> means = oats.marginal_means("nitroF")
        >>> means.table["mean"].round(1).tolist()
        [79.4, 98.9, 114.2, 123.4]
        >>> means.contrasts("pairwise").shape[0]
        6
        """
        from remlblup.inference.fixed.means import marginal_means

        made = marginal_means(self, factors, by, at, weights, df, information, nonestimable)
        out = self._kind_of_means(**vars(made))
        self._said(out.table)
        return out
