"""What can be said of confounding without projecting a vector: never more than projections say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.reml import identify


def model(formula: str, records: int = 120):
    rng = np.random.default_rng(8)
    x = rng.normal(size=records)
    data = pd.DataFrame(
        {
            "g": rng.integers(0, 12, records).astype(str),
            "h": rng.integers(0, 3, records).astype(str),
            "x": x,
            "one": 1.0,
            "near": 1.0 + 1e-9 * x,
            "y": x + rng.normal(size=records),
        }
    )
    data["same"] = data["g"]
    K = pd.DataFrame(np.eye(12) + 0.1, index=map(str, range(12)), columns=map(str, range(12)))
    return rb.MixedModel(formula, data, relationships={"K": K} if "K" in formula else None)


CASES = (
    "y ~ x + (1 | g)",
    "y ~ x + (1 + x | g)",
    "y ~ h + (1 | h) + (1 | g)",
    "y ~ g + (1 | g)",
    "y ~ g:x + g + (1 + x | g)",
    "y ~ x + (1 + one | g)",
    "y ~ x + (1 + near | g)",
    "y ~ x + us(vm(g, K) + vm(same, K))",
    "y ~ x + us(h | g)",
)


@pytest.mark.parametrize("formula", CASES)
def test_bounds_find_nothing_that_projections_do_not(formula, monkeypatch):
    equations = model(formula)._equations
    held = np.zeros(len(equations.spec.parameters.lower), bool)
    found = identify.confounded(equations, held)
    for bound in ("outnumbers", "apart"):
        monkeypatch.setattr(identify, bound, lambda *_: False)
    assert identify.confounded(equations, held) == found


def test_the_bounds_hold_for_ordinary_terms_and_for_no_others():
    def answers(formula: str) -> list[tuple[bool, bool]]:
        equations = model(formula)._equations
        return [(identify.outnumbers(d, equations.p), identify.apart(d)) for d in equations.random]

    assert answers("y ~ x + (1 + x | g)") == [(True, True)]
    assert answers("y ~ x + (1 + one | g)") == [(True, False)]
    assert answers("y ~ x + us(vm(g, K) + vm(same, K))")[0][1] is False
    assert answers("y ~ g + (1 | g)")[0][0] is False
    assert answers("y ~ h + (1 | h)")[0][0] is False


def test_levels_with_all_but_a_trifle_of_the_records_do_not_outnumber():
    design = model("y ~ x + (1 | g)")._equations.random[0]
    Z = design.columns[0].copy()
    Z.data[Z.indices > 1] = 1e-8
    assert identify.outnumbers(design, 2)
    assert not identify.outnumbers(replace(design, columns=(Z,)), 2)
