"""Simulated families with known truth: are the estimates unbiased, the intervals honest, the verdicts true?

``python -m remlblup.validation.simulations`` runs them; five families for each covariance structure of G and of R.
`case("us.sites", 17)` is the model, the data and the truth of one replicate, for a closer look.
"""

from __future__ import annotations

import pandas as pd

from remlblup import MixedModel
from remlblup.validation.simulations.family import Family, case_of

__all__ = ["Family", "case", "families"]


def families(edge: bool = False) -> tuple[Family, ...]:
    """Every family: those of G, then those of R; or those on the edge of the parameter space."""
    from remlblup.validation.simulations import edge_families, genetic_families, residual_families

    if edge:
        return edge_families.families()
    return (*genetic_families.families(), *residual_families.families())


def case(name: str, replicate: int) -> tuple[MixedModel, Family, pd.DataFrame]:
    """Model, family and data of one replicate, by the name of its family."""
    (family,) = [f for f in (*families(), *families(edge=True)) if f.name == name]
    model, data = case_of(family, replicate)
    return model, family, data
