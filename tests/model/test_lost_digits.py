"""Labels as floats of 2⁵³ or more, long national numbers in a column with a gap, are refused wherever labels stand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup import errors
from remlblup.cli import main
from remlblup.readers.tables import read_relationship, read_relationships
from remlblup.relationship.labels import canonical, tidy

BASE = 840003000000000000
IDS = BASE + 1 + 7 * np.arange(6)
TOLD = "last digits are lost.*dtype=str.*'Int64'"
FLOATS = {
    "float64": lambda v: pd.Series(v, dtype=float),
    "float with a gap": lambda v: pd.Series([*v[:-1], np.nan], dtype=float),
    "objects": lambda v: pd.Series([float(v[0]), *map(str, v[1:])], dtype=object),
    "objects that are floats": lambda v: pd.Series([*map(float, v[:-1]), None], dtype=object),
    "categories": lambda v: pd.Series(v, dtype=float).astype("category"),
    "nullable": lambda v: pd.Series(v, dtype=float).astype("Float64"),
}


@pytest.fixture(params=FLOATS)
def floats(request):
    return FLOATS[request.param]


@pytest.mark.parametrize("read", [canonical, tidy])
@pytest.mark.parametrize("label", [2.0**53, -(2.0**53), 2.0**53 + 2, 8.4e17, np.float32(2.0**24), np.float64(1e300)])
@pytest.mark.parametrize("rest", [[], [None], ["a"], [1.5]])
def test_wherever_labels_are_read(read, label, rest):
    with pytest.raises(errors.RelationshipError, match=TOLD):
        read([label, *rest])
    with pytest.raises(errors.RelationshipError, match=TOLD):
        read(np.array([label]))


@pytest.mark.parametrize("values", [[2.0**53 - 1], [np.nan, 7.0], [np.float32(2.0**24 - 1)], IDS, list(IDS), [np.inf]])
def test_smaller_ones_and_integers_stay_labels(values):
    wanted = [None if v != v else "inf" if np.isinf(v) else str(int(v)) for v in values]
    assert canonical(values).tolist() == wanted
    assert canonical(np.array(values)).tolist() == wanted


@pytest.mark.parametrize("role", ["id", "sire", "dam"])
def test_in_a_pedigree(floats, role):
    table = pd.DataFrame({"id": IDS, "sire": IDS + 1, "dam": IDS + 2}).astype(object)
    table[role] = floats(IDS)
    with pytest.raises(errors.PedigreeError, match=f"the column '{role}' of the pedigree.*{TOLD}"):
        rb.Pedigree.from_frame(table)
    lists = [table[c].tolist() for c in ("id", "sire", "dam")]
    with pytest.raises(errors.PedigreeError, match=f"^{role}s: .*{TOLD}"):
        rb.Pedigree(*lists)
    with pytest.raises(errors.PedigreeError, match=TOLD):
        rb.Pedigree.from_maternal_grandsires(*lists)
    with pytest.raises(errors.RelationshipError, match=f"'{role}'.*{TOLD}"):
        rb.MixedModel("y ~ (1 | vm(id, A))", pd.DataFrame({"y": [1.0, 2], "id": IDS[:2]}), relationships={"A": table})


@pytest.mark.parametrize("dtype", ["Int64", str, object, "int64"])
def test_what_the_message_says_serves(dtype):
    pedigree = rb.Pedigree(IDS, pd.Series([None, None, *IDS[:4]], dtype="Int64").astype(str), [None] * 6)
    assert pedigree.n_added == 0
    data = pd.DataFrame({"y": np.arange(12.0) ** 2, "id": pd.Series(np.repeat(IDS, 2)).astype(dtype)})
    model = rb.MixedModel("y ~ (1 | vm(id, A))", data, relationships={"A": pedigree})
    assert model.specification.random[0].q == 6


FORMULAS = ["y ~ (1 | id)", "y ~ (1 | vm(id, A))", "y ~ (1 | id:x)", "y ~ C(id)", "y ~ (1 | x) + C(id):z"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_in_the_data(floats, formula):
    data = pd.DataFrame({"y": np.arange(12.0), "x": 2 * [*"abcdef"], "z": np.arange(12.0) ** 2})
    data["id"] = floats(np.tile(IDS, 2))
    A = rb.Pedigree(IDS, [None] * 6, [None] * 6)
    with pytest.raises(errors.DataError, match=f"the column 'id': .*{TOLD}"):
        rb.MixedModel(formula, data, relationships={"A": A})


def test_in_a_plain_factor_of_the_fixed_part():
    data = pd.DataFrame({"y": np.arange(12.0), "herd": pd.Categorical(np.tile(IDS, 2).astype(float))})
    with pytest.raises(errors.DataError, match=f"the column 'herd': .*{TOLD}"):
        rb.MixedModel("y ~ herd", data)


@pytest.mark.parametrize("residual", ["cs(time | herd)", "ar1(time | herd)"])
def test_in_the_residual(residual):
    data = pd.DataFrame({"y": np.arange(12.0), "time": np.tile(np.arange(6), 2), "herd": np.repeat(IDS[:2], 6) * 1.0})
    with pytest.raises(errors.DataError, match=f"the column 'herd': .*{TOLD}"):
        rb.MixedModel("y ~ 1", data, residual=residual)


def test_large_covariates_stay():
    data = pd.DataFrame({"y": np.arange(12.0) ** 2, "x": BASE * (1.0 + np.arange(12))})
    assert rb.MixedModel("y ~ x", data).specification.p == 2


@pytest.mark.parametrize("give", [
    lambda K, ids: rb.Relationship(K, ids),
    lambda K, ids: rb.Relationship(pd.DataFrame(K, ids, ids)),
    lambda K, ids: rb.MixedModel("y ~ (1 | vm(id, K))", pd.DataFrame({"y": [1.0, 2], "id": IDS[:2]}), {"K": (K, ids)}),
    lambda K, ids: rb.Genotypes.from_matrix(2 * K, ids),
])  # fmt: skip
def test_labels_of_relationships(give):
    with pytest.raises(errors.RelationshipError, match=TOLD):
        give(np.eye(6), IDS.astype(float))


def test_records_of_new_data():
    data = pd.DataFrame({"y": np.arange(12.0) ** 2, "id": np.tile(IDS, 2)})
    fit = rb.MixedModel("y ~ (1 | id)", data).fit(progress=False)
    with pytest.raises(errors.DataError, match=TOLD):
        fit.predict(pd.DataFrame({"id": IDS.astype(float)}), include=["(1 | id)"])


@pytest.mark.parametrize("option", [[], ["--factor", "id"]])
def test_on_the_command_line(tmp_path, capsys, option):
    """Numbers written with an exponent; of those written out a column of 16 digits and more stays text."""
    data = pd.DataFrame({"y": np.arange(12.0) ** 2, "id": np.tile(IDS, 2).astype(float)})
    data.to_csv(tmp_path / "d.csv", index=False)
    assert main(["fit", str(tmp_path / "d.csv"), "y ~ (1 | id)", "--quiet", *option]) == 2
    error = capsys.readouterr().err
    assert (
        "the column 'id': " in error
        and "last digits are lost" in error
        and "Write the file anew" in error
        and "dtype" not in error
    )
    data.assign(id=np.tile(IDS, 2)).to_csv(tmp_path / "d.csv", index=False)
    assert main(["fit", str(tmp_path / "d.csv"), "y ~ (1 | id)", "--quiet", *option]) == 0


@pytest.mark.parametrize("role", ["id", "sire", "dam"])
def test_in_a_pedigree_file(tmp_path, role):
    """pandas and spreadsheets write such floats with an exponent, which is text to the reader of pedigrees."""
    table = pd.DataFrame({"id": IDS[2:], "sire": IDS[0], "dam": IDS[1]}).astype({role: float})
    table.to_csv(tmp_path / "p.csv", index=False)
    told = f"'{role}' holds numbers written with an exponent, '8.40003.*: their last digits are lost"
    with pytest.raises(errors.PedigreeError, match=told):
        read_relationships({"A": str(tmp_path / "p.csv")}, {}, ())
    with pytest.raises(errors.PedigreeError, match=told):
        read_relationship(tmp_path / "p.csv")


@pytest.mark.parametrize("label", ["1E5", "8E", "E12", "2e3b", "1.5e-12", "12E10x"])
def test_other_labels_with_an_e_stay(tmp_path, label):
    (tmp_path / "p.csv").write_text(f"id,sire,dam\n{label},,\nx,{label},y\n")
    assert read_relationships({"A": str(tmp_path / "p.csv")}, {}, ())["A"].labels.tolist() == ["y", label, "x"]
