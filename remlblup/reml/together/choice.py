"""Which search serves the responses of a model."""

from __future__ import annotations

from remlblup.arrays import Array
from remlblup.model.specification import Specification
from remlblup.reml.together.fixed import FixedOnly
from remlblup.reml.together.one import OneRatio
from remlblup.reml.together.reduction import Reduction, is_one
from remlblup.reml.together.several import Several


def search_of(spec: Specification, ml: bool, start: Array) -> FixedOnly | OneRatio | Several:
    """The search of the responses of a model that is `reducible`; `start` (n_parameters,) of several variances."""
    reduction = Reduction.of(spec, ml)
    if not spec.random:
        return FixedOnly(reduction)
    return OneRatio(reduction) if is_one(spec) else Several(reduction, start)
