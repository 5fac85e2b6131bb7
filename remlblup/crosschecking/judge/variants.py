"""The dull reasons that a model leaves room for, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Iterator

from remlblup.crosschecking.judge.other_data import level_without_effect, other_columns, other_records, other_weights
from remlblup.crosschecking.judge.other_numbers import other_numbers
from remlblup.crosschecking.judge.other_relationships import other_relationships
from remlblup.crosschecking.judge.variant import Ours, Variant, other_method


def variants(ours: Ours) -> Iterator[Variant]:
    """Every dull reason that this model leaves room for."""
    yield other_method(ours.method)
    yield from other_numbers(ours.spec.parameters)
    yield from other_models(ours)


def other_models(ours: Ours) -> Iterator[Variant]:
    """Those that are another model."""
    yield from other_relationships(ours)
    yield from other_weights(ours)
    yield from other_records(ours)
    yield from other_columns(ours)
    yield from level_without_effect(ours)
