"""Malformed sparse matrices are refused by every entry, before a compiled kernel reads them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import remlblup as rb
from remlblup.linalg.well_formed import fault

SIZE = 4


def well(form: str = "csr"):
    """A matrix that serves as Z, X, K and genotypes: 2 on the diagonal, 1 beside the first of it."""
    dense = np.eye(SIZE) * 2.0
    dense[0, 1] = dense[1, 0] = 1.0
    return sp.bsr_array(dense, blocksize=(1, 1)) if form == "bsr" else sp.coo_array(dense).asformat(form)


def spoilt(form: str, how: str):
    """A well-formed matrix one of whose arrays was overwritten, as scripts and broken files do."""
    m = well(form)
    if form == "coo":
        row, col, data = m.coords[0].copy(), m.coords[1].copy(), m.data.copy()
        if how == "beyond":
            col[2] = 99
        elif how == "negative":
            row[1] = -3
        elif how == "short":
            data = data[:-1]
        m.coords, m.data = (row, col), data
        return m
    if form == "dok":
        m._dict[{"beyond": (2, 99), "negative": (-1, 0), "floats": (0, 0.5)}[how]] = 1.0
        return m
    if form == "lil":
        m.rows[1] = {"beyond": [0, 99], "negative": [-7, 1], "short": [0]}[how]
        return m
    if how == "beyond":
        m.indices[2] = 99
    elif how == "negative":
        m.indices[2] = -5
    elif how == "not rising":
        m.indptr[2] = 1
    elif how == "far end":
        m.indptr[-1] = 50
    elif how == "from one":
        m.indptr[0] = 1
    elif how == "short":
        m.indices = m.indices[:-2]
    elif how == "wrong rows":
        m.indptr = m.indptr[:-1]
    elif how == "floats":
        m.indices = m.indices.astype(float)
    return m


COMPRESSED = ["beyond", "negative", "not rising", "far end", "from one", "short", "wrong rows", "floats"]
CASES = [(f, how) for f in ("csr", "csc", "bsr") for how in COMPRESSED]
CASES += [("dok", how) for how in ("beyond", "negative", "floats")]
CASES += [(f, how) for f in ("coo", "lil") for how in ("beyond", "negative", "short")]

y = np.array([1.0, 3.0, 2.0, 5.0])
ENTRIES = {
    "Z": lambda m: rb.MixedModel.from_matrices(y, np.ones((SIZE, 1)), [m]),
    "X": lambda m: rb.MixedModel.from_matrices(y, m, [np.eye(SIZE)]),
    "K": lambda m: rb.MixedModel.from_matrices(y, np.ones((SIZE, 1)), [np.eye(SIZE)], [m]),
    "Relationship": lambda m: rb.Relationship(m, list("abcd")),
    "precision": lambda m: rb.Relationship(m, list("abcd"), inverse=True),
    "pair": lambda m: rb.SingleStep(rb.Pedigree(list("abcd"), [0] * 4, [0] * 4), (m, list("abcd"))),
    "henderson X": lambda m: rb.henderson(y, m, np.eye(SIZE), 1.0, 1.0),
    "henderson Z": lambda m: rb.henderson(y, np.ones((SIZE, 1)), m, 1.0, 1.0),
    "henderson G": lambda m: rb.henderson(y, np.ones((SIZE, 1)), np.eye(SIZE), m, 1.0),
    "henderson R": lambda m: rb.henderson(y, np.ones((SIZE, 1)), np.eye(SIZE), 1.0, m),
    "genotypes": lambda m: rb.Genotypes.from_matrix(m, ids=list("abcd")),
    "relationships=": lambda m: rb.MixedModel(
        "y ~ 1 + (1 | vm(id, K))", {"y": y, "id": list("abcd")}, {"K": {"matrix": m, "labels": list("abcd")}}
    ),
    "matrix=": lambda m: rb.MixedModel(
        "y ~ 1 + known(t | g, matrix=K)", {"y": np.tile(y, 2), "t": list("abcd") * 2, "g": [1] * 4 + [2] * 4}, {"K": m}
    ),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize(("form", "how"), CASES)
def test_every_entry_refuses_every_fault(entry, form, how):
    with pytest.raises(rb.RemlBlupError, match=r"is a malformed sparse matrix \("):
        ENTRIES[entry](spoilt(form, how))


NO_NUMBERS = {
    "text": np.array(["x"]),
    "text of numbers": np.array(["1"]),
    "bytes": np.array([b"1"]),
    "objects": np.array(["x"], dtype=object),
    "nothing": np.array([None]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "times": np.ones(1, dtype="timedelta64[s]"),
    "no type": np.zeros(1, dtype="V8"),
    "half": np.ones(1, dtype=np.float16),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
def test_every_entry_refuses_entries_that_are_no_numbers(entry, form):
    """SciPy makes no such matrix; scripts put such arrays into one."""
    for what, entries in NO_NUMBERS.items():
        if what == "half" and form in ("dok", "lil"):
            continue  # a number among others
        m = well(form)
        if form == "dok":
            m._dict[0, 0] = entries[0]
        elif form == "lil":
            m.data[0][0] = entries[0]
        else:
            m.data = np.resize(entries, m.data.shape)
        with pytest.raises(rb.RemlBlupError, match=r"is a malformed sparse matrix \(\w+\): its entries are"):
            ENTRIES[entry](m)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("form", ["lil", "dok"])
def test_complex_entries_of_a_real_matrix(entry, form):
    m = well(form)
    if form == "dok":
        m._dict[0, 0] = 1j
    else:
        m.data[0][0] = 1j
    with pytest.raises(rb.RemlBlupError, match="its entries are complex, and its type is float64"):
        ENTRIES[entry](m)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
def test_a_sound_matrix_of_any_format_passes(form):
    assert fault(well(form)) == ""
    assert fault(sp.csr_matrix(well()).asformat(form)) == ""  # the older matrix classes as well
    assert fault(sp.coo_array((3, 5)).asformat(form)) == ""
    expected = rb.henderson(y, np.ones((SIZE, 1)), well().toarray(), well().toarray(), 1.0)
    found = rb.henderson(y, np.ones((SIZE, 1)), well(form), well(form), 1.0)
    np.testing.assert_allclose(found.u, expected.u, atol=1e-12)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e not in ("genotypes",)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers(entry, value):
    m = well()
    m.data[2] = value
    with pytest.raises(rb.RemlBlupError):
        ENTRIES[entry](m)


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("sparse", [True, False])
def test_complex_values_are_not_cut_to_their_real_part(entry, sparse):
    m = well().astype(complex) if sparse else well().toarray() + 1j
    with pytest.raises(rb.RemlBlupError):
        ENTRIES[entry](m)


@pytest.mark.parametrize("form", ["csr", "csc", "bsr", "coo", "lil", "dia", "dok"])
def test_a_sparse_matrix_where_something_else_is_wanted(form):
    m = well(form)
    frame = {"y": y, "id": list("abcd")}
    genotypes = rb.Genotypes.from_matrix(np.arange(16).reshape(4, 4) % 3, ids=list("abcd"))
    for wrong in (
        lambda: rb.Relationship(np.eye(SIZE), m),
        lambda: rb.Pedigree(m, [0] * 4, [0] * 4),
        lambda: rb.Pedigree(list("abcd"), [0] * 4, [0] * 4, groups=m),
        lambda: rb.Genotypes.from_matrix(np.ones((4, 2)), ids=m),
        lambda: rb.genomic_relationship(genotypes, frequencies=m),
        lambda: rb.MixedModel("y ~ 1", m),
        lambda: rb.MixedModel("y ~ 1 + (1 | vm(id, K))", frame, {"K": (np.eye(SIZE), m)}),
    ):
        with pytest.raises(rb.RemlBlupError):
            wrong()


@pytest.mark.parametrize("change", [lambda d: d[:, :-1], lambda d: d[:, :, :0], lambda d: d.ravel()])
def test_blocks_that_are_none(change):
    matrix = sp.bsr_array(np.eye(2), blocksize=(1, 1))
    matrix.data = change(matrix.data)
    assert "not blocks of some rows and columns" in fault(matrix)


@pytest.mark.parametrize("what", ["y", "X", "weights"])
def test_masked_numbers_are_missing(what):
    """And not the numbers beneath the mask."""
    rng = np.random.default_rng(0)
    given = {"y": rng.standard_normal(12), "X": np.ones((12, 1)), "weights": np.ones(12)}
    masked = np.ma.masked_array(given[what].copy(), mask=False)
    Z = [np.kron(np.eye(4), np.ones((3, 1)))]
    whole = rb.MixedModel.from_matrices(Z=Z, **given | {what: masked}).specification
    assert np.array_equal(whole.y, given["y"])
    masked[3] = np.ma.masked
    with pytest.raises(rb.RemlBlupError, match=r"missing|NaN|finite|positive"):
        rb.MixedModel.from_matrices(Z=Z, **given | {what: masked})
