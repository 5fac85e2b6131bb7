import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from remlblup.errors import PedigreeError, RelationshipError
from remlblup.relationship.coerce import coerce
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.relationship import genomic_relationship
from remlblup.relationship.given.matrix import Relationship
from remlblup.relationship.pedigree.pedigree import Pedigree

K = np.array([[1.0, 0.5, 0.25, 0.0], [0.5, 1.2, 0.3, 0.1], [0.25, 0.3, 0.9, 0.2], [0.0, 0.1, 0.2, 1.1]])
NAMES = ["a1", "a2", "a3", "a4"]


def square(index=NAMES, columns=NAMES) -> pd.DataFrame:
    return pd.DataFrame(K, index=index, columns=columns)


def check(relationship, labels=NAMES):
    assert relationship.labels.tolist() == labels
    np.testing.assert_allclose(relationship.dense(), K, atol=1e-14)


def test_relationships_pass_through():
    pedigree = Pedigree([1], [0], [0])
    assert coerce("A", pedigree) is pedigree
    matrix = Relationship(K, NAMES)
    assert coerce("A", matrix) is matrix


@pytest.mark.parametrize(
    "given",
    [
        square(),
        square(columns=["1", "2", "3", "4"]),
        square(columns=range(4)),
        square(columns=["V1", "V2", "V3", "V4"]),
        square(index=range(4)),
        square().reset_index(),
        square(columns=["1", "2", "3", "4"]).reset_index(names="id"),
        (K, NAMES),
        (sp.csc_array(K), NAMES),
        {"matrix": K, "labels": NAMES},
        {"matrix": square()},
        {"matrix": np.linalg.inv(K), "labels": NAMES, "inverse": True},
    ],
)
def test_labelled_matrices(given):
    check(coerce("A", given))


def test_columns_in_another_order_are_put_right():
    frame = square()[["a3", "a1", "a4", "a2"]]
    check(coerce("A", frame))


def test_numbers_in_the_index_match_text_in_the_header():
    # What read_csv(index_col=0) makes of animals 11 to 14.
    frame = square(index=[11, 12, 13, 14], columns=["11", "12", "13", "14"])[["14", "12", "13", "11"]]
    check(coerce("A", frame), [11, 12, 13, 14])


@pytest.mark.parametrize("key", ["inverse", "INVERSE"])
def test_an_inverse_is_marked_in_attrs(key):
    frame = pd.DataFrame(np.linalg.inv(K), index=NAMES, columns=NAMES)
    frame.attrs[key] = True
    check(coerce("A", frame))
    frame.attrs[key] = False
    np.testing.assert_allclose(coerce("A", frame).dense(), np.linalg.inv(K), atol=1e-14)


def test_pedigree_frames():
    frame = pd.DataFrame({"animal": [1, 2, 3, 4], "sire": [0, 0, 1, 1], "dam": [0, 0, 2, 2], "year": 1990})
    assert isinstance(coerce("A", frame), Pedigree)
    unnamed = frame.iloc[:, :3].set_axis(["u", "v", "w"], axis=1)
    with pytest.raises(PedigreeError, match=r"Relationship 'A': Cannot tell which columns .*'u', 'v', 'w'"):
        coerce("A", unnamed)
    with pytest.raises(PedigreeError, match="may hold the id: 'animal', 'id'"):
        coerce("A", frame.assign(id=7))
    with pytest.raises(PedigreeError, match="hold id: "):
        coerce("A", frame.rename(columns={"animal": "beast"}))
    assert coerce("A", frame[["dam", "year", "animal", "sire"]]).sire.tolist() == [-1, -1, 0, 0]
    bulls = coerce("A", frame[["animal", "sire"]].assign(MGS=[0, 0, 2, 2]))
    assert bulls.dense()[2].tolist() == [0.5, 0.25, 1.0, 0.25 + 0.0625]
    assert isinstance(coerce("A", frame.iloc[:3]), Pedigree)
    polars = pytest.importorskip("polars")
    assert isinstance(coerce("A", polars.DataFrame({"id": [1], "sire": [0], "dam": [0]})), Pedigree)


def test_a_square_of_three_is_a_matrix():
    assert isinstance(coerce("A", square().iloc[:3, :3]), Relationship)


def error(obj) -> str:
    with pytest.raises(RelationshipError) as caught:
        coerce("GRM", obj)
    message = str(caught.value)
    assert message.startswith("Relationship 'GRM': ")
    return message


def test_errors_name_the_relationship():
    assert "labels" in error(K)
    assert "labels" in error(sp.csc_array(K))
    assert "cannot make a relationship of int" in error(7)
    assert "cannot make a relationship of NoneType" in error(None)
    assert "not 3 items" in error((K, NAMES, True))
    assert "keys 'matrx'" in error({"matrx": K})
    assert "keys" in error({"matrix": K, "labels": NAMES, "inv": True})
    assert "neither the rows nor the columns" in error(pd.DataFrame(K))
    assert "4 rows and 2 columns" in error(square().iloc[:, :2])
    assert "'a1', 'a2', 'a3', 'a4' of the rows" in error(square(columns=["b1", "b2", "c3", "d9"]))
    assert "more than once: 'a1'" in error(square(index=["a1", "a1", "a3", "a4"], columns=["1", "2", "3", "4"]))
    assert "more than once: 'a1'" in error(square(*[["a1", "a1", "a3", "a4"]] * 2))
    triplets = pd.DataFrame({"row": [1, 2, 2, 3], "col": [1, 1, 2, 3], "value": [1.0, 0.5, 1.0, 1.0]})
    assert "row, column and value" in error(triplets)
    text = square().astype(object)
    text.iloc[0, 0] = "one"
    assert "not numbers" in error(text)


def test_a_bad_pedigree_stays_a_pedigree_error():
    frame = pd.DataFrame({"id": [1, 2], "sire": [2, 1], "dam": [0, 0]})
    with pytest.raises(PedigreeError, match=r"Relationship 'A': .*loop"):
        coerce("A", frame)
    with pytest.raises(PedigreeError, match="empty"):
        coerce("A", frame.iloc[:0])


@pytest.mark.parametrize("name", ["wheat599", "cpdata", "example"])
def test_matrices_as_read_from_files(reference, name):
    path = reference(f"{name}.A.csv")
    for frame in (pd.read_csv(path), pd.read_csv(path, index_col=0)):
        try:
            relationship = coerce("G", frame)
        except RelationshipError as problem:
            assert "eigenvalues are positive" in str(problem)
            continue
        assert relationship.labels.tolist() == pd.read_csv(path).iloc[:, 0].tolist()


def test_the_inverse_with_groups_is_not_a_pair_of_matrix_and_labels():
    ped = Pedigree([1, 2, 3], ["G", "G", 1], ["G", "G", 2], groups=["G"])
    message = error(ped.group_precision())
    assert "pedigree itself" in message
    assert "with_random_groups" in message


@pytest.mark.parametrize(
    ("index", "columns"),
    [(NAMES, ["b1", "b2", "b3", "b4"]), (NAMES, ["g1", "g2", "g3", "g4"]), (["b1", "b2", "b3", "b4"], NAMES)],
)
def test_rows_and_columns_that_name_different_levels(index, columns):
    assert "name different levels" in error(square(index=index, columns=columns))


def test_rows_that_only_count():
    check(coerce("A", square(index=["1", "2", "3", "4"])))
    check(coerce("A", square(index=[0, 1, 2, 3])))
    check(coerce("A", square(columns=["X1", "X2", "X3", "X4"])))


def test_labels_beside_a_frame_that_is_labelled():
    shuffled = [NAMES[k] for k in (2, 0, 3, 1)]
    with pytest.raises(RelationshipError, match=r"The index of the data frame .* row 0 .* is 'a1' .* 'a3'"):
        Relationship(square(), shuffled)
    with pytest.raises(RelationshipError, match="columns of the data frame"):
        Relationship(square(index=range(4)), shuffled)
    with pytest.raises(RelationshipError, match="columns of the data frame"):
        Relationship(square()[shuffled], NAMES)
    check(Relationship(square(), NAMES))
    check(Relationship(square(), ["w", "x", "y", "z"]), ["w", "x", "y", "z"])
    check(Relationship(pd.DataFrame(K), [3, 0, 1, 2]), [3, 0, 1, 2])


def test_genotypes_are_the_relationship_of_van_radens_first_method():
    genotypes = Genotypes.from_matrix(np.array([[0, 1, 2], [2, 1, 0], [1, 0, 0]]), ids=["a", "b", "c"])
    found, formed = coerce("G", genotypes), genomic_relationship(genotypes)
    assert list(found.labels) == ["a", "b", "c"]
    np.testing.assert_allclose(found.multiply(np.eye(3)), formed.dense(), rtol=1e-14)
