"""Approximate reliabilities of a pedigree term, for models too large to factorise."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.equations.henderson.effective_records import effective_records
from remlblup.errors import ModelError, some
from remlblup.fit.tables.effects import term_index
from remlblup.model.specification import Specification
from remlblup.relationship.pedigree.approximate import approximate_reliabilities
from remlblup.relationship.pedigree.pedigree import Pedigree

METHOD = "approximate: information counted in records and passed along the pedigree (Misztal & Wiggans 1988)"


def approximate_table(spec: Specification, theta: Array, term: str) -> pd.DataFrame:
    """See `MixedModel.approximate_reliabilities`."""
    k = term_index(spec, term)
    design = spec.random[k]
    pedigree = design.relationship
    if not isinstance(pedigree, Pedigree) or design.t != 1 or spec.residual.keyword != "units":
        raise ModelError(
            "approximate reliabilities are for one effect over a pedigree beside independent residuals; "
            f"'{design.name}' is not that. Take the exact ones from fit.random_effects or "
            "model.solve(...).random_effects."
        )
    if pedigree.groups is not None:
        warnings.warn(
            f"approximate reliabilities of '{design.name}' are those of the animals' own parts: the errors of their "
            f"groups of unknown parents ({some(pedigree.groups)}) are not in them.",
            UserWarning,
            stacklevel=4,
        )
    variance, residual = (float(part[0]) for part in (spec.parameters.split(theta)[k], theta[-1:]))
    records = effective_records(spec, theta, k)
    ratio = residual / variance if variance > 0.0 else np.nan
    diagonal = np.asarray(pedigree.diagonal)
    reliability = approximate_reliabilities(
        pedigree.sire, pedigree.dam, pedigree.mendelian_variance, diagonal, records, ratio
    )
    table = pd.DataFrame(
        {
            "reliability": reliability,
            "accuracy": np.sqrt(reliability),
            "pev": (1.0 - reliability) * variance * diagonal,
            "effective_records": records,
            "method": "approximate",
        },
        index=pd.Index(pedigree.labels, name="level"),
    )
    table.attrs["method"] = METHOD
    return table
