"""The command line tells lines of files, the header being line 1, where Python tells rows of frames by their labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main
from remlblup.cli.options import in_lines
from remlblup.readers.tables import read_table

DATA = "id,y,w,x\n1,1.5,1,2\n2,2.5,0,3\n3,0.5,1,4\n4,1.0,-1,5\n5,2.0,1,6\n"
AT = " (the header is line 1, empty lines not counted)"


def line_of(file, text):
    """Found by reading the file as text."""
    return file.read_text(encoding="utf-8").splitlines().index(text) + 1


def test_rows_of_data(tmp_path, capsys):
    file = tmp_path / "d.csv"
    file.write_text(DATA, encoding="utf-8")
    with pytest.raises(rb.DataError, match=r"'w' is not in row\(s\) 1, 3:"):
        rb.MixedModel("y ~ x + (1 | id)", read_table(file), weights="w")
    assert main(["fit", str(file), "y ~ x + (1 | id)", "--weights", "w"]) == 2
    lines = f"{line_of(file, '2,2.5,0,3')}, {line_of(file, '4,1.0,-1,5')}"
    assert f"'w' is not in line(s) {lines}{AT}:" in capsys.readouterr().err


def test_rows_that_repeat_others(tmp_path, capsys):
    file = tmp_path / "d.csv"
    rows = [f"{k % 6},{y:.3f}" for k, y in enumerate(np.random.default_rng(1).normal(size=30))]
    file.write_text("\n".join(["id,y", *rows, *rows[4:7]]) + "\n", encoding="utf-8")
    main(["fit", str(file), "y ~ 1 + (1 | id)", "--out", str(tmp_path / "out")])
    said = "".join(capsys.readouterr())
    assert "3 records repeat others" in said and f"line(s) 32, 33, 34{AT}" in said
    assert file.read_text(encoding="utf-8").splitlines()[31:] == rows[4:7]


def test_rows_of_a_pedigree(tmp_path, capsys):
    data, file = tmp_path / "d.csv", tmp_path / "p.csv"
    data.write_text(DATA, encoding="utf-8")
    file.write_text("id,sire,dam\n1,,\n,1,\n3,1,\n", encoding="utf-8")
    with pytest.raises(rb.PedigreeError, match=r"1 row of the pedigree has no animal id \(row 1, counting from 0;"):
        rb.Pedigree.from_frame(pd.read_csv(file))
    given = "--pedigree", f"A={file}"
    assert main(["fit", str(data), "y ~ x + (1 | vm(id, A))", *given]) == 2
    said = capsys.readouterr().err
    assert f"has no animal id (line(s) {line_of(file, ',1,')}{AT};" in said
    file.write_text("id,sire,dam\n1,,\n2,,\n3,1,\n3,2,\n", encoding="utf-8")
    assert main(["fit", str(data), "y ~ x + (1 | vm(id, A))", *given]) == 2
    said = capsys.readouterr().err
    assert f"line {line_of(file, '3,1,')}: 1 x" in said and f"line {line_of(file, '3,2,')}: 2 x" in said


def test_labels_that_are_no_rows_of_the_file_stay():
    said = "1 of 3 means cannot be estimated from these data: row(s) 2. In the records …"
    assert in_lines(said) == said
    assert in_lines("wrong in row(s) 0, 4 and 12 more: correct") == f"wrong in line(s) 2, 6 and 12 more{AT}: correct"
