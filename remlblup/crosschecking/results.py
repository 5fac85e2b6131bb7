"""`Results`: what another program printed, as plain data in its own names."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from remlblup.errors import ReaderError

COMPONENTS = ("term", "kind", "effect", "other", "estimate", "std_error", "rounding")
FIXED = ("name", "estimate", "std_error", "rounding")
#: Kind of a component that has a number for a name.
NUMBERED = "parameter"
RANDOM = ("term", "effect", "level", "estimate", "std_error", "rounding")


class Row(NamedTuple):
    """A row of `Results.components`."""

    term: str
    kind: str
    effect: str
    other: str
    estimate: float
    std_error: float
    rounding: float


@dataclass(frozen=True)
class Results:
    """What another program found; None, or a table without rows, where it does not say.

    Attributes
    ----------
    program : its name
    version : as it prints it
    path : the file read
    method : "REML", "ML", or "posterior means"
    components : term, kind (variance, covariance, correlation, ratio, loading, specific, or another word of the
        program), effect, other (the second effect of a covariance; ``factor 1`` of a loading), estimate, std_error,
        rounding (half a unit of the last digit printed)
    fixed_effects : name, estimate, std_error, rounding
    random_effects : term, effect, level, estimate, std_error, rounding
    loglik : log-likelihood as printed, −½ of a criterion −2 log L; its constants are the program's
    loglik_rounding : half a unit of its last digit
    history : iteration, loglik and components by iteration, for `plot_convergence(compare=)`
    start : components it started from, in the order of `components`
    n_obs : number of records used
    notes : what the reader has to say
    """

    program: str
    version: str | None = None
    path: str | None = None
    method: str | None = "REML"
    components: pd.DataFrame = field(default_factory=lambda: table((), COMPONENTS))
    fixed_effects: pd.DataFrame = field(default_factory=lambda: table((), FIXED))
    random_effects: pd.DataFrame = field(default_factory=lambda: table((), RANDOM))
    loglik: float | None = None
    loglik_rounding: float = 0.0
    history: pd.DataFrame | None = None
    start: tuple[float, ...] | None = None
    n_obs: int | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        name = self.program if self.version is None else f"{self.program} {self.version}"
        parts = [
            f"{len(self.components)} components" if len(self.components) else "",
            f"{len(self.fixed_effects)} fixed effects" if len(self.fixed_effects) else "",
            f"{len(self.random_effects)} random effects" if len(self.random_effects) else "",
            "" if self.loglik is None else f"log-likelihood {self.loglik:.6g}",
            "" if self.history is None else f"{len(self.history)} iterations",
        ]
        return f"<results of {name}: {', '.join(filter(None, parts)) or 'nothing'}>"

    @property
    def is_numbered(self) -> bool:
        """Whether the components have numbers for names."""
        return bool(len(self.components)) and set(self.components["kind"]) == {NUMBERED}

    def joined(self, other: Results) -> Results:
        """These results with what only the other file of the same program has.

        Raises
        ------
        ReaderError
            If one numbers its components and they are not those of the other.
        """
        if self.is_numbered and len(other.components) and not other.is_numbered:
            return other.joined(self)
        filled: dict[str, Any] = {}
        if other.is_numbered and len(self.components):
            filled["components"] = self._with_errors_of(other)
        for name in ("components", "fixed_effects", "random_effects"):
            if not len(getattr(self, name)):
                filled[name] = getattr(other, name)
        for name in ("version", "method", "loglik", "history", "start", "n_obs"):
            if getattr(self, name) is None:
                filled[name] = getattr(other, name)
        if self.loglik is None:
            filled["loglik_rounding"] = other.loglik_rounding
        return replace(self, **filled, notes=(*self.notes, *other.notes))

    def _with_errors_of(self, other: Results) -> pd.DataFrame:
        """The components with standard errors from a file that numbers them in the same order."""
        mine, theirs = self.components, other.components
        same = len(mine) == len(theirs)
        if same:
            apart = np.abs(mine["estimate"].to_numpy() - theirs["estimate"].to_numpy())
            same = bool(np.all(apart <= 2.0 * (mine["rounding"].to_numpy() + theirs["rounding"].to_numpy())))
        if not same:
            raise ReaderError(
                f"{other.path}: its {len(theirs)} parameters are not the {len(mine)} components of {self.path}: these"
                " files are not of one run.", str(other.path), 1, f"the components of {self.path}"
            )  # fmt: skip
        return mine.assign(std_error=theirs["std_error"].to_numpy())


def table(rows: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    """Rows as a frame with these columns and numbers as numbers."""
    frame = pd.DataFrame(list(rows), columns=list(columns))
    numeric = [c for c in ("estimate", "std_error", "rounding") if c in columns]
    frame[numeric] = frame[numeric].astype(float)
    return frame


def effects_of(parameter: str) -> tuple[str, tuple[str, ...]]:
    """Kind and effects of one of our parameters: ``var(a)``, ``cov(a, b)``, ``variance``; else its own word.

    Examples
    --------
    >>> effects_of("cov(a, b)"), effects_of("loading 2(a)"), effects_of("specific(a)")
    (('covariance', ('a', 'b')), ('loading', ('a', 'factor 2')), ('specific', ('a',)))
    """
    if parameter == "variance":
        return "variance", ("",)
    if parameter.startswith(("var(", "cov(")) and parameter.endswith(")"):
        inside = parameter[4:-1]
        if parameter.startswith("var("):
            return "variance", (inside,)
        first, _, second = inside.partition(", ")
        return "covariance", (first, second)
    if (of_factor := re.fullmatch(r"loading (\d+)\((.*)\)", parameter)) is not None:
        return "loading", (of_factor[2], f"factor {of_factor[1]}")
    if parameter.startswith("specific(") and parameter.endswith(")"):
        return "specific", (parameter[9:-1],)
    return "parameter", (parameter,)


def rows_by_term(components: pd.DataFrame) -> dict[str, list[Row]]:
    """The rows of every term, in order."""
    out: dict[str, list[Row]] = {}
    for values in components[list(COMPONENTS)].itertuples(index=False, name=None):
        row = Row(*values)
        out.setdefault(row.term, []).append(row)
    return out


def component(
    term: str,
    estimate: float,
    rounding: float,
    std_error: float = np.nan,
    *,
    kind: str = "variance",
    effect: str = "",
    other: str = "",
) -> tuple[str, str, str, str, float, float, float]:
    """A row of `components`."""
    return term, kind, effect, other, estimate, std_error, rounding


def matrix_components(
    term: str, values: np.ndarray, roundings: np.ndarray, errors: np.ndarray | None = None, effects: Any = None
) -> list[tuple]:
    """The lower triangle of a covariance matrix as rows; effects are numbered where they have no names."""
    size = len(values)
    names = [str(k + 1) for k in range(size)] if effects is None else [str(e) for e in effects]
    if size == 1 and effects is None:
        names = [""]
    return [
        component(
            term,
            values[i, j],
            roundings[i, j],
            np.nan if errors is None else errors[i, j],
            kind="variance" if i == j else "covariance",
            effect=names[i] if i == j else names[j],
            other="" if i == j else names[i],
        )
        for i in range(size)
        for j in range(i + 1)
    ]


def of_deviations(
    term: str,
    effects: list[str],
    deviations: np.ndarray,
    correlations: np.ndarray,
    rounding: np.ndarray,
    correlation_rounding: float,
) -> list[tuple]:
    """Rows of variances and covariances from standard deviations and correlations, with their rounding."""
    values = correlations * np.outer(deviations, deviations)
    relative = rounding / np.where(deviations > 0.0, deviations, 1.0)
    roundings = np.abs(values) * np.add.outer(relative, relative)
    off = ~np.eye(len(deviations), dtype=bool)
    roundings[off] += correlation_rounding * np.outer(deviations, deviations)[off]
    return matrix_components(term, values, roundings, effects=effects)
