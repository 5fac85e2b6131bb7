"""Formulas as MathML, which browsers set without help: small functions that nest like the formula they write."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

Math = str


def name(text: str, upright: bool = False) -> Math:
    """A letter or a word; words of the user are set upright."""
    kind = ' mathvariant="normal"' if upright or len(text) > 1 else ""
    return f"<mi{kind}>{html.escape(text)}</mi>"


def bold(text: str) -> Math:
    """A vector or a matrix."""
    return f'<mi class="b">{html.escape(text)}</mi>'


def number(value: float | str) -> Math:
    """A number; text as it is written, a minus sign as an operator."""
    text = value if isinstance(value, str) else f"{value:.4g}"
    return row(op("−"), number(text[1:])) if text.startswith("-") else f"<mn>{html.escape(text)}</mn>"


def op(sign: str) -> Math:
    return f"<mo>{html.escape(sign)}</mo>"


def words(text: str) -> Math:
    return f"<mtext>{html.escape(text)}</mtext>"


def row(*parts: Math) -> Math:
    return f"<mrow>{''.join(parts)}</mrow>"


def sub(base: Math, below: Math) -> Math:
    return f"<msub>{base}{below}</msub>"


def sup(base: Math, above: Math) -> Math:
    return f"<msup>{base}{above}</msup>"


def squared(base: Math, below: Math) -> Math:
    """σ²_k."""
    return f"<msubsup>{base}{below}{number('2')}</msubsup>"


def over(sign: str, below: Math) -> Math:
    """⊕ with what it runs over."""
    return f"<munder>{op(sign)}{below}</munder>"


def fenced(*parts: Math, left: str = "(", right: str = ")") -> Math:
    return row(op(left), *parts, op(right))


def joined(parts: Iterable[Math], sign: str) -> Math:
    """Parts with an operator between them."""
    out: list[Math] = []
    for part in parts:
        out += [op(sign), part] if out else [part]
    return row(*out)


def table(rows: Sequence[Sequence[Math]]) -> Math:
    """A matrix in brackets."""
    body = "".join("<mtr>" + "".join(f"<mtd>{cell}</mtd>" for cell in one) + "</mtr>" for one in rows)
    return fenced(f"<mtable>{body}</mtable>", left="[", right="]")


def display(*parts: Math) -> Math:
    """A formula on a line of its own."""
    return f'<math displaystyle="true">{row(*parts)}</math>'


def inline(*parts: Math) -> Math:
    return f"<math>{row(*parts)}</math>"
