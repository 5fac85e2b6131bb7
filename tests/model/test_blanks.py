"""Blank text, "" and "  ", names nothing: no level, no animal, no individual, no marker."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

BLANKS = ["", "  ", "\t"]


def records(blank: str) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"g": rng.choice(list("abcde"), 40), "f": rng.choice(["u", "v"], 40), "y": rng.normal(size=40)})
    d.loc[[3, 7, 21], "g"] = blank
    d.loc[[7, 9], "f"] = blank
    return d


FORMULAS = {
    "y ~ f + (1 | g)": {},
    "y ~ f*g": {},
    "y ~ C(f) + (1 | f:g)": {},
    "y ~ f + diag(f | g)": {},
    "y ~ 1 + (1 | g)": {"residual": "diag(f | units)"},
    "y ~ f + (1 | vm(g, K))": {"relationships": {"K": rb.Relationship(np.eye(5) + 0.1, list("abcde"))}},
}


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("kind", [object, "category", "string"])
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_blank_is_a_missing_value(formula, kind, blank):
    d = records(blank)
    model = rb.MixedModel(formula, d.astype({"g": kind, "f": kind}), **FORMULAS[formula])
    spec = model.specification
    assert spec.n == 36 and spec.records.dropped == {"f": 2, "g": 3}
    whole = rb.MixedModel(formula, d.drop([3, 7, 9, 21]), **FORMULAS[formula])
    assert spec.fixed.names == whole.specification.fixed.names
    np.testing.assert_allclose(model.fit().loglik, whole.fit().loglik, atol=1e-8)
    with pytest.raises(rb.DataError, match=r"missing values in f \(2\), g \(3\)|missing values in g \(3\), f \(2\)"):
        rb.MixedModel(formula, d, missing="error", **FORMULAS[formula])


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_in_new_data(blank):
    fit = rb.MixedModel("y ~ f + (1 | g)", records(blank)).fit()
    with pytest.raises(rb.DataError, match="missing values in row"):
        fit.predict(records(blank))


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_names_nobody(blank):
    with pytest.raises(rb.RelationshipError, match=r"1 label is missing \(row 1"):
        rb.Relationship(np.eye(2), ["a", blank])
    with pytest.raises(rb.DataError, match="1 individual has no name"):
        rb.Genotypes.from_matrix(np.ones((2, 2)), ids=["a", blank])
    with pytest.raises(rb.DataError, match="1 marker has no name"):
        rb.Genotypes.from_matrix(np.ones((2, 2)), ids=["a", "b"], markers=["m", blank])
    for unknown in (["0"], [-9], ()):
        with pytest.raises(rb.PedigreeError, match="1 row of the pedigree has no animal id"):
            rb.Pedigree(["a", blank], [None, "a"], [None, None], unknown=unknown)
        ped = rb.Pedigree(["a", "b", "c"], [None, "a", blank], [None, blank, None], unknown=unknown)
        assert ped.labels.tolist() == ["a", "b", "c"] and ped.dam.tolist() == [-1, -1, -1]
