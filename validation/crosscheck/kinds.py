"""The kinds of disagreement, by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from remlblup.validation.crosscheck import coordinates, pairs, simulate
from remlblup.validation.crosscheck.simulate import Disagreement

KINDS: dict[str, Callable[[np.random.Generator], Disagreement]] = {
    f.__name__: f
    for f in (
        simulate.inbreeding_ignored,
        simulate.inverse_cut,
        simulate.maximum_likelihood,
        simulate.weights_inverted,
        simulate.ratios,
        simulate.records_dropped,
        simulate.traits_imputed,
        simulate.group_coded_missing,
        simulate.level_without_effect,
        simulate.range_for_correlation,
        simulate.start_returned,
        coordinates.loadings_rotated,
        coordinates.aliased_otherwise,
        coordinates.correlation_for_range,
        coordinates.covariance_for_correlation,
        pairs.likelihood_and_inbreeding,
        pairs.weights_and_records,
        pairs.ratios_by_maximum_likelihood,
        simulate.agreeing,
        simulate.stopped_short,
        simulate.unknown_model,
    )
}
