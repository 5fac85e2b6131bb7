"""Files as users have them."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli.factors import likely_factors, make_factors
from remlblup.readers.tables import guess_separator, read_matrix, read_relationships, read_table


@pytest.fixture
def write(tmp_path):
    def put(text: str, name: str = "data.csv", encoding: str = "utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return put


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
def test_separators_are_found_out(write, separator):
    path = write("\n".join(separator.join(r) for r in (["id", "x"], ["a", "1.5"], ["b", "NA"])))
    frame = read_table(path)
    assert list(frame.columns) == ["id", "x"]
    assert frame["x"].tolist()[0] == 1.5 and np.isnan(frame["x"][1])


def test_one_column(write):
    path = write("y\n1\n2\n")
    assert guess_separator(path) == ","
    assert read_table(path)["y"].tolist() == [1, 2]


def test_a_separator_given(write):
    assert read_table(write("a:b\n1:2\n"), ":")["b"].tolist() == [2]
    assert read_table(write("a\tb\n1\t2\n"), r"\t")["b"].tolist() == [2]


def test_decimal_commas(write):
    assert read_table(write("id;x\na;1,5\nb;2\n"))["x"].tolist() == [1.5, 2.0]


def test_codes_keep_their_zeros_and_numbers_are_numbers(write):
    frame = read_table(
        write('id,tag,n,y,z\n"001",1234567890123456789,"1",0.5,.\n"010",1234567890123456788,"2",-1e3,*\n')
    )
    assert frame["id"].tolist() == ["001", "010"]
    assert frame["tag"].tolist() == ["1234567890123456789", "1234567890123456788"]
    assert frame["n"].dtype.kind == "i"
    assert frame["y"].tolist() == [0.5, -1000.0]
    assert frame["z"].isna().all()


def test_stray_text_in_a_column_of_numbers_is_noted(write):
    frame = read_table(write("g,y\na,1\nb,2\nc,oops\nd,4\n"))
    assert frame.attrs["notes"] == ["'y' is read as text because of 'oops' (first in line 4)"]


def test_byte_order_mark_quotes_gzip_and_row_names(write, tmp_path):
    assert list(read_table(write("﻿y,x\n1,2\n")).columns) == ["y", "x"]
    with gzip.open(tmp_path / "d.csv.gz", "wt") as file:
        file.write("y;x\n1;2\n")
    assert read_table(tmp_path / "d.csv.gz")["x"].tolist() == [2]
    frame = read_table(write('"y","x"\n"1",5,6\n"2",7,8\n'))  # R's write.table
    assert frame["y"].tolist() == [5, 7] and isinstance(frame.index, pd.RangeIndex)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "e.csv", "is empty"),
        ("1,2\n3,4\n", "n.csv", "must name the columns"),
        ("x", "s.xlsx", "save it as CSV"),
    ],
)
def test_files_that_are_no_tables(write, text, name, message):
    with pytest.raises(rb.DataError, match=message):
        read_table(write(text, name))


def test_other_encodings_and_absent_files(write, tmp_path):
    with pytest.raises(rb.DataError, match="not in UTF-8"):
        read_table(write("y,x\n1,é\n", encoding="latin-1"))
    with pytest.raises(rb.DataError, match=r"no file .*nosuch\.csv"):
        read_table(tmp_path / "nosuch.csv")
    with pytest.raises(rb.DataError, match="is a folder"):
        read_table(tmp_path)


def test_pedigree(write):
    path = write("calf;bull;cow\n007;;NA\n012;007;0\n", "p.csv")
    pedigree = read_relationships({"A": str(path)}, {}, (), columns="calf, bull, cow")["A"]
    assert pedigree.labels.tolist() == ["007", "012"]
    assert pedigree.sire.tolist() == [-1, 0] and pedigree.dam.tolist() == [-1, -1]
    loop = write("id,sire,dam\na,b,\nb,a,\n", "loop.csv")
    with pytest.raises(rb.PedigreeError, match=r"pedigree A .*loop\.csv"):
        read_relationships({"A": str(loop)}, {}, ())


K = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 1.5]])


@pytest.mark.parametrize(
    "text",
    [
        "id,a,b,c\na,2,0.5,0\nb,0.5,1,0.25\nc,0,0.25,1.5\n",
        "a,b,c\n2,0.5,0\n0.5,1,0.25\n0,0.25,1.5\n",
        "i j v\na a 2\nb a 0.5\nb b 1\nc b 0.25\nc c 1.5\n",
        "i,j,v\na,a,2\nb,a,0.5\na,b,0.5\nb,b,1\nc,b,0.25\nb,c,.25\nc,c,1.5\n",
    ],
)
def test_matrices(write, text):
    matrix = read_matrix(str(write(text)), False)
    assert list(matrix.labels) == ["a", "b", "c"]
    np.testing.assert_allclose(matrix.dense(), K)
    inverse = read_matrix(str(write(text)), True)
    np.testing.assert_allclose(inverse.dense(), np.linalg.inv(K), atol=1e-12)


def test_relationship_options():
    with pytest.raises(rb.OptionError, match="--inverse names 'G'"):
        read_relationships({}, {"A": "x"}, ["G"])
    with pytest.raises(rb.OptionError, match="'A' is given twice, as pedigree"):
        read_relationships({"A": "x"}, {"A": "y"}, ())


def test_factors():
    frame = pd.DataFrame({"sex": [2, 1, 2], "year": [2001.0, np.nan, 1999.0], "y": [1.0, 2.0, 3.0]})
    made = make_factors(frame, ["sex", "year"])
    assert made["sex"].cat.categories.tolist() == [1, 2]
    assert made["year"].cat.categories.tolist() == [1999, 2001]
    assert made["year"].isna().tolist() == [False, True, False]
    assert frame["sex"].dtype.kind == "i"  # the frame given is left alone
    with pytest.raises(rb.DataError, match=r"--factor names 'sx'.*'sex', 'year', 'y'"):
        make_factors(frame, ["sx"])


def test_integer_covariates_that_may_be_factors():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"sex": rng.integers(1, 3, 60), "flag": rng.integers(0, 2, 60), "g": rng.integers(0, 6, 60)})
    data["herd"], data["weight"], data["y"] = rng.integers(1, 5, 60), np.arange(60), rng.normal(size=60)
    model = rb.MixedModel("y ~ sex + flag + C(herd) + weight + (1 | g)", data)
    assert likely_factors(model.specification) == {"sex": 2}
    model = rb.MixedModel("y ~ sex:herd + (1 | g)", make_factors(data, ["sex"]))
    assert likely_factors(model.specification) == {"herd": len(set(data["herd"]))}


def test_pedigree_columns(write):
    file = str(write("beast,cow,bull\na,0,0\nb,0,a\n", "ped.csv"))
    with pytest.raises(rb.PedigreeError, match="its columns are 'beast', 'cow', 'bull'"):
        read_relationships({"A": file}, {}, ())
    A = read_relationships({"A": file}, {}, (), columns="beast,bull,cow")["A"]
    assert A.sire.tolist() == [-1, 0]
    with pytest.raises(rb.OptionError, match="must name three columns"):
        read_relationships({"A": file}, {}, (), columns="beast,bull")
    with pytest.raises(rb.OptionError, match="--pedigree gives none"):
        read_relationships({}, {}, (), columns="a,b,c")
    with pytest.raises(rb.PedigreeError, match="no column 'sow'"):
        read_relationships({"A": file}, {}, (), columns="beast,bull,sow")


def test_genotypes_and_groups(tmp_path):
    text = tmp_path / "markers.txt"
    text.write_text("a 0120\nb 1021\nc 2210\nd 0011\n")
    G = read_relationships({}, {}, (), genotypes={"G": str(text)})["G"]
    M = np.array([[0, 1, 2, 0], [1, 0, 2, 1], [2, 2, 1, 0], [0, 0, 1, 1]], dtype=float)
    p = M.mean(axis=0) / 2
    np.testing.assert_allclose(G.dense(), (M - 2 * p) @ (M - 2 * p).T / (2 * p * (1 - p)).sum(), atol=1e-12)
    assert G.labels.tolist() == ["a", "b", "c", "d"]
    with pytest.raises(rb.OptionError, match="use two names"):
        read_relationships({}, {"G": "x"}, (), genotypes={"G": str(text)})
    ped = tmp_path / "ped.csv"
    ped.write_text("id,sire,dam\na,g1,g1\nb,a,g1\n")
    assert read_relationships({"A": str(ped)}, {}, (), groups=["g1"])["A"].groups.tolist() == ["g1"]
    with pytest.raises(rb.OptionError, match="--groups"):
        read_relationships({}, {}, (), groups=["g1"])


# -- separators that a user names --------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sep", ["ab", "::", ", ", r"\s*,\s*", "(", "a|b", "\t\t", ",\n", '""', "[,;]"])
def test_a_separator_of_several_characters_is_refused(tmp_path, sep):
    path = tmp_path / "d.csv"
    path.write_text("y,x\n1,2\n3,4\n")
    if len(sep) == 1:
        sep *= 2
    with pytest.raises(rb.OptionError, match=r"--sep .* has \d characters"):
        read_table(path, sep)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sep", ["", "\n", "\r", '"', "\0", "½", "é", "\ud800", 1, b",", [","]])
def test_what_sets_no_columns_apart_is_refused(tmp_path, sep):
    path = tmp_path / "d.csv"
    path.write_text("y,x\n1,2\n3,4\n")
    with pytest.raises(rb.OptionError, match="--sep"):
        read_table(path, sep)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("sep", [*".|^$*+?()[]{}\\'#~;:,/&%@!= _az", "\t", r"\t", r"\s+"])
def test_a_separator_is_no_regular_expression(tmp_path, sep):
    """Quoted cells may hold it; one line more, or pandas would not know that the first names the columns."""
    path, mark = tmp_path / "d.csv", {r"\t": "\t", r"\s+": "  "}.get(sep, sep)
    path.write_text(f'"y"{mark}"x{mark}1"\n1{mark}2\n3{mark}4\n')
    expected = pd.DataFrame({"y": [1, 3], f"x{mark}1": [2, 4]})
    pd.testing.assert_frame_equal(read_table(path, sep), expected, check_dtype=False)
