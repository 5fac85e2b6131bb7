"""Models of every engine whose fits are broken off, run side by side, or run in other processes;
exceptions at any moment."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_info

import remlblup as rb


def frame(levels: int = 20, per_level: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    g, n = np.repeat(np.arange(levels), per_level), levels * per_level
    u = rng.normal(size=levels)
    return pd.DataFrame(
        {
            "y": u[g] + rng.normal(size=n),
            "y2": 2.0 * u[g] + rng.normal(size=n),
            "g": g.astype(str),
            "x": rng.normal(size=n),
            "t": np.where(np.arange(n) % 2, "a", "b"),
        }
    )


def relationship(levels: int = 20) -> pd.DataFrame:
    Z = np.random.default_rng(2).normal(size=(levels, 3 * levels))
    names = np.arange(levels).astype(str)
    return pd.DataFrame(Z @ Z.T / (3 * levels), index=names, columns=names)


@functools.lru_cache(maxsize=1)
def flock() -> tuple[pd.DataFrame, rb.Pedigree]:
    simulated = rb.simulate_flock(seed=1)
    return simulated.data, rb.Pedigree.from_frame(simulated.pedigree)


def animals() -> rb.MixedModel:
    data, pedigree = flock()
    return rb.MixedModel("y ~ sex + (1 | vm(id, A))", data, {"A": pedigree}, engine="sparse")


MODELS: dict[str, tuple[Callable[[], rb.MixedModel], dict[str, Any]]] = {
    "sparse, subtrees": (animals, {}),
    "dense equations": (lambda: rb.MixedModel("y ~ x + (1 + x | g)", frame()), {}),
    "V": (lambda: rb.MixedModel("y ~ x + (1 | vm(g, K))", frame(30, 1), {"K": relationship(90)}, engine="dense"), {}),
    "spectral": (
        lambda: rb.MixedModel("y ~ x + (1 | vm(g, K))", frame(), {"K": relationship()}, engine="spectral"),
        {},
    ),
    "other words": (lambda: rb.MixedModel("y ~ x + corgh(t | g)", frame(60, 4), engine="sparse"), {}),
    "ML": (lambda: rb.MixedModel("y ~ x + (1 | g)", frame(), engine="sparse"), {"method": "ML"}),
    "starts": (lambda: rb.MixedModel("y ~ x + (1 | g)", frame()), {"starts": 3}),
    "R without inverse": (
        lambda: rb.MixedModel(
            "y ~ x + (1 | vm(g, K)) + (1 | g)", frame(30, 1), {"K": relationship(30)}, engine="sparse"
        ),
        {"fix": {"residual": 0.0}},
    ),
}


def undisturbed(kind: str) -> tuple[rb.MixedModel, dict[str, Any], rb.Fit, Any]:
    """A model of `MODELS`, its options, its fit and the tables of that."""
    make, options = MODELS[kind]
    model = make()
    fit = model.fit(**options)
    return model, options, fit, tables(fit)


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info()]


def tables(fit: rb.Fit) -> list[np.ndarray]:
    """What is read from a fit, as numbers."""
    return [
        fit.theta,
        np.array([fit.loglik, fit.aic]),
        fit.variance_components["std_error"].to_numpy(),
        fit.fixed_effects.iloc[:, :3].to_numpy(dtype=float),
        fit.random_effects.select_dtypes("number").to_numpy(),
        fit.predict().to_numpy(),
        fit.history.drop(columns=["seconds", "step", "boundary"]).to_numpy(dtype=float),
    ]


def assert_same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    """To the last digit."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True))


class At:
    """Raises `error` at moment number `moment` of those where Python looks for signals: around calls."""

    def __init__(self, moment: int = -1, error: type[BaseException] = KeyboardInterrupt):
        self.moment, self.error, self.calls = moment, error, 0

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event not in ("call", "c_return"):
            return
        self.calls += 1
        if self.calls == self.moment:
            raise self.error

    def run(self, function: Callable[[], Any]) -> Any:
        """What the function returns, or the exception that ended it."""
        sys.setprofile(self)
        try:
            return function()
        except self.error as error:
            return error
        finally:
            sys.setprofile(None)


def moments(function: Callable[[], Any], number: int) -> list[int]:
    """That many moments of a function, from its beginning to its end."""
    count = At()
    count.run(function)
    return np.linspace(1, count.calls - 1, number).astype(int).tolist()
