"""One model for many responses: what depends on the design alone is done once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from remlblup.equations.base import Equations
from remlblup.equations.choice import not_spectral, shared_basis, worth_sharing
from remlblup.equations.computation import Computation
from remlblup.errors import (
    ConvergenceWarning,
    DataError,
    FitInterrupted,
    FormulaError,
    OptionError,
    RemlBlupError,
    listed,
    said_elsewhere,
    some,
    warn,
)
from remlblup.fit.tables.shown import shown
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.linalg.threads import single_threaded
from remlblup.mixed_model import MixedModel
from remlblup.model.columns import Columns
from remlblup.model.doubts import warn_of_doubts
from remlblup.model.expression import quoted
from remlblup.model.frame import to_pandas
from remlblup.model.given import Given, relationship_of
from remlblup.model.residual_reading import parse_residual
from remlblup.model.response import response_columns
from remlblup.model.scanner import split_top
from remlblup.model.shorthand import with_dot
from remlblup.model.specification import from_formula
from remlblup.reml.optimum import METHODS
from remlblup.reml.start import first_values
from remlblup.reml.starts import is_small, is_tied
from remlblup.reml.together.choice import search_of
from remlblup.reml.together.errors import standard_errors
from remlblup.reml.together.reduction import is_one, reducible
from remlblup.result import Fit

# Responses with the same records from which on they are searched together.
TOGETHER = 20


class Fits(Mapping[str, Fit]):
    """The fits of `fit_many`, by response; ``fits["y1"]`` is a `Fit`.

    A response that was searched together with others has its row in `table`; its `Fit` is made when it is asked for.

    Attributes
    ----------
    errors : response → what kept it from being fitted

    Examples
    --------
    >>> y = np.random.default_rng(0).normal(size=(40, 2))
    >>> lines = pd.DataFrame(y, columns=["a", "b"]).assign(g=np.arange(40) % 8)
    >>> "converged" in rb.fit_many("~ 1 + (1 | g)", lines, ["a", "b"]).table
    True
    """

    def __init__(self, fits: Mapping[str, Fit | Later], errors: Mapping[str, str]):
        self._fits, self.errors = dict(fits), dict(errors)

    def __getitem__(self, response: str) -> Fit:
        if response in self.errors:
            raise DataError(f"'{response}' was not fitted: {self.errors[response]}")
        found = self._fits[response]
        if isinstance(found, Later):
            found = self._fits[response] = found.make()
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._fits)

    def __len__(self) -> int:
        return len(self._fits)

    @property
    def table(self) -> pd.DataFrame:
        """A row per response: converged, records, loglik, each component with its standard error, and any error.

        Of ``engine="stochastic"`` Monte Carlo errors beside them, and no loglik.
        """
        rows = {}
        for name, fit in self._fits.items():
            if isinstance(fit, Later):
                rows[name] = fit.row
                continue
            row: dict[str, Any] = {"converged": fit.converged, "records": fit.n_obs}
            if fit._equations.knows_likelihood:
                row["loglik"] = fit.loglik
            with said_elsewhere(ConvergenceWarning):
                components = fit.variance_components
            labels = fit.specification.parameters.columns
            for label, estimate, error in zip(labels, components["estimate"], components["std_error"], strict=True):
                row[label], row[f"se {label}"] = estimate, error
            if "monte_carlo_error" in components:
                row |= {f"Monte Carlo {c}": e for c, e in zip(labels, components["monte_carlo_error"], strict=True)}
            rows[name] = row
        rows |= {name: {"converged": False, "error": text} for name, text in self.errors.items()}
        return shown(pd.DataFrame.from_dict(rows, orient="index").rename_axis("response"))

    def __repr__(self) -> str:
        good = sum(fit.converged for fit in self._fits.values())
        return (
            f"<remlblup fits: {len(self) + len(self.errors)} responses, {good} converged, "
            f"{len(self.errors)} not fitted>"
        )


@dataclass(frozen=True)
class Later:
    """A response whose search is done: its row of the table, and how its fit is made."""

    row: dict[str, Any]
    make: Callable[[], Fit]

    @property
    def converged(self) -> bool:
        """Only responses that have converged are left like this."""
        return True


@within_memory
@known_arguments
def fit_many(formula: str, data: Any, responses: Sequence[str] | str | pd.DataFrame,
             relationships: Mapping[str, Any] | None = None, residual: str = "units", weights: str | None = None, *,
             missing: str = "drop", engine: str = "auto", unknown_parents: str | Sequence[str] = "keep",
             device: str = "cpu", client: Any = None, progress: Callable[[str, Fit], None] | None = None,
             **options: Any) -> Fits:  # fmt: skip
    """Fit one model to each of many responses.

    With one relationship and independent residuals the spectral reduction is made once for all responses with the
    same records (Kang et al. 2008; Zhou & Stephens 2012), and every response then costs O(n) an iteration. Twenty
    responses or more with the same records are searched together, as arrays over the responses, if the residuals are
    independent and the model has one variance beside theirs, or several (``us`` and ``diag`` terms) over up to 120
    effects.

    Parameters
    ----------
    formula : str
        ``~ fixed + (… | …)``; a response before ``~`` is replaced by each of `responses` in turn.
    data : DataFrame
    responses : sequence of str or DataFrame
        Columns of `data`, or arithmetic on them, ``"log(y1)"``, or a data frame of further columns in the same rows.
    relationships, residual, weights, missing, engine, unknown_parents, device, client
        As for `MixedModel`.
    progress : callable, optional
        Called with the response and its fit after each.
    **options
        As for `MixedModel.fit`, but for `checkpoint`.

    Returns
    -------
    Fits

    Raises
    ------
    FormulaError, DataError, RelationshipError
        For what is wrong with all responses; what is wrong with one is in `Fits.errors`.
    FitInterrupted
        On Ctrl-C: its ``fits`` are those that were done, its ``fit`` is that of the response it came to.

    Warns
    -----
    ConvergenceWarning
        Once, naming the responses whose fits have not converged.

    Examples
    --------
    >>> y = np.random.default_rng(0).normal(size=(40, 2))
    >>> lines = pd.DataFrame(y, columns=["a", "b"]).assign(g=np.arange(40) % 8)
    >>> fits = rb.fit_many("~ 1 + (1 | g)", lines, ["a", "b"])
    >>> list(fits)
    ['a', 'b']
    """
    if not isinstance(formula, str) or len(split_top(formula, "~")) != 2:
        raise FormulaError(f"fit_many needs a formula like '~ x + (1 | vm(id, G))', not {formula!r}.")
    computation = Computation.checked(engine, device, client)
    if progress is not None and progress is not False and not callable(progress):
        raise OptionError(f"progress={progress!r} must be a function of a response and its fit, or None.")
    if "checkpoint" in options:
        raise OptionError("fit_many() takes no checkpoint=: its file is for one fit, MixedModel(…).fit(checkpoint=…).")
    frame = to_pandas(data)
    if isinstance(responses, str):
        responses = [responses]
    if not isinstance(responses, (list, tuple, pd.Index, np.ndarray)):
        added = to_pandas(responses)
        if len(added) == len(frame) and not added.index.equals(frame.index):
            added = in_order_of(frame, added)
        if len(added) != len(frame):
            raise DataError(
                f"responses has {len(added)} rows and data {len(frame)}: give the same records in the same order."
            )
        twice = [c for c in added.columns if c in frame.columns]
        if twice:
            raise DataError(f"columns {some(twice)} are in data and in responses: rename them in one of the two.")
        frame = pd.concat([frame, added.set_axis(frame.index)], axis=1)
        responses = list(added.columns)
    names = list(map(str, listed("responses=", responses, DataError)))
    if not names or len(set(names)) < len(names):
        raise DataError("responses must name one or more columns, each once.")
    known = Columns.of(frame)
    columns = {c for name in names for c in response_columns(name, known)}
    absent = sorted(name for name in columns if name not in frame.columns)
    if absent:
        raise DataError(f"the data have no column {some(absent)} (of responses).")
    written = {name: quoted(name) if name in frame.columns else name for name in names}
    formula = f"{written[names[0]]} ~ {split_top(formula, '~')[1]}"
    right = split_top(with_dot(formula, frame, parse_residual(residual), weights, columns), "~")[1]
    given = {name: relationship_of(name, value) for name, value in Given(relationships).entries.items()}
    fits: dict[str, Fit | Later] = {}
    errors: dict[str, str] = {}
    shared = Shared(engine, len(names))
    codes: dict[str, int] = {}

    def model(name: str) -> MixedModel:
        text = f"{written[name]} ~ {right}"
        made = model_of(text, frame, given, residual, weights, missing, unknown_parents, computation)
        shared.give(made)
        return made

    together: dict[str, Later] = {}
    if progress is None and engine in ("auto", "spectral"):
        together = searched_together(names, frame, model, options)
    for name in names:
        if name in together:
            fits[name] = together[name]
            continue
        try:
            own = model(name)
            codes |= own.specification.codes
            with said_elsewhere(ConvergenceWarning):
                fits[name] = fit = own.fit(progress=False, **options)
        except KeyboardInterrupt as stop:
            text = f"response '{name}', after {len(fits)} of {len(names)} fits (in `fits` of this exception)"
            raise FitInterrupted.within(stop, text, Fits(fits, errors)) from stop
        except DataError as error:
            errors[name] = str(error)
            continue
        except RemlBlupError as error:
            raise type(error)(f"response '{name}': {error}") from None
        if callable(progress):
            progress(name, fit)
    made = Fits(fits, errors)
    if failed := [name for name, fit in fits.items() if not fit.converged]:
        first = made[failed[0]].convergence
        warn(
            f"{len(failed)} of {len(names)} responses have not converged: {some(failed)}. Their estimates are those of"
            f" the last iterate. '{failed[0]}': {first}",
            ConvergenceWarning,
        )
    if fits:
        name, one = next(iter(fits.items()))
        spec = one.specification if isinstance(one, Fit) else model(name).specification
        warn_of_doubts(spec, relationships, {**codes, **spec.codes}, frame)
    return made


@single_threaded
def searched_together(names: Sequence[str], frame: pd.DataFrame, model: Callable[[str], MixedModel],
                      options: Mapping[str, Any]) -> dict[str, Later]:  # fmt: skip
    """The responses with the same records as many others, if the model is one of those: those that converged.

    What is left is fitted one by one, and what is wrong with it told there.
    """
    if set(options) - {"method", "tolerance"} or len(names) < TOGETHER or not frame.index.is_unique:
        return {}
    plain = [name for name in names if name in frame.columns and frame[name].dtype.kind in "fiu"]
    if len(plain) < TOGETHER:
        return {}
    values = frame[plain].to_numpy(dtype=float)
    usable = [
        k for k in range(len(plain)) if np.isfinite(v := values[:, k][~np.isnan(values[:, k])]).all() and np.ptp(v)
    ]
    groups: dict[bytes, list[int]] = {}
    for k in usable:
        groups.setdefault(np.packbits(np.isnan(values[:, k])).tobytes(), []).append(k)
    out: dict[str, Later] = {}
    for group in groups.values():
        if len(group) < TOGETHER:
            continue
        try:
            out |= group_together([plain[k] for k in group], values[:, group], frame.index, model, options)
        except RemlBlupError:
            continue  # said where the first of them is fitted by itself
    return out


def group_together(names: Sequence[str], values: Any, index: pd.Index, model: Callable[[str], MixedModel],
                   options: Mapping[str, Any]) -> dict[str, Later]:  # fmt: skip
    """The same for responses with the same missing values."""
    first = model(names[0])
    spec = first.specification
    method, tolerance = options.get("method", "REML"), options.get("tolerance", 1e-8)
    held = np.zeros(spec.parameters.size, dtype=bool)
    if method not in METHODS or not isinstance(tolerance, float) or not 0.0 < tolerance < 1.0:
        return {}
    if spec.responses or reducible(spec, held, True) is not None:
        return {}
    several = bool(spec.random) and not is_one(spec)
    # A fit of a few records shared among several terms looks for other maxima.
    if several and is_small(first._equations) and is_tied(first._equations, ~held):
        return {}
    start = first_values(first._equations) if several else np.zeros(0)
    Y = values[index.get_indexer(spec.index)]
    Y = Y if spec.offset is None else Y - spec.offset[:, None]
    out = search_of(spec, method == "ML", start).maximize(Y, tolerance, information=True)
    errors = standard_errors(out, first._equations)
    labels = spec.parameters.columns
    found = {}
    # What is not known of every component is told where the response is fitted by itself.
    for k in map(int, np.flatnonzero(out.converged & ~np.isnan(errors).all(axis=1))):
        row: dict[str, Any] = {"converged": True, "records": spec.n, "loglik": float(out.loglik[k])}
        for label, value, error in zip(labels, out.theta[k], errors[k], strict=True):
            row[label], row[f"se {label}"] = float(value), float(error)
        name = names[k]
        found[name] = Later(row, partial(made_later, model, name, dict(options)))
    return found


def made_later(model: Callable[[str], MixedModel], name: str, options: dict[str, Any]) -> Fit:
    """The fit of a response by itself."""
    return model(name).fit(progress=False, **options)


@single_threaded
def model_of(formula: str, frame: pd.DataFrame, given: Mapping[str, Any], residual: str, weights: str | None,
             missing: str, parents: str | Sequence[str], computation: Computation) -> MixedModel:  # fmt: skip
    """The model of one response; what is said of the columns is said once for all."""
    return MixedModel._of(from_formula(formula, frame, given, residual, weights, missing, parents), computation)


def in_order_of(frame: pd.DataFrame, added: pd.DataFrame) -> pd.DataFrame:
    """The rows of `added` by the labels of `frame`; as they are where they have no labels but numbers."""
    if added.index.is_unique and frame.index.is_unique and added.index.isin(frame.index).all():
        return added.loc[frame.index]
    if isinstance(added.index, pd.RangeIndex):
        return added
    raise DataError("the rows of responses and of data have different labels: give them the same index.")


class Shared:
    """The spectral reduction of the last design seen, lent to the next model of the same design."""

    def __init__(self, engine: str, responses: int):
        self.engine, self.responses = engine, responses
        self.key: tuple[Any, ...] | None = None
        self.basis: Any = None

    @single_threaded
    def give(self, model: MixedModel) -> None:
        """Put the equations into the model where they can be shared."""
        spec = model.specification
        wanted = self.engine == "spectral" or (self.engine == "auto" and worth_sharing(spec, self.responses))
        if not wanted or not_spectral(spec):
            return
        design = spec.random[0]
        Z = design.columns[0]
        key = (
            id(design.relationship),
            Z.shape,
            *(part.tobytes() for part in (Z.indptr, Z.indices, Z.data, spec.weights)),
        )
        if key != self.key:
            self.basis, self.key = None, key
        equations, self.basis = shared_basis(spec, self.basis)
        _lend(model, equations)


def _lend(model: MixedModel, equations: Equations) -> None:
    model.__dict__["_equations"] = equations
