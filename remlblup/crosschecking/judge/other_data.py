"""Other weights, records and columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.crosschecking.judge.variant import Ours, Variant
from remlblup.crosschecking.readers.text import is_number
from remlblup.errors import count
from remlblup.model.specification import Specification
from remlblup.relationship.pedigree.pedigree import Pedigree

#: Codes that programs read as missing.
MISSING_CODES = ("0", "-9", "-99", "-999", "-9999", "9999", "999", "NA", "na", "N/A", "NaN", ".", "*", "-")
#: A covariate with as many values or fewer may be a factor.
FEW = 12


def other_weights(ours: Ours) -> Iterator[Variant]:
    """Weights as variances, as inverse standard deviations, or not at all."""
    assert ours.spec.records is not None
    name = ours.spec.records.weights
    if name is None:
        return
    w = pd.to_numeric(ours.frame[name]).astype(float)
    for words, values in (
        ("weights as variances: 1/w in place of w", 1.0 / w),
        ("weights as inverse standard deviations: w² in place of w", w**2),
        ("weights as standard deviations: 1/w² in place of w", 1.0 / w**2),
        ("weights as 1/√w² : √w in place of w", np.sqrt(w)),
    ):
        reason = "weights inverted" if "variances: 1" in words else "weights of another kind"
        yield Variant(reason, words, partial(ours.model, ours.frame.assign(**{name: values})))
    yield Variant("weights ignored", "all records alike", partial(ours.model, weights=None))


def other_records(ours: Ours) -> Iterator[Variant]:
    """Records dropped, missing values filled in, codes read as missing."""
    frame = ours.frame
    for reason, words, keep in dropped(ours):
        gone = int((~keep).sum())
        if 0 < gone < len(frame) - ours.spec.p - 2:
            yield Variant(reason, f"{words} ({count(gone, 'row')})", partial(ours.model, frame[keep]), slight=gone == 1)
    for whole, columns in ((frame, ours.spec.responses), (ours.whole, ours.spec.responses or (ours.spec.response,))):
        if whole is None:
            continue
        columns = tuple(c for c in columns if c in whole.columns)
        gaps = whole[list(columns)].isna()
        if columns and gaps.to_numpy().any():
            where = f"{int(gaps.to_numpy().sum())} missing values of {', '.join(columns)}"
            for by, value in (
                ("the mean", lambda v: v.mean()),
                ("the median", lambda v: v.median()),
                ("zero", lambda v: 0.0),
            ):
                filled = whole.assign(**{c: whole[c].fillna(value(whole[c])) for c in columns})
                yield Variant("missing values imputed", f"{where} by {by}", partial(ours.model, filled))


def dropped(ours: Ours) -> Iterator[tuple[str, str, pd.Series]]:
    """Reason, what goes, and a mask of what stays."""
    frame, spec = ours.frame, ours.spec
    assert spec.records is not None
    yield "records dropped", "rows with anything missing in any column", frame.notna().all(axis=1)
    responses = [c for c in (spec.responses or (spec.response,)) if c in frame.columns]
    if responses:
        if len(responses) > 1:
            yield "records dropped", "rows without all traits", frame[responses].notna().all(axis=1)
        numbers = frame[responses].apply(pd.to_numeric, errors="coerce")
        for value in map(float, filter(is_number, MISSING_CODES[1:])):  # zero has words of its own
            yield "level coded missing", f"{value:g} of the response read as missing", (numbers != value).all(axis=1)
        yield "records dropped", "zeros of the response taken as missing", (numbers != 0.0).all(axis=1)
        negative = (numbers > 0.0) | numbers.isna()
        yield "records dropped", "negative values of the response", negative.all(axis=1)
    position = pd.Series(np.arange(len(frame)), index=frame.index)
    yield "records dropped", "the first row, taken for names", position > 0
    yield "records dropped", "the last row", position < len(frame) - 1
    for factor in factor_columns(spec):
        text = frame[factor].astype(str)
        if text.duplicated().any() and text.nunique() > 0.3 * len(frame):
            yield "records dropped", f"all but the first record of every level of {factor}", ~text.duplicated()
            yield (
                "records dropped",
                f"all but the last record of every level of {factor}",
                ~text.duplicated(keep="last"),
            )
        for code in sorted(set(text) & set(MISSING_CODES)):
            yield "level coded missing", f"{factor} {code!r} read as missing, its rows dropped", text != code
    for factor, pedigree in _pedigree_factors(ours):
        known = {
            str(v) for v, s, d in zip(pedigree.labels, pedigree.sire, pedigree.dam, strict=True) if s >= 0 or d >= 0
        }
        keep = frame[factor].astype(str).isin(known)
        yield "records dropped", f"records of {factor} without known parents", keep


def level_without_effect(ours: Ours) -> Iterator[Variant]:
    """A level of a random term read as missing, its records kept: they have no effect of that term."""
    for k, design in enumerate(ours.spec.random):
        if design.term is None or design.root is not None:
            continue
        for level, label in enumerate(map(str, design.relationship.labels)):
            if label in MISSING_CODES:
                words = f"{design.name} {label!r} without an effect, its rows kept"
                yield Variant("level coded missing", words, partial(_without_level, ours.spec, k, level), last=True)


def _without_level(spec: Specification, k: int, level: int) -> Specification:
    design = spec.random[k]
    stay = sp.diags_array((np.arange(design.q) != level).astype(float))
    columns = tuple(sp.csr_array(Z @ stay) for Z in design.columns)
    return replace(spec, random=(*spec.random[:k], replace(design, columns=columns), *spec.random[k + 1 :]))


def _pedigree_factors(ours: Ours) -> Iterator[tuple[str, Pedigree]]:
    for design in ours.spec.random:
        for group in design.term.groups if design.term is not None else ():
            pedigree = ours.relationships.get(group.relationship or "")
            if isinstance(pedigree, Pedigree) and len(group.factors) == 1 and group.factors[0] in ours.frame.columns:
                yield group.factors[0], pedigree


def factor_columns(spec: Specification) -> list[str]:
    """Columns of the data that stand behind bars, and those of text or categories in the fixed part."""
    assert spec.records is not None
    names = [f for d in spec.random if d.term is not None for g in d.term.groups for f in g.factors]
    frame = spec.records.original
    names += [c for c in spec.records.used if c in frame.columns and not pd.api.types.is_numeric_dtype(frame[c])]
    return [n for n in dict.fromkeys(names) if n in frame.columns]


def other_columns(ours: Ours) -> Iterator[Variant]:
    """A factor of the fixed part taken as a covariate, a covariate as a factor."""
    assert ours.spec.records is not None
    behind = {f for d in ours.spec.random if d.term is not None for g in d.term.groups for f in g.factors + g.weights}
    skipped = {*behind, *ours.spec.responses, ours.spec.response, ours.spec.records.weights}
    for name in ours.spec.records.used:
        if name in skipped or name not in ours.frame.columns:
            continue
        column = ours.frame[name]
        numbers = pd.to_numeric(column.astype(str), errors="coerce")
        if pd.api.types.is_numeric_dtype(column) and 2 < column.nunique() <= FEW:
            as_text = ours.frame.assign(**{name: column.map(lambda v: f"v{v}")})
            yield Variant("covariate taken as a factor", name, partial(ours.model, as_text))
        elif not pd.api.types.is_numeric_dtype(column) and numbers.notna().all() and column.nunique() > 2:
            as_number = ours.frame.assign(**{name: numbers.astype(float)})
            yield Variant("factor taken as a covariate", name, partial(ours.model, as_number))
