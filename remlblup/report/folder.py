"""A fit as a folder for readers: report.txt, report.html with the plots in it, PNG files, tables, fit.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remlblup.report.page import Page
from remlblup.report.text import Table
from remlblup.storage.fit import save

if TYPE_CHECKING:
    from remlblup.fit.tables.functions import Estimate
    from remlblup.plot.methods import Plotted


def write_report(
    fit: Plotted,
    folder: str | Path,
    *,
    title: str | None = None,
    functions: Mapping[str, Estimate] | None = None,
    means: object = (),
    sections: Sequence[Table] = (),
    intervals: str = "log",
    seed: int = 0,
    escape: bool = True,
) -> Path:
    """Write a fit to a folder: text and HTML report, plots, fit.json and the tables as CSV.

    All of it is written or nothing; the files of an earlier fit in the folder go, those of others stay.

    Parameters
    ----------
    fit : Fit
    folder : where to write; made if needed
    title, functions, means, sections, intervals, seed : see `Page`
    escape : as in `Fit.save`

    Returns
    -------
    Path of the folder. `remlblup.load` reads the fit in it.

    Raises
    ------
    StoreError
        If `folder` is a file, or something cannot be written.
    """
    page = Page(
        fit,
        title=title,
        functions=functions,
        means=means,
        sections=sections,
        intervals=intervals,
        seed=seed,
        in_folder=True,
    )
    asked_for = [outcome.table.text() if outcome.table else outcome.said for outcome in page.tables_of_means()]
    text = "\n\n".join([str(page.summary), *asked_for, *(table.text() for table in sections)])
    files: dict[str, str | bytes] = {"report.txt": text + "\n", "report.html": page.html()}
    files |= {f"{p.name}.png": p.png for p in page.pictures}
    return save(fit, folder, escape=escape, extra=files, results=page.results())
