import dataclasses

import numpy as np
import pandas as pd
import pytest

from remlblup import datasets
from remlblup.errors import OptionError
from remlblup.relationship.pedigree.pedigree import Pedigree

SHAPES = {
    "sleepstudy": (180, 3),
    "dyestuff": (30, 2),
    "dyestuff2": (30, 2),
    "penicillin": (144, 3),
    "pastes": (60, 4),
    "oats": (72, 5),
    "machines": (54, 3),
    "orthodont": (108, 4),
    "rail": (18, 2),
    "wheat2": (224, 5),
    "mrode_weaning": (5, 3),
    "mrode_preweaning": (5, 3),
}
FACTORS = {
    "sleepstudy": {"Subject": 18},
    "wheat2": {"Block": 4, "variety": 56},
    "dyestuff": {"Batch": 6},
    "dyestuff2": {"Batch": 6},
    "penicillin": {"plate": 24, "sample": 6},
    "pastes": {"batch": 10, "cask": 3, "sample": 30},
    "oats": {"Block": 6, "Variety": 3, "nitroF": 4},
    "machines": {"Worker": 6, "Machine": 3},
    "orthodont": {"Subject": 27, "Sex": 2},
    "rail": {"Rail": 6},
}


def test_every_data_set_loads():
    assert {name: datasets.load(name).shape for name in datasets.names()} == SHAPES


@pytest.mark.parametrize("name", FACTORS)
def test_grouping_factors_are_text(name):
    frame = datasets.load(name)
    for column, levels in FACTORS[name].items():
        assert all(isinstance(value, str) for value in frame[column])
        assert frame[column].nunique() == levels
    for column in frame.columns.difference(list(FACTORS[name])):
        assert pd.api.types.is_numeric_dtype(frame[column])


@pytest.mark.parametrize("name", FACTORS)
def test_same_values_as_the_reference(reference, name):
    theirs = pd.read_csv(reference(f"{name}.csv"), dtype=dict.fromkeys(FACTORS[name], str))
    pd.testing.assert_frame_equal(datasets.load(name), theirs)


def test_every_data_set_has_its_source_in_the_table():
    assert all(f"\n{name} " in datasets.__doc__ for name in datasets.names())


def test_loading_gives_a_fresh_copy():
    first = datasets.load("rail")
    first.loc[0, "travel"] = -1
    assert datasets.load("rail").loc[0, "travel"] == 55


def test_unknown_name():
    with pytest.raises(OptionError, match=r"'iris' is not known.*'sleepstudy'"):
        datasets.load("iris")


def test_mrode_example():
    pedigree = Pedigree.from_frame(datasets.mrode_pedigree())
    assert pedigree.labels.tolist() == list(range(1, 9))
    data = datasets.load("mrode_weaning")
    assert data["gain"].tolist() == [4.5, 2.9, 3.9, 3.5, 5.0]
    # Example 3.1 solved at its variances (20, 40): the printed breeding values must come out.
    X = pd.get_dummies(data["sex"])[["M", "F"]].to_numpy(dtype=float)
    Z = np.eye(8)[pedigree.index(data["animal"])]
    C = np.block([[X.T @ X, X.T @ Z], [Z.T @ X, Z.T @ Z + 2 * pedigree.precision.toarray()]])
    solution = np.linalg.solve(C, np.concatenate([X.T @ data["gain"], Z.T @ data["gain"]]))
    printed = [
        4.35850233, 3.40443010, 0.09844458, -0.01877010, -0.04108420, -0.00866312, -0.18573210, 0.17687209,
        -0.24945855, 0.18261469,
    ]  # fmt: skip
    np.testing.assert_allclose(solution, printed, atol=5e-9)


def test_flock_is_the_same_for_the_same_seed():
    one, two, other = datasets.simulate_flock(), datasets.simulate_flock(), datasets.simulate_flock(seed=2)
    pd.testing.assert_frame_equal(one.data, two.data)
    pd.testing.assert_frame_equal(one.pedigree, two.pedigree)
    assert not one.data["y"].equals(other.data["y"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.data = None


def test_flock_of_the_default_size():
    flock = datasets.simulate_flock()
    assert len(flock.pedigree) == 1500
    assert 1100 < len(flock.data) < 1300
    assert flock.data.columns.tolist() == ["id", "sex", "group", "litter", "dam", "y"]
    assert not flock.data.isna().any().any()
    assert flock.data["id"].is_unique
    parents = flock.pedigree.set_index("id").loc[flock.data["id"]]
    assert parents["dam"].tolist() == flock.data["dam"].tolist()
    assert set(flock.data["sex"]) == {"F", "M"}
    assert flock.data["group"].nunique() == 24
    founders = (flock.pedigree[["sire", "dam"]] == 0).all(axis=1)
    assert not set(flock.pedigree.loc[founders, "id"]) & set(flock.data["id"])
    pedigree = Pedigree.from_frame(flock.pedigree)
    assert pedigree.labels.tolist() == flock.pedigree["id"].tolist()
    np.testing.assert_allclose(pedigree.inbreeding, flock.truth["inbreeding"], atol=1e-13)
    assert 0.005 < pedigree.inbreeding.mean() < 0.1


def test_flock_has_the_variances_asked_for():
    flock = datasets.simulate_flock(60_000, h2=0.4, maternal=0.2, phenotypic_sd=5.0, n_groups=5, seed=4)
    variances = flock.truth["variances"]
    assert variances == pytest.approx({"additive": 10.0, "maternal": 5.0, "residual": 10.0})
    pedigree = Pedigree.from_frame(flock.pedigree)
    u = flock.truth["breeding_values"].to_numpy()
    # u'A^-1 u / q is chi-square with q df: its standard error is sqrt(2 / q) of it, 0.6 % here.
    assert u @ (pedigree.precision @ u) / len(u) == pytest.approx(10.0, rel=0.03)
    maternal = flock.truth["maternal_effects"]
    assert maternal.var() == pytest.approx(5.0, rel=0.06)
    data, fixed = flock.data, flock.truth["fixed"]
    left = (
        data["y"].to_numpy()
        - fixed["mean"]
        - fixed["male"] * (data["sex"] == "M").to_numpy()
        - fixed["multiple"] * (data["litter"] == "multiple").to_numpy()
        - flock.truth["group_effects"].loc[data["group"]].to_numpy()
        - flock.truth["breeding_values"].loc[data["id"]].to_numpy()
        - maternal.loc[data["dam"]].to_numpy()
    )
    assert left.var() == pytest.approx(10.0, rel=0.03)
    assert abs(left.mean()) < 0.1
    assert abs(np.corrcoef(left, flock.truth["breeding_values"].loc[data["id"]])[0, 1]) < 0.02


@pytest.mark.parametrize("n", [50, 53, 80, 200])
def test_small_flocks_breed_true(n):
    for seed in range(10):
        flock = datasets.simulate_flock(n, n_years=6, seed=seed)
        assert len(flock.pedigree) == n
        Pedigree.from_frame(flock.pedigree)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n_animals", 10),
        ("n_years", 0),
        ("n_groups", 0),
        ("h2", -0.1),
        ("maternal", 1.2),
        ("h2", 0.95),
        ("phenotypic_sd", 0),
        ("group_sd", -1),
        ("recorded", 0),
        ("unknown_sires", 2),
    ],
)
def test_flock_options_out_of_range(option, value):
    with pytest.raises(OptionError, match=option):
        datasets.simulate_flock(**{option: value})
