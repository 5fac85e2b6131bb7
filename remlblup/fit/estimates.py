"""The estimates of a REML or ML fit: numbers and tables.
Their plots, reports and folders are added in `remlblup.result`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.fit.errors.information import Information
from remlblup.fit.errors.satterthwaite import MISSING, satterthwaite, within_reach
from remlblup.fit.solved import Solved
from remlblup.fit.statsmodels_names import StatsmodelsNames
from remlblup.fit.tables import effects as tables
from remlblup.fit.tables.functions import Estimate, correlation_errors, evaluate
from remlblup.fit.tables.shown import noted, shown
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import owned_property
from remlblup.reml.convergence import Convergence, say_unconverged
from remlblup.reml.history import history_table
from remlblup.reml.optimum import Optimum, Options

if TYPE_CHECKING:
    from remlblup.fit.terms.field_maps import Given


@all_within_memory
class Estimates(Solved, StatsmodelsNames):
    """Estimates of a mixed model. Immutable; every table is a DataFrame.

    Attributes
    ----------
    options : how it was fitted
    convergence : the verdict with its criteria; `converged` is its short form
    """

    def __init__(self, optimum: Optimum, options: Options):
        super().__init__(optimum.equations, optimum.solution, "ML" if options.ml else "REML")
        self._optimum = optimum
        self.options = options
        self.convergence: Convergence = optimum.convergence

    # -- the verdict -------------------------------------------------------------------------

    @property
    def converged(self) -> bool:
        """True only if all five criteria are met and the components can be told apart."""
        return self.convergence.converged

    @property
    def _interval_df(self) -> float:  # type: ignore[override]
        return float(self.df_residual)

    @property
    def _note(self) -> str:  # type: ignore[override]
        told = "" if self.converged else str(self.convergence)
        drawn = self._optimum.monte_carlo
        return told if drawn is None else " ".join(filter(None, [told, drawn.in_words]))

    def _said(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of estimates, with a warning if they are not those of a maximum."""
        say_unconverged(self.convergence)
        return table

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row per iteration: iteration, step, loglik, delta, gradient, halvings, seconds, boundary, parameters."""
        return shown(history_table(self._optimum.iterations, self.specification.parameters.columns))

    # -- variance components -----------------------------------------------------------------

    @property
    def status(self) -> tuple[str, ...]:
        """free, boundary or fixed, per parameter."""
        return tuple(
            "fixed" if held else "boundary" if boundary else "free"
            for held, boundary in zip(self._optimum.held, self._optimum.boundary, strict=True)
        )

    @owned_property
    def _information(self) -> Information:
        return Information.of(self._optimum)

    @owned_property
    def _precise_information(self) -> Information:
        """That about the θ of `Optimum.precise`."""
        return self._information if self._optimum.turned is None else Information.of(self._optimum.precise)

    @property
    def variance_covariance(self) -> Array:
        """var(θ̂), (n, n): the inverse average information, along the face for a singular Σ; zero where θ cannot move.

        NaN for parameters in a direction the likelihood is flat in: no standard error is better than a wild one. Of
        ``engine="stochastic"`` with the Monte Carlo covariance of θ̂ added.
        """
        drawn, own = self._optimum.monte_carlo, self._information.covariance_of_known
        return own if drawn is None else own + drawn.covariance

    @property
    def variance_components(self) -> pd.DataFrame:
        """term, parameter, estimate, std_error (from the average information), z_ratio, status.

        Of ``engine="stochastic"`` also monte_carlo_error, what other probes would change, and total_error, the root of
        the sum of both squares, which is that of z_ratio.
        """
        return self._said(self._variance_components)

    @cached_property
    def _variance_components(self) -> pd.DataFrame:
        spec = self.specification
        sampling, drawn = self._information.covariance_of_known, self._optimum.monte_carlo
        errors = None if drawn is None else drawn.errors
        return self._shown(tables.variance_components(spec, self.theta, sampling, self.status, errors))

    def function(self, expression: str) -> Estimate:
        """A function of the components with its delta-method standard error.

        Components of a term with several parameters are written ``name[effect]`` and ``name[effect, effect]``.

        Parameters
        ----------
        expression : arithmetic over names of components, such as a heritability,
            ``"vm(animal, A) / (vm(animal, A) + mother + residual)"``

        Returns
        -------
        Estimate : ``estimate``, ``std_error``, ``expression``

        Examples
        --------
        >>> print(oats.function("Block / (Block + Block:Variety + residual)"))
        Block / (Block + Block:Variety + residual) = 0.431004 (s.e. 0.2103)
        """
        return evaluate(expression, self.specification.parameters, self.theta, self.variance_covariance, self._note)

    def correlation_errors(self, term: str) -> pd.DataFrame:
        """Standard errors of `correlation(term)`, labelled alike, by the delta method.

        Parameters
        ----------
        term : a random term, as written in the formula

        Returns
        -------
        DataFrame (t, t); missing where a parameter is on its bound

        Examples
        --------
        >>> fit.correlation_errors("1 + Days | Subject").iloc[0, 1].round(3)
        np.float64(0.325)
        """
        parameters = self.specification.parameters
        table = correlation_errors(parameters, parameters.index(term), self.theta, self.variance_covariance)
        return self._shown(table)

    # -- random regression and factors -------------------------------------------------------

    def covariance_function(self, term: str, at: Iterable[float] | None = None) -> pd.DataFrame:
        """ΦΣΦ' of a random regression, ``us(leg(age, 2) | g)``, over values of its covariate.

        Parameters
        ----------
        term : a term of ``us(leg(x, k) | g)`` and its kind
        at : values of the covariate; by default 50 over its range

        Returns
        -------
        DataFrame, values × values, in squared units of the response

        Examples
        --------
        >>> curves.covariance_function("us(leg(Days, 1) | Subject)", at=[0, 9]).shape
        (2, 2)
        """
        from remlblup.fit.terms.random_regression import covariance_function

        return self._shown(covariance_function(self, term, at))

    def eigenfunctions(self, term: str, at: Iterable[float] | None = None) -> pd.DataFrame:
        """Eigenvalue, share of the variance and eigenfunction (a column per value of the covariate), in rows.

        Parameters
        ----------
        term : a term of ``us(leg(x, k) | g)`` and its kind
        at : values of the covariate; by default 50 over its range

        Returns
        -------
        DataFrame, a row per eigenfunction

        Examples
        --------
        >>> curves.eigenfunctions("us(leg(Days, 1) | Subject)", at=[0, 9]).shape
        (2, 4)
        """
        from remlblup.fit.terms.random_regression import eigenfunctions

        return self._shown(eigenfunctions(self, term, at))

    def loadings(self, term: str, rotate: bool = True) -> pd.DataFrame:
        """Loadings of an ``fa`` or ``rr`` term on its factors, specific variances, per cent explained, by effect.

        Parameters
        ----------
        term : an ``fa`` or ``rr`` term
        rotate : to principal factors, the first with most variance; else as they were estimated

        Returns
        -------
        DataFrame by effect

        Examples
        --------
        >>> machines.loadings("fa(Machine | Worker, k=1)").shape
        (3, 4)
        """
        from remlblup.fit.terms.factors import loadings

        return self._shown(loadings(self, term, rotate))

    def factor_scores(self, term: str, rotate: bool = True) -> pd.DataFrame:
        """BLUPs of the factors of an ``fa`` or ``rr`` term: levels × factors.

        Parameters
        ----------
        term : an ``fa`` or ``rr`` term
        rotate : to principal factors, the first with most variance; else as they were estimated

        Returns
        -------
        DataFrame by level

        Examples
        --------
        >>> machines.factor_scores("fa(Machine | Worker, k=1)").shape
        (6, 1)
        """
        from remlblup.fit.terms.factors import factor_scores

        return self._shown(factor_scores(self, term, rotate))

    def variogram(
        self,
        trial: object = None,
        row: Given | None = None,
        col: Given | None = None,
        x: Given | None = None,
        by: Given | None = None,
    ) -> pd.DataFrame:
        """Sample variogram of the residuals by displacement, with the model's: what `plot_variogram` draws.

        Parameters
        ----------
        trial : which field, where there are several
        row, col, x, by : columns or arrays with the positions, where ``residual=`` does not say them

        Returns
        -------
        DataFrame by displacement: semi-variance of the residuals, number of pairs, that of the model

        Examples
        --------
        >>> "pairs" in field.variogram()
        True
        """
        from remlblup.fit.terms.variogram import variogram

        return self._shown(variogram(self, trial, row, col, x, by))

    # -- fixed effects -----------------------------------------------------------------------

    @cached_property
    def df_method(self) -> str:
        """How the df of the fixed effects were found: "Satterthwaite" or "residual" (n − p)."""
        return "Satterthwaite" if within_reach(self._equations) else "residual"

    @property
    def fixed_effects(self) -> pd.DataFrame:
        """Indexed by coefficient: estimate, std_error, df, t, p_value, lower, upper (95 %).

        Degrees of freedom are Satterthwaite's where within reach, n − p otherwise; `df_method` says which. They are
        missing where the variance of a coefficient depends on components the data say nothing about.
        """
        return self._said(self._fixed_effects)

    @owned_property
    def _fixed_effects(self) -> pd.DataFrame:
        if self.df_method == "Satterthwaite":
            optimum = self._optimum.precise
            df = satterthwaite(optimum.searched, optimum.point.score.solution, self._precise_information, np.inf)
        else:
            df = np.full(len(self.beta), float(self.df_residual))
        fixed = self.specification.fixed
        table = tables.fixed_effects(fixed, self.beta, self._beta_variances, df, self.df_method)
        missing = MISSING + "." if np.isnan(df).any() else self._equations.missing("fixed effects")
        return noted(table, self._said_above(missing))

    # -- information criteria ----------------------------------------------------------------

    @property
    def n_parameters(self) -> int:
        """Fixed effects estimated plus variance parameters not fixed by the user."""
        return self.specification.p + sum(s != "fixed" for s in self.status)

    @property
    def aic(self) -> float:
        """−2ℓ + 2 n_parameters, as lme4 counts (REML fits with different X are not comparable)."""
        return -2.0 * self.loglik + 2.0 * self.n_parameters

    @property
    def bic(self) -> float:
        """−2ℓ + n_parameters log n."""
        return -2.0 * self.loglik + self.n_parameters * float(np.log(self.n_obs))

    def __repr__(self) -> str:
        return f"<remlblup fit: {self.formula or 'from matrices'}; {self.convergence}>"
