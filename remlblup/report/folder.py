"""A fit as a folder for readers: report.txt, report.html with the plots in it, PNG files, tables, fit.json."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from remlblup._version import __version__
from remlblup.errors import ModelError
from remlblup.fit.terms.factors import factors
from remlblup.fit.terms.field_maps import fields_of, residual_parts
from remlblup.fit.terms.variogram import is_field
from remlblup.model.effects import Covariates
from remlblup.plot.field import kinds_of
from remlblup.plot.random_effects import LABELLED
from remlblup.report.summary import Summary, is_units
from remlblup.report.text import Table, frame_table
from remlblup.storage.fit import save
from remlblup.structure.covariance.factor_analytic import FactorAnalytic
from remlblup.structure.covariance.reduced_rank import ReducedRank
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Exponential
from remlblup.structure.residual.field import Field

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from remlblup.fit.tables.functions import Estimate
    from remlblup.plot.methods import Plotted

RESOLUTION = 160  # dots per inch of the PNG files
WIDTH, HEIGHT = 6.0, 4.2  # inches
PANELS = 8  # caterpillar plots in a report at most


def write_report(
    fit: Plotted,
    folder: str | Path,
    *,
    title: str | None = None,
    functions: Mapping[str, Estimate] | None = None,
    sections: Sequence[Table] = (),
    escape: bool = True,
) -> Path:
    """Write a fit to a folder: text and HTML report, plots, fit.json and the tables as CSV.

    All of it is written or nothing; the files of an earlier fit in the folder go, those of others stay.

    Parameters
    ----------
    fit : Fit
    folder : where to write; made if needed
    title : heading of the HTML page; the formula without
    functions : name → `Estimate`, listed with the components
    sections : further tables behind those of the summary
    escape : as in `Fit.save`

    Returns
    -------
    Path of the folder. `remlblup.load` reads the fit in it.

    Raises
    ------
    StoreError
        If `folder` is a file, or something cannot be written.
    """
    summary = Summary(fit, functions)
    text = "\n\n".join([str(summary), *(table.text() for table in sections)])
    images = plots(fit)
    page = html_page(fit, summary, list(images.values()), title or fit.formula or "Linear mixed model", sections)
    files: dict[str, str | bytes] = {"report.txt": text + "\n", "report.html": page}
    return save(fit, folder, escape=escape, extra=files | {f"{name}.png": image for name, (_, image) in images.items()})


# -- plots -----------------------------------------------------------------------------------


def plots(fit: Plotted) -> dict[str, tuple[str, bytes]]:
    """Name of the file → (caption, PNG): convergence, every random effect, what the structures call for, residuals."""
    out = {"convergence": (CAPTIONS["convergence"], png(fit.plot_convergence))}
    pairs = [(d.name, str(e), d.q) for d in fit.specification.random if not is_units(d) for e in d.structure.effects]
    for k, (term, effect, levels) in enumerate(pairs[:PANELS]):
        name = "random_effects" if len(pairs) == 1 else f"random_effects_{k + 1}"
        caption = f"{term}, {effect}: {CAPTIONS['random_effects']}"
        height = max(HEIGHT, 1.2 + 0.15 * levels) if levels <= LABELLED else HEIGHT
        out[name] = (caption, png(fit.plot_random_effects, term, effect, height=height))
    out |= factor_plots(fit) | regression_plots(fit)
    out["residuals"] = (CAPTIONS["residuals"], png(fit.plot_residuals))
    return out | residual_plots(fit)


def factor_plots(fit: Plotted) -> dict[str, tuple[str, bytes]]:
    """Biplot and latent regression of each term with factors."""
    out = {}
    found = [d for d in fit.specification.random if isinstance(d.structure, FactorAnalytic | ReducedRank)]
    for k, design in enumerate(d for d in found if not isinstance(d.spec, Covariates)):
        end = "" if len(found) == 1 else f"_{k + 1}"
        if factors(fit, design.name).k > 1:
            caption = f"{design.name}: {CAPTIONS['biplot']}"
            out[f"biplot{end}"] = (caption, png(fit.plot_biplot, design.name, height=5.2))
        caption = f"{design.name}: {CAPTIONS['latent_regression']}"
        out[f"latent_regression{end}"] = (caption, png(fit.plot_latent_regression, design.name))
    return out


def regression_plots(fit: Plotted) -> dict[str, tuple[str, bytes]]:
    """The covariance function of each term that names a structure over functions of a covariate."""
    named = [
        d.name
        for d in fit.specification.random
        if d.term is not None and d.term.named and d.t > 1 and isinstance(d.spec, Covariates)
    ]
    out = {}
    for k, name in enumerate(named):
        try:
            image = png_of(fit.plot_covariance_function, name, shape=(1, 2))
        except ModelError:  # effects of a factor, or of several covariates
            continue
        end = "" if len(named) == 1 else f"_{k + 1}"
        out[f"covariance_function{end}"] = (f"{name}: {CAPTIONS['function']}", image)
    return out


def residual_plots(fit: Plotted) -> dict[str, tuple[str, bytes]]:
    """Maps and variogram where the residual has a field or times; the first field of several is mapped."""
    parts = residual_parts(fit)
    field = isinstance(parts[0].structure, Field)
    if not field and not isinstance(parts[0].structure, Exponential | Blocks):
        return {}
    out = {}
    if field:
        one, count = fields_of(fit)[0], len(kinds_of(fit, "all"))
        tall = one.extent[0] > one.extent[1]
        shape, size = ((1, count), (2.6 * count, 4.2)) if tall else ((count, 1), (WIDTH, 2.6 * count))
        caption = (f"{one.label}: " if one.label else "") + CAPTIONS["field"]
        out["field"] = (caption, png_of(fit.plot_field, "all", one.label or None, shape=shape, size=size))
    two = any(is_field(part) for part in parts)
    with contextlib.suppress(ModelError):  # traits of a unit: no distances
        out["variogram"] = (CAPTIONS["variogram"], png_of(fit.plot_variogram, shape=(1, 2) if two else (1, 1)))
    return out


CAPTIONS = {
    "convergence": "Log-likelihood still to be gained and gradient by iteration, with the step taken.",
    "random_effects": "BLUPs in order, with 95 % prediction intervals.",
    "residuals": "Residuals against fitted values. BLUPs are shrunken: with few records per level a rising"
    " smooth is expected; look for curvature, outliers and uneven spread.",
    "biplot": "loadings of the effects (arrows) and factor scores of the levels (points).",
    "latent_regression": "BLUPs against the loadings on the first factor; slopes are factor scores.",
    "function": "variance along the covariate with its 95 % band, and eigenfunctions.",
    "field": "data and residuals by plot in one colour scale; cells without a record are hatched.",
    "variogram": "Average half squared difference of pairs of residuals by displacement, and the fitted model's."
    " Residuals vary less than errors, so points lie somewhat below a correct model's line.",
}


def png(draw: Callable[..., object], *arguments: object, height: float = HEIGHT) -> bytes:
    """What `draw(*arguments, ax=…)` draws."""
    figure = new_figure((WIDTH, height))
    draw(*arguments, ax=figure.add_subplot())
    return rendered(figure)


def png_of(
    draw: Callable[..., object], *arguments: object, shape: tuple[int, int], size: tuple[float, float] | None = None
) -> bytes:
    """What `draw(*arguments, axes=…)` draws on Axes of `shape`; of maps, which come with a `size`, close together."""
    wide = 4.4 * shape[1] if shape[1] > 1 else WIDTH
    figure = new_figure(size or (wide, HEIGHT), "compressed" if size else "constrained")
    draw(*arguments, axes=figure.subplots(*shape, squeeze=False))
    return rendered(figure)


def new_figure(size: tuple[float, float], layout: str = "constrained") -> Figure:
    """A figure without pyplot and its open figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION)
    return buffer.getvalue()


# -- the page --------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.2rem 1rem 3rem; color: #222; background: #fff;
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.4rem 0 .5rem; }
.failed { color: #b03a00; }
.scroll { overflow-x: auto; margin: 0 0 1.4rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; font-weight: 600; padding: 0 0 .35rem; white-space: nowrap; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; vertical-align: top; white-space: nowrap; }
thead th { border-bottom: 2px solid #777; font-weight: 600; }
tbody td { border-bottom: 1px solid #e3e3e3; }
th.n, td.n { text-align: right; padding: .28rem 0 .28rem 1.2rem; }
td.n + td:not(.n), th.n + th:not(.n) { padding-left: 1.2rem; }
.facts th { font-weight: 600; color: #555; }
.facts th, .facts td { border: 0; padding-top: .12rem; padding-bottom: .12rem; }
.facts td { white-space: normal; overflow-wrap: anywhere; }
.note { color: #555; font-size: .88rem; margin: -1rem 0 1.4rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.4rem; }
figure { margin: 0; break-inside: avoid; }
img { width: 100%; height: auto; display: block; }
figcaption { font-size: .88rem; color: #555; }
summary { cursor: pointer; font-weight: 600; }
details { margin-top: 1.6rem; }
footer { margin-top: 2rem; font-size: .85rem; color: #555; }
@media (max-width: 40rem) { body { font-size: 15px; } table { font-size: .85rem; } }
@media print { body { max-width: none; padding: 0; font-size: 9.5pt; } .plots { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; break-inside: avoid; margin-bottom: .8rem; } tr { break-inside: avoid; }
  th, td, th.n, td.n { padding-top: .12rem; padding-bottom: .12rem; } }
"""


def html_page(
    fit: Plotted, summary: Summary, figures: Sequence[tuple[str, bytes]], title: str, sections: Sequence[Table]
) -> str:
    """The whole page; nothing in it is fetched from anywhere."""
    images = "\n".join(
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
        for caption, image in figures
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{html.escape(title)}</h1>
{summary.html()}
{"".join(table.html() for table in sections)}
<h2>Plots</h2>
<div class="plots">
{images}
</div>
<details>
<summary>Iterations</summary>
{iterations(fit).html()}
</details>
<footer>remlblup {html.escape(__version__)}. The same numbers are in fit.json and the CSV files of this
folder; <code>remlblup.load</code> reads them back.</footer>
</body>
</html>
"""


def iterations(fit: Plotted) -> Table:
    """The history; the first and last 50 iterations of a long one."""
    history = fit.history.copy()
    for column, places in (("loglik", ".6f"), ("delta", "+.2e"), ("gradient", ".2e"), ("seconds", ".3f")):
        history[column] = [f"{v:{places}}" if v == v else "" for v in history[column]]
    if len(history) > 100:
        history = history.iloc[[*range(50), *range(len(history) - 50, len(history))]]
    kept = [c for c in history if c not in ("decrement", "change")]
    table = frame_table(history[kept].astype({"iteration": object}), "")
    return Table(table.title, table.header, table.rows, 0, ("step", "boundary"))
