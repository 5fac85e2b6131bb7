"""``residual="known(O)"``: which matrix, or which column of variances, and O over the records."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse as sp

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, OptionError, RelationshipError, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.linalg.memory import require
from remlblup.linalg.threads import single_threaded
from remlblup.model.frame import numeric_column
from remlblup.model.given import Given
from remlblup.model.residual_reading import KNOWN, RECORD, ResidualTerm
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.labels import canonical
from remlblup.structure.residual.known_residual import KnownResidual

# Of the correlations behind O a squared pivot below this is zero but for rounding.
SINGULAR = 1e-11


def settled(term: ResidualTerm, columns: Collection[Any], names: Collection[Any]) -> ResidualTerm:
    """``known(X)`` as what X is: a column of variances of the data, or a name in ``relationships=``.

    Raises
    ------
    OptionError
        If it is neither, or both.
    """
    if term.keyword != KNOWN:
        return term
    name, of_labels = matrix_of(term), term.unit != RECORD
    is_column, is_matrix = name in set(map(str, columns)), name in set(map(str, names))
    if of_labels or (is_matrix and not is_column):
        return term
    if is_matrix:
        raise OptionError(
            f"residual={term.text!r}: {name!r} is a column of the data and a name in relationships=: give one of"
            " the two another name."
        )
    if not is_column:
        given = f" In relationships=: {some(names)}." if names else " relationships= is empty."
        raise OptionError(
            f"residual={term.text!r}: {name!r} is neither a column of the data, with the variance of each record, nor a"
            f" covariance matrix of the records in relationships=.{given}"
        )
    return replace(term, effect=name, options=tuple(o for o in term.options if o[0] != "of"))


def matrix_of(term: ResidualTerm) -> str:
    """The name of the matrix O; "" where a column of the data holds the variances."""
    return str(dict(term.options).get("of", ""))


def known_matrices(term: ResidualTerm, given: Given) -> dict[str, RelationshipBase]:
    """O by its name, for those who build or keep the model."""
    name = matrix_of(term) if term.keyword == KNOWN else ""
    return {name: given.relationship(name, f"residual={term.text}")} if name else {}


def known_residual(term: ResidualTerm, frame: pd.DataFrame, record: Index, given: Given) -> KnownResidual:
    """R of the records in `frame`, whose labels are the index, or stand in a column.

    Raises
    ------
    DataError, OptionError, RelationshipError
        If variances are not positive; if O has not the records, has one twice, or is singular among them.
    """
    if len(np.unique(record)) < len(record):
        raise OptionError(f"residual={term.text!r}: the records of one response have it; here there are several.")
    scaled = bool(dict(term.options).get("scale", False))
    if term.effect:
        v = numeric_column(frame, term.effect, "known variances")
        if np.any(v <= 0.0):
            raise DataError(
                f"known({term.effect}): variances must be positive; '{term.effect}' is not in row(s)"
                f" {some(frame.index[v <= 0.0])}: correct them or drop these rows."
            )
        require_magnitude(v, f"the known variances '{term.effect}'", DataError)
        return KnownResidual.of_variances(v, scaled)
    name = matrix_of(term)
    relationship = given.relationship(name, f"residual={term.text}")
    labels = frame.index if term.unit == RECORD else pd.Index(frame[term.unit.factors[0]])
    matrix = _among(term, name, relationship, labels)
    return KnownResidual(matrix, *_inverse(matrix, labels, f"the matrix {name!r} of residual={term.text!r}"), scaled)


def _among(term: ResidualTerm, name: str, relationship: RelationshipBase, labels: pd.Index) -> Any:
    """O over the records in their order, sparse where it was given so."""
    where = "the index of the data" if term.unit == RECORD else f"'{term.unit.factors[0]}'"
    advice = f", or name a column with labels, known(column, {name})" if term.unit == RECORD else ""
    spelled = pd.Series(canonical(labels))
    if spelled.duplicated().any():
        twice = labels[spelled.duplicated(keep=False).to_numpy()].unique()
        raise DataError(
            f"residual={term.text!r}: each record needs a label of its own; {where} has {some(twice)} more than once:"
            f" give other labels{advice}."
        )
    places = relationship.find(labels)
    if np.any(places < 0):
        raise DataError(
            f"residual={term.text!r}: {name!r} has no row and column for the record(s) {some(labels[places < 0])} of"
            f" {where}; it is labelled {some(relationship.labels, 4)}: give it labels of the records{advice}."
        )
    if isinstance(relationship, MatrixRelationship) and sp.issparse(relationship.given) and not relationship.inverse:
        return sp.csr_array(relationship.given)[places][:, places]
    require(8.0 * len(places) ** 2, f"{name!r} among {len(places):,} records")
    return np.asarray(relationship.among(places), np.float64)


@single_threaded
def _inverse(matrix: Any, labels: pd.Index, what: str) -> tuple[sp.coo_array, float]:
    """The lower triangle of O⁻¹, part by part of records that are related to each other, and log|O|."""
    n, logdet = matrix.shape[0], 0.0
    parts = list(_parts(matrix))
    require(40.0 * sum(float(len(own)) ** 2 for own in parts), f"the inverse of {what}")
    rows, columns, values = [], [], []
    for own in parts:
        block = matrix[own][:, own]
        block = block.toarray() if sp.issparse(block) else np.array(block)
        d = np.sqrt(np.maximum(np.diag(block), 0.0))
        if np.any(d == 0.0):
            raise _refused(what, labels[own[d == 0.0]], "zero variance")
        factor, failed = scipy.linalg.lapack.dpotrf(block / np.outer(d, d), lower=1, clean=1)
        pivots = np.diag(factor)[: failed - 1 if failed else None] ** 2
        if failed or np.min(pivots) < SINGULAR:
            last = failed - 1 if failed else int(np.argmin(pivots))
            raise _refused(what, labels[own[[last]]], "no variance left beside the records before")
        inverse, _ = scipy.linalg.lapack.dpotri(factor, lower=1)
        i, j = np.tril_indices(len(own))
        rows.append(np.maximum(own[i], own[j]))
        columns.append(np.minimum(own[i], own[j]))
        values.append(inverse[i, j] / (d[i] * d[j]))
        logdet += float(np.sum(np.log(pivots)) + 2.0 * np.sum(np.log(d)))
    place = (np.concatenate(rows), np.concatenate(columns))
    return sp.coo_array((np.concatenate(values), place), shape=(n, n)), logdet


def _parts(matrix: Any) -> Iterator[Index]:
    """Records that are related to each other, directly or through others."""
    count, part = sp.csgraph.connected_components(sp.csr_array(matrix), directed=False)
    order = np.argsort(part, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(part, minlength=count))[:-1])


def _refused(what: str, labels: pd.Index, why: str) -> RelationshipError:
    return RelationshipError(
        f"{what} is not positive definite: record(s) {some(labels)} have {why}. A covariance matrix of errors must be;"
        " leave out records that others determine, or add '+ units' to a matrix that is not singular."
    )


def variances_of(term: ResidualTerm, new: pd.DataFrame, phi: Array) -> Array:
    """Known variances of new records, in the same column.

    Raises
    ------
    DataError
        If O is known of the records of the fit alone, or the column is missing or not positive.
    """
    if not term.effect:
        raise DataError(
            f"residual={term.text!r} is known of the records of the fit alone: take interval='confidence' for others."
        )
    if term.effect not in new.columns:
        raise DataError(f"the residual variance is '{term.effect}', which the new data lack: add that column.")
    v = numeric_column(new, term.effect, "known variances")
    if np.any(v <= 0.0):
        raise DataError(f"known variances must be positive; '{term.effect}' of the new data is not: correct it.")
    return v * (phi[0] if len(phi) else 1.0)
