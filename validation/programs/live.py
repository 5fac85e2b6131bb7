"""statsmodels' `MixedLM`, live, as its default settings leave it: ten designs."""

from __future__ import annotations

import warnings
from functools import partial

import remlblup as rb
from remlblup.crosschecking.readers.live import read_statsmodels
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison
from remlblup.validation.designs import DESIGNS, LiveDesign
from remlblup.validation.programs.judged import GROUP, compare_results
from remlblup.validation.programs.stored import Output
from remlblup.validation.statsmodels_fit import build

#: How many designs.
COUNT = 10


def cases() -> list[Case]:
    """A case per design."""
    import statsmodels

    program = f"statsmodels {statsmodels.__version__}, default settings"
    return [
        Case(f"{d.name}/statsmodels", GROUP, partial(_compare, d, program), program, d.note) for d in DESIGNS[:COUNT]
    ]


def _compare(design: LiveDesign, program: str, case: str) -> list[Comparison]:
    data = design.data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = rb.MixedModel(design.formula, data).fit(progress=False)
        results = read_statsmodels(build(design, data).fit(reml=True))
    terms = {name: part.term for name, part in design.parts.items()}
    return compare_results(fit, Output("statsmodels", program, rename=terms, verdict="they "), results, case)
