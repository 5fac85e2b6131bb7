"""NAME=VALUE arguments."""

from __future__ import annotations

import pytest

from remlblup.cli.values import named_expressions, named_files, variances
from remlblup.errors import OptionError


@pytest.mark.parametrize(
    ("text", "term", "value"),
    [
        ("mother=1.5", "mother", 1.5),
        ("vm(animal, A) = 2e-3", "vm(animal, A)", 0.002),
        ("residual=.5", "residual", 0.5),
        ("1 + x | g=[[2, 1], [1, 3]]", "1 + x | g", [[2, 1], [1, 3]]),
        ("fa(site | vm(geno, G), k=2)=4", "fa(site | vm(geno, G), k=2)", 4),
        ("1 + x | g=var(Intercept):600", "1 + x | g", {"var(Intercept)": 600.0}),
        ("g=cov(a, b): -1, var(a):2", "g", {"cov(a, b)": -1.0, "var(a)": 2.0}),
        ('g={"var(a)": 2}', "g", {"var(a)": 2}),
    ],
)
def test_variances(text, term, value):
    assert variances("--start", [text]) == {term: value}


def test_named_parameters_given_one_by_one():
    assert variances("--fix", ["g=var(a):1", "g=var(b):2"]) == {"g": {"var(a)": 1.0, "var(b)": 2.0}}
    assert variances("--fix", None) is None


@pytest.mark.parametrize("text", ["residual", "=1", "residual=", "residual=abc", "g=var(a):x", "g=[[1,2]", "g=1,2"])
def test_variances_that_cannot_be_read(text):
    with pytest.raises(OptionError, match="--start"):
        variances("--start", [text])


def test_a_term_given_twice():
    with pytest.raises(OptionError, match="gives 'a' twice"):
        variances("--start", ["a=1", "a=2"])


def test_named_files():
    assert named_files("--pedigree", ["A=x=1.csv", "B = y.csv"]) == {"A": "x=1.csv", "B": "y.csv"}
    for wrong in (["ped.csv"], ["A="], ["a b=x"], ["A=x", "A=y"]):
        with pytest.raises(OptionError, match="--pedigree"):
            named_files("--pedigree", wrong)


def test_named_expressions():
    given = ["h2 = a / (a + residual)", "a + residual"]
    assert named_expressions(given) == {"h2": "a / (a + residual)", "a + residual": "a + residual"}
    with pytest.raises(OptionError, match="--function"):
        named_expressions(["h2="])
