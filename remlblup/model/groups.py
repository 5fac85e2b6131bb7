"""Reading what stands behind the bar: factors, their combinations, relationships, products and sums of these."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from remlblup.errors import FormulaError, some
from remlblup.linalg.magnitude import require_magnitude
from remlblup.model.scanner import call, signed_pieces, split_top, squeeze, variable
from remlblup.model.terms import UNITS, Group


def read_groups(text: str, piece: str) -> list[list[Group]]:
    """The right-hand side of a bar, a list of factors for each term it stands for.

    ``g``, ``a:b``, ``vm(factor, NAME)`` and ``f1 + 0.5*f2`` are one term, ``a/b`` two.
    """
    if len(signed_pieces(text)) > 1 or _coefficient(text)[1] != text:
        return [overlaid(text, piece)]
    parts = split_top(text, "/")
    if len(parts) == 1:
        return [[read_group(text)]]
    if "vm(" in squeeze(text):
        raise FormulaError(f"'{text}': vm(factor, NAME) cannot be nested; make the combination a column first.")
    factors: tuple[str, ...] = ()
    nested = []
    for part in parts:
        factors = factors + tuple(variable(v, text) for v in split_top(part, ":"))
        nested.append([Group(factors)])
    return nested


def overlaid(text: str, piece: str) -> list[Group]:
    """``vm(sire, A) + 0.5*vm(mgs, A)``: factors with coefficients over one set of levels."""
    groups = []
    for sign, summand in signed_pieces(text):
        coefficient, rest = _coefficient(summand)
        group = read_group(rest)
        groups.append(replace(group, coefficient=-coefficient if sign == "-" else coefficient))
    if len({g.names for g in groups}) > 1:
        names = some(sorted({g.related or f"none ({g.label})" for g in groups}))
        raise FormulaError(f"the factors of '{piece}' must share one relationship; it names {names}.")
    require_magnitude(np.array([g.coefficient for g in groups]), f"a coefficient in '{piece}'", FormulaError)
    if any(g.coefficient == 0.0 for g in groups):
        raise FormulaError(f"a coefficient in '{piece}' is zero: leave that factor out.")
    return groups


def _coefficient(text: str) -> tuple[float, str]:
    """The number in front of a factor and the factor."""
    match = re.fullmatch(r"(?s)\s*(\d+\.?\d*|\.\d+)\s*\*(.*)", text)
    return (float(match[1]), match[2].strip()) if match else (1.0, text)


def read_group(text: str) -> Group:
    """``g``, ``a:b``, ``vm(factor, NAME)``, or a product with it, ``vm(a, A):vm(b, B):f``."""
    read = [read_factor(part, text) for part in split_top(text, ":")]
    factors, names = tuple(factor for factor, _ in read), tuple(name for _, name in read)
    if len(read) == 1:
        return Group(factors, names[0])
    if not any(names):
        return Group(factors)
    if UNITS in factors:
        raise FormulaError(f"'{text}': 'units', the record itself, is no factor of a product of relationships.")
    return Group(factors, product=names)


def read_factor(text: str, where: str) -> tuple[str, str | None]:
    """The column and NAME of ``vm(factor, NAME)``; a plain factor has none."""
    parts = call(text)
    if parts and parts[0] == "vm":
        arguments = [a.strip() for a in split_top(parts[1], ",")]
        if len(arguments) != 2 or not all(arguments):
            raise FormulaError(f"'{text}' must be vm(factor, NAME) with NAME a key of relationships=.")
        return variable(arguments[0], text), arguments[1]
    if "vm(" in squeeze(text):
        raise FormulaError(
            f"'{text.strip()}': behind the bar vm(factor, NAME) stands alone, in a product, vm(a, A):vm(b, B), or in a "
            "sum, vm(a, A) + 0.5*vm(b, A)."
        )
    return variable(text, where), None
