"""A fit on disk: a folder of JSON, CSV and arrays that any program can read,
and that `remlblup.load` turns into a fit again.

fit.json holds the model, the estimates and the verdict, and lists every file with its checksum; the tables are CSV
beside it; data.csv and relationships/ hold what the model was made from, so that a loaded fit predicts like the first.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from remlblup._version import __version__
from remlblup.equations.base import Equations
from remlblup.equations.choice import equations_of_kind
from remlblup.equations.computation import Computation
from remlblup.equations.stochastic.engine import StochasticEquations
from remlblup.errors import (
    ConvergenceWarning,
    MemoryLimitError,
    RemlBlupError,
    StoreError,
    check_switch,
    choose,
    said_elsewhere,
)
from remlblup.fit.estimates import Estimates
from remlblup.linalg.interrupts import interrupt_within
from remlblup.linalg.memory import is_out_of_memory, within_memory
from remlblup.model.specification import Specification
from remlblup.reml.convergence import Convergence, Criterion
from remlblup.reml.history import Iteration
from remlblup.reml.known import optimum_at
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.monte_carlo import MonteCarlo
from remlblup.reml.optimum import Optimum, Options
from remlblup.storage.cells import csv_text
from remlblup.storage.model import load_model, save_model
from remlblup.storage.transaction import INDEX, locked, transaction
from remlblup.storage.verified import FORMAT, SavedFolder, checksum

TABLES = ("variance_components", "fixed_effects", "random_effects", "history")
# A log-likelihood computed again, on another machine too, is the same to this (plus a part of n + |ℓ|).
AGREES, RELATIVELY = 1e-6, 1e-8


@said_elsewhere(ConvergenceWarning)
def to_dict(fit: Estimates) -> dict[str, Any]:
    """Model, estimates and verdict as plain JSON types (NaN as null)."""
    spec = fit.specification
    components = fit.variance_components
    return clean(
        {
            "remlblup": __version__,
            "formula": fit.formula,
            "response": spec.response,
            "method": fit.method,
            "options": {k: getattr(fit.options, k) for k in saved_options(fit)},
            "records": fit.n_obs,
            "records_dropped": spec.records.dropped if spec.records else {},
            "records_dropped_in_all": spec.records.n_dropped if spec.records else 0,
            "unknown_parents": spec.records.unknown_parents if spec.records else {},
            "fixed_effects_estimated": spec.p,
            "aliased": list(fit.aliased),
            "random_effects": spec.n_random,
            "df_residual": fit.df_residual,
            "engine": fit._equations.stats.engine,
            "device": fit._optimum.fitted_on or fit._equations.asked.device,
            "converged": fit.converged,
            "convergence": {
                "reason": fit.convergence.reason,
                "iterations": fit.convergence.iterations,
                "boundary": list(fit.convergence.boundary),
                "unidentified": list(fit.convergence.unidentified),
                "collapsed": fit.convergence.collapsed,
                "interrupted": fit.convergence.interrupted,
                "criteria": fit.convergence.table.to_dict("records"),
            },
            **likelihoods(fit),
            "n_parameters": fit.n_parameters,
            "variances": fit.variances,
            "variance_components": components.to_dict("records"),
            "variance_covariance": fit.variance_covariance.tolist(),
            "df_method": fit.df_method,
            "fixed_effects": fit.fixed_effects.reset_index().to_dict("records"),
        }
    )


def saved_options(fit: Estimates) -> tuple[str, ...]:
    """Names of what was asked of the search, as `Options`."""
    drawn = () if fit._equations.knows_likelihood else ("seed", "probes")
    return ("algorithm", "constrain", "max_iterations", "tolerance", *drawn)


def likelihoods(fit: Estimates) -> dict[str, Any]:
    """ℓ and what is made of it, missing where it is not known; there what its slopes by probes err by."""
    names = ("loglik", "loglik_asreml", "loglik_nlme", "aic", "bic")
    drawn = fit._optimum.monte_carlo
    if drawn is None:
        return {name: getattr(fit, name) for name in names}
    said = {"probes": drawn.probes, "seed": drawn.seed, "covariance": drawn.covariance.tolist()}
    return dict.fromkeys(names) | {"monte_carlo": said}


def clean(value: Any) -> Any:
    """Plain JSON types: NumPy scalars as numbers, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


@within_memory
@said_elsewhere(ConvergenceWarning)
def save(
    fit: Estimates,
    path: str | Path,
    *,
    escape: bool = True,
    extra: Mapping[str, str | bytes] | None = None,
    results: Mapping[str, Any] | None = None,
) -> Path:
    """Write a fit to the folder `path` (made if needed), all of it or nothing; returns the folder.

    Parameters
    ----------
    escape : write text that a spreadsheet would run as a formula (=…, +…, -…, @…) behind an apostrophe
    extra : further files, such as those of a report
    results : what was asked for beside the fit and is no part of it: entries of fit.json that are not read again

    Raises
    ------
    StoreError
        If `path` is a file, or something cannot be written; an earlier fit in the folder is then still there.
    """
    folder = folder_of(path)
    if folder.is_file():
        raise StoreError(f"{folder} is a file: give the name of a folder to save the fit in.")
    check_switch("escape", escape)
    with transaction(folder) as staging:
        for name in TABLES:
            text = csv_text(getattr(fit, name), escape, index=name == "fixed_effects")
            staging.write(f"{name}.csv", text, "table")
        content = to_dict(fit)
        content["engine_asked"] = fit._equations.asked.engine
        content["equations"] = fit._equations.kind
        content["history"] = [row_to_dict(row) for row in fit._optimum.iterations]
        content["status"] = list(fit.status)
        content["model"] = save_model(fit.specification, staging, escape)
        for name, what in (extra or {}).items():
            staging.write(name, what, "report")
        content = clean({"format": FORMAT, **(results or {}), **content, "files": staging.listed})
        staging.write(INDEX, as_json({**content, "checksum": checksum(content)}), "index")
    return folder


def as_json(content: dict[str, Any]) -> str:
    """JSON as people like to read it; escaped where a text cannot be written as UTF-8."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    with contextlib.suppress(UnicodeEncodeError):
        text.encode("utf-8")
        return text
    return json.dumps(content, indent=1)


def row_to_dict(row: Iteration) -> dict[str, Any]:
    """An iteration as plain types."""
    plain = {**row.__dict__, "boundary": list(row.boundary), "theta": row.theta.tolist()}
    return {name: value for name, value in plain.items() if name not in ("phases", "left")}


# -- reading ---------------------------------------------------------------------------------


def read(path: str | Path, *, verify: bool = True) -> tuple[Optimum, Options]:
    """Where the saved fit ended, and how it was made; see `remlblup.load`."""
    check_switch("verify", verify)
    folder = folder_of(path)
    folder = folder.parent if folder.name == INDEX else folder
    with locked(folder), named_errors(folder):
        saved = SavedFolder(folder)
        if verify:
            saved.check_tables()
        content = saved.content
        spec = with_dropped(load_model(content["model"], saved), content)
        asked = Computation(content.get("engine_asked", content["engine"]))  # wherever it was fitted: on this machine
        equations = equations_of_kind(spec, asked, content.get("equations"))
        optimum, options = restore(equations, content)
        if verify:
            check_agreement(optimum, options, content, folder)
    return optimum, options


@contextlib.contextmanager
def named_errors(folder: Path) -> Iterator[None]:
    """Whatever a damaged folder leads to, as a `StoreError`."""
    try:
        yield
    except (StoreError, MemoryLimitError, MemoryError):
        raise
    except RemlBlupError as error:
        raise StoreError(f"the model saved in {folder} cannot be made again: {error}") from error
    except Exception as error:
        if is_out_of_memory(error) or interrupt_within(error) is not None:
            raise
        # What a damaged file of an earlier version leads to cannot be listed.
        told = f"{type(error).__name__}: {error}"
        raise StoreError(f"{folder / INDEX} is not a fit saved by remlblup, or it is damaged ({told}).") from error


def check_agreement(optimum: Optimum, options: Options, content: dict[str, Any], folder: Path) -> None:
    """Raise `StoreError` if estimates, data and verdict are not of one fit."""
    saved, converged = content["loglik"], optimum.convergence.converged
    known = optimum.equations.knows_likelihood
    found = log_likelihood(optimum.equations, optimum.solution, options.ml) if known else np.nan
    if known and not abs(found - saved) <= AGREES + RELATIVELY * (optimum.equations.spec.n + abs(saved)):
        raise StoreError(
            f"{folder} holds data, relationships and estimates that are not of one fit: at the saved variances the data"
            f" have a log-likelihood of {found:.6f}, and {saved:.6f} is saved. Fit the model again."
        )
    if content["converged"] is not converged:
        raise StoreError(
            f"{folder / INDEX} contradicts itself: it says {'' if content['converged'] else 'not '}converged, and its"
            " criteria say otherwise. Fit the model again."
        )


def folder_of(path: object, what: str = "a fit is saved in a folder") -> Path:
    """The path as given, if it is one."""
    if not isinstance(path, (str, Path)):
        raise StoreError(f"{what}: give its name, not {path!r}.")
    if isinstance(path, str) and (not path.strip() or "\0" in path):
        raise StoreError(f"{path!r} names no place, and {what}: '.' is the folder you are in.")
    try:
        Path(path).is_file()
    except OSError as error:  # a name too long, a loop of links
        raise StoreError(f"{str(path)[:80]!r} cannot be the name of a folder or file: {error.strerror}.") from None
    return Path(path)


def with_dropped(spec: Specification, content: dict[str, Any]) -> Specification:
    """The model with the count of the records that were set aside: they are not saved."""
    counts = content.get("records_dropped", {})
    if spec.records is None or not counts:
        return spec
    whole = content.get("records_dropped_in_all", max(counts.values()))
    return replace(spec, records=replace(spec.records, dropped=counts, n_dropped=whole))


def restore(equations: Equations, content: dict[str, Any]) -> tuple[Optimum, Options]:
    """The end of the search at the stored estimates: the equations are solved once, nothing is estimated anew."""
    choose("method", content["method"], ("REML", "ML"))
    options = Options(content["method"] == "ML", **content["options"])
    iterations = tuple(iteration_of(row) for row in content["history"])
    convergence = convergence_of(content["convergence"])
    status = np.array(content["status"])
    if any(len(v) != equations.spec.parameters.size for v in (status, *(row.theta for row in iterations))):
        raise StoreError("the saved estimates are not those of the saved model: they differ in number.")
    held, boundary = status == "fixed", status == "boundary"
    drawn = content.get("monte_carlo")
    if isinstance(equations, StochasticEquations) and drawn is not None:
        equations.draws = int(drawn["seed"]), int(drawn["probes"])
    loglik = number(content["loglik"])
    optimum = optimum_at(equations, options, iterations, loglik, held, boundary, lambda *_: convergence)
    optimum = replace(optimum, fitted_on=str(content.get("device", "")))
    if drawn is not None:
        covariance = np.array(drawn["covariance"], dtype=np.float64)
        optimum = replace(optimum, monte_carlo=MonteCarlo(int(drawn["probes"]), int(drawn["seed"]), covariance))
    return optimum, options


def iteration_of(row: dict[str, Any]) -> Iteration:
    """Inverse of `row_to_dict`."""
    numbers = {k: number(row[k]) for k in ("loglik", "delta", "gradient", "decrement", "change", "seconds")}
    counts = {k: int(row[k]) for k in ("iteration", "halvings")}
    return Iteration(
        **{
            **row,
            **numbers,
            **counts,
            "step": str(row["step"]),
            "boundary": tuple(map(str, row["boundary"])),
            "theta": np.array(row["theta"], dtype=np.float64),
        }
    )


def convergence_of(saved: dict[str, Any]) -> Convergence:
    """The verdict as `to_dict` writes it."""
    checks = tuple(
        Criterion(str(c["criterion"]), number(c["value"]), limit_of(c["limit"]), str(c["meaning"]))
        for c in saved["criteria"]
    )
    boundary, unidentified = (tuple(map(str, saved[k])) for k in ("boundary", "unidentified"))
    return Convergence(
        checks,
        str(saved["reason"]),
        boundary,
        unidentified,
        int(saved["iterations"]),
        bool(saved["collapsed"]),
        interrupted=bool(saved.get("interrupted", False)),
    )


def limit_of(value: float | None) -> float:
    """A limit of fit.json, where null stands for none: infinity is no number of JSON."""
    return math.inf if value is None else float(value)


def number(value: float | None) -> float:
    """A number of fit.json, where null stands for NaN."""
    return float("nan") if value is None else float(value)
