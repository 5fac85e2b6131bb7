"""`Fit.report`: one page with everything in it, whatever the model and however the fit ended."""

from __future__ import annotations

import html
import re

import numpy as np
import pandas as pd
import pytest

import remlblup as rb
from remlblup.report.page import Page
from remlblup.report.sections import arguments_of_means, described_column

from .conftest import trial
from .test_report import Page as Read


@pytest.fixture(autouse=True)
def pictures(request, monkeypatch):
    """Small ones where they are looked at; else none, for the time they take."""
    monkeypatch.setattr("remlblup.report.figures.RESOLUTION", 20)
    if "draws" not in request.keywords:
        monkeypatch.setattr("remlblup.report.page.pictures", lambda fit, seed: [])


draws = pytest.mark.draws


@pytest.fixture(scope="module")
def oats():
    return rb.MixedModel("yield ~ nitroF * Variety + (1 | Block/Variety)", rb.datasets.load("oats")).fit()


def section(text: str, name: str) -> str:
    """The HTML of one section."""
    found = re.search(rf'<section id="{name}">(.*?)</section>', text, re.S)
    assert found is not None, name
    return found[1]


@draws
def test_one_file_with_everything(oats, tmp_path):
    path = oats.report(tmp_path / "new" / "out.html", means=["Variety", {"factors": "nitroF", "by": "Variety"}])
    assert path == tmp_path / "new" / "out.html"
    assert [p.name for p in path.parent.iterdir()] == ["out.html"]
    text = path.read_text(encoding="utf-8")
    page = Read(text)
    assert page.open == []
    assert not set(page.tags) & {"script", "link", "iframe", "object"}
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text
    # Every number comes from the method that gives it.
    tests, fixed = oats.wald_tests(), section(text, "fixed")
    for F, df in zip(tests["F"], tests["den_df"], strict=True):
        assert f">{F:.3f}</td>" in fixed and f">{df:.1f}</td>" in fixed
    for mean in oats.marginal_means("Variety").table["mean"]:
        assert f">{mean:.3f}</td>" in fixed
    lower = oats.intervals()["lower"]
    assert all(f">{v:.2f}</td>" in section(text, "components") for v in lower)
    for criterion in oats.convergence.criteria:
        assert f">{criterion.value:.2e}</td>" in section(text, "verdict")
    assert text.count('<img alt="Means of') == 2


def test_the_model_in_mathematical_notation(oats, tmp_path):
    model = section(oats.report(tmp_path / "o.html").read_text(encoding="utf-8"), "model")
    plain = re.sub(r"\s+", "", re.sub(r"<[^>]+>", "", model))
    assert "y=Xβ+Z1u1+Z2u2+e" in plain
    assert "u1∼N(0,σ12I6)" in plain and "e∼N(0,σe2I72)" in plain


@pytest.mark.parametrize(
    ("formula", "residual", "expected"),
    [
        ("y ~ 1 + us(a | g)", "units", "Σ=[σij]≈["),
        ("y ~ 1 + cs(a | g)", "units", "Σ=σ2[(1−ρ)I+ρJ]≈["),
        ("y ~ 1 + diag(a | g)", "units", "Σ=diag(σ12,…)≈["),
        ("y ~ 1 + (1 | g)", "diag(a | units)", "e∼N(0,⨁jσj2I)"),
        ("y ~ 1", "ar1(t | g)", "e∼N(0,⨁i(σ2[ρ|i−j|]))"),
        ("y ~ 1", "cs(t | g)", "e∼N(0,⨁i(σ2[(1−ρ)I+ρJ]))"),
        ("y ~ 1", "cs(t | g) | a", "e∼N(0,⨁a(⨁i(σ2[(1−ρ)I+ρJ]))s)"),
        ("y ~ 1 + (1 | g)", "power(x)", "e∼N(0,σe2diag(|x|2δ))"),
        ("y ~ 1", "ar1(row):ar1(col) + units", "e∼N(0,σe2C(ρrow)⊗C(ρcol)+σunits2I)"),
    ],
)
def test_every_structure_has_its_formula(formula, residual, expected):
    from remlblup.report.notation import notation

    rng = np.random.default_rng(4)
    g, t = (k.ravel() for k in np.indices((8, 6)))
    d = pd.DataFrame({"y": rng.normal(size=48) + rng.normal(size=8)[g], "g": g, "t": t, "row": g, "col": t})
    d = d.assign(a=np.where(t < 3, "p", "q"), x=1.0 + t)
    fit = rb.MixedModel(formula, d, residual=residual).fit(max_iterations=2)
    plain = [re.sub(r"<[^>]+>", "", line) for line in notation(fit).formulas]
    assert any(line.startswith(expected) for line in plain), plain


def test_text_of_the_user_is_text(tmp_path):
    rng = np.random.default_rng(0)
    nasty = ["<script>alert(1)</script>", "a & b", '"quoted"', "<img src=x onerror=alert(2)>", "{{ 7 * 7 }}", "</td>"]
    d = pd.DataFrame({"y": rng.normal(size=24), "<b>bold</b>": np.repeat(nasty, 4), "f": ["<i>", "&amp;"] * 12})
    fit = rb.MixedModel("y ~ f + (1 | `<b>bold</b>`)", d).fit()
    text = fit.report(tmp_path / "x.html", title="<script>t</script>", means=["f"]).read_text(encoding="utf-8")
    assert "<script" not in text and "<b>" not in text and "onerror=alert(2)>" not in text and "<i>" not in text
    assert "{{ 7 * 7 }}" in text and ">49<" not in text
    assert Read(text).open == []
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in section(text, "random")


def test_what_has_not_converged_says_so_loudly(tmp_path):
    d = rb.datasets.load("sleepstudy")
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d).fit(max_iterations=1, algorithm="ai")
    text = fit.report(tmp_path / "n.html").read_text(encoding="utf-8")
    head = text[text.index("<header>") : text.index("</header>")]
    assert '<div class="verdict failed">' in head and "<strong>NOT CONVERGED.</strong>" in head
    assert "those of the last iterate" in " ".join(head.split())
    assert ">NO</td>" in section(text, "verdict") and "<details open>" in text


@draws
def test_components_that_cannot_be_told_apart_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr("remlblup.report.figures.JUDGED", 0)
    rng = np.random.default_rng(2)
    d = pd.DataFrame({"y": rng.normal(size=20), "plot": range(20), "g": np.repeat(range(5), 4)})
    fit = rb.MixedModel("y ~ 1 + (1 | g) + (1 | plot)", d).fit()
    assert fit.convergence.unidentified
    text = fit.report(tmp_path / "u.html").read_text(encoding="utf-8")
    assert fit.flat_direction().verdict in html.unescape(text)  # below its picture
    head = " ".join(text[text.index("<header>") : text.index("</header>")].split())
    assert "<strong>NOT CONVERGED.</strong>" in head and "Do not use what this page says of: plot, residual." in head


def test_a_boundary_is_named_above_all(tmp_path):
    fit = rb.MixedModel("Yield ~ 1 + (1 | Batch)", rb.datasets.load("dyestuff2")).fit()
    text = fit.report(tmp_path / "b.html").read_text(encoding="utf-8")
    assert "On the boundary of the parameter space: Batch." in text[: text.index("<main>")]


@draws
def test_every_field_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr("remlblup.report.figures.JUDGED", 0)
    d = pd.concat([trial(5, 6, 3).assign(site=s) for s in ("north", "south")], ignore_index=True)
    fit = rb.MixedModel("y ~ gen", d, residual="ar1(row):ar1(col) | site").fit()
    names = [p.name for p in Page(fit).pictures]
    assert [n for n in names if n.startswith("field")] == ["field_1", "field_2"]


def test_from_matrices_and_without_random_terms(fixed_only, tmp_path):
    rng = np.random.default_rng(3)
    Z = np.kron(np.eye(6), np.ones((4, 1)))
    fit = rb.MixedModel.from_matrices(rng.normal(size=24) + Z @ rng.normal(size=6), np.ones((24, 1)), [Z]).fit()
    text = fit.report(tmp_path / "m.html").read_text(encoding="utf-8")
    assert "F tests" in section(text, "fixed") and Read(text).open == []  # why there are none, or the tests
    text = fixed_only.report(tmp_path / "f.html").read_text(encoding="utf-8")
    assert 'id="random"' not in text and Read(text).open == []


def test_a_loaded_fit_makes_the_same_page(oats, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    again = rb.load(oats.save(tmp_path / "saved"))
    one, other = (f.report(tmp_path / f"{k}.html").read_text(encoding="utf-8") for k, f in enumerate((oats, again)))
    assert "2001-09-09" in one
    pictureless = [re.sub(r"data:image[^\"]*", "", text) for text in (one, other)]
    assert pictureless[0] == pictureless[1]


def test_data_and_design(tmp_path):
    d = rb.datasets.load("sleepstudy")
    d.loc[[3, 8], "Reaction"] = np.nan
    fit = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", d).fit()
    data = section(fit.report(tmp_path / "d.html").read_text(encoding="utf-8"), "data")
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", data)
    at = cells.index("Reaction")
    assert cells[at + 2] == "2"
    assert "18 levels of 8 to 10 records" in cells
    assert "8 / 10 / 10" in cells or "9 / 10 / 10" in cells  # fewest, median, most
    assert described_column(pd.Series(["a", "b"]), False) == ("2 levels of 1 record",)


def test_records_furthest_from_the_others(oats, tmp_path):
    text = section(oats.report(tmp_path / "o.html").read_text(encoding="utf-8"), "residuals")
    table = oats.outlier_test().head(5)
    for name, t in table["statistic"].items():
        assert re.search(rf"<td>{name}</td>.*?>{t:.2f}</td>", text)


def test_levels_of_a_ranking_and_their_records():
    """Both ends of many levels; a record with a slope of zero counts too."""
    from remlblup.report.sections import rankings

    sleep = rb.MixedModel("Reaction ~ Days + (1 + Days | Subject)", rb.datasets.load("sleepstudy")).fit()
    tables = list(rankings(sleep))
    assert [t.title for t in tables] == ["1 + Days | Subject, Intercept", "1 + Days | Subject, Days"]
    assert {row[-1] for t in tables for row in t.rows} == {"10"}
    flock = rb.simulate_flock(seed=1)
    given = {"A": rb.Pedigree.from_frame(flock.pedigree)}
    fit = rb.MixedModel("y ~ sex + (1 | vm(id, A))", flock.data, given).fit()
    (table,) = rankings(fit)
    u = fit.random_effects.sort_values("estimate", ascending=False, kind="stable")["level"].tolist()
    assert [row[1] for row in table.rows if len(row) > 1] == [str(v) for v in [*u[:10], *u[-10:]]]
    assert table.rows[10] == (f"… {len(u) - 20:,} more levels …",)


def test_means_that_are_not_there():
    assert arguments_of_means("a:b") == [{"factors": "a:b"}]  # marginal_means reads it
    assert arguments_of_means([("a", "b"), {"factors": "c"}]) == [{"factors": ["a", "b"]}, {"factors": "c"}]
    with pytest.raises(rb.OptionError, match="means="):
        arguments_of_means(7)
    with pytest.raises(rb.OptionError, match="means="):
        arguments_of_means([7])


def test_unknown_means_are_told(oats, tmp_path):
    with pytest.raises(rb.RemlBlupError, match=r"means='Sort': 'Sort' is no factor"):
        oats.report(tmp_path / "x.html", means=["Sort"])
    assert not (tmp_path / "x.html").exists()


def test_a_page_that_cannot_be_written(oats, tmp_path):
    (tmp_path / "there.html").mkdir()
    (tmp_path / "mine.dat").write_text("x")
    for path in ("report.pdf", tmp_path / "mine.dat"):
        with pytest.raises(rb.StoreError, match=r"end the name in \.html"):
            oats.report(path)
    with pytest.raises(rb.StoreError, match="cannot be written"):
        oats.report(tmp_path / "there.html")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.dat", "there.html"]


@draws
def test_a_folder_is_replaced_by_the_next_report(oats, tmp_path):
    oats.report(tmp_path / "r", means=["Variety", "nitroF"])
    assert {"means_1.png", "means_2.png", "random_effects_2.png"} <= {p.name for p in (tmp_path / "r").iterdir()}
    (tmp_path / "r" / "mine.txt").write_text("kept")
    fit = rb.MixedModel("yield ~ nitroF + (1 | Block)", rb.datasets.load("oats")).fit()
    fit.report(tmp_path / "r")
    names = {p.name for p in (tmp_path / "r").iterdir()}
    drawn = {n.removesuffix(".png") for n in names if n.endswith(".png")}
    judged = {"residuals", "residuals_qq", "residuals_scale", "influence"}
    assert drawn == {"convergence", "random_effects", *judged}
    assert "mine.txt" in names and "report.html" in names


def test_a_notebook_shows_the_summary(oats):
    assert oats._repr_html_() == oats.summary()._repr_html_()
