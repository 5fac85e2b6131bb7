"""The values of a checked expression in the rows of a data frame, by walking its tree."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, FormulaError, RemlBlupError, some
from remlblup.model import functions as table
from remlblup.model.expression import SPELLED, Expression, function_of, restored
from remlblup.model.frame import as_numbers, holds_text, numeric_values, plain

OPERATIONS: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow, ast.Mod: operator.mod, ast.FloorDiv: operator.floordiv,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le,
    ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


def evaluate(
    expression: Expression, frame: pd.DataFrame, state: MutableMapping[str, Any] | None = None, spec: Any = None
) -> Any:
    """Its values: a Series in the rows of `frame`, or formulaic's values of a transform of several columns.

    Parameters
    ----------
    state : what the transforms remember of the data of the fit (means, knots), by the text of their call
    spec : formulaic's ModelSpec, which its codings ask for
    """
    with np.errstate(all="ignore"):
        value = Evaluation(expression, frame, {} if state is None else state, spec).value(expression.tree)
    if np.ndim(getattr(value, "__wrapped__", value)) == 0 and not isinstance(
        getattr(value, "__wrapped__", value), dict
    ):
        value = np.full(len(frame), value)
    return pd.Series(value, index=frame.index) if isinstance(value, np.ndarray) and value.ndim == 1 else value


def numbers(expression: Expression, frame: pd.DataFrame, what: str) -> np.ndarray:
    """Its values as finite float64 numbers, one for each row."""
    if expression.is_factor:
        raise FormulaError(f"the {what} is a factor: it must be a numeric column.")
    value = evaluate(expression, frame)
    value = getattr(value, "__wrapped__", value)
    if isinstance(value, dict) or np.ndim(value) != 1:
        raise DataError(f"the {what} must be one numeric column; it gives several.")
    return numeric_values(pd.Series(value, index=frame.index), what)


@dataclass
class Evaluation:
    """One walk over a tree."""

    expression: Expression
    frame: pd.DataFrame
    state: MutableMapping[str, Any]
    spec: Any

    def value(self, node: ast.AST) -> Any:
        """A column as it is in the data, or the numbers that an operation or a call makes."""
        match node:
            case ast.Name():
                return plain(self.frame[self.expression.name(node)])
            case ast.Constant():
                number: Any = node.value
                return np.float64(number)
            case ast.UnaryOp(op=op, operand=operand):
                return -self.numeric(operand) if isinstance(op, ast.USub) else self.numeric(operand)
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATIONS[type(op)](self.numeric(left), self.numeric(right))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.comparison([left, *others], ops)
            case ast.Attribute(attr=name):
                return np.float64(table.NUMBERS[name])
            case ast.Call():
                return self.call(node)
        raise FormulaError(f"'{self.expression.text}' cannot be evaluated.")  # the checker lets nothing else pass

    def numeric(self, node: ast.AST) -> Any:
        """Numbers: an array (n,) or one number."""
        if isinstance(node, ast.Call) and function_of(self.expression, node) in table.FACTORS:
            raise FormulaError(
                f"'{self.expression.text}': '{self.shown(node)}' is a factor, and numbers are needed here."
            )
        value = self.value(node)
        value = getattr(value, "__wrapped__", value)
        if isinstance(value, pd.Series):
            where = f"column '{value.name}' in '{self.expression.text}'" if isinstance(node, ast.Name) else None
            return as_numbers(value, where or f"expression '{self.expression.text}'")
        if isinstance(value, dict) or np.ndim(value) > 1:
            raise FormulaError(f"'{self.shown(node)}' gives several columns: '{self.expression.text}' needs one.")
        return np.asarray(value, dtype=np.float64)  # true is 1: conditions add up

    def shown(self, node: ast.AST) -> str:
        return restored(ast.unparse(node), self.expression.names)

    def comparison(self, sides: list[ast.expr], ops: list[ast.cmpop]) -> Any:
        """All comparisons of a chain, ``1 < x < 3``, true or false for each row."""
        out: Any = True
        for left, op, right in zip(sides[:-1], ops, sides[1:], strict=True):
            out = out & OPERATIONS[type(op)](*self.comparable(left, right))
        return out

    def comparable(self, left: ast.expr, right: ast.expr) -> tuple[Any, Any]:
        """Both sides as text where one is text, else as numbers."""
        words = [isinstance(s, ast.Constant) and isinstance(s.value, str) for s in (left, right)]
        if not any(words):
            return self.numeric(left), self.numeric(right)
        sides = []
        for side, is_text in zip((left, right), words, strict=True):
            value = side.value if is_text else self.value(side)  # type: ignore[attr-defined]
            if not is_text and not (isinstance(value, pd.Series) and holds_text(value)):
                raise FormulaError(
                    f"'{self.expression.text}': '{self.shown(side)}' holds no text to compare with text."
                )
            sides.append(value if is_text else np.asarray(value, dtype=object))
        return sides[0], sides[1]

    # -- calls ---------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> Any:
        name = str(function_of(self.expression, node))
        short = name.rpartition(".")[2]
        if name == "Q":
            return plain(self.frame[str(node.args[0].value)])  # type: ignore[attr-defined]
        if name in table.TRANSFORMS:
            return self.transform(name, node)
        if name in table.ELEMENTWISE or name.startswith(table.NUMPY_NAMES):
            return table.ELEMENTWISE[short][0](*map(self.numeric, node.args))
        return self.registered(name, node)

    def transform(self, name: str, node: ast.Call) -> Any:
        """A transform of formulaic or of ours, with its memory."""
        if name == "I":
            inside = node.args[0]
            return self.value(inside) if isinstance(inside, (ast.Name, ast.Call, ast.Compare)) else self.numeric(inside)
        from remlblup.model.transforms import TRANSFORMS

        options = [self.constant(a) for a in node.args[1:]]
        named = {self.expression.names.get(str(k.arg), str(k.arg)): self.constant(k.value) for k in node.keywords}
        data = self.value(node.args[0]) if name in table.FACTORS else self.numeric(node.args[0])
        data = getattr(data, "__wrapped__", data)
        if not isinstance(data, pd.Series):
            data = pd.Series(np.broadcast_to(data, len(self.frame)), index=self.frame.index)
        given = dict(zip(table.TRANSFORMS[name], options, strict=False)) | named
        memory = self.state.setdefault(self.shown(node), {})
        if not memory:  # the data of the fit, not new ones
            self.check_counts(given, data)
            self.check_least(name, given)
            if name in table.FACTORS:
                self.check_coding(given, data)
                memory["checked"] = True
        return self.run(name, TRANSFORMS[name], node, [data, *options], named)

    def check_counts(self, given: dict[str, Any], data: pd.Series) -> None:
        """Refuse more columns than the covariate of the fit has values."""
        text = self.expression.text
        knots = given.get("knots")
        if knots is not None and not (isinstance(knots, list) and all(type(k) in (int, float) for k in knots)):
            raise FormulaError(f"'{text}': knots are places, as in knots=[2, 4]; their number follows from df=.")
        for option in table.BOUNDS:
            if not (given.get(option) is None or type(given[option]) in (int, float)):
                raise FormulaError(f"'{text}': {option}={given[option]!r} must be a number.")
        for option in table.COUNTS:
            count = given.get(option)
            if count is None:
                continue
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise FormulaError(f"'{text}': {option}={count!r} must be a whole number.")
            if option in table.ORDERS and count > table.LARGEST_ORDER:
                raise FormulaError(
                    f"'{text}': {option}={count} is above {table.LARGEST_ORDER}, and no data show a polynomial of such"
                    " an order: use a spline, as spl(x)."
                )
            if count >= (values := int(data.nunique())) > 1:
                raise FormulaError(
                    f"'{text}': {option}={count} asks for more than the {values} different values of the covariate "
                    "show."
                )

    def check_least(self, name: str, given: dict[str, Any]) -> None:
        """Refuse fewer columns than a basis has without any knot."""
        df, degree = given.get("df"), given.get("degree")
        least = table.LEAST_DF.get(name)
        if df is None or least is None:
            return
        if name == "bs":
            degree = 3 if degree is None else degree
            least = degree + bool(given.get("include_intercept"))
            what = f"a spline of degree {degree} has {least} columns without any knot"
        else:
            least -= given.get("constraints") is not None and least > 2
            what = f"{name}() has {least} columns at least"
        if df < least:
            raise FormulaError(
                f"'{self.expression.text}': df={df} is too few, {what}. A straight line is the covariate itself."
            )

    def check_coding(self, given: dict[str, Any], data: pd.Series) -> None:
        """Refuse a coding of other levels than the factor has, and levels= that leave some out."""
        text, own = self.expression.text, list(data.unique())
        coding, levels = given.get("contrasts"), given.get("levels")
        if levels is not None and not isinstance(levels, list):
            raise FormulaError(f"'{text}': levels= is a list, as in levels=['a', 'b'].")
        known = own if levels is None else levels
        weights: Any = (
            list(coding.values()) if isinstance(coding, dict) else coding if isinstance(coding, list) else None
        )
        lengths = (
            {np.size(w) for w in weights} if isinstance(coding, dict) else {np.shape(weights)[0]} if weights else set()
        )
        if isinstance(coding, (str, int, float)) or (
            weights is not None and (lengths != {len(known)} or np.ndim(weights) < 2)
        ):
            raise FormulaError(
                f"'{text}': a coding is contr.sum, contr.treatment('level'), …, or weights of the {len(known)} levels,"
                " {'name': [1, 0, -1]}."
            )
        reference = getattr(coding, "base", None)
        if isinstance(reference, (str, int, float)) and reference not in known:
            raise FormulaError(f"'{text}': {reference!r} is no level of the factor; its levels are {some(known, 20)}.")
        if levels is not None and (absent := [v for v in own if v not in levels]):
            raise FormulaError(f"'{text}': levels= leaves out {some(absent)}: list every level, or drop these records.")

    def registered(self, name: str, node: ast.Call) -> Any:
        """The user's own function: a value for each row, or a table of columns."""
        function = table.registered(name)
        if function is None:
            raise table.unknown_function(name, self.expression.text)
        arguments = [self.argument(a) for a in node.args]
        options = {str(k.arg): self.argument(k.value) for k in node.keywords}
        value = self.run(name, function, node, arguments, options)
        value = getattr(value, "__wrapped__", value)
        rows = len(next(iter(value.values()))) if isinstance(value, dict) and value else np.shape(value)[:1]
        if rows not in ((len(self.frame),), len(self.frame), ()):
            raise FormulaError(f"'{name}' in '{self.expression.text}' must give a value for each of the rows.")
        return value if isinstance(value, (pd.Series, pd.DataFrame, dict)) else np.asarray(value)

    def argument(self, node: ast.AST) -> Any:
        """A column or expression, or a constant."""
        if isinstance(node, ast.Name) and self.expression.name(node) in self.frame.columns:
            return self.value(node)
        try:
            return self.constant(node)
        except FormulaError:
            return self.value(node)

    def run(self, name: str, function: Callable, node: ast.Call, arguments: list[Any], options: dict[str, Any]) -> Any:
        """The call; what goes wrong in it is said in our words."""
        if getattr(function, "__is_stateful_transform__", False):
            key = self.shown(node)
            options = options | {"_state": self.state.setdefault(key, {}), "_spec": self.spec, "_metadata": None}
        try:
            return function(*arguments, **options)
        except RemlBlupError:
            raise
        except Exception as error:
            if "extend beyond" in str(error):
                raise DataError(
                    f"'{self.expression.text}': values lie beyond those of the fit. Give lower_bound= and upper_bound="
                    f" in the formula, or extrapolation='extend'."
                ) from None
            own = table.registered(name) is not None
            reason = f" ({error})" if own and isinstance(error, ValueError) and "ufunc" not in str(error) else ""
            raise FormulaError(
                f"'{self.expression.text}': {name}() cannot be computed of these values and options{reason}."
            ) from None

    def constant(self, node: ast.AST) -> Any:
        """The value of an option."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.UnaryOp(op=op, operand=ast.Constant(value=value)):
                return -value if isinstance(op, ast.USub) else value  # type: ignore[operator]
            case ast.Name(id=name) if name in SPELLED:
                return SPELLED[name]
            case ast.Name() | ast.Attribute():
                return self.coding(node)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self.constant(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                return {self.constant(k): self.constant(v) for k, v in zip(keys, values, strict=True)}  # type: ignore[arg-type]
            case ast.Call(func=ast.Name(id="c"), args=items):
                return [self.constant(item) for item in items]
            case ast.Call(func=function, args=items, keywords=options):
                return self.coding(function, [*map(self.constant, items), *(self.constant(k.value) for k in options)])
        raise FormulaError(f"'{self.expression.text}': '{self.shown(node)}' is no constant.")

    def coding(self, node: ast.AST, options: Sequence[Any] = ()) -> Any:
        """A coding of factors, ``contr.sum`` or ``Sum``; of treatments with its reference level."""
        from remlblup.model.transforms import CONTRASTS

        written = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        name = table.PATSY_CONTRASTS.get(written, written)
        if name not in CONTRASTS or len(options) > (name in table.WITH_REFERENCE):
            raise FormulaError(
                f"'{self.expression.text}': '{self.shown(node)}' takes no such options; those with one, the reference"
                f" level, are {some(table.WITH_REFERENCE)}."
            )
        return CONTRASTS[name](*options)
