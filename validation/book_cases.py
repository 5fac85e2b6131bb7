"""Worked examples of books, their figures typed in: Mrode's, and equations small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup import MixedModel, Pedigree, datasets, henderson
from remlblup.validation.cases import Case
from remlblup.validation.compare import (
    COMPONENT_ERRORS,
    COMPONENTS,
    EFFECTS,
    FIXED,
    LOGLIK,
    Comparison,
    compare_number,
    compare_vector,
)

_TERM = "vm(animal, A)"
_FORMULA = f"gain ~ 0 + sex + (1 | {_TERM})"

# Mrode, 4th ed., example 3.1: weaning gain of five calves at σ²a = 20, σ²e = 40; animals 1 to 8.
_SEX = {"sex[M]": 4.35850233, "sex[F]": 3.40443010}
_BREEDING_VALUES = (0.09844458, -0.01877010, -0.04108420, -0.00866312, -0.18573210, 0.17687209, -0.24945855, 0.18261469)

# Mrode, 4th ed., section 17.7: rounds of AI-REML from (0.4, 0.2), to four decimals.
_RESIDUAL_ROUNDS = (0.4000, 0.4838, 0.4910, 0.4839, 0.4835, 0.4835)
_ADDITIVE_ROUNDS = (0.2000, 0.3695, 0.5126, 0.5500, 0.5514, 0.5514)
_LOGLIK_ROUNDS = (-2.3852, -2.2021, -2.1821, -2.1817)
_INVERSE_AI = {"residual": 2.4436, "residual, animal": -3.2532, "animal": 5.3481}


def cases() -> list[Case]:
    """The cases of books."""
    return [
        Case("mrode.3.1", "books", _mrode_blup, "Mrode, 4th ed., example 3.1"),
        Case("mrode.17.7", "books", _mrode_reml, "Mrode, 4th ed., section 17.7", "figures printed with four decimals"),
        Case("henderson.three_records", "books", _three_records, "by hand"),
    ]


def _model(name: str) -> MixedModel:
    pedigree = Pedigree.from_frame(datasets.mrode_pedigree(), id="id", sire="sire", dam="dam")
    return MixedModel(_FORMULA, datasets.load(name), {"A": pedigree})


def _mrode_blup(case: str) -> list[Comparison]:
    """BLUP of breeding values at known variances, eight decimals."""
    solved = _model("mrode_weaning").solve({_TERM: 20.0, "residual": 40.0})
    u = solved.blup(_TERM)["Intercept"].rename(str)
    theirs = pd.Series(_BREEDING_VALUES, index=[str(k) for k in range(1, 9)])
    return [
        compare_vector(case, "sex", solved.fixed_effects["estimate"], pd.Series(_SEX), 7.5, kind=FIXED),
        compare_vector(case, "breeding values", u, theirs, 7.0, kind=EFFECTS),
    ]


def _mrode_reml(case: str) -> list[Comparison]:
    """Each round of AI-REML, its log-likelihood without the 2π term, and the inverse information at the end."""
    model = _model("mrode_preweaning")
    fit = model.fit(algorithm="ai", start={_TERM: 0.2, "residual": 0.4}, progress=False)
    constant = 0.5 * fit.df_residual * np.log(2 * np.pi)
    rounds = fit.history.iloc[: len(_RESIDUAL_ROUNDS)]
    rows = [
        compare_vector(case, name, _by_round(ours), pd.Series(theirs), required, kind=kind)
        for name, ours, theirs, required, kind in (
            ("σ²e by round", rounds["residual"], _RESIDUAL_ROUNDS, 3.9, COMPONENTS),
            ("σ²a by round", rounds[_TERM], _ADDITIVE_ROUNDS, 3.9, COMPONENTS),
            ("loglik by round", rounds["loglik"] + constant, _LOGLIK_ROUNDS, 4.4, LOGLIK),
        )
    ]
    inverse = fit.variance_covariance  # animal, residual
    ours = (inverse[1, 1], inverse[1, 0], inverse[0, 0])
    for (name, theirs), value in zip(_INVERSE_AI.items(), ours, strict=True):
        rows.append(compare_number(case, f"inverse AI: {name}", value, theirs, 4.0, kind=COMPONENT_ERRORS))
    return rows


def _by_round(values: pd.Series) -> pd.Series:
    return values.reset_index(drop=True)


def _three_records(case: str) -> list[Comparison]:
    """Records 10, 12 of subject 1 and 7 of subject 2, G = 2I, R = I: every entry by hand.

    C = [3 2 1; 2 5/2 0; 1 0 3/2] and its right-hand side is (29, 22, 7). Eliminating the subjects leaves
    (3 − 8/5 − 2/3) μ = 29 − 88/5 − 14/3, so μ̂ = 101/11, û = ((22 − 2μ̂)·2/5, (7 − μ̂)·2/3).
    """
    Z = [[1, 0], [1, 0], [0, 1]]
    solution = henderson([10.0, 12.0, 7.0], np.ones((3, 1)), Z, 2.0, 1.0)
    mu = 101 / 11
    by_hand = {
        "C": (np.ravel(solution.C), [3, 2, 1, 2, 2.5, 0, 1, 0, 1.5]),
        "right-hand side": (solution.rhs, [29, 22, 7]),
        "μ̂": (solution.beta, [mu]),
        "û": (solution.u, [(22 - 2 * mu) * 2 / 5, (7 - mu) * 2 / 3]),
        "var(μ̂)": (np.ravel(solution.beta_cov), [15 / 11]),
        "PEV": (solution.pev, [2 / 5 + 16 / 25 * 15 / 11, 2 / 3 + 4 / 9 * 15 / 11]),
    }
    return [
        compare_vector(case, name, pd.Series(ours), pd.Series(theirs, dtype=float), 12.0)
        for name, (ours, theirs) in by_hand.items()
    ]
