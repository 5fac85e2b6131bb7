"""Reading a mixed-model formula: the fixed part is left to formulaic, the bars are read here.

``"y ~ x + (1 + x | g) + us(site | vm(animal, A))"`` becomes the response ``y``, the fixed
formula ``1 + x`` and a `RandomTerm` for each bar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from remlblup.errors import FormulaError, some
from remlblup.structure.table import STRUCTURES

_OPEN, _CLOSE = "([{", ")]}"


@dataclass(frozen=True)
class Group:
    """What the levels of a random term are: one factor, or the combinations of several.

    `relationship` is the NAME of ``vm(factor, NAME)``, None for independent levels.
    """

    factors: tuple[str, ...]
    relationship: str | None = None

    @property
    def label(self) -> str:
        return ":".join(self.factors)


@dataclass(frozen=True)
class RandomTerm:
    """One bar: ``structure(effects | group)``; `name` is the term as written.

    `named` tells whether the structure was written, ``diag(site | g)``, or follows from the bar.
    """

    name: str
    effects: str
    group: Group
    structure: str
    named: bool = False

    @property
    def key(self) -> str:
        return squeeze(self.name)


@dataclass(frozen=True)
class MixedFormula:
    """Response, fixed part and random terms of a formula."""

    text: str
    response: str
    fixed: str
    random: tuple[RandomTerm, ...]


def squeeze(text: str) -> str:
    """The text without white space: how names of terms are compared."""
    return re.sub(r"\s+", "", text)


def parse_formula(text: str) -> MixedFormula:
    """Split a mixed-model formula into response, fixed part and random terms.

    Raises
    ------
    FormulaError
        If a bracket is not closed, a bar is malformed, a structure is unknown, or a term is
        given twice.
    """
    if not isinstance(text, str):
        raise FormulaError(f"the formula must be text like 'y ~ x + (1 | g)', not {type(text).__name__}.")
    sides = split_top(text, "~")
    if len(sides) != 2 or not sides[0].strip():
        raise FormulaError(f"the formula {text!r} needs one response and one '~', as in 'y ~ x + (1 | g)'.")
    response, right = sides[0].strip(), sides[1]
    fixed: list[str] = []
    random: list[RandomTerm] = []
    for sign, piece in signed_pieces(right):
        bar = read_bar(piece)
        if bar is None:
            fixed.append(f"{sign} {piece}")
        elif sign == "-":
            raise FormulaError(f"a random term cannot be subtracted: remove '- {piece}' from the formula.")
        else:
            random.extend(bar)
    names = [term.key for term in random]
    if twice := {n for n in names if names.count(n) > 1}:
        raise FormulaError(f"the random term {some(sorted(twice))} is given more than once: keep one of them.")
    return MixedFormula(text.strip(), response, " ".join(fixed).strip().removeprefix("+").strip() or "1", tuple(random))


def scan(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield (position, character, depth) outside quotes; raise on brackets that do not match."""
    stack: list[str] = []
    quote = ""
    for position, ch in enumerate(text):
        if quote:
            quote = "" if ch == quote else quote
            continue
        if ch in "'\"`":
            quote = ch
            continue
        if ch in _CLOSE and (not stack or _OPEN.index(stack.pop()) != _CLOSE.index(ch)):
            raise FormulaError(f"in {text.strip()!r} a {ch!r} closes nothing: check the brackets.")
        yield position, ch, len(stack)
        if ch in _OPEN:
            stack.append(ch)
    if stack or quote:
        raise FormulaError(f"in {text.strip()!r} a {(quote or stack[-1])!r} is not closed.")


def split_top(text: str, separator: str) -> list[str]:
    """Split at a one-character separator outside brackets and quotes."""
    cuts = [p for p, ch, depth in scan(text) if ch == separator and depth == 0]
    edges = [-1, *cuts, len(text)]
    return [text[a + 1 : b] for a, b in pairwise(edges)]


def signed_pieces(text: str) -> list[tuple[str, str]]:
    """The summands of a right-hand side with their signs."""
    cuts = [(p, ch) for p, ch, depth in scan(text) if ch in "+-" and depth == 0]
    starts = [(-1, "+"), *cuts]
    ends = [p for p, _ in cuts] + [len(text)]
    pieces = [(sign, text[p + 1 : end].strip()) for (p, sign), end in zip(starts, ends, strict=True)]
    if any(not piece for _, piece in pieces[1:]):
        raise FormulaError(f"in {text.strip()!r} a '+' or '-' has nothing after or before it.")
    return [piece for piece in pieces if piece[1]]


def read_bar(piece: str) -> list[RandomTerm] | None:
    """The random term(s) of one summand; None if it belongs to the fixed part."""
    match = re.fullmatch(r"(?s)([A-Za-z_]\w*)?\s*\((.*)\)", piece)
    if match and not match[1] and _is_one_bracket(piece) and "|" not in _top_characters(match[2]):
        inner = match[2].strip()
        if re.match(r"[A-Za-z_(]", inner) and inner.endswith(")") and len(signed_pieces(inner)) == 1:
            return read_bar(inner) if "(" in inner else None  # brackets around a bar: (us(x | g))
    if match is None or not _is_one_bracket(piece) or "|" not in _top_characters(match[2]):
        if "|" in _top_characters(piece):
            raise FormulaError(f"put brackets around the random term: '({piece})'.")
        return None
    keyword, inside = match[1], match[2].strip()
    independent = "||" in inside
    sides = [side.strip() for side in inside.replace("||", "|").split("|")]
    if len(sides) != 2 or not all(sides):
        raise FormulaError(
            f"'{piece}' is not a random term: write '(effects | group)' with one bar, as in '(1 + x | g)'."
        )
    if keyword is not None and keyword not in STRUCTURES:
        raise FormulaError(
            f"the covariance structure '{keyword}' in '{piece}' is not known. Known: {', '.join(sorted(STRUCTURES))}."
        )
    if keyword is not None and independent:
        raise FormulaError(f"'{piece}' names a structure and uses '||': use one of the two.")
    effects, groups = sides[0], read_groups(sides[1])
    simple = keyword is None and squeeze(effects) == "1"
    structure = keyword or ("id" if simple else "diag" if independent else "us")
    nested = len(groups) > 1
    return [
        RandomTerm(_name(inside, sides[1], keyword, simple, g, nested), effects, g, structure, keyword is not None)
        for g in groups
    ]


def _name(inside: str, group: str, keyword: str | None, simple: bool, g: Group, nested: bool) -> str:
    """The term as written; for a nested group ``a/b`` each of the terms it stands for."""
    if simple:
        return g.label if nested else group
    if nested:
        inside = inside[: inside.rindex("|") + 1] + " " + g.label
    return f"{keyword}({inside})" if keyword else inside


def read_groups(text: str) -> list[Group]:
    """The right-hand side of a bar: ``g``, ``a:b``, ``a/b`` (two groups) or ``vm(factor, NAME)``."""
    vm = re.fullmatch(r"\s*vm\s*\((.*)\)\s*", text)
    if vm:
        arguments = [a.strip() for a in split_top(vm[1], ",")]
        if len(arguments) != 2 or not all(arguments):
            raise FormulaError(f"'{text}' must be vm(factor, NAME) with NAME a key of relationships=.")
        return [Group((_variable(arguments[0], text),), arguments[1])]
    if "vm(" in squeeze(text):
        raise FormulaError(
            f"'{text}': vm(factor, NAME) stands alone behind the bar; combinations with it are not supported."
        )
    parts = split_top(text, "/")
    groups: list[Group] = []
    factors: tuple[str, ...] = ()
    for part in parts:
        factors = factors + tuple(_variable(v, text) for v in split_top(part, ":"))
        groups.append(Group(factors))
    return groups


def _variable(text: str, where: str) -> str:
    name = text.strip()
    if name.startswith("`") and name.endswith("`") and len(name) > 2:
        return name[1:-1]
    if not re.fullmatch(r"[^\W\d][\w.]*", name):
        raise FormulaError(
            f"'{name}' in '{where}' is not the name of a column. Make the factor a column of the data first"
            " (or put `backticks` around a name with special characters)."
        )
    return name


def _top_characters(text: str) -> str:
    return "".join(ch for _, ch, depth in scan(text) if depth == 0)


def _is_one_bracket(piece: str) -> bool:
    """Whether the last bracket of the piece closes its first one: '(a|b)' but not '(a) * (b)'."""
    opened = piece.index("(")
    inside = [p for p, _, depth in scan(piece) if depth == 0 and p > opened]
    return inside == [len(piece) - 1]
