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
