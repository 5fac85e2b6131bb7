"""Approximate reliabilities against exact ones; exact where no information is shared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.errors import ModelError, OptionError

VARIANCES = {"vm(id, A)": 2.0, "residual": 3.0}


def exact(model: rb.MixedModel, variances: dict[str, float]) -> pd.Series:
    table = model.solve(variances).random_effects
    return table[table["term"] == "vm(id, A)"].set_index("level")["reliability"]


def test_exact_for_own_records_and_half_sibs_of_one_level():
    # One sire, unrelated unknown dams, a mean known exactly (no fixed effect): nothing is shared but the sire.
    ped = rb.Pedigree(["s", "a", "b", "c"], [None, "s", "s", "s"], [None] * 4)
    d = pd.DataFrame({"id": ["a", "a", "b", "c"], "y": [1.0, 2.0, 0.5, -1.0]})
    model = rb.MixedModel("y ~ 0 + (1 | vm(id, A))", d, {"A": ped})
    found = model.approximate_reliabilities(VARIANCES, "vm(id, A)")
    expected = exact(model, VARIANCES).reindex(found.index)
    np.testing.assert_allclose(found["reliability"], expected, rtol=1e-10)
    np.testing.assert_allclose(found.loc["a", "effective_records"], 2.0)
    assert set(found["method"]) == {"approximate"} and "Misztal" in found.attrs["method"]


def test_leverage_of_fixed_and_other_random_effects():
    ped = rb.Pedigree(["a", "b", "c", "d"], [None] * 4, [None] * 4)
    d = pd.DataFrame({"id": list("aabbccdd"), "h": list("xyxyxyxy"), "g": list("pqqppqqp"), "y": np.arange(8.0) ** 1.5})
    model = rb.MixedModel("y ~ h + (1 | vm(id, A)) + (1 | g)", d, {"A": ped})
    found = model.approximate_reliabilities({**VARIANCES, "g": 1.0}, "vm(id, A)")
    X = np.column_stack([np.ones(8), d["h"] == "y"]).astype(float)
    Z = np.column_stack([d["g"] == "p", d["g"] == "q"]).astype(float)
    V = 3.0 * np.eye(8) + Z @ Z.T
    P = np.linalg.inv(V) - np.linalg.solve(V, X) @ np.linalg.solve(X.T @ np.linalg.solve(V, X), np.linalg.solve(V, X).T)
    expected = [3.0 * z @ P @ z for z in (np.array(d["id"] == animal, float) for animal in found.index)]
    np.testing.assert_allclose(found["effective_records"], expected, rtol=1e-10)


def test_close_to_the_exact_in_a_flock():
    flock = rb.simulate_flock(1500, seed=3)
    model = rb.MixedModel("y ~ sex + group + (1 | vm(id, A))", flock.data, {"A": flock.pedigree})
    found = model.approximate_reliabilities(VARIANCES, "vm(id, A)")["reliability"]
    expected = exact(model, VARIANCES).reindex(found.index)
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    assert abs(found - expected).mean() < 0.04


def test_refused_where_it_does_not_apply():
    ped = rb.Pedigree(["a", "b", "c"], [None] * 3, [None] * 3)
    d = pd.DataFrame({"id": list("aabbcc"), "x": np.arange(6.0), "y": np.arange(6.0) ** 2})
    model = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": ped})
    with pytest.raises(OptionError, match="must be positive"):
        model.approximate_reliabilities({"vm(id, A)": 0.0, "residual": 1.0}, "vm(id, A)")
    plain = rb.MixedModel("y ~ x + (1 | id)", d)
    with pytest.raises(ModelError, match="over a pedigree"):
        plain.approximate_reliabilities({"id": 1.0, "residual": 1.0}, "id")


def test_records_that_say_nothing_count_for_nothing():
    # a is alone in its herd; b and c share a mean of their own; d and e have nothing in common with them.
    ped = rb.Pedigree(list("abcde"), [None] * 5, [None] * 5)
    d = pd.DataFrame({"id": list("aaabbbccde"), "h": list("pppqqqqqrr"), "y": np.arange(10.0) ** 1.3})
    model = rb.MixedModel("y ~ h + (1 | vm(id, A))", d, {"A": ped})
    found = model.approximate_reliabilities(VARIANCES, "vm(id, A)")
    assert found.loc["a", "effective_records"] == pytest.approx(0.0, abs=1e-12)
    X = np.column_stack([d["h"] == h for h in "pqr"]).astype(float)
    M = np.eye(10) - X @ np.linalg.solve(X.T @ X, X.T)
    expected = [float(z @ M @ z) for z in (np.array(d["id"] == animal, float) for animal in found.index)]
    np.testing.assert_allclose(found["effective_records"], expected, atol=1e-12)


def test_inbreeding_alone_is_no_information():
    ids, sires, dams = ["s0", "d0"], [None, None], [None, None]
    for k in range(1, 12):
        ids += [f"s{k}", f"d{k}"]
        sires += [f"s{k - 1}"] * 2
        dams += [f"d{k - 1}"] * 2
    ped = rb.Pedigree([*ids, "x", "z"], [*sires, None, None], [*dams, None, None])
    d = pd.DataFrame({"id": ["x", "x", "z", "z"], "y": [1.0, 2.0, 4.0, 3.0]})
    found = rb.MixedModel("y ~ 1 + (1 | vm(id, A))", d, {"A": ped}).approximate_reliabilities(VARIANCES, "vm(id, A)")
    np.testing.assert_allclose(found.loc[ids, "reliability"], 0.0, atol=1e-12)
    assert (found.loc[["x", "z"], "reliability"] > 0.3).all()
