"""Replicates, profiles and tests of variance components as methods of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from remlblup.inference.methods import InferenceMethods
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import exclusive

if TYPE_CHECKING:
    from remlblup.inference.bootstrap import Bootstrap


@all_within_memory
class ComponentMethods(InferenceMethods):
    """Estimates with what can be drawn from them and asked about their components."""

    @known_arguments
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
        """
        from remlblup.inference.simulate import simulate

        return simulate(self.specification, self.beta, self.theta, n, seed)

    @known_arguments
    @exclusive
    def refit(self, y: Any) -> Self:
        """The same model for another response, with the same options: the fit that a new model would have, to the last digit.

        Matrices, the order of elimination, reductions and their memory serve again.

        Parameters
        ----------
        y : (n,) a value for each record used, in the order of `fitted`, or labelled alike
        """
        from remlblup.inference.refit import refit

        return refit(self, y)

    @known_arguments
    @exclusive
    def bootstrap(self, n: int = 1000, seed: int = 0, statistic: Any = None, workers: int | None = None,
                  progress: bool | None = None) -> Bootstrap:  # fmt: skip
        """Draw records from the fitted model and fit them, `n` times.

        The searches begin at the estimates of this fit, and where that does not converge at the start of a new one. A model
        of independent residuals with one variance, or with a few and up to 120 random effects, is fitted to a batch of
        replicates at once.

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
        Bootstrap : ``estimates``, ``intervals()``, ``bias``, ``std_error``. Replicates that did not converge are counted at
            their last iterate. After a Ctrl-C it holds those that were done.
        """
        from remlblup.inference.bootstrap import bootstrap

        return bootstrap(self, n, seed, statistic, workers, progress)
