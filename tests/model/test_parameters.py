"""Variances as users write them: numbers, matrices, mappings by name, other spellings, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from equations.models import case

import remlblup as rb
from remlblup.errors import VarianceError

TERM = "1 + x | g"
SIGMA = np.array([[2.0, 0.3], [0.3, 0.5]])


def read(given, *, name: str = "us2", what: str = "variances", complete: bool = True, constrain: bool = True):
    parameters = case(name).model.specification.parameters
    return parameters.read(given, what=what, complete=complete, constrain=constrain)


@pytest.mark.parametrize(
    "value",
    [
        SIGMA,
        SIGMA.tolist(),
        pd.DataFrame(SIGMA, index=["Intercept", "x"], columns=["Intercept", "x"]),
        {"var(Intercept)": 2.0, "cov(Intercept, x)": 0.3, "var(x)": 0.5},
        {"var( x )": 0.5, "cov(Intercept,x)": 0.3, "var(Intercept)": 2.0},
    ],
)
def test_every_way_to_write_a_matrix(value):
    assert read({TERM: value, "residual": 1.5}).tolist() == [2.0, 0.3, 0.5, 1.5]


@pytest.mark.parametrize("value", [1.5, 1, np.float64(1.5), np.array(1.5), {"variance": 1.5}, [[1.5]]])
def test_every_way_to_write_a_variance(value):
    expected = 1.0 if value == 1 else 1.5
    assert read({"g": value, "residual": 2.0}, name="id").tolist() == [expected, 2.0]


@pytest.mark.parametrize(
    ("model", "spelling"),
    [
        ("us2", "1 + x | g"),
        ("us2", "1+x|g"),
        ("us2", "(1 + x | g)"),
        ("us2", "g"),
        ("id", "g"),
        ("id", "(1 | g)"),
        ("id", "1|g"),
        ("vm", "vm(animal, A)"),
        ("vm", "vm(animal,A)"),
        ("vm", "(1 | vm(animal, A))"),
        ("vm", "animal"),
        ("vm_us", "vm(animal, A)"),
        ("site", "diag(site|g)"),
    ],
)
def test_other_spellings_of_a_term(model, spelling):
    assert case(model).model.specification.parameters.index(spelling) == 0


def test_a_spelling_shared_by_two_terms_is_not_guessed():
    rng = np.random.default_rng(0)
    d = pd.DataFrame({"y": rng.normal(size=30), "x": rng.normal(size=30), "g": np.arange(30) % 6})
    parameters = rb.MixedModel("y ~ 1 + (1 | g) + (0 + x | g)", d).specification.parameters
    assert parameters.index("g") == 0  # its own name
    assert parameters.index("0 + x | g") == 1
    both = rb.MixedModel("y ~ 1 + (0 + x | g) + us(1 + x | g)", d).specification.parameters
    with pytest.raises(VarianceError, match=r"'g' is not a term"):
        both.index("g")


def test_partial_mappings_leave_the_rest_open():
    theta = read({TERM: {"var(x)": 0.5}}, complete=False)
    assert np.isnan(theta).tolist() == [True, True, False, True]
    assert np.isnan(read(None, complete=False)).all()


def test_every_component_must_be_given_to_solve():
    with pytest.raises(VarianceError, match=r"residual"):
        read({TERM: SIGMA})
    with pytest.raises(VarianceError, match=r"1 \+ x \| g \[var\(Intercept\)\]"):
        read({TERM: {"var(x)": 0.5}, "residual": 1.0})


def test_to_mapping_is_read_back():
    for name in ("id", "us2", "us3", "site", "vm", "two_us"):
        parameters = case(name).model.specification.parameters
        theta = case(name).points[0]
        back = parameters.read(parameters.to_mapping(theta), what="variances", complete=True)
        assert np.array_equal(back, theta)


@pytest.mark.parametrize(
    ("given", "culprit"),
    [
        ({"h": 1.0, "residual": 1.0}, "'h' is not a term.*1 \\+ x \\| g"),
        ({TERM: 2.0, "residual": 1.0}, "3 parameters"),
        ({TERM: {"var(z)": 1.0}, "residual": 1.0}, r"var\(z\)"),
        ({TERM: np.eye(3), "residual": 1.0}, r"2 x 2.*\(3, 3\)"),
        ({TERM: [1.0, 2.0, 3.0], "residual": 1.0}, r"2 x 2.*\(3,\)"),
        ({TERM: [[1.0, 0.2], [0.3, 1.0]], "residual": 1.0}, "symmetric"),
        ({TERM: [[1.0, 2.0], [2.0, 1.0]], "residual": 1.0}, "not positive semidefinite.*-1"),
        ({TERM: [[-1.0, 0.0], [0.0, 1.0]], "residual": 1.0}, r"var\(Intercept\)\] = -1"),
        ({TERM: SIGMA, "residual": -1.0}, "residual.*-1"),
        ({TERM: SIGMA, "residual": np.nan}, "residual.*finite"),
        ({TERM: SIGMA, "residual": np.inf}, "residual.*finite"),
        ({TERM: SIGMA * np.nan, "residual": 1.0}, r"1 \+ x \| g.*finite"),
        ({TERM: SIGMA, "residual": "much"}, "residual.*much"),
        ({TERM: SIGMA, "residual": None}, "residual"),
        ({TERM: SIGMA, "residual": [1.0, 2.0]}, r"residual.*\(2,\)"),
        ({TERM: {"var(x)": [1.0, 2.0]}, "residual": 1.0}, r"var\(x\).*\(2,\)"),
        ([1.0, 2.0], "list"),
        (5.0, "float"),
    ],
)
def test_a_wrong_value_is_named(given, culprit):
    with pytest.raises(VarianceError, match=culprit):
        read(given)


def test_a_term_given_twice_under_two_spellings_is_refused():
    with pytest.raises(VarianceError, match=r"1\+x\|g|1 \+ x \| g|'g'"):
        read({TERM: SIGMA, "g": 2 * SIGMA, "residual": 1.0})


def test_negative_components_need_constrain_false():
    given = {"g": -0.1, "residual": 1.0}
    with pytest.raises(VarianceError, match=r"variances: g \[variance\] = -0.1 .*constrain=False"):
        read(given, name="id")
    assert read(given, name="id", constrain=False).tolist() == [-0.1, 1.0]


def test_semidefinite_matrices_are_accepted():
    assert read({TERM: [[1.0, 1.0], [1.0, 1.0]], "residual": 1.0}).tolist() == [1.0, 1.0, 1.0, 1.0]
    assert read({TERM: np.zeros((2, 2)), "residual": 1.0}).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert read({TERM: SIGMA, "residual": 0.0}).tolist() == [2.0, 0.3, 0.5, 0.0]


def test_messages_name_the_argument():
    model = case("id").model
    with pytest.raises(VarianceError, match=r"^start: g"):
        model.fit(start={"g": -1.0})
    with pytest.raises(VarianceError, match=r"^fix: g"):
        model.fit(fix={"g": -1.0})


def test_columns_and_pairs_label_the_parameters():
    parameters = case("us2").model.specification.parameters
    assert parameters.pairs == (
        (TERM, "var(Intercept)"),
        (TERM, "cov(Intercept, x)"),
        (TERM, "var(x)"),
        ("residual", "variance"),
    )
    assert parameters.columns[-1] == "residual"
    assert parameters.columns[0] == f"{TERM}: var(Intercept)"
