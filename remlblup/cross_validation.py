"""Cross-validation: how well a model predicts records, or a term's effects, that it has not seen."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import (
    ConvergenceWarning,
    EstimabilityWarning,
    FitInterrupted,
    ModelError,
    OptionError,
    check_switch,
    said_elsewhere,
    some,
    warn,
    whole_number,
)
from remlblup.fit.errors.estimable import reasons
from remlblup.fit.held_out import hold_out
from remlblup.fit.solved import Solved
from remlblup.fit.tables.effects import term_index
from remlblup.fit.tables.shown import shown
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.linalg.rank.independent import independent_columns
from remlblup.linalg.threads import single_threaded
from remlblup.mixed_model import MixedModel
from remlblup.model.design import named_relationships
from remlblup.model.folds import fold_labels
from remlblup.model.grouping import factorize
from remlblup.model.specification import Specification, from_formula
from remlblup.reml.singular_residual import equations_at
from remlblup.result import Fit
from remlblup.structure.residual.units import Units

STATISTICS = ("predictive_ability", "accuracy", "bias", "mse")


@dataclass(frozen=True)
class CrossValidation:
    """What `cross_validate` returns.

    Attributes
    ----------
    summary : DataFrame
        predictive_ability, accuracy, bias and mse: over all predictions together (``pooled``), and mean and standard
        deviation over the folds. Of several traits the index is (trait, statistic), ``summary.loc["milk"]`` the table
        of one; nothing is pooled across traits.
    folds : DataFrame
        The same by fold, with its number of records (n) and of those predicted; of several traits by (trait, fold).
    predictions : DataFrame, indexed as the data, of several traits by (row, trait)
        fold, observed, predicted.
    h2 : heritability the accuracy was computed with; of several traits a dict by trait
    term : the term predicted, or None for the records themselves
    """

    summary: pd.DataFrame
    folds: pd.DataFrame
    predictions: pd.DataFrame
    h2: float | dict[str, float]
    term: str | None

    def __repr__(self) -> str:
        what = "records" if self.term is None else f"'{self.term}'"
        n, folds = int(self.predictions["predicted"].notna().sum()), self.predictions["fold"].nunique()
        absent = len(self.predictions) - n
        left = f", {absent:,} not: the other folds do not determine their fixed effects" if absent else ""
        return f"Cross-validation of {what}: {folds:,} folds, {n:,} records predicted{left}\n{self.summary}"


@within_memory
@known_arguments
@single_threaded
def cross_validate(model: MixedModel | Solved, folds: int | str | Sequence[Any] = 10, *, term: str | None = None,
                   groups: Any = None, seed: int = 1, refit: bool = False,
                   h2: float | Mapping[str, float] | None = None,
                   progress: bool | None = None, many_solves: bool = False) -> CrossValidation:  # fmt: skip
    """Predict the records of each fold from all others.

    At the variances of the full fit the predictions are exact closed forms, ŷ_h = y_h − P_hh⁻¹(Py)_h, in which the
    fixed effects are estimated without the fold; leaving one record out is ŷ_i = y_i − (Py)_i / P_ii. Nothing is
    refitted, so ``folds="loo"`` costs one solve per record. The variances themselves have then seen every record: this
    matters little unless there are few; ``refit=True`` estimates them for every fold without its records.

    Parameters
    ----------
    model : MixedModel, Fit or Solved
        A model is fitted first.
    folds : int, "loo", column name or array-like, shape (n,)
        Number of random folds of equal size, every record (or group) by itself, or the fold of each record used: a
        column of the data, a Series by index, or an array. Of several traits a record is one trait of one row.
    term : str, optional
        Compare û of this random term, for the records held out, with y* = y − Xβ̂ (β̂ of all records), as is done
        with breeding values; by default compare ŷ = Xβ̂ + Zû (and what the residual structure adds) with y.
    groups : column name or array-like, optional
        Records of one group stay together: the animal, where it has several records, or several traits that are to
        be predicted without each other; the family.
    seed : int
        Of the random folds.
    refit : bool
        Estimate the variances anew for every fold.
    h2 : float, or of several traits dict by trait, optional
        For the accuracy; by default the term's share of the variance of a record, of several traits none (NaN).
    progress : bool, optional
        Print a line for every fold that is fitted anew; by default on a terminal only.
    many_solves : bool
        Of ``engine="stochastic"``, whose folds take a solve by conjugate gradients for each record: take more than
        1,000.

    Returns
    -------
    CrossValidation
        predictive_ability = cor(observed, predicted), accuracy = predictive_ability / √h² (a term only; Legarra et
        al. 2008, Genetics 180:611), bias = slope of observed on predicted, mse. A record whose fold alone tells of a
        fixed effect cannot be predicted: NaN, left out, and named in an `EstimabilityWarning`. Correlations over all
        records left out one by one carry the negative bias of a mean estimated without each.

    Raises
    ------
    OptionError, DataError
        If folds or groups do not fit the data.
    ModelError
        If a fold's records hold all of what a variance is estimated from (``refit=True``).
    FitInterrupted
        On Ctrl-C in a fit; its ``fit`` is that of the model, or of the fold it came to.

    Examples
    --------
    >>> result = rb.cross_validate(fit, 5, seed=1)
    >>> "predictive_ability" in result.summary.index
    True
    """
    fit = model.fit(progress=False) if isinstance(model, MixedModel) else model
    if not isinstance(fit, Solved):
        raise OptionError(f"cross_validate takes a MixedModel or a fit, not {type(model).__name__}.")
    check_switch("refit", refit)
    check_switch("many_solves", many_solves)
    if progress is not None:
        check_switch("progress", progress)
    seed = whole_number("seed", seed, 0)
    if refit and not isinstance(fit, Fit):
        raise OptionError("variances given by the user are not estimated: refit=True needs a model or a fit.")
    spec = fit.specification
    k = None if term is None else term_index(spec, term)
    labels = fold_labels(spec, folds, groups, seed)
    codes, names = factorize(pd.Series(labels))
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    if len(members) < 2:
        raise OptionError("cross-validation needs at least two folds.")
    y = spec.observed if k is None else spec.y - np.asarray(spec.fixed.matrix @ fit.beta).ravel()
    converged = None
    if refit and isinstance(fit, Fit):
        predicted, converged = _refitted(fit, members, k, progress)
        if failed := [name for name, good in zip(names, converged, strict=True) if not good]:
            warn(
                f"without fold(s) {some(failed)} of {len(names)} the model has not converged: their predictions are at"
                " the variances of the last iterate.",
                ConvergenceWarning,
            )
    else:
        if not many_solves:
            fit._equations.check_solves(spec.n, "records held out", "write many_solves=True to wait for them")
        with fit._lock.now:
            out = hold_out(fit._equations, fit._solution, members, k)
        predicted = out.prediction if out.term is None else out.term
    if k is None:
        say_unpredicted(spec, members, predicted)
    table = pd.DataFrame({"fold": labels, "observed": y, "predicted": predicted}, index=spec.index)
    name = None if k is None else spec.random[k].name
    note = fit._note
    if not spec.responses:
        share = _share(h2, fit, k)
        summary, by_fold = _summarise(table, names, share)
        if converged is not None:
            by_fold["converged"] = converged
        return CrossValidation(shown(summary, note), shown(by_fold, note), shown(table, note), share, name)
    shares = _shares(h2, fit, k)
    trait = _traits(spec)
    parts = {t: _summarise(table[trait == t], names, shares[t]) for t in spec.responses}
    summary = pd.concat({t: part[0] for t, part in parts.items()}, names=["trait", "statistic"])
    by_fold = pd.concat({t: part[1] for t, part in parts.items()}, names=["trait", "fold"])
    return CrossValidation(shown(summary, note), shown(by_fold, note), shown(table, note), shares, name)


def say_unpredicted(spec: Specification, members: list[np.ndarray], predicted: np.ndarray) -> None:
    """Warn of records without a prediction: their fixed effects are not estimable from the records outside their
    fold."""
    absent = np.isnan(predicted)
    if not absent.any():
        return
    fold = next(held for held in members if absent[held].any())
    X = spec.fixed.matrix
    null = independent_columns(X[np.delete(np.arange(spec.n), fold)]).null
    why = reasons(null, spec.fixed.names, null.crossed(X[fold[absent[fold]]]))
    warn(
        f"{int(absent.sum()):,} of {spec.n:,} records cannot be predicted from the other folds, which do not determine"
        f" their fixed effects: row(s) {some(spec.index[absent])}. Without the fold of the first of them {why}, but not"
        " in it. They are missing (NaN) and left out of the statistics. Keep the records of a fixed level in several"
        " folds, or make the factor random.",
        EstimabilityWarning,
    )


def _summarise(table: pd.DataFrame, names: np.ndarray, h2: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Statistics of predictions: over all and over the folds; by fold."""
    y, predicted, fold = (table[c].to_numpy() for c in ("observed", "predicted", "fold"))
    codes = pd.Index(names).get_indexer(fold)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=len(names)))[:-1])
    rows = [_statistics(y[m], predicted[m], h2) for m in members]
    by_fold = pd.DataFrame(rows, index=pd.Index(names, name="fold"))
    pooled = _statistics(y, predicted, h2)
    summary = pd.DataFrame(
        {
            "pooled": [pooled[s] for s in STATISTICS],
            "mean": [by_fold[s].mean() for s in STATISTICS],
            "sd": [by_fold[s].std() for s in STATISTICS],
        },
        index=list(STATISTICS),
    )
    return summary, by_fold


def _traits(spec: Specification) -> np.ndarray:
    """The trait of each record of a model of several."""
    assert spec.records is not None
    return spec.records.frame["trait"].astype(str).to_numpy()


def _refitted(
    fit: Fit, members: list[np.ndarray], k: int | None, progress: bool | None
) -> tuple[np.ndarray, list[bool]]:
    """Predictions at variances estimated without each fold, and whether those fits converged."""
    spec, equations = fit.specification, fit._equations
    predicted, converged = np.full(spec.n, np.nan), []
    shown = bool(getattr(sys.stdout, "isatty", lambda: False)()) if progress is None else progress
    for number, held in enumerate(members, start=1):
        train = np.delete(np.arange(spec.n), held)
        with said_elsewhere(ConvergenceWarning):
            try:
                other = training_model(fit, train).fit(
                    fit.method, fit.options.algorithm, fix=_held(fit), constrain=fit.options.constrain,
                    max_iterations=fit.options.max_iterations, tolerance=fit.options.tolerance, progress=False,
                    seed=fit.options.seed, probes=fit.options.probes,
                )  # fmt: skip
            except FitInterrupted as stop:
                raise FitInterrupted.within(
                    stop, f"cross-validation, without fold {number} of {len(members)}"
                ) from stop
        if other.specification.parameters.pairs != spec.parameters.pairs:
            raise ModelError(
                f"without fold {number} the model has other variances: a group of records lies wholly in this fold. Use"
                " other folds, or refit=False."
            )
        with fit._lock.now:
            own, _ = equations_at(equations, other.theta)
            out = hold_out(own, own.solve(other.theta), [held], k)
        predicted[held] = (out.prediction if out.term is None else out.term)[held]
        converged.append(other.converged)
        if shown:
            print(f"fold {number} of {len(members)}: {len(held):,} records held out; {other.convergence}", flush=True)
    return predicted, converged


def _held(fit: Fit) -> dict[str, dict[str, float]]:
    """What the user held, for ``fix=``."""
    held: dict[str, dict[str, float]] = {}
    for (term, parameter), value, status in zip(fit.specification.parameters.pairs, fit.theta, fit.status, strict=True):
        if status == "fixed":
            held.setdefault(term, {})[parameter] = float(value)
    return held


def training_model(fit: Solved, train: np.ndarray) -> MixedModel:
    """The model of a fit for some of its records (positions)."""
    spec, asked = fit.specification, fit._equations.asked
    if spec.responses:
        raise ModelError("refit=True is for models of one response.")
    if spec.formula is None or spec.records is None:
        K = [None if d.is_identity else d.relationship for d in spec.random]
        own = spec.p - spec.n_group_columns  # groups of unknown parents come with their pedigree
        return MixedModel.from_matrices(
            spec.y[train], spec.fixed.matrix[train][:, :own], [[z[train] for z in d.columns] for d in spec.random], K,
            [d.name for d in spec.random], weights=spec.weights[train], fixed_names=spec.fixed.names[:own],
            effects=[d.structure.effects for d in spec.random], engine=asked.engine,
            structures=[d.structure.keyword for d in spec.random], device=asked.device, client=asked.client,
        )  # fmt: skip
    known = named_relationships(spec.random)
    part = from_formula(
        spec.formula.text,
        spec.records.original.iloc[train],
        {**known, **spec.matrices},
        spec.residual_text,
        spec.records.weights,
        "drop",
        spec.unknown_parents,
    )
    return MixedModel._of(part, asked)


def _shares(h2: Any, fit: Solved, k: int | None) -> dict[str, float]:
    """Heritability by trait, of several."""
    traits = fit.specification.responses
    if isinstance(h2, Mapping):
        if set(h2) != set(traits):
            raise OptionError(f"h2= must hold one number for each trait, {some(traits)}; it has {some(h2)}.")
        return {t: _share(h2[t], fit, k) for t in traits}
    return dict.fromkeys(traits, float("nan") if h2 is None else _share(h2, fit, k))


def _share(h2: float | Mapping[str, float] | None, fit: Solved, k: int | None) -> float:
    """Share of the variance of a record that is the term's: mean diagonals of Z K Z'σ², over all terms and R."""
    if h2 is not None:
        if isinstance(h2, bool) or not isinstance(h2, (int, float)) or not 0.0 < h2 <= 1.0:
            raise OptionError(f"h2={h2!r} must be a number above 0 and at most 1.")
        return float(h2)
    spec = fit.specification
    simple = all(d.t == 1 and int(np.diff(d.columns[0].indptr).max()) <= 1 for d in spec.random)
    if k is None or not simple or not isinstance(spec.residual, Units):
        return float("nan")
    parts = spec.parameters.split(fit.theta)
    variances = [
        float(d.structure.covariance(part)[0, 0])
        * float((d.columns[0].power(2) @ np.asarray(d.relationship.diagonal)).mean())
        for d, part in zip(spec.random, parts[:-1], strict=True)
    ]
    total = sum(variances) + float(parts[-1][0] * np.mean(1.0 / spec.weights))
    return variances[k] / total if total > 0.0 else float("nan")


def _statistics(observed: np.ndarray, predicted: np.ndarray, h2: float) -> dict[str, float]:
    """Statistics of the records predicted."""
    here = np.isfinite(predicted)
    y, f = observed[here], predicted[here]
    a, b = y - np.mean(y) if len(y) else y, f - np.mean(f) if len(f) else f
    flat = 1e-24 * float(f @ f)
    known = len(y) > 1 and float(b @ b) > flat and float(a @ a) > 0.0
    ability = float(a @ b) / float(np.sqrt((a @ a) * (b @ b))) if known else float("nan")
    return {
        "n": len(observed),
        "predicted": len(y),
        "predictive_ability": ability,
        "accuracy": ability / float(np.sqrt(h2)) if h2 > 0.0 else float("nan"),
        "bias": float(a @ b) / float(b @ b) if known else float("nan"),
        "mse": float(np.mean((y - f) ** 2)) if len(y) else float("nan"),
    }
