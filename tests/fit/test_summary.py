"""The report of a fit, as text and as HTML."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.report.matrix_tables import matrix_table
from remlblup.report.summary import Summary, random_table
from remlblup.report.text import Table, aligned, decimals, p_value, under_headings


@pytest.fixture(scope="module")
def sleep():
    return rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit()


def row(text: str, start: str) -> list[str]:
    """Cells of the first line that begins so."""
    line = next(one for one in text.splitlines() if one.startswith(start))
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_components_and_fixed_effects(sleep):
    text = str(sleep.summary())
    assert row(text, "1 + Days | Subject") == [
        "1 + Days | Subject",
        "var(Intercept)",
        "612.09",
        "288.78",
        "2.12",
        "free",
    ]
    assert row(text, "residual") == ["residual", "variance", "654.94", "77.19", "8.49", "free"]
    fixed = text[text.index("Fixed effects") :]
    assert row(fixed, "Days") == ["Days", "10.467", "1.546", "17.0", "6.77", "<0.0001", "7.206", "13.729"]
    assert row(text, "Random") == ["Random", "1 + Days | Subject: 18 levels, 2 effects (Intercept, Days)"]


def test_layout(sleep):
    lines = str(sleep.summary()).splitlines()
    assert max(map(len, lines)) <= 100
    assert not [one for one in lines if one != one.rstrip()]
    start = next(k for k, one in enumerate(lines) if one.startswith("term"))
    points = {one.index(".") for one in lines[start + 1 : start + 5]}
    assert len(points) == 1  # decimal points under each other
    assert "NaN" not in "\n".join(lines) and "nan" not in "\n".join(lines)


def test_a_boundary_component_has_no_standard_error():
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit()
    text = str(fit.summary())
    assert row(text, "Batch") == ["Batch", "variance", "0", "0.0 %", "boundary"]
    assert row(text, "Boundary") == ["Boundary", "Batch"]
    assert row(text, "Random") == ["Random", "Batch: 6 levels"]


def test_shares_add_up_and_only_where_variances_do(sleep):
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit()
    shares = [
        float(line.split("%")[0].split()[-1])
        for line in str(fit.summary()).splitlines()
        if " % " in line and "free" in line
    ]
    assert sum(shares) == pytest.approx(100.0)
    expected = 100 * fit.theta / fit.theta.sum()
    np.testing.assert_allclose(shares, expected, atol=0.05)
    assert "share" not in str(sleep.summary())
    weighted = rb.datasets.load("dyestuff").assign(w=lambda d: 1.0 + d.index)
    assert "share" not in str(rb.MixedModel("Yield ~ 1 + (1 | Batch)", weighted, weights="w").fit().summary())


def test_levels_of_a_pedigree_without_records():
    calves, pedigree = rb.datasets.load("mrode_weaning"), rb.datasets.mrode_pedigree()
    model = rb.MixedModel("gain ~ sex + (1 | vm(animal, A))", calves, relationships={"A": pedigree})
    assert "vm(animal, A): 8 levels, 5 with records" in str(
        model.fit(fix={"vm(animal, A)": 20, "residual": 40}).summary()
    )


def test_dropped_records_are_counted():
    data = rb.datasets.load("sleepstudy")
    data.loc[[3, 8], "Reaction"] = np.nan
    text = str(rb.MixedModel("Reaction ~ Days + (1 | Subject)", data).fit().summary())
    assert "178 (2 more dropped for missing values: Reaction 2)" in text


def test_not_converged_is_told_first_and_explained(sleep):
    data = rb.datasets.load("sleepstudy").iloc[1:]  # unbalanced, or one step would be enough
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", data).fit(max_iterations=1)
    text = str(fit.summary())
    assert text.startswith("Linear mixed model by REML: NOT CONVERGED")
    assert row(text, "gradient")[3] == "NO"
    assert "NOT CONVERGED" not in str(sleep.summary())
    assert 'class="failed"' in fit.summary()._repr_html_()


def test_many_fixed_effects_are_cut(sleep):
    data = rb.datasets.load("sleepstudy")
    data["cell"] = (np.arange(len(data)) // 3).astype(str)
    text = str(rb.MixedModel("Reaction ~ 0 + cell + (1 | Subject)", data).fit().summary())
    assert sum(one.startswith("cell[") for one in text.splitlines()) == 40
    assert "20 more coefficients" in text


def test_ml_and_functions(sleep):
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff")).fit(method="ML")
    ratio = fit.function("Batch / (Batch + residual)")
    text = str(Summary(fit, {"icc": ratio}))
    assert text.startswith("Linear mixed model by ML\n")
    cells = row(text, "icc")
    assert cells[1] == "Batch / (Batch + residual)"
    assert float(cells[2]) == pytest.approx(ratio.estimate, rel=1e-4)
    assert float(cells[3]) == pytest.approx(ratio.std_error, rel=1e-3)


def test_html_escapes_and_holds_the_same_cells(sleep):
    page = sleep.summary()._repr_html_()
    for cell in ("612.09", "288.78", "&lt;0.0001", "var(Intercept)"):
        assert f">{cell}</td>" in page
    assert "<0.0001" not in page
    data = rb.datasets.load("dyestuff").rename(columns={"Batch": "a<b"})
    assert "a<b" not in rb.MixedModel("Yield ~ 1 + (1 | `a<b`)", data).fit().summary()._repr_html_()


def test_markdown_and_latex_hold_the_same_cells_and_no_marks(sleep):
    pages = sleep.summary().to_markdown(), sleep.summary().to_latex()
    for page in pages:
        for cell in ("612.09", "288.78", "251.405", "var(Intercept)"):
            assert f" {cell} " in page
    data = rb.datasets.load("dyestuff").rename(columns={"Batch": "a_b|<i>% $"})
    summary = rb.MixedModel("Yield ~ 1 + (1 | `a_b|<i>% $`)", data).fit(max_iterations=1, algorithm="ai").summary()
    text, tex = summary.to_markdown(), summary.to_latex()
    assert "a\\_b\\|&lt;i&gt;% $" in text and "<i>" not in text
    assert r"a\_b\textbar{}\textless{}i\textgreater{}\% \$" in tex
    assert "g'H$^{-1}$g" in tex and "$-$" in tex and "---" in text  # a power is no minus sign
    for line in tex.splitlines():  # every environment, group and formula is closed
        assert line.replace(r"\$", "").count("$") % 2 == 0
    assert tex.count(r"\begin{") == tex.count(r"\end{")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in rows if "criterion" in line} == {6}


def test_first_levels_of_the_random_effects(sleep):
    table = random_table(sleep, 3)
    assert [r[1:3] for r in table.rows] == [(e, s) for e in ("Intercept", "Days") for s in ("308", "309", "310")]
    assert "first 3 levels" in table.note
    assert random_table(sleep, 18).note == ""


def test_decimals_follow_the_standard_error():
    estimate, error = aligned([612.0899, 0.0012345678], [288.783, math.nan])
    assert estimate[0].strip() == "612.09" and error[0].strip() == "288.78"
    assert estimate[1].strip() == "0.0012346" and error[1] == ""
    assert [c[0] for c in aligned([10000.0], [0.05])] == ["10000.00000", "0.05000"]
    assert aligned([9.0, 11.0], [1.0, 1.0])[0] == ["9.000", "11.000"]  # one decimal apart: the fewer
    assert decimals(3e9, 1e9) is None
    assert [c.strip() for c in aligned([3e9], [1e9])[0]] == ["3.0000e+09"]
    assert [c.strip() for c in aligned([0.0], [math.nan])[0]] == ["0"]


def test_p_values():
    assert [p_value(v) for v in (0.5, 1e-4, 9.9e-5, math.nan)] == ["0.5000", "0.0001", "<0.0001", ""]


def test_table_text():
    table = Table("T", ("name", "x"), (("a", "1.5"), ("long", "10")), note="n")
    assert table.text() == "T\n-\nname    x\na     1.5\nlong   10\nn"


# -- structures ----------------------------------------------------------------------------------


def traits(n: int = 60, names: tuple[str, ...] = ("gain", "fat")) -> pd.DataFrame:
    """Two records of several correlated traits on each of n animals, the last trait missing in some."""
    rng = np.random.default_rng(17)
    t = len(names)
    L = np.linalg.cholesky(0.5 * np.eye(t) + 0.5)
    u, e = 2.0 * rng.normal(size=(n, t)) @ L.T, rng.normal(size=(2 * n, t)) @ L.T
    data = pd.DataFrame(u[np.repeat(np.arange(n), 2)] + e, columns=list(names))
    data.loc[[3, 8, 40], names[-1]] = np.nan
    return data.assign(animal=np.repeat(np.arange(n), 2))


@pytest.fixture(scope="module")
def two_traits():
    model = rb.MixedModel("c(gain, fat) ~ trait + us(trait | animal)", traits(), residual="us(trait | units)")
    return model.fit()


def test_matrices_show_covariances_below_and_correlations_above(two_traits):
    text = str(two_traits.summary())
    for term in ("us(trait | animal)", "residual"):
        block = text[text.index(f"{term}: covariances below the diagonal, correlations above (s.e.)") :]
        head, gain, fat = (line.split() for line in block.splitlines()[2:5])
        sigma, r = two_traits.covariance(term).to_numpy(), two_traits.correlation(term).to_numpy()
        error = two_traits.correlation_errors(term).to_numpy()
        assert head == ["trait", "gain", "fat"]
        shown = [float(gain[1]), *map(float, fat[1:])]
        assert shown == pytest.approx([sigma[0, 0], sigma[1, 0], sigma[1, 1]], rel=1e-4)
        assert gain[2:] == [f"{r[0, 1]:.4f}", f"({error[0, 1]:.3f})"]
    assert '<td class="n">' + f"{r[0, 1]:.4f} ({error[0, 1]:.3f})</td>" in two_traits.summary().html()


def test_residuals_are_named_as_written(two_traits):
    text = str(two_traits.summary())
    assert row(text, "Residual") == ["Residual", "us(trait | units): 120 units, 2 effects"]
    assert row(text, "Records")[1] == "237 values of gain, fat in 120 rows, missing: fat 3"
    data = rb.datasets.load("orthodont")
    for residual, sizes in {
        "ar1(age | Subject)": "27 subjects",
        "diag(Sex | units)": "2 groups",
        "us(age | Subject) | Sex": "2 parts (Female, Male)",
    }.items():
        fit = rb.MixedModel("distance ~ age", data, residual=residual).fit()
        assert row(str(fit.summary()), "Residual")[1].startswith(f"{residual}: {sizes}")
    assert "Residual " not in str(rb.MixedModel("distance ~ age", data).fit().summary())


def test_a_field_with_units_is_one_residual():
    rng = np.random.default_rng(3)
    row_, col = (a.ravel() for a in np.indices((6, 8)))
    data = pd.DataFrame({"row": row_, "col": col, "y": np.cumsum(rng.normal(size=48))}).drop(index=[5, 17])
    fit = rb.MixedModel("y ~ 1", data, residual="ar1(row):ar1(col) + units").fit(max_iterations=3)
    text = str(fit.summary())
    assert row(text, "Residual")[1] == "ar1(row):ar1(col) + units: 6 × 8 plots, 2 without a record"
    assert "Random " not in text


@pytest.mark.parametrize("t", [2, 5, 8, 9])
def test_lines_stay_within_100_characters(t):
    names = tuple(f"milk_protein_yield_{k}" for k in range(t))
    data = traits(40, names)
    model = rb.MixedModel(f"c({', '.join(names)}) ~ trait + us(trait | animal)", data, residual="us(trait | units)")
    text = str(model.fit(max_iterations=1).summary())
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("covariances below the diagonal") == (2 if t <= 8 else 0)


def test_long_terms_stand_above_their_parameters():
    header = ("term", "parameter", "estimate", "status")
    table = Table(
        "T",
        header,
        (("long term", "a", "1.0", "free"), ("", "bc", "2.0", "free"), ("r", "d", "3.0", "fixed")),
        2,
        ("status",),
    )
    shown = under_headings(table)
    assert shown.text().splitlines()[2:] == [
        "  parameter  estimate  status",
        "long term",
        "  a               1.0  free",
        "  bc              2.0  free",
        "r",
        "  d               3.0  fixed",
    ]
    assert '<td colspan="3">long term</td>' in shown.html()


def test_independent_effects_have_no_matrix():
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days || Subject)", rb.datasets.load("sleepstudy")).fit()
    assert "covariances below" not in str(fit.summary())


def test_a_zero_variance_leaves_its_correlations_blank():
    table = matrix_table("term", "trait", ("a", "b"), np.diag([2.0, 0.0]), np.zeros((2, 2)))
    assert table.rows == (("a", "2.0000", ""), ("b", "0", "0"))


def test_the_heading_of_infinite_df_says_why():
    """Variances that are given, by `solve` or by fix=, make the tests normal; other headings name their method."""
    from remlblup.cli.commands import solution_report

    model = rb.MixedModel("Reaction ~ Days + (1 | Subject)", rb.datasets.load("sleepstudy"))
    fit = model.fit()
    held = model.fit(fix=fit.variances)
    for text in (solution_report(model.solve(fit.variances)), str(held.summary())):
        assert "\nFixed effects (infinite df, for all variances are given)\n" in text
    assert "\nFixed effects (Satterthwaite df)\n" in str(fit.summary())
