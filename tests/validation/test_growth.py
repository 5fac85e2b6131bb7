"""The benchmark of growth runs, on its smallest points."""

from __future__ import annotations

import csv

import pytest

from remlblup.validation.benchmarks import growth


def test_points_are_printed_written_and_drawn(tmp_path, capsys):
    table, picture = tmp_path / "growth.csv", tmp_path / "growth.png"
    options = ["--series", "traits", "dense", "--largest", "2", "--out", str(table), "--plot", str(picture)]
    assert growth.main(options) == 0
    printed = capsys.readouterr().out
    assert "traits: time ~ size^" in printed and "dense" not in printed
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["size"]) for row in rows] == [1, 2] and all(float(row["seconds"]) > 0.0 for row in rows)
    assert picture.read_bytes()[1:4] == b"PNG"


def test_the_exponent_is_that_of_the_upper_half():
    sizes = [1.0, 2.0, 4.0, 8.0]
    assert growth.exponent(sizes, [5.0, 5.0, 16.0, 64.0]) == pytest.approx(2.0)
