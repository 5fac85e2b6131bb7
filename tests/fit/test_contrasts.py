"""Contrasts and accuracies of BLUPs against the prediction error covariance of a dense oracle."""

from __future__ import annotations

import numpy as np
import pytest
from equations.models import animals, case

import remlblup as rb
from remlblup.errors import DataError, RelationshipError


def test_contrasts_of_animals_with_and_without_records():
    c = case("vm")
    theta = c.points[0]
    solved = c.model.solve(c.mapping(theta))
    k = next(j for j, name in enumerate(c.names) if "vm(" in name)
    labels = animals(5)[3]
    full, K, u = c.oracle.pev(k, theta), c.oracle.terms[k].K, c.oracle.u(k, theta)[0]
    w = np.zeros(len(labels))
    w[[0, 20, 35]] = 1.0, -0.5, -0.5
    table = solved.contrasts(c.names[k], {"one against two": {labels[0]: 1, labels[20]: -0.5, str(labels[35]): -0.5}})
    row = table.loc["one against two"]
    assert row["estimate"] == pytest.approx(w @ u, abs=1e-9)
    assert row["pev"] == pytest.approx(w @ full @ w, rel=1e-9)
    prior = c.oracle.sigma(k, theta)[0, 0] * w @ K @ w
    assert row["reliability"] == pytest.approx(1 - w @ full @ w / prior, rel=1e-8)
    pair = solved.contrasts(c.names[k], [(labels[3], labels[30])])
    assert pair.index.tolist() == [f"{labels[3]} - {labels[30]}"]
    assert pair["std_error"].iloc[0] == pytest.approx(np.sqrt(full[3, 3] + full[30, 30] - 2 * full[3, 30]), rel=1e-9)


def test_contrasts_of_one_effect_of_several():
    c = case("us2")
    solved = c.model.solve(c.mapping(c.points[0]))
    name, effects = c.names[0], c.model.specification.random[0].structure.effects
    levels = c.model.specification.random[0].relationship.labels
    with pytest.raises(DataError, match="needs effect="):
        solved.contrasts(name, [(levels[0], levels[1])])
    found = solved.contrasts(name, [(levels[0], levels[1])], effect=effects[1])
    full = c.oracle.pev(0, c.points[0])
    q = len(levels)
    assert found["pev"].iloc[0] == pytest.approx(full[q, q] + full[q + 1, q + 1] - 2 * full[q, q + 1], rel=1e-9)


def test_a_level_against_itself_is_nothing():
    c = case("vm")
    term = next(name for name in c.names if "vm(" in name)
    level = animals(5)[3][4]
    row = c.model.solve(c.mapping(c.points[0])).contrasts(term, [(level, str(level))]).iloc[0]
    assert row["estimate"] == 0.0 and row["pev"] == 0.0


def test_wrong_contrasts_say_what_is_wrong():
    c = case("vm")
    solved = c.model.solve(c.mapping(c.points[0]))
    term = next(name for name in c.names if "vm(" in name)
    with pytest.raises(RelationshipError, match="'nobody'"):
        solved.contrasts(term, [(animals(5)[3][0], "nobody")])
    with pytest.raises(DataError, match="pairs of levels"):
        solved.contrasts(term, [animals(5)[3][0]])
    for nothing in (None, 3, "a"):
        with pytest.raises(DataError, match="pairs of levels"):
            solved.contrasts(term, nothing)
    with pytest.raises(DataError, match="no contrast"):
        solved.contrasts(term, [])
    with pytest.raises(DataError, match="a weight is not a number"):
        solved.contrasts(term, {"a": {animals(5)[3][0]: "x"}})


def test_accuracy_takes_inbreeding_into_account():
    c = case("vm")
    solved = c.model.solve(c.mapping(c.points[0]))
    k = next(j for j, name in enumerate(c.names) if "vm(" in name)
    table = solved.accuracy(c.names[k])
    K, theta = c.oracle.terms[k].K, c.points[0]
    position = {label: row for row, label in enumerate(animals(5)[3])}
    order = [position[level] for level in table.index]
    prior = c.oracle.sigma(k, theta)[0, 0] * np.diag(K)
    expected = np.sqrt(1 - np.diag(c.oracle.pev(k, theta)) / prior)[order]
    np.testing.assert_allclose(table["accuracy"], expected, rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(table["inbreeding"], np.diag(K)[order] - 1, atol=1e-12)
    assert table["inbreeding"].max() > 0 and (table["records"] == 0).any()
    np.testing.assert_array_equal(table["records"], c.oracle.terms[k].Z[0].sum(axis=0)[order])


@pytest.mark.parametrize("engine", ["dense", "spectral"])
def test_contrasts_by_the_other_engines(engine):
    d, pedigree, _, labels = animals(5)
    K = (pedigree.dense(), pedigree.labels)
    found = [
        rb.MixedModel("y ~ x + (1 | vm(animal, A))", d, {"A": K}, engine=e)
        .solve({"vm(animal, A)": 1.0, "residual": 2.0})
        .contrasts("vm(animal, A)", [(labels[0], labels[9])])
        for e in (engine, "sparse")
    ]
    np.testing.assert_allclose(found[0], found[1], atol=1e-10)
