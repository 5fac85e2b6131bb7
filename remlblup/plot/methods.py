"""The plots of a fit as its methods: each draws with a file of its own,
which brings matplotlib when it is asked for. Those of diagnostics stand in `diagnostic_methods`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from remlblup.linalg.memory import all_within_memory
from remlblup.plot.diagnostic_methods import DiagnosticPlots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from remlblup.fit.terms.field_maps import Given
    from remlblup.plot.means import PlottedMeans
    from remlblup.plot.profile import PlottedProfile


@all_within_memory
class Plotted(DiagnosticPlots):
    """Estimates that draw themselves."""

    @property
    def _kind_of_means(self) -> type[PlottedMeans]:
        from remlblup.plot.means import PlottedMeans

        return PlottedMeans

    @property
    def _kind_of_profile(self) -> type[PlottedProfile]:
        from remlblup.plot.profile import PlottedProfile

        return PlottedProfile

    def plot_field(
        self,
        what: str = "all",
        trial: object = None,
        axes: Axes | Iterable[Axes] | None = None,
        *,
        row: Given | None = None,
        col: Given | None = None,
        by: Given | None = None,
    ) -> Axes | np.ndarray:
        """Maps of a field: the data, the spatial residual and the independent one.

        Parameters
        ----------
        what : {"all", "data", "spatial", "units", "residual"}
        trial : which field, where there are several
        row, col, by : columns or arrays with the positions, where ``residual=`` does not say them
        axes : where to draw, one for each panel; a new figure without

        Returns
        -------
        array of matplotlib Axes

        Examples
        --------
        >>> axes = field.plot_field()
        """
        from remlblup.plot.field import plot_field

        return plot_field(self, what, trial, axes, row=row, col=col, by=by)

    def plot_variogram(
        self,
        kind: str | None = None,
        trial: object = None,
        axes: Axes | Iterable[Axes] | None = None,
        *,
        row: Given | None = None,
        col: Given | None = None,
        x: Given | None = None,
        by: Given | None = None,
        bands: bool = False,
        draws: int = 199,
        seed: int = 0,
    ) -> Axes | np.ndarray:
        """Semi-variance of residuals against displacement or lag, with the fitted model's.

        Parameters
        ----------
        kind : {None, "profile", "surface"}
            Lines along each dimension, or of a field a surface over both.
        trial : which field, where there are several
        row, col, x, by : columns or arrays with the positions, where ``residual=`` does not say them
        bands : whether to draw where the variogram of records drawn from the fitted model lies (95 % of them, all
            displacements together); not for a surface
        draws, seed : number of these draws, and where they begin
        axes : where to draw, one for each panel; a new figure without

        Returns
        -------
        array of matplotlib Axes

        Examples
        --------
        >>> axes = field.plot_variogram()
        """
        from remlblup.plot.variogram import plot_variogram

        return plot_variogram(
            self, kind, trial, axes, row=row, col=col, x=x, by=by, bands=bands, draws=draws, seed=seed
        )

    def plot_covariance_function(self, term: str, axes: Iterable[Axes] | None = None) -> np.ndarray:
        """Variance of a random regression along its covariate, with its 95 % band, and its eigenfunctions.

        Parameters
        ----------
        term : a term of ``us(leg(x, k) | g)`` and its kind
        axes : where to draw, one for each panel; a new figure without

        Returns
        -------
        array of matplotlib Axes

        Examples
        --------
        >>> len(curves.plot_covariance_function("us(leg(Days, 1) | Subject)"))
        2
        """
        from remlblup.plot.random_regression import plot_covariance_function

        return plot_covariance_function(self, term, axes)

    def plot_biplot(self, term: str, factors: tuple[int, int] = (1, 2), ax: Axes | None = None) -> Axes:
        """Loadings of the effects as arrows and factor scores of the levels as points.

        Parameters
        ----------
        term : an ``fa`` or ``rr`` term, of two factors or more
        factors : which two
        ax : where to draw; a new figure without

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> wide = rb.MixedModel("score ~ Machine + rr(Machine | Worker, k=2)", rb.datasets.load("machines")).fit()
        >>> ax = wide.plot_biplot("rr(Machine | Worker, k=2)")
        """
        from remlblup.plot.factor_analytic import plot_biplot

        return plot_biplot(self, term, factors, ax)

    def plot_latent_regression(
        self, term: str, factor: int = 1, levels: Iterable[object] | None = None, ax: Axes | None = None
    ) -> Axes:
        """BLUPs of some levels against the effects' loadings on one factor.

        Parameters
        ----------
        term : an ``fa`` or ``rr`` term
        factor : which factor, from 1
        levels : those to draw; by default those with the largest and smallest scores
        ax : where to draw; a new figure without

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> ax = machines.plot_latent_regression("fa(Machine | Worker, k=1)")
        """
        from remlblup.plot.factor_analytic import plot_latent_regression

        return plot_latent_regression(self, term, factor, levels, ax)
