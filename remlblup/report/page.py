"""One self-contained page of a fit, made from the templates beside this file."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remlblup.errors import ConvergenceWarning, ModelError, OptionError, StoreError, said_elsewhere
from remlblup.report.figures import HEIGHT, JUDGED, Picture, pictures, png
from remlblup.report.notation import notation
from remlblup.report.provenance import citation, versions, written_on
from remlblup.report.sections import (
    Outcome,
    arguments_of_means,
    asked,
    columns_table,
    intervals_table,
    means_of,
    means_table,
    means_to_dict,
    outliers_table,
    rankings,
    terms_table,
    tests_table,
)
from remlblup.report.summary import Summary, criteria_table, fixed_table
from remlblup.report.text import Table, frame_table

if TYPE_CHECKING:
    from remlblup.fit.tables.functions import Estimate
    from remlblup.plot.methods import Plotted

ELSEWHERE = ("Verdict", "Boundary")  # facts that have their own section
ROWS = 100  # iterations shown: the first and the last half of them


class Page:
    """The parts of a report, each made once: `html` is the page, `pictures` its plots.

    Parameters
    ----------
    fit : Fit
    title : heading; the formula without
    functions : name → `Estimate`, listed with the components
    means : factors whose marginal means are shown, see `Fit.report`
    sections : further tables
    intervals : the method of `Fit.intervals`
    seed : of what is drawn at random
    files : name of the folder's files that the page speaks of; none for a page by itself
    """

    @said_elsewhere(ConvergenceWarning)
    def __init__(
        self,
        fit: Plotted,
        *,
        title: str | None = None,
        functions: Mapping[str, Estimate] | None = None,
        means: object = (),
        sections: Sequence[Table] = (),
        intervals: str = "log",
        seed: int = 0,
        in_folder: bool = False,
    ):
        self.fit = fit
        if title is not None and not isinstance(title, str):
            raise OptionError(f"title={title!r} must be text.")
        self.title = title or fit.formula or "Linear mixed model"
        self.summary = Summary(fit, functions)
        self.sections = tuple(sections)
        self.intervals, self.seed, self.in_folder = intervals, seed, in_folder
        self.means = [means_of(fit, one) for one in arguments_of_means(means)]
        self.pictures = [*pictures(fit, seed), *self._drawn_means()]

    def _drawn_means(self) -> list[Picture]:
        out = []
        for k, means in enumerate(self.means):
            name = "means" if len(self.means) == 1 else f"means_{k + 1}"
            names = ", ".join(map(str, means.table.index.names))
            try:
                image = png(means.plot, height=HEIGHT)
            except ModelError:  # none can be estimated: the table says so
                continue
            out.append(Picture(name, "fixed", f"Means of {names} with 95 % intervals.", image))
        return out

    @said_elsewhere(ConvergenceWarning)
    def html(self) -> str:
        """The whole page; nothing in it is fetched from anywhere."""
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup

        environment = Environment(
            loader=PackageLoader("remlblup.report"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["table"] = lambda table: Markup(table.html())
        environment.filters["base64"] = lambda data: base64.b64encode(data).decode()
        environment.filters["safe_math"] = Markup
        return environment.get_template("report.html").render(self._context())

    def _context(self) -> dict[str, Any]:
        """What the template is filled with."""
        fit, spec = self.fit, self.fit.specification
        drawn: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            drawn.setdefault(picture.section, []).append(picture)
        return {
            "fit": fit,
            "title": self.title,
            "heading": self.summary.title,
            "facts": [fact for fact in self.summary.facts() if fact[0] not in ELSEWHERE],
            "notation": notation(fit),
            "design": [t for t in (columns_table(fit), terms_table(fit)) if t is not None],
            "criteria": criteria_table(fit),
            "iterations": iterations(fit),
            "components": self._components(),
            "fixed": self._fixed() if spec.p else [],
            "rankings": list(rankings(fit)),
            "sections": self.sections,
            "outliers": asked(lambda: outliers_table(fit)) if fit.n_obs <= JUDGED else Outcome(None),
            "drawn": drawn,
            "versions": versions(),
            "date": written_on(),
            "seed": self.seed,
            "citation": citation(),
            "in_folder": self.in_folder,
        }

    def _components(self) -> list[Outcome]:
        tables = self.summary.tables()
        fixed = "Fixed effects", "Convergence"
        shown = [t for t in tables if not t.title.startswith(fixed)]
        functions = {e.expression: e for e in self.summary.functions.values()}
        own = asked(lambda: intervals_table(self.fit, self.intervals, list(functions)))
        return [Outcome(shown[0]), own, *map(Outcome, shown[1:])]

    def _fixed(self) -> list[Outcome]:
        out = [Outcome(fixed_table(self.fit, self.fit.df_method)), asked(lambda: tests_table(self.fit))]
        return out + self.tables_of_means()

    def tables_of_means(self) -> list[Outcome]:
        """A table for each of the means asked for, or why there is none."""
        return [asked(lambda m=m: means_table(m)) for m in self.means]  # type: ignore[misc]

    def results(self) -> dict[str, Any]:
        """What was asked for beside the fit, for fit.json: functions of the components, and means."""
        functions = [{"name": name, **vars(e)} for name, e in self.summary.functions.items()]
        means = [means_to_dict(m) for m in self.means]
        return {name: rows for name, rows in (("functions", functions), ("means", means)) if rows}


def write_page(page: Page, path: str | Path) -> Path:
    """Write the page to a file, all of it or nothing; its folder is made if needed."""
    path = Path(path)
    text = page.html()
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except (OSError, UnicodeError) as error:
        beside.unlink(missing_ok=True)
        raise StoreError(
            f"the report cannot be written to {path}: {getattr(error, 'strerror', None) or error}."
        ) from error
    return path


def iterations(fit: Plotted) -> Table:
    """The history; the first and last 50 iterations of a long one."""
    history = fit.history.copy()
    for column, places in (("loglik", ".6f"), ("delta", "+.2e"), ("gradient", ".2e"), ("seconds", ".3f")):
        history[column] = [f"{v:{places}}" if v == v else "" for v in history[column]]
    if len(history) > ROWS:
        half = ROWS // 2
        history = history.iloc[[*range(half), *range(len(history) - half, len(history))]]
    kept = [c for c in history if c not in ("decrement", "change")]
    table = frame_table(history[kept].astype({"iteration": object}), "")
    return Table(table.title, table.header, table.rows, 0, ("step", "boundary"))
