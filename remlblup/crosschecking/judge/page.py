"""A cross-check in print: text, or one page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from remlblup.errors import StoreError

if TYPE_CHECKING:
    from remlblup.crosschecking.judge.verdict import Found

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;display:block;overflow-x:auto}"
    "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #8884}"
    "td:first-child,th:first-child{text-align:left}"
    "img{max-width:100%}"
)


@dataclass(frozen=True)
class Page:
    """What is printed.

    Attributes
    ----------
    found : what the verdict rests on
    verdict, likelihoods : in words
    tables : heading → table
    """

    found: Found
    verdict: str
    likelihoods: str
    tables: Mapping[str, pd.DataFrame]

    @property
    def heading(self) -> str:
        return f"Cross-check with {self.found.results.program}"

    @property
    def sentence(self) -> str:
        return self.verdict[:1].upper() + self.verdict[1:]


def text(page: Page) -> str:
    """Verdict and tables as text."""
    lines = [page.heading, "", page.sentence, ""]
    lines += [page.likelihoods, ""]
    for heading, table in page.tables.items():
        lines += [heading, table.to_string(index=False, na_rep="", float_format=lambda v: f"{v:.6g}"), ""]
    return "\n".join(lines)


def html_body(page: Page, plot: bool = True) -> str:
    """The same as a piece of a page."""
    out = [
        f"<h1>{escape(page.heading)}</h1>",
        f"<p><strong>{escape(page.sentence)}</strong></p>",
        f"<p>{escape(page.likelihoods)}</p>",
    ]
    for heading, table in page.tables.items():
        shown = table.to_html(index=False, na_rep="", float_format=lambda v: f"{v:.6g}", border=0, escape=True)
        out.append(f"<h2>{escape(heading)}</h2>{shown}")
    if plot:
        out.append(f'<img alt="Their components in standard errors from ours" src="{_figure(page)}">')
    return "\n".join(out)


def _figure(page: Page) -> str:
    from matplotlib.figure import Figure

    from remlblup.crosschecking.judge.figure import plot_crosscheck

    figure = Figure(figsize=(8.0, 1.5 + 0.5 * len(page.found.fit.theta)), layout="constrained")
    plot_crosscheck(page.found, page.verdict, figure.subplots())
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=140)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def write(page: Page, path: str | Path) -> Path:
    """See `CrossCheck.report`."""
    path = Path(path)
    if path.suffix.lower() in (".html", ".htm"):
        name = escape(page.heading)
        head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        content = f"{head}<body>{html_body(page)}</body></html>\n"
    else:
        content = text(page)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from None
    return path
