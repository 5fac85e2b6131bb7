"""Names of files where a frame, a pedigree or a matrix may stand; spreadsheets."""

from __future__ import annotations

import bz2
import lzma
import sys

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.cli import main
from remlblup.readers.tables import read_relationship, read_table

FORMULA = "gain ~ 0 + sex + (1 | vm(animal, A))"


def calves() -> pd.DataFrame:
    data = rb.datasets.load("mrode_weaning")
    return data.assign(animal=["004", "005", "006", "007", "008"], extra=[1, np.nan, 3.5, 4, 5])


def pedigree() -> pd.DataFrame:
    table = rb.datasets.mrode_pedigree().astype(object)
    return table.map(lambda v: None if pd.isna(v) else f"00{v}")


WRITERS = {
    "d.csv": lambda f, p: f.to_csv(p, index=False),
    "d.tsv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "d.csv.gz": lambda f, p: f.to_csv(p, index=False),
    "d.csv.bz2": lambda f, p: f.to_csv(p, index=False, sep=";"),
    "d.txt.xz": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "d.parquet": lambda f, p: f.to_parquet(p),
    "d.feather": lambda f, p: f.to_feather(p),
    "d.xlsx": lambda f, p: f.to_excel(p, index=False),
    "D.XLSX": lambda f, p: f.to_excel(p, index=False),
}


def needs(name: object) -> None:
    """Skip where the package that reads or writes such a file is not installed."""
    suffix = str(name).lower().rpartition(".")[2]
    package = {"parquet": "pyarrow", "feather": "pyarrow", "xlsx": "openpyxl"}.get(suffix)
    if package is not None:
        pytest.importorskip(package)


def write(name: str, frame: pd.DataFrame, folder) -> str:
    needs(name)
    path = folder / name
    if name == "D.XLSX":
        frame.to_excel(folder / "lower.xlsx", index=False)
        (folder / "lower.xlsx").rename(path)
    else:
        WRITERS[name](frame, path)
    return str(path)


@pytest.mark.parametrize("kind", [str, "path"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_the_frame_and_the_pedigree_in_it(tmp_path, name, kind):
    from pathlib import Path

    (tmp_path / "p").mkdir()
    as_given = str if kind is str else Path
    data, ped = as_given(write(name, calves(), tmp_path)), as_given(write(name, pedigree(), tmp_path / "p"))
    known = {"vm(animal, A)": 20, "residual": 40}
    expected = rb.MixedModel(FORMULA, calves(), {"A": rb.Pedigree.from_frame(pedigree())}).solve(known)
    solved = rb.MixedModel(FORMULA, data, {"A": ped}).solve(known)
    pd.testing.assert_frame_equal(solved.random_effects, expected.random_effects)
    assert solved.random_effects["level"].tolist() == [f"00{k}" for k in range(1, 9)]  # codes keep their zeros
    assert solved.fixed_effects["estimate"].tolist() == pytest.approx([3.40443010, 4.35850233], abs=1e-6)
    new = solved.predict(data)["prediction"]
    assert new.tolist() == pytest.approx(solved.fitted.tolist())
    assert (
        main(["blup", str(data), FORMULA, "--pedigree", f"A={ped}", "--variances", "vm(animal, A)=20", "residual=40"])
        == 0
    )


def matrix_frame() -> pd.DataFrame:
    A = rb.Pedigree.from_frame(pedigree())
    return pd.DataFrame(A.dense(), index=A.labels, columns=A.labels)


@pytest.mark.parametrize("form", ["square", "labelled", "triplets"])
@pytest.mark.parametrize("suffix", [".csv", ".xlsx", ".parquet"])
def test_a_file_is_the_matrix_in_it(tmp_path, form, suffix):
    needs(suffix)
    K, data = matrix_frame(), calves()
    if form == "square":  # a first line of numbers names no columns
        K, data = K.rename(index=lambda v: f"a{v}", columns=lambda v: f"a{v}"), data.assign(animal="a" + data["animal"])
    table = K.rename_axis("id").reset_index() if form != "square" else K.reset_index(drop=True)
    if form == "triplets":
        table = K.rename_axis("i").reset_index().melt("i", var_name="j", value_name="v")
    path = tmp_path / f"K{suffix}"
    {
        ".csv": lambda: table.to_csv(path, index=False),
        ".xlsx": lambda: table.to_excel(path, index=False),
        ".parquet": lambda: table.to_parquet(path),
    }[suffix]()
    known = {"vm(animal, A)": 20, "residual": 40}
    expected = rb.MixedModel(FORMULA, data, {"A": K}).solve(known).random_effects.set_index("level")["estimate"]
    solved = rb.MixedModel(FORMULA, data, {"A": path}).solve(known).random_effects.set_index("level")["estimate"]
    np.testing.assert_allclose(solved[expected.index], expected, rtol=1e-9)


def test_a_matrix_over_effects_may_be_a_file_and_is_kept(tmp_path):
    orthodont = rb.datasets.load("orthodont")
    ages = sorted(orthodont["age"].unique())
    C = pd.DataFrame(0.5 ** abs(np.subtract.outer(range(4), range(4))), index=ages, columns=ages)
    C.rename_axis("age").reset_index().to_csv(tmp_path / "C.csv", index=False)
    formula = "distance ~ age + known(age | Subject, matrix=C)"
    by_file = rb.MixedModel(formula, orthodont, {"C": tmp_path / "C.csv"}).fit()
    assert by_file.loglik == pytest.approx(rb.MixedModel(formula, orthodont, {"C": C}).fit().loglik, abs=1e-8)
    assert rb.load(by_file.save(tmp_path / "fit")).loglik == by_file.loglik


def test_files_for_fit_many(tmp_path):
    data = calves().assign(other=[1.0, 3.0, 2.0, 5.0, 4.0])
    files = write("d.csv", data, tmp_path), {"A": write("d.tsv", pedigree(), tmp_path)}
    right, names = "~ 1 + (1 | vm(animal, A))", ["gain", "other"]
    by_file = rb.fit_many(right, files[0], names, files[1])
    by_frame = rb.fit_many(right, data, names, {"A": rb.Pedigree.from_frame(pedigree())})
    for name in names:
        assert by_file[name].loglik == pytest.approx(by_frame[name].loglik, abs=1e-9)


@pytest.mark.parametrize(
    ("data", "relationships", "error", "message"),
    [
        ("nosuch.csv", None, rb.DataError, "there is no file 'nosuch.csv'"),
        (".", None, rb.DataError, "is a folder"),
        ("good.csv", {"A": "nosuch.csv"}, rb.DataError, "Relationship 'A': there is no file"),
        ("good.csv", {"A": "g.bed"}, rb.RelationshipError, r"rb\.genomic_relationship"),
        ("good.csv", {"A": "loop.csv"}, rb.PedigreeError, "Relationship 'A'"),
        ("good.csv", {"A": "text.csv"}, rb.RelationshipError, "Relationship 'A'.*text.csv"),
        ("broken.xlsx", None, rb.DataError, "cannot be read as a spreadsheet.*save it as CSV"),
        ("old.xls", None, rb.DataError, r"save it as \.xlsx or CSV"),
        ("broken.parquet", None, rb.DataError, "cannot be read"),
        ("broken.csv.gz", None, rb.DataError, "cannot be read"),
        ("d.zip", None, rb.DataError, "unpack it"),
    ],
)
def test_files_that_are_not_what_they_should_be(tmp_path, monkeypatch, data, relationships, error, message):
    needs(data)
    monkeypatch.chdir(tmp_path)
    write("d.csv", calves(), tmp_path)
    (tmp_path / "d.csv").rename("good.csv")
    (tmp_path / "loop.csv").write_text("id,sire,dam\na,b,\nb,a,\n")
    (tmp_path / "text.csv").write_text("id,p,q\np,1,x\nq,x,1\n")
    for name in ("broken.xlsx", "old.xls", "broken.parquet", "broken.csv.gz", "d.zip", "g.bed"):
        (tmp_path / name).write_bytes(b"not at all")
    with pytest.raises(error, match=message):
        rb.MixedModel(FORMULA, data, relationships or {"A": pedigree()})


def test_cells_of_a_spreadsheet(tmp_path):
    """Numbers, text that looks like numbers, dates and stray text are what they are in a CSV."""
    needs("d.xlsx")
    frame = pd.DataFrame(
        {
            "n": [1, 2, 3, 4],
            "x": [0.5, None, 1e300, -2],
            "code": ["007", "010", "011", "1"],
            "text": ["1", "2", "3", "4"],
            "stray": [1.5, "oops", 2.5, "."],
            "day": pd.to_datetime(["2024-01-02"] * 4),
            "flag": [True, False] * 2,
        }
    )
    path = tmp_path / "d.xlsx"
    with pd.ExcelWriter(path) as book:
        frame.to_excel(book, sheet_name="Data", index=False, startrow=2)
        frame.to_excel(book, sheet_name="Other", index=False)
    read = read_table(path)
    assert read["n"].tolist() == [1, 2, 3, 4] and read["n"].dtype.kind == "i"
    assert read["x"].tolist()[2:] == [1e300, -2.0] and np.isnan(read["x"][1])
    assert read["code"].tolist() == frame["code"].tolist()
    assert read["text"].tolist() == [1, 2, 3, 4]
    assert read["day"].tolist() == frame["day"].tolist() and read["flag"].dtype == bool
    notes = read.attrs["notes"]
    assert any("first sheet, 'Data'" in n and "'Other'" in n for n in notes)
    assert any("'stray' is read as text because of 'oops'" in n for n in notes)
    with pytest.warns(UserWarning, match="first sheet, 'Data'"):
        rb.MixedModel("n ~ 1 + (1 | code)", path)


@pytest.mark.parametrize("rows", [[["a", "a"], [1, 2]], [["a", None], [1, 2]], [[1, 2], [3, 4]], []])
def test_spreadsheets_without_names(tmp_path, rows):
    needs("d.xlsx")
    pd.DataFrame(rows).to_excel(tmp_path / "d.xlsx", index=False, header=False)
    with pytest.raises(rb.DataError, match=r"d\.xlsx"):
        read_table(tmp_path / "d.xlsx")


def test_without_openpyxl_the_extra_is_named(tmp_path, monkeypatch):
    needs("d.xlsx")
    calves().to_excel(tmp_path / "d.xlsx", index=False)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(rb.DependencyError, match=r"remlblup\[excel\]"):
        read_table(tmp_path / "d.xlsx")


def test_compressed_files_cut_short(tmp_path):
    for name, opener in (("d.csv.bz2", bz2.open), ("d.csv.xz", lzma.open)):
        with opener(tmp_path / name, "wt") as file:
            file.write("y,x\n" + "1,2\n" * 5000)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(rb.DataError, match="cannot be read"):
            read_table(tmp_path / name)


def test_a_relationship_in_a_file_of_any_form(tmp_path):
    (tmp_path / "p.csv").write_text("id;sire;dam\n007;;NA\n012;007;0\n")
    assert isinstance(read_relationship(tmp_path / "p.csv"), pd.DataFrame)
    (tmp_path / "k.csv").write_text("i,j,v\na,a,1\nb,b,1.5\nc,c,1\nb,a,.5\n")
    assert read_relationship(tmp_path / "k.csv").labels.tolist() == ["a", "b", "c"]


def test_a_solution_is_not_written_into_the_folder_of_a_fit(tmp_path, capsys):
    data = write("d.csv", calves(), tmp_path)
    ped = write("d.tsv", pedigree(), tmp_path)
    assert main(["fit", data, FORMULA, "--pedigree", f"A={ped}", "--out", str(tmp_path / "out"), "--quiet"]) in (0, 1)
    before = (tmp_path / "out" / "random_effects.csv").read_bytes()
    code = main(
        [
            "blup",
            data,
            FORMULA,
            "--pedigree",
            f"A={ped}",
            "--variances",
            "vm(animal, A)=20",
            "residual=40",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert code == 2 and "holds a saved fit" in capsys.readouterr().err
    assert (tmp_path / "out" / "random_effects.csv").read_bytes() == before


def test_plots_of_an_earlier_fit_do_not_stay(tmp_path):
    """The folder of a second fit is what it would be without the first."""
    data = write("d.csv", rb.datasets.load("sleepstudy"), tmp_path)
    slopes, plain = "Reaction ~ Days + (1 + Days | Subject)", "Reaction ~ Days + (1 | Subject)"
    for formula, out in ((slopes, "reused"), (plain, "reused"), (plain, "alone")):
        assert main(["fit", data, formula, "--out", str(tmp_path / out), "--quiet"]) == 0
    names = [sorted(p.name for p in (tmp_path / out).rglob("*")) for out in ("reused", "alone")]
    assert names[0] == names[1] and "random_effects.png" in names[0]


@pytest.mark.parametrize("escape", [True, False])
def test_tables_of_the_command_line_are_harmless(tmp_path, escape):
    frame = pd.DataFrame({"g": ["=a", "-b", "c"] * 4, "y": np.random.default_rng(1).normal(size=12)})
    data = write("d.csv", frame, tmp_path)
    more = [] if escape else ["--no-escape"]
    assert (
        main(["blup", data, "y ~ 1 + (1 | g)", "--variances", "g=1", "residual=1", "--out", str(tmp_path / "b"), *more])
        == 0
    )
    assert main(["fit", data, "y ~ 1 + (1 | g)", "--quiet", "--out", str(tmp_path / "f"), *more]) == 0
    for folder in "bf":
        levels = pd.read_csv(tmp_path / folder / "random_effects.csv")["level"].tolist()
        assert levels == (["'-b", "'=a", "c"] if escape else ["-b", "=a", "c"])
