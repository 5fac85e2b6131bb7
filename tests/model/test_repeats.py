"""Records that repeat others: said where they are no chance, named where the likelihood rises without end for them."""

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.datasets import load
from remlblup.errors import RemlBlupWarning

REPEATS = "every column that the model reads"


def animals(n=120, seed=1, records=1):
    """Records of animals of some families, and their pedigree."""
    rng = np.random.default_rng(seed)
    young = range(30, n)
    pedigree = pd.DataFrame(
        {
            "id": [f"a{i}" for i in range(n)],
            "sire": [None] * 30 + [f"a{rng.integers(0, 15)}" for _ in young],
            "dam": [None] * 30 + [f"a{rng.integers(15, 30)}" for _ in young],
        }
    )
    data = pd.DataFrame({"id": np.tile(pedigree["id"], records), "sex": np.tile(rng.choice(["f", "m"], n), records)})
    own = np.tile(rng.normal(size=n), records)
    data["y"], data["z"] = own + rng.normal(size=len(data)), own - rng.normal(size=len(data))
    return data, rb.Pedigree.from_frame(pedigree)


def twice(data, rows):
    """The data with some rows once more, behind the others."""
    return pd.concat([data, data.iloc[rows]], ignore_index=True)


DATA, PEDIGREE = animals()
SLEEP = load("sleepstudy")
TRAITS = {"formula": "cbind(y, z) ~ trait + us(trait | vm(id, A))", "residual": "us(trait | units)"}
TIMES = pd.DataFrame({"plot": np.repeat(range(12), 5), "time": np.tile(range(5), 12)})
TIMES["y"] = np.random.default_rng(3).normal(size=60)
MODELS = {
    "animals": (DATA, {"formula": "y ~ sex + (1 | vm(id, A))", "relationships": {"A": PEDIGREE}}),
    "lines": (DATA, {"formula": "y ~ sex + (1 | id)"}),
    "two traits": (DATA, dict(TRAITS, relationships={"A": PEDIGREE})),
    "slopes": (SLEEP, {"formula": "Reaction ~ Days + (Days | Subject)"}),
    "smooth": (SLEEP, {"formula": "Reaction ~ spl(Days) + (1 | Subject)"}),
    "groups of R": (SLEEP, {"formula": "Reaction ~ Days + (1 | Subject)", "residual": "diag(Days | units)"}),
    "rounded": (load("penicillin"), {"formula": "diameter ~ 1 + (1 | plate) + (1 | sample)"}),
    "repeated": (animals(records=3)[0], {"formula": "y ~ sex + (1 | id)"}),
}


def said(make):
    """What is said of repeats where a model is made."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        make()
    return [str(w.message) for w in caught if REPEATS in str(w.message)]


@pytest.mark.parametrize("name", MODELS)
def test_rows_pasted_twice_are_named(name):
    data, model = MODELS[name]
    n = len(data)
    assert not said(lambda: rb.MixedModel(data=data, **model))
    (text,) = said(lambda: rb.MixedModel(data=twice(data, range(n)), **model))
    assert text.startswith(f"{n} records repeat others") or name == "rounded"
    assert f"{n}, {n + 1}, {n + 2}" in text and "pasted twice" in text


@pytest.mark.parametrize("name", ["animals", "lines", "two traits", "slopes", "smooth", "groups of R"])
@pytest.mark.parametrize("rows", [[7], [3, 4, 5]])
def test_few_rows_pasted_twice_are_named(name, rows):
    data, model = MODELS[name]
    (text,) = said(lambda: rb.MixedModel(data=twice(data, rows), **model))
    who = "1 record repeats another" if len(rows) == 1 else f"{len(rows)} records repeat others"
    assert text.startswith(who) and f"{len(data)}" in text


def test_labels_are_those_of_the_data():
    data = pd.concat([DATA, DATA.iloc[[5]]]).set_index(pd.Index([f"row {k}" for k in range(len(DATA) + 1)]))
    (text,) = said(lambda: rb.MixedModel("y ~ sex + (1 | vm(id, A))", data, {"A": PEDIGREE}))
    assert f"row(s) 'row {len(DATA)}'" in text


def test_matrices_are_told_too():
    Z, y = np.kron(np.eye(30), np.ones((2, 1))), np.random.default_rng(2).normal(size=30)
    (text,) = said(lambda: rb.MixedModel.from_matrices(np.repeat(y, 2), np.ones((60, 1)), [Z]))
    assert "30 records repeat others" in text and "row(s) 1, 3, 5" in text


def test_records_at_other_times_repeat_nothing():
    """What R tells apart the effects may not: two plots' records of one value, at times that X and Z do not know."""
    data = TIMES.assign(y=np.repeat(TIMES["y"].to_numpy()[:30], 2))
    model = {"formula": "y ~ 1 + (1 | plot)", "residual": "ar1(time | plot)"}
    assert not said(lambda: rb.MixedModel(data=data, **model))


@pytest.mark.parametrize(
    ("digits", "spread"), [(0, 0.5), (0, 1.0), (1, 0.05), (1, 0.3), (1, 1.0), (2, 0.01), (2, 0.05), (2, 0.3), (2, 1.0)]
)
def test_rounded_records_are_not_taken_for_repeats(digits, spread):
    """Records of one animal that differ by less than they are rounded to are often the same."""
    data, _ = animals(records=3, seed=4)
    own = data.groupby("id")["y"].transform("first")
    y = own + spread * np.random.default_rng(5).normal(size=len(data))
    assert not said(lambda: rb.MixedModel("y ~ sex + (1 | id)", data.assign(y=y.round(digits))))


def test_independent_records_are_hardly_ever_suspected():
    rng, told = np.random.default_rng(8), 0
    for _ in range(300):
        levels, each, digits = rng.integers(2, 13), rng.integers(2, 7), rng.integers(0, 4)
        y = rng.normal(size=levels * each).round(digits)
        data = pd.DataFrame({"g": np.repeat(range(levels), each), "y": y})
        told += y.min() < y.max() and bool(said(lambda data=data: rb.MixedModel("y ~ 1 + (1 | g)", data)))
    assert told <= 3  # CHANCE is .01 at the most; none is told today


def test_the_reason_of_no_maximum_names_the_copies():
    """ℓ rises without end where R is estimated from copies alone, and the way out is not another model."""
    for name in ("animals", "lines"):
        data, model = MODELS[name]
        with pytest.warns(RemlBlupWarning):
            fit = rb.MixedModel(data=twice(data, range(40, 80)), **model).fit()
        assert not fit.converged
        assert "row(s) 120, 121, 122" in fit.convergence.reason and "one record per level" not in fit.convergence.reason


def test_without_copies_the_reason_is_the_model():
    data = pd.DataFrame({"g": np.repeat(range(20), 2), "x": np.tile([0.0, 1.0], 20)})
    data["y"] = np.repeat(np.random.default_rng(6).normal(size=20), 2) + data["x"]
    with pytest.warns(RemlBlupWarning, match="NOT CONVERGED"):
        fit = rb.MixedModel("y ~ x + (1 | g)", data).fit()
    assert "one record per level" in fit.convergence.reason
