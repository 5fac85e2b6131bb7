"""Wilkinson's algebra: ``a * b - 1 + log(x)`` becomes a list of terms, each a product of expressions.

    +  both          -  all but          :  every product          *  a + b + a:b
    /  a + a:b       ^, **  all products up to that order           %in%  nested, b %in% a is a / b

0 and 1 are the intercept. What stands between the operators, a column, a call or {…}, is an `Expression`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from remlblup.cached import cached_property
from remlblup.errors import FormulaError
from remlblup.model.expression import LOOK_ALIKES, WORD, Expression, column, read
from remlblup.model.scanner import scan

MOST_TERMS = 5_000
MOST_ORDER = 20
_OPERATORS = re.compile(r"\*\*|%in%|[-+*/:^()]")
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])")
_WORD = re.compile(WORD)

Term = tuple[Expression, ...]  # the intercept is the empty product


@dataclass(frozen=True)
class Terms:
    """The terms of a right-hand side, in the order given, and the columns that they need."""

    terms: tuple[Term, ...]

    @cached_property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(dict.fromkeys(e for term in self.terms for e in term))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(c for e in self.expressions for c in e.columns))


@dataclass(frozen=True)
class Operand:
    """What stands between operators: an expression, or the number that it is."""

    text: str
    expression: Expression | None = None


@lru_cache(maxsize=512)
def read_terms(text: str) -> Terms:
    """Terms of a right-hand side; the intercept is there unless it is taken away.

    Raises
    ------
    FormulaError
        If the text cannot be read, or an expression in it is refused.
    """
    reader = Reader(text)
    try:
        terms, intercept = reader.sum()
    except RecursionError:
        raise FormulaError(f"'{text[:60]}…' has too many brackets inside each other.") from None
    if reader.position < len(reader.tokens):
        raise reader.lacking()
    out = {key: term for key, term in terms.items() if key}
    constant: list[Term] = [] if intercept is False else [()]
    return Terms((*constant, *out.values()))


def tokens(text: str) -> list[str | Operand]:
    """Operators as text, operands with their expressions."""
    closing = closings(text)
    out: list[str | Operand] = []
    position = 0
    while position < len(text):
        ch = text[position]
        if ch.isspace():
            position += 1
        elif ch == "`":
            end = text.index("`", position + 1)
            name = text[position + 1 : end]
            if not name.strip():
                raise FormulaError(f"'{text}' has an empty name in backticks.")
            out.append(Operand(text[position : end + 1], column(name)))
            position = end + 1
        elif ch == "{":
            end = closing[position]
            out.append(Operand(text[position : end + 1], read(text[position + 1 : end])))
            position = end + 1
        elif number := _NUMBER.match(text, position):
            out.append(Operand(number[0]))
            position = number.end()
        elif word := _WORD.match(text, position):
            opened = re.compile(r"\s*\(").match(text, word.end())
            end = word.end() if opened is None else closing[opened.end() - 1] + 1
            written = text[position:end]
            out.append(Operand(written, column(written) if opened is None else read(written)))
            position = end
        elif symbol := _OPERATORS.match(text, position):
            out.append(symbol[0])
            position = symbol.end()
        else:
            raise FormulaError(strange(ch, text))
    return out


def closings(text: str) -> dict[int, int]:
    """Position of the bracket that closes each opening one."""
    opened, pairs = [], {}
    for position, ch, _ in scan(text):
        if ch in "([{":
            opened.append(position)
        elif ch in ")]}":
            pairs[opened.pop()] = position
    return pairs


def strange(ch: str, text: str) -> str:
    """What to say of a character that is no operator of the algebra."""
    if ch in "'\"":
        return f"'{text}' holds text in quotes: only options of functions are text; column names stand in `backticks`."
    if ch == ".":
        return f"in '{text}' a '.' stands for all other columns: it is used in the fixed part alone, between operators."
    if ch in "[]":
        return f"'{text}' holds square brackets: make the column first."
    if ch in "|&<>=!":
        return f"'{text}' holds '{ch}': a condition stands in I(…), a random term in brackets, '(1 | g)'."
    if (alike := LOOK_ALIKES.get(ch)) is not None:
        return f"'{text}' holds '{ch}', which only looks like '{alike}': write '{alike}'."
    return f"'{text}' holds '{ch}', which is no operator of a formula; names with such characters stand in `backticks`."


Set = dict[frozenset[str], Term]


class Reader:
    """Reads tokens by precedence: + and −, then * / %in%, then :, then powers."""

    def __init__(self, text: str):
        self.text, self.tokens, self.position = text, tokens(text), 0

    # -- tokens --------------------------------------------------------------------------------

    def peek(self) -> str | Operand | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self) -> str | Operand | None:
        token = self.peek()
        self.position += 1
        return token

    def lacking(self) -> FormulaError:
        """Two operands side by side, or an operator without one."""
        token, before = self.peek(), self.tokens[self.position - 1] if self.position else None
        if isinstance(before, Operand) and (isinstance(token, Operand) or token == "("):
            after = token.text if isinstance(token, Operand) else "("
            inside = f"({before.text} {after})" in self.text
            hint = f" A random term has a bar: '({before.text} | {after})'." if inside else ""
            return FormulaError(
                f"in '{self.text.strip()}' an operator is missing between '{before.text}' and '{after}'.{hint}"
            )
        shown = token.text if isinstance(token, Operand) else token
        place = f"before '{shown}'" if shown is not None else "at the end"
        return FormulaError(f"in '{self.text.strip()}' something is missing {place}.")

    # -- levels of precedence ------------------------------------------------------------------

    def sum(self) -> tuple[Set, bool | None]:
        """Terms, and whether the intercept is asked for or taken away (None: neither)."""
        out: Set = {}
        intercept: bool | None = None
        sign, first = "+", True
        while True:
            while self.peek() in ("+", "-"):
                sign = "-" if (sign == "-") != (self.take() == "-") else "+"
                first = False
            if self.peek() in (None, ")") and first:
                break
            token = self.peek()
            if isinstance(token, Operand) and token.text in ("0", "1") and self.alone():
                self.take()
                intercept = (token.text == "1") == (sign == "+")
            else:
                terms, own = self.product()
                if own is not None:
                    intercept = own == (sign == "+")
                if sign == "+":
                    for name, term in terms.items():
                        out.setdefault(name, term)
                else:
                    out = {name: term for name, term in out.items() if name not in terms}
            if self.peek() not in ("+", "-"):
                break
            sign, first = "+", False
        return out, intercept

    def alone(self) -> bool:
        """Whether the next operand is a summand by itself."""
        after = self.tokens[self.position + 1] if self.position + 1 < len(self.tokens) else None
        return after in (None, "+", "-", ")")

    def product(self) -> tuple[Set, bool | None]:
        left, intercept = self.interaction()
        while (operator := self.peek()) in ("*", "/", "%in%"):
            self.take()
            right, _ = self.interaction()
            if operator == "*":
                left = {**left, **right, **self.products(left, right)}
            else:
                outer, inner = (left, right) if operator == "/" else (right, left)
                whole = dict.fromkeys(e for term in outer.values() for e in term)
                left = {**outer, **self.products({key(tuple(whole)): tuple(whole)}, inner)}
            intercept = None
        return left, intercept

    def interaction(self) -> tuple[Set, bool | None]:
        left, intercept = self.power()
        while self.peek() == ":":
            self.take()
            left, intercept = self.products(left, self.power()[0]), None
        return left, intercept

    def power(self) -> tuple[Set, bool | None]:
        base, intercept = self.operand()
        if self.peek() not in ("^", "**"):
            return base, intercept
        self.take()
        token = self.take()
        order = int(token.text) if isinstance(token, Operand) and re.fullmatch(r"[1-9]\d{0,2}", token.text) else 0
        if not 1 <= order <= MOST_ORDER:
            raise FormulaError(
                f"in '{self.text.strip()}' a power of terms is a whole number, as in (a + b)^2, 1 to {MOST_ORDER};"
                " the power of a covariate is written I(x^2)."
            )
        if len(base) == 1:
            ((term,)) = base.values()
            shown = ":".join(e.text for e in term) or "1"
            raise FormulaError(
                f"in '{self.text.strip()}' a power of the single term '{shown}' is that term itself by the algebra of"
                f" formulas: write I({shown}^{order}) for its power."
            )
        out = base
        for _ in range(order - 1):
            further = {**out, **self.products(out, base)}
            if len(further) == len(out):
                break
            out = further
        return out, None

    def operand(self) -> tuple[Set, bool | None]:
        token = self.take()
        if token == "(":
            inside, intercept = self.sum()
            if self.peek() != ")":
                raise self.lacking()
            self.take()
            return inside, intercept
        if isinstance(token, Operand):
            if token.expression is None:
                if isinstance(self.peek(), Operand) or self.peek() == "(":
                    raise self.lacking()
                raise FormulaError(
                    f"in '{self.text.strip()}' the number {token.text} is no term: write I(2*x) for a multiple; 1 and 0"
                    " are the intercept and stand alone."
                )
            term = (token.expression,)
            return {key(term): term}, None
        self.position -= 1
        raise self.lacking()

    def products(self, left: Set, right: Set) -> Set:
        """Every term of the one times every term of the other."""
        if len(left) * len(right) > MOST_TERMS:
            raise FormulaError(f"'{self.text.strip()[:60]}' has more than {MOST_TERMS:,} terms.")
        out: Set = {}
        for a in left.values():
            for b in right.values():
                term = tuple(dict.fromkeys((*a, *b)))
                out.setdefault(key(term), term)
        return out


def key(term: Term) -> frozenset[str]:
    """Terms of the same expressions are one term, whatever their order."""
    return frozenset(e.text for e in term)
