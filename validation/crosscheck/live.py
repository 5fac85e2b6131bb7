"""statsmodels' `MixedLM`, live: ten designs, each fitted as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import remlblup as rb
from remlblup.validation.designs import DESIGNS
from remlblup.validation.statsmodels_fit import build

#: How many designs.
COUNT = 10


def judged() -> Iterator[tuple[str, bool, str]]:
    """Name, whether the verdict is one that can be true of the same model, and the verdict."""
    for design in DESIGNS[:COUNT]:
        data = design.data()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fit = rb.MixedModel(design.formula, data).fit(progress=False)
            result = build(design, data).fit(reml=True)
            match = {name: part.term for name, part in design.parts.items()}
            check = rb.crosscheck(fit, result, match=match)
        constant = check.evaluation.attrs["constant_words"]
        right = check.reason is None and check.verdict.startswith(("they agree", "they differ", "theirs stops"))
        yield design.name, right and constant == "the same constants", f"{check.verdict} ({constant})"
