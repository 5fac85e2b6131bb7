"""What a model is told to have doubts about, once it is built: each a warning."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from remlblup.model.algebra import read_terms
from remlblup.model.covariates import (
    warn_of_blanks,
    warn_of_codes,
    warn_of_one_effect,
    warn_of_traits,
    warn_of_written_missing,
)
from remlblup.model.given import warn_of_unused
from remlblup.model.records import having_effects
from remlblup.model.repeats import warn_of_repeats
from remlblup.model.specification import Specification


def warn_of_doubts(
    spec: Specification,
    relationships: object,
    codes: Mapping[str, int] | None = None,
    frame: pd.DataFrame | None = None,
) -> None:
    """Codes taken for numbers, traits that share, sums that other programs mean otherwise, relationships not used,
    records that repeat others.

    Parameters
    ----------
    relationships : as they were given
    codes : those of several models, of which this is one; by default its own
    frame : their data, in which words for missing values are looked for; by default its own where it has any
    """
    warn_of_codes(spec.codes if codes is None else codes)
    if (parsed := spec.formula) is not None:
        warn_of_traits(parsed, spec.residual_term)
        warn_of_one_effect(parsed.random)
        warn_of_unused(relationships, parsed, spec.residual_term)
    warn_of_repeats(spec)
    if (records := spec.records) is None:
        return
    seen, names = (records.frame, records.doubtful) if frame is None else (frame, records.used)
    warn_of_written_missing(seen, names)
    if names and parsed is not None:
        fixed = read_terms(parsed.fixed).columns
        warn_of_blanks(seen, having_effects(names, parsed, spec.residual_term, fixed) & {*names})
