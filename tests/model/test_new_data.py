"""Rows of Z of new records for the newer kinds of terms: predict() gives the fitted values again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.errors import DataError

PEDIGREE = rb.Pedigree([1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 3, 3], [0, 0, 2, 2, 4, 2])


def frame(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "age": rng.uniform(1, 5, n),
            "time": np.tile([1, 2, 4, 8], n // 4),
            "animal": rng.integers(1, 7, n),
            "dam": rng.choice([0, 2, 4], n),
            "g": np.repeat(list("abcdefgh"), n // 8),
        },
        index=np.arange(100, 100 + n),
    )


CASES = {
    "y ~ leg(age, 2) + us(leg(age, 1) | g)": {"us(leg(age, 1) | g)": np.eye(2)},
    "y ~ age + ar1(time | g)": {"ar1(time | g)": {"variance": 1.0, "correlation": 0.5}},
    "y ~ age + us(vm(animal, A) + vm(dam, A))": {"us(vm(animal, A) + vm(dam, A))": [[1, 0.3], [0.3, 0.5]]},
    "y ~ age + (1 | vm(animal, A) + 0.5*vm(dam, A))": {"vm(animal, A) + 0.5*vm(dam, A)": 1.2},
    "y ~ age + spl(age) + (1 | g)": {"spl(age)": 1.0, "g": 0.5},
    "y ~ 1 + us(0 + bs(age, df=4) | g)": {"us(0 + bs(age, df=4) | g)": np.eye(4)},
}


@pytest.mark.parametrize("formula", CASES)
def test_a_part_of_the_data_gives_its_fitted_values(formula):
    solved = rb.MixedModel(formula, frame(), {"A": PEDIGREE}).solve(CASES[formula] | {"residual": 0.7})
    part = frame().iloc[[3, 17, 30]].drop(columns="y")
    np.testing.assert_allclose(solved.predict(part)["prediction"], solved.fitted.loc[part.index], rtol=1e-9)


def direct_maternal():
    model = rb.MixedModel("y ~ 1 + us(vm(animal, A) + vm(dam, A))", frame(), {"A": PEDIGREE})
    return model.solve({"us(vm(animal, A) + vm(dam, A))": [[1, 0.3], [0.3, 0.5]], "residual": 0.7})


def test_an_unknown_dam_adds_nothing():
    solved = direct_maternal()
    out = solved.predict(pd.DataFrame({"animal": [5, 5, 5], "dam": [4, 0, None]}))["prediction"]
    effects = solved.random_effects.set_index(["effect", "level"])["estimate"]
    mean = solved.beta[0]
    expected = [
        mean + effects["animal", 5] + effects["dam", 4],
        mean + effects["animal", 5],
        mean + effects["animal", 5],
    ]
    np.testing.assert_allclose(out, expected)


def test_a_new_dam_adds_its_variance():
    solved = direct_maternal()
    new = pd.DataFrame({"animal": [5, 5], "dam": [0, 99]})
    with pytest.raises(DataError, match="'99'"):
        solved.predict(new)
    out = solved.predict(new, new_levels="population")
    assert out["prediction"][0] == pytest.approx(out["prediction"][1])
    assert out["std_error"][1] ** 2 - out["std_error"][0] ** 2 == pytest.approx(0.5)


def test_new_records_are_new_units():
    d = frame().assign(plot=range(40))
    model = rb.MixedModel("y ~ age", d, residual="ar1(plot) + units")
    solved = model.solve({"units": 0.4, "residual": {"variance": 1.0, "correlation(plot)": 0.5}})
    new = pd.DataFrame({"age": [2.0]})
    out, fixed = solved.predict(new), solved.predict(new, include=[])
    assert out["prediction"][0] == pytest.approx(fixed["prediction"][0])
    assert out["std_error"][0] ** 2 - fixed["std_error"][0] ** 2 == pytest.approx(0.4)
    again = solved.predict(model.specification.records.frame)
    np.testing.assert_allclose(again["prediction"], solved.fitted)


def test_levels_of_a_structure_that_the_fit_did_not_see():
    """With a variance for each time nothing is known of that of another; with one for all it is kriged."""
    model = rb.MixedModel("y ~ 1 + diag(time | g)", frame().astype({"time": str}))
    names = model.specification.random[0].structure.names
    solved = model.solve({"diag(time | g)": dict.fromkeys(names, 1.0), "residual": 1.0})
    with pytest.raises(DataError, match=r"'time' has levels.*'5'"):
        solved.predict(pd.DataFrame({"time": ["5"], "g": ["a"]}))
    model = rb.MixedModel("y ~ 1 + ar1(time | g)", frame())
    solved = model.solve({"ar1(time | g)": {"variance": 1.0, "correlation": 0.5}, "residual": 1.0})
    assert np.isfinite(solved.predict(pd.DataFrame({"time": [5], "g": ["a"]})).to_numpy()).all()
    negative = model.solve({"ar1(time | g)": {"variance": 1.0, "correlation": -0.5}, "residual": 1.0})
    with pytest.raises(DataError, match=r"'time' has levels.*'1.5'"):
        negative.predict(pd.DataFrame({"time": [1.5], "g": ["a"]}))
