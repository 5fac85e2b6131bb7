"""Random terms: from the formula and the data to Z, Σ and K, and the rows of Z of new records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.errors import RemlBlupError
from remlblup.model.design import RandomDesign, incidence
from remlblup.model.effects import Effects, Ones, check_nonzero, effects_of
from remlblup.model.given import Given
from remlblup.model.grouping import UNITS, group_keys, grouped, unknown_parents
from remlblup.model.kriging import effect_rows
from remlblup.model.numbers import check_one_level, check_size
from remlblup.model.places import places_design
from remlblup.model.positions import kind_of, main_variable
from remlblup.model.scanner import squeeze
from remlblup.model.terms import Group, Options, RandomTerm
from remlblup.relationship.base import IdentityRelationship
from remlblup.structure.base import Structure
from remlblup.structure.covariance.identity import Identity
from remlblup.structure.table import STRUCTURES

# Crossed factors up to which every order of them is known by name.
MOST_CROSSED = 4


def random_design(term: RandomTerm, frame: pd.DataFrame, given: Given) -> RandomDesign:
    """Z_i, Σ and K of one term of the formula.

    Raises
    ------
    RelationshipError
        If ``vm(factor, NAME)`` names no relationship, or the relationship lacks levels.
    ModelError
        If a factor has a single level, or an effect is in no record.
    """
    if term.coordinates:
        return places_design(term, frame, given)
    name = term.group.relationship
    relationship, codes = grouped(term, frame, None if name is None else given.relationship(name, term.name))
    effects, values_of = effects_of(term, frame)
    structure = make_structure(term.structure, effects, term.options, given, term.name)
    label = " + ".join(g.label for g in term.groups)
    variable = main_variable(term.effects, frame)
    check_size(structure, len(frame), term.name, variable, label, kind_of(variable, frame))
    seen = np.unique(np.concatenate(codes))
    check_one_level(structure, relationship.labels[seen[seen >= 0]], term.name, label)
    values = values_of()
    loads = [load * (code >= 0)[:, None] for load, code in zip(loadings(term, values), codes, strict=True)]
    check_nonzero(term, effects.names, np.sum([np.abs(load) for load in loads], axis=0))
    moments = np.sum([load.T @ load for load in loads], axis=0) / len(frame)
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


def loadings(term: RandomTerm, values: Array) -> list[Array]:
    """For each factor of the term the (n, t) weights of the effects of its level in the records."""
    if term.by_factor:
        return [g.coefficient * values * (np.arange(values.shape[1]) == i) for i, g in enumerate(term.groups)]
    return [values if g.coefficient == 1.0 else g.coefficient * values for g in term.groups]


def columns_of(codes: Sequence[Array], loads: Sequence[Array], q: int) -> tuple[sp.csr_array, ...]:
    """Z_i = Σ over factors of the incidence of their levels times the weight of effect i."""
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
    loads : for each factor the (n, t) weights of the effects of such levels
    left : (n,) variance that no effect of the term explains, at places and times without one
    """

    columns: tuple[sp.csr_array, ...]
    unknown: tuple[str, ...]
    loads: tuple[Array, ...]
    left: Array

    def prior(self, sigma: Array) -> Array:
        """Variance that levels, places and times not in the model add to each record, (n,)."""
        parts = [np.einsum("ni,ij,nj->n", load, sigma, load) for load in self.loads]
        return np.asarray(sum(parts, self.left))


def new_rows(design: RandomDesign, frame: pd.DataFrame, theta: Array) -> NewRows:
    """Rows of Z for new records; a record without `units` is a unit of its own, new to the model."""
    term, relationship = design.term, design.relationship
    assert term is not None and design.spec is not None
    codes, outside, unknown = [], [], []
    for position, group in enumerate(term.groups):
        if group.factors == (UNITS,) and UNITS not in frame.columns:
            codes.append(np.full(len(frame), -1))
            outside.append(np.ones(len(frame), dtype=bool))
            continue
        keys = group_keys(group, frame)
        code = relationship.find(keys)
        absent = unknown_parents(keys, relationship) if term.may_miss(position) else np.zeros(len(frame), dtype=bool)
        codes.append(np.where(absent, -1, code))
        outside.append((code < 0) & ~absent)
        unknown += list(map(str, keys[outside[-1]]))
    rows = effect_rows(design, frame, theta)
    loads = loadings(term, rows.values)
    own = np.ones(len(frame))
    if np.any(rows.left):
        own = np.where(codes[0] >= 0, np.asarray(relationship.diagonal)[codes[0]], 1.0)
    inside = [load * (code >= 0)[:, None] for load, code in zip(loads, codes, strict=True)]
    beyond = tuple(load * out[:, None] for load, out in zip(loads, outside, strict=True))
    return NewRows(columns_of(codes, inside, design.q), tuple(dict.fromkeys(unknown)), beyond, own * rows.left)


def spellings(term: RandomTerm) -> list[str]:
    """Other ways users write a term's name: without its options, by its group alone,
    its crossed factors in any order."""
    names = [term.name, term.short] if term.short else [term.name]
    out = [text for name in names for text in (name, f"({name})", f"1|{name}", f"(1|{name})")]
    if not term.more and term.group.factors:
        label, known = term.group.label, term.group.relationship
        out += [f"vm({label},{known})" if known else label, label]
        for crossed in (label, term.effects):
            out += [squeeze(text).replace(squeeze(crossed), other) for other in orders(crossed) for text in out]
    return out


def orders(crossed: str) -> list[str]:
    """``a:b`` and ``b:a``; nothing where no factors are crossed, or more than `MOST_CROSSED`."""
    factors = squeeze(crossed).split(":")
    plain = all(re.fullmatch(r"[\w.]+|`[^`]+`", f) for f in factors)
    return [":".join(p) for p in permutations(factors)] if plain and 1 < len(factors) <= MOST_CROSSED else []
