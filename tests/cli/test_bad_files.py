"""Files without names, empty, ragged, or with another separator: refused in words that say what is wrong with them."""

from __future__ import annotations

import pytest

from remlblup.cli import main
from remlblup.errors import DataError, RemlBlupError
from remlblup.readers.tables import read_relationship, read_relationships, read_table

HEADERLESS = {
    "pedigree of founders": "1,0,0\n2,0,0\n3,1,2\n",
    "pedigree": "3,1,2\n4,1,2\n5,3,4\n",
    "pedigree with blanks": "cow 0 0\nbull 0 0\ncalf bull cow\n",
    "matrix": "1.0,0.0,0.0\n0.0,1.0,0.5\n0.0,0.5,1.0\n",
    "matrix of small numbers": "1e0;2.5E-1\n2.5E-1;1\n",
    "data": "1.5,2,1\n2.5,3,1\n1.25,5,2\n",
}


def of_relationships(path):
    return read_relationships({"A": str(path)}, {}, ())


def of_matrices(path):
    return read_relationships({}, {"A": str(path)}, ())


@pytest.mark.parametrize("text", HEADERLESS.values(), ids=HEADERLESS)
@pytest.mark.parametrize("read", [read_table, read_relationship, of_relationships, of_matrices])
def test_without_a_line_of_names(tmp_path, read, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=r"first line of .*p\.csv holds numbers, .*animal,sire,dam.*levels of a matrix"):
        read(tmp_path / "p.csv")


def test_names_that_occur_twice(tmp_path):
    (tmp_path / "p.csv").write_text("y,sire,sire\n1,a,b\n")
    with pytest.raises(DataError, match=r"columns of the same name: 'sire'\. Rename them; if its first line is data"):
        read_table(tmp_path / "p.csv")


def test_animals_in_the_place_of_names(tmp_path):
    (tmp_path / "p.csv").write_text("F3,F1,F2\nF4,F1,F2\n")
    with pytest.raises(RemlBlupError, match="If these are animals, its first row was taken for names"):
        of_relationships(tmp_path / "p.csv")


OTHERS = {
    "empty": ("", "d.csv is empty: it must hold a line of names"),
    "blank lines": ("\n\n", "d.csv is empty"),
    "too many cells": ("y,x\n1,2\n1,2\n3,4,5\n", "line 4 has 3 cells, and those before it 2"),
    "a quotation mark": ('y,x\n1,2\n"3,4\n5,6\n', r"quotation mark in line 3 is never closed\.$"),
}


@pytest.mark.parametrize("text, told", OTHERS.values(), ids=OTHERS)
def test_other_faults(tmp_path, capsys, text, told):
    path = tmp_path / "d.csv"
    path.write_text(text)
    for read in (read_table, read_relationship, of_relationships, of_matrices):
        with pytest.raises(DataError, match=told) as error:
            read(path)
        assert "C error" not in str(error.value)
    assert main(["fit", str(path), "y ~ x"]) == 2
    assert "Give its separator" not in capsys.readouterr().err


SEPARATORS = {",": "','", "\t": "tabs", "|": r"'\|'", " ": "blanks"}


@pytest.mark.parametrize("separator, named", SEPARATORS.items())
def test_a_separator_by_which_there_is_one_column(tmp_path, separator, named):
    path = tmp_path / "d.csv"
    path.write_text("".join(separator.join(line) + "\n" for line in ("yxz", "123", "456")))
    with pytest.raises(DataError, match=rf"one column where ';' is the separator, .*looks like one with {named} betw"):
        read_table(path, ";")
    assert read_table(path, separator if separator != " " else r"\s+").shape == (2, 3)


@pytest.mark.parametrize("text, sep", [("y\n1,5\n2,5\n", ";"), ("y\n1\n2\n", ","), ("a long name\n1\n2\n", ";")])
def test_one_column_is_one(tmp_path, text, sep):
    (tmp_path / "d.csv").write_text(text)
    assert read_table(tmp_path / "d.csv", sep).shape == (2, 1)


@pytest.mark.parametrize("text, notes", [
    ("sex,y\nM,1\nM ,2\nF\t,3\n", ["'sex': blanks behind 'M ', 'F\\t' are left out"]),
    ("sex,y\nM ,1\nF ,2\nF ,3\n", []),
    ("sex,y\n01 ,1\n01,2\n02,3\n", ["'sex': blanks behind '01 ' are left out"]),
])  # fmt: skip
def test_blanks_behind_text(tmp_path, text, notes):
    (tmp_path / "d.csv").write_text(text)
    frame = read_table(tmp_path / "d.csv", ",")
    assert frame["sex"].nunique() == 2 and all(v == v.strip() for v in frame["sex"])
    assert frame.attrs["notes"] == notes and frame["y"].tolist() == [1, 2, 3]
