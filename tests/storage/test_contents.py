"""Every kind of column, label and matrix comes back to the last bit, and no cell is run by a spreadsheet."""

from __future__ import annotations

import csv
import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import remlblup as rb
from remlblup.storage.cells import harmless, original
from remlblup.storage.columns import decode_index, encode_index, frame_from_csv, frame_to_csv
from remlblup.validation.saving.damage import small_fit, state

N = 6
COLUMNS = {
    "float": np.array([0.1, -0.0, 1e-300, 1 / 3, 5e-324, 1.7976931348623157e308]),
    "float32": np.array([0.1, 0.2, 1 / 3, 1e-30, 7, -2], dtype=np.float32),
    "missing": np.array([0.1, np.nan, 3, np.inf, -np.inf, 2]),
    "int": np.array([2**62, -(2**62), 0, 1, -1, 3]),
    "int8": np.arange(N, dtype=np.int8),
    "uint64": np.array([2**64 - 1, 0, 1, 2, 3, 4], dtype=np.uint64),
    "bool": np.array([True, False] * 3),
    "text": ["a", "", " b ", 'q"u,o', "x\ny", "é"],
    "codes": ["007", "1e3", "NA", "nan", "None", "True"],
    "control": pd.Series(["a\rb", "\0", "\ud800", "tab\t", "\x1a", "b"], dtype=object),
    "formula": ["=1+1", "+cmd", "-x", "@SUM(A1)", "'=quoted", "-5"],
    "none": ["a", None, "b", "c", "d", "e"],
    "objects": pd.Series([1, "1", 1.5, True, None, "x"], dtype=object),
    "ints as objects": pd.Series([1, 2, 3, 4, 5, 6], dtype=object),
    "decimal": [Decimal("1.10"), Decimal("2"), Decimal("3"), Decimal("4"), Decimal("5"), Decimal("6")],
    "dates": pd.date_range("2024-02-28 23:59:59.123456", periods=N),
    "zones": pd.date_range("2024-03-31", periods=N, freq="h", tz="Europe/Berlin"),
    "nanoseconds": pd.Series(pd.to_datetime([1, 2, 3, 4, 5, 10**18 + 1], unit="ns")),
    "no date": pd.Series(pd.to_datetime(["2024-01-01", None, "2024-01-03"] * 2)),
    "differences": pd.to_timedelta([1, 2, 3, 4, 5, 6], unit="s"),
    "nullable int": pd.array([1, 2, 3, 4, 5, 6], dtype="Int64"),
    "nullable, missing": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
    "nullable bool": pd.array([True, False] * 3, dtype="boolean"),
    "category": pd.Categorical(list("bacbac"), categories=["c", "zz", "b", "a"], ordered=True),
    "category of floats": pd.Categorical([0.1, 0.3, 0.1, 0.3, 2, 2], categories=[2, 0.3, 0.1]),
    "category of ints": pd.Categorical([3, 1, 2, 3, 1, 2], categories=[3, 2, 1]),
    "category of bools": pd.Categorical([True, False] * 3),
    "category of dates": pd.Categorical(pd.date_range("2024-01-01", periods=N)),
    "category of mixed": pd.Categorical(pd.Series([1, "1", 2, 1, "1", 2], dtype=object)),
    "category, missing": pd.Categorical(["a", None, "b", "a", "b", "a"]),
    "category of formulas": pd.Categorical(["=a", "-b", "c"] * 2),
}


@pytest.mark.parametrize("escape", [True, False])
@pytest.mark.parametrize("name", COLUMNS)
def test_columns(name, escape):
    frame = pd.DataFrame({name: COLUMNS[name], "=second": range(N)})
    text, types = frame_to_csv(frame, escape)
    import json

    back = frame_from_csv(text.encode("utf-8"), json.loads(json.dumps(types)), escape)
    assert list(back.columns) == [name, "=second"]
    one, two = frame[name], back[name]
    assert two.isna().tolist() == one.isna().tolist()
    if isinstance(one.dtype, pd.CategoricalDtype):
        assert two.cat.categories.tolist() == one.cat.categories.tolist()
        assert two.cat.codes.tolist() == one.cat.codes.tolist() and two.cat.ordered == one.cat.ordered
        return
    assert [v for v in two if not pd.isna(v)] == [v for v in one.astype(object) if not pd.isna(v)] or name == "decimal"
    if name == "float":
        assert two.to_numpy().tobytes() == one.to_numpy().tobytes()
    if name in ("objects", "ints as objects", "uint64"):
        assert [type(v) for v in two] == [int if name == "uint64" else type(v) for v in one]
    if name in ("dates", "zones", "nanoseconds", "no date", "differences"):
        assert two.dtype == one.dtype


INDEXES = {
    "range": pd.RangeIndex(4),
    "from 5": pd.RangeIndex(5, 9),
    "named": pd.RangeIndex(4, name="plot"),
    "text": pd.Index(["a", "b", "=c", "d\r"]),
    "floats": pd.Index([0.1, 1 / 3, 2, 3]),
    "dates": pd.date_range("2024-01-01", periods=4, name="day"),
    "zones": pd.date_range("2024-01-01", periods=4, tz="Asia/Tokyo"),
    "mixed": pd.Index([1, "a", None, 2.5], dtype=object),
    "two": pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["g", None]),
}


@pytest.mark.parametrize("name", INDEXES)
def test_labels_of_rows(name):
    import json

    index = INDEXES[name]
    saved = json.loads(json.dumps(encode_index(index)))
    back = pd.RangeIndex(4) if saved is None else decode_index(saved)
    assert back.tolist() == index.tolist() and list(back.names) == list(index.names)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)


def test_text_that_begins_like_a_formula():
    for text in (
        "=1",
        "+a",
        "-a",
        "@a",
        "\ta",
        "'=1",
        "''-x",
        "'",
        "",
        "a=1",
        "-5",
        "+.5e3",
        "--5",
        "-",
        "'-5",
        "-1-1",
    ):
        assert original(harmless(text)) == text
        assert harmless(text)[:1] not in ("=", "@", "\t")
        assert harmless(text)[:1] not in ("+", "-") or text in ("-5", "+.5e3")  # numbers are no formulas


@pytest.mark.parametrize("escape", [True, False])
def test_no_cell_of_a_saved_fit_is_run_by_a_spreadsheet(tmp_path, escape):
    fit = small_fit(2)
    folder = fit.save(tmp_path / "fit", escape=escape)
    cells = [c for path in folder.rglob("*.csv") for row in csv.reader(path.open(encoding="utf-8")) for c in row]
    bad = [c for c in cells if c.startswith(("=", "+", "-", "@")) and harmless(c) != c]
    assert bool(bad) is not escape
    assert any(c in ("'=w", "'-z") for c in cells) is escape
    assert state(rb.load(folder)) == state(fit)
    levels = set(rb.load(folder).random_effects["level"])
    assert {"=w", "-z"} <= levels


def matrices() -> dict[str, rb.Relationship]:
    rng = np.random.default_rng(3)
    M = rng.normal(size=(9, 30))
    K = M @ M.T / 30
    centred = (M - M.mean(axis=0)) @ (M - M.mean(axis=0)).T / 30
    labels = [f"g{k}" for k in range(9)]
    band = sp.diags_array([np.full(8, -0.4), np.ones(9), np.full(8, -0.4)], offsets=[-1, 0, 1])
    return {
        "dense": rb.Relationship(K, labels),
        "singular": rb.Relationship(centred, labels),
        "inverse": rb.Relationship(np.linalg.inv(K), labels, inverse=True),
        "sparse": rb.Relationship(sp.csc_array(band), labels),
        "sparse inverse": rb.Relationship(sp.csc_array(band), labels, inverse=True),
        "bent": rb.Relationship(centred, labels, bend=0.01),
    }


@pytest.mark.parametrize("name", matrices())
def test_relationships_to_the_last_bit(tmp_path, name):
    K = matrices()[name]
    rng = np.random.default_rng(5)
    data = pd.DataFrame({"g": np.tile(K.labels, 5), "y": rng.normal(size=45) + np.tile(rng.normal(size=9), 5)})
    fit = rb.MixedModel("y ~ 1 + (1 | vm(g, K))", data, {"K": K}).fit()
    folder = fit.save(tmp_path / "fit")
    back = rb.load(folder)
    held = back.specification.random[0].relationship
    assert held.inverse == K.inverse and sp.issparse(held.given) == sp.issparse(K.given)
    assert abs(held.given - K.given).max() == 0 and held.labels.tolist() == K.labels.tolist()
    assert back.loglik == fit.loglik
    assert np.array_equal(back.random_effects["estimate"], fit.random_effects["estimate"])
    assert [p.name for p in (folder / "relationships").iterdir()] == ["K.npz"]


def test_arrays_are_never_unpickled(tmp_path):
    from remlblup.storage.relationships import read_arrays

    with (tmp_path / "x.npz").open("wb") as file:
        np.savez(file, values=np.array([[object()]], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        read_arrays((tmp_path / "x.npz").read_bytes(), 1)


def test_malformed_sparse_arrays_are_refused(tmp_path):
    from remlblup.storage.relationships import read_arrays

    with (tmp_path / "x.npz").open("wb") as file:
        np.savez(file, data=np.ones(2), indices=np.array([0, 99]), indptr=np.array([0, 1, 2]))
    with pytest.raises(ValueError):
        read_arrays((tmp_path / "x.npz").read_bytes(), 2)


@pytest.mark.parametrize("kind", ["Int64", "float32", "object", "string", "datetime", "category of floats"])
def test_models_of_unusual_columns(tmp_path, kind):
    """What a column was is what it is again: the same model, the same ℓ."""
    rng = np.random.default_rng(6)
    x = np.resize(np.arange(6), 48)
    data = pd.DataFrame(
        {"g": np.repeat(np.arange(8), 6), "y": (rng.normal(size=48) + np.repeat(rng.normal(size=8), 6))}
    )
    data["y"] = data["y"].astype("float32")
    dates = [datetime.datetime(2024, 1, int(k) + 1) for k in x]
    data["x"] = {
        "Int64": lambda: pd.array(x, dtype="Int64"),
        "float32": lambda: (x / 3).astype(np.float32),
        "object": lambda: pd.Series(x.tolist(), dtype=object),
        "string": lambda: pd.array([f"={k}" for k in x], dtype="string"),
        "datetime": lambda: pd.Categorical(dates),
        "category of floats": lambda: pd.Categorical(x / 3, categories=sorted(set(x / 3), reverse=True)),
    }[kind]()
    fit = rb.MixedModel("y ~ x + (1 | g)", data).fit()
    back = rb.load(fit.save(tmp_path / "fit"))
    assert back.loglik == fit.loglik
    assert back.fixed_effects.index.tolist() == fit.fixed_effects.index.tolist()
    assert np.array_equal(back.fixed_effects["estimate"], fit.fixed_effects["estimate"])


def test_names_of_relationships_make_names_of_files(tmp_path):
    from remlblup.storage.model import stems_of

    stems = stems_of(["A", "a", "größe", "../x", "/etc/passwd", "K1", "n" * 200, ""])
    assert stems["A"] == "A" and stems["K1"] not in ("A", "a")
    assert len({s.lower() for s in stems.values()}) == 8
    assert all(s.isascii() and s.isalnum() and len(s) <= 60 for s in stems.values())
