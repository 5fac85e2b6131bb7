"""The same model for another response: everything but y as it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from remlblup.arrays import Array, rectangular
from remlblup.errors import DataError, ModelError, some
from remlblup.model.expression import quoted
from remlblup.model.formula import parse_formula
from remlblup.model.frame import Records, numeric_values
from remlblup.model.response import TRAIT, check_varies, response_expression
from remlblup.model.scanner import split_top
from remlblup.model.specification import Specification


def read_response(spec: Specification, y: Any) -> Array:
    """Another response as numbers, one for each record used, in their order.

    Raises
    ------
    DataError
        If it has another length or values that are missing or not finite.
    """
    labels, index = getattr(y, "index", None), spec.index
    if labels is not None and not callable(labels) and len(labels) == spec.n and not labels.equals(index):
        if not (labels.is_unique and index.is_unique and labels.isin(index).all()):
            raise DataError(
                "y= is labelled by other rows than the records of the fit: give it in the order of fit.fitted, "
                "or as an array."
            )
        y = y.loc[index]
    values = np.array(numeric_values(rectangular(y), "response y"))
    if values.shape != (spec.n,):
        raise DataError(
            f"y= must hold one value for each of the {spec.n:,} records of the fit, in the order of fit.fitted; its"
            f" shape is {values.shape}."
        )
    return values


def with_response(spec: Specification, observed: Array, records: bool = True) -> Specification:
    """The model of `observed` (n,): offsets are taken off as before.

    Parameters
    ----------
    records : whether the data behind it are to hold the response as well, as a fit that is saved needs
    """
    y = observed if spec.offset is None else observed - spec.offset
    rows = spec.records.rows if spec.records is not None and spec.responses else None
    check_varies(y, rows, spec.responses, spec.response)
    if not records or spec.records is None or spec.formula is None:
        return spec.with_response(y)
    if spec.responses:
        return spec.with_response(y, records=stacked_records(spec, observed))
    name, held = spec.response, spec.records
    formula = spec.formula
    if not spec.responds_by_column:
        # What was log(y) is a column of that name.
        formula = parse_formula(f"{quoted(name)} ~ {split_top(formula.text, '~')[1]}")
    used = held.used if name in held.used else (*held.used, name)
    new = replace(held, used=used, values={**held.values, name: observed})
    return spec.with_response(y, formula=formula, records=new)


def stacked_records(spec: Specification, observed: Array) -> Records:
    """The records with the values of several traits in the columns they come from."""
    held = spec.records
    assert held is not None
    source, frame = held.original, held.frame
    names = {r: response_expression(r, source).bare for r in spec.responses}
    if made := [r for r, bare in names.items() if bare is None]:
        raise ModelError(
            f"the responses {some(made)} are made from other columns: give the data a column for each, "
            "and fit that model."
        )
    codes = frame[TRAIT].cat.codes.to_numpy()
    changed: dict[str, Any] = {}
    for k, response in enumerate(spec.responses):
        bare = names[response]
        assert bare is not None
        column = source[bare].to_numpy(dtype=float, copy=True)
        column[~np.isnan(column)] = observed[codes == k]
        changed[bare] = column
    return replace(held, given=source.assign(**changed))
