"""The plots of a report: what a fit has to show, drawn once, as PNG."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from remlblup.errors import ModelError, OptionError, StochasticError
from remlblup.fit.terms.factors import factors
from remlblup.fit.terms.field_maps import fields_of, residual_parts
from remlblup.fit.terms.variogram import is_field
from remlblup.model.effects import Covariates
from remlblup.plot.field import kinds_of
from remlblup.plot.random_effects import LABELLED
from remlblup.report.summary import is_units
from remlblup.structure.covariance.factor_analytic import FactorAnalytic
from remlblup.structure.covariance.reduced_rank import ReducedRank
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.places import Places

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from remlblup.plot.methods import Plotted

RESOLUTION = 160  # dots per inch of the PNG files
WIDTH, HEIGHT = 5.2, 3.8  # inches: on a telephone the letters of a wider figure are too small
EFFECTS = 12  # effects of one term that are drawn
JUDGED = 5000  # records up to which every one has its studentized residual in a report
DRAWS = 199  # sets of records drawn for a band of 95 %
LEVELS = 200  # levels up to which each is left out


@dataclass(frozen=True)
class Picture:
    """A plot, the section of the page it stands in, and the name of its file."""

    name: str
    section: str
    caption: str
    png: bytes


def pictures(fit: Plotted, seed: int = 0) -> list[Picture]:
    """Convergence, every random effect, what the structures call for, residuals, every field."""
    return [
        *convergence(fit),
        *effects(fit),
        *factor_plots(fit),
        *regression_plots(fit),
        *residuals(fit, seed),
        *fields(fit),
    ]


def convergence(fit: Plotted) -> Iterator[Picture]:
    """Criteria and components by iteration; where components are confounded, the direction in which ℓ is flat."""
    told = "convergence" if fit._equations.knows_likelihood else "steps"
    yield Picture("convergence", "verdict", CAPTIONS[told], png(fit.plot_convergence))
    if len(fit.history) > 1 and set(fit.status) != {"fixed"}:
        with contextlib.suppress(ModelError, OptionError):  # nothing to trace
            yield Picture("traces", "verdict", CAPTIONS["traces"], png(fit.plot_convergence, "components"))
    if fit.convergence.unidentified:
        with contextlib.suppress(ModelError):  # no parameter is free to move
            direction = fit.flat_direction()
            yield Picture(
                "direction", "verdict", direction.verdict, png_of(lambda axes: direction.plot(axes), shape=(2, 1))
            )


def effects(fit: Plotted) -> Iterator[Picture]:
    """The BLUPs of every term in order; of a term with many effects those of the first."""
    pairs = [
        (d.name, str(e), d.q)
        for d in fit.specification.random
        if not is_units(d)
        for e in d.structure.effects[:EFFECTS]
    ]
    for k, (term, effect, levels) in enumerate(pairs):
        name = "random_effects" if len(pairs) == 1 else f"random_effects_{k + 1}"
        height = max(HEIGHT, 1.2 + 0.15 * levels) if levels <= LABELLED else HEIGHT
        image = png(fit.plot_random_effects, term, effect, height=height)
        told = "random_effects" if fit._equations.knows_likelihood else "effects_alone"
        yield Picture(name, "random", f"{term}, {effect}: {CAPTIONS[told]}", image)


def factor_plots(fit: Plotted) -> Iterator[Picture]:
    """Biplot and latent regression of each term with factors."""
    found = [d for d in fit.specification.random if isinstance(d.structure, FactorAnalytic | ReducedRank)]
    for k, design in enumerate(d for d in found if not isinstance(d.spec, Covariates)):
        end = "" if len(found) == 1 else f"_{k + 1}"
        if factors(fit, design.name).k > 1:
            image = png(fit.plot_biplot, design.name, height=5.2)
            yield Picture(f"biplot{end}", "random", f"{design.name}: {CAPTIONS['biplot']}", image)
        image = png(fit.plot_latent_regression, design.name)
        yield Picture(f"latent_regression{end}", "random", f"{design.name}: {CAPTIONS['latent_regression']}", image)


def regression_plots(fit: Plotted) -> Iterator[Picture]:
    """The covariance function of each term that names a structure over functions of a covariate."""
    named = [
        d.name
        for d in fit.specification.random
        if d.term is not None and d.term.named and d.t > 1 and isinstance(d.spec, Covariates)
    ]
    for k, name in enumerate(named):
        try:
            image = png_of(fit.plot_covariance_function, name, shape=(2, 1))
        except ModelError:  # effects of a factor, or of several covariates
            continue
        end = "" if len(named) == 1 else f"_{k + 1}"
        yield Picture(f"covariance_function{end}", "random", f"{name}: {CAPTIONS['function']}", image)


def residuals(fit: Plotted, seed: int) -> Iterator[Picture]:
    """Residuals against fitted values, their quantiles and spread, what hangs on each level; the variogram where the
    residual has a field or times."""
    yield Picture("residuals", "residuals", CAPTIONS["residuals"], png(fit.plot_residuals))
    if fit.n_obs <= JUDGED:
        for kind in ("qq", "scale"):
            with contextlib.suppress(ModelError, StochasticError):  # no degrees of freedom, or V out of reach
                image = png(partial(fit.plot_residuals, kind, draws=DRAWS, seed=seed))
                yield Picture(f"residuals_{kind}", "residuals", CAPTIONS[kind], image)
        grouped = [d.name for d in fit.specification.random if d.is_identity and not is_units(d) and d.q <= LEVELS]
        for k, term in enumerate(grouped):
            with contextlib.suppress(ModelError, OptionError, StochasticError):  # all records, no columns, many solves
                image = png_of(partial(fit.plot_influence, term, components=False), shape=(1, 1))
                name = "influence" if len(grouped) == 1 else f"influence_{k + 1}"
                yield Picture(name, "residuals", f"{term}: {CAPTIONS['influence']}", image)
    parts = residual_parts(fit)
    if isinstance(parts[0].structure, Field | Exponential | Blocks | Places):
        two = any(is_field(part) for part in parts)
        with contextlib.suppress(ModelError):  # traits of a unit: no distances
            image = png_of(fit.plot_variogram, shape=(2, 1) if two else (1, 1))
            yield Picture("variogram", "residuals", CAPTIONS["variogram"], image)


def fields(fit: Plotted) -> Iterator[Picture]:
    """The maps of every field."""
    if not isinstance(residual_parts(fit)[0].structure, Field):
        return
    maps, count = fields_of(fit), len(kinds_of(fit, "all"))
    for k, one in enumerate(maps):
        tall = one.extent[0] > one.extent[1]
        shape, size = ((1, count), (2.6 * count, 4.2)) if tall else ((count, 1), (WIDTH, 2.6 * count))
        caption = (f"{one.label}: " if one.label else "") + CAPTIONS["field"]
        name = "field" if len(maps) == 1 else f"field_{k + 1}"
        image = png_of(fit.plot_field, "all", one.label or None, shape=shape, size=size)
        yield Picture(name, "residuals", caption, image)


CAPTIONS = {
    "steps": "Newton's next step by iteration, in standard errors: the log-likelihood is not known.",
    "convergence": "Log-likelihood still to be gained and gradient by iteration, with the step taken.",
    "traces": "Every component by iteration, in standard errors from where it ended, with the kind of step.",
    "random_effects": "BLUPs in order, with 95 % prediction intervals.",
    "effects_alone": "BLUPs in order. Prediction error variances are not known: fit.sampled_reliabilities() has"
    " estimates.",
    "residuals": "Residuals against fitted values. BLUPs are shrunken: with few records per level a rising"
    " smooth is expected; look for curvature, outliers and uneven spread.",
    "qq": "Studentized residuals against normal quantiles; for 95 % of sets of records drawn from the fitted model all"
    " points lie in the band.",
    "scale": "Root of the size of the studentized residuals against fitted values: level if the variances are right.",
    "influence": "Cook's distance, how far β̂ moves without the records of a level.",
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
    figure = new_figure(size or (WIDTH, 0.85 * HEIGHT * shape[0]), "compressed" if size else "constrained")
    draw(*arguments, axes=figure.subplots(*shape, squeeze=False))
    return rendered(figure, tight=size is not None)


def new_figure(size: tuple[float, float], layout: str = "constrained") -> Figure:
    """A figure without pyplot and its open figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure, tight: bool = False) -> bytes:
    """The figure as PNG; without the margins that maps of one scale leave."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=RESOLUTION, bbox_inches="tight" if tight else None)
    return buffer.getvalue()
