"""Several factors over one set of levels: direct and maternal effects, sire and maternal grandsire."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import remlblup as rb
from remlblup.errors import ModelError, RelationshipError

PEDIGREE = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 3], [0, 0, 2, 2, 4, 2])
A = {"A": PEDIGREE}


def frame(dam=(2, 2, 4, 2)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": [1.0, 3.0, 2.0, 5.0],
            "animal": [3, 4, 5, 6],
            "dam": list(dam),
            "sire": [1, 1, 3, 3],
            "mgs": [0, 0, 1, 0],
        },
        index=list("abcd"),
    )


def design(formula: str, data=None, relationships=A):
    spec = rb.MixedModel(formula, frame() if data is None else data, relationships).specification
    return spec.random[0]


def one(levels, weights=1.0) -> np.ndarray:
    """Incidence over the animals 1 to 6, row by row; 0 is no animal."""
    Z = np.zeros((len(levels), 6))
    for i, level in enumerate(levels):
        if level:
            Z[i, level - 1] = weights
    return Z


@pytest.mark.parametrize("structure", ["us", "diag"])
def test_direct_and_maternal_effects(structure):
    term = design(f"y ~ 1 + {structure}(vm(animal, A) + vm(dam, A))")
    assert term.structure.keyword == structure
    assert term.structure.effects == ("animal", "dam")
    assert term.q == 6
    assert list(term.relationship.labels) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_array_equal(term.columns[0].toarray(), one([3, 4, 5, 6]))
    np.testing.assert_array_equal(term.columns[1].toarray(), one([2, 2, 4, 2]))
    np.testing.assert_array_equal(term.moments, np.eye(2))


@pytest.mark.parametrize("unknown", [0, np.nan, None, "", "0", "NA", "."])
def test_an_unknown_dam_is_a_row_of_zeros(unknown):
    data = frame(dam=(2, unknown, 4, unknown))
    term = design("y ~ 1 + us(vm(animal, A) + vm(dam, A))", data)
    np.testing.assert_array_equal(term.columns[1].toarray(), one([2, 0, 4, 0]))
    np.testing.assert_array_equal(term.columns[0].toarray(), one([3, 4, 5, 6]))
    np.testing.assert_array_equal(term.moments, np.diag([1.0, 0.5]))


def test_a_missing_animal_is_a_missing_record():
    data = frame().astype({"animal": float})
    data.loc["b", "animal"] = np.nan
    spec = rb.MixedModel("y ~ 1 + us(vm(animal, A) + vm(dam, A))", data, A).specification
    assert spec.records.dropped == {"animal": 1}
    np.testing.assert_array_equal(spec.random[0].columns[1].toarray(), one([2, 4, 2]))


def test_a_dam_that_is_needed_elsewhere_must_be_known():
    data = frame(dam=(2, None, 4, 2))
    spec = rb.MixedModel("y ~ 1 + us(vm(animal, A) + vm(dam, A)) + (1 | dam)", data, A).specification
    assert spec.records.dropped == {"dam": 1}


def test_sire_and_maternal_grandsire():
    term = design("y ~ 1 + (1 | vm(sire, A) + 0.5*vm(mgs, A))")
    assert (term.t, term.name) == (1, "vm(sire, A) + 0.5*vm(mgs, A)")
    np.testing.assert_array_equal(term.columns[0].toarray(), one([1, 1, 3, 3]) + one([0, 0, 1, 0], 0.5))
    np.testing.assert_allclose(term.moments, [[1 + 0.25 / 4]])


def test_a_level_behind_both_factors_has_both_coefficients():
    term = design("y ~ 1 + (1 | vm(sire, A) + 0.5*vm(mgs, A))", frame().assign(mgs=[1, 0, 3, 0]))
    np.testing.assert_array_equal(term.columns[0].toarray(), one([1, 1, 3, 3]) + one([1, 0, 3, 0], 0.5))


def test_effects_over_factors_laid_over_each_other():
    data = frame().assign(x=[1.0, 2.0, 0.0, -1.0])
    term = design("y ~ 1 + us(1 + x | vm(sire, A) + 0.5*vm(mgs, A))", data)
    Z = one([1, 1, 3, 3]) + one([0, 0, 1, 0], 0.5)
    np.testing.assert_array_equal(term.columns[0].toarray(), Z)
    np.testing.assert_array_equal(term.columns[1].toarray(), Z * data["x"].to_numpy()[:, None])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_plain_factors_share_the_levels_of_both(pairs):
    data = pd.DataFrame(pairs, columns=["p", "q"]) + 1  # 1 … 6: no code of an unknown level
    data["y"] = np.arange(len(data)) ** 2.0
    levels = np.unique(data[["p", "q"]])
    if len(levels) < 2:
        return
    term = design("y ~ 1 + (1 | p + q)", data, None)
    assert list(term.relationship.labels) == list(levels)
    expected = (data["p"].to_numpy()[:, None] == levels).astype(float) + (data["q"].to_numpy()[:, None] == levels)
    np.testing.assert_array_equal(term.columns[0].toarray(), expected)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (frame(dam=(2, 9, 4, 8)), RelationshipError, r"factor 'dam', relationship 'A'.*8, 9"),
        (frame().assign(animal=0), RelationshipError, "factor 'animal'.*: 0"),
        (frame(dam=(0, 0, 0, 0)), ModelError, "'dam' is zero in every record"),
        (frame().drop(columns="dam"), rb.DataError, "'dam'"),
    ],
)
def test_errors_name_the_factor(data, error, message):
    with pytest.raises(error, match=message):
        design("y ~ 1 + us(vm(animal, A) + vm(dam, A))", data)


def test_short_names_of_terms_with_several_factors():
    model = rb.MixedModel("y ~ 1 + us(vm(animal, A) + vm(dam, A))", frame(), A)
    parameters = model.specification.parameters
    assert parameters.index("us(vm(animal,A)+vm(dam,A))") == 0
    with pytest.raises(rb.VarianceError, match="'animal'"):
        parameters.index("animal")
