"""statsmodels' `MixedLM` fitted live beside ours, REML and ML, on embedded data and on simulated designs."""

from __future__ import annotations

from functools import partial

from remlblup import MixedModel
from remlblup.validation.answers import Digits, compare_answer
from remlblup.validation.cases import Case
from remlblup.validation.compare import Comparison, skipped
from remlblup.validation.designs import DESIGNS, LiveDesign

#: statsmodels' optimisers stop at a gradient near 1e-8: the log-likelihood is then exact, a variance to 6 digits.
DIGITS = Digits(loglik=10.0, components=5.5, fixed=8.0, fixed_errors=6.5, effects=6.5)


def cases() -> list[Case]:
    """Every design of `designs.DESIGNS`, by REML and by ML."""
    return [
        Case(
            f"{design.name}.{method}",
            "statsmodels",
            partial(_compare, design, method),
            f"statsmodels MixedLM, {method}",
            design.note,
        )
        for design in DESIGNS
        for method in ("REML", "ML")
    ]


def _compare(design: LiveDesign, method: str, case: str) -> list[Comparison]:
    from remlblup.validation.statsmodels_fit import best_fit, build, read

    data = design.data()
    model = MixedModel(design.formula, data)
    fit = model.fit(method, progress=False)
    theirs = best_fit(build(design, data), method == "REML")
    answer = read(design, theirs, fit, DIGITS)
    rows = compare_answer(case, model, fit, answer)
    if not answer.effects:
        rows.append(skipped(case, "BLUPs", "statsmodels gives none where the covariance is singular"))
    return rows
