"""Fits to draw, and a headless matplotlib that is tidied up after every test."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

import remlblup as rb


@pytest.fixture(autouse=True)
def headless():
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="session")
def slopes():
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy"))


@pytest.fixture(scope="session")
def sleep(slopes):
    return slopes.fit()


@pytest.fixture(scope="session")
def boundary():
    return rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit()


@pytest.fixture(scope="session")
def fixed_only():
    return rb.MixedModel("Reaction ~ Days", rb.datasets.load("sleepstudy")).fit()


def grouped(levels: int, each: int, seed: int = 1) -> rb.Fit:
    """A one-way fit with so many levels."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(levels), each)
    y = rng.normal(size=levels)[g] + rng.normal(size=len(g))
    return rb.MixedModel("y ~ 1 + (1 | g)", pd.DataFrame({"g": g, "y": y})).fit()


def autoregressive(m: int, r: float) -> np.ndarray:
    """Correlation matrix of an AR1 process over m positions."""
    return r ** np.abs(np.subtract.outer(np.arange(m), np.arange(m)))


def trial(rows: int, columns: int, seed: int, drop: int = 0, first: tuple[int, int] = (1, 1)) -> pd.DataFrame:
    """A field of 12 entries with AR1 x AR1 errors and independent ones, shuffled, some plots without a record."""
    rng = np.random.default_rng(seed)
    L = np.linalg.cholesky(np.kron(autoregressive(rows, 0.6), autoregressive(columns, 0.8)))
    row, col = (a.ravel() for a in np.indices((rows, columns)))
    n = rows * columns
    y = 10.0 + 3.0 * (L @ rng.normal(size=n)) + 1.5 * rng.normal(size=n)
    gen = rng.integers(0, 12, n).astype(str)
    table = pd.DataFrame({"row": row + first[0], "col": col + first[1], "gen": gen, "y": y})
    return table.sample(n - drop, random_state=seed).reset_index(drop=True)


@pytest.fixture(scope="session")
def field_data():
    return trial(9, 14, 3, drop=11, first=(5, 1))


@pytest.fixture(scope="session")
def field(field_data):
    """AR1 x AR1 with an independent part, 11 plots without a record."""
    return rb.MixedModel("y ~ gen", field_data, residual="ar1(row):ar1(col) + units").fit()


@pytest.fixture(scope="session")
def trials():
    """Two fields, each with its own parameters."""
    data = pd.concat([trial(8, 10, 5).assign(site="A"), trial(12, 6, 6, drop=4).assign(site="B")], ignore_index=True)
    return rb.MixedModel("y ~ site", data, residual="ar1(row):ar1(col) | site").fit()


@pytest.fixture(scope="session")
def orthodont():
    return rb.datasets.load("orthodont")


@pytest.fixture(scope="session")
def curves():
    """Random regression on age, quadratic in the model and in truth linear and quadratic."""
    rng = np.random.default_rng(11)
    animal = np.repeat(np.arange(60), 8)
    age = np.tile(np.linspace(2.0, 16.0, 8), 60)
    z = (age - 9.0) / 7.0
    u = rng.normal(size=(60, 3)) * [2.0, 1.0, 0.5]
    y = 5.0 + z + u[animal, 0] + u[animal, 1] * z + u[animal, 2] * z**2 + rng.normal(size=len(z))
    return pd.DataFrame({"animal": animal, "age": age, "y": y})


@pytest.fixture(scope="session")
def regression(curves):
    return rb.MixedModel("y ~ age + us(leg(age, 2) | animal)", curves).fit()


@pytest.fixture(scope="session")
def sites():
    """60 genotypes twice at five sites, two factors."""
    rng = np.random.default_rng(21)
    gamma = np.array([[3.0, 0.5], [2.0, -1.0], [2.5, 1.5], [1.0, 2.0], [2.0, -2.0]])
    f, delta = rng.normal(size=(60, 2)), rng.normal(size=(60, 5))
    site, gen, _ = (a.ravel() for a in np.indices((5, 60, 2)))
    y = (f @ gamma.T + delta)[gen, site] + site + rng.normal(size=len(site))
    return pd.DataFrame({"site": [f"S{s}" for s in site], "gen": [f"G{g:02d}" for g in gen], "y": y})


@pytest.fixture(scope="session")
def factor_fit(sites):
    return rb.MixedModel("y ~ site + fa(site | gen, k=2)", sites).fit()
