"""Effects in front of the bar: levels of a variable, their positions, Legendre polynomials, options."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import dummies

import remlblup as rb
from remlblup.errors import DataError, FormulaError, ModelError, OptionError, RelationshipError
from remlblup.model.effects import Levels
from remlblup.model.transforms import legendre


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 48
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "time": np.tile([14, 8, 10, 12], 12),
            "hour": np.tile([0.5, 1.0, 2.5, 4.0], 12),
            "age": rng.uniform(2, 12, n),
            "site": np.tile(["s2", "s1", "s3"], 16),
            "g": np.repeat([f"g{k}" for k in range(6)], 8),
        }
    )


def random(formula: str, data=None, **options):
    return rb.MixedModel(formula, frame() if data is None else data, **options).specification.random


def dense(design) -> list[np.ndarray]:
    return [z.toarray() for z in design.columns]


def test_an_ordered_structure_takes_the_distinct_numbers_as_levels():
    d = frame()
    (term,) = random("y ~ 1 + ar1(time | g)", d)
    assert term.structure.effects == ("8", "10", "12", "14")
    assert term.structure.positions.tolist() == [8, 10, 12, 14]
    G = dummies(np.unique(d["g"], return_inverse=True)[1])
    for z, time in zip(dense(term), (8, 10, 12, 14), strict=True):
        assert np.array_equal(z, G * (d["time"] == time).to_numpy()[:, None])
    np.testing.assert_array_equal(term.moments, np.eye(4) / 4)


def test_positions_of_uneven_times():
    (term,) = random("y ~ 1 + exp(hour | g)")
    assert term.structure.positions.tolist() == [0.5, 1.0, 2.5, 4.0]


def test_other_structures_take_a_number_as_a_covariate():
    (term,) = random("y ~ 1 + us(time | g)")
    assert term.structure.effects == ("Intercept", "time")
    assert term.structure.positions is None


def test_levels_of_a_factor_in_category_order_or_sorted():
    d = frame()
    (term,) = random("y ~ 1 + us(site | g)", d)
    assert term.structure.effects == ("s1", "s2", "s3")
    d["site"] = pd.Categorical(d["site"], categories=["s3", "unused", "s1", "s2"], ordered=True)
    for structure in ("us", "ar1"):
        (term,) = random(f"y ~ 1 + {structure}(site | g)", d)
        assert term.structure.effects == ("s3", "s1", "s2")
    assert term.structure.places.tolist() == [0, 2, 3]


def test_levels_of_new_data():
    levels = Levels("site", ("a", "b"))
    np.testing.assert_array_equal(levels.values(pd.DataFrame({"site": ["b", "a", "b "]})), [[0, 1], [1, 0], [0, 1]])
    with pytest.raises(DataError, match=r"'site' has levels.*'c'.*'a', 'b'"):
        levels.values(pd.DataFrame({"site": ["c"]}))


def test_an_ordered_structure_needs_one_variable():
    with pytest.raises(FormulaError, match=r"'ar1\(1 \+ time \| g\)'.*one variable"):
        random("y ~ 1 + ar1(1 + time | g)")


def test_exponential_needs_numbers():
    with pytest.raises(ModelError, match=r"exp\(site \| g\).*numeric"):
        random("y ~ 1 + exp(site | g)")


# -- options -------------------------------------------------------------------------------------


def test_rank_of_factor_structures():
    (term,) = random("y ~ 1 + rr(site | g, k=2)")
    assert term.structure.n_factors == 2
    with pytest.raises(rb.RemlBlupError, match=r"in 'fa\(site \| g, k=5\)'.*k"):
        random("y ~ 1 + fa(site | g, k=5)")


S = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 3.0]])


def test_known_matrix_by_name():
    (term,) = random("y ~ 1 + known(site | g, matrix=S)", relationships={"S": S})
    np.testing.assert_allclose(term.structure.covariance(np.array([2.0])), 2 * S)


def test_known_matrix_is_put_into_the_order_of_the_effects():
    labels = ["s3", "s1", "s2"]
    shuffled = pd.DataFrame(S[np.ix_([2, 0, 1], [2, 0, 1])], index=labels, columns=labels)
    model = rb.MixedModel("y ~ 1 + known(site | g, matrix=S)", frame(), relationships={"S": shuffled})
    np.testing.assert_allclose(model.specification.random[0].structure.covariance(np.ones(1)), S)
    assert list(model.specification.matrices) == ["S"]


def test_known_matrix_beside_a_relationship():
    K = (np.eye(6) + 0.1, [f"g{k}" for k in range(6)])
    (term,) = random("y ~ 1 + known(site | vm(g, K), matrix=S)", relationships={"S": S, "K": K})
    assert (term.q, term.t) == (6, 3)


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        ("known(site | g, matrix=T)", RelationshipError, "'T'.*Given: 'S'"),
        ("known(site | g, matrix=3)", RelationshipError, "takes the name.*3"),
        ("known(site | g)", OptionError, r"in 'known\(site \| g\)'.*matrix"),
        ("known(time | g, matrix=S)", OptionError, "4 x 4.*14"),
    ],
)
def test_known_matrix_errors(term, error, message):
    with pytest.raises(error, match=message):
        random(f"y ~ 1 + {term}", relationships={"S": S})


def test_users_may_leave_the_options_out_of_a_name():
    model = rb.MixedModel("y ~ 1 + known(site | g, matrix=S) + (1 | time)", frame(), relationships={"S": S})
    index = model.specification.parameters.index
    for name in ("known(site|g, matrix = S)", "known(site | g)", "(known(site | g))", "g"):
        assert index(name) == 0


# -- Legendre polynomials ------------------------------------------------------------------------


def test_legendre_polynomials_in_closed_form():
    x = np.linspace(3, 11, 9)
    z = (x - 7) / 4
    expected = np.column_stack(
        [
            np.full(9, np.sqrt(0.5)),
            np.sqrt(1.5) * z,
            np.sqrt(2.5) * (3 * z**2 - 1) / 2,
            np.sqrt(3.5) * (5 * z**3 - 3 * z) / 2,
        ]
    )
    np.testing.assert_allclose(legendre(x, 3, 3, 11), expected, atol=1e-14)


@given(order=st.integers(0, 6), low=st.floats(-100, 100), width=st.floats(0.1, 50))
def test_legendre_polynomials_are_orthonormal(order, low, width):
    z, weight = np.polynomial.legendre.leggauss(12)
    P = legendre(low + width * (z + 1) / 2, order, low, low + width)
    np.testing.assert_allclose((P * weight[:, None]).T @ P, np.eye(order + 1), atol=1e-8)


def test_random_regression():
    d = frame()
    (term,) = random("y ~ 1 + us(leg(age, 2) | g)", d)
    assert term.structure.effects == ("leg0", "leg1", "leg2")
    P = legendre(d["age"], 2, d["age"].min(), d["age"].max())
    G = dummies(np.unique(d["g"], return_inverse=True)[1])
    for j, z in enumerate(dense(term)):
        np.testing.assert_allclose(z, G * P[:, [j]], atol=1e-14)
    np.testing.assert_allclose(term.moments, P.T @ P / len(d))


@pytest.mark.parametrize(
    ("effects", "names"),
    [
        ("0 + leg(age, 1)", ("leg0", "leg1")),
        ("1 + leg(age, 1)", ("Intercept", "leg1")),
        ("leg(age, 1, lower=0, upper=20)", ("leg0", "leg1")),
        ("leg(age, 1) + leg(time, 1)", ("leg(age, 1)[leg0]", "leg(age, 1)[leg1]", "leg(time, 1)[leg1]")),
        ("site:leg(age, 0)", ("site[s1]:leg0", "site[s2]:leg0", "site[s3]:leg0")),
    ],
)
def test_names_of_legendre_effects(effects, names):
    assert random(f"y ~ 1 + us({effects} | g)")[0].structure.effects == names
    assert random(f"y ~ 1 + ({effects} | g)")[0].structure.effects == names


def test_legendre_in_the_fixed_part():
    d = frame()
    fixed = rb.MixedModel("y ~ leg(age, 2)", d).specification.fixed
    assert fixed.names == ("Intercept", "leg(age, 2)[leg1]", "leg(age, 2)[leg2]")
    np.testing.assert_allclose(fixed.matrix[:, 1:], legendre(d["age"], 2, d["age"].min(), d["age"].max())[:, 1:])


@pytest.mark.parametrize(
    ("term", "error", "message"),
    [
        ("leg(age, -1)", FormulaError, "whole number"),
        ("leg(age, 1.5)", FormulaError, "whole number"),
        ("leg(age, 1, lower=5)", DataError, "lower=5"),
        ("leg(site, 1)", DataError, "text"),
        ("leg(one, 1)", DataError, "varies"),
    ],
)
def test_legendre_errors(term, error, message):
    for formula in (f"y ~ {term}", f"y ~ 1 + us({term} | g)"):
        with pytest.raises(error, match=message):
            rb.MixedModel(formula, frame().assign(one=1.0))


def test_b_splines_in_front_of_the_bar():
    d = frame()
    (term,) = random("y ~ 1 + us(0 + bs(age, df=4) | g)", d)
    assert term.t == 4
    X = rb.MixedModel("y ~ 0 + bs(age, df=4)", d).specification.fixed.matrix
    np.testing.assert_allclose(np.column_stack([z.sum(axis=1) for z in dense(term)]), X)
