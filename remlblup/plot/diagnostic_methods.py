"""The plots that tell whether a fit can be believed, as its methods: each draws with a file of its own,
which brings matplotlib when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.diagnostics.direction import Direction
from remlblup.diagnostics.influence import Influence
from remlblup.diagnostics.methods import DiagnosticMethods
from remlblup.fit.starts import StartCheck
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class PlottedStarts(StartCheck):
    """A `StartCheck` that draws itself."""

    def plot(self, ax: Axes | None = None) -> Axes:
        """How far each search is below the highest end, by iteration."""
        from remlblup.plot.starts import plot_starts

        return plot_starts(self, ax)


class PlottedDirection(Direction):
    """A `Direction` that draws itself."""

    def plot(self, ax: Axes | Iterable[Axes] | None = None) -> np.ndarray:
        """ℓ along the direction, and how the components change along it."""
        from remlblup.plot.direction import plot_direction

        return plot_direction(self, ax)


class PlottedInfluence(Influence):
    """An `Influence` that draws itself."""

    def plot(self, axes: Axes | Iterable[Axes] | None = None) -> np.ndarray:
        """Cook's distance of the most influential cases, and how the components move without them."""
        from remlblup.plot.influence import plot_influence

        return plot_influence(self, axes)


@all_within_memory
class DiagnosticPlots(DiagnosticMethods):
    """Estimates that draw how they were found, their residuals and what they hang on."""

    def flat_direction(self) -> PlottedDirection:
        return PlottedDirection(**vars(super().flat_direction()))

    flat_direction.__doc__ = DiagnosticMethods.flat_direction.__doc__

    def influence(
        self,
        term: str | None = None,
        components: bool = True,
        progress: bool | None = None,
        many_solves: bool = False,
    ) -> PlottedInfluence:
        return PlottedInfluence(**vars(super().influence(term, components, progress, many_solves)))

    influence.__doc__ = DiagnosticMethods.influence.__doc__

    def plot_convergence(
        self,
        kind: str = "criteria",
        compare: Any = None,
        parameters: str | Sequence[str] | None = None,
        ax: Axes | Iterable[Axes] | None = None,
    ) -> Axes | np.ndarray:
        """How the fit got to its maximum, alone or beside other fits and histories.

        Parameters
        ----------
        kind : {"criteria", "components", "path", "all"}
            The log-likelihood still to be gained, ℓ_max − ℓ with half the final Newton decrement for what another step
            would bring, and the gradient that the verdict is read from, with its tolerance; the band at the foot is
            the rounding of ℓ, where there is nothing left to see. Or every component in standard errors from where it
            ended, the kind of step marked. Or the way over a map of ℓ over two parameters, the others at their
            estimates, with its bounds. Or all three, below one another.
        compare : fit, DataFrame, or a list of them
            Fits by other algorithms or from other starts, and histories of other programs: tables with a column
            ``loglik`` and perhaps ``iteration``, ``step``, parameters as in `history`, and a name in
            ``attrs["name"]``. Fits of the same records, fixed effects and method are measured from the highest of
            them, others, whose constants may differ, each from its own highest.
        parameters : str or sequence of str, optional
            Labels as the columns of `history`: those to trace, or the two of the map (by default the two whose
            estimates are most correlated).
        ax : Axes, optional
            Where to draw (three for "all", two of a model with one free parameter); a new figure without.

        Returns
        -------
        matplotlib Axes, or an array of them for "all"

        Raises
        ------
        OptionError, DataError
            For unknown kinds and parameters, and what is no history.
        ModelError
            For the path of a model with fewer than two parameters to estimate.

        Examples
        --------
        >>> ax = fit.plot_convergence("components")
        >>> ax.get_xlabel()
        'iteration'
        """
        from remlblup.plot.convergence import plot_convergence

        return plot_convergence(self, kind, compare, parameters, ax)

    def plot_surface(self, a: str, b: str, points: int = 41, others: str = "held", ax: Axes | None = None) -> Axes:
        """ℓ over two parameters (`surface`) with regions of 50 to 99 %, the path of the iterations and the bounds.

        Parameters
        ----------
        a, b, points, others : as of `surface`
        ax : where to draw; a new figure without

        Returns
        -------
        matplotlib Axes

        Examples
        --------
        >>> ax = oats.plot_surface("Block", "residual", points=5)
        """
        from remlblup.plot.surface import plot_surface

        return plot_surface(self, self.surface(a, b, points, others), ax)

    @exclusive
    def plot_random_effects(
        self,
        term: str | None = None,
        effect: str | None = None,
        kind: str = "caterpillar",
        intervals: str = "prediction",
        draws: int | None = None,
        seed: int = 0,
        ax: Axes | None = None,
    ) -> Axes:
        """BLUPs û of one effect of a term, in units of the response, of a slope per unit of its covariate.

        Parameters
        ----------
        term : str, optional
            A random term; the first one without.
        effect : str, optional
            One of its effects, such as ``"Days"`` in ``(1 + Days | Subject)``; the first without. One Axes shows one
            effect: call once per effect for panels.
        kind : {"caterpillar", "qq", "ranking"}
            In order with intervals: up to 40 levels are named and up to 150 have an interval each, beyond a ribbon has
            the median half width over neighbours in rank. Or û over its standard deviation, √(σ²K_ll − PEV), against
            normal quantiles, with a band in which all of them lie together for 95 % of the records drawn from the
            fitted model. Or with ranks, the highest first, and names at both ends where there are many.
        intervals : {"prediction", "difference"}
            û ± 1.96 √PEV, or intervals to compare levels by: two differ at 5 % where theirs do not overlap, on average
            over pairs (Goldstein & Healy 1995), by prediction errors of differences.
        draws, seed : for "qq", as of `plot_residuals`
        ax : matplotlib Axes, optional
            Where to draw; a new figure without.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ModelError
            If the model has no random term, or none of its BLUPs can be other than zero ("qq").
        VarianceError, OptionError
            If there is no such term, effect or kind.

        Examples
        --------
        >>> ax = fit.plot_random_effects("1 + Days | Subject", "Days")
        """
        from remlblup.plot.random_effects import plot_random_effects

        return plot_random_effects(self, term, effect, kind, intervals, draws, seed, ax)

    @exclusive
    def plot_residuals(
        self,
        kind: str = "fitted",
        by: Any = None,
        draws: int | None = None,
        seed: int = 0,
        ax: Axes | None = None,
    ) -> Axes:
        """Residuals as they fell, and whether they are what the model says they are.

        Parameters
        ----------
        kind : {"fitted", "qq", "scale", "by"}
            Residuals (times √weight) against fitted values with a smooth: BLUPs are shrunken, so part of every u stays
            in ê, and where there are few records per level a rising smooth is what a right model gives. Or studentized
            residuals (`residual_table`) against normal quantiles, with a band in which all of them lie together for 95
            % of the records drawn from the fitted model. Or the root of their size against fitted values, level if
            the variances are right. Or studentized residuals by ``by``.
        by : column of the data, (n,) values, or random term
            For kind "by": groups are boxes, a covariate (more than 12 distinct numbers) has a smooth, a random term
            stands for its part of the prediction, Zû.
        draws : number of sets of records drawn for the band; 999 without, fewer of many records
        seed : of the draws
        ax : where to draw; a new figure without

        Returns
        -------
        matplotlib Axes; up to 3,000 records the largest studentized residuals carry their names.

        Raises
        ------
        OptionError, DataError
            For unknown kinds, columns and terms.

        Examples
        --------
        >>> ax = fit.plot_residuals()
        """
        from remlblup.plot.residuals import plot_residuals

        return plot_residuals(self, kind, by, draws, seed, ax)

    def plot_influence(
        self, term: str | None = None, components: bool = True, axes: Axes | Iterable[Axes] | None = None
    ) -> np.ndarray:
        """What the estimates hang on: `influence(term).plot()`.

        Parameters
        ----------
        term : random term or column of the data whose levels are left out; the records without
        components : whether to show the step of the variance parameters as well
        axes : two Axes, one without the components; a new figure without

        Returns
        -------
        Array of the Axes: Cook's distance of the first 25 cases; the components' changes in standard errors.

        Examples
        --------
        >>> axes = fit.plot_influence("Subject", components=False)
        """
        return self.influence(term, components, False).plot(axes)

    @exclusive
    def check_starts(self, n: int = 5, seed: int = 0, progress: bool | None = None) -> PlottedStarts:
        """Search again from `n` other starts: whether any of them ends higher.

        The starts are drawn over the parameter space (shares of variance, signs and sizes of correlations and
        loadings); each search is that of the fit, with the same options. Ctrl-C stops it and keeps what is done.

        Parameters
        ----------
        n : number of starts
        seed : of the draws
        progress : print a line per start; by default only on a terminal

        Returns
        -------
        StartCheck : ``verdict`` in words, ``table``, ``higher``, ``start`` (of the higher maximum), ``plot()``

        Examples
        --------
        >>> check = oats.check_starts(2, progress=False)
        >>> len(check.table)
        2
        """
        from remlblup.fit.starts import check_starts

        return PlottedStarts(**vars(check_starts(self, n, seed, progress)))
