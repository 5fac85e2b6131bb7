"""Structures that users write: two examples that meet the whole contract, and mistakes that are caught."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import scipy.optimize

from remlblup.errors import OptionError
from remlblup.structure.base import Structure
from remlblup.structure.covariance.correlation import CorrelationStructure
from remlblup.structure.covariance.diagonal import Diagonal
from remlblup.structure.table import STRUCTURES, register_structure

from . import test_contract as contract


class OrnsteinUhlenbeck(Structure):
    """Σ_ij = v exp(−κ |x_i − x_j|)."""

    keyword = "ou"
    ordered = True
    linear = False
    names = ("variance", "rate")

    @property
    def lower(self):
        return np.zeros(2)

    @property
    def distances(self):
        return np.abs(self.positions[:, None] - self.positions)

    def covariance(self, theta):
        return theta[0] * np.exp(-theta[1] * self.distances)

    def derivatives(self, theta):
        R = np.exp(-theta[1] * self.distances)
        return np.array([R, -theta[0] * self.distances * R])

    def project(self, sigma):
        v = np.trace(sigma) / self.size
        neighbours = np.clip(np.diag(sigma, 1) / (v or 1.0), 1e-300, 1.0)
        return np.array([v, np.mean(-np.log(neighbours) / np.diff(self.positions))])

    def start(self, sigma):
        return np.array([np.trace(sigma) / self.size, 1.0 / np.mean(np.diff(self.positions))])


class Matern32(Structure):
    """Σ_ij = v (1 + a) exp(−a), a = κ |x_i − x_j|: the Matérn covariance of smoothness 3/2, κ = √3/range."""

    keyword = "matern"
    ordered = True
    linear = False
    names = ("variance", "decay")

    @property
    def lower(self):
        return np.zeros(2)

    def _scaled(self, decay):
        return decay * np.abs(self.positions[:, None] - self.positions)

    def covariance(self, theta):
        a = self._scaled(theta[1])
        return theta[0] * (1 + a) * np.exp(-a)

    def derivatives(self, theta):
        a, d = self._scaled(theta[1]), self._scaled(1.0)
        return np.array([(1 + a) * np.exp(-a), -theta[0] * a * d * np.exp(-a)])

    def project(self, sigma):
        v = np.trace(sigma) / self.size
        wanted, gaps = np.diag(sigma, 1).sum() / (v or 1.0), np.diff(self.positions)
        if wanted >= self.size - 1:
            return np.array([v, 0.0])
        excess = lambda decay: np.sum((1 + decay * gaps) * np.exp(-decay * gaps)) - max(wanted, 1e-12)  # noqa: E731
        return np.array([v, scipy.optimize.brentq(excess, 0.0, 100.0 / gaps.min(), xtol=1e-300)])

    def start(self, sigma):
        return np.array([np.trace(sigma) / self.size, 2.0 / np.mean(np.diff(self.positions))])


@pytest.fixture
def table(monkeypatch):
    """STRUCTURES as it is, put back after the test."""
    for keyword in ("ou", "matern"):
        monkeypatch.setitem(contract.EXACT, keyword, 1e-9)
    before = dict(STRUCTURES)
    yield STRUCTURES
    STRUCTURES.clear()
    STRUCTURES.update(before)


CONTRACT = [
    f
    for name, f in vars(contract).items()
    if name.startswith("test_")
    and "options" in inspect.signature(f).parameters
    and "linear" not in name
    and "negative" not in name
]


@pytest.mark.parametrize("cls", [OrnsteinUhlenbeck, Matern32])
@pytest.mark.parametrize("test", CONTRACT, ids=lambda f: f.__name__)
@pytest.mark.parametrize("t", [2, 3, 6])
def test_a_structure_of_a_user_meets_the_contract(table, cls, test, t):
    register_structure(cls)
    further = {"seed": [6, 7], "which": range(4)}
    argument = next((name for name in further if name in inspect.signature(test).parameters), None)
    for value in further.get(argument, [None]):
        test(cls.keyword, t, {}, **({} if argument is None else {argument: value}))


def test_the_examples_are_short():
    assert len(CONTRACT) > 10
    for cls in (OrnsteinUhlenbeck, Matern32):
        assert len(inspect.getsource(cls).splitlines()) < 40


def test_registering_adds_to_the_table_and_returns_the_class(table):
    assert register_structure(OrnsteinUhlenbeck) is OrnsteinUhlenbeck
    assert table["ou"] is OrnsteinUhlenbeck

    class Again(OrnsteinUhlenbeck):
        pass

    register_structure(Again)  # the cell of a notebook run twice
    assert table["ou"] is Again


class Powered(CorrelationStructure):
    """Correlations as a power of the distance, to a smoothness that the user sets."""

    keyword = "powered"
    options = ("smoothness",)

    def __init__(self, effects, positions=None, *, smoothness):
        super().__init__(effects, positions)
        self.d = np.abs(self.positions[:, None] - self.positions) ** smoothness

    correlation_bounds = (0.0, 1.0)

    def correlation(self, rho):
        return rho[0] ** self.d

    def correlation_derivatives(self, rho):
        return (self.d * rho[0] ** np.maximum(self.d - 1, -0.999))[None]

    def correlations_of(self, C, present):
        return np.maximum(C[:1, 1], 0) ** (1 / self.d[0, 1])

    def first_correlations(self):
        return np.array([0.3])


def test_an_option_without_default_is_given_for_the_trial(table):
    with pytest.raises(OptionError, match="smoothness"):
        register_structure(Powered)
    register_structure(Powered, smoothness=1.5)
    assert table["powered"] is Powered


def test_every_built_in_structure_would_pass_the_trial():
    from remlblup.structure.check import check_structure

    for keyword, cls in STRUCTURES.items():
        check_structure(cls, {"matrix": np.diag([1.0, 2.0, 3.0])} if keyword == "known" else {})


def variant(base=OrnsteinUhlenbeck, **members):
    return type("Mine", (base,), {"keyword": "mine", **members})


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (3, "subclass of Structure"),
        (int, "subclass of Structure"),
        (variant(keyword=None), "name to write in a formula"),
        (variant(keyword="my structure"), "name to write in a formula"),
        (variant(keyword="for"), "name to write in a formula"),
        (variant(keyword="us"), "remlblup's own"),
        (variant(keyword="vm"), "remlblup's own"),
        (
            variant(derivatives=lambda s, x: OrnsteinUhlenbeck.derivatives(s, x) * [[[1]], [[-1]]]),
            "'rate'.*differences",
        ),
        (variant(derivatives=lambda s, x: np.eye(3)), r"derivatives.*shape \(2, 3, 3\)"),
        (variant(names=("variance",)), "shape"),
        (variant(names=("variance", "variance")), "names"),
        (variant(covariance=lambda s, x: x[0] + np.triu(x[1] * s.distances)), "symmetric"),
        (variant(covariance=lambda s, x: -x[0] * np.eye(3)), "semidefinite"),
        (variant(covariance=lambda s, x: np.full((3, 3), np.nan)), "finite"),
        (variant(project=lambda s, x: np.array([1.0, 1.0])), "give back"),
        (variant(project=lambda s, x: np.array([-1.0, 1.0])), "within its bounds"),
        (variant(start=lambda s, x: np.array([1.0, np.nan])), "within its bounds"),
        (variant(upper=np.array([-1.0, 1.0])), "above the upper"),
        (variant(factor=lambda s, x: (np.eye(3), np.ones(3))), "factor"),
        (variant(slots=((0, 0),)), "slots"),
        (variant(__init__=lambda s, effects, positions=None: None), "Mine fails"),
        (variant(covariance=lambda s, x: 1 / 0), "ZeroDivisionError"),
        (variant(Diagonal, derivatives=lambda s, x: 2 * Diagonal.derivatives(s, x)), "differences"),
    ],
)
def test_a_mistake_is_caught_when_registering(table, cls, message):
    with pytest.raises(OptionError, match=f"(?s){message}"):
        register_structure(cls)
    assert "mine" not in table


def test_a_class_without_the_methods_is_caught(table):
    class Half(Structure):
        keyword = "half"
        names = ("variance",)

    with pytest.raises(OptionError, match=r"Half fails.*abstract"):
        register_structure(Half)
