"""The report folder: every file, a self-contained page, and a fit that can be read back."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import pandas as pd
import pytest

import remlblup as rb
from remlblup.report.folder import write_report
from remlblup.report.text import Table

from .conftest import trial

PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Cells of the tables, sources of images, and whether the tags close in order."""

    void = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.cells, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
            assert dict(attrs)["alt"]
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells.append(data)


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Without the diagnostics of records, for the time they take; they are looked at in test_page.py."""
    monkeypatch.setattr("remlblup.report.figures.JUDGED", 0)
    monkeypatch.setattr("remlblup.report.figures.RESOLUTION", 20)


@pytest.fixture(scope="module")
def folder(sleep, tmp_path_factory):
    functions = {"ratio": sleep.function("(1 + Days | Subject)[Days] / residual")}
    extra = Table("Truth", ("what", "value"), (("a < b & c", "1"),))
    path = tmp_path_factory.mktemp("report") / "made" / "here"
    return write_report(sleep, path, functions=functions, sections=(extra,))


def test_every_file_is_there(folder):
    names = {p.name for p in folder.iterdir()}
    assert {
        "report.txt",
        "report.html",
        "fit.json",
        "variance_components.csv",
        "fixed_effects.csv",
        "random_effects.csv",
        "convergence.png",
        "residuals.png",
        "random_effects_1.png",
        "random_effects_2.png",
    } <= names
    for name in names:
        if name.endswith(".png"):
            assert (folder / name).read_bytes().startswith(PNG)


def test_text(folder, sleep):
    text = (folder / "report.txt").read_text(encoding="utf-8")
    assert text.startswith("Linear mixed model by REML\n")
    assert "612.09" in text and "ratio" in text and "a < b & c" in text


def test_page_is_whole_and_self_contained(folder):
    text = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    # Of a fixture of the module, made before pictures are few; no traces of a search that ends where it begins.
    assert len(page.sources) == 7
    for source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data).startswith(PNG)
    assert not set(page.tags) & {"script", "link", "iframe"}
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert 'name="viewport"' in text and "@media print" in text


def test_page_holds_the_numbers(folder, sleep):
    text = (folder / "report.html").read_text(encoding="utf-8")
    cells = Page(text).cells
    for expected in ("612.09", "288.78", "251.405", "ratio", "a < b & c", sleep.formula):
        assert expected in cells
    assert str(sleep.convergence) in text


def test_saved_fit_is_read_back(folder, sleep):
    again = rb.load(folder)
    assert again.loglik == pytest.approx(sleep.loglik, rel=1e-12)
    table = pd.read_csv(folder / "variance_components.csv")
    assert table["estimate"].tolist() == pytest.approx(sleep.variance_components["estimate"].tolist())


def test_not_converged_is_marked(slopes, tmp_path):
    path = write_report(slopes.fit(max_iterations=1, algorithm="ai"), tmp_path / "r")
    text = (path / "report.html").read_text(encoding="utf-8")
    assert '<p class="kind">Linear mixed model by REML: NOT CONVERGED</p>' in text
    assert "NOT CONVERGED" in (path / "report.txt").read_text(encoding="utf-8").splitlines()[0]


def test_model_without_random_terms_has_its_plots(fixed_only, tmp_path):
    path = write_report(fixed_only, tmp_path / "r")
    assert sorted(p.name for p in path.glob("*.png")) == ["convergence.png", "residuals.png"]


def test_reports_leave_no_open_figures(sleep, tmp_path):
    import matplotlib.pyplot as plt

    write_report(sleep, tmp_path / "r")
    assert plt.get_fignums() == []


def test_a_file_in_the_way(sleep, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(rb.DataError, match="is a file"):
        write_report(sleep, tmp_path / "x")


def test_structures_have_their_plots(factor_fit, regression, orthodont, tmp_path):
    full = rb.MixedModel("y ~ gen", trial(8, 10, 5), residual="ar1(row):ar1(col) + units").fit()
    times = rb.MixedModel("distance ~ age", orthodont, residual="us(age | Subject)").fit()
    wanted = {
        full: {"field.png", "variogram.png"},
        factor_fit: {"biplot.png", "latent_regression.png"},
        regression: {"covariance_function.png"},
        times: {"variogram.png"},
    }
    for k, (fit, names) in enumerate(wanted.items()):
        path = write_report(fit, tmp_path / str(k))
        assert names <= {p.name for p in path.glob("*.png")}
        assert len(Page((path / "report.html").read_text(encoding="utf-8")).sources) == len(list(path.glob("*.png")))
    assert not list((tmp_path / "0").glob("random_effects*.png"))  # no caterpillar of the units
