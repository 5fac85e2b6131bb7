"""Parents without a row of their own: told of where they read like another animal, counted in every case."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main
from remlblup.errors import RemlBlupWarning
from remlblup.relationship.pedigree.spelling import spelled_plainly
from remlblup.storage.pedigree import pedigree_from_csv, pedigree_to_csv

TOLD = "without a row of (its|their) own reads? like another animal"
SPELLINGS = {
    "case": ("F0049", "f0049"),
    "capitals": ("Bella", "BELLA"),
    "blanks": ("NL 123 456", "NL123456"),
    "tabs": ("NL\t1", "NL 1"),
    "zeros": ("0049", "49"),
    "zeros behind a letter": ("F49", "F0049"),
    "floats": ("1306", "1306.0"),
    "number and text": (1306, "01306"),
    "number and float": (1306, "1306.0"),
    "all of it": ("NL 0049", "nl49.0"),
    "lines": ("a\nb", "A\nb"),
}


@pytest.mark.parametrize("own, parent", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("make", [rb.Pedigree, rb.Pedigree.from_maternal_grandsires])
def test_a_parent_that_is_another_animal_but_for_its_spelling(own, parent, turned, make):
    own, parent = (parent, own) if turned else (own, parent)
    with pytest.warns(RemlBlupWarning, match=TOLD) as told:
        pedigree = make([own, "x", "y"], [None, parent, None], [None, None, None])
    assert f"{parent!r} ({own!r})" in str(told[0].message) and "1 parent" in str(told[0].message)
    assert pedigree.added.tolist() == [parent] and len(set(map(str, pedigree.labels))) == 4


def test_two_added_parents_that_read_alike():
    with pytest.warns(RemlBlupWarning, match="2 parents .*'Bull' .'bull'., 'bull' .'Bull'."):
        rb.Pedigree(["x", "y"], ["Bull", "bull"], [None, None])


def test_a_few_examples_and_the_number():
    ids = [f"F{k:04}" for k in range(60)]
    with pytest.warns(RemlBlupWarning, match=r"60 parents .*'f0000' \('F0000'\).* and 56 more"):
        rb.Pedigree([*ids, *(f"x{k}" for k in range(60))], [None] * 60 + [i.lower() for i in ids], [None] * 120)


APART = [("A1", "A10"), ("1.5", "1.05"), ("A1", "1"), ("a-b", "ab"), ("10", "1"), ("x.00y", "x.y"), (1306, 130600)]


@pytest.mark.parametrize("own, parent", APART)
def test_other_parents_are_other_animals(own, parent):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rb.Pedigree([own, "x"], [None, parent], [None, None]).n_added == 1
        groups = rb.Pedigree(["x"], [own], [str(own) + "g"], groups=[own, str(own) + "g"])
        assert not len(groups.added) and "row" not in groups.note


def test_animals_with_rows_of_their_own_may_read_alike():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rb.Pedigree(["F1", "f1", "x"], [None, None, "f1"], [None, None, "b"])


def test_labels_one_by_one_and_together():
    labels = np.array(["Ab 01", "x\ny", "007.0", "", "0"], dtype=object)
    assert spelled_plainly(labels) == ["ab1", "xy", "7", "", "0"]
    assert spelled_plainly(labels[[0, 2, 3, 4]]) == ["ab1", "7", "", "0"]


@pytest.fixture
def flock():
    pedigree = pd.DataFrame({"id": [*"abcdef"], "sire": ["s", "s", "s", "t", "t", None], "dam": [*"uuvvww"]})
    data = pd.DataFrame({"y": np.arange(12.0) ** 2, "id": [*"abcdef"] * 2})
    return data, pedigree


def test_the_number_in_the_description(flock, tmp_path):
    data, table = flock
    pedigree = rb.Pedigree.from_frame(table)
    assert pedigree.note.startswith("5 parents without a row are added as founders ('s', ")
    model = rb.MixedModel("y ~ (1 | vm(id, A))", data, {"A": pedigree})
    assert f"; {pedigree.note}" in str(model.describe())
    assert rb.Pedigree(["x"], ["y"], [None]).note == "1 parent without a row is added as a founder ('y')"
    assert rb.Pedigree(["x", "y"], ["y", None], [None, None]).note == ""
    assert pedigree.prune(["f"]).note.startswith("1 parent")
    text, saved = pedigree_to_csv(pedigree, False)
    assert pedigree_from_csv(saved, text.encode()).note == pedigree.note


def test_of_single_step(flock):
    pedigree = rb.Pedigree.from_frame(flock[1])
    H = rb.SingleStep(pedigree, (np.array([[1.1, 0.6], [0.6, 1.0]]), ["a", "b"]), alpha=1, beta=0, tune=0)
    assert H.note == pedigree.note


def test_a_note_on_the_command_line(flock, tmp_path, capsys):
    data, table = flock
    data.to_csv(tmp_path / "d.csv", index=False)
    table.replace("u", "A").to_csv(tmp_path / "p.csv", index=False)
    command = ["blup", str(tmp_path / "d.csv"), "y ~ (1 | vm(id, A))", "--pedigree", f"A={tmp_path / 'p.csv'}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main([*command, "--variances", "vm(id, A)=2", "residual=1"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert any("pedigree A: 5 parents without a row are added as founders" in note for note in notes)
    assert any(
        "1 parent without a row of its own reads like another animal" in note and "'A' ('a')" in note for note in notes
    )
    assert not any("dtype" in note for note in notes)
    assert main([*command, "--variances", "vm(id, A)=2", "residual=1", "--quiet"]) == 0
    assert "note" not in capsys.readouterr().err
