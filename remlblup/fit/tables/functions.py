"""Functions of the variance components, with delta-method standard errors: h², ratios, correlations."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import FormulaError, RemlBlupWarning, some, warn
from remlblup.model.formula import squeeze
from remlblup.model.parameters import RESIDUAL, Parameters

_FUNCTIONS: dict[str, Callable] = {"sqrt": np.sqrt, "log": np.log, "exp": np.exp}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.USub, ast.UAdd)
# Errors of correlations below this are none: rounding on a bound.
ROUNDING = 1e-8


@dataclass(frozen=True)
class Estimate:
    """A function of the variance components and its standard error; unpacks as (estimate, std_error).

    `scale` is where an interval for it is taken: "logit" for a share, "log" for a positive quantity, "plain"; `note`
    what a reader must know.
    """

    expression: str
    estimate: float
    std_error: float
    scale: str = "plain"
    note: str = ""

    def __iter__(self) -> Iterator[float]:
        return iter((self.estimate, self.std_error))

    def __float__(self) -> float:
        return self.estimate

    def __str__(self) -> str:
        text = f"{self.expression} = {self.estimate:.6g} (s.e. {self.std_error:.4g})"
        return f"{self.note}\n{text}" if self.note else text


def evaluate(
    expression: str, parameters: Parameters, theta: Array, covariance: Array, note: str = "", constrained: bool = True
) -> Estimate:
    """The value of an expression in the terms' names at θ, and √(g' var(θ̂) g) with g its gradient.

    A name stands for the variance of a term with one parameter. Of a term with several,
    ``name[effect]`` is a variance and ``name[effect, effect]`` a covariance, whatever the structure;
    ``name[parameter]`` is a parameter. Numbers, + − * / **, brackets, sqrt, log and exp may be used.

    Raises
    ------
    FormulaError
        If the expression cannot be read or names something unknown.
    """
    code, used = translate(expression, parameters, theta)
    function = compiled(code, expression)
    values = {name: complex(quantity.value) for name, quantity in used.items()}

    def value(point: dict[str, complex]) -> complex:
        try:
            with np.errstate(all="ignore"):
                return function(point)
        except (OverflowError, ZeroDivisionError):
            return complex("nan")
        except RecursionError:
            raise FormulaError(f"'{expression[:60]}…' has too many brackets inside each other.") from None

    # Complex steps: derivatives to machine precision, without differences.
    gradient = np.zeros(len(theta))
    at_estimate = value(values)
    with np.errstate(all="ignore"):
        for name, quantity in used.items():
            step = 1e-20 * max(abs(quantity.value), 1e-100)
            gradient += value(values | {name: values[name] + 1j * step}).imag / step * quantity.gradient
        real = abs(at_estimate.imag) <= 1e-12 * abs(at_estimate)
    if not (real and math.isfinite(at_estimate.real)):
        warn(f"'{expression}' has no value at the estimates ({why_no_value(at_estimate)}): it is NaN.", RemlBlupWarning)
        return Estimate(expression, float("nan"), float("nan"), note=note)
    estimate = float(at_estimate.real)
    with np.errstate(all="ignore"):
        spread = float(gradient @ covariance @ gradient)
    error = math.sqrt(spread) if spread > 0.0 and math.isfinite(spread) else float("nan")
    positive = {name for name, quantity in used.items() if quantity.variance and constrained}
    return Estimate(expression, estimate, error, natural_scale(ast.parse(code, mode="eval").body, positive), note)


def why_no_value(value: complex) -> str:
    """What an expression came to."""
    if math.isnan(value.real):
        return "a division by zero, or numbers too large"
    return "infinite" if math.isinf(value.real) else "the root or logarithm of a negative number"


def natural_scale(node: ast.expr, positive: set[str]) -> str:
    """The scale of an interval, given the variables that are variances: "logit" of a / (a + b + …),
    "log", or "plain"."""
    match node:
        case _ if not is_positive(node, positive):
            return "plain"
        case ast.BinOp(left=above, op=ast.Div(), right=below):
            parts, whole = terms_of(above), terms_of(below)
            within = all(parts.count(t) <= whole.count(t) for t in parts) and len(parts) < len(whole)
            return "logit" if within else "log"
    return "log"


def is_positive(node: ast.expr, positive: set[str]) -> bool:
    """Whether an expression cannot be negative, whatever its variables are."""
    match node:
        case ast.Constant():
            number: Any = node.value
            return bool(number >= 0)
        case ast.Name(id=name):
            return name in positive
        case ast.BinOp(left=left, op=ast.Add() | ast.Mult() | ast.Div(), right=right):
            return is_positive(left, positive) and is_positive(right, positive)
        case ast.BinOp(left=left, op=ast.Pow()):
            return is_positive(left, positive)
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument]):
            return is_positive(argument, positive)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "exp"


def terms_of(node: ast.expr) -> list[str]:
    """The terms of a sum, as text."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return terms_of(node.left) + terms_of(node.right)
    return [ast.dump(node)]


@dataclass(frozen=True)
class Quantity:
    """A parameter or an element of a covariance matrix: its value at θ, ∂/∂θ (n_parameters,),
    whether it is a variance."""

    value: float
    gradient: Array
    variance: bool


def translate(expression: str, parameters: Parameters, theta: Array) -> tuple[str, dict[str, Quantity]]:
    """The expression with every component replaced by a plain variable, and what each variable is at θ."""
    code, variables = read(expression, parameters)
    return code, quantities(variables, parameters, expression, theta)


def quantities(
    variables: dict[str, tuple[int, str | None]], parameters: Parameters, expression: str, theta: Array
) -> dict[str, Quantity]:
    """What each variable is at θ."""
    return {name: component(parameters, *key, expression, theta) for name, key in variables.items()}


def read(expression: str, parameters: Parameters) -> tuple[str, dict[str, tuple[int, str | None]]]:
    """The expression with every component replaced by a plain variable, and the term of each variable,
    with what stands in square brackets behind it."""
    if not isinstance(expression, str):
        raise FormulaError(f"function() takes an expression as text, such as 'a / (a + residual)', not {expression!r}.")
    text = spelled(expression)
    names = {spelled(t): k for k, t in enumerate(parameters.terms)}
    names |= {spelled(alias): k for alias, k in parameters.aliases.items()}
    names[RESIDUAL] = len(parameters.terms)
    ordered = sorted(names, key=len, reverse=True)
    out, position = "", 0
    variables: dict[tuple[int, str | None], str] = {}
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
        key = names[found], index[1] if index else None
        if key not in variables:
            variables[key] = f"v{len(variables)}_"
        out += variables[key]
    return out, {name: key for key, name in variables.items()}


def spelled(text: str) -> str:
    """Names and expressions in one spelling: without white space and backticks, ``**`` for ``^``."""
    return squeeze(text).replace("`", "").replace("^", "**")


def _stands_at(text: str, name: str, position: int) -> bool:
    if not text.startswith(name, position):
        return False
    before = text[position - 1] if position else ""
    after = text[position + len(name)] if position + len(name) < len(text) else ""
    # "(plate)" is a spelling of a term, but not in "sqrt(plate)".
    return not (re.match(r"[\w.]", before) and re.match(r"[\w(]", name)) and not (
        re.match(r"[\w.(]", after) and re.match(r"\w", name[-1])
    )


def component(parameters: Parameters, k: int, index: str | None, expression: str, theta: Array) -> Quantity:
    """A term's only parameter, the one named in square brackets, or the element of Σ of the effects named there."""
    place = parameters.slices[k]
    structure = parameters.residual if k == len(parameters.terms) else parameters.structures[k]
    names = {spelled(n): place.start + i for i, n in enumerate(structure.names)}
    if index is None:
        if len(names) == 1:
            return parameter(parameters, place.start, theta)
        if not names:
            raise FormulaError(f"in '{expression}' the residual has no parameter: it is known.")
        raise FormulaError(
            f"in '{expression}' a term has {len(names)} parameters: choose one in square brackets,"
            f" {some(structure.names, 10)}, or by effects such as [a, b]."
        )
    if index in names:
        return parameter(parameters, names[index], theta)
    for _, effects, sigma, derivatives in covariance_matrices(parameters, k, theta):
        labels = [spelled(e) for e in effects]
        parts = index.split(",")
        if len(parts) in (1, 2) and all(p in labels for p in parts):
            i, j = labels.index(parts[0]), labels.index(parts[-1])
            gradient = np.zeros(len(theta))
            gradient[place] = derivatives[:, i, j]
            return Quantity(float(sigma[i, j]), gradient, i == j)
    raise FormulaError(
        f"'[{index}]' in '{expression}' is not a parameter of this term. It has: {some(structure.names, 20)}."
    )


def parameter(parameters: Parameters, i: int, theta: Array) -> Quantity:
    """θ_i itself."""
    return Quantity(float(theta[i]), np.eye(1, len(theta), i)[0], bool(parameters.lower[i] == 0.0))


def covariance_matrices(
    parameters: Parameters, k: int, theta: Array
) -> list[tuple[str, tuple[str, ...], Array, Array]]:
    """(label, effects, Σ (t, t), ∂Σ/∂θ_k (n_parameters of the term, t, t)) of term k;
    for R, of each of its matrices."""
    part = theta[parameters.slices[k]]
    if k < len(parameters.terms):
        structure = parameters.structures[k]
        return [("", structure.effects, structure.covariance(part), structure.derivatives(part))]
    residual = parameters.residual
    if not residual.matrices(part):
        variances = np.flatnonzero(residual.variances)
        unit = np.eye(len(part))[:, variances]
        names = tuple(residual.names[i] for i in variances)
        return [("", names, np.diag(part[variances]), unit[:, :, None] * np.eye(len(variances)))]
    derivatives = residual.matrix_derivatives(part)
    return [(label, *pair, derivatives[label]) for label, pair in residual.matrices(part).items()]


def correlation_errors(parameters: Parameters, k: int, theta: Array, covariance: Array) -> pd.DataFrame:
    """Standard errors of the correlations of term k by the delta method; zero on the diagonal."""
    place, tables = parameters.slices[k], []
    for label, effects, sigma, derivatives in covariance_matrices(parameters, k, theta):
        error = errors_of_correlations(sigma, derivatives, covariance[place, place])
        names = [f"{label}: {e}" if label else e for e in effects]
        tables.append(pd.DataFrame(error, index=names, columns=names))
    return joined(tables)


def errors_of_correlations(sigma: Array, derivatives: Array, covariance: Array) -> Array:
    """(t, t) the same of one Σ, from ∂Σ/∂θ of its term (n_parameters, t, t) and var(θ̂) of these."""
    with np.errstate(divide="ignore", invalid="ignore"):
        d = 1.0 / np.sqrt(np.diag(sigma))
        r = sigma * np.outer(d, d)
        diagonal = np.einsum("pii->pi", derivatives) * d**2
        # ∂r_ij = ∂σ_ij/√(σ_ii σ_jj) − ½ r_ij (∂σ_ii/σ_ii + ∂σ_jj/σ_jj)
        J = derivatives * np.outer(d, d) - 0.5 * r * (diagonal[:, :, None] + diagonal[:, None, :])
        error = np.sqrt(np.maximum(np.einsum("pij,pq,qij->ij", J, covariance, J), 0.0))
        np.fill_diagonal(error, 0.0)
    return np.where(error < ROUNDING, 0.0, error)


def joined(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Labelled square tables along the diagonal of one."""
    return tables[0] if len(tables) == 1 else pd.concat(tables).reindex(columns=[c for t in tables for c in t.columns])


def compiled(code: str, expression: str) -> Callable[[dict[str, complex]], complex]:
    """A function of the variables; only arithmetic and the functions listed above are allowed."""
    try:
        tree = ast.parse(code, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
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
