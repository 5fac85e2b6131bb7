"""Which of their components is which of our parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.crosschecking.judge.names import factors, own_factors, plain_effect
from remlblup.crosschecking.results import Row, effects_of, rows_by_term
from remlblup.errors import OptionError, some
from remlblup.model.grouping import UNITS
from remlblup.model.parameters import RESIDUAL, Parameters
from remlblup.model.scanner import squeeze
from remlblup.model.specification import Specification

#: With more terms that names do not tell apart only the order is tried.
MOST = 4
#: In place of the number of a parameter: a loading that ours takes as zero.
ABOVE = -1
#: Kinds of components that speak of one effect.
OWN = ("variance", "specific", "loading")


@dataclass(frozen=True)
class Matched:
    """Their components in our order.

    Attributes
    ----------
    terms : their term → ours
    theta : (n_parameters,) NaN where theirs has none
    unit : (n_parameters,) a unit of the last digit printed
    std_error : (n_parameters,) theirs
    kinds : their word for each
    extra : components of theirs that ours has not
    by_name : whether names alone told which is which
    above : loadings that ours takes as zero: our term, effect, factor, estimate, unit
    turned : terms whose loadings were turned into our form
    as_given : theta before that
    """

    terms: Mapping[str, str]
    theta: Array
    unit: Array
    std_error: Array
    kinds: tuple[str, ...]
    extra: tuple[str, ...]
    by_name: bool
    above: tuple[tuple[str, str, int, float, float], ...] = ()
    turned: tuple[str, ...] = ()
    as_given: Array | None = None

    @property
    def complete(self) -> bool:
        """Whether every parameter of ours has a value, and every component of theirs a place."""
        return not np.isnan(self.theta).any() and not self.extra


def candidates(spec: Specification, components: pd.DataFrame, match: Mapping[str, str] | None) -> list[Matched]:
    """The ways to lay their terms on ours: one where names say it, else those in which leftovers may be paired."""
    if not spec.residual.n_parameters and UNITS in spec.parameters.terms and UNITS not in set(components["term"]):
        components = components.replace({"term": {RESIDUAL: UNITS}})  # theirs beside a known R
    theirs = list(dict.fromkeys(t for t in components["term"] if t != RESIDUAL))
    given = _given(spec.parameters, theirs, match)
    known = given | _by_name(spec, components, [t for t in theirs if t not in given], set(given.values()))
    rest = [t for t in theirs if t not in known]
    free = [t for t in spec.parameters.terms if t not in known.values()]
    if not rest or not free:
        return [_matched(spec.parameters, components, known, True)]
    free += [""] * max(len(rest) - len(free), 0)
    orders = permutations(free, len(rest)) if len(free) <= MOST else [tuple(free[: len(rest)])]
    pairs = [known | {a: b for a, b in zip(rest, order, strict=True) if b} for order in orders]
    out = [_matched(spec.parameters, components, pair, False) for pair in pairs]
    return [m for m in out if m.complete] or out[:1]


def _given(parameters: Parameters, theirs: list[str], match: Mapping[str, str] | None) -> dict[str, str]:
    if match is None:
        return {}
    if unknown := [t for t in match if t not in theirs]:
        raise OptionError(f"match= names {some(unknown)}; the other program's terms are: {some(theirs, 20)}.")
    names = (*parameters.terms, RESIDUAL)
    return {t: names[parameters.index(ours)] for t, ours in match.items()}


def _by_name(spec: Specification, components: pd.DataFrame, theirs: list[str], taken: set[str]) -> dict[str, str]:
    """Pairs of terms with the same factors; then with factors of one among those of the other, where only one has."""
    ours = {n: f for n, f in zip(spec.parameters.terms, own_factors(spec), strict=True) if n not in taken}
    sizes = {d.name: d.t for d in spec.random}
    count = {t: components.loc[components["term"] == t, "effect"].nunique() for t in theirs}
    named = {t: factors(t) for t in theirs}
    own_effects = {d.name: set(map(plain_effect, d.structure.effects)) for d in spec.random}
    inside = {t: _effects_of(components, t) for t in theirs}
    alike = {(t, n) for t in theirs for n in ours if inside[t] and inside[t] <= own_effects[n]}
    out = {t: n for t in theirs for n in ours if squeeze(t) == squeeze(n)}
    for term, name in list(
        out.items()
    ):  # herd [age] of lme4 is our 0 + age | herd, and our herd is its herd.1 [(Intercept)]
        if inside[term] and (term, name) not in alike and any(ours[n] == ours[name] for t, n in alike if t == term):
            del out[term]
    for fits in (frozenset.__eq__, lambda a, b: bool(a) and (a <= b or b <= a), _similar):
        for term, own in named.items():
            if term in out:
                continue
            room = {n: sizes[n] - sum(count[t] for t, m in out.items() if m == n) for n in ours}
            found = [n for n, f in ours.items() if room[n] >= min(count[term], sizes[n]) and fits(own, f)]
            if len(found) > 1:
                found = [n for n in found if sizes[n] == count[term]] or found
                found = [n for n in found if (term, n) in alike] or found
            if len(found) == 1:
                out[term] = found[0]
    return out


def _effects_of(components: pd.DataFrame, term: str) -> set[str]:
    """The effects that rows of a term name."""
    return {plain_effect(e) for e in components.loc[components["term"] == term, "effect"] if e and e == e}


def _similar(a: frozenset[str], b: frozenset[str]) -> bool:
    """One name begins with the other, as programs shorten them."""
    return any(len(x) > 2 and len(y) > 2 and (x.startswith(y) or y.startswith(x)) for x in a for y in b)


def _matched(parameters: Parameters, components: pd.DataFrame, terms: dict[str, str], by_name: bool) -> Matched:
    """Values laid on our parameters under one pairing of terms."""
    size = parameters.size
    theta, unit, error = np.full(size, np.nan), np.zeros(size), np.full(size, np.nan)
    kinds = [""] * size
    extra: list[str] = []
    above: list[tuple[str, str, int, float, float]] = []
    laid: dict[str, list[Row]] = {}
    for term, rows in rows_by_term(components).items():
        ours = RESIDUAL if term == RESIDUAL else terms.get(term)
        if ours is None:
            extra += [_label(row) for row in rows]
        elif list(terms.values()).count(ours) > 1:  # independent effects, each a term of theirs
            laid.setdefault(ours, []).extend(row if row.effect else row._replace(effect=term) for row in rows)
        else:
            laid[ours] = rows
    for ours, rows in laid.items():
        for row, place in zip(rows, _places(parameters, ours, rows), strict=True):
            if place == ABOVE:
                effect, factor = map(plain_effect, _pair(row))
                above.append((ours, effect, int(factor.removeprefix("factor")), row.estimate, 2.0 * row.rounding))
                continue
            if place is None or not np.isnan(theta[place]):
                extra.append(_label(row))
                continue
            theta[place], unit[place], error[place] = row.estimate, 2.0 * row.rounding, row.std_error
            kinds[place] = row.kind
    return Matched(dict(terms), theta, unit, error, tuple(kinds), tuple(extra), by_name, tuple(above))


def _label(row: Row) -> str:
    inside = ", ".join(filter(None, (row.effect, row.other)))
    return f"{row.term} [{inside}]" if inside else str(row.term)


def _places(parameters: Parameters, ours: str, rows: list[Row]) -> list[int | None]:
    """Number of our parameter of each of their rows: by the names of the effects, by number, or by order."""
    own = [k for k, (term, _) in enumerate(parameters.pairs) if term == ours]
    meaning = {k: effects_of(parameters.pairs[k][1]) for k in own}
    if len(own) == 1 and len(rows) == 1:
        return [own[0]]
    by_effects = {(kind, frozenset(map(plain_effect, effects))): k for k, (kind, effects) in meaning.items()}
    by_effects = _above_diagonal(meaning) | by_effects
    if any(kind == "specific" for kind, _ in meaning.values()):  # ψ is a variance to other programs
        rows = [row._replace(kind="specific") if row.kind == "variance" else row for row in rows]
    found = [by_effects.get((row.kind, _effects(row))) for row in rows]
    if None not in found:
        return list(found)
    order = list(dict.fromkeys(plain_effect(e) for k in own for e in _own_effects(*meaning[k])))
    numbered = [by_effects.get((row.kind, _numbered(row, order))) for row in rows]
    if None not in numbered and len(set(numbered)) >= len(numbered) - numbered.count(ABOVE):
        return list(numbered)
    theirs = list(dict.fromkeys(row.effect for row in rows if row.kind in OWN))
    renamed = dict(zip(theirs, order, strict=False))
    if len(theirs) == len(order):  # other names in the same order
        paired = [by_effects.get((row.kind, _renamed(row, renamed))) for row in rows]
        if None not in paired:
            return list(paired)
    return list(own) if len(own) == len(rows) else found


def _above_diagonal(meaning: dict[int, tuple[str, tuple[str, ...]]]) -> dict[tuple[str, frozenset[str]], int]:
    """The loadings of a term that ours takes as zero, Γ_ij with j > i."""
    pairs = [(plain_effect(e[0]), plain_effect(e[1])) for kind, e in meaning.values() if kind == "loading"]
    effects, factors = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True)) if pairs else ([], [])
    return {("loading", frozenset(pair)): ABOVE for pair in product(effects, factors) if pair not in pairs}


def _renamed(row: Row, names: dict[str, str]) -> frozenset[str]:
    first, *second = (names.get(e, plain_effect(e) if row.kind == "loading" else "?") for e in _pair(row))
    return frozenset({first, *second})


def _own_effects(kind: str, effects: tuple[str, ...]) -> tuple[str, ...]:
    """The effect that a parameter speaks of alone."""
    return effects[:1] if kind in OWN else ()


def _pair(row: Row) -> list[str]:
    return [row.effect, row.other] if row.kind in ("covariance", "loading") else [row.effect]


def _effects(row: Row) -> frozenset[str]:
    return frozenset(map(plain_effect, _pair(row)))


def _numbered(row: Row, order: list[str]) -> frozenset[str]:
    """Effects 1, 2, … as those of ours at these places; a factor is a number everywhere."""
    first, *second = _pair(row)
    if row.kind == "loading":
        return frozenset({_at(order, first), *map(plain_effect, second)})
    return frozenset(_at(order, e) for e in (first, *second))


def _at(order: list[str], number: str) -> str:
    return order[int(number) - 1] if number.isdigit() and 0 < int(number) <= len(order) else "?"
