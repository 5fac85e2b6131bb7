"""An output beside ours: what `rb.crosscheck` says of it, quantity by quantity, against what is known."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import remlblup as rb
from remlblup import Fit
from remlblup.crosschecking.judge.crosscheck import CrossCheck
from remlblup.crosschecking.judge.verdict import LEAST
from remlblup.crosschecking.results import FIXED as FIXED_COLUMNS
from remlblup.crosschecking.results import Results
from remlblup.errors import ConvergenceWarning, said_elsewhere
from remlblup.validation.cases import Case
from remlblup.validation.compare import (
    COMPONENT_ERRORS,
    COMPONENTS,
    EFFECTS,
    FIXED,
    FIXED_ERRORS,
    LOGLIK,
    STANDING,
    Comparison,
    Verdict,
    compare_number,
    digits_agreed,
    failure,
    skipped,
)
from remlblup.validation.programs.peers import read_peer, stored_shortfall
from remlblup.validation.programs.stored import REFERENCE, Output, StoredCase, stored_cases

#: Words of `CrossCheck.table` → kind; its standard errors are of two kinds.
_KINDS = {"loglik": LOGLIK, "component": COMPONENTS, "fixed effect": FIXED, "BLUP": EFFECTS}
#: Digits, relative to the residual variance, that make two variances on the boundary the same.
BOUNDARY = 6.0
#: What is below this share of its standard error is zero.
ZERO = 1e-9
#: Digits to which a shortfall is the stored one.
SHORTFALL = 4.0
STORED_GAP = "shortfall, ours | as stored"
GROUP = "programs"
_fits: dict[tuple[str, Path | None], Fit] = {}


def cases(reference: Path | None) -> tuple[list[Case], int]:
    """A case per output that can be judged here, and how many cannot without the reference folder."""
    out, absent = [], 0
    for stored in stored_cases():
        for output in stored.outputs:
            if reference is None and stored.needs_reference(output):
                absent += 1
                continue
            name = f"{stored.name}/{output.name}"
            compare = partial(_compare, stored, output, reference)
            out.append(Case(name, GROUP, compare, output.program, output.disagreement or stored.title))
    return out, absent


def _compare(stored: StoredCase, output: Output, reference: Path | None, case: str) -> list[Comparison]:
    return compare_output(stored, output, read(stored, output, reference), reference, case)


def fitted(stored: StoredCase, reference: Path | None) -> Fit:
    """Ours, fitted once for all outputs of a case."""
    key = (stored.name, reference)
    if key not in _fits:
        _fits.clear()  # cases come one after the other, and some fits are large
        _fits[key] = stored.fit(reference)
    return _fits[key]


def read(stored: StoredCase, output: Output, reference: Path | None) -> Results:
    """Theirs, by the reader of its format."""
    if output.peer:
        assert reference is not None
        return read_peer(reference, stored.answer, output)
    paths = [
        (reference or Path()) / f.removeprefix(REFERENCE) if f.startswith(REFERENCE) else stored.folder / f
        for f in output.files
    ]
    return renamed(rb.read_results(paths), output)


def renamed(results: Results, output: Output) -> Results:
    """Effects under our names, where theirs are numbers."""
    names = dict(output.rename)
    random, fixed = results.random_effects, results.fixed_effects
    for effect, coefficients in output.coefficients.items():
        own = random["term"] == effect
        moved = random.loc[own, ["estimate", "std_error", "rounding"]].assign(name=list(coefficients))
        fixed = pd.concat([f for f in (fixed, moved[list(FIXED_COLUMNS)]) if len(f)], ignore_index=True)
        random = random[~own]
    return replace(
        results,
        random_effects=random.assign(term=random["term"].replace(names)),
        fixed_effects=fixed.assign(name=fixed["name"].replace(names)),
    )


def compare_output(
    stored: StoredCase, output: Output, results: Results, reference: Path | None, case: str
) -> list[Comparison]:
    """Every quantity, the verdict, and the shortfall where one is stored."""
    gap = output.shortfall
    if gap is None and output.peer and reference is not None:
        gap = stored_shortfall(reference, stored.answer, output)
    return compare_results(fitted(stored, reference), output, results, case, gap)


def compare_results(
    fit: Fit, output: Output, results: Results, case: str, gap: float | None = None
) -> list[Comparison]:
    """The same of any fit of ours; `gap` is the shortfall that is stored."""
    known = set(results.components["term"])
    match = {t: ours for t, ours in output.rename.items() if t in known} or None
    with said_elsewhere(ConvergenceWarning):
        check = rb.crosscheck(fit, results, match=match)
    rows = [_verdict(output, check, case), *_quantities(output, check, case)]
    if gap is not None:
        rows.insert(1, compare_number(case, STORED_GAP, shortfall(check), gap, SHORTFALL))
    return [replace(r, program=output.program) for r in rows]


def shortfall(check: CrossCheck) -> float:
    """ℓ at ours less ℓ at theirs; of another model that is named, ℓ at its own maximum."""
    theirs = check.evaluation.attrs["loglik_theirs"]
    if check.reason is not None:
        theirs = float(check.reasons.loc[check.reasons["reason"] == check.reason, "loglik"].iloc[0])
    return float(check.fit.loglik - theirs)


def _verdict(output: Output, check: CrossCheck, case: str) -> Comparison:
    """Who is right, and whether that is what is known: ℓ at ours and at theirs."""
    ours, theirs = (check.evaluation.attrs[f"loglik_{who}"] for who in ("ours", "theirs"))
    right = check.verdict.startswith(output.verdict) and check.reason == output.reason
    known = Verdict.KNOWN if output.disagreement else Verdict.OK
    verdict = known if right and not ours - theirs < -LEAST else Verdict.FAIL
    note = check.verdict if right else f"expected: {output.verdict} ({output.reason}); found: {check.verdict}"
    gap, digits = (ours - theirs, digits_agreed(ours, theirs)) if np.isfinite(theirs) else (np.nan, np.nan)
    return Comparison(case, STANDING, ours, theirs, gap, digits, np.nan, verdict, note=note)


def _quantities(output: Output, check: CrossCheck, case: str) -> list[Comparison]:
    """A line per log-likelihood, component and term; fixed effects, and their errors, together."""
    rows: list[Comparison] = []
    columns = set(check.fit.specification.parameters.columns)
    together: dict[str, list[pd.Series]] = {FIXED: [], FIXED_ERRORS: []}
    for _, row in check.table.iterrows():
        quantity = row["quantity"]
        own = COMPONENT_ERRORS if row["name"] in columns else FIXED_ERRORS
        kind = _KINDS.get(str(quantity), own)
        if np.isnan(row["ours"]):
            absent = skipped if row["agrees"] else partial(failure, required=np.nan)
            rows.append(absent(case, f"{kind} {row['name']}", note=row["note"]))
        elif kind in together:
            together[kind].append(row)
        else:
            scale, boundary = _scale(check.fit, kind, row)
            line = _line(output, case, kind, _label(kind, str(row["name"])), row, bool(row["agrees"]), scale, boundary)
            rows.append(line)
    for kind, members in together.items():
        if members:
            scale = _rounding_scale(members)
            worst = max(members, key=lambda m: abs(m["difference"]))
            agrees = all(m["agrees"] for m in members)
            rows.append(replace(_line(output, case, kind, kind, worst, agrees, scale), count=len(members)))
    return rows


def _label(kind: str, name: str) -> str:
    return {COMPONENTS: name, COMPONENT_ERRORS: f"s.e. of {name}", LOGLIK: f"loglik {name}"}.get(
        kind, f"{kind} of {name}"
    )


def _scale(fit: Fit, kind: str, row: pd.Series) -> tuple[float | None, bool]:
    """What a difference is relative to, and whether that is the residual variance in place of one that is zero.

    Of BLUPs it is their spread; of those whose variance is zero the residual standard deviation.
    """
    table = fit.variance_components
    residual = float(table.loc[table["term"] == "residual", "estimate"].iloc[0])
    at_zero = table["status"] == "boundary"
    if kind == EFFECTS:
        if at_zero[table["term"] == str(row["name"]).split(": ")[0]].any():
            return residual**0.5, True
        away = row["in_std_errors"]
        return (abs(row["difference"] / away) if np.isfinite(away) and away != 0.0 else None), False
    names = list(fit.specification.parameters.columns)
    if kind == COMPONENTS and at_zero.iloc[names.index(row["name"])]:
        return residual, True
    return None, False


def _rounding_scale(members: list[pd.Series]) -> float:
    """The largest of a vector; of effects that are zero by design, which leaves rounding alone, a standard error."""
    largest = max(abs(v) for m in members for v in (m["ours"], m["theirs"]))
    errors = [abs(m["difference"] / m["in_std_errors"]) for m in members if m["in_std_errors"]]
    error = float(np.nanmax(errors)) if errors and np.isfinite(errors).any() else 0.0
    return error if largest < ZERO * error else largest


def _line(
    output: Output,
    case: str,
    kind: str,
    label: str,
    row: pd.Series,
    agrees: bool,
    scale: float | None,
    boundary: bool = False,
) -> Comparison:
    """One comparison; it agrees where the digits printed do, and as many as are required."""
    made = compare_number(case, label, row["ours"], row["theirs"], output.digits.get(kind, 0.0), scale, row["note"])
    made = replace(made, kind=kind, required=output.digits.get(kind, np.nan))
    agrees |= boundary and made.digits >= BOUNDARY
    if agrees and not made.failed:
        return made
    if (words := output.differs.get(kind) or output.disagreement) != "":
        return replace(made.marked(Verdict.KNOWN, words), known=words)
    return made.marked(Verdict.FAIL, "" if agrees else "they differ in the digits printed")
