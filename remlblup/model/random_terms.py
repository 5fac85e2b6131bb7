"""Random terms: from the formula and the data to Z, Σ and K, and the rows of Z of new records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import DataError, RemlBlupError, some
from remlblup.model.columns import Columns
from remlblup.model.design import DENSE_RECORDS, RandomDesign
from remlblup.model.effects import Effects, Ones, check_nonzero, effects_of
from remlblup.model.frame import numeric_values
from remlblup.model.given import Given
from remlblup.model.grouping import UNITS, group_keys
from remlblup.model.incidence import Incidence, incidence
from remlblup.model.kriging import effect_rows
from remlblup.model.numbers import check_one_level, check_size
from remlblup.model.places import places_design
from remlblup.model.positions import main_variable
from remlblup.model.products import combinations, levels_of, missing, prior_sizes, unseen
from remlblup.model.scanner import squeeze
from remlblup.model.terms import Group, Options, RandomTerm
from remlblup.relationship.base import IdentityRelationship
from remlblup.relationship.product import Product
from remlblup.structure.base import Structure
from remlblup.structure.covariance.identity import Identity
from remlblup.structure.table import STRUCTURES

# Crossed factors up to which every order of them is known by name.
MOST_CROSSED = 4


def random_design(term: RandomTerm, data: Columns, given: Given) -> RandomDesign:
    """Z_i, Σ and K of one term of the formula.

    Raises
    ------
    RelationshipError
        If ``vm(factor, NAME)`` names no relationship, or the relationship lacks levels.
    ModelError
        If a factor has a single level, or an effect is in no record.
    """
    if term.coordinates:
        return places_design(term, data, given)
    frame = data.frame
    relationship, codes = levels_of(term, data, given)
    effects, values_of = effects_of(term, data)
    structure = make_structure(term.structure, effects, term.options, given, term.name)
    label = " + ".join(g.label for g in term.groups)
    variable = main_variable(term.effects, data)
    check_size(
        structure, len(frame), term.name, variable, label, data[variable].dtype.kind if variable in data else "O"
    )
    seen = np.zeros(relationship.size + 1, dtype=bool)  # the last one is that of unknown levels
    for code in codes:
        seen[code] = True
    places = np.flatnonzero(seen[:-1])
    few = relationship.labels[places].tolist() if len(places) < 2 else places
    check_one_level(structure, few, term.name, label)
    values = values_of()
    loads = loadings(term, values, frame, [code >= 0 for code in codes])
    check_nonzero(term, effects.names, loads)
    moments = sum((load.T @ load for load in loads[1:]), loads[0].T @ loads[0]) / len(frame)
    return RandomDesign(
        term.name, structure, relationship, columns_of(codes, loads, relationship.size), moments, term, effects
    )


def units_design(frame: pd.DataFrame) -> RandomDesign:
    """``+ units``: an independent effect of every record, levels by the column `units`."""
    term = RandomTerm(UNITS, "1", Group((UNITS,)), "id")
    Z = sp.csr_array(sp.eye_array(len(frame), format="csr"))
    effects = Ones()
    labels = IdentityRelationship(frame[UNITS].to_numpy())
    return RandomDesign(UNITS, Identity(effects.names), labels, (Z,), np.ones((1, 1)), term, effects)


def loadings(term: RandomTerm, values: Array, frame: pd.DataFrame, known: Sequence[np.ndarray]) -> list[Array]:
    """For each factor of the term the (n, t) weights of the effects of its level in the records where it is `known`."""
    out = []
    for group, where in zip(term.groups, known, strict=True):
        if not (term.by_factor or group.weights) and group.coefficient == 1.0 and where.all():
            out.append(values)
            continue
        own = values * (np.arange(values.shape[1]) == group.effect) if term.by_factor else values
        out.append(own * (group.coefficient * weights_of(group, frame, where, term.name))[:, None])
    return out


def weights_of(group: Group, frame: pd.DataFrame, known: np.ndarray, where: str) -> Array:
    """The product of the columns that multiply a factor, (n,), where its level is known; 0 elsewhere.

    Raises
    ------
    DataError
        If a weight is missing or no number where it is needed.
    """
    out = np.asarray(known, dtype=float)
    rows = np.flatnonzero(known)
    for column in group.weights:
        own = frame[column].iloc[rows]
        if own.isna().any():
            raise DataError(
                f"in '{where}' the weight '{column}' is missing where '{group.label}' is known, in row(s)"
                f" {some(own.index[own.isna()])}: fill it in, or make '{group.label}' missing too."
            )
        out[rows] *= numeric_values(own, f"weight '{column}' of '{group.label}' in '{where}'")
    return out


def columns_of(codes: Sequence[Array], loads: Sequence[Array], q: int) -> Sequence[sp.csr_array]:
    """Z_i = Σ over factors of the incidence of their levels times the weight of effect i."""
    if len(codes) == 1 and len(codes[0]) <= DENSE_RECORDS and codes[0].min(initial=0) >= 0:
        return Incidence(codes[0], loads[0], q)
    columns = []
    for i in range(loads[0].shape[1]):
        Z = incidence(codes[0], q, loads[0][:, i])
        for code, load in zip(codes[1:], loads[1:], strict=True):
            Z = sp.csr_array(Z + incidence(code, q, load[:, i]))
        columns.append(Z)
    return tuple(columns)


def make_structure(keyword: str, effects: Effects, options: Options, given: Given, where: str) -> Structure:
    """Σ over the effects, its options resolved; errors say which term they are about."""
    resolved = {n: given.matrix(value, where) if n == "matrix" else value for n, value in options}
    cls = STRUCTURES[keyword]
    if effects.steps is not None:
        resolved["steps"] = effects.steps
    try:
        if effects.positions is None and not resolved:
            return cls(effects.names)
        return cls(effects.names, effects.positions, **resolved)
    except RemlBlupError as error:
        raise type(error)(f"in '{where}': {error}") from None


@dataclass(frozen=True)
class NewRows:
    """Z of a term for new records.

    Attributes
    ----------
    columns : t CSR matrices (n, q), zero where the level is not in the model
    unknown : the levels that are not in the model
    loads : pairs of (n, t) weights a, b of effects that the model does not know, and (n,) their covariance k under
        Σ = 1: each adds a'Σb k to the variance of a record
    left : (n,) variance that no effect of the term explains, at places and times without one
    """

    columns: Sequence[sp.csr_array]
    unknown: tuple[str, ...]
    loads: tuple[tuple[Array, Array, Array], ...]
    left: Array

    def prior(self, sigma: Array) -> Array:
        """Variance that levels, places and times not in the model add to each record, (n,)."""
        parts = [np.einsum("ni,ij,nj->n", a, sigma, b) * k for a, b, k in self.loads]
        return np.asarray(sum(parts, self.left))


def new_rows(design: RandomDesign, frame: pd.DataFrame, theta: Array) -> NewRows:
    """Rows of Z for new records; a record without `units` is a unit of its own, new to the model.

    A combination of known levels that a product of relationships does not hold is predicted from those it does.
    """
    term, relationship = design.term, design.relationship
    assert term is not None and design.spec is not None
    n = len(frame)
    found, codes, outside = [], [], []
    for position, group in enumerate(term.groups):
        if group.factors == (UNITS,) and UNITS not in frame.columns:
            codes.append(np.full(n, -1))
            outside.append(np.ones(n, dtype=bool))
            continue
        if isinstance(relationship, Product):
            found.append(combinations(group, frame, relationship))
            code, parts = relationship.at(found[-1]), relationship.parts
        else:
            code, parts = relationship.find(group_keys(group, frame)), (relationship,)
        independent = not any(group.names)
        absent = missing(term, position, frame, (None,) if independent else parts)
        codes.append(np.where(absent, -1, code))
        outside.append((code < 0) & ~absent)
    rows = effect_rows(design, frame, theta)
    loads = loadings(term, rows.values, frame, [(c >= 0) | o for c, o in zip(codes, outside, strict=True)])
    inside = [load * (code >= 0)[:, None] for load, code in zip(loads, codes, strict=True)]
    columns = columns_of(codes, inside, design.q)
    predicted = unseen(relationship, found, outside)
    if predicted is not None and np.any(rows.left):
        raise DataError(
            f"'{design.name}': combinations of levels without records are predicted at places of the model only."
        )
    sizes = np.append(np.asarray(relationship.diagonal), 1.0) if np.any(rows.left) else np.ones(1)
    left = rows.left * sizes[codes[0]] if np.any(rows.left) else rows.left
    beyond = []
    if predicted is not None:
        for load, B in zip(loads, predicted.regressions, strict=True):
            columns = tuple(sp.csr_array(Z + sp.diags_array(w) @ B) for Z, w in zip(columns, load.T, strict=True))
        outside = [out & ~rows for out, rows in zip(outside, predicted.rows, strict=True)]
        beyond = [(a, b, predicted.left(g, h)) for g, a in enumerate(loads) for h, b in enumerate(loads)]
    priors = [prior_sizes(relationship, own) for own in found] or [np.ones(1)] * len(loads)
    beyond += [(load, load, out * prior) for load, out, prior in zip(loads, outside, priors, strict=True)]
    unknown = [
        str(key)
        for group, out in zip(term.groups, outside, strict=True)
        if out.any() and not (group.factors == (UNITS,) and UNITS not in frame.columns)
        for key in group_keys(group, frame[out])
    ]
    return NewRows(columns, tuple(dict.fromkeys(unknown)), tuple(beyond), left)


@lru_cache(maxsize=256)
def spellings(term: RandomTerm) -> tuple[str, ...]:
    """Other ways users write a term's name, without white space: without its options, by its group alone, its
    crossed factors in any order, its intercept written out or not."""
    names = [term.name, term.short] if term.short else [term.name]
    out = [text for name in names for text in (name, f"({name})", f"1|{name}", f"(1|{name})")]
    if not term.more and term.group.factors:
        label, written = term.group.label, ":".join(term.group.written)
        out += [written, label]
        for crossed in dict.fromkeys((written, label, term.effects)):
            out += [squeeze(text).replace(squeeze(crossed), other) for other in orders(crossed) for text in out]
    out = [squeeze(text) for text in out]
    effects = squeeze(term.effects)
    if effects.startswith("1+") or not effects.startswith(("0", "1", "-1")):
        other = effects[2:] if effects.startswith("1+") else f"1+{effects}"
        out += [text.replace(f"{effects}|", f"{other}|") for text in out if effects and f"{effects}|" in text]
    return tuple(dict.fromkeys(out))


def orders(crossed: str) -> list[str]:
    """``a:b`` and ``b:a``; nothing where no factors are crossed, or more than `MOST_CROSSED`."""
    factors = squeeze(crossed).split(":")
    plain = all(re.fullmatch(r"vm\([\w.,`]+\)|[\w.]+|`[^`]+`", f) for f in factors)
    return [":".join(p) for p in permutations(factors)] if plain and 1 < len(factors) <= MOST_CROSSED else []
