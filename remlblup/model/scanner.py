"""Cutting the text of a formula at its own level, outside brackets and quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from remlblup.errors import FormulaError
from remlblup.model.other_words import ours_of_group

_OPEN, _CLOSE = "([{", ")]}"


@lru_cache(maxsize=1024)
def squeeze(text: str) -> str:
    """The text without white space: how names of terms are compared."""
    return re.sub(r"\s+", "", text)


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


def top_characters(text: str) -> str:
    """The characters outside all brackets and quotes."""
    return "".join(ch for _, ch, depth in scan(text) if depth == 0)


def is_one_bracket(piece: str) -> bool:
    """Whether the last bracket of the piece closes its first one: '(a|b)' but not '(a) * (b)'."""
    opened = piece.index("(")
    inside = [p for p, _, depth in scan(piece) if depth == 0 and p > opened]
    return inside == [len(piece) - 1]


def call(piece: str) -> tuple[str, str] | None:
    """Name and inside of ``name( … )``, the name empty for plain brackets; None for any other text."""
    match = re.fullmatch(r"(?s)([A-Za-z_]\w*)?\s*\((.*)\)", piece.strip())
    if match is None or not is_one_bracket(piece.strip()):
        return None
    return match[1] or "", match[2].strip()


@lru_cache(maxsize=1024)
def unquoted(text: str) -> str:
    """A name without its backticks; any other text as it is."""
    text = text.strip()
    return text[1:-1] if re.fullmatch(r"`[^`]+`", text) else text


def variable(text: str, where: str) -> str:
    """The name of a column, with or without `backticks`."""
    name = unquoted(text)
    if name != text.strip():
        return name
    if not re.fullmatch(r"[^\W\d][\w.]*", name):
        if "(" in name and (advice := ours_of_group(name)):
            raise FormulaError(f"'{name}' in '{where}' is not the name of a column: {advice}.")
        raise FormulaError(
            f"'{name}' in '{where}' is not the name of a column. Make the factor a column of the data first"
            " (or put `backticks` around a name with special characters)."
        )
    return name
