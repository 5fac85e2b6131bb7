"""Replicates, profiles and tests of variance components as methods of a fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from remlblup.inference.methods import InferenceMethods
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive, owned_property

if TYPE_CHECKING:
    from remlblup.inference.components.profile import Profile
    from remlblup.inference.resampling.bootstrap import Bootstrap


@all_within_memory
class ComponentMethods(InferenceMethods):
    """Estimates with what can be drawn from them and asked about their components."""

    @exclusive
    def simulate(self, n: int = 1, seed: int = 0) -> pd.DataFrame:
        """Records drawn from the fitted model: β̂ as it is, random effects and errors anew.

        Parameters
        ----------
        n : number of replicates
        seed : of the draws; replicate k is the same for every `n`

        Returns
        -------
        DataFrame, records × replicates, indexed as `fitted`; a column is what `refit` takes.

        Examples
        --------
        >>> fit.simulate(2, seed=3).shape
        (180, 2)
        """
        from remlblup.inference.resampling.simulate import simulate

        return simulate(self.specification, self.beta, self.theta, n, seed)

    @exclusive
    def sampled_reliabilities(
        self, term: str, samples: int = 100, seed: int = 0, progress: bool | None = None
    ) -> pd.DataFrame:
        """Reliabilities by sampling, with their Monte Carlo error, where exact ones are out of reach.

        Effects and records are drawn from the fitted model, and their BLUPs solved for: one solve a sample, for all
        levels at once (Hickey et al. 2009). Under ``engine="stochastic"`` `random_effects` has none.

        Parameters
        ----------
        term : a random term, as written in the formula
        samples : how many; 100 tell a reliability of .5 to .05, one of .9 or .1 to .014
        seed : of the draws; sample j is the same for every `samples`
        progress : show a bar; by default only on a terminal

        Returns
        -------
        DataFrame : effect, level, pev, reliability, monte_carlo_error (a standard error of the reliability)

        Raises
        ------
        ModelError
            If the term has groups of unknown parents.

        Examples
        --------
        >>> rough = fit.sampled_reliabilities("1 + Days | Subject", samples=20)
        """
        from remlblup.inference.resampling.reliabilities import sampled_reliabilities

        return sampled_reliabilities(self, term, samples, seed, progress)

    @exclusive
    def refit(self, y: Any) -> Self:
        """The same model for another response, with the same options: the fit that a new model would have,
        to the last digit.

        Matrices, the order of elimination, reductions and their memory serve again.

        Parameters
        ----------
        y : (n,) a value for each record used, in the order of `fitted`, or labelled alike

        Returns
        -------
        Fit

        Examples
        --------
        >>> again = fit.refit(fit.simulate(1, seed=3).iloc[:, 0])
        >>> again.converged
        True
        """
        from remlblup.inference.resampling.refit import refit

        return refit(self, y)

    @exclusive
    def bootstrap(
        self,
        n: int = 1000,
        seed: int = 0,
        statistic: Any = None,
        workers: int | None = None,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Draw records from the fitted model and fit them, `n` times.

        The searches begin at the estimates of this fit, and where that does not converge at the start of a new one. A
        model of independent residuals with one variance, or with a few and up to 120 random effects, is fitted to a
        batch of replicates at once.

        Parameters
        ----------
        n : number of replicates
        seed : the numbers are the same for any number of workers
        statistic : expressions as of `function`, or a function of a fit that returns numbers; by default the variance
            parameters, the fixed effects and ℓ
        workers : number of processes, started afresh; one, this one, by default. A script that asks for more keeps its
            own code below ``if __name__ == "__main__":``.
        progress : show a bar; by default only on a terminal

        Returns
        -------
        Bootstrap : ``estimates``, ``intervals()``, ``bias``, ``std_error``.
            Replicates that did not converge are counted at their last iterate.
            After a Ctrl-C it holds those that were done.

        Examples
        --------
        >>> fit.bootstrap(20, seed=1, progress=False).estimates.shape[0]
        20
        """
        from remlblup.inference.resampling.bootstrap import bootstrap

        return bootstrap(self, n, seed, statistic, workers, progress)

    @exclusive
    def intervals(
        self,
        method: str = "log",
        level: float = 0.95,
        functions: Sequence[str] = (),
        n: int = 2000,
        seed: int = 0,
        kind: str = "bca",
    ) -> pd.DataFrame:
        """Intervals of the variance parameters, and of functions of them, never beyond a bound.

        Parameters
        ----------
        method : {"log", "wald", "profile", "bootstrap"}
            Estimate ± z standard errors of log θ for a variance, of Fisher's z for a correlation, of θ itself for a
            covariance or loading; or of θ throughout, cut at its bounds; where the profile likelihood has fallen by
            z²/2 (`profile`); quantiles of `n` replicates, corrected for bias and acceleration (`bootstrap`).
        level : float
            Coverage.
        functions : sequence of str, optional
            Expressions as of `function`: by "log" shares of a sum of variances are taken on the logit scale, other
            positive quantities on that of the logarithm, the rest as they are.
        n, seed, kind : of the bootstrap; kinds as of `Bootstrap.intervals`

        Returns
        -------
        DataFrame: term, parameter, estimate, std_error, lower, upper, scale, status. By standard errors NaN on a
        boundary and where the estimate has none; an end of a profile may be a bound of the parameter space. What a
        component adds is tested by a likelihood ratio (`rb.likelihood_ratio`), not by its interval.

        Examples
        --------
        >>> oats.intervals()[["lower", "upper"]].round(1).iloc[0].tolist()
        [45.8, 1003.3]
        """
        from remlblup.inference.components.intervals import intervals_of

        return intervals_of(self, method, level, functions, n, seed, kind)

    @property
    def _kind_of_profile(self) -> type[Profile]:
        """The class of profiles: one that draws itself, where there are plots."""
        from remlblup.inference.components.profile import Profile

        return Profile

    @exclusive
    def profile(self, parameters: str | Sequence[str] | None = None, points: int = 6) -> Profile:
        """Profile likelihood of components, and of functions of them: ζ, the signed root of the deviance.

        Parameters
        ----------
        parameters : labels of components (as the columns of `history`), or expressions as of `function`, such as
            "a / (a + residual)" or a correlation "t[x, y] / sqrt(t[x] * t[y])"; all components by default
        points : about how many on each side of the estimate, out to the limits of 99 %

        Returns
        -------
        Profile : ``table``, ``intervals(level)``, ``plot()``

        Examples
        --------
        >>> oats.profile("Block").intervals().round(0).shape[0]
        1
        """
        from remlblup.inference.components.profile import profile

        paths = profile(self, parameters, points)
        return self._kind_of_profile(paths, self._note, self.specification.parameters.columns)

    @exclusive
    def surface(self, a: str, b: str, points: int = 21, others: str = "held") -> pd.DataFrame:
        """ℓ over two parameters, three standard errors to both sides of the estimates and within their bounds.

        Parameters
        ----------
        a, b : labels of parameters, as the columns of `history`
        points : values of each
        others : {"held", "best"}
            The other parameters at their estimates, or at their best for each pair of values (a fit each).

        Returns
        -------
        DataFrame, a row per pair: a, b, loglik, below (the fit's ℓ less it); NaN where V is not positive definite.

        Raises
        ------
        OptionError, ModelError
            For what is no free parameter, the same twice, or a fit that has not converged.

        Examples
        --------
        >>> oats.surface("Block", "residual", points=3).shape
        (9, 4)
        """
        from remlblup.inference.components.surface import surface

        return surface(self, a, b, points, others)

    @exclusive
    def heritability(self, term: str, method: str = "components") -> float:
        """Heritability by one of its definitions.

        When they agree is in "Heritability of a trial" of docs/components.md.

        Parameters
        ----------
        term : a random term of one effect, of genotypes or animals
        method : {"components", "standard", "cullis", "oakey", "vanraden", "piepho"}
            Share of the variance of a record (`function` gives that of any components, with a standard error); of means
            over the harmonic mean of records per level, with plot error alone; by the mean variance of a difference of
            predictions; by the eigenvalues of the reliability; the mean reliability; by the mean variance of a
            difference of estimates with the levels as fixed effects (Piepho & Möhring 2007). All but the first two are
            over the levels with records, whatever the model.

        Returns
        -------
        float

        Examples
        --------
        >>> round(oats.heritability("Block", "components"), 3)
        0.431
        """
        from remlblup.inference.components.heritability import heritability

        return heritability(self, term, method)

    @owned_property
    def effective_dimensions(self) -> pd.DataFrame:
        """Effective dimensions of every term, tr(P Z (Σ ⊗ K) Z'): how many parameters the data make of its effects.

        They add up, with the fixed effects and the residual, to the number of records (Rodríguez-Álvarez et al. 2018).
        DataFrame by term: effective, effects, share.
        """
        from remlblup.inference.components.heritability import effective_dimensions

        return effective_dimensions(self)
