"""What a fit is of: the same from the same data, whatever was computed in between, and another from other data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import remlblup as rb
from remlblup.storage.fingerprint import difference, digest

pytestmark = pytest.mark.filterwarnings("ignore::remlblup.errors.ConvergenceWarning")
IDS = [f"a{k}" for k in range(12)]
SIRES = [None] * 4 + ["a0", "a0", "a0", "a2", "a4", "a4", "a7", "a7"]
DAMS = [None] * 4 + ["a1", "a1", "a3", "a3", "a5", "a6", "a6", "a8"]


def pedigree(sires=SIRES, ids=IDS, dams=DAMS, **options) -> rb.Pedigree:
    return rb.Pedigree(ids, sires, dams, **options)


def grouped(first: str) -> rb.Pedigree:
    return pedigree([first, "g2", "g1", "g2", *SIRES[4:]], dams=["g2"] * 4 + DAMS[4:], groups=["g1", "g2"])


def matrix(seed: int = 0) -> pd.DataFrame:
    M = np.random.default_rng(seed).normal(size=(12, 30))
    return pd.DataFrame(M @ M.T / 30 + 0.1 * np.eye(12), index=IDS, columns=IDS)


def singular(seed: int = 0) -> pd.DataFrame:
    M = np.random.default_rng(seed).normal(size=(12, 5))
    return pd.DataFrame(M @ M.T, index=IDS, columns=IDS)


def single_step(seed: int = 0, **options) -> rb.SingleStep:
    G = matrix(seed).iloc[6:, 6:]
    return rb.SingleStep(pedigree(), G, **options)


# Each twice: the same is made twice from the same, and then from something else.
RELATIONSHIPS: dict[str, tuple[Callable, Callable]] = {
    "pedigree": (pedigree, lambda: pedigree(["a2", *SIRES[1:]][:4] + SIRES[4:-1] + ["a9"])),
    "other labels": (pedigree, lambda: pedigree(ids=[*IDS[:-1], "b"])),
    "inbreeding ignored": (pedigree, lambda: pedigree(ignore_inbreeding=True)),
    "selfing": (
        lambda: pedigree(selfing=[0] * 12, hermaphrodites=True),
        lambda: pedigree(selfing=[3] + [0] * 11, hermaphrodites=True),
    ),
    "groups of unknown parents": (lambda: grouped("g1"), lambda: grouped("g2")),
    "sex-linked": (
        lambda: pedigree().sex_linked(["M", "F", "M", "F", "M", "F", "F", "M", "F", "M", "F", "M"], "M"),
        lambda: pedigree().sex_linked(["M", "F", "M", "F", "M", "F", "F", "M", "F", "M", "F", "F"], "M"),
    ),
    "dominance": (lambda: pedigree().dominance(), lambda: pedigree([*SIRES[:-1], "a9"]).dominance()),
    "matrix": (lambda: rb.Relationship(matrix()), lambda: rb.Relationship(matrix(1))),
    "inverse": (lambda: rb.Relationship(matrix(), inverse=True), lambda: rb.Relationship(matrix())),
    "sparse": (
        lambda: rb.Relationship(sp.csc_array(pedigree().precision), IDS, inverse=True),
        lambda: rb.Relationship(sp.csc_array(2.0 * pedigree().precision), IDS, inverse=True),
    ),
    "singular": (lambda: rb.Relationship(singular()), lambda: rb.Relationship(singular(1))),
    "single-step": (single_step, lambda: single_step(1)),
    "single-step by another weight": (single_step, lambda: single_step(omega=0.9)),
}


def model(relationship, engine: str = "auto") -> rb.MixedModel:
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"id": np.resize(IDS, 30), "y": rng.normal(size=30)})
    return rb.MixedModel("y ~ 1 + (1 | vm(id, A))", data, {"A": relationship}, engine=engine)


@pytest.mark.parametrize("kind", RELATIONSHIPS)
def test_relationships(kind):
    make, other = RELATIONSHIPS[kind]
    first, used = digest(make()), make()
    fit = model(used).fit(max_iterations=50)
    assert fit.random_effects is not None and used.diagonal is not None
    used.multiply(np.ones(used.size))
    used.among(np.array([3, 5]))
    assert digest(used) == first
    assert digest(other()) != first


STRUCTURES = {
    "us(t | g)": "diag(t | g)",
    "ar1(t | g)": "cs(t | g)",
    "exp(x | g)": "exp(z | g)",
    "fa(t | g, k=1)": "rr(t | g, k=1)",
    "toep(t | g)": "corgh(t | g)",
    "leg(x, 2)": "leg(x, 1)",
    "spl(x)": "spl(z)",
}


def structured(term: str, residual: str = "units"):
    data = pd.DataFrame({"g": np.repeat(range(9), 4), "t": pd.Categorical(np.tile(range(4), 9))})
    data["x"], data["z"] = np.tile([0.0, 1.0, 2.0, 3.5], 9), np.tile([0.0, 1.0, 2.5, 3.5], 9)
    data["y"] = np.random.default_rng(1).normal(size=36)
    term = f"({term} | g)" if term.startswith("leg") else term
    return rb.MixedModel(f"y ~ 1 + {term}", data, residual=residual).specification


def parts(spec) -> list[str]:
    return [digest((d.columns, d.structure, d.relationship)) for d in spec.random] + [digest(spec.residual)]


@pytest.mark.parametrize("term", STRUCTURES)
def test_structures_of_terms(term):
    used = structured(term)
    first = parts(used)
    rb.MixedModel._of(used).fit(starts=1, max_iterations=4, progress=False)
    assert parts(used) == first == parts(structured(term))
    assert parts(structured(STRUCTURES[term])) != first


RESIDUALS = ["units", "diag(t | units)", "us(t | g)", "ar1(t | g)", "exp(x | g)", "exp(z | g)"]


def test_structures_of_the_residual():
    seen = {}
    for residual in RESIDUALS:
        used = structured("(1 | g)", residual)
        first = digest(used.residual)
        rb.MixedModel._of(used).fit(starts=1, max_iterations=4, progress=False)
        assert digest(used.residual) == first == digest(structured("(1 | g)", residual).residual)
        seen[first] = residual
    assert len(seen) == len(RESIDUALS)


def test_a_matrix_is_the_same_in_any_order_of_its_entries():
    A = sp.csr_array(np.array([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]))
    B = A.copy()
    B.indices, B.data = B.indices[[1, 0, 2, 3]], B.data[[1, 0, 2, 3]]
    B.has_sorted_indices = B.has_canonical_format = False
    assert digest(A) == digest(B)
    assert not B.has_sorted_indices
    assert digest(A) != digest(2 * A)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (np.zeros(3), np.zeros(4)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.zeros(3), np.zeros(3, dtype=np.float32)),
        (np.array(["a", "b"], dtype=object), np.array(["a", "c"], dtype=object)),
        (np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3) + 1),
        (1, 1.0),
        (1, True),
        (("a", "b"), ("ab",)),
        ([[1], 2], [1, [2]]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        (None, "None"),
        (np.nan, 0.0),
        (0.0, -0.0),
    ],
)
def test_what_differs_has_another_digest(one, two):
    assert digest(one) != digest(two)
    assert digest(one) == digest(one)


def test_memory_order_is_no_difference():
    A = np.arange(6.0).reshape(2, 3)
    assert digest(A) == digest(np.asfortranarray(A)) == digest(np.arange(12.0).reshape(2, 6)[:, ::2] / 2)


def test_differences_in_words():
    here = {"method": "ML", "response": "#1", "start": "", "term": "#3"}
    there = {"method": "REML", "response": "#2", "start": "a = 1.0", "other": "#3"}
    assert difference(there, there) == []
    assert difference(there, here) == [
        "method (REML there, ML here)",
        "response",
        "start (a = 1.0 there, none here)",
        "term",
        "other",
    ]
