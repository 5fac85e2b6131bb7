import re
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pedigrees import MRODE, MRODE_A, numbered_pedigrees

from remlblup.errors import PedigreeError, RelationshipError
from remlblup.relationship.pedigree.pedigree import Pedigree


def test_mrode_table():
    pedigree = Pedigree(**MRODE)
    assert pedigree.labels.tolist() == [1, 2, 3, 4, 5, 6]
    assert pedigree.order.tolist() == [0, 1, 2, 3, 4, 5]
    assert pedigree.sire.tolist() == [-1, -1, 0, 0, 3, 4]
    assert pedigree.dam.tolist() == [-1, -1, 1, -1, 2, 1]
    assert pedigree.inbreeding.tolist() == [0, 0, 0, 0, 0.125, 0.125]
    assert pedigree.generation.tolist() == [0, 0, 1, 1, 2, 3]
    assert pedigree.founders.tolist() == [1, 2]
    assert len(pedigree) == pedigree.size == 6
    np.testing.assert_allclose(pedigree.dense(), MRODE_A, atol=1e-15)
    np.testing.assert_allclose(pedigree.diagonal, np.diag(MRODE_A))
    np.testing.assert_allclose(pedigree.dense([6, "3"]), MRODE_A[np.ix_([5, 2], [5, 2])])


def test_inbreeding_table():
    table = Pedigree(**MRODE).inbreeding_table()
    assert table.columns.tolist() == ["id", "sire", "dam", "generation", "inbreeding"]
    assert table.loc[4].tolist() == [5, 4, 3, 2, 0.125]
    assert pd.isna(table.loc[3, "dam"])


@pytest.mark.parametrize("case", ["Mrode2", "Mrode3", "Mrode9"])
def test_against_nadiv(reference, case):
    import json

    answer = json.loads(reference(f"nadiv.{case}.relationship.json").read_text())
    pedigree = Pedigree.from_frame(pd.read_csv(reference(f"nadiv.{case}.pedigree.csv")))
    at = pedigree.index(answer["ids"])
    np.testing.assert_allclose(pedigree.inbreeding[at], answer["F"], atol=1e-12)
    np.testing.assert_allclose(pedigree.dense()[np.ix_(at, at)], answer["A"], atol=1e-12)
    np.testing.assert_allclose(pedigree.precision.toarray()[np.ix_(at, at)], answer["Ainv"], atol=1e-11)
    assert pedigree.logdet == pytest.approx(answer["logdetA"], abs=1e-11)


def test_rows_in_any_order_and_added_parents():
    pedigree = Pedigree(["calf", "cow"], ["bull", None], ["cow", "granny"])
    assert sorted(pedigree.labels) == ["bull", "calf", "cow", "granny"]
    assert pedigree.n_added == 2
    position = {label: k for k, label in enumerate(pedigree.labels)}
    assert pedigree.order[position["calf"]] == 0
    assert pedigree.order[position["bull"]] == -1
    assert pedigree.labels[pedigree.sire[position["calf"]]] == "bull"
    assert pedigree.labels[pedigree.dam[position["cow"]]] == "granny"


def test_a_sorted_pedigree_keeps_its_order():
    ids = ["b", "a", "d", "c"]
    assert Pedigree(ids, [None, None, "b", "d"], [None] * 4).labels.tolist() == ids


@pytest.mark.parametrize(
    ("ids", "sires", "dams"),
    [
        ([1, 2, 3], [0, 0, 1], [0, 0, 2]),
        ([1, 2, 3], [np.nan, np.nan, 1.0], [np.nan, np.nan, 2.0]),
        ([1, 2, 3], ["0", "", " 1"], ["NA", ".", "2 "]),
        (["1", "2", "3"], [0, 0, 1], [0.0, np.nan, 2.0]),
        ([1.0, 2.0, 3.0], [None, pd.NA, "1"], pd.Series([None, None, 2], dtype="Int64")),
        (["1", "2", "3"], pd.Categorical([None, None, "1"]), ["nan", "None", 2]),
    ],
)
def test_labels_of_every_type(ids, sires, dams):
    pedigree = Pedigree(ids, sires, dams)
    assert pedigree.size == 3
    assert pedigree.sire.tolist() == [-1, -1, 0]
    assert pedigree.dam.tolist() == [-1, -1, 1]


def test_numbered_ids_stay_numbers_when_parents_are_text():
    pedigree = Pedigree([5], ["3"], ["4"])
    assert pedigree.labels.dtype.kind == "i"
    assert pedigree.labels.tolist() == [3, 4, 5]


def test_unknown_is_the_users_choice():
    assert Pedigree(["a"], ["-9"], ["?"], unknown=["-9", "?"]).size == 1
    assert Pedigree([1], [-9], [-9], unknown=-9).size == 1
    assert Pedigree([1, 0], [0, None], [None, None], unknown=()).labels.tolist() == [0, 1]
    assert Pedigree(["a"], ["0"], [None], unknown="x").labels.tolist() == ["0", "a"]


def test_duplicates_merge_if_they_agree():
    pedigree = Pedigree([1, 2, 3, 3, 3], [0, 0, 1, 1, "1"], [0, 0, 2, 2.0, 2])
    assert pedigree.size == 3
    assert pedigree.n_merged == 2
    assert pedigree.order.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "given"),
    [
        (["id", "sire", "dam"], {}),
        (["ANIMAL", "Father", "MOTHER"], {}),
        (["BIRD", "SIRE", "DAM"], {}),
        (["Animal_ID", "Sire ID", "dam.id"], {}),
        (["kid", "no_father", "MotherNo"], {}),
        (["Tag", "père", "mère"], {}),
        (["individual", "id_pai", "Mãe"], {}),
        (["x", "sire", "dam"], {"id": "x"}),
        (["x", "y", "z"], {"id": "x", "sire": "y", "dam": "z"}),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_columns_by_name(columns, given, order):
    frame = pd.DataFrame([[1, 0, 0], [2, 0, 0], [3, 1, 2]], columns=columns)
    frame = frame.iloc[:, list(order)].assign(extra=1.5)
    pedigree = Pedigree.from_frame(frame, **given)
    assert pedigree.sire.tolist() == [-1, -1, 0]
    assert pedigree.dam.tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["x", "y", "z"], r"which columns .* hold id and sire and dam: its columns are 'x', 'y', 'z'"),
        (["id", "dam_of_herd", "bull"], r"hold sire and dam"),
        (["bird", "cock", "hen"], r"hold sire and dam"),
        (["id", "animal", "sire", "dam"], r"may hold the id: 'id', 'animal'. Say which: id='id'"),
        (["id", "sire", "father", "dam"], r"may hold the sire: 'sire', 'father'"),
        (["id", "sire", "Dam", "dam_id"], r"may hold the dam: 'Dam', 'dam_id'"),
        (["id", "sire", "mgs"], r"hold dam: .*If 'mgs' is the maternal grandsire.*from_maternal_grandsires"),
    ],
)
def test_columns_are_never_guessed_by_their_place(columns, message):
    frame = pd.DataFrame([range(1, 1 + len(columns))], columns=columns)
    with pytest.raises(PedigreeError, match=message):
        Pedigree.from_frame(frame)


def test_a_less_clear_name_gives_way_to_a_clear_one():
    frame = pd.DataFrame({"line": [7, 7, 7], "id": [1, 2, 3], "sire": [0, 0, 1], "dam": [0, 0, 2]})
    assert Pedigree.from_frame(frame).labels.tolist() == [1, 2, 3]


def test_swapped_columns_are_found_by_name():
    frame = pd.DataFrame({"dam": [0, 0, 2], "id": [1, 2, 3], "sire": [0, 0, 1]})
    assert Pedigree.from_frame(frame).sire.tolist() == [-1, -1, 0]


def error(*args, **kwargs) -> str:
    with pytest.raises(PedigreeError) as caught:
        Pedigree(*args, **kwargs)
    return str(caught.value)


def test_errors_of_columns():
    frame = pd.DataFrame({"id": [1], "sire": [0], "cow": [0]})
    with pytest.raises(PedigreeError, match=r"no column 'mum' \(given as dam=\).*'id', 'sire', 'cow'"):
        Pedigree.from_frame(frame, dam="mum")
    with pytest.raises(PedigreeError, match=r"which columns .* hold dam"):
        Pedigree.from_frame(frame, id="id", sire="sire")
    with pytest.raises(PedigreeError, match="three different ones"):
        Pedigree.from_frame(frame, id="id", sire="sire", dam="id")
    with pytest.raises(PedigreeError, match="which columns"):
        Pedigree.from_frame(frame[["id", "sire"]])
    with pytest.raises(PedigreeError, match="share one name"):
        Pedigree.from_frame(pd.DataFrame([[1, 0, 0, 0]], columns=["id", "sire", "sire", "dam"]))
    with pytest.raises(RelationshipError, match="data frame is needed"):
        Pedigree.from_frame([[1, 0, 0]])


def test_error_lengths_and_empty():
    assert "they hold 2, 1 and 2" in error([1, 2], [0], [0, 0])
    assert "empty" in error([], [], [])


def test_error_missing_ids_names_the_rows():
    message = error(["a", None, "c", ""], [None] * 4, [None] * 4)
    assert "2 rows" in message
    assert "row 1, 3" in message
    assert "unknown=" in message
    assert "row 0" in error([0, 1], [None, 0], [None, None])


def test_error_self_parent():
    assert re.search(r"1 animal is its own parent: 'b'", error(["a", "b"], [None, "b"], [None, None]))
    assert "7" in error([7], ["7"], [None], hermaphrodites=True)


def test_error_both_sire_and_dam():
    message = error(["c", "d"], ["a", "b"], ["b", "x"])
    assert "'b'" in message
    assert "hermaphrodites=True" in message
    assert "'a'" in error(["c"], ["a"], ["a"])


def test_error_conflicting_duplicates():
    message = error([1, 2, 3, 3], [0, 0, 1, 1], [0, 0, 2, 0])
    assert "1 animal occurs more than once" in message
    assert "row 2: 1 x 2, row 3: 1 x unknown" in message


def test_error_loop_prints_the_loop_only():
    # a -> b -> c -> a is the loop; d descends from it, f is apart.
    message = error(["a", "b", "c", "d", "f"], ["c", None, "b", "c", None], [None, "a", None, None, None])
    loop = re.search(r"offspring\): (\w( -> \w)+)\.", message).group(1).split(" -> ")
    assert len(loop) == 4
    assert loop[0] == loop[-1]
    assert "".join(loop[:-1]) in ("abc", "bca", "cab")
    assert "4 animals are on a loop or descend from one" in message


def test_error_long_and_several_loops():
    n = 50
    message = error(list(range(1, n + 1)), [n, *range(1, n)], [0] * n)
    assert "..." in message
    message = error(["a", "b", "c", "d"], ["b", None, "d", None], [None, "a", None, "c"])
    assert message.count("; ") == 1


def test_repr_says_what_it_is():
    assert repr(Pedigree(**MRODE)) == "Pedigree(6 animals, 2 founders, 3 generations)"
    assert "2 parents added" in repr(Pedigree(["x"], ["y"], ["z"]))


def test_index_names_the_missing_levels():
    pedigree = Pedigree(**MRODE)
    assert pedigree.index(["6", 1.0]).tolist() == [5, 0]
    with pytest.raises(RelationshipError) as caught:
        pedigree.index([1, 77, 78, 77], factor="animal", name="A")
    message = str(caught.value)
    assert message.startswith("2 levels of 'animal' are not in relationship 'A': 77, 78.")
    with pytest.raises(RelationshipError, match=r"^1 level is not in the relationship: None"):
        pedigree.index([1, None])
    with pytest.raises(RelationshipError):
        pedigree.dense([9])


def test_attributes_cannot_be_changed_by_accident():
    pedigree = Pedigree(**MRODE)
    for array in (pedigree.labels, pedigree.sire, pedigree.inbreeding):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@given(numbered_pedigrees(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(parents, random):
    sire, dam = parents
    names = [f"x{k}" for k in range(len(sire))]
    rows = [
        (names[i], names[s] if s >= 0 else None, names[d] if d >= 0 else 0)
        for i, (s, d) in enumerate(zip(sire, dam, strict=True))
    ]
    straight = Pedigree(*zip(*rows, strict=True))
    random.shuffle(rows)
    shuffled = Pedigree(*zip(*rows, strict=True))
    assert (np.maximum(shuffled.sire, shuffled.dam) < np.arange(len(rows))).all()
    assert [rows[k][0] for k in shuffled.order] == shuffled.labels.tolist()
    at = shuffled.index(names)
    np.testing.assert_allclose(shuffled.dense()[np.ix_(at, at)], straight.dense(), atol=1e-14)
    np.testing.assert_array_equal(shuffled.generation[at], straight.generation)


@given(numbered_pedigrees())
def test_generation_is_one_more_than_the_younger_parent(parents):
    sire, dam = parents
    ids = np.arange(1, len(sire) + 1)
    pedigree = Pedigree(ids, sire + 1, dam + 1)
    generation = np.append(pedigree.generation, -1)
    np.testing.assert_array_equal(
        pedigree.generation, np.maximum(generation[pedigree.sire], generation[pedigree.dam]) + 1
    )


def test_tables_and_single_labels_in_place_of_columns():
    assert "not a table" in error(np.array([[1, 2], [3, 4]]), [0, 0], [0, 0])
    assert "not a table" in error(pd.DataFrame({"id": [1]}), [0], [0])
    assert Pedigree("abc", "x", None).labels.tolist() == ["x", "abc"]
    assert "no animal id" in error(None, None, None)
    with pytest.raises(RelationshipError, match=r"shape \(2, 2\)"):
        Pedigree(**MRODE).index(np.array([[1, 2], [3, 4]]))
    assert Pedigree(**MRODE).index(3).tolist() == [2]


@pytest.mark.parametrize("shape", [(5,), (5, 2), (6, 1, 1), ()])
def test_multiply_refuses_other_shapes(shape):
    with pytest.raises(RelationshipError, match="holds 6 levels; it cannot be multiplied"):
        Pedigree(**MRODE).multiply(np.ones(shape))


def test_error_loop_that_founders_marry_into():
    # x is a founder and a parent of b, which is on the loop a -> b -> a.
    message = error(["a", "b", "x"], ["b", "x", None], [None, "a", None])
    assert "a -> b -> a" in message or "b -> a -> b" in message
    assert "2 animals are on a loop" in message


@pytest.mark.parametrize("code", [-9, "?", "unknown", 9999])
def test_codes_for_unknown_parents_that_were_not_declared(code):
    # Sire and dam in a row each: the hint comes with the error; in many rows: an error of its own.
    message = error([1, 2], [code, 1], [code, code])
    assert f"unknown=[{code!r}]" in message
    ids = list(range(1, 11))
    columns = ids, [code] * 3 + [1] * 7, [code] * 4 + [2] * 6
    for options in ({}, {"hermaphrodites": True}):
        message = error(*columns, **options)
        assert f"{code!r} is a parent in 4 of 10 rows" in message
        assert f"unknown=[{code!r}]" in message
    assert Pedigree(*columns, unknown=[code]).size == 10
    assert Pedigree([*ids, code], [*columns[1], None], [*columns[2], None], hermaphrodites=True).size == 11


def test_a_code_in_one_column_is_a_warning():
    ids = list(range(1, 81))
    columns = ids, [None] * 76 + [-9] * 4, [None] * 80
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Pedigree(*columns).size == 81  # 5 % of the rows: it may be an animal
        assert Pedigree(ids[:20], ["bull"] * 20, [None] * 20).size == 21
        assert Pedigree(ids[:20], [-9] * 20, [-9] * 20, groups=[-9]).size == 20
    with pytest.warns(UserWarning, match=r"-9 is a parent in 4 of 79 rows .* unknown=\[-9\]"):
        assert Pedigree(*(column[1:] for column in columns)).size == 80


def test_a_file_name_is_no_frame():
    for name in ("ped.csv", Path("ped.csv")):
        with pytest.raises(PedigreeError, match=r"'ped.csv' is the name of a file: read it first"):
            Pedigree.from_frame(name)
