"""What `MixedModel.fit` returns and `load` reads back: estimates with their plots, their summary and their folder.

The one place where these meet; none of them knows the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from remlblup.errors import OptionError, StoreError, some
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import all_within_memory, within_memory
from remlblup.linalg.threads import single_threaded
from remlblup.plot.methods import Plotted
from remlblup.reml.convergence import say_unconverged

if TYPE_CHECKING:
    from remlblup.fit.tables.functions import Estimate
    from remlblup.report.summary import Summary

# Endings of a report on one page, and of what is none.
PAGES = ".html", ".htm"
OTHER_FORMATS = ".pdf", ".md", ".txt", ".tex", ".docx", ".rtf", ".csv", ".json", ".xlsx", ".png", ".svg"


@all_within_memory
class Fit(Plotted):
    """Estimates of a mixed model: what `MixedModel.fit` returns. Immutable; every table is a DataFrame.

    Attributes
    ----------
    options : how it was fitted
    convergence : the verdict with its criteria; `converged` is its short form

    Examples
    --------
    >>> fit
    <remlblup fit: Reaction ~ Days + (1 + Days | Subject); converged after ...: all criteria met.>
    """

    def summary(self) -> Summary:
        """The report: print it, or show it in a notebook.

        Returns
        -------
        Summary : also ``to_markdown()``, ``to_latex()``, ``html()``

        Examples
        --------
        >>> print(str(fit.summary()).splitlines()[0])
        Linear mixed model by REML
        """
        from remlblup.report.summary import Summary

        return Summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything of the fit that is not one value per record or level, as plain JSON types.

        Returns
        -------
        dict that `json.dumps` takes

        Examples
        --------
        >>> fit.to_dict()["records"]
        180
        """
        from remlblup.storage.fit import to_dict

        return to_dict(self)

    def save(self, path: str | Path, *, escape: bool = True) -> Path:
        """Write the fit to a folder as JSON, CSV and arrays, all of it or nothing; `remlblup.load` reads it back.

        With `escape`, text that a spreadsheet would run as a formula (=…, +…, -…, @…) stands behind an apostrophe.

        Parameters
        ----------
        path : the folder; made if needed, the files of an earlier fit in it are replaced
        escape : see above

        Returns
        -------
        Path of the folder

        Examples
        --------
        >>> rb.load(fit.save("sleep")).loglik == fit.loglik
        True
        """
        from remlblup.storage.fit import save

        return save(self, path, escape=escape)

    def report(
        self,
        path: str | Path,
        *,
        means: Any = (),
        functions: Mapping[str, str | Estimate] | None = None,
        title: str | None = None,
        intervals: str = "log",
        seed: int = 0,
        escape: bool = True,
    ) -> Path:
        """Write a report that can be sent: one page with everything in it, or a folder with that page and the tables.

        The page holds the model in mathematical notation, data and design, the verdict with its criteria, components
        with intervals, F tests, means, the ranking of BLUPs, plots of every term and field, residuals, and the versions
        it was made with. It fetches nothing, reads in dark and light, on a telephone and on paper. A fit that has not
        converged says so on top.

        Parameters
        ----------
        path : ``out.html`` for one file; any other name is that of a folder (report.html, report.txt, fit.json,
            tables as CSV, plots as PNG), in which files of an earlier report are replaced
        means : factors whose marginal means are shown: names, ``"variety"`` or ``"variety:nitro"``, or mappings of
            arguments of `marginal_means`, ``{"factors": "variety", "by": "nitro"}``
        functions : name → expression as of `function`, or what it returned; listed with the components
        title : heading; the formula without
        intervals : {"log", "wald", "profile", "bootstrap"}, the method of `intervals`
        seed : of what is drawn at random
        escape : of a folder, as in `save`

        Returns
        -------
        Path of what was written.

        Raises
        ------
        DataError, ModelError, OptionError
            For means that the model does not have.
        StoreError
            If it cannot be written.

        Examples
        --------
        >>> import remlblup as rb
        >>> oats = rb.datasets.load("oats")
        >>> fit = rb.MixedModel("yield ~ nitroF * Variety + (1 | Block/Variety)", oats).fit()
        >>> fit.report("oats.html", means=["Variety", "nitroF:Variety"]).name
        'oats.html'
        """
        from remlblup.report.folder import write_report
        from remlblup.report.page import Page, write_page
        from remlblup.storage.fit import folder_of

        path = folder_of(path, "a report is a file that ends in .html, or a folder")
        if path.suffix.lower() in OTHER_FORMATS or (path.is_file() and path.suffix.lower() not in PAGES):
            raise StoreError(f"{str(path)!r} is no page and no folder: end the name in .html, or name a folder.")
        named = functions_of(self, functions)
        options: dict[str, Any] = {"title": title, "functions": named, "means": means, "seed": seed}
        if path.suffix.lower() in PAGES:
            return write_page(Page(self, intervals=intervals, **options), path)
        return write_report(self, path, intervals=intervals, escape=escape, **options)

    def _repr_html_(self) -> str:
        return self.summary()._repr_html_()


def functions_of(fit: Fit, functions: Any) -> dict[str, Estimate]:
    """Estimates by name, those given as text evaluated."""
    if functions is not None and not isinstance(functions, Mapping):
        raise OptionError(
            f"functions= takes names with expressions, {{'h2': 'animal/(animal + residual)'}}, not {functions!r}."
        )
    named = {str(name): fit.function(e) if isinstance(e, str) else e for name, e in (functions or {}).items()}
    if wrong := [name for name, e in named.items() if not hasattr(e, "std_error")]:
        raise OptionError(f"functions=: {some(wrong)} is neither an expression nor what fit.function(…) returns.")
    return named


@known_arguments
@within_memory
@single_threaded
def load(path: str | Path, *, verify: bool = True) -> Fit:
    """Read a fit written by `Fit.save`: the same estimates, verdict, tables and predictions.

    Parameters
    ----------
    path : the folder, or the fit.json in it
    verify : compare the saved log-likelihood with that of the saved data at the saved variances, and the tables
        beside the fit with what was written. What the fit is made of is compared with its checksums in any case.

    Raises
    ------
    StoreError
        If there is no saved fit at `path`, or not the one that was saved.

    Returns
    -------
    Fit

    Examples
    --------
    >>> rb.load(fit.save("sleep")).formula
    'Reaction ~ Days + (1 + Days | Subject)'
    """
    from remlblup.storage.fit import read

    fit = Fit(*read(path, verify=verify))
    say_unconverged(fit.convergence)
    return fit
