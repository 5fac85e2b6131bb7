"""Terms over products of relationships, ``(1 | vm(a, A):vm(b, B):f)``: their levels, and those of new records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.cached import cached_property
from remlblup.errors import ModelError, RelationshipError
from remlblup.model.columns import Columns
from remlblup.model.given import Given
from remlblup.model.grouping import factorize, group_keys, grouped, union, unknown_parents
from remlblup.model.terms import Group, RandomTerm
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.product import PairsRelationship, Product, paired, product_of


def levels_of(term: RandomTerm, data: Columns, given: Given) -> tuple[RelationshipBase, list[np.ndarray]]:
    """K, and the position of each record's level in it for every group of the term (−1: unknown parent)."""
    if term.group.product:
        return multiplied(term, data.frame, given)
    name = term.group.relationship
    return grouped(term, data, None if name is None else given.relationship(name, term.name))


def multiplied(term: RandomTerm, frame: pd.DataFrame, given: Given) -> tuple[Product, list[np.ndarray]]:
    """K_1 ⊗ K_2 ⊗ …, and the position of each record's combination in it for every group of the term.

    Raises
    ------
    RelationshipError
        If a relationship lacks levels, or cannot be multiplied.
    """
    names = term.group.product
    codes = [np.empty((len(frame), len(names)), dtype=np.intp) for _ in term.groups]
    parts: list[RelationshipBase] = []
    for k, name in enumerate(names):
        named = None if name is None else given.relationship(name, term.name)
        found = []
        for position, group in enumerate(term.groups):
            keys = frame[group.factors[k]]
            if named is not None and term.may_miss(position):
                keys = keys.mask(unknown_parents(keys, named))
            found.append(factorize(keys))
        part = IdentityRelationship(union([own for _, own in found])) if named is None else named
        for own, (code, levels), group in zip(codes, found, term.groups, strict=True):
            try:
                own[:, k] = np.append(part.index(levels), -1)[code]
            except RelationshipError as error:
                where = f"factor '{group.factors[k]}', relationship '{name}'"
                raise RelationshipError(f"in '{term.name}' ({where}): {error}") from None
        parts.append(part)
    stacked = np.concatenate(codes)
    whole = stacked[(stacked >= 0).all(axis=1)]
    if not len(whole):
        raise ModelError(f"no combination of levels of '{term.name}' is known in any record: drop the term.")
    distinct = all(len(set(group.factors)) == len(group.factors) for group in term.groups)
    try:
        made = product_of(parts, whole, distinct)
    except RelationshipError as error:
        raise type(error)(f"in '{term.name}': {error}") from None
    return made, [made.at(own) for own in codes]


def combinations(group: Group, frame: pd.DataFrame, product: Product) -> np.ndarray:
    """Positions in the parts of the combinations of new records, (n, parts), −1 where a level is unknown."""
    codes = [part.find(frame[factor]) for factor, part in zip(group.factors, product.parts, strict=True)]
    return np.stack(codes, axis=1)


def missing(
    term: RandomTerm, position: int, frame: pd.DataFrame, parts: Sequence[RelationshipBase | None]
) -> np.ndarray:
    """Where the level of a factor, or one that is in a combination, is missing or a code for an unknown parent, (n,).

    Parameters
    ----------
    parts : the relationship of the term, of a product those of its factors; None for independent levels
    """
    group = term.groups[position]
    if not term.may_miss(position):
        return np.zeros(len(frame), dtype=bool)
    if not group.product:
        return unknown_parents(group_keys(group, frame), parts[0])
    each = zip(group.factors, group.product, parts, strict=True)
    return np.any([unknown_parents(frame[f], part) for f, name, part in each if name is not None], axis=0)


@dataclass(frozen=True)
class Unseen:
    """Combinations that are not among the levels while each of their levels is known, given those that are.

    u_new = B u + ε: the records take B in the place of an incidence, and the variance of what it leaves.

    Attributes
    ----------
    product : over the combinations that occur
    codes : for each group of the term (n, parts) positions in the parts
    rows : for each group (n,) which records hold such a combination
    """

    product: PairsRelationship
    codes: list[np.ndarray]
    rows: list[np.ndarray]

    @cached_property
    def regressions(self) -> list[sp.csr_array]:
        """B of every group, (n, q), zero in other records."""
        out = []
        for codes, rows in zip(self.codes, self.rows, strict=True):
            distinct, place = np.unique(codes[rows], axis=0, return_inverse=True)
            B = self.product.regression(distinct)[place.ravel()]
            here = np.flatnonzero(rows)
            pick = sp.csr_array((np.ones(len(here)), (here, np.arange(len(here)))), shape=(len(codes), len(here)))
            out.append(sp.csr_array(pick @ sp.csr_array(B)))
        return out

    def left(self, g: int, h: int) -> np.ndarray:
        """cov(ε_g, ε_h)/σ² in each record, (n,)."""
        out = np.zeros(len(self.rows[g]))
        both = self.rows[g] & self.rows[h]
        if both.any():
            a, b = self.codes[g][both], self.codes[h][both]
            explained = np.einsum("nq,qn->n", self.regressions[g][both].toarray(), self.product.beside(b))
            out[both] = paired(self.product.parts, a, b) - explained
            out = np.maximum(out, 0.0) if g == h else out
        return out


def prior_sizes(product: RelationshipBase, codes: np.ndarray) -> np.ndarray:
    """K of combinations with itself, (n,); a level that its relationship does not hold counts one."""
    assert isinstance(product, Product)
    out = np.ones(len(codes))
    for part, code in zip(product.parts, codes.T, strict=True):
        known = code >= 0
        out[known] *= np.asarray(part.diagonal)[code[known]]
    return out


def unseen(product: RelationshipBase, codes: list[np.ndarray], outside: list[np.ndarray]) -> Unseen | None:
    """Of the combinations `outside` the levels those that can be predicted; None without."""
    if not isinstance(product, PairsRelationship):
        return None
    rows = [out & (own >= 0).all(axis=1) for own, out in zip(codes, outside, strict=True)]
    return Unseen(product, codes, rows) if any(map(np.any, rows)) else None
