"""Which search serves a model: by ℓ where it is known, else by the root of its score."""

from __future__ import annotations

from collections.abc import Callable

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.errors import OptionError
from remlblup.reml.history import Iteration
from remlblup.reml.optimum import Options
from remlblup.reml.starts import Search
from remlblup.reml.stochastic.search import StochasticSearch


def search_of(
    equations: Equations, options: Options, fixed: Array, report: Callable[[Iteration], None] | None = None
) -> Search | StochasticSearch:
    """The search for the estimates of a model; see `Search`.

    Raises
    ------
    OptionError
        If probes are asked for where none are drawn.
    """
    if equations.knows_likelihood and options.probes is not None:
        raise OptionError(
            f"probes={options.probes} are drawn by engine='stochastic' alone, and this model is fitted without any:"
            " leave probes= out, or write engine='stochastic'."
        )
    kind = Search if equations.knows_likelihood else StochasticSearch
    return kind(equations, options, fixed, report)  # type: ignore[arg-type]
