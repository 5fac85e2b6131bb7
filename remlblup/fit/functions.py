"""Functions of the variance components, with delta-method standard errors: h², ratios, correlations."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remlblup.errors import FormulaError, some
from remlblup.model.formula import squeeze
from remlblup.model.parameters import RESIDUAL, Parameters
from remlblup.structure.base import Array, Structure

_FUNCTIONS: dict[str, Callable] = {"sqrt": np.sqrt, "log": np.log, "exp": np.exp}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)


@dataclass(frozen=True)
class Estimate:
    """A function of the variance components and its standard error; unpacks as (estimate, std_error)."""

    expression: str
    estimate: float
    std_error: float

    def __iter__(self):
        return iter((self.estimate, self.std_error))

    def __float__(self) -> float:
        return self.estimate

    def __str__(self) -> str:
        return f"{self.expression} = {self.estimate:.6g} (s.e. {self.std_error:.4g})"


def evaluate(expression: str, parameters: Parameters, theta: Array, covariance: Array) -> Estimate:
    """The value of an expression in the terms' names at θ, and √(g' var(θ̂) g) with g its gradient.

    A name stands for the variance of a term with one parameter. Of a term with several,
    ``name[effect]`` is a variance and ``name[effect, effect]`` a covariance; ``name[parameter]``
    works too. Numbers, + − * / **, brackets, sqrt, log and exp may be used.

    Raises
    ------
    FormulaError
        If the expression cannot be read or names something unknown.
    """
    code, used = translate(expression, parameters)
    function = compiled(code, expression)

    def value(point: Array) -> complex:
        try:
            return function({name: point[i] for name, i in used.items()})
        except (OverflowError, ZeroDivisionError):
            return complex("nan")

    # Complex steps: derivatives to machine precision, without differences.
    gradient = np.zeros(len(theta))
    for i in set(used.values()):
        step = 1e-20 * max(abs(theta[i]), 1e-100)
        point = theta.astype(complex)
        point[i] += 1j * step
        gradient[i] = value(point).imag / step
    at_estimate = value(theta.astype(complex))
    if not abs(at_estimate.imag) <= 1e-12 * abs(at_estimate):  # the root or logarithm of a negative number
        return Estimate(expression, float("nan"), float("nan"))
    estimate = float(at_estimate.real)
    spread = float(gradient @ covariance @ gradient)
    error = math.sqrt(spread) if spread > 0.0 and math.isfinite(spread) else float("nan")
    return Estimate(expression, estimate, error)


def translate(expression: str, parameters: Parameters) -> tuple[str, dict[str, int]]:
    """The expression with every component replaced by a plain variable, and what each variable is."""
    if not isinstance(expression, str):
        raise FormulaError(f"function() takes an expression as text, such as 'a / (a + residual)', not {expression!r}.")
    text = squeeze(expression)
    names = {squeeze(t): k for k, t in enumerate(parameters.terms)} | dict(parameters.aliases)
    names[RESIDUAL] = len(parameters.terms)
    ordered = sorted(names, key=len, reverse=True)
    out, used, position = "", {}, 0
    while position < len(text):
        found = next((n for n in ordered if _stands_at(text, n, position)), None)
        if found is None:
            number = re.match(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?", text[position:])
            if number:
                out += number[0]
                position += len(number[0])
                continue
            word = re.match(r"[^\W\d]\w*", text[position:])
            if word and word[0] not in _FUNCTIONS:
                known = [*parameters.terms, RESIDUAL]
                raise FormulaError(
                    f"'{word[0]}' in '{expression}' is not a term of this model. Terms: {some(known, 20)}."
                )
            step = len(word[0]) if word else 1
            out += text[position : position + step]
            position += step
            continue
        position += len(found)
        index = re.match(r"\[([^\]]*)\]", text[position:])
        if index:
            position += len(index[0])
        i = component(parameters, names[found], index[1] if index else None, expression)
        used[f"v{i}_"] = i
        out += f"v{i}_"
    return out, used


def _stands_at(text: str, name: str, position: int) -> bool:
    if not text.startswith(name, position):
        return False
    before = text[position - 1] if position else ""
    after = text[position + len(name)] if position + len(name) < len(text) else ""
    # "(plate)" is a spelling of a term, but not in "sqrt(plate)".
    return not (re.match(r"[\w.]", before) and re.match(r"[\w(]", name)) and not (
        re.match(r"[\w.(]", after) and re.match(r"\w", name[-1])
    )


def component(parameters: Parameters, k: int, index: str | None, expression: str) -> int:
    """Position in θ of a term's only parameter, or of the one in square brackets."""
    place = parameters.slices[k]
    structure = parameters.residual if k == len(parameters.terms) else parameters.structures[k]
    names = {squeeze(n): place.start + i for i, n in enumerate(structure.names)}
    if index is None:
        if len(names) == 1:
            return place.start
        raise FormulaError(
            f"in '{expression}' a term has {len(names)} parameters: choose one in square brackets,"
            f" {some(structure.names, 10)}, or by effects such as [a, b]."
        )
    if index in names:
        return names[index]
    if isinstance(structure, Structure):
        parts = index.split(",")
        labels = [squeeze(e) for e in structure.effects]
        if all(p in labels for p in parts) and len(parts) in (1, 2):
            i, j = labels.index(parts[0]), labels.index(parts[-1])
            for candidate in (
                f"var({labels[i]})" if i == j else "",
                f"cov({labels[j]},{labels[i]})",
                f"cov({labels[i]},{labels[j]})",
            ):
                if candidate in names:
                    return names[candidate]
            if i == j and len(names) == 1:
                return place.start
    raise FormulaError(
        f"'[{index}]' in '{expression}' is not a parameter of this term. It has: {some(structure.names, 20)}."
    )


def compiled(code: str, expression: str) -> Callable[[dict[str, complex]], complex]:
    """A function of the variables; only arithmetic and the functions listed above are allowed."""
    try:
        tree = ast.parse(code, mode="eval")
    except SyntaxError:
        raise FormulaError(
            f"'{expression}' is not an expression that can be evaluated: check brackets and operators."
        ) from None

    def run(node: ast.AST, values: dict[str, complex]) -> complex:
        match node:
            case ast.Expression(body=body):
                return run(body, values)
            case ast.Constant(value=int() | float() as number):
                return complex(number)
            case ast.Name(id=name) if name in values:
                return complex(values[name])
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -run(operand, values)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return run(operand, values)
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _OPERATORS):
                a, b = run(left, values), run(right, values)
                return _binary(op, a, b)
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
                return complex(_FUNCTIONS[name](run(argument, values)))
        raise FormulaError(f"'{expression}': only + - * / **, brackets, numbers, sqrt, log and exp can be used.")

    return lambda values: run(tree, values)


def _binary(op: ast.operator, a: complex, b: complex) -> complex:
    match op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case ast.Div():
            return a / b if b != 0 else complex("nan")
    return a**b
