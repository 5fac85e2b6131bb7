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
    if len(signed_pieces(text)) > 1 or len(split_top(text, "*")) > 1:
        groups = overlaid(text, piece)
        if len(groups) == 1 and groups[0].weights:
            weights, factor = ":".join(groups[0].weights), ":".join(groups[0].written)
            raise FormulaError(
                f"'{piece}': a column multiplies factors that are added up. Of one factor write its slope,"
                f" '(0 + {weights} | {factor})'; crossed factors are '(1 | {weights}:{factor})'."
            )
        return [groups]
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
    """``vm(sire, A) + 0.5*vm(mgs, A)``: factors with coefficients and weights over one set of levels."""
    groups = []
    for sign, summand in signed_pieces(text):
        coefficient, weights, rest = multiplied(summand, piece)
        coefficient = -coefficient if sign == "-" else coefficient
        groups.append(replace(read_group(rest), coefficient=coefficient, weights=weights))
    check_sum(groups, piece)
    return groups


def of_effects(text: str, piece: str) -> list[Group]:
    """``vm(tree, A) + (vm(n1, A) + 0.7*vm(n2, A))``: an effect for each summand, a bracket being one."""
    groups: list[Group] = []
    for effect, (sign, summand) in enumerate(signed_pieces(text)):
        coefficient, weights, rest = multiplied(summand, piece)
        coefficient = -coefficient if sign == "-" else coefficient
        bracket = call(rest)
        own = overlaid(bracket[1], piece) if bracket is not None and not bracket[0] else [read_group(rest)]
        groups += [
            replace(g, coefficient=coefficient * g.coefficient, weights=(*weights, *g.weights), effect=effect)
            for g in own
        ]
    check_sum(groups, piece)
    return groups


def has_bracket(text: str) -> bool:
    """Whether a summand is a bracket of several, ``tree + (n1 + n2)``."""
    found = (call(split_top(summand, "*")[-1]) for _, summand in signed_pieces(text))
    return any(one is not None and not one[0] and len(signed_pieces(one[1])) > 1 for one in found)


def check_sum(groups: list[Group], piece: str) -> None:
    """Refuse factors of several relationships, and coefficients that are none."""
    if len({g.names for g in groups}) > 1:
        names = some(sorted({g.related or f"none ({g.label})" for g in groups}))
        raise FormulaError(f"the factors of '{piece}' must share one relationship; it names {names}.")
    require_magnitude(np.array([g.coefficient for g in groups]), f"a coefficient in '{piece}'", FormulaError)
    if any(g.coefficient == 0.0 for g in groups):
        raise FormulaError(f"a coefficient in '{piece}' is zero: leave that factor out.")


def multiplied(text: str, piece: str) -> tuple[float, tuple[str, ...], str]:
    """The numbers and the columns in front of a factor, and the factor."""
    *front, factor = split_top(text, "*")
    coefficient, weights = 1.0, []
    for part in map(str.strip, front):
        if re.fullmatch(r"\d+\.?\d*|\.\d+", part):
            coefficient *= float(part)
        elif call(part) is not None:
            raise FormulaError(
                f"'{part}' in '{piece}' is neither a number nor a column to multiply the factor behind it."
            )
        else:
            weights.append(variable(part, piece))
    return coefficient, tuple(weights), factor.strip()


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
