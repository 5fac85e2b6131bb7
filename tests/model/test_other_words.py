"""Words of other programs in formulas and in residual= are answered with ours, which can be read as they stand."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup import cli
from remlblup.model.other_words import RESIDUALS, WORDS
from remlblup.structure.table import STRUCTURES

QUOTED = re.compile(r"(residual=)?'([^']+)'")


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = np.arange(60)
    return pd.DataFrame(
        {"y": rng.normal(size=60), "x": rng.uniform(1.0, 2.0, size=60), "id": 1 + n % 10, "pair": 1 + (n + 3) % 10}
    ).assign(f=np.array(list("abc"))[n % 3], t=n // 10, row=n // 6, col=n % 6)


RELATED = {"A": rb.Relationship(np.eye(10) + 0.1, list(range(1, 11)))}


def read(formula: str = "y ~ x", residual: str = "units") -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rb.RemlBlupWarning)
        rb.MixedModel(formula, frame(), RELATED, residual)


@pytest.mark.parametrize("word", [w for w in WORDS if w not in STRUCTURES and w not in ("and", "str")])
@pytest.mark.parametrize(
    "form", ["{}(id)", "(1 | {}(id))", "us(f | {}(id))", "{}(f | id)", "{}(f):id", "(0 + {}(f) | id)"]
)
def test_every_word_is_answered_wherever_it_stands(word, form):
    with pytest.raises(rb.RemlBlupError) as caught:
        read(f"y ~ x + {form.format(word)}")
    assert WORDS[word] in str(caught.value)


@pytest.mark.parametrize("advice", sorted(set(WORDS.values())))
def test_an_answer_can_be_written_as_it_stands(advice):
    """The formula's own reading is the judge."""
    for residual, quoted in QUOTED.findall(advice):
        if residual or "ar1(row)" in quoted:
            read(residual=quoted)
        elif quoted not in ("gau", "sph", "mat"):
            read(f"y ~ {quoted}")


@pytest.mark.parametrize("advice", sorted(set(RESIDUALS.values())))
def test_an_answer_of_residual_can_be_written_as_it_stands(advice):
    for _, quoted in QUOTED.findall(advice):
        if quoted not in ("gau", "sph", "ratio", "lin"):
            read(residual=f"ar1(row):ar1(col) {quoted}" if quoted.startswith("+") else quoted)


@pytest.mark.parametrize(
    ("residual", "ours"),
    [
        ("idv(units)", "write 'units'"),
        ("us(trait):units", "write 'us(trait | units)'"),
        ("units:us(trait)", "write 'us(trait | units)'"),
        ("idh(f):units", "'diag(f | units)'"),
        ("at(f):units", "'diag(f | units)'"),
        ("dsum(~units | f)", "'diag(f | units)'"),
        ("ar1v(row):ar1(col)", "for ar1v() write 'ar1(row):ar1(col)'"),
        ("corAR1(t)", "'ar1(t | id)'"),
        ("nugget", "add '+ units'"),
        ("ped(id)", "belongs to a random term"),
    ],
)
def test_words_in_residual_are_answered(residual, ours):
    with pytest.raises(rb.OptionError, match=re.escape(ours)):
        read(residual=residual)


@pytest.mark.parametrize(
    ("term", "ours"),
    [
        ("us(f):id", "write us(f | g) for us(f):g"),
        ("fa(f, 1):vm(id, A)", "write fa(f | g) for fa(f):g"),
        ("id(id)", "write '(1 | id)'"),
        ("(1 | id(id))", "write '(1 | id)'"),
        ("lin(x)", "write 'x' alone"),
        ("(1 | factor(id))", "behind a bar every column is one"),
        ("(1 | as.factor(id))", "behind a bar every column is one"),
        ("vm(id)", "write the random term as '(1 | vm(id, NAME))', with NAME a key of relationships="),
    ],
)
def test_our_own_words_in_their_grammar_are_answered(term, ours):
    with pytest.raises(rb.FormulaError, match=re.escape(ours)):
        read(f"y ~ x + {term}")


def test_a_function_of_the_user_has_the_word(monkeypatch):
    from remlblup.model.functions import _registered

    monkeypatch.setattr(_registered, "functions", {})
    rb.register_function("dev", lambda x: x - 1.0)
    read("y ~ dev(x)")


def test_the_command_line_names_its_own_options(tmp_path, capsys):
    frame().to_csv(tmp_path / "d.csv", index=False)
    assert cli.main(["fit", str(tmp_path / "d.csv"), "y ~ x + ped(id)"]) == 2
    said = capsys.readouterr().err
    assert "'(1 | vm(id, A))', with A the pedigree or the matrix given by --pedigree A=FILE" in said
