"""The drawing of a pedigree: who stands where, with which symbol."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

import remlblup as rb
from remlblup.errors import OptionError
from remlblup.plot.pedigree import display_rows, positions

PED = rb.Pedigree(
    ["calf", "cow", "twin", "late", "x"],
    ["bull", "granddad", "bull", "bull", "late_sire"],
    ["cow", "granny", "cow", None, "late"],
)


def symbols(ax):
    """Number of squares, circles and diamonds, and where they are."""
    return [np.asarray(found.get_offsets()) for found in ax.collections]


def test_symbols_rows_and_labels():
    ax = rb.plot_pedigree(PED)
    squares, circles, diamonds = symbols(ax)
    assert (len(squares), len(circles), len(diamonds)) == (3, 3, 3)
    row = dict(zip(PED.labels, display_rows(PED), strict=True))
    assert [row[k] for k in ("granddad", "granny", "cow", "calf", "twin")] == [0, 0, 1, 2, 2]
    assert row["bull"] == 0  # above its oldest offspring, late
    assert row["late_sire"] == 1  # a founder stands one row above its offspring
    texts = {t.get_text() for t in ax.texts}
    assert set(PED.labels) <= texts
    every = np.vstack([squares, circles, diamonds])
    assert sorted(np.unique(every[:, 1]).tolist()) == [-2, -1, 0]
    assert ax.get_title("left") == "Pedigree of 9 animals"


def test_no_two_symbols_overlap_and_sibs_stand_together():
    flock = rb.simulate_flock(100, n_years=4, seed=3).pedigree
    ped = rb.Pedigree.from_frame(flock)
    row = display_rows(ped)
    x = positions(ped.sire, ped.dam, row)
    for r in np.unique(row):
        assert np.diff(np.sort(x[row == r])).min(initial=9.0) > 1.0 - 1e-9
    for parent in (ped.sire, ped.dam):  # parents are above
        known = parent >= 0
        assert (row[parent[known]] < row[known]).all()


def test_every_parent_is_joined_to_its_offspring():
    """From each parent a line goes to a point over the calf; the calf hangs from its bar."""
    ped = rb.Pedigree(["c"], ["s"], ["d"])
    ax = rb.plot_pedigree(ped)
    squares, circles, diamonds = symbols(ax)
    ends = [line.get_xydata() for line in ax.lines]
    starts = {tuple(np.round(e[0], 9)) for e in ends}
    assert tuple(np.round(squares[0], 9)) in starts
    assert tuple(np.round(circles[0], 9)) in starts
    assert any(np.allclose(e[-1], diamonds[0]) for e in ends)


def test_inbreeding_is_shaded_or_written():
    ped = rb.Pedigree(list("abcd"), [None, None, "a", "a"], [None, None, "b", "c"])
    assert "0.25" in {t.get_text() for t in rb.plot_pedigree(ped, inbreeding="write").texts}
    plain, shaded = (rb.plot_pedigree(ped, inbreeding=way).collections[-1].get_facecolor() for way in ("none", "shade"))
    assert (plain[:, :3] == 1).all()
    assert (shaded[-1, :3] != 1).any()
    with pytest.raises(OptionError, match="inbreeding='loud'"):
        rb.plot_pedigree(ped, inbreeding="loud")


def test_some_animals_in_given_axes():
    ax = plt.subplots()[1]
    assert rb.plot_pedigree(PED, animals=["cow"], ax=ax) is ax
    assert ax.get_title("left") == "Pedigree of 3 animals"


def test_selfed_plants_are_diamonds():
    line = rb.Pedigree(["p", "s1", "s2"], [None, "p", "s1"], [None, "p", "s1"], hermaphrodites=True)
    squares, circles, diamonds = symbols(rb.plot_pedigree(line))
    assert (len(squares), len(circles), len(diamonds)) == (0, 0, 3)


def test_large_pedigrees_are_refused_with_a_remedy():
    ped = rb.Pedigree(np.arange(1, 152), [0] * 151, [0] * 151)
    with pytest.raises(OptionError, match=r"151 animals cannot be read; at most 150.*animals=\[\.\.\.\]"):
        rb.plot_pedigree(ped)


def test_what_is_no_pedigree_is_refused():
    bulls = rb.Pedigree.from_maternal_grandsires(["b"], ["a"], ["c"])
    for wrong in (bulls, "x", None):
        with pytest.raises(rb.RelationshipError, match=f"draws a Pedigree of animals.*given {type(wrong).__name__}"):
            rb.plot_pedigree(wrong)
    with pytest.raises(rb.PedigreeError, match="animals= is empty"):
        rb.plot_pedigree(PED, animals=[])
