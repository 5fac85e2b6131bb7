"""Every wrong input gives an error of its own kind that names the culprit: the list of the brief, in one place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup import errors

A = {"A": rb.Pedigree(["1", "2", "3", "4"], [None, None, "1", "1"], [None, None, "2", "2"])}


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 20
    return pd.DataFrame({"y": rng.normal(size=n), "x": rng.normal(size=n), "g": np.arange(n) % 4 + 1, "w": 1.0})


def fitted(formula="y ~ x + (1 | g)", change=None, fit=None, **options):
    d = frame() if change is None else frame().assign(**change)
    return rb.MixedModel(formula, d, **options).fit(progress=False, **(fit or {}))


def looped():
    return rb.Pedigree(["a", "b", "c"], ["b", "c", "a"], [None, None, None])


Y = frame()["y"]
CASES = {
    "infinite y": (lambda: fitted(change={"y": Y.where(Y.index != 7, np.inf)}), errors.DataError, "'y'.*infinite.*7"),
    "no rows left": (lambda: fitted(change={"x": np.nan}), errors.DataError, r"no rows.*x \(20\)"),
    "unknown column": (lambda: fitted("y ~ colour"), errors.DataError, "colour"),
    "no relationship": (lambda: fitted("y ~ (1 | vm(g, B))"), errors.RelationshipError, "'B'"),
    "other relationship": (lambda: fitted("y ~ (1 | vm(g, B))", relationships=A), errors.RelationshipError, "'B'.*'A'"),
    "levels not in it": (
        lambda: fitted("y ~ (1 | vm(g, A))", {"g": np.arange(20) % 5 + 1}, relationships=A),
        errors.RelationshipError,
        r"vm\(g, A\).*5",
    ),
    "pedigree loop": (looped, errors.PedigreeError, "loop.*a -> c -> b"),
    "one level": (lambda: fitted(change={"g": "only"}), errors.ModelError, "'g'.*one level.*only"),
    "no residual df": (lambda: fitted("y ~ C(k)", {"k": np.arange(20)}), errors.ModelError, "20 records and 20 fixed"),
    "constant y": (lambda: fitted(change={"y": 3.25}), errors.DataError, "'y' is constant.*3.25"),
    "complex y": (lambda: fitted(change={"y": Y + 1j}), errors.DataError, "'y' is complex"),
    "text y": (lambda: fitted(change={"y": Y.astype(str)}), errors.DataError, "'y' holds text"),
    "infinite weights": (
        lambda: fitted(change={"w": Y.where(Y.index != 3, np.inf) ** 2}, weights="w"),
        errors.DataError,
        "'w'.*infinite.*3",
    ),
    "negative start": (lambda: fitted(fit={"start": {"g": -1.0}}), errors.VarianceError, "start: g.*-1"),
    "unknown method": (lambda: fitted(fit={"method": "MCMC"}), errors.OptionError, "method='MCMC'.*'REML'"),
    "unknown algorithm": (lambda: fitted(fit={"algorithm": "bfgs"}), errors.OptionError, "algorithm='bfgs'.*'px-em'"),
    "unknown engine": (lambda: fitted(engine="gpu"), errors.OptionError, "engine='gpu'.*'sparse'"),
    "unknown missing": (lambda: fitted(missing="keep"), errors.OptionError, "missing='keep'.*'drop'"),
    "unknown residual": (lambda: fitted(residual="spline(x)"), errors.RemlBlupError, "spline"),
    "unknown new_levels": (
        lambda: fitted().predict(frame(), new_levels="guess"),
        errors.OptionError,
        "new_levels='guess'.*'population'",
    ),
    "exact response": (lambda: fitted(change={"y": 2 + 3 * frame()["x"]}), errors.ModelError, "exactly"),
    "iterations": (lambda: fitted(fit={"max_iterations": 0}), errors.OptionError, "max_iterations=0"),
    "iterations, float": (lambda: fitted(fit={"max_iterations": 2.5}), errors.OptionError, "max_iterations=2.5"),
    "tolerance": (lambda: fitted(fit={"tolerance": 0.0}), errors.OptionError, "tolerance=0"),
    "tolerance, text": (lambda: fitted(fit={"tolerance": "tight"}), errors.OptionError, "tolerance='tight'"),
    "weights not a name": (lambda: fitted(weights=np.ones(20)), errors.OptionError, "weights=.*ndarray"),
    "weights unknown": (lambda: fitted(weights="v"), errors.DataError, "weights=.*'v'"),
    "relationships a list": (lambda: fitted(relationships=[A]), errors.RelationshipError, "mapping"),
    "V not positive definite": (
        lambda: fitted(fit={"start": {"g": -5.0, "residual": 1.0}, "constrain": False}),
        errors.RemlBlupError,
        "start",
    ),
    "solve lacks a term": (
        lambda: rb.MixedModel("y ~ (1 | g)", frame()).solve({"g": 1.0}),
        errors.VarianceError,
        "residual",
    ),
    "no such saved fit": (lambda: rb.load("there is no such folder"), errors.DataError, "there is no such folder"),
}


@pytest.mark.parametrize("name", CASES)
def test_wrong_input(name):
    call, error, message = CASES[name]
    with pytest.raises(error, match=message) as raised:
        call()
    assert isinstance(raised.value, errors.RemlBlupError)
    assert isinstance(raised.value, ValueError)


MATRICES = {
    "y": np.random.default_rng(1).normal(size=8),
    "X": np.ones((8, 1)),
    "Z": [np.kron(np.eye(4), np.ones((2, 1)))],
}
BAD_MATRICES = {
    "rows of X": ({"X": np.ones((7, 1))}, "X.*8.*7"),
    "rows of Z": ({"Z": [np.ones((7, 2))]}, "'u1'.*8.*7"),
    "K too small": ({"K": [np.eye(3)]}, "'u1'"),
    "number of K": ({"K": [None, None]}, "1, 2 and 1"),
    "number of names": ({"names": ["a", "b"]}, "1, 1 and 2"),
    "name residual": ({"names": ["residual"]}, "residual"),
    "names of X": ({"fixed_names": ["a", "b"]}, "fixed_names.*2.*1"),
    "y a matrix": ({"y": np.ones((4, 2))}, r"y.*\(4, 2\)"),
    "y not finite": ({"y": np.r_[np.inf, np.ones(7)]}, "y.*0"),
    "X not finite": ({"X": np.full((8, 1), np.nan)}, "X"),
    "X text": ({"X": np.full((8, 1), "a")}, "X"),
    "weights": ({"weights": np.ones(7)}, "weights.*8"),
    "negative weights": ({"weights": -np.ones(8)}, "weights"),
    "one level": ({"Z": [np.ones((8, 1))]}, "'u1'.*one level"),
    "K not symmetric": ({"K": [np.eye(4) + np.diag([0.5] * 3, 1)]}, "'u1'.*symmetric"),
    "K not positive definite": ({"K": [np.diag([1.0, 1.0, 1.0, -1.0])]}, "'u1'"),
    "K not finite": ({"K": [np.full((4, 4), np.nan)]}, "'u1'"),
}


@pytest.mark.parametrize("name", BAD_MATRICES)
def test_wrong_matrices(name):
    change, message = BAD_MATRICES[name]
    with pytest.raises(errors.RemlBlupError, match=message):
        rb.MixedModel.from_matrices(**(MATRICES | change)).fit(progress=False)
