"""Two dull reasons at once, where no single one gives their numbers.

There are many pairs, and a pair is named only if its numbers are theirs more closely than a single reason must be: the
chance that one of many models comes near grows with their number. What is fitted is what passes a cheaper test: at a
maximum of its own likelihood theirs must have nothing to gain from a Newton step.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from remlblup.crosschecking.judge.evaluation import Evaluation, evaluate
from remlblup.crosschecking.judge.matching import Matched
from remlblup.crosschecking.judge.reasons import Single, beside, refit, standard_errors
from remlblup.crosschecking.judge.tolerance import SHARE, allowance
from remlblup.crosschecking.judge.tried import Tried
from remlblup.crosschecking.judge.variant import Ours, Variant, other_method
from remlblup.crosschecking.judge.variants import other_models
from remlblup.errors import RemlBlupError
from remlblup.mixed_model import MixedModel
from remlblup.model.specification import Specification
from remlblup.result import Fit

#: Pairs are tried unasked up to this many records and random effects.
MOST = 3_000
#: A pair agrees within this share of a standard error, a twentieth of what a single reason may be off.
CLOSE = SHARE / 20.0
#: Where less is printed than this share of a standard error, two reasons cannot be told from others.
COARSE = 0.01
#: What a Newton step from theirs may promise in ℓ.
GAIN = 1e-4


def room_for_pairs(fit: Fit, theirs: Matched) -> str:
    """Why pairs tell nothing here; "" where they do."""
    if not theirs.complete or len(theirs.theta) < 2:
        return "theirs has too few components to tell two reasons from others"
    error = standard_errors(fit)
    coarse = allowance(fit.theta, theirs.unit, np.zeros_like(error)) > COARSE * np.where(error > 0.0, error, np.inf)
    return "theirs has too few digits to tell two reasons from others" if coarse.any() else ""


def small(fit: Fit) -> bool:
    """Whether pairs are tried unasked."""
    return fit.n_obs + fit.specification.n_random <= MOST


def try_pairs(fit: Fit, theirs: Matched, singles: list[Single], ours: Ours | None) -> list[Tried]:
    """The pairs that have been fitted, and pairs of another model with other numbers for its estimates."""
    models = [s for s in singles if s.fit is not None and s.fit is not fit]
    numbers = [s.variant for s in singles if s.variant.of is not None]
    out = [beside(fit, theirs, _both(m.variant, n), m.fit, CLOSE) for m in models for n in numbers if m.fit is not None]
    if ours is not None:
        for variant in _models(fit, ours, models):
            if _may_be(variant, theirs, fit):
                found = refit(fit, variant)
                if isinstance(found, Fit):
                    out.append(beside(fit, theirs, variant, found, CLOSE))
    return [t for t in out if t.theta is not None]


def _both(a: Variant, b: Variant) -> Variant:
    """Two variants in words, with the second's way of making numbers."""
    return replace(b, reason=f"{a.reason} and {b.reason}", detail=f"{a.detail}, and {b.detail}")


def _models(fit: Fit, ours: Ours, singles: list[Single]) -> Iterator[Variant]:
    """Every other model by the other method, and changed once more by each reason that comes behind its own."""
    method = other_method(fit.method)
    order = list(dict.fromkeys(s.variant.reason for s in singles))
    for first in singles:
        if first.variant.make is None or first.variant.slight or first.fit is None:
            continue
        spec = first.fit.specification
        yield replace(_both(first.variant, method), make=partial(_same, spec))
        if first.variant.last or (changed := Ours.of(spec, fit.method, ours.whole)) is None:
            continue
        behind = order[order.index(first.variant.reason) + 1 :]
        for second in other_models(changed):
            if second.reason in behind and not second.slight:
                yield _both(first.variant, second)


def _same(spec: Specification) -> Specification:
    return spec


def _may_be(variant: Variant, theirs: Matched, fit: Fit) -> bool:
    """Whether theirs is near a maximum of this model."""
    assert variant.make is not None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = MixedModel._of(variant.make())
    except (RemlBlupError, np.linalg.LinAlgError):
        return False
    if model.specification.parameters.size != len(theirs.theta):
        return False
    at = evaluate(model, theirs.theta, variant.method or fit.method)
    if not isinstance(at, Evaluation):
        return False
    rounding = 0.5 * float(theirs.unit @ np.abs(at.information) @ theirs.unit)
    return at.expected_gain <= GAIN + rounding
