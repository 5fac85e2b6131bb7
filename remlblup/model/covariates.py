"""Columns that are probably not what the formula takes them for: dates, numbers read as text,
numbers that are codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from remlblup.errors import CodesWarning, DataError, RemlBlupWarning, count, some, warn
from remlblup.model.algebra import Terms, read_terms
from remlblup.model.columns import Column, Columns
from remlblup.model.frame import check_no_dates
from remlblup.model.terms import RandomTerm

if TYPE_CHECKING:
    from remlblup.model.expression import Expression
    from remlblup.model.residual_reading import ResidualTerm
    from remlblup.model.terms import MixedFormula, SmoothTerm

NUMBER = r"\s*[-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][-+]?\d+)?\s*"
DECIMAL = r"\s*[-+]?\d*[.,]\d+(?:[eE][-+]?\d+)?\s*|\s*[-+]?\d+[.,]?\d*[eE][-+]?\d+\s*"
ABSENT = frozenset(("", "-", "--", ".", "*", "?", "na", "n.a.", "n/a", "#n/a", "nan", "null", "nil", "none", "missing"))
# Words that a file is read with as missing values.
WRITTEN_MISSING = frozenset(
    ("NA", "<NA>", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", ".", "*")
)
# Shares of numbers among the cells of a text column from which its text is an accident.
HALF, NEARLY_ALL = 0.5, 0.9
FEW_CODES = 12
# Distinct whole numbers up to which a covariate may have been meant as a factor, and their share of the records.
FEW, SHARE = 50, 3
# Words for factors; and those that are as often a covariate, unless they have few values.
_WORDS = (
    "animal batch bed block blk breed breeder byear category cg class clinic clone code cohort country cultivar dam env"
    " environment family farm flock gen gender genotype group grp herd house hys hyear id line litter loc location lab"
    " machine nest observer operator paddock pen person place plate player plot region rep"
    " replicate school sex sire site species stable stall station strain study subject tank team technician treatment"
    " trial trt type variety village ward worker zone"
)
FACTOR_WORDS = frozenset(_WORDS.split())
SOMETIMES = frozenset(("year", "yr", "month", "season", "parity", "lactation"))


def check_covariates(expressions: Iterable[Expression], data: Columns, what: str) -> None:
    """Refuse columns that stand as covariates and hold dates, or numbers with a cell of text among them.

    Raises
    ------
    DataError
        Naming column and rows, and what to do.
    """
    for expression in expressions:
        factor, name = expression.factor, expression.bare
        if (
            factor is not None
            and factor in data
            and (expression.is_factor or data[factor].is_categorical or data[factor].text)
        ):
            data[factor].check_levels()
        if name is not None and name in data:
            check_no_dates(data[name].series, f"column '{name}' in {what}", f"C({name})")
            check_numbers_as_text(data[name], what)


def check_numbers_as_text(column: Column, what: str) -> None:
    """Refuse a text column whose cells are numbers but for a few; of whole numbers, which may be labels, warn.

    Text is a factor with a level for every value. ``C(x)`` says that this is meant.
    """
    if column.is_categorical or not column.text:
        return
    codes, levels, texts = column.coded.occurring
    labels = texts or [str(level) for level in levels]
    is_number = np.array([re.fullmatch(NUMBER, label) is not None for label in labels])
    decimal = any(re.fullmatch(DECIMAL, label) for label in labels)
    number = is_number[codes] & (codes >= 0)
    share, values = float(np.mean(number)), int(is_number.sum())
    wrong = [label for label, good in zip(labels, is_number, strict=True) if not good]
    if share < HALF or (not wrong and (not decimal or values <= FEW_CODES)):
        return
    blank = bool(wrong) and all(label.strip().lower() in ABSENT for label in wrong)
    if not (decimal or blank or share >= NEARLY_ALL):
        return
    series, name = column.series, str(column.series.name)
    why = (
        f"because of {some(wrong, 4)} in row(s) {some(series.index[~number], 6)}"
        if wrong
        else "though every cell is a number"
    )
    text = (
        f"the column '{name}' in {what} is text {why}, and text is a factor, here of {len(labels)} levels. Make it a"
        f" number, with missing values where there is none (pandas.to_numeric(…, errors='coerce')), or write C({name})"
        " where a factor is meant"
    )
    if values > FEW_CODES:
        raise DataError(f"{text}.")
    warn(f"{text}.", CodesWarning)


# -- numbers that are codes ------------------------------------------------------------------


def whole_covariates(fixed: Terms, data: Columns, among: Callable[[str], bool] = lambda name: True) -> dict[str, int]:
    """Columns of whole numbers that the fixed part takes as covariates, with their numbers of values.

    `among` says of a name whether it is of interest.
    """
    found = {}
    for expression in fixed.expressions:
        name = expression.bare
        if name is None or not among(name) or name not in data or data[name].text:
            continue
        column = data[name].plain
        if column.dtype.kind not in "iuf":
            continue
        numbers = column.to_numpy()
        if numbers.dtype.kind == "f" and not (np.isfinite(numbers).all() and np.all(numbers == np.floor(numbers))):
            continue
        values = pd.unique(numbers)
        if 1 < len(values) < len(data) and not set(values) <= {0, 1}:
            found[str(name)] = len(values)
    return dict(sorted(found.items()))


def few_whole(fixed: Terms, data: Columns) -> dict[str, int]:
    """Those of so few values that a factor may be meant."""
    most = min(FEW, len(data) // SHARE)
    return {name: number for name, number in whole_covariates(fixed, data).items() if number <= most}


def likely_codes(
    fixed: Terms, random: Iterable[RandomTerm | SmoothTerm], residual: ResidualTerm, data: Columns
) -> dict[str, int]:
    """Those of `whole_covariates` that are levels elsewhere in the model, or are few and called like a factor."""
    levels = {f for t in random if isinstance(t, RandomTerm) for g in t.groups for f in g.factors}
    # A variance for every time, diag(time | units), goes with a trend over time; units and sections are levels.
    levels |= {*residual.unit.factors, residual.section}
    levels |= {c for e in fixed.expressions if e.is_factor for c in e.columns}
    # What stands in a polynomial or is a slope is a covariate.
    meant = {c for e in fixed.expressions if e.bare is None and not e.is_factor for c in e.columns}
    meant |= {c for t in random if isinstance(t, RandomTerm) and t.effects for c in read_terms(t.effects).columns}
    found = whole_covariates(fixed, data, lambda c: c in levels or (c not in meant and sounds_like_factor(c, 0)))
    most = min(FEW, len(data) // SHARE)
    return {c: n for c, n in found.items() if c in levels or (n <= most and sounds_like_factor(c, n))}


@lru_cache(maxsize=1024)
def sounds_like_factor(name: str, values: int) -> bool:
    """Whether a part of the name is a usual word for a factor."""
    parts = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    words = FACTOR_WORDS | SOMETIMES if values <= FEW_CODES else FACTOR_WORDS
    return any(part in words or part.removesuffix("s") in words for part in parts)


def warn_of_codes(codes: Mapping[str, int]) -> None:
    """One warning for all columns."""
    if codes:
        warn(codes_text(codes), CodesWarning)


def warn_of_traits(formula: MixedFormula, residual: ResidualTerm) -> None:
    """Say what several responses share because the model does not tell them apart."""
    if not formula.responses:
        return
    terms = [t for t in formula.random if isinstance(t, RandomTerm)]
    shared = []
    if "trait" not in read_terms(formula.fixed).columns:
        shared.append("one mean (write 'trait + …' in the fixed part)")
    if "trait" not in (residual.effect, residual.section) and not any("units" in t.name for t in terms):
        shared.append("one residual variance (write residual='us(trait | units)')")
    if shared:
        warn(f"{some(formula.responses)} share {' and '.join(shared)}.", RemlBlupWarning)


def warn_of_one_effect(terms: Iterable[RandomTerm | SmoothTerm]) -> None:
    """Say what a sum of plain factors behind the bar is, which other programs write for two terms."""
    for term in terms:
        if not isinstance(term, RandomTerm) or term.by_factor or len(term.groups) < 2:
            continue
        if all(not g.related and not g.weights and g.coefficient == 1.0 for g in term.groups):
            labels = [g.label for g in term.groups]
            apart = " + ".join(f"(1 | {label})" for label in labels)
            text = (
                f"'({term.name})' is one effect of every level, with one variance, "
                f"whichever of {some(labels)} it stands in"
            )
            warn(f"{text}. Terms of their own are {apart}.", RemlBlupWarning)


def writes_missing(column: Column) -> bool:
    """Whether a level is a word for a missing value, which files are read with as missing."""
    if not column.text:
        return False
    levels, texts = column.coded.levels, column.coded.texts
    words = [v for v in levels if isinstance(v, str)] if texts is None else texts
    return not WRITTEN_MISSING.isdisjoint(map(str.strip, words))


def warn_of_written_missing(frame: pd.DataFrame, factors: Iterable[str]) -> None:
    """Say that such a word stands as a level of a factor."""
    for name in sorted(set(factors)):
        if name not in frame.columns or not writes_missing(column := Column(frame[name])):
            continue
        words = [v for v in column.coded.levels if isinstance(v, str) and v.strip() in WRITTEN_MISSING]
        if n := int(column.series.isin(words).sum()):
            text = (
                f"the column '{name}' holds {some(words)} in {count(n, 'row')}, taken as a level; "
                "read from a file it is missing"
            )
            warn(
                f"{text}. Write missing values where it is none: data[{name!r}].replace({words!r}, None).", CodesWarning
            )


def differs_by_blanks(column: Column) -> bool:
    """Whether levels of a factor are apart by the blanks around them only."""
    return column.text and not _all_apart(column.coded.levels) and not _all_apart(column.coded.occurring.levels)


def _all_apart(levels: Iterable) -> bool:
    texts = [v for v in levels if isinstance(v, str)]
    return len(set(map(str.strip, texts))) == len(texts)


def warn_of_blanks(frame: pd.DataFrame, factors: Iterable[str]) -> None:
    """Say which levels of factors differ by such blanks: each has its own effect, where behind a bar they are one."""
    for name in sorted(set(factors)):
        if name in frame.columns and differs_by_blanks(column := Column(frame[name])):
            texts = pd.Series([v for v in column.coded.occurring.levels if isinstance(v, str)], dtype=object)
            alike = texts[texts.map(str.strip).duplicated(keep=False)]
            warn(
                f"levels of '{name}' differ only by blanks around them, and have an effect each: {some(sorted(alike))}."
                f" If they are the same, cut the blanks off: data[{name!r}].str.strip().",
                CodesWarning,
            )


def codes_text(codes: Mapping[str, int]) -> str:
    """What is said of them."""
    which = ", ".join(f"'{name}' ({n} values)" for name, n in codes.items())
    wrapped = ", ".join(f"C({name})" for name in codes)
    return (
        f"the fixed part takes {which} as covariate{'s' * (len(codes) > 1)}, one slope each, and the numbers look like"
        f" codes: write {wrapped} for a factor, or silence remlblup.CodesWarning."
    )
