"""What the effects of a random term are in units of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from remlblup.fit.tables.effects import term_index
from remlblup.plot.style import shorten

if TYPE_CHECKING:
    from remlblup.fit.solved import Solved


def units_of(fit: Solved, term: str, effect: str) -> str:
    """The response, or its trait; of a slope per unit of its covariate."""
    spec = fit.specification
    design = spec.random[term_index(spec, term)]
    if effect in spec.responses:
        return shorten(effect, 30)
    response = f"{len(spec.responses)} traits" if len(spec.responses) > 1 else shorten(spec.response, 30)
    effects = [str(e) for e in design.structure.effects]
    # Where a record has an intercept, a level or a factor of the term, or not, its covariate is 1 or not there.
    covariate = design.columns[effects.index(effect)].data
    if effect == "Intercept" or np.all(covariate == 1.0) or design.term is None or design.term.by_factor:
        return response
    return f"{response} per unit of {shorten(effect, 30)}"
