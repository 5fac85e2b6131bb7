"""Models with covariance structures on embedded data, and V of each written out from its definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.linalg

from remlblup import datasets
from remlblup.validation.dense import Array

#: Unconstrained x → parameters: log variances, atanh of correlations, Cholesky factors.
Transform = Callable[[Array], Array]


@dataclass(frozen=True)
class DenseDesign:
    """One model for us and for the dense evaluation.

    Attributes
    ----------
    name : of the case
    data : makes the data frame
    formula, residual : ours
    covariance : data → (θ → V), θ in the order of our `variance_components`
    transform : unconstrained x → θ
    start : x to start the other optimiser from
    note : printed with --verbose
    """

    name: str
    data: Callable[[], pd.DataFrame]
    formula: str
    covariance: Callable[[pd.DataFrame], Callable[[Array], Array]]
    transform: Transform
    start: tuple[float, ...]
    residual: str = "units"
    note: str = ""

    @property
    def fixed(self) -> str:
        """The fixed part of the formula."""
        return self.formula.split("~")[1].split(" + (")[0].split(" + us(")[0].split(" + cs")[0].strip()

    @property
    def response(self) -> str:
        return self.formula.split("~")[0].strip()


# -- pieces of V -------------------------------------------------------------------------------


def same(values: pd.Series) -> Array:
    """ZZ': 1 where two records have the same level."""
    codes = pd.factorize(values)[0]
    return (codes[:, None] == codes).astype(float)


def over(values: pd.Series) -> Array:
    """(n, t) incidence of the levels in their order."""
    levels = sorted(values.unique())
    return (values.to_numpy()[:, None] == np.array(levels, dtype=object)).astype(float)


def correlated(
    group: str, effect: str, matrix: Callable[[Array], Array]
) -> Callable[[pd.DataFrame], Callable[[Array], Array]]:
    """V with Σ(θ) over the levels of `effect` within each level of `group`."""

    def build(data: pd.DataFrame) -> Callable[[Array], Array]:
        block, Z = same(data[group]), over(data[effect])
        return lambda theta: block * (Z @ matrix(theta) @ Z.T)

    return build


def plus(
    *parts: tuple[Callable[[pd.DataFrame], Callable[[Array], Array]], slice],
) -> Callable[[pd.DataFrame], Callable[[Array], Array]]:
    """The sum of parts of V, each with its part of θ."""

    def build(data: pd.DataFrame) -> Callable[[Array], Array]:
        built = [(make(data), where) for make, where in parts]
        return lambda theta: np.sum([f(theta[where]) for f, where in built], axis=0)

    return build


def iid(group: str | None = None) -> Callable[[pd.DataFrame], Callable[[Array], Array]]:
    """σ² ZZ', or σ² I."""

    def build(data: pd.DataFrame) -> Callable[[Array], Array]:
        J = np.eye(len(data)) if group is None else same(data[group])
        return lambda theta: theta[0] * J

    return build


def unstructured(theta: Array) -> Array:
    """Σ from its lower triangle row by row."""
    t = int((np.sqrt(8 * len(theta) + 1) - 1) / 2)
    sigma = np.zeros((t, t))
    sigma[np.tril_indices(t)] = theta
    return sigma + np.tril(sigma, -1).T


def autoregressive(t: int) -> Callable[[Array], Array]:
    """v r^|i−j|."""
    return lambda theta: theta[0] * scipy.linalg.toeplitz(theta[1] ** np.arange(t))


def heterogeneous(theta: Array) -> Array:
    """√(v_i v_j) r^|i−j|: variances, then r."""
    s = np.sqrt(theta[:-1])
    return np.outer(s, s) * scipy.linalg.toeplitz(theta[-1] ** np.arange(len(s)))


def symmetric(t: int) -> Callable[[Array], Array]:
    """v[(1 − r) I + r J]."""
    return lambda theta: theta[0] * ((1.0 - theta[1]) * np.eye(t) + theta[1])


def symmetric_heterogeneous(theta: Array) -> Array:
    """r √(v_i v_j): variances, then r."""
    s = np.sqrt(theta[:-1])
    return np.outer(s, s) * ((1.0 - theta[-1]) * np.eye(len(s)) + theta[-1])


def banded(theta: Array) -> Array:
    """v r_|i−j|."""
    return theta[0] * scipy.linalg.toeplitz(np.r_[1.0, theta[1:]])


def exponential(data: pd.DataFrame) -> Callable[[Array], Array]:
    """v r^|x−x'| within subjects."""
    x = data["age"].to_numpy(float)
    block, distance = same(data["Subject"]), np.abs(x[:, None] - x)
    return lambda theta: block * theta[0] * theta[1] ** distance


def by_sex(data: pd.DataFrame) -> Callable[[Array], Array]:
    """diag of one variance for each sex."""
    Z = over(data["Sex"])
    return lambda theta: np.diag(Z @ theta)


def power_of_day(data: pd.DataFrame) -> Callable[[Array], Array]:
    """σ² diag(day^2δ)."""
    x = data["day"].to_numpy(float)
    return lambda theta: theta[0] * np.diag(x ** (2.0 * theta[1]))


def lines(columns: Callable[[pd.DataFrame], Array]) -> Callable[[pd.DataFrame], Callable[[Array], Array]]:
    """Unstructured coefficients of `columns` for each subject."""

    def build(data: pd.DataFrame) -> Callable[[Array], Array]:
        block, Z = same(data["Subject"]), columns(data)
        return lambda theta: block * (Z @ unstructured(theta) @ Z.T)

    return build


def intercept_and_days(data: pd.DataFrame) -> Array:
    return np.column_stack([np.ones(len(data)), data["Days"]])


def legendre_of_days(data: pd.DataFrame) -> Array:
    """√½ and √(3/2) x, x the days moved to [−1, 1]."""
    x = 2.0 * data["Days"].to_numpy(float) / 9.0 - 1.0
    return np.column_stack([np.full(len(x), np.sqrt(0.5)), np.sqrt(1.5) * x])


# -- transforms --------------------------------------------------------------------------------


def each(kinds: str) -> Transform:
    """One letter per parameter: v log variance, r atanh of a correlation, p atanh of 2r − 1, x itself."""
    of: dict[str, Callable[[float], float]] = {
        "v": lambda z: float(np.exp(z)),
        "r": lambda z: float(np.tanh(z)),
        "p": lambda z: float(0.5 * (1.0 + np.tanh(z))),
        "x": lambda z: z,
    }
    return lambda x: np.array([of[k](value) for k, value in zip(kinds, x, strict=True)])


def cholesky(t: int, rest: str = "") -> Transform:
    """vech(LL'), L with log diagonal; then the rest as in `each`."""

    def transform(x: Array) -> Array:
        L = unstructured(x[: t * (t + 1) // 2])
        L = np.tril(L, -1) + np.diag(np.exp(np.diag(L)))
        return np.r_[(L @ L.T)[np.tril_indices(t)], each(rest)(x[t * (t + 1) // 2 :])]

    return transform


def _diagonal(t: int, value: float) -> tuple[float, ...]:
    return tuple((value * np.eye(t))[np.tril_indices(t)])


def load(name: str) -> Callable[[], pd.DataFrame]:
    return lambda: datasets.load(name)


def days_from_one() -> pd.DataFrame:
    """sleepstudy with its days counted from one."""
    data = datasets.load("sleepstudy")
    return data.assign(day=data["Days"] + 1.0)


def _growth(
    name: str, residual: str, covariance: Callable, transform: Transform, start: tuple[float, ...]
) -> DenseDesign:
    return DenseDesign(
        f"orthodont.{name}", load("orthodont"), "distance ~ age * Sex", covariance, transform, start, residual
    )


_FIRST, _REST = slice(0, 1), slice(1, None)

DESIGNS: tuple[DenseDesign, ...] = (
    _growth("us", "us(age | Subject)", correlated("Subject", "age", unstructured), cholesky(4), _diagonal(4, 0.8)),
    _growth("ar1", "ar1(age | Subject)", correlated("Subject", "age", autoregressive(4)), each("vr"), (1.5, 0.1)),
    _growth(
        "ar1h", "ar1h(age | Subject)", correlated("Subject", "age", heterogeneous), each("vvvvr"), (1.5,) * 4 + (0.1,)
    ),
    _growth("cs", "cs(age | Subject)", correlated("Subject", "age", symmetric(4)), each("vr"), (1.5, 0.1)),
    _growth(
        "csh",
        "csh(age | Subject)",
        correlated("Subject", "age", symmetric_heterogeneous),
        each("vvvvr"),
        (1.5,) * 4 + (0.1,),
    ),
    _growth("toep", "toep(age | Subject)", correlated("Subject", "age", banded), each("vxxx"), (1.5, 0.3, 0.2, 0.1)),
    _growth("exp", "exp(age | Subject)", exponential, each("vp"), (1.5, 0.5)),
    DenseDesign(
        "orthodont.intercept_by_sex",
        load("orthodont"),
        "distance ~ age * Sex + (1 | Subject)",
        plus((iid("Subject"), _FIRST), (by_sex, _REST)),
        each("vvv"),
        (0.0, 0.0, 0.0),
        "diag(Sex | units)",
    ),
    DenseDesign(
        "sleepstudy.intercept_ar1",
        load("sleepstudy"),
        "Reaction ~ Days + (1 | Subject)",
        plus((iid("Subject"), _FIRST), (correlated("Subject", "Days", autoregressive(10)), _REST)),
        each("vvr"),
        (6.0, 7.0, 0.1),
        "ar1(Days | Subject)",
    ),
    DenseDesign(
        "sleepstudy.slopes_power",
        days_from_one,
        "Reaction ~ Days + (1 + Days | Subject)",
        plus((lines(intercept_and_days), slice(0, 3)), (power_of_day, slice(3, None))),
        cholesky(2, "vx"),
        (3.0, 0.0, 1.5, 6.0, 0.0),
        "power(day)",
    ),
    DenseDesign(
        "sleepstudy.legendre",
        load("sleepstudy"),
        "Reaction ~ Days + us(leg(Days, 1) | Subject)",
        plus((lines(legendre_of_days), slice(0, 3)), (iid(), slice(3, None))),
        cholesky(2, "v"),
        (3.0, 0.0, 3.0, 6.0),
        note="the likelihood of (1 + Days | Subject): the same space of lines",
    ),
    DenseDesign(
        "machines.cs",
        load("machines"),
        "score ~ Machine + cs(Machine | Worker)",
        plus((correlated("Worker", "Machine", symmetric(3)), slice(0, 2)), (iid(), slice(2, None))),
        each("vrv"),
        (3.0, 0.3, 0.0),
    ),
    DenseDesign(
        "machines.csh",
        load("machines"),
        "score ~ Machine + csh(Machine | Worker)",
        plus((correlated("Worker", "Machine", symmetric_heterogeneous), slice(0, 4)), (iid(), slice(4, None))),
        each("vvvrv"),
        (3.0, 3.0, 3.0, 0.3, 0.0),
    ),
    DenseDesign(
        "oats.blocks_cs",
        lambda: datasets.load("oats").assign(plot=lambda d: d["Block"].astype(str) + d["Variety"].astype(str)),
        "Q('yield') ~ nitroF * Variety + (1 | Block)",
        plus((iid("Block"), _FIRST), (correlated("plot", "nitroF", symmetric(4)), _REST)),
        each("vvr"),
        (5.0, 5.0, 0.1),
        "cs(nitroF | Block:Variety)",
        "the split plot: (1 | Block:Variety) and a residual",
    ),
)
