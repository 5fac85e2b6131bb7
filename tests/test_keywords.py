"""An argument that does not exist: refused by name, everywhere."""

from __future__ import annotations

import inspect
from functools import cache

import pytest

import remlblup as rb
from remlblup.result import Fit
from remlblup.structure.base import Structure

#: Of relationships, called in the loops of a search.
INNER = {"among", "columns", "dense", "find", "index", "multiply", "precision_around", "precision_times", "sparse",
         "subset", "inverse_subset", "take_diagonal"}  # fmt: skip
CLASSES = [Fit, *(c for c in (getattr(rb, name) for name in rb.__all__) if inspect.isclass(c) and c is not Fit)]


@cache
def objects():
    """One of each class that has methods, by its class."""
    data = rb.datasets.load("sleepstudy")
    model = rb.MixedModel("Reaction ~ Days + (1 | Subject)", data)
    genotypes = rb.Genotypes.from_matrix([[0, 1, 2], [2, 1, 0], [1, 1, 1]], ids=["a", "b", "c"])
    made = [model, model.fit(progress=False), model.solve({"(1 | Subject)": 1378.0, "residual": 960.0}), genotypes,
            rb.Pedigree(["a", "b", "c"], [None, None, "a"], [None, None, "b"])]  # fmt: skip
    return {type(one): one for one in made}


def public():
    """Every function and method that a user calls: (name, how to get at it)."""
    for name in rb.__all__:
        if inspect.isfunction(getattr(rb, name)):
            yield name
    for owner in CLASSES:
        if issubclass(owner, BaseException | Structure):
            continue
        for name, kind in inspect.getmembers(owner, lambda f: inspect.isfunction(f) or inspect.ismethod(f)):
            if not name.startswith("_") and name not in INNER and kind.__module__.startswith("remlblup"):
                yield f"{owner.__name__}.{name}"


def bound(name):
    first, _, method = name.partition(".")
    if not method:
        return getattr(rb, first)
    owner = next(c for c in CLASSES if c.__name__ == first)
    return getattr(objects().get(owner, owner), method)


@pytest.mark.parametrize("name", sorted(set(public())))
def test_an_unknown_argument_is_refused_by_name(name):
    function = bound(name)
    parameters = list(inspect.signature(function).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        pytest.skip("passes its arguments on")
    given = [None for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    with pytest.raises(rb.OptionError, match=r"takes no argument 'nonsense='.*It takes"):
        function(*given, nonsense=1)
