"""Reliabilities that differ from zero by rounding are zero; what is negative by more stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.equations.reliability import reliability_of


def test_rounding_is_zero_and_no_more():
    variance = np.array([2.0, 2.0, 2.0, 2.0, 2.0, 0.0, -1.0])
    pev = variance * (1.0 - np.array([-2e-16, 4e-16, -1e-6, -0.3, 1e-8, 0.0, 0.5]))
    found = reliability_of(pev, variance)
    assert found[:2].tolist() == [0.0, 0.0] and not np.signbit(found[:2]).any()
    np.testing.assert_allclose(found[2:5], [-1e-6, -0.3, 1e-8], rtol=1e-7)
    assert np.isnan(found[5:]).all()


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_levels_without_records_have_none(engine):
    """Founders without records or offspring are not known any better than before the data: exactly 0."""
    rng = np.random.default_rng(5)
    ids = list(range(1, 61))
    pedigree = rb.Pedigree(ids, [0] * 40 + [1 + k % 7 for k in range(20)], [0] * 40 + [11 + k % 9 for k in range(20)])
    data = pd.DataFrame({"id": [*ids[40:]] * 2, "y": rng.normal(size=40)})
    model = rb.MixedModel("y ~ 1 + (1 | vm(id, A))", data, {"A": pedigree}, engine=engine)
    solved = model.solve({"vm(id, A)": 0.37, "residual": 1.13})
    table = solved.random_effects.set_index("level")["reliability"]
    alone = [label for label in range(20, 41) if label not in range(11, 20)]
    assert (table.loc[alone] == 0.0).all()
    assert (table.loc[ids[40:]] > 0.01).all()


def test_the_textbook_equations_alike():
    found = rb.henderson(np.arange(4.0), np.ones((4, 1)), np.eye(4, 6), 0.1 * np.eye(6), 0.3 * np.eye(4))
    assert found.reliability[4:].tolist() == [0.0, 0.0]
