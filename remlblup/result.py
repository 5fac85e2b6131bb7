"""What `MixedModel.fit` returns and `load` reads back: estimates with their plots, their summary and their folder.

The one place where these meet; none of them knows the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from remlblup.linalg.memory import all_within_memory, within_memory
from remlblup.linalg.threads import single_threaded
from remlblup.plot.methods import Plotted
from remlblup.reml.convergence import say_unconverged

if TYPE_CHECKING:
    from remlblup.report.summary import Summary


@all_within_memory
class Fit(Plotted):
    """Estimates of a mixed model: what `MixedModel.fit` returns. Immutable; every table is a DataFrame.

    Attributes
    ----------
    options : how it was fitted
    convergence : the verdict with its criteria; `converged` is its short form
    """

    def summary(self) -> Summary:
        """The report: print it, or show it in a notebook."""
        from remlblup.report.summary import Summary

        return Summary(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything of the fit that is not one value per record or level, as plain JSON types."""
        from remlblup.storage.fit import to_dict

        return to_dict(self)

    def save(self, path: str | Path, *, escape: bool = True) -> Path:
        """Write the fit to a folder as JSON, CSV and arrays, all of it or nothing; `remlblup.load` reads it back.

        With `escape`, text that a spreadsheet would run as a formula (=…, +…, -…, @…) stands behind an apostrophe.
        """
        from remlblup.storage.fit import save

        return save(self, path, escape=escape)


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
    """
    from remlblup.storage.fit import read

    fit = Fit(*read(path, verify=verify))
    say_unconverged(fit.convergence)
    return fit
