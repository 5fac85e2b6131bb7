"""What the user gives by name in ``relationships=``: relationships of levels, and matrices over effects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import scipy.sparse as sp

from remlblup.errors import DataError, RelationshipError, RemlBlupWarning, some, warn
from remlblup.linalg.well_formed import require_well_formed
from remlblup.model.residual_reading import ResidualTerm
from remlblup.model.terms import MixedFormula, Options, RandomTerm, SmoothTerm
from remlblup.readers.tables import is_path, read_relationship
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.coerce import coerce


class Given:
    """The entries of ``relationships=``, each read when a term names it.

    Parameters
    ----------
    entries : the mapping as given
    matrices : names that the formula uses as ``matrix=NAME``, which need not be relationships
    """

    def __init__(self, entries: Mapping[str, object] | None, matrices: set[str] | None = None):
        if entries is not None and not isinstance(entries, Mapping):
            raise RelationshipError(
                "relationships= must be a mapping of names, such as {'A': Pedigree(ids, sires, dams)}."
            )
        self.entries = {str(name): value for name, value in (entries or {}).items()}
        for name in set(matrices or ()) & set(self.entries):
            self.entries[name] = _matrix(name, self.entries[name])
        self.matrices = {n: self.entries[n] for n in matrices or () if n in self.entries}
        self._known: dict[str, RelationshipBase] = {}

    def relationship(self, name: str, where: str) -> RelationshipBase:
        """The relationship of ``vm(factor, name)``."""
        if name not in self._known:
            self._require(name, where, "Pedigree or matrix")
            self._known[name] = relationship_of(name, self.entries[name])
        return self._known[name]

    def matrix(self, name: object, where: str) -> object:
        """The entry that ``matrix=name`` stands for."""
        if not isinstance(name, str):
            raise RelationshipError(f"'{where}': matrix= takes the name of an entry of relationships=, not {name!r}.")
        self._require(name, where, "matrix")
        value = self.entries[name]
        require_well_formed(value, f"'{where}': the matrix {name!r}", RelationshipError)
        return sp.csr_array(value).toarray() if sp.issparse(value) else value

    def _require(self, name: str, where: str, what: str) -> None:
        if name not in self.entries:
            known = f" Given: {some(self.entries)}." if self.entries else " None was given."
            raise RelationshipError(
                f"'{where}' needs the relationship '{name}': pass relationships={{'{name}': {what}}}.{known}"
            )


def names_given(entries: object) -> list[str]:
    """The names in ``relationships=``."""
    return [str(name) for name in entries] if isinstance(entries, Mapping) else []


def warn_of_unused(entries: object, formula: MixedFormula, residual: ResidualTerm) -> None:
    """Say which of the relationships that are given no term has."""
    if not (given := names_given(entries)):
        return
    groups = [residual.unit, *(g for term in formula.random if isinstance(term, RandomTerm) for g in term.groups)]
    of_levels = {name for group in groups for name in group.names}
    of_records = {str(value) for option, value in residual.options if option == "of"}
    used = of_levels | of_records | matrix_names(formula.random, residual.options)
    if unused := [name for name in given if name not in used]:
        warn(
            f"relationships= has {some(unused)}, which no term of the formula names, and which has no part in the"
            f" model: write '(1 | vm(factor, {unused[0]}))', or leave it out.",
            RemlBlupWarning,
        )


def relationship_of(name: str, given: object) -> RelationshipBase:
    """The relationship in an entry, or in the file it names."""
    return coerce(name, _read(name, given) if is_path(given) else given)


def _read(name: str, path: Any) -> object:
    """The rows of a pedigree or the matrix in a file."""
    try:
        return read_relationship(path)
    except (DataError, RelationshipError) as error:
        raise type(error)(f"Relationship {name!r}: {error}") from None


def _matrix(name: str, given: object) -> object:
    """A matrix over effects; of a file with the names in it."""
    if not is_path(given):
        return given
    read = relationship_of(name, given)
    return pd.DataFrame(read.dense(), index=read.labels, columns=read.labels)


def matrix_names(terms: Sequence[RandomTerm | SmoothTerm], options: Options = ()) -> set[str]:
    """The names used as ``matrix=NAME`` in a formula, and in the options of the residual."""
    every = [*options, *(option for term in terms for option in term.options)]
    return {str(value) for option, value in every if option == "matrix"}
