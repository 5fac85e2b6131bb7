"""The table of sizes of F tests runs, and counts what it says."""

from __future__ import annotations

import numpy as np
import pytest

from remlblup.validation.sizes import __main__ as command


@pytest.mark.parametrize("name", command.DESIGNS)
def test_a_few_sets(name, monkeypatch):
    found, tested, bound = command.sizes(name, 5)
    assert tested == 5 and 0 <= bound <= 5 and set(found) == set(command.METHODS)
    assert all(0.0 <= share <= 1.0 for share in found.values())
    # At a level of 1 every test rejects.
    monkeypatch.setattr(command, "LEVEL", 1.0 + 1e-9)
    assert command.sizes(name, 2)[0]["kenward-roger", "average"] == 1.0


def test_designs_are_unbalanced():
    for _, design, _ in command.DESIGNS.values():
        d = design(np.random.default_rng(1))
        assert d.groupby("b").size().nunique() > 1
