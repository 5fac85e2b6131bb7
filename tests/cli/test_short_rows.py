"""Rows with fewer cells than the first line has names are told with their lines, of every file that is read."""

from __future__ import annotations

import gzip

import pytest

import remlblup as rb
from remlblup.cli import main
from remlblup.readers.tables import read_table

SHORT = r"2 lines are shorter than the first line of .*, which has 3 cells: line 3 \(2 cells\), 6 \(1 cell\)"


@pytest.mark.parametrize("mark", [",", ";", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("packed", [False, True])
def test_short_rows_are_told(tmp_path, mark, ends, packed):
    text = ends.join(["y,x,g", "1,2,a", "3,4", "", "5,6,b", "7", ""]).replace(",", mark)
    file = tmp_path / ("d.csv.gz" if packed else "d.csv")
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    with pytest.warns(rb.RemlBlupWarning, match=SHORT):
        frame = read_table(file, mark)
    assert frame["g"].isna().tolist() == [False, True, False, True]


def test_a_quoted_end_of_line_is_none(tmp_path):
    (tmp_path / "d.csv").write_text('y,x,g\n1,2,"a\nb"\n3,4\n', encoding="utf-8")
    with pytest.warns(rb.RemlBlupWarning, match=r"1 line is shorter .*: line 4 \(2 cells\)"):
        read_table(tmp_path / "d.csv")


def test_between_blanks_nobody_can_tell(tmp_path):
    (tmp_path / "d.txt").write_text("id sire dam\n1 0 0\n2 1\n3 0 0\n", encoding="utf-8")
    with pytest.raises(rb.DataError, match=r"1 line is shorter .*: line 3 \(2 cells\).*Write NA"):
        read_table(tmp_path / "d.txt")


@pytest.mark.parametrize(
    "text", ["y,x,g\n1,2,a\n3,4,\n", "y,x,g\n1,2,a\n\n3,4,b\n", ",x,g\n1,2,\n", "x,g\nr,1,\ns,2,b\n"]
)
def test_empty_cells_and_lines_are_no_short_rows(tmp_path, recwarn, text):
    (tmp_path / "d.csv").write_text(text, encoding="utf-8")
    read_table(tmp_path / "d.csv")
    assert not recwarn.list


def test_the_command_line_says_it_of_data_and_pedigree(tmp_path, capsys):
    data, pedigree = tmp_path / "d.csv", tmp_path / "p.csv"
    rows = "\n".join(f"{1 + k % 5},{(k * 7) % 11}.5,{'ab'[k % 2]}" for k in range(20))
    data.write_text(f"id,y,g\n{rows}\n3,1.5\n", encoding="utf-8")
    pedigree.write_text("id,sire,dam\n1,0,0\n2,0\n3,1,2\n4,1,2\n5,0,0\n", encoding="utf-8")
    given = "--pedigree", f"A={pedigree}", "--variances", "vm(id, A)=1", "residual=1"
    assert main(["blup", str(data), "y ~ g + (1 | vm(id, A))", *given]) == 0
    notes = capsys.readouterr().err
    assert f"note: 1 line is shorter than the first line of {data}, which has 3 cells: line 22 (2 cells)" in notes
    assert f"note: 1 line is shorter than the first line of {pedigree}, which has 3 cells: line 3 (2 cells)" in notes
